/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Equivalence classes of one dimension. Rules ask for groups of values ("source in $us or
 * 192.0.2.0/24"); values that are in the same groups can be told apart by no rule and share a
 * class. Classes are numbered in the order in which their first value comes, so the same rules
 * always give the same numbers.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "vec.h"

/* A list of disjoint ranges, ascending; borrowed. IPv6 in v6, every other dimension in v4. */
struct class_source {
	const struct range4 *v4;
	const struct range6 *v6;
	size_t count;
};

/* The union of some sources, which may overlap each other; borrowed. */
struct class_group {
	const uint32_t *sources;
	size_t count;
};

struct class_space {
	u128 last; /* the greatest value; the least is 0 */
	bool wide; /* IPv6: sources and segments in their 128-bit form */
	/*
	 * Some rule asks for the values outside a group. Then a value in no group is not the same
	 * as no value at all, and has a class of its own; otherwise it has class 0.
	 */
	bool negated;
	const struct class_source *sources;
	size_t source_count;
	const struct class_group *groups;
	size_t group_count;
};

/*
 * The whole space cut into runs of one class: run i ends where run i + 1 begins; the first begins
 * at 0.
 */
struct segments {
	bool wide;
	VEC(uint32_t) first4; /* one of the two is in use */
	VEC(u128) first6;
	VEC(uint16_t) class_of;
};

/* Beyond class 0, which stands for "no value". */
#define CLASSES_MAX 65535u

struct classes {
	struct segments segments;
	uint32_t
		count; /* class 0 included; may exceed CLASSES_MAX + 1, segments are then useless */
	VEC(size_t)
	from; /* group g is made of classes class_of[from[g]] .. class_of[from[g + 1] - 1] */
	VEC(uint16_t) class_of;
};

/*
 * 0 or -ENOMEM; -E2BIG when the classes' lists of groups would not fit in memory. The caller
 * compares count with the limit and releases the result in every case.
 */
int classes_init(struct classes *classes, const struct class_space *space) _must_check_;
void classes_done(struct classes *classes);

void segments_done(struct segments *s);

static inline u128 segments_first(const struct segments *s, size_t i)
{
	return s->wide ? s->first6.at[i] : s->first4.at[i];
}
