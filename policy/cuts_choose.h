/* SPDX-License-Identifier: Apache-2.0 */
/* Where to cut: the bits of a field that part the boxes of a list best. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

/* A field of a packet's words (abi.h); a box has one range of values in it. */
struct cut_field {
	uint8_t word, shift, bits;
};

#define CUT_FIELDS_MAX 12

/* The boxes of a tree by their fields. */
struct cut_space {
	const struct cut_field *fields;
	unsigned int field_count;
	struct range4
		*ranges[CUT_FIELDS_MAX]; /* of each box, by its number; owned by the builder */
};

/* A part of the space: in each field the least and greatest value that a packet there may have. */
struct cut_hull {
	struct range4 range[CUT_FIELDS_MAX];
};

/* The part of a box's range that is in the hull. They must meet. */
static inline struct range4 cut_clip(struct range4 range, struct range4 hull)
{
	return (struct range4){ range.first > hull.first ? range.first : hull.first,
				range.last < hull.last ? range.last : hull.last };
}

/* Bits [shift, shift + bits) of a field choose one of 2^bits children. */
struct cut_choice {
	uint8_t field, shift, bits;
};

/*
 * The children that a range reaches: `count` of them from `first` on, where the one after the last is the
 * first again.
 */
struct cut_reach {
	uint32_t first, count;
};

static inline struct cut_reach cut_reach(struct range4 range, unsigned int shift, unsigned int bits)
{
	uint32_t children = 1u << bits, first = range.first >> shift,
		 more = (range.last >> shift) - first;

	if (more >= children - 1)
		return (struct cut_reach){ 0, children };
	return (struct cut_reach){ first & (children - 1), more + 1 };
}

/*
 * The best cut of a list of boxes, all of which meet the hull; false when none is worth what it repeats.
 * The same lists give the same cuts on every machine.
 */
bool cut_choose(const struct cut_space *space, const struct cut_hull *hull, const uint32_t *list,
		size_t count, struct cut_choice *ret);
