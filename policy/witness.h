/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames that a rule matches, to be held against the bank that is made of it: of each list the ends, not all of
 * what is between them. What a set may hold tomorrow is no witness of today.
 */
#pragma once

#include "model.h"

#define WITNESSES     8  /* of a rule at most, four of a family */
#define WITNESS_BYTES 78 /* Ethernet, a tag, IPv6, TCP */

struct witness {
	uint8_t frame[WITNESS_BYTES];
	uint32_t len;
};

/* How many there are; 0 for a rule that nothing matches, or only what run-time sets and feeds hold. */
size_t witness_make(const struct model *model, const struct model_rule *rule,
		    struct witness ret[static WITNESSES]);
