/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is pinned decides how a start goes:
 *   nothing, or half of it and nothing attached   load, pin everything, write meta last (FRESH)
 *   all maps, meta of this build, all programs    use them as they are (ADOPTED)
 *   all maps, anything else in progs/ or meta     load with these maps, replace the programs (UPGRADED)
 *   maps of another layout                        loader_migrate.h (MIGRATED), or refuse, change nothing
 * A complete meta is the mark of a finished first start. The skeleton lives only while this runs: what is
 * kept are descriptors.
 */
#include "loader.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/utsname.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <xxhash.h>

#include "flows.h"
#include "loader_log.h"
#include "loader_migrate.h"
#include "loader_pins.h"
#include "loader_table.h"
#include "penstock.skel.h"

#define COUNT_OF(a) (sizeof(a) / sizeof(*(a)))

/* meta first: a word about the version explains all other differences. */
const struct loader_named loader_maps[LOADER_MAPS] = {
	{ "meta", offsetof(struct loader, meta) },
	{ "layouts", offsetof(struct loader, layouts) },
	{ "ctl", offsetof(struct loader, ctl) },
	{ "banks", offsetof(struct loader, banks) },
	{ "near", offsetof(struct loader, near) },
	{ "devs", offsetof(struct loader, devs) },
	{ "rule_counters", offsetof(struct loader, rule_counters) },
	{ "chain_counters", offsetof(struct loader, chain_counters) },
	{ "flows", offsetof(struct loader, flows) },
	{ "pending", offsetof(struct loader, pending) },
	{ "fragments", offsetof(struct loader, fragments) },
	{ "state_counters", offsetof(struct loader, state_counters) },
	{ "set_filter", offsetof(struct loader, set_filter) },
	{ "set_table", offsetof(struct loader, set_table) },
	{ "account_table", offsetof(struct loader, account_table) },
	{ "dropped", offsetof(struct loader, dropped) },
	{ "records", offsetof(struct loader, records) },
	{ "account_totals", offsetof(struct loader, account_totals) },
};

const struct loader_named loader_progs[LOADER_PROG_COUNT] = {
	{ "xdp_ingress", offsetof(struct loader, prog[LOADER_XDP_INGRESS]) },
	{ "tc_ingress", offsetof(struct loader, prog[LOADER_TC_INGRESS]) },
	{ "tc_egress", offsetof(struct loader, prog[LOADER_TC_EGRESS]) },
};

const char *const loader_bank_pins[DP_BANKS] = { "bank-0", "bank-1" };

const char *const loader_inner_pins[LOADER_INNERS] = {
	[LOADER_MEMBERS] = "set_members",
	[LOADER_ACCOUNTS] = "accounts",
};

/* The table that an inner map has its slot in. */
static int table_of(const struct loader *l, enum loader_inner which)
{
	return which == LOADER_MEMBERS ? l->set_table : l->account_table;
}

const char *const loader_counters_names[LOADER_COUNTERS_COUNT] = {
	[LOADER_COUNTERS_RULES] = "rule_counters",
	[LOADER_COUNTERS_CHAINS] = "chain_counters",
	[LOADER_COUNTERS_STATE] = "state_counters",
};

const char *const loader_carried_pins[LOADER_COUNTERS_COUNT] = {
	[LOADER_COUNTERS_RULES] = "rule-carried",
	[LOADER_COUNTERS_CHAINS] = "chain-carried",
	[LOADER_COUNTERS_STATE] = "state-carried",
};

static void skelp(struct penstock **skel)
{
	if (*skel)
		penstock__destroy(*skel);
	*skel = NULL;
}

static void close_all(struct loader *l, const struct loader_named *table, size_t count)
{
	for (size_t i = 0; i < count; i++)
		closep(loader_fd(l, &table[i]));
}

void loader_free(struct loader **at)
{
	struct loader *l = *at;

	if (!l)
		return;
	if (l->ctl_page)
		(void)munmap(l->ctl_page,
			     sizeof(*l->ctl_page)); /* the kernel rounds up to the page */
	if (l->maps && strcmp(l->maps, PINS_MAPS) != 0)
		(void)pins_remove_sub(l->pin_dir, l->maps); /* else the next start does it */
	close_all(l, loader_maps, LOADER_MAPS);
	close_all(l, loader_progs, LOADER_PROG_COUNT);
	for (unsigned int i = 0; i < DP_BANKS; i++)
		closep(&l->bank[i]);
	for (unsigned int i = 0; i < LOADER_COUNTERS_COUNT; i++)
		closep(&l->carried[i]);
	for (unsigned int i = 0; i < LOADER_INNERS; i++)
		closep(&l->inner[i]);
	free(l->changes);
	free(l->pin_dir);
	free(l->pin_name);
	free(l);
	*at = NULL;
}

static struct loader *loader_empty(const char *pin_dir)
{
	_cleanup_(loader_free) struct loader *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	for (size_t i = 0; i < LOADER_MAPS; i++)
		*loader_fd(l, &loader_maps[i]) = -1;
	for (size_t i = 0; i < LOADER_PROG_COUNT; i++)
		*loader_fd(l, &loader_progs[i]) = -1;
	for (unsigned int i = 0; i < DP_BANKS; i++)
		l->bank[i] = -1;
	for (unsigned int i = 0; i < LOADER_COUNTERS_COUNT; i++)
		l->carried[i] = -1;
	for (unsigned int i = 0; i < LOADER_INNERS; i++)
		l->inner[i] = -1;
	l->maps = PINS_MAPS;
	l->pin_dir = strdup(pin_dir);
	l->pin_name = pins_name(pin_dir);
	return l->pin_dir && l->pin_name ? TAKE_PTR(l) : NULL;
}

void loader_build(uint8_t ret[16])
{
	XXH128_canonical_t canonical;
	XXH128_hash_t hash;
	const void *bytes;
	size_t len;

	bytes = penstock__elf_bytes(&len);
	hash = XXH3_128bits(bytes, len);
	XXH128_canonicalFromHash(&canonical, hash);
	memcpy(ret, canonical.digest, 16);
}

/* ---- what is pinned ------------------------------------------------------------------------------ */

/* Opens the pins of a table; ret_found counts them. */
static int open_pins(struct loader *l, const char *sub, const struct loader_named *table,
		     size_t count, size_t *ret_found, char **ret_why)
{
	*ret_found = 0;
	for (size_t i = 0; i < count; i++) {
		int fd = pins_open(l->pin_dir, sub, table[i].name);

		if (fd == -ENOENT)
			continue;
		if (fd < 0) {
			loader_say(ret_why, "cannot open %s/%s/%s: %s", l->pin_name, sub,
				   table[i].name, strerror(-fd));
			return fd;
		}
		*loader_fd(l, &table[i]) = fd;
		++*ret_found;
	}
	return 0;
}

int loader_map_info(int fd, struct bpf_map_info *ret)
{
	uint32_t len = sizeof(*ret);

	*ret = (struct bpf_map_info){};
	return bpf_obj_get_info_by_fd(fd, ret, &len);
}

bool loader_is_flow_slots(uint32_t slots)
{
	return slots >= LOADER_FLOW_SLOTS_MIN && slots <= LOADER_FLOW_SLOTS_MAX &&
	       !(slots & (slots - 1));
}

int loader_read_meta(int fd, struct dp_meta *ret)
{
	struct bpf_map_info info;
	uint32_t key = 0;
	int r;

	*ret = (struct dp_meta){};
	if (fd < 0)
		return -ENODATA;
	r = loader_map_info(fd, &info);
	if (r)
		return r;
	if (info.value_size != sizeof(*ret) || info.key_size != sizeof(key))
		return 0; /* the comparison of layouts names it */
	r = bpf_map_lookup_elem(fd, &key, ret);
	if (r)
		return r;
	return ret->abi_version ? 0 : -ENODATA;
}

/*
 * The map of a slot. A crash between a slot's change and its pin's leaves an older map pinned; that is
 * always the inactive bank, which is simply built anew. The active one must be had.
 */
static int open_bank(const struct loader *l, unsigned int bank, bool active, char **ret_why)
{
	_cleanup_close_ int fd = pins_open(l->pin_dir, PINS_MAPS, loader_bank_pins[bank]);
	struct bpf_map_info info;
	uint32_t id;
	int r;

	if (bpf_map_lookup_elem(l->banks, &bank, &id))
		return -ENOENT;
	if (fd >= 0 && !loader_map_info(fd, &info) && info.id == id)
		return TAKE_FD(fd);
	r = bpf_map_get_fd_by_id(id);
	if (r >= 0 || !active)
		return r < 0 ? -ENOENT : r;
	loader_say(ret_why,
		   "the active policy's map %u is not pinned as '%s' and does not open: %s", id,
		   loader_bank_pins[bank], strerror(-r));
	return -EPROTO;
}

static int refuse_size(const char *pin, uint32_t pinned, uint32_t built, char **ret_why)
{
	loader_say(ret_why, "pinned map '%s' has value size %u, this build wants %u", pin, pinned,
		   built);
	return -EPROTO;
}

static int open_banks(struct loader *l, const struct penstock *skel, char **ret_why)
{
	uint32_t built = bpf_map__value_size(bpf_map__inner_map(skel->maps.banks)), key = 0;
	struct dp_ctl ctl;
	int r;

	r = bpf_map_lookup_elem(l->ctl, &key, &ctl);
	for (unsigned int i = 0; !r && i < DP_BANKS; i++) {
		struct bpf_map_info info;
		/* While a change waits to be confirmed packets may read either. */
		bool read = ctl.active & DP_ACTIVE_PENDING || (ctl.active & DP_ACTIVE_BANK) == i;
		int fd = open_bank(l, i, read, ret_why);

		if (fd == -ENOENT)
			continue;
		if (fd < 0)
			return fd;
		l->bank[i] = fd;
		r = loader_map_info(fd, &info);
		if (r)
			return r;
		if (info.value_size != built)
			r = refuse_size(loader_bank_pins[i], info.value_size, built, ret_why);
	}
	return r;
}

/*
 * The pin is replaced before the slot (loader_put_inner()): where a crash came between the two, the map
 * that is pinned is complete and takes the slot now.
 */
static int open_inner(struct loader *l, enum loader_inner which, struct bpf_map *table,
		      char **ret_why)
{
	uint32_t built = bpf_map__value_size(bpf_map__inner_map(table)), key = 0, id;
	bool slot_used = !bpf_map_lookup_elem(table_of(l, which), &key, &id);
	const char *pin = loader_inner_pins[which];
	_cleanup_close_ int fd = pins_open(l->pin_dir, PINS_MAPS, pin);
	struct bpf_map_info info;
	int r;

	if (fd == -ENOENT && !slot_used)
		return 0;
	if (fd < 0) {
		loader_say(ret_why, "the map in use is not pinned as '%s': %s", pin, strerror(-fd));
		return -EPROTO;
	}
	r = loader_map_info(fd, &info);
	if (r)
		return r;
	if (info.value_size != built)
		r = refuse_size(pin, info.value_size, built, ret_why);
	if (!r && (!slot_used || id != info.id))
		r = bpf_map_update_elem(table_of(l, which), &key, &fd, BPF_ANY);
	if (!r)
		l->inner[which] = TAKE_FD(fd);
	return r;
}

static int open_inners(struct loader *l, const struct penstock *skel, char **ret_why)
{
	int r = open_inner(l, LOADER_MEMBERS, skel->maps.set_table, ret_why);

	return r ?: open_inner(l, LOADER_ACCOUNTS, skel->maps.account_table, ret_why);
}

/* Counts of before: there only when a migration changed how counters lie. */
static int open_carried(struct loader *l, char **ret_why)
{
	for (unsigned int i = 0; i < LOADER_COUNTERS_COUNT; i++) {
		int fd = pins_open(l->pin_dir, PINS_MAPS, loader_carried_pins[i]);

		if (fd == -ENOENT)
			continue;
		if (fd < 0) {
			loader_say(ret_why, "cannot open the counts of before, '%s': %s",
				   loader_carried_pins[i], strerror(-fd));
			return fd;
		}
		l->carried[i] = fd;
	}
	return 0;
}

/* ---- load and pin -------------------------------------------------------------------------------- */

/* For this machine's CPUs. */
static int size_dropped(struct penstock *skel)
{
	uint32_t cpus = (uint32_t)libbpf_num_possible_cpus();

	return bpf_map__set_max_entries(skel->maps.dropped, cpus * DP_DROPPED_SLOTS);
}

int loader_size_flows(const struct loader *l, struct penstock *skel)
{
	skel->rodata->flow_mask = l->flow_slots - 1;
	return bpf_map__set_max_entries(skel->maps.flows, l->flow_slots);
}

int loader_load(struct penstock *skel, char **ret_why)
{
	struct utsname u = {};
	int r = penstock__load(skel);

	if (!r)
		return 0;
	(void)uname(&u); /* else the sentence lacks it */
	loader_say(ret_why, "kernel %s refused the programs: %s: %s", u.release, strerror(-r),
		   loader_log_tail());
	return r;
}

/* The skeleton's descriptors go with it; ours stay. */
static int keep_fd(int *to, int from)
{
	int fd = fcntl(from, F_DUPFD_CLOEXEC, 3);

	if (fd < 0)
		return -errno;
	closep(to);
	*to = fd;
	return 0;
}

int loader_keep_map(struct loader *l, const struct penstock *skel, const struct loader_named *map)
{
	return keep_fd(loader_fd(l, map),
		       bpf_map__fd(bpf_object__find_map_by_name(skel->obj, map->name)));
}

int loader_keep_progs(struct loader *l, const struct penstock *skel)
{
	int r = 0;

	for (size_t i = 0; !r && i < LOADER_PROG_COUNT; i++)
		r = keep_fd(loader_fd(l, &loader_progs[i]),
			    bpf_program__fd(bpf_object__find_program_by_name(
				    skel->obj, loader_progs[i].name)));
	return r;
}

int loader_pin(struct loader *l, const char *sub, const struct loader_named *table, size_t count,
	       char **ret_why)
{
	for (size_t i = 0; i < count; i++) {
		int r = pins_replace(l->pin_dir, sub, table[i].name, *loader_fd(l, &table[i]));

		if (!r)
			continue;
		loader_say(ret_why, "cannot pin %s/%s/%s: %s", l->pin_name, sub, table[i].name,
			   strerror(-r));
		return r;
	}
	return 0;
}

static int write_layouts(const struct loader *l)
{
	uint32_t key = 0;

	return bpf_map_update_elem(l->layouts, &key, &layouts_own, BPF_ANY);
}

int loader_write_meta(const struct loader *l, bool complete)
{
	struct dp_meta m = { .abi_version = DP_ABI_VERSION, .serial = l->serial };
	uint32_t key = 0;
	int r = complete ? 0 : write_layouts(l);

	if (complete)
		loader_build(m.build);
	return r ? r : bpf_map_update_elem(l->meta, &key, &m, BPF_ANY);
}

/* What keeps outsiders from choosing addresses that collide: the tables are hashed with it from now on. */
static int draw_keys(const struct loader *l)
{
	struct dp_ctl ctl = {};
	uint32_t key = 0;

	if (getrandom(ctl.hash_key, sizeof(ctl.hash_key), 0) != sizeof(ctl.hash_key))
		return -EIO;
	return bpf_map_update_elem(l->ctl, &key, &ctl, BPF_ANY);
}

static int start_fresh(struct loader *l, struct penstock *skel, char **ret_why)
{
	int r = loader_size_flows(l, skel);

	if (!r)
		r = loader_load(skel, ret_why);
	for (size_t i = 0; !r && i < LOADER_MAPS; i++)
		r = loader_keep_map(l, skel, &loader_maps[i]);
	if (!r)
		r = draw_keys(l);
	if (!r)
		r = write_layouts(l);
	if (!r)
		r = loader_keep_progs(l, skel);
	if (!r)
		r = loader_pin(l, PINS_MAPS, loader_maps, LOADER_MAPS, ret_why);
	if (!r)
		r = loader_pin(l, PINS_PROGS, loader_progs, LOADER_PROG_COUNT, ret_why);
	if (!r)
		r = loader_write_meta(l, true);
	if (r) {
		pins_clear(l->pin_dir, PINS_MAPS);
		pins_clear(l->pin_dir, PINS_PROGS);
	}
	l->start = LOADER_FRESH;
	return r;
}

/*
 * Programs are replaced pin by pin and meta is written last: a crash in between is another upgrade.
 * Attached programs stay the old ones until attach_reconcile() updates their links.
 */
static int start_upgraded(struct loader *l, struct penstock *skel, char **ret_why)
{
	int r = loader_size_flows(l, skel);

	for (size_t i = 0; !r && i < LOADER_MAPS; i++)
		r = bpf_map__reuse_fd(bpf_object__find_map_by_name(skel->obj, loader_maps[i].name),
				      *loader_fd(l, &loader_maps[i]));
	if (!r)
		r = loader_load(skel, ret_why);
	if (!r)
		r = loader_keep_progs(l, skel);
	if (!r)
		r = loader_pin(l, PINS_PROGS, loader_progs, LOADER_PROG_COUNT, ret_why);
	if (!r)
		r = loader_write_meta(l, true);
	l->start = LOADER_UPGRADED;
	return r;
}

/* ---- the start ----------------------------------------------------------------------------------- */

static int found_one(void *ctx, const char *name)
{
	(void)name; /* that there is one is enough */
	*(bool *)ctx = true;
	return 0;
}

/* Half of the maps, or none: no way to go on with, and no way to start over below attached programs. */
static int start_over(struct loader *l, struct penstock *skel, size_t found, char **ret_why)
{
	bool attached = false;
	int r = pins_each(l->pin_dir, PINS_LINKS, found_one, &attached);

	if (r)
		return r;
	if (attached) {
		loader_say(ret_why,
			   "%s has %zu of %d maps but programs are attached: they go on with maps "
			   "that nobody can reach; remove %s/" PINS_LINKS " to detach them",
			   l->pin_name, found, LOADER_MAPS, l->pin_name);
		return -EPROTO;
	}
	close_all(l, loader_maps, LOADER_MAPS);
	pins_clear(l->pin_dir, PINS_MAPS);
	pins_clear(l->pin_dir, PINS_PROGS);
	return start_fresh(l, skel, ret_why);
}

static int read_flow_slots(struct loader *l)
{
	struct bpf_map_info info;
	int r = loader_map_info(l->flows, &info);

	if (!r)
		l->flow_slots = info.max_entries;
	return r;
}

/* The maps lie the same: with their programs, or with new ones. */
static int start_over_same(struct loader *l, struct penstock *skel, const struct dp_meta *meta,
			   char **ret_why)
{
	uint8_t build[16];
	size_t found;
	int r;

	loader_build(build);
	if (memcmp(build, meta->build, sizeof(build)) != 0)
		return start_upgraded(l, skel, ret_why);
	r = open_pins(l, PINS_PROGS, loader_progs, LOADER_PROG_COUNT, &found, ret_why);
	if (r)
		return r;
	if (found < LOADER_PROG_COUNT)
		return start_upgraded(l, skel, ret_why);
	l->start = LOADER_ADOPTED;
	return 0;
}

static int start(struct loader *l, struct penstock *skel, char **ret_why)
{
	struct migration migration = {};
	struct dp_meta meta;
	size_t found;
	int r;

	r = open_pins(l, PINS_MAPS, loader_maps, LOADER_MAPS, &found, ret_why);
	if (r)
		return r;
	r = loader_read_meta(l->meta, &meta);
	if (!r)
		r = migration_judge(l, skel, &meta, &migration, ret_why);
	if (r == -ENODATA)
		return start_over(l, skel, found, ret_why);
	if (!r)
		r = open_banks(l, skel, ret_why);
	if (!r)
		r = open_inners(l, skel, ret_why);
	if (!r)
		r = open_carried(l, ret_why);
	if (!r)
		r = read_flow_slots(l);
	if (r)
		return r;
	l->serial = meta.serial;
	if (migration.needed)
		return migration_prepare(l, skel, &migration, ret_why);
	return start_over_same(l, skel, &meta, ret_why);
}

static int map_ctl(struct loader *l)
{
	void *page =
		mmap(NULL, sizeof(*l->ctl_page), PROT_READ | PROT_WRITE, MAP_SHARED, l->ctl, 0);

	if (page == MAP_FAILED)
		return -errno;
	l->ctl_page = page;
	return 0;
}

int loader_new(struct loader **ret, const char *pin_dir, uint32_t flow_slots, char **ret_why)
{
	_cleanup_(loader_free) struct loader *l = NULL;
	_cleanup_(skelp) struct penstock *skel = NULL;
	int r;

	*ret_why = NULL;
	loader_log_begin();
	if (!loader_is_flow_slots(flow_slots))
		return -EINVAL;
	l = loader_empty(pin_dir);
	if (!l)
		return -ENOMEM;
	l->flow_slots = flow_slots;
	r = pins_prepare(pin_dir, ret_why);
	if (!r)
		r = migration_tidy(pin_dir);
	if (r)
		return r;
	skel = penstock__open();
	if (!skel) {
		r = -errno;
		loader_say(ret_why, "the embedded object does not open: %s", loader_log_tail());
		return r;
	}
	l->bank_flags = bpf_map__map_flags(bpf_map__inner_map(skel->maps.banks));
	r = size_dropped(skel);
	if (!r)
		r = start(l, skel, ret_why);
	if (!r)
		r = map_ctl(l);
	if (r) {
		loader_say(ret_why, "%s: %s", l->pin_name, strerror(-r));
		return r;
	}
	*ret = TAKE_PTR(l);
	return 0;
}

/*
 * Inner maps are put, dropped and pinned again by more than one thread. Without the lock, one that pins again what it
 * finds missing might take a map that is just being dropped for lost, and pin whatever has its descriptor then.
 */
static pthread_mutex_t inner_lock = PTHREAD_MUTEX_INITIALIZER;

static int put_inner(struct loader *l, enum loader_inner which, int fd, char **ret_why)
{
	const char *pin = loader_inner_pins[which];
	uint32_t key = 0;
	int r = pins_replace(l->pin_dir, l->maps, pin, fd), undone;

	if (!r)
		r = bpf_map_update_elem(table_of(l, which), &key, &fd, BPF_ANY);
	if (!r) {
		closep(&l->inner[which]);
		l->inner[which] = fd;
		return 0;
	}
	/* The pin must be of what the slot holds: a start would put it there. */
	if (l->inner[which] < 0)
		undone = pins_remove(l->pin_dir, l->maps, pin);
	else
		undone = pins_replace(l->pin_dir, l->maps, pin, l->inner[which]);
	loader_say(ret_why, "map '%s' cannot be put into place: %s%s", pin, strerror(-r),
		   undone ? "; the pin of before cannot be put back" : "");
	return r;
}

int loader_put_inner(struct loader *l, enum loader_inner which, int fd, char **ret_why)
{
	int r;

	pthread_mutex_lock(&inner_lock);
	r = put_inner(l, which, fd, ret_why);
	pthread_mutex_unlock(&inner_lock);
	return r;
}

int loader_drop_inner(struct loader *l, enum loader_inner which)
{
	uint32_t key = 0;
	int r = bpf_map_delete_elem(table_of(l, which), &key);

	if (r && r != -ENOENT)
		return r;
	pthread_mutex_lock(&inner_lock);
	closep(&l->inner[which]);
	r = pins_remove(l->pin_dir, l->maps, loader_inner_pins[which]);
	pthread_mutex_unlock(&inner_lock);
	return r;
}

/* Adds 1 to *count when the pin was missing. */
static int repin(const struct loader *l, const char *sub, const char *name, int fd, int *count,
		 char **ret_why)
{
	int r;

	if (fd < 0 || pins_has(l->pin_dir, sub, name))
		return 0;
	r = pins_prepare(l->pin_dir, ret_why); /* the directory may be missing, too */
	if (!r)
		r = pins_replace(l->pin_dir, sub, name, fd);
	*count += !r;
	return r;
}

static int repin_table(const struct loader *l, const char *sub, const struct loader_named *table,
		       size_t rows, int *count, char **ret_why)
{
	int r = 0;

	for (size_t i = 0; !r && i < rows; i++)
		r = repin(l, sub, table[i].name, loader_fd_now(l, &table[i]), count, ret_why);
	return r;
}

static int repin_inners(const struct loader *l, int *count, char **ret_why)
{
	int r = 0;

	pthread_mutex_lock(&inner_lock);
	for (unsigned int i = 0; !r && i < LOADER_INNERS; i++)
		r = repin(l, PINS_MAPS, loader_inner_pins[i], l->inner[i], count, ret_why);
	pthread_mutex_unlock(&inner_lock);
	return r;
}

int loader_repin(const struct loader *l, char **ret_why)
{
	int count = 0, r = pins_check(l->pin_dir);

	if (r < 0)
		loader_say(ret_why, "the bpffs below it was unmounted");
	else
		r = repin_table(l, PINS_PROGS, loader_progs, LOADER_PROG_COUNT, &count, ret_why);
	for (unsigned int i = 0; !r && i < DP_BANKS; i++)
		r = repin(l, PINS_MAPS, loader_bank_pins[i], l->bank[i], &count, ret_why);
	if (!r)
		r = repin_inners(l, &count, ret_why);
	for (unsigned int i = 0; !r && i < LOADER_COUNTERS_COUNT; i++)
		r = repin(l, PINS_MAPS, loader_carried_pins[i], l->carried[i], &count, ret_why);
	if (!r)
		r = repin_table(l, PINS_MAPS, loader_maps, LOADER_MAPS, &count, ret_why);
	if (r < 0)
		loader_say(ret_why, "%s", strerror(-r));
	return r < 0 ? r : count;
}

/* ---- questions ----------------------------------------------------------------------------------- */

uint64_t loader_active(const struct loader *l)
{
	return __atomic_load_n(&l->ctl_page->active, __ATOMIC_ACQUIRE);
}

unsigned int loader_active_bank(const struct loader *l)
{
	return dp_active_bank(loader_active(l), flows_now());
}

bool loader_bank_header(const struct loader *l, unsigned int bank, struct dp_bank_header *ret)
{
	struct dp_page page;
	uint32_t key = 0;

	if (bank >= DP_BANKS || l->bank[bank] < 0 ||
	    bpf_map_lookup_elem(l->bank[bank], &key, &page))
		return false;
	memcpy(ret, &page.line[0], sizeof(*ret));
	return ret->magic == DP_BANK_MAGIC && ret->abi_version == DP_ABI_VERSION && ret->lines;
}

static uint64_t memlock_of(int fd)
{
	_cleanup_fclose_ FILE *info = NULL;
	char path[64], line[128];
	unsigned long long bytes;

	if (fd < 0)
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd); /* always fits */
	info = fopen(path, "re");
	while (info && fgets(line, sizeof(line), info)) {
		if (sscanf(line, "memlock: %llu", &bytes) == 1)
			return bytes;
	}
	return 0;
}

uint64_t loader_memory_bytes(const struct loader *l)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < LOADER_INNERS; i++)
		sum += memlock_of(l->inner[i]);
	for (size_t i = 0; i < LOADER_MAPS; i++)
		sum += memlock_of(loader_fd_now(l, &loader_maps[i]));
	for (unsigned int i = 0; i < DP_BANKS; i++)
		sum += memlock_of(l->bank[i]);
	for (unsigned int i = 0; i < LOADER_COUNTERS_COUNT; i++)
		sum += memlock_of(l->carried[i]);
	return sum;
}
