/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How this build's maps lie, and what becomes of a map that another build made: see struct dp_layout. Knows bytes
 * alone, no kernel.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "abi.h"

enum layouts_fate {
	LAYOUTS_KEPT,     /* the same: the map goes on */
	LAYOUTS_NEW,      /* the other build has no such map */
	LAYOUTS_CARRIED,  /* a new map, which gets what the other holds */
	LAYOUTS_COMPILED, /* a new map, which gets what the policy's text says */
	LAYOUTS_REFUSED,
	LAYOUTS_FATE_COUNT,
};

/* This build's; every map that is pinned has one. */
extern const struct dp_layouts layouts_own;

/* NULL when there is none of the name. */
const struct dp_layout *layouts_find(const struct dp_layouts *all, const char *map);

/* What becomes of a map that lies as `found`, NULL for none. *ret_why: of a refusal, static. */
enum layouts_fate layouts_judge(const struct dp_layout *found, const char *map,
				const char **ret_why);

/* One entry of another build's value as this build has it; fields that the other lacks are 0. */
void layouts_convert(const struct dp_layout *from, const void *entry, const struct dp_layout *to,
		     void *ret);
