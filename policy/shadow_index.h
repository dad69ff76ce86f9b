/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds among many rules the few that could cover another one; for shadow.c alone. What a rule asks of
 * addresses, ports and protocol is put into aligned blocks. Who covers a rule has in every dimension a
 * block around the one that the rule's first values lie in, so only those are looked up.
 */
#pragma once

#include "model.h"
#include "reach.h"
#include "u128map.h"

enum shadow_dim {
	SHADOW_FROM,
	SHADOW_TO,
	SHADOW_DPORT, /* of ICMP the type */
	SHADOW_SPORT, /* of ICMP the code */
	SHADOW_PROTO,
	SHADOW_DIM_COUNT,
};

/* Values that begin with the first len bits of value. */
struct shadow_block {
	u128 value;
	uint32_t len;
	uint32_t around; /* index of the next wider block that some rule has */
};

/* Every block that a rule has in one dimension, once. */
struct shadow_blocks {
	VEC(struct shadow_block) vec;
	struct u128map ids;
	bool lens[129]; /* some block has this length */
};

struct shadow_entry {
	uint32_t rule, next;
};

struct shadow_list {
	uint32_t first, last; /* entries */
};

/* One rule in one dimension. */
struct shadow_part {
	uint32_t start;        /* block that its first values lie in */
	uint32_t first, count; /* blocks that hold all of them, in `used` */
};

struct shadow_index {
	struct shadow_blocks blocks[SHADOW_DIM_COUNT];
	VEC(uint32_t) used;                            /* blocks of all parts */
	struct shadow_part (*parts)[SHADOW_DIM_COUNT]; /* by rule */
	struct u128map nodes;             /* reached from a node by a block of the next dimension */
	VEC(struct shadow_list) lists;    /* by node: who has these blocks, in order */
	VEC(struct shadow_entry) entries; /* of all lists */
	size_t compared;                  /* rules so far */
};

/* reaches: one for each rule. 0 or -ENOMEM; release with shadow_index_done() in both cases. */
int shadow_index_init(struct shadow_index *index, const struct model *model,
		      const struct model_chain *chain, const struct reach *reaches) _must_check_;
void shadow_index_done(struct shadow_index *index);

/* Makes a rule one that can be found; rules are added in their order. 0 or -ENOMEM. */
int shadow_index_add(struct shadow_index *index, uint32_t rule) _must_check_;

#define SHADOW_NONE UINT32_MAX

/*
 * The first added rule with blocks around those of `rule` for which covers() is true, or SHADOW_NONE. In very
 * long chains of rules that differ in what no block tells (sets, exclusions, tags) some may not be found.
 */
uint32_t shadow_index_find(struct shadow_index *index, uint32_t rule, void *ctx,
			   bool (*covers)(void *ctx, uint32_t wide, uint32_t narrow));
