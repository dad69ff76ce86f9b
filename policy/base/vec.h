/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing array of any element type: VEC(struct rule) rules = {}; vec_push(&rules, rule).
 * The owner calls vec_done(). Elements move when the array grows: keep indices, not pointers.
 */
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#define VEC(type)                   \
	struct {                    \
		type *at;           \
		size_t count, room; \
	}

/* The same with a tag, for vectors that cross a function boundary. */
#define VEC_NAMED(name, type)       \
	struct name {               \
		type *at;           \
		size_t count, room; \
	}

/* Makes room for `more` elements beyond count. 0 or -ENOMEM, the vector then unchanged. */
#define vec_reserve(v, more) \
	vec_reserve_bytes((void **)&(v)->at, &(v)->room, (v)->count, (more), sizeof(*(v)->at))

/* Appends a copy of the element. 0 or -ENOMEM. */
#define vec_push(v, ...)                                       \
	({                                                     \
		int vec_r_ = vec_reserve(v, 1);                \
		if (!vec_r_)                                   \
			(v)->at[(v)->count++] = (__VA_ARGS__); \
		vec_r_;                                        \
	})

#define vec_done(v)                         \
	do {                                \
		free((v)->at);              \
		(v)->at = NULL;             \
		(v)->count = (v)->room = 0; \
	} while (0)

static inline int vec_reserve_bytes(void **at, size_t *room, size_t count, size_t more, size_t size)
{
	size_t want;
	void *grown;

	if (*room - count >= more)
		return 0;
	if (__builtin_add_overflow(count, more, &want))
		return -ENOMEM;
	if (want < 2 * *room)
		want = 2 * *room;
	if (want < 8)
		want = 8;
	grown = reallocarray(*at, want, size);
	if (!grown)
		return -ENOMEM;
	*at = grown;
	*room = want;
	return 0;
}
