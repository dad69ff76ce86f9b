/* SPDX-License-Identifier: Apache-2.0 */
/* See loader_migrate.h. */
#include "loader_migrate.h"

#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "loader_log.h"
#include "loader_pins.h"
#include "penstock.skel.h"

#define COUNT_OF(a) (sizeof(a) / sizeof(*(a)))

/* ---- what is pinned ------------------------------------------------------------------------------ */

struct row {
	const char *map, *what;
	uint32_t pinned, built;
};

static int compare(const struct row *rows, size_t count, char **ret_why)
{
	for (size_t i = 0; i < count; i++) {
		if (rows[i].pinned == rows[i].built)
			continue;
		loader_say(ret_why, "pinned map '%s' has %s %u, this build wants %u", rows[i].map,
			   rows[i].what, rows[i].pinned, rows[i].built);
		return -EPROTO;
	}
	return 0;
}

/* The one map whose size the administrator chooses. */
static bool any_size(const char *map, uint32_t entries)
{
	return !strcmp(map, "flows") && loader_is_flow_slots(entries);
}

/* What the kernel says of a map. value_bytes: what it should be. */
static int check_map(int fd, const struct bpf_map *built, const char *name, uint32_t value_bytes,
		     char **ret_why)
{
	struct bpf_map_info info;
	int r = loader_map_info(fd, &info);

	if (r) {
		loader_say(ret_why, "pin '%s' tells nothing of itself: %s", name, strerror(-r));
		return r;
	}
	const struct row rows[] = {
		{ name, "type", info.type, bpf_map__type(built) },
		{ name, "key size", info.key_size, bpf_map__key_size(built) },
		{ name, "value size", info.value_size, value_bytes },
		{ name, "max_entries", info.max_entries,
		  any_size(name, info.max_entries) ? info.max_entries
						   : bpf_map__max_entries(built) },
		{ name, "flags", info.map_flags, bpf_map__map_flags(built) },
	};
	return compare(rows, COUNT_OF(rows), ret_why);
}

static struct bpf_map *built_map(const struct penstock *skel, const char *name)
{
	return bpf_object__find_map_by_name(skel->obj, name);
}

/* Of the two maps by which all others are known. */
static int check_frame(const struct loader *l, const struct penstock *skel,
		       const struct dp_meta *meta, char **ret_why)
{
	const struct row version = { "meta", "ABI version", meta->abi_version, DP_ABI_VERSION };
	int r = 0;

	if (meta->abi_version)
		r = compare(&version, 1, ret_why);
	if (!r)
		r = check_map(l->meta, built_map(skel, "meta"), "meta", sizeof(*meta), ret_why);
	if (!r && l->layouts < 0)
		return -ENODATA;
	if (!r)
		r = check_map(l->layouts, built_map(skel, "layouts"), "layouts",
			      sizeof(struct dp_layouts), ret_why);
	return r;
}

static int judge_map(const struct loader *l, const struct penstock *skel,
		     const struct dp_layouts *found, const struct loader_named *map,
		     enum layouts_fate *ret, char **ret_why)
{
	const struct dp_layout *layout = layouts_find(found, map->name);
	int fd = loader_fd_now(l, map);
	const char *why = NULL;

	*ret = layouts_judge(layout, map->name, &why);
	if (*ret == LAYOUTS_REFUSED) {
		loader_say(ret_why,
			   "pinned map '%s' is of another layout, version %u of %u bytes, and this "
			   "build's is version %u of %u bytes: %s",
			   map->name, layout->version, layout->value_bytes,
			   layouts_find(&layouts_own, map->name)->version,
			   layouts_find(&layouts_own, map->name)->value_bytes, why);
		return -EPROTO;
	}
	if (*ret == LAYOUTS_NEW)
		return 0;
	if (fd < 0)
		return -ENODATA;
	return *ret == LAYOUTS_COMPILED ? 0
					: check_map(fd, built_map(skel, map->name), map->name,
						    layout->value_bytes, ret_why);
}

int migration_judge(const struct loader *l, const struct penstock *skel, const struct dp_meta *meta,
		    struct migration *ret, char **ret_why)
{
	_cleanup_free_ struct dp_layouts *found = calloc(1, sizeof(*found));
	uint32_t key = 0;
	int r = found ? check_frame(l, skel, meta, ret_why) : -ENOMEM;

	if (!r)
		r = bpf_map_lookup_elem(l->layouts, &key, found);
	for (size_t i = 0; !r && i < LOADER_MAPS; i++) {
		r = judge_map(l, skel, found, &loader_maps[i], &ret->fate[i], ret_why);
		ret->needed |= ret->fate[i] != LAYOUTS_KEPT;
	}
	return r;
}

/* ---- new maps ------------------------------------------------------------------------------------ */

/* Programs have no use for the frame: there is one for each directory of maps. */
static bool is_frame(size_t i)
{
	return !strcmp(loader_maps[i].name, "meta") || !strcmp(loader_maps[i].name, "layouts");
}

/* "flows, pending: carried over" for each fate that some map has. */
static char *describe(const struct migration *m)
{
	static const char *const words[LAYOUTS_FATE_COUNT] = {
		[LAYOUTS_KEPT] = "go on",
		[LAYOUTS_NEW] = "made",
		[LAYOUTS_CARRIED] = "carried over",
		[LAYOUTS_COMPILED] = "compiled anew",
	};
	_cleanup_free_ char *text = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	size_t len, said = 0;

	f = open_memstream(&text, &len);
	for (int fate = LAYOUTS_FATE_COUNT - 1; f && fate >= 0; fate--) {
		size_t count = 0;

		for (size_t i = 0; words[fate] && i < LOADER_MAPS; i++) {
			if (is_frame(i) || m->fate[i] != (enum layouts_fate)fate)
				continue;
			(void)fprintf(f, "%s%s",
				      count  ? ", "
				      : said ? "; "
					     : "",
				      loader_maps[i].name); /* checked by fflush() */
			count++;
		}
		if (count)
			(void)fprintf(f, ": %s", words[fate]); /* likewise */
		said += count;
	}
	return f && !fflush(f) ? strdup(text) : NULL;
}

static int share_or_make(struct loader *l, struct penstock *skel, const struct migration *m,
			 char **ret_why)
{
	bool shared[LOADER_MAPS];
	int r = loader_size_flows(l, skel);

	for (size_t i = 0; !r && i < LOADER_MAPS; i++) {
		shared[i] = m->fate[i] == LAYOUTS_KEPT && !is_frame(i);
		if (shared[i])
			r = bpf_map__reuse_fd(built_map(skel, loader_maps[i].name),
					      loader_fd_now(l, &loader_maps[i]));
	}
	if (!r)
		r = loader_load(skel, ret_why);
	for (size_t i = 0; !r && i < LOADER_MAPS; i++) {
		if (!shared[i])
			r = loader_keep_map(l, skel, &loader_maps[i]);
		l->uncompiled |= m->fate[i] == LAYOUTS_COMPILED;
	}
	return r;
}

/* Where the layout of counters is another, what it had carried is in another one, too. */
static void drop_carried(struct loader *l, const struct migration *m)
{
	for (size_t i = 0; i < LOADER_MAPS; i++) {
		for (int c = 0; c < LOADER_COUNTERS_COUNT; c++) {
			if (m->fate[i] != LAYOUTS_KEPT &&
			    !strcmp(loader_maps[i].name, loader_counters_names[c]))
				closep(&l->carried[c]);
		}
	}
}

static int pin_optional(const struct loader *l, const char *name, int fd)
{
	return fd < 0 ? 0 : pins_replace(l->pin_dir, PINS_NEXT, name, fd);
}

int migration_prepare(struct loader *l, struct penstock *skel, const struct migration *m,
		      char **ret_why)
{
	int r = share_or_make(l, skel, m, ret_why);

	if (!r)
		r = loader_keep_progs(l, skel);
	if (r)
		return r;
	drop_carried(l, m);
	l->changes = describe(m);
	l->start = LOADER_MIGRATED;
	l->maps = PINS_NEXT; /* from here on it goes with l, unless it is committed */
	r = pins_make_sub(l->pin_dir, PINS_NEXT, ret_why);
	if (!r)
		r = loader_pin(l, PINS_NEXT, loader_maps, LOADER_MAPS, ret_why);
	for (int i = 0; !r && i < LOADER_INNERS; i++)
		r = pin_optional(l, loader_inner_pins[i], l->inner[i]);
	for (int i = 0; !r && i < LOADER_COUNTERS_COUNT; i++)
		r = pin_optional(l, loader_carried_pins[i], l->carried[i]);
	for (unsigned int i = 0; !r && !l->uncompiled && i < DP_BANKS; i++)
		r = pin_optional(l, loader_bank_pins[i], l->bank[i]);
	return r;
}

/* ---- the exchange -------------------------------------------------------------------------------- */

static int put_aside(const char *pin_dir, uint32_t serial)
{
	char name[32];

	(void)snprintf(name, sizeof(name), PINS_ASIDE "%u", serial); /* always fits */
	return pins_rename_sub(pin_dir, PINS_NEXT, name);
}

int loader_commit(struct loader *l, char **ret_why)
{
	uint32_t serial = l->serial++;
	int r;

	if (l->uncompiled) { /* no policy: they are empty, as the new banks are */
		for (unsigned int i = 0; i < DP_BANKS; i++)
			closep(&l->bank[i]);
		l->uncompiled = false;
	}
	r = loader_write_meta(l, false);
	if (!r)
		r = pins_swap_subs(l->pin_dir, PINS_NEXT, PINS_MAPS);
	if (r) {
		loader_say(ret_why, "%s: the new maps cannot take the place of the old: %s",
			   l->pin_name, strerror(-r));
		return r;
	}
	l->maps = PINS_MAPS;
	r = put_aside(l->pin_dir, serial);
	if (!r)
		r = loader_pin(l, PINS_PROGS, loader_progs, LOADER_PROG_COUNT, ret_why);
	if (!r)
		r = loader_write_meta(l, true);
	if (r)
		loader_say(ret_why, "%s: %s", l->pin_name, strerror(-r));
	return r;
}

static int meta_of(const char *pin_dir, const char *sub, struct dp_meta *ret)
{
	_cleanup_close_ int fd = pins_open(pin_dir, sub, "meta");

	return loader_read_meta(fd, ret);
}

int migration_tidy(const char *pin_dir)
{
	struct dp_meta next = {}, now = {};

	if (!pins_has(pin_dir, PINS_NEXT, "."))
		return 0;
	if (!meta_of(pin_dir, PINS_NEXT, &next) && !meta_of(pin_dir, PINS_MAPS, &now) &&
	    next.serial < now.serial)
		return put_aside(pin_dir, next.serial);
	return pins_remove_sub(pin_dir, PINS_NEXT);
}
