/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A packet's look at the run-time sets, written from abi.h and not from the writer: the sets that hold an
 * address. Fails the test when a chain is longer than packets follow it.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "abi.h"
#include "addr.h"

struct sets_reader {
	const struct dp_ctl *ctl;
	const struct dp_filter *filter;
	struct dp_line *const
		*lines; /* what the slot of set_table leads to; NULL in it: no table */
};

static inline u128 sets_reader_mask(u128 addr, unsigned int bits, unsigned int len)
{
	return len ? addr >> (bits - len) << (bits - len) : 0;
}

static inline uint64_t sets_reader_chain(const struct dp_line *lines, uint64_t h,
					 const uint32_t *addr, uint32_t what, uint32_t tick)
{
	const struct dp_set_header *header = (const void *)lines;
	const uint32_t *head = (const uint32_t *)&lines[header->head] + (h >> 32) % header->heads;
	uint32_t number = __atomic_load_n(head, __ATOMIC_ACQUIRE), steps = 0;
	uint64_t sets = 0;

	while (number) {
		const struct dp_member *m =
			(const struct dp_member *)&lines[header->members + number / 2] + number % 2;
		uint32_t expires = __atomic_load_n(&m->expires, __ATOMIC_RELAXED);

		if (++steps > DP_SET_CHAIN || number >= header->capacity)
			fail_msg("member %u of %u is step %u of a chain", number, header->capacity,
				 steps);
		if (m->what == what && !memcmp(m->addr, addr, sizeof(m->addr)) &&
		    (!expires || tick < expires))
			sets |= 1ull << m->set;
		number = __atomic_load_n(&m->next, __ATOMIC_ACQUIRE);
	}
	return sets;
}

static inline uint64_t sets_reader_length(const struct sets_reader *r, bool ipv6, u128 addr,
					  unsigned int len, uint32_t tick)
{
	const struct dp_line *lines = __atomic_load_n(r->lines, __ATOMIC_ACQUIRE);
	u128 masked = sets_reader_mask(addr, ipv6 ? 128 : 32, len);
	uint32_t words[4] = { (uint32_t)masked }, what = DP_MEMBER(ipv6, len);
	uint64_t h, bits;

	for (int i = 0; ipv6 && i < 4; i++)
		words[i] = (uint32_t)(masked >> (96 - 32 * i));
	h = ipv6 ? dp_member_hash6(r->ctl->hash_key, words, what)
		 : dp_member_hash4(r->ctl->hash_key, words[0], what);
	bits = __atomic_load_n(&r->filter->word[DP_FILTER_WORD(h)], __ATOMIC_RELAXED);
	if ((bits & DP_FILTER_BITS(h)) != DP_FILTER_BITS(h) || !lines)
		return 0;
	return sets_reader_chain(lines, h, words, what, tick);
}

/* Bit s: the address is in set s at this tick. */
static inline uint64_t sets_reader_ask(const struct sets_reader *r, bool ipv6, u128 addr,
				       uint32_t tick)
{
	uint64_t sets = 0;

	for (unsigned int len = 0; len <= (ipv6 ? 128 : 32); len++) {
		const __u64 *word = ipv6 ? &r->ctl->set_lengths6[len / 64] : &r->ctl->set_lengths4;

		if (__atomic_load_n(word, __ATOMIC_RELAXED) >> (len % 64) & 1)
			sets |= sets_reader_length(r, ipv6, addr, len, tick);
	}
	return sets;
}
