/* SPDX-License-Identifier: Apache-2.0 */
/* Prefixes as struct dp_member has them, and lists of them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vec.h"

struct prefix;
struct prefix_set;

/* As in struct dp_member: host order, bits past the length 0; what = DP_MEMBER(). */
struct sets_key {
	uint32_t addr[4], what;
};

VEC_NAMED(sets_keys, struct sets_key);

static inline bool sets_key_is_ipv6(uint32_t what)
{
	return what >> 8;
}

static inline uint32_t sets_key_length(uint32_t what)
{
	return what & 0xff;
}

struct sets_key sets_key_of(const struct prefix *p);
struct prefix sets_prefix_of(const struct sets_key *key);

/* Is it a prefix, with no bit beyond its length? */
bool sets_key_is_valid(const uint32_t addr[static 4], uint32_t what);

/* A total order: family, address, length. */
int sets_key_compare(const struct sets_key *a, const struct sets_key *b);

/* Ascending, each once. How many came twice or more. */
size_t sets_keys_sort(struct sets_keys *keys);

/* All are valid, ascending, and none is there twice. */
bool sets_keys_are_good(const struct sets_keys *keys);

/* keys are good. */
bool sets_keys_have(const struct sets_keys *keys, const struct sets_key *key);

/* Adds the ranges of an unsealed set, which are the prefixes it was given. 0 or -ENOMEM. */
int sets_keys_add(struct sets_keys *keys, const struct prefix_set *set)
	__attribute__((warn_unused_result));
