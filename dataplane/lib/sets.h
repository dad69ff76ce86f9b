/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Run-time sets: which of them hold an address, and what that means for the rules of a chain. One look in the
 * filter for each prefix length in use; only what it lets through is searched for in the table.
 */
#pragma once

#include "bank.h"
#include "bits.h"
#include "clock.h"

#define DP_LENGTHS_IPV4 33
#define DP_LENGTHS_IPV6 129
#define DP_LENGTH_WORDS 4 /* of set_lengths6 */

static __always_inline const struct dp_line *set_line(void *table, __u32 n)
{
	__u32 key = n / DP_PAGE_LINES;
	struct dp_page *page = bpf_map_lookup_elem(table, &key);
	__u64 i = n;

	if (!page)
		return NULL;
	asm volatile("" : "+r"(i)); /* see far_line() */
	return &page->line[i % DP_PAGE_LINES];
}

/* An address cut to a length, as members are stored. */
struct member_name {
	__u32 addr[4];
	__u32 what;
	__u32 pad;
	__u64 hash;
};

static __always_inline bool member_is(const struct dp_member *m, const struct member_name *name)
{
	return !((m->addr[0] ^ name->addr[0]) | (m->addr[1] ^ name->addr[1]) |
		 (m->addr[2] ^ name->addr[2]) | (m->addr[3] ^ name->addr[3]) |
		 (m->what ^ name->what));
}

/*
 * The sets that hold this very prefix: a walk along one chain of the table. A global function, or the verifier
 * would follow it for each length anew: see decision 0003.
 */
__noinline __u64 sets_holding(struct key *k, struct member_name *name)
{
	const struct dp_set_header *header;
	const struct dp_line *line;
	__u32 zero = 0, first, n, now;
	__u64 sets = 0;
	void *table;

	if (!k || !name)
		return 0;
	table = bpf_map_lookup_elem(&set_table, &zero);
	if (!table)
		return 0;
	header = (const void *)set_line(table, 0);
	if (!header || header->magic != DP_SET_MAGIC)
		return 0;
	first = header->members;
	n = (name->hash >> 32) & (header->heads - 1);
	line = set_line(table, header->head + n / DP_HEADS_PER_LINE);
	if (!line)
		return 0;
	n = *(const volatile __u32 *)&line->word[n % DP_HEADS_PER_LINE];
	now = now_tick(k);
	for (int i = 0; i < DP_SET_CHAIN && n; i++) {
		const struct dp_member *m;

		line = set_line(table, forget(k, first + n / DP_MEMBERS_PER_LINE));
		if (!line)
			break;
		m = &((const struct dp_member *)line)[n % DP_MEMBERS_PER_LINE];
		if (member_is(m, name) && (!m->expires || now < m->expires))
			sets |= 1ull << (m->set % DP_SETS);
		n = *(const volatile __u32 *)&m->next;
	}
	return sets;
}

/* 1 when the filter lets the hash through; without a branch, see less32(). */
static __always_inline __u64 filter_has(const struct dp_filter *filter, __u64 h)
{
	__u64 lacks = ~filter->word[DP_FILTER_WORD(h) % DP_FILTER_WORDS] & DP_FILTER_BITS(h);

	lacks = ~(lacks | -lacks) >> 63;
	asm volatile("" : "+r"(lacks));
	return lacks;
}

/* Clears all but the first `length` bits of a word; less than 0 is none of them, more than 32 all. */
static __always_inline __u32 cut_word(__u32 word, __s64 length)
{
	__u32 keep = clamp(length, 32);

	return (__u64)word >> (32 - keep) << (32 - keep);
}

static __always_inline void name_member4(struct member_name *name, const __u32 *addr, __u32 length,
					 const struct dp_ctl *c)
{
	name->what = DP_MEMBER(0, length);
	name->addr[0] = cut_word(addr[0], length);
	name->hash = dp_member_hash4(c->hash_key, name->addr[0], name->what);
}

static __always_inline void name_member6(struct member_name *name, const __u32 *addr, __u32 length,
					 const struct dp_ctl *c)
{
	name->what = DP_MEMBER(1, length);
#pragma clang loop unroll(full)
	for (int i = 0; i < 4; i++)
		name->addr[i] = cut_word(addr[i], (__s64)length - 32 * i);
	name->hash = dp_member_hash6(c->hash_key, name->addr, name->what);
}

/*
 * Leave in k->lengths those in use of which the filter lets a prefix of the address from word `first` on through.
 * Global functions, one for each family, as is the search: see decision 0003.
 */
__noinline int sets_filter4(struct key *k, __u32 first)
{
	__u32 zero = 0;
	const struct dp_ctl *c = bpf_map_lookup_elem(&ctl, &zero);
	const struct dp_filter *filter = bpf_map_lookup_elem(&set_filter, &zero);
	struct member_name name = {};
	__u64 lengths;

	if (!k || !c || !filter)
		return 0;
	k->lengths = 0;
	lengths = *(const volatile __u64 *)&c->set_lengths4;
	for (int i = 0; i < DP_LENGTHS_IPV4 && lengths; i++) {
		name_member4(&name, &k->word[first & DP_CUT_WORD_DST], first_bit(lengths), c);
		k->lengths |= (lengths & -lengths) & -filter_has(filter, name.hash);
		lengths &= lengths - 1;
	}
	return 0;
}

/* Lengths `base` to base + 63. */
__noinline int sets_filter6(struct key *k, __u32 first, __u32 base)
{
	__u32 zero = 0;
	const struct dp_ctl *c = bpf_map_lookup_elem(&ctl, &zero);
	const struct dp_filter *filter = bpf_map_lookup_elem(&set_filter, &zero);
	struct member_name name = {};
	__u64 lengths;

	if (!k || !c || !filter)
		return 0;
	k->lengths = 0;
	lengths = *(const volatile __u64 *)&c->set_lengths6[base / 64 % DP_LENGTH_WORDS];
	for (int i = 0; i < 64 && lengths; i++) {
		name_member6(&name, &k->word[first & DP_CUT_WORD_DST], base + first_bit(lengths),
			     c);
		k->lengths |= (lengths & -lengths) & -filter_has(filter, name.hash);
		lengths &= lengths - 1;
	}
	return 0;
}

/* Adds to k->sets those that hold the address by a prefix of this length. A global function: see decision 0003. */
__noinline int sets_search(struct key *k, __u32 first, __u32 length)
{
	__u32 zero = 0;
	const struct dp_ctl *c = bpf_map_lookup_elem(&ctl, &zero);
	struct member_name name = {};

	if (!k || !c)
		return 0;
	if (k->family == PKT_IPV6)
		name_member6(&name, &k->word[first & DP_CUT_WORD_DST], length, c);
	else
		name_member4(&name, &k->word[first & DP_CUT_WORD_DST], length, c);
	k->sets |= sets_holding(k, &name);
	return 0;
}

/* The same for all of k->lengths, which count from `base`. */
__noinline int sets_search_all(struct key *k, __u32 first, __u32 base)
{
	if (!k)
		return 0;
	for (int i = 0; i < 64 && k->lengths; i++) {
		sets_search(k, first, base + first_bit(k->lengths));
		k->lengths &= k->lengths - 1;
	}
	return 0;
}

/*
 * Adds the rules of a set to what the address at hand satisfies and rules out; a set that the policy does not
 * know adds nothing. The compiler keeps all this near. A global function: see decision 0003.
 */
__noinline int gather_set(struct key *k, __u32 set, __u32 which)
{
	const struct dp_set_ordinals *ordinals;
	const struct dp_bank_header *header;
	const struct dp_vector *in, *out;
	__u32 ordinal, line;
	struct view v = {};
	__u64 known;

	if (!k || !view_of(k, &v))
		return 0;
	header = (const void *)v.near;
	ordinals = (const void *)near_line(v.near, header->sets);
	ordinal = ordinals->ordinal[set % DP_SETS];
	known = 0ull - less32(ordinal, DP_SET_NO_ORDINAL);
	line = v.chain->sets + (ordinal & (__u32)known) * DP_SET_VECTOR_COUNT + which;
	in = (const void *)near_line(v.near, line);
	out = (const void *)near_line(v.near, line + 1);
#pragma clang loop unroll(full)
	for (int w = 0; w < DP_VECTOR_WORDS; w++) {
		k->set_in.word[w] |= in->word[w] & known;
		k->set_out.word[w] |= out->word[w] & known;
	}
	return 0;
}

/* Gathers all of k->sets; `which` is DP_SET_FROM or DP_SET_TO. */
__noinline int sets_gather(struct key *k, __u32 which)
{
	if (!k)
		return 0;
	for (int i = 0; i < DP_SETS && k->sets; i++) {
		gather_set(k, first_bit(k->sets), which);
		k->sets &= k->sets - 1;
	}
	return 0;
}

/*
 * What run-time sets say of the address from word `first` on: returns whether any holds it, and then set_in and
 * set_out are what that means.
 */
static __always_inline bool sets_look(struct key *k, __u32 first)
{
	k->sets = 0;
	if (k->family == PKT_IPV4) {
		sets_filter4(k, first);
		if (unlikely(k->lengths))
			sets_search_all(k, first, 0);
	} else {
		for (__u32 base = 0; base < DP_LENGTHS_IPV6; base += 64) {
			sets_filter6(k, first, base);
			if (unlikely(k->lengths))
				sets_search_all(k, first, base);
		}
	}
	if (likely(!k->sets))
		return false;
	if (dry_run)
		explain.sets[!!first] = k->sets;
	k->set_in = (struct candidates){};
	k->set_out = (struct candidates){};
	sets_gather(k, first ? DP_SET_TO : DP_SET_FROM);
	return true;
}
