/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sizes of the maps that the daemon makes, and what an image will take of them before anything is made.
 * Sizes are what the kernel accounts for map memory; programs, some hundred KiB, come on top.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "image.h"
#include "model.h"

/* ---- maps whose size follows the policy ---------------------------------------------------------- */

/* Pages of a bank's map for so many lines: a power of two, so that a policy can grow in its place. */
static inline uint32_t footprint_bank_pages(uint32_t lines)
{
	uint32_t need = (lines + DP_PAGE_LINES - 1) / DP_PAGE_LINES, room = 1;

	while (room < need)
		room *= 2;
	return room;
}

/* Members of all run-time sets together: with its heads a table of 160 MiB. Also, least room of a table. */
#define FOOTPRINT_MEMBERS_MAX (4u * 1024 * 1024)
#define FOOTPRINT_MEMBERS_MIN 1024u

#define FOOTPRINT_HEADS_PER_MEMBER 2 /* so that most chains have at most one member */

/* A power of two that holds this many members beside member 0; 0 when it is past FOOTPRINT_MEMBERS_MAX. */
static inline uint32_t footprint_member_capacity(uint64_t members)
{
	uint32_t capacity = FOOTPRINT_MEMBERS_MIN;

	while (capacity <= members && capacity < FOOTPRINT_MEMBERS_MAX)
		capacity *= 2;
	return capacity > members ? capacity : 0;
}

/* Lines of a table with this capacity: header, heads, members. */
static inline uint32_t footprint_member_lines(uint32_t capacity)
{
	return 1 + capacity * FOOTPRINT_HEADS_PER_MEMBER / DP_HEADS_PER_LINE +
	       capacity / DP_MEMBERS_PER_LINE;
}

/*
 * Groups of the cache of tuples for each CPU, for so many flows at once, both directions of each: a power of two; 0 for
 * none.
 */
static inline uint32_t footprint_account_groups(uint64_t flows, unsigned int cpus)
{
	uint64_t slots = 2 * flows / cpus, groups = 1;

	while (groups * DP_ACCOUNT_WAYS < slots)
		groups *= 2;
	return flows ? (uint32_t)groups : 0;
}

/* ---- all of them --------------------------------------------------------------------------------- */

struct footprint_map {
	const char *name; /* as the kernel knows it */
	uint64_t bytes;
};

#define FOOTPRINT_MAPS 12

struct footprint {
	struct footprint_map
		maps[FOOTPRINT_MAPS]; /* all but `accounts` are there with every policy */
	uint64_t fixed_bytes;         /* their sum */
	uint64_t bank_bytes;          /* the map of one bank */
	uint64_t members;      /* that may be added at run time, as every set's `max` allows */
	uint64_t member_bytes; /* the table for them; there is none before the first is added */
};

/*
 * cpus: those the kernel counts for, each with counters of its own. flow_slots: of the daemon; DP_FLOW_SLOTS
 * unless it was told otherwise.
 */
struct footprint footprint_of(const struct model *model, const struct image *image,
			      unsigned int cpus, uint64_t flow_slots);
