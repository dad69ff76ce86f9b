/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image while it is being written: lines are only ever added, and are zero until filled. They
 * move when more are added: keep numbers, not pointers.
 */
#pragma once

#include "abi.h"
#include "image.h"
#include "vec.h"

struct lines {
	VEC(struct dp_line) vec;
};

/* Adds count lines. 0, -ENOMEM, or -E2BIG when the image would have more than IMAGE_MAX_LINES. */
int lines_add(struct lines *lines, size_t count, uint32_t *ret_first) _must_check_;

/* Lines that hold `count` things of which `per_line` fit in one. */
static inline size_t lines_for(size_t count, size_t per_line)
{
	return (count + per_line - 1) / per_line;
}
