/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See loader_leftovers.h. A map that the migration kept is pinned in both directories, and there is nothing to carry.
 * Counters must be added once, whenever this is cut short: their sum takes the place of the old map's pin in one step,
 * and that pin moves to its place in maps/ in another. What is an array there is a sum that only has to move.
 */
#include "loader_leftovers.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <bpf/bpf.h>

#include "counters_carry.h"
#include "flows.h"
#include "layouts.h"
#include "loader_log.h"
#include "loader_pins.h"
#include "loader_table.h"
#include "vec.h"

#define CUT_SHORT "a migration that was cut short is finished"

struct leftover {
	uint32_t serial;
	char sub[32];
};

VEC_NAMED(leftover_list, struct leftover);

static void list_done(struct leftover_list *all)
{
	vec_done(all);
}

static int add_leftover(void *ctx, const char *name)
{
	struct leftover_list *all = ctx;
	struct leftover one = {};

	if (sscanf(name, PINS_ASIDE "%u", &one.serial) != 1)
		return 0;
	(void)snprintf(one.sub, sizeof(one.sub), PINS_ASIDE "%u", one.serial); /* always fits */
	return vec_push(all, one);
}

static int by_serial(const void *pa, const void *pb)
{
	const struct leftover *a = pa, *b = pb;

	return a->serial < b->serial ? -1 : a->serial > b->serial;
}

static int list_all(const struct loader *l, struct leftover_list *ret)
{
	int r = pins_each(l->pin_dir, ".", add_leftover, ret);

	if (!r && ret->count)
		qsort(ret->at, ret->count, sizeof(*ret->at), by_serial);
	return r;
}

bool leftovers_any(const struct loader *l)
{
	_cleanup_(list_done) struct leftover_list all = {};

	return !list_all(l, &all) && all.count;
}

/* -ENOENT: it was being removed when a start was cut short, so there is nothing in it any more. */
static int read_layouts(const struct loader *l, const struct leftover *from, struct dp_layouts *ret)
{
	_cleanup_close_ int fd = pins_open(l->pin_dir, from->sub, "layouts");
	uint32_t key = 0;

	return fd < 0 ? fd : bpf_map_lookup_elem(fd, &key, ret);
}

static int check_one(const struct loader *l, const struct leftover *from,
		     const struct dp_layouts *layouts, char **ret_why)
{
	static const char *const carried[] = {
		"flows", "pending", "fragments", "rule_counters", "chain_counters", "state_counters"
	};
	const char *why;

	for (size_t i = 0; i < sizeof(carried) / sizeof(*carried); i++) {
		enum layouts_fate fate =
			layouts_judge(layouts_find(layouts, carried[i]), carried[i], &why);

		if (fate != LAYOUTS_REFUSED)
			continue;
		loader_say(ret_why,
			   "%s/%s is of a migration that was cut short, and '%s' of it is of a "
			   "layout that this build cannot carry over: %s; one of the builds "
			   "before must finish it",
			   l->pin_name, from->sub, carried[i], why);
		return -EPROTO;
	}
	return 0;
}

int leftovers_check(const struct loader *l, char **ret_why)
{
	_cleanup_free_ struct dp_layouts *layouts = malloc(sizeof(*layouts));
	_cleanup_(list_done) struct leftover_list all = {};
	int r = layouts ? list_all(l, &all) : -ENOMEM;

	for (size_t i = 0; !r && i < all.count; i++) {
		r = read_layouts(l, &all.at[i], layouts);
		if (!r)
			r = check_one(l, &all.at[i], layouts, ret_why);
		else if (r == -ENOENT)
			r = 0;
	}
	return r;
}

/* A descriptor, or -ENOENT: it is not there, or it is `same`, which goes on. */
static int open_other(const struct loader *l, const struct leftover *from, const char *map,
		      int same, struct bpf_map_info *ret)
{
	_cleanup_close_ int fd = pins_open(l->pin_dir, from->sub, map);
	struct bpf_map_info mine = {};
	int r = fd < 0 ? fd : loader_map_info(fd, ret);

	if (!r && same >= 0)
		r = loader_map_info(same, &mine);
	if (r)
		return r;
	return ret->id == mine.id ? -ENOENT : TAKE_FD(fd);
}

/* ---- flows --------------------------------------------------------------------------------------- */

static size_t stride_of(uint32_t value_bytes)
{
	return (value_bytes + 7u) & ~(size_t)7;
}

/* from: a map of `slots` values of another layout; to: ours. */
static int carry_mapped(enum flows_table which, int from_fd, const struct dp_layout *layout,
			int to_fd, uint32_t slots, struct flows_carried *ret)
{
	static const uint32_t own_bytes[FLOWS_TABLE_COUNT] = { sizeof(struct dp_flow),
							       sizeof(struct dp_flow),
							       sizeof(struct dp_fragment) };
	size_t from_len = slots * stride_of(layout->value_bytes),
	       to_len = slots * (size_t)own_bytes[which];
	struct flows_from from = { .layout = layout, .stride = stride_of(layout->value_bytes) };
	void *theirs = mmap(NULL, from_len, PROT_READ, MAP_SHARED, from_fd, 0), *ours;

	if (theirs == MAP_FAILED)
		return -errno;
	ours = mmap(NULL, to_len, PROT_READ | PROT_WRITE, MAP_SHARED, to_fd, 0);
	if (ours == MAP_FAILED) {
		int r = -errno;

		(void)munmap(theirs, from_len); /* ours: cannot fail, as below */
		return r;
	}
	from.at = theirs;
	flows_carry(which, &from, ours, slots, flows_now(), ret);
	(void)munmap(ours, to_len);
	(void)munmap(theirs, from_len);
	return 0;
}

static int carry_table(const struct loader *l, const struct leftover *from,
		       const struct dp_layouts *layouts, enum flows_table which,
		       struct leftovers_result *ret)
{
	const struct {
		const char *map;
		int fd;
	} tables[FLOWS_TABLE_COUNT] = {
		[FLOWS_TABLE_FLOWS] = { "flows", l->flows },
		[FLOWS_TABLE_PENDING] = { "pending", l->pending },
		[FLOWS_TABLE_FRAGMENTS] = { "fragments", l->fragments },
	};
	const struct dp_layout *layout = layouts_find(layouts, tables[which].map);
	struct bpf_map_info theirs, ours;
	const char *why;
	_cleanup_close_ int fd = open_other(l, from, tables[which].map, tables[which].fd, &theirs);
	enum layouts_fate fate;
	int r;

	if (fd == -ENOENT)
		return 0;
	r = fd < 0 ? fd : loader_map_info(tables[which].fd, &ours);
	if (r)
		return r;
	fate = layouts_judge(layout, tables[which].map, &why);
	if ((fate != LAYOUTS_KEPT && fate != LAYOUTS_CARRIED) ||
	    theirs.value_size != layout->value_bytes || theirs.max_entries != ours.max_entries)
		return -EPROTO;
	return carry_mapped(which, fd, layout, tables[which].fd, ours.max_entries,
			    &ret->flows[which]);
}

int leftovers_carry(const struct loader *l, struct leftovers_result *ret, char **ret_why)
{
	_cleanup_free_ struct dp_layouts *layouts = malloc(sizeof(*layouts));
	_cleanup_(list_done) struct leftover_list all = {};
	int r = layouts ? list_all(l, &all) : -ENOMEM;

	*ret = (struct leftovers_result){};
	for (size_t i = 0; !r && i < all.count; i++) {
		r = read_layouts(l, &all.at[i], layouts);
		if (r == -ENOENT) {
			r = 0;
			continue;
		}
		/* The large one last: what is unanswered changes most. */
		for (int t = FLOWS_TABLE_COUNT - 1; !r && t >= 0; t--)
			r = carry_table(l, &all.at[i], layouts, (enum flows_table)t, ret);
		if (r)
			loader_say(ret_why, "flows of %s/%s cannot be carried over: %s",
				   l->pin_name, all.at[i].sub, strerror(-r));
	}
	/* Packets look from now on: the word is theirs alone while there is none. */
	if (ret->flows[FLOWS_TABLE_FLOWS].kept)
		__atomic_store_n(&l->ctl_page->has_flows, 1, __ATOMIC_RELEASE);
	return r;
}

/* ---- counters ------------------------------------------------------------------------------------ */

/* The sum takes the place of what was added up. */
static int add_up(struct loader *l, const struct leftover *from, const struct dp_layouts *layouts,
		  enum loader_counters which, int live)
{
	const char *map = loader_counters_names[which];
	struct bpf_map_info ignored;
	_cleanup_close_ int carried = open_other(l, from, loader_carried_pins[which],
						 l->carried[which], &ignored),
			    sum = -1;
	const struct counters_from add = { layouts_find(layouts, map), live, carried };
	const char *why;
	int r;

	if (carried < 0 && carried != -ENOENT)
		return carried;
	if (layouts_judge(add.layout, map, &why) != LAYOUTS_CARRIED &&
	    layouts_judge(add.layout, map, &why) != LAYOUTS_KEPT)
		return -EPROTO;
	r = counters_carry(l, which, &add, &sum);
	return r ? r : pins_replace(l->pin_dir, from->sub, map, sum);
}

/* Builds that cut each other short may have shared it: the last one has it counted. */
static bool is_in_later(const struct loader *l, const struct leftover_list *all, size_t i,
			const char *map, uint32_t id)
{
	while (++i < all->count) {
		struct bpf_map_info info;
		_cleanup_close_ int fd = open_other(l, &all->at[i], map, -1, &info);

		if (fd >= 0 && info.id == id)
			return true;
	}
	return false;
}

static int take_counters(struct loader *l, const struct leftover_list *all, size_t i,
			 const struct dp_layouts *layouts, enum loader_counters which)
{
	const struct leftover *from = &all->at[i];
	const int mine[LOADER_COUNTERS_COUNT] = { l->rule_counters, l->chain_counters,
						  l->state_counters };
	const char *map = loader_counters_names[which];
	struct bpf_map_info info;
	_cleanup_close_ int fd = open_other(l, from, map, mine[which], &info);
	int r = 0;

	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fd;
	if (is_in_later(l, all, i, map, info.id))
		return 0;
	if (info.type != BPF_MAP_TYPE_ARRAY)
		r = add_up(l, from, layouts, which, fd);
	if (!r)
		r = pins_move(l->pin_dir, from->sub, map, PINS_MAPS, loader_carried_pins[which]);
	if (r)
		return r;
	r = pins_open(l->pin_dir, PINS_MAPS, loader_carried_pins[which]);
	if (r < 0)
		return r;
	closep(&l->carried[which]);
	l->carried[which] = r;
	return 0;
}

/* ---- the end ------------------------------------------------------------------------------------- */

static bool is_known(const char *name)
{
	bool known = false;

	for (size_t i = 0; !known && i < LOADER_INNERS; i++)
		known = !strcmp(name, loader_inner_pins[i]);
	for (size_t i = 0; !known && i < LOADER_MAPS; i++)
		known = !strcmp(name, loader_maps[i].name);
	for (size_t i = 0; !known && i < DP_BANKS; i++)
		known = !strcmp(name, loader_bank_pins[i]);
	for (size_t i = 0; !known && i < LOADER_COUNTERS_COUNT; i++)
		known = !strcmp(name, loader_carried_pins[i]);
	return known;
}

static int count_unknown(void *ctx, const char *name)
{
	*(uint32_t *)ctx += !is_known(name);
	return 0;
}

static int finish_one(struct loader *l, const struct leftover_list *all, size_t i,
		      struct dp_layouts *layouts, struct leftovers_result *ret)
{
	const struct leftover *from = &all->at[i];
	int r = read_layouts(l, from, layouts);

	for (int c = 0; !r && c < LOADER_COUNTERS_COUNT; c++)
		r = take_counters(l, all, i, layouts, (enum loader_counters)c);
	if (!r || r == -ENOENT)
		r = pins_each(l->pin_dir, from->sub, count_unknown, &ret->dropped);
	return r ? r : pins_remove_sub(l->pin_dir, from->sub);
}

int leftovers_finish(struct loader *l, struct leftovers_result *ret, char **ret_why)
{
	_cleanup_free_ struct dp_layouts *layouts = malloc(sizeof(*layouts));
	_cleanup_(list_done) struct leftover_list all = {};
	int r = leftovers_carry(l, ret, ret_why);

	if (!r)
		r = layouts ? list_all(l, &all) : -ENOMEM;
	for (size_t i = 0; !r && i < all.count; i++) {
		r = finish_one(l, &all, i, layouts, ret);
		if (r)
			loader_say(ret_why, "what %s/%s holds cannot be carried over: %s",
				   l->pin_name, all.at[i].sub, strerror(-r));
	}
	l->start = LOADER_MIGRATED;
	if (!l->changes)
		l->changes = strdup(CUT_SHORT); /* without memory it is not said */
	return r;
}
