/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules as boxes: what a rule asks for as one or several combinations of a source block, a destination block
 * and one range for each other field (abi.h, "cut trees"). A list is several boxes of the same rule, and what
 * is negated the blocks around it.
 */
#pragma once

#include <stdint.h>

#include "abi.h"
#include "model.h"

/* Addresses as in the words of a packet; IPv4 in the first. */
struct box {
	uint32_t src[4], dst[4];
	struct dp_box_rest rest;
};

VEC_NAMED(box_vec, struct box);

/* Of one rule in one family; a rule that needs more has its place in vectors. */
#define BOXES_PER_RULE 4096u

/* An address block: the last `shift` bits do not count. */
struct block {
	u128 addr;
	uint8_t shift;
};

VEC_NAMED(range_vec, struct range6);

/* Makes boxes of the rules of one model, one after the other. Start with the model alone set. */
struct boxer {
	const struct model *model;
	struct range_vec in, out; /* scratch, as all below */
	VEC(struct block) blocks; /* of the source, then of the destination */
	VEC(struct dp_box_rest) rests;
};

/*
 * Adds the boxes of a rule in a family (the bit number of asks_families()); none when it matches nothing there.
 * Not for rules that only vectors know: asks_any_packet(), or with run-time sets. 0, -ENOMEM; -E2BIG when they
 * would be more than BOXES_PER_RULE, with none added.
 */
int boxes_add(struct boxer *b, const struct model_rule *rule, uint32_t number, unsigned int family,
	      struct box_vec *boxes) _must_check_;

void boxer_done(struct boxer *b);
