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

/* The rules of a chain that stand in vectors: slot s is rule number rule[s], ascending. */
struct slots {
	uint16_t *rule;
	size_t count;
};

struct asks_dim {
	VEC(struct class_source) sources;
	VEC(struct class_group) groups;
	struct u128map known; /* hash of what a group is made of -> group */
	uint32_t
		*source_of_set; /* addresses: index in sources of a set of the model, ASK_NOTHING */
	struct ask *slots;      /* of slot s of chain c: slots[asks.first_slot[c] + s] */
	bool negated;
};

struct asks {
	struct arena arena;
	size_t *first_slot; /* of each chain, when all slots of all chains stand in one row */
	struct asks_dim dims[DP_DIM_COUNT];
};

/*
 * slots: of each chain, borrowed. The model must outlive the result. 0 or -ENOMEM; released by asks_done() in
 * every case.
 */
int asks_init(struct asks *asks, const struct model *model, const struct slots *slots) _must_check_;
void asks_done(struct asks *asks);

/*
 * Families in which a rule can match a packet; the bit number is the family part of DP_PROTO_INDEX. A run-time
 * set may come to hold addresses of either.
 */
unsigned int asks_families(const struct model *model, const struct model_rule *rule);

/*
 * A rule can match packets of this protocol, as far as its keys need one. `proto: icmp` is ICMP over IPv4 and
 * `icmp6` ICMPv6 over IPv6: the number in the other family is another thing, which only a rule without `proto`
 * meets. Ports and flags exist in some protocols only.
 */
bool asks_proto(const struct model_rule *rule, unsigned int family, unsigned int proto);

/* A rule matches also packets that are not IP. */
bool asks_any_packet(const struct model_rule *rule);

/* An operand names a run-time set. */
bool asks_runtime(const struct model *model, const struct model_operand *operand);

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
