/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one writer of the table of run-time members, `set_table` and `set_filter` of abi.h. Works on memory that
 * packets read meanwhile; makes no system call, so that tests can run it on plain memory. Every step leaves
 * a table that readers, and a successor after a crash, can use:
 *   a member is filled in, its filter bits and its length are set, then one store links it
 *   one store unlinks it; it rests until no reader can still stand on it, then it is free again
 *
 * What the table cannot say (which numbers are free, who expires when, counts) lies beside it in private
 * memory and is found out again by sets_table_adopt().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi.h"
#include "footprint.h"
#include "sets_due.h"
#include "sets_keys.h"

/* Members of all sets together. Also, least room of a table. */
#define SETS_MEMBERS_MAX FOOTPRINT_MEMBERS_MAX
#define SETS_MEMBERS_MIN FOOTPRINT_MEMBERS_MIN

/*
 * Sets that hold the same prefix: they share a chain, whose length is bounded, with strangers whose number
 * only chance bounds.
 */
#define SETS_PER_PREFIX (DP_SET_CHAIN / 2)

/* Member numbers in a row, linked by sets_table.next. */
struct sets_queue {
	uint32_t first, last, count;
};

struct sets_table {
	/* Borrowed: what packets read. lines is NULL while there is no table. */
	struct dp_ctl *ctl;
	struct dp_filter *filter;
	struct dp_line *lines;
	/* Copies of the header: the table is ours, but nobody need trust it. */
	uint32_t heads, head, members, capacity;

	/* Private. */
	uint32_t used;    /* member numbers from here on were never linked */
	uint64_t *linked; /* a bit for each member number */
	uint32_t *next;   /* of queues */
	struct sets_queue free, resting, waiting;
	struct sets_due due;
	uint32_t live;           /* linked members, expired ones included */
	uint32_t count[DP_SETS]; /* of them, by set */
	uint32_t lengths[2][129];
	uint32_t stale;          /* unlinked since the filter was built */
	struct dp_filter *fresh; /* the next filter, being built up to member `fresh_at` */
	uint32_t fresh_at;
};

/* Nothing can be added before a table is there: sets_table_adopt(). */
void sets_table_init(struct sets_table *t, struct dp_ctl *ctl, struct dp_filter *filter);
void sets_table_done(struct sets_table *t); /* leaves what is borrowed alone */

/* ---- members ---------------------------------------------------------------------------------- */

enum sets_added {
	SETS_ADDED,
	SETS_REFRESHED, /* was there; has the new expiry now */
};

/*
 * Adds a member that expires at tick `expires`, 0 for never. enum sets_added, or -ENOSPC: no number is free;
 * -E2BIG: its chain is full; a larger table helps in both cases; -EMLINK: SETS_PER_PREFIX sets hold the
 * prefix. Readers meet the member when this returns.
 */
int sets_table_add(struct sets_table *t, const struct sets_key *key, uint8_t set,
		   uint32_t expires) _must_check_;

/* What adding it would give, lack of a free number apart; SETS_REFRESHED: it is there, expired or not. */
int sets_table_probe(const struct sets_table *t, const struct sets_key *key, uint8_t set);

/* False when there is no such member. */
bool sets_table_del(struct sets_table *t, const struct sets_key *key, uint8_t set);

/* The member's number, 0 for none. */
uint32_t sets_table_find(const struct sets_table *t, const struct sets_key *key, uint8_t set);

/* The first linked member with a number from `from` up to but not including `to`; 0 for none. */
uint32_t sets_table_next(const struct sets_table *t, uint32_t from, uint32_t to);
const struct dp_member *sets_table_member(const struct sets_table *t, uint32_t number);
struct sets_key sets_table_key(const struct sets_table *t, uint32_t number);

/* Unlinks members that have expired at this tick, at most `most`; how many. */
uint32_t sets_table_expire(struct sets_table *t, uint32_t tick, uint32_t most);

/* Unlinks the members of these sets (a bit each) among `most` numbers from *at on, and moves *at on. */
void sets_table_purge(struct sets_table *t, uint64_t sets, uint32_t most, uint32_t *at);

/* Numbers that can be handed out at once. */
uint32_t sets_table_room(const struct sets_table *t);

/*
 * A grace period: what has been unlinked until rest() may be used again after settle(), which is called when
 * no reader is left that saw it linked. False: there is nothing to wait for.
 */
bool sets_table_rest(struct sets_table *t);
void sets_table_settle(struct sets_table *t);

/* ---- tables ------------------------------------------------------------------------------------ */

/* A power of two that holds this many members beside member 0; 0 when it is past SETS_MEMBERS_MAX. */
uint32_t sets_table_capacity(uint64_t members);
uint32_t sets_table_lines(uint32_t capacity);

/*
 * Fills zeroed memory of sets_table_lines(capacity) with the members of t, under their numbers. Reads t
 * alone, so it may run on another thread while nobody changes t. capacity is not less than t's.
 */
void sets_table_copy(const struct sets_table *t, struct dp_line *to, uint32_t capacity);

/*
 * Goes on with a copy that readers have been led to, all of them: what rested is free. -ENOMEM: t still
 * needs the old one. reserve() does what can fail, ahead of time.
 */
int sets_table_reserve(struct sets_table *t, uint32_t capacity) _must_check_;
void sets_table_move(struct sets_table *t, struct dp_line *lines, uint32_t capacity);

/*
 * Takes over the table in `lines` that a predecessor left, which readers may be reading: counts what is linked,
 * cuts chains where they are damaged (*ret_cut says how often) and sets filter and lengths right.
 * -EBADMSG when the header is not that of a table of this size; -ENOMEM.
 */
int sets_table_adopt(struct sets_table *t, struct dp_line *lines, uint32_t line_count,
		     uint32_t *ret_cut) _must_check_;

/* Readers are led away from a table that cannot be adopted: no length is in use any more. */
void sets_table_forget(struct sets_table *t);

/* ---- the filter -------------------------------------------------------------------------------- */

/* More bits are set for members that are gone than for members. */
bool sets_table_filter_is_stale(const struct sets_table *t);

/*
 * Builds the filter anew, `most` member numbers a call; true when it is done or there was no memory for it,
 * which only costs packets a look at the table. Members may come and go in between.
 */
bool sets_table_refilter(struct sets_table *t, uint32_t most);
