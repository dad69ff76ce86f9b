/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rules of a model ask for, dimension by dimension, in the terms of classes.h: `from:
 * [$us, 192.0.2.0/24]` becomes a group of source addresses of either family, `dport: [80, 443]` a
 * group of ports. Equal lists are one group, whichever rules they stand in. Large sets are
 * borrowed, not copied.
 */
#pragma once

#include "abi.h"
#include "arena.h"
#include "classes.h"
#include "model.h"
#include "u128map.h"

#define ASK_NOTHING UINT32_MAX

/* Of one rule in one dimension: the value must be in group `in`, and not in group `out`. */
struct ask {
	uint32_t in, out; /* ASK_NOTHING: no such demand */
};

struct asks_dim {
	VEC(struct class_source) sources;
	VEC(struct class_group) groups;
	struct u128map known; /* hash of what a group is made of -> group */
	uint32_t
		*source_of_set; /* addresses: index in sources of a set of the model, ASK_NOTHING */
	struct ask *rules;      /* of rule r of chain c: rules[asks.first_rule[c] + r] */
	bool negated;
};

struct asks {
	struct arena arena;
	size_t *first_rule; /* of each chain, when all rules of all chains stand in one row */
	struct asks_dim dims[DP_DIM_COUNT];
};

/* The model must outlive the result. 0 or -ENOMEM; released by asks_done() in every case. */
int asks_init(struct asks *asks, const struct model *model) _must_check_;
void asks_done(struct asks *asks);

/* The greatest value of a dimension: the values of its table are 0 .. this. */
u128 asks_last(enum dp_dim dim);

static inline bool asks_wide(enum dp_dim dim)
{
	return dim == DP_DIM_SRC6 || dim == DP_DIM_DST6;
}

static inline bool asks_address(enum dp_dim dim)
{
	return dim == DP_DIM_SRC4 || dim == DP_DIM_DST4 || asks_wide(dim);
}
