/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Class tables as packets read them (abi.h, "a reference"): tries for addresses, arrays for all
 * else. Both take the segments of classes.h, write lines, and give back the reference for a chain
 * record; a table with one class everywhere needs no lines.
 */
#pragma once

#include "classes.h"
#include "lines.h"

/* segments of IPv4 or IPv6 addresses. 0, -ENOMEM, -E2BIG. */
int trie_write(struct lines *lines, const struct segments *segments,
	       uint32_t *ret_ref) _must_check_;

/* segments of the values 0 .. count - 1. 0, -ENOMEM, -E2BIG. */
int array_write(struct lines *lines, const struct segments *segments, uint32_t count,
		uint32_t *ret_ref) _must_check_;
