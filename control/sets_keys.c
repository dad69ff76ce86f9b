/* SPDX-License-Identifier: Apache-2.0 */
/* See sets_keys.h. */
#include "sets_keys.h"

#include <stdlib.h>

#include "abi.h"
#include "addr.h"

struct sets_key sets_key_of(const struct prefix *p)
{
	struct sets_key key = { .what = DP_MEMBER(p->family == ADDR_IPV6, p->len) };

	if (p->family == ADDR_IPV4) {
		key.addr[0] = (uint32_t)p->addr;
		return key;
	}
	for (int i = 0; i < 4; i++)
		key.addr[i] = (uint32_t)(p->addr >> (96 - 32 * i));
	return key;
}

struct prefix sets_prefix_of(const struct sets_key *key)
{
	struct prefix p = { .family = sets_key_is_ipv6(key->what) ? ADDR_IPV6 : ADDR_IPV4,
			    .len = (uint8_t)sets_key_length(key->what) };

	p.addr = key->addr[0];
	for (int i = 1; i < 4 && p.family == ADDR_IPV6; i++)
		p.addr = p.addr << 32 | key->addr[i];
	return p;
}

bool sets_key_is_valid(const uint32_t addr[static 4], uint32_t what)
{
	uint32_t bits = sets_key_is_ipv6(what) ? 128 : 32, len = sets_key_length(what);

	if (what >> 9 || len > bits)
		return false;
	for (uint32_t i = 0; i < 4; i++) {
		uint32_t kept = len > 32 * i ? len - 32 * i : 0;

		if (kept < 32 && addr[i] & UINT32_MAX >> kept)
			return false;
	}
	return true;
}

int sets_key_compare(const struct sets_key *a, const struct sets_key *b)
{
	if (sets_key_is_ipv6(a->what) != sets_key_is_ipv6(b->what))
		return sets_key_is_ipv6(a->what) ? 1 : -1;
	for (int i = 0; i < 4; i++) {
		if (a->addr[i] != b->addr[i])
			return a->addr[i] < b->addr[i] ? -1 : 1;
	}
	return a->what < b->what ? -1 : a->what > b->what;
}

static int compare(const void *a, const void *b)
{
	return sets_key_compare(a, b);
}

size_t sets_keys_sort(struct sets_keys *keys)
{
	size_t kept = 0, count = keys->count;

	if (count)
		qsort(keys->at, count, sizeof(*keys->at), compare);
	for (size_t i = 0; i < count; i++) {
		if (!kept || compare(&keys->at[kept - 1], &keys->at[i]))
			keys->at[kept++] = keys->at[i];
	}
	keys->count = kept;
	return count - kept;
}

bool sets_keys_are_good(const struct sets_keys *keys)
{
	for (size_t i = 0; i < keys->count; i++) {
		if (!sets_key_is_valid(keys->at[i].addr, keys->at[i].what))
			return false;
		if (i && compare(&keys->at[i - 1], &keys->at[i]) >= 0)
			return false;
	}
	return true;
}

bool sets_keys_have(const struct sets_keys *keys, const struct sets_key *key)
{
	return keys->count && bsearch(key, keys->at, keys->count, sizeof(*key), compare);
}

static uint8_t length_of(u128 first, u128 last, unsigned int bits)
{
	uint8_t len = (uint8_t)bits;

	for (u128 host = first ^ last; host; host >>= 1)
		len--;
	return len;
}

int sets_keys_add(struct sets_keys *keys, const struct prefix_set *set)
{
	int r = vec_reserve(keys, set->v4.count + set->v6.count);

	for (size_t i = 0; !r && i < set->v4.count; i++) {
		const struct range4 *range = &set->v4.at[i];
		struct prefix p = { ADDR_IPV4, length_of(range->first, range->last, 32),
				    range->first };

		keys->at[keys->count++] = sets_key_of(&p);
	}
	for (size_t i = 0; !r && i < set->v6.count; i++) {
		const struct range6 *range = &set->v6.at[i];
		struct prefix p = { ADDR_IPV6, length_of(range->first, range->last, 128),
				    range->first };

		keys->at[keys->count++] = sets_key_of(&p);
	}
	return r;
}
