/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of prefixes: collected as they come, then sorted and merged once. Two prefixes are nested or
 * disjoint, never half over each other, so one pass over the sorted list finds repeated, covered
 * and adjacent ones.
 */
#include <string.h>

#include "addr.h"

#define DIGIT_VALUES 256 /* a byte; also enough for a prefix length */

static u128 ones(unsigned int bits)
{
	return bits >= 128 ? ~(u128)0 : ((u128)1 << bits) - 1;
}

int prefix_set_add(struct prefix_set *set, const struct prefix *p)
{
	if (p->family == ADDR_IPV4) {
		uint32_t first = p->addr;

		return vec_push(&set->v4,
				(struct range4){ first, first + (uint32_t)ones(32 - p->len) });
	}
	return vec_push(&set->v6, (struct range6){ p->addr, p->addr + ones(128 - p->len) });
}

/* ---- sorting --------------------------------------------------------------------------------- */

/*
 * Least digit first: the prefix length, then the bytes of the first address from the right. So of
 * prefixes that begin together the wider one comes first.
 */
static inline unsigned int digit4(const struct range4 *r, unsigned int k)
{
	if (!k)
		return __builtin_popcount(~(r->first ^ r->last));
	return r->first >> 8 * (k - 1) & 0xff;
}

static inline unsigned int digit6(const struct range6 *r, unsigned int k)
{
	u128 same = ~(r->first ^ r->last);

	if (!k)
		return __builtin_popcountll(same >> 64) + __builtin_popcountll((uint64_t)same);
	return r->first >> 8 * (k - 1) & 0xff;
}

/* Wider ranges that begin together have the greater last address. */
static inline bool before(u128 a_first, u128 a_last, u128 b_first, u128 b_last)
{
	return a_first < b_first || (a_first == b_first && a_last > b_last);
}

/*
 * Both families get the same text: a sort of `type` by `digits` digits, one scatter for each digit
 * in which elements differ. Stable, O(n), with one scratch array; a list in order costs one pass.
 */
#define DEFINE_SORT(name, type, digit, digits)                                                \
	static void name##_scatter(const type *from, type *to, size_t count, unsigned int k,  \
				   size_t at[static DIGIT_VALUES])                            \
	{                                                                                     \
		size_t next = 0;                                                              \
		for (unsigned int d = 0; d < DIGIT_VALUES; d++) {                             \
			size_t n = at[d];                                                     \
			at[d] = next;                                                         \
			next += n;                                                            \
		}                                                                             \
		for (size_t i = 0; i < count; i++)                                            \
			to[at[digit(&from[i], k)]++] = from[i];                               \
	}                                                                                     \
	static bool name##_in_order(const type *at, size_t count)                             \
	{                                                                                     \
		for (size_t i = 1; i < count; i++)                                            \
			if (before(at[i].first, at[i].last, at[i - 1].first, at[i - 1].last)) \
				return false;                                                 \
		return true;                                                                  \
	}                                                                                     \
	static int name(type *at, size_t count)                                               \
	{                                                                                     \
		_cleanup_free_ type *scratch = NULL;                                          \
		type *from = at, *to;                                                         \
		if (name##_in_order(at, count))                                               \
			return 0;                                                             \
		to = scratch = reallocarray(NULL, count, sizeof(type));                       \
		if (!scratch)                                                                 \
			return -ENOMEM;                                                       \
		for (unsigned int k = 0; k < (digits); k++) {                                 \
			size_t seen[DIGIT_VALUES] = {};                                       \
			type *swap = from;                                                    \
			for (size_t i = 0; i < count; i++)                                    \
				seen[digit(&from[i], k)]++;                                   \
			if (seen[digit(&from[0], k)] == count)                                \
				continue;                                                     \
			name##_scatter(from, to, count, k, seen);                             \
			from = to;                                                            \
			to = swap;                                                            \
		}                                                                             \
		if (from != at)                                                               \
			memcpy(at, from, count * sizeof(type));                               \
		return 0;                                                                     \
	}

DEFINE_SORT(sort4, struct range4, digit4, 1 + 4)
DEFINE_SORT(sort6, struct range6, digit6, 1 + 16)

/* ---- merging --------------------------------------------------------------------------------- */

struct merge_counts {
	uint64_t duplicates, covered;
};

/*
 * In place over a sorted list; returns how many ranges remain. `top` is the widest prefix around
 * the current one: all that begins inside it lies inside it. It may have been merged into a
 * neighbour.
 */
#define DEFINE_MERGE(name, type)                                                                  \
	static size_t name(type *at, size_t count, struct merge_counts *counts)                   \
	{                                                                                         \
		type before_it, top;                                                              \
		size_t kept = 0;                                                                  \
		for (size_t i = 0; i < count; i++) {                                              \
			type r = at[i];                                                           \
			bool inside = i && r.first <= top.last;                                   \
			bool again = i && r.first == before_it.first && r.last == before_it.last; \
			before_it = r;                                                            \
			counts->duplicates += again;                                              \
			counts->covered += inside && !again;                                      \
			if (inside)                                                               \
				continue;                                                         \
			top = r;                                                                  \
			if (kept && at[kept - 1].last + 1 == r.first)                             \
				at[kept - 1].last = r.last;                                       \
			else                                                                      \
				at[kept++] = r;                                                   \
		}                                                                                 \
		return kept;                                                                      \
	}

DEFINE_MERGE(merge4, struct range4)
DEFINE_MERGE(merge6, struct range6)

int prefix_set_seal(struct prefix_set *set)
{
	struct merge_counts counts = {};
	int r;

	if (set->sealed)
		return 0;
	r = sort4(set->v4.at, set->v4.count);
	if (!r)
		r = sort6(set->v6.at, set->v6.count);
	if (r)
		return r;
	set->given = set->v4.count + set->v6.count;
	set->v4.count = merge4(set->v4.at, set->v4.count, &counts);
	set->v6.count = merge6(set->v6.at, set->v6.count, &counts);
	set->duplicates = counts.duplicates;
	set->covered = counts.covered;
	set->sealed = true;
	return 0;
}

void prefix_set_done(struct prefix_set *set)
{
	vec_done(&set->v4);
	vec_done(&set->v6);
	*set = (struct prefix_set){};
}

/* ---- asking ---------------------------------------------------------------------------------- */

/*
 * Index of the first range that begins after the address: the one before it is the only candidate.
 */
#define FIRST_AFTER(vec, addr)                                   \
	({                                                       \
		size_t low_ = 0, high_ = (vec)->count;           \
		while (low_ < high_) {                           \
			size_t mid_ = low_ + (high_ - low_) / 2; \
			if ((vec)->at[mid_].first <= (addr))     \
				low_ = mid_ + 1;                 \
			else                                     \
				high_ = mid_;                    \
		}                                                \
		low_;                                            \
	})

bool prefix_set_has(const struct prefix_set *set, enum addr_family family, u128 first, u128 last)
{
	size_t i;

	if (family == ADDR_IPV4) {
		i = FIRST_AFTER(&set->v4, first);
		return i && last <= set->v4.at[i - 1].last;
	}
	i = FIRST_AFTER(&set->v6, first);
	return i && last <= set->v6.at[i - 1].last;
}

bool prefix_set_meets(const struct prefix_set *set, enum addr_family family, u128 first, u128 last)
{
	size_t i;

	if (family == ADDR_IPV4) {
		i = FIRST_AFTER(&set->v4, last);
		return i && set->v4.at[i - 1].last >= first;
	}
	i = FIRST_AFTER(&set->v6, last);
	return i && set->v6.at[i - 1].last >= first;
}
