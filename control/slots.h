/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which counter belongs to which name. A (chain, id) owns its slot for life, across applies and
 * restarts; a name that left the policy keeps it until slots run out, then the longest retired go. Pure:
 * the next table is computed from the last one, and the caller clears what got a new owner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "vec.h"

struct json_object;

/* In a table of chains id is "". */
struct slot_name {
	const char *chain, *id;
};

struct slot_owner {
	struct slot_name name;
	uint32_t slot;
	uint64_t retired; /* the generation that did not name it any more; 0: in use */
};

VEC_NAMED(slot_names, struct slot_name);
VEC_NAMED(slot_owners, struct slot_owner);
VEC_NAMED(slot_list, uint32_t);

struct slot_table {
	struct arena arena;        /* owns the names */
	struct slot_owners owners; /* ascending by name */
	uint32_t limit;            /* slots are 1 .. limit - 1 */
	uint32_t next;             /* from here on no slot ever had an owner that we know of */
	uint32_t clean_from;       /* from here on counters are zero */
};

/* clean: the counters are known to be zero, as in new maps. */
void slot_table_init(struct slot_table *t, uint32_t limit, bool clean);
void slot_table_done(struct slot_table *t);

/* 0 when nobody of that name has a slot. */
uint32_t slot_table_find(const struct slot_table *t, const char *chain, const char *id);

/*
 * The table of a generation with these names. Slots of names that are in use in `old` are never given
 * away. ret_clear gets the slots whose counters are to be zeroed before the generation is active.
 * -ENOSPC when slots run out, -EEXIST when a name comes twice; ret and ret_clear are then untouched.
 */
int slot_table_next(const struct slot_table *old, const struct slot_names *wanted,
		    uint64_t generation, struct slot_table *ret,
		    struct slot_list *ret_clear) _must_check_;

/* How many slots the names in use in `old` and these take together: more than there are with -ENOSPC. */
size_t slot_table_need(const struct slot_table *old, const struct slot_names *wanted);

struct json_object *slot_table_to_json(const struct slot_table *t);

/* ret was initialised, empty. -EBADMSG when it is no table, or of other limits. */
int slot_table_from_json(struct slot_table *ret, struct json_object *json) _must_check_;
