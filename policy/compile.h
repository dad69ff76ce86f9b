/* SPDX-License-Identifier: Apache-2.0 */
/* A compilation under way: what the files of the compiler pass to each other. */
#pragma once

#include "asks.h"
#include "chain_plan.h"
#include "image.h"
#include "lines.h"

/* The class table of a dimension. */
struct table {
	uint32_t ref; /* class 0 until it is written */
	struct classes classes;
};

struct compile {
	const struct model *model;
	struct diag_list *diags;
	struct lines lines;
	struct chain_plan *plans; /* of each chain */
	struct slots *slots;      /* of each plan, borrowed */
	struct asks asks;
	struct table tables[DP_DIM_COUNT];
	struct dp_chain *records; /* of each zone and direction, in the order of their lines */
	size_t record_count;
	struct image_stats stats;
	uint32_t *chain_slots; /* as in struct image */
};

/* In a record: the dimension's table is written later. Line 0 is no table. */
#define TABLE_TO_COME 0

static inline struct dp_chain *compile_record(struct compile *c, uint32_t zone, enum dp_dir dir)
{
	return &c->records[(DP_CHAIN_LINE(zone, dir) - DP_CHAIN_LINE(0, 0)) / DP_CHAIN_LINES];
}

/*
 * Begins a chain's record and writes what packets look for among the near lines alone: the rules of its slots, which
 * of them audit or ask for state, and what run-time sets mean for them. Of all chains before any chain_write().
 * 0, -ENOMEM, -E2BIG.
 */
int chain_write_near(struct compile *c, size_t index) _must_check_;

/*
 * Writes what else a chain owns, its rules and vectors, and fills in its record except for the references to
 * tables and the trees. 0, -ENOMEM, -E2BIG.
 */
int chain_write(struct compile *c, size_t index) _must_check_;

/* Writes a chain's cut trees. 0, -ENOMEM, -E2BIG. */
int chain_trees_write(struct compile *c, size_t index) _must_check_;

/* Sets DP_CHAIN_TRACKS where replies to what passes will be asked about. */
void chains_track(struct compile *c);
