/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Chains of many rules: boxes in cut trees (struct dp_cut). Each step reads one reference, a few bits of one
 * field choose the next, and a short list of boxes is compared whole. After HiCuts (Gupta, McKeown 1999), with
 * the rules split by what they are narrow in, as CutSplit (Li et al. 2018) does, and cuts at any bits of a field.
 */
#pragma once

#include <linux/in.h>

#include "bank.h"
#include "bits.h"

/* 0 when first <= x <= last. */
static __always_inline __u32 outside(__u32 x, const __u16 *range)
{
	return less32(x, range[0]) | less32(range[1], x);
}

/* What the fields besides the addresses differ in; 0: nothing. Masks are hidden: clang 19 branches on them. */
static __always_inline __u32 box_rest_differs(const struct dp_box_rest *b, const struct key *k,
					      __u32 kind)
{
	__u32 ports = k->word[DP_CUT_WORD_PORTS], rest = k->word[DP_CUT_WORD_REST];
	__u32 proto = (b->kind / DP_BOX_ANY_PROTO & 1) - 1u;
	/* "Any" is all ones: more than any id, DP_VLAN_NONE included. */
	__u32 vlan = 0u - less32(b->vlan, DP_BOX_ANY_VLAN);
	__u32 differs = is_zero(b->kind & kind);

	asm volatile("" : "+r"(proto), "+r"(vlan), "+r"(differs));
	differs |= outside(ports >> 16, b->sport) | outside(ports & 0xffff, b->dport);
	differs |= (rest >> 24 ^ b->proto) & proto;
	differs |= (rest >> 16 ^ b->flags) & b->flags_mask;
	return differs | (((rest ^ b->vlan) & 0xffff) & vlan);
}

/* Whether two addresses differ above the last `shift` bits, 0..128. */
static __always_inline __u64 addr6_differs(const __u32 *a, const __u32 *b, __u32 shift)
{
	__u64 high = (__u64)(a[0] ^ b[0]) << 32 | (a[1] ^ b[1]);
	__u64 low = (__u64)(a[2] ^ b[2]) << 32 | (a[3] ^ b[3]);
	__u32 below = clamp(shift, 64), above = clamp(shift - below, 64);

	/* By 64 in two steps: the processor takes a shift modulo 64. */
	return low >> (below >> 1) >> (below - (below >> 1)) |
	       high >> (above >> 1) >> (above - (above >> 1));
}

/* One step down: the reference that the packet's bits choose on a line or among the lines from `at` on. */
static __always_inline __u32 cut_next(const struct key *k, struct dp_cut at)
{
	__u64 word = at.word;

	asm volatile("" : "+r"(word));
	if (word >= DP_CUT_WORDS) /* for the verifier: an image has none such */
		word = 0;
	return k->word[word] >> (at.shift & 31) & ((1u << (at.bits & 31)) - 1);
}

/*
 * The way down from a root; the leaf at its end, with count 0 when it is empty. Two loops as in trie_class4(); the
 * second serves any line.
 */
static __always_inline struct dp_cut cut_leaf(struct key *k, const struct view *v, struct dp_cut at)
{
	int step = 0;

	for (; step < DP_CUT_STEPS && at.bits; step++) {
		__u32 next = cut_next(k, at), n = forget(k, at.line + next / DP_CUTS_PER_LINE);

		if (n >= DP_NEAR_LINES)
			break;
		at = ((const struct dp_cut *)near_line(v->near, n))[next % DP_CUTS_PER_LINE];
	}
	for (step = 0; step < DP_CUT_STEPS && at.bits; step++) {
		__u32 next = cut_next(k, at), n = forget(k, at.line + next / DP_CUTS_PER_LINE);
		const struct dp_line *line = far_line(v->bank_index, n);

		if (!line)
			break;
		at = ((const struct dp_cut *)line)[next % DP_CUTS_PER_LINE];
	}
	if (at.bits) /* an image that is deeper than it may be */
		at.count = 0;
	if (dry_run)
		explain.boxes += at.count;
	at.line = forget(k, at.line);
	at.count = forget(k, at.count);
	return at;
}

/*
 * Lower k->cut_rule to the first box of a leaf that has the packet: first by the addresses alone, without a branch,
 * in which most boxes of a leaf differ; what is left is compared whole.
 */
static __always_inline void leaf4(struct key *k, const struct view *v, struct dp_cut leaf)
{
	const struct dp_page *page = bank_page(v->near, v->bank_index, leaf.line);
	__u64 src = k->word[DP_CUT_WORD_SRC], dst = k->word[DP_CUT_WORD_DST];
	const struct dp_box4 *box;

	k->left = 0;
	if (!page)
		return;
	for (__u32 i = 0; i < DP_CUT_BOXES && i < leaf.count; i++) {
		box = &((const struct dp_box4 *)page)[(leaf.line * 2 + i) % (2 * DP_PAGE_LINES)];
		k->left |= (none((src ^ box->src) >> (box->rest.src_shift & 63) |
				 (dst ^ box->dst) >> (box->rest.dst_shift & 63)) &
			    1)
			   << i;
	}
	for (int turn = 0; turn < DP_CUT_BOXES && k->left; turn++) {
		box = &((const struct dp_box4 *)
				page)[(leaf.line * 2 + first_bit(k->left)) % (2 * DP_PAGE_LINES)];
		k->left &= k->left - 1;
		if (box_rest_differs(&box->rest, k, k->kind))
			continue;
		if (box->rest.rule < k->cut_rule)
			k->cut_rule = box->rest.rule;
		return;
	}
}

/* The same for k->cuts[0]: a call for each tree, for the verifier's sake. */
__noinline int leaf6(struct key *k)
{
	const struct dp_page *page;
	const struct dp_box6 *box;
	struct dp_cut leaf;
	struct view v = {};

	if (!k || !view_of(k, &v))
		return 0;
	leaf = k->cuts[0];
	page = bank_page(v.near, v.bank_index, leaf.line);
	k->left = 0;
	if (!page)
		return 0;
	for (__u32 i = 0; i < DP_CUT_BOXES && i < leaf.count; i++) {
		box = &((const struct dp_box6 *)page)[(leaf.line + i) % DP_PAGE_LINES];
		k->left |= (none(addr6_differs(&k->word[DP_CUT_WORD_SRC], box->src,
					       box->rest.src_shift) |
				 addr6_differs(&k->word[DP_CUT_WORD_DST], box->dst,
					       box->rest.dst_shift)) &
			    1)
			   << i;
	}
	for (int turn = 0; turn < DP_CUT_BOXES && k->left; turn++) {
		box = &((const struct dp_box6 *)
				page)[(leaf.line + first_bit(k->left)) % DP_PAGE_LINES];
		k->left &= k->left - 1;
		if (box_rest_differs(&box->rest, k, k->kind))
			continue;
		if (box->rest.rule < k->cut_rule)
			k->cut_rule = box->rest.rule;
		return 0;
	}
	return 0;
}

/*
 * Set k->cut_rule to the lowest rule among the boxes that have the packet. Global functions, one for each family,
 * which the verifier checks once and by themselves: see decision 0003. The leaves of all trees are found first, or it
 * would follow the boxes of one for each way to the next.
 */
__noinline int leaves4(struct key *k)
{
	struct view v = {};

	if (!k || !view_of(k, &v))
		return 0;
#pragma clang loop unroll(full) /* kernel 6.1, clang 14, else: "back-edge from insn" */
	for (int tree = 0; tree < DP_CUT_TREES; tree++)
		if (k->cuts[tree].count)
			leaf4(k, &v, k->cuts[tree]);
	return 0;
}

__noinline int cut_rule4(struct key *k)
{
	struct view v = {};

	if (!k || !view_of(k, &v))
		return 0;
#pragma clang loop unroll(full)
	for (int tree = 0; tree < DP_CUT_TREES; tree++)
		k->cuts[tree] = cut_leaf(k, &v, v.chain->cuts[0][tree]);
	return 0;
}

__noinline int cut_rule6(struct key *k)
{
	struct view v = {};

	if (!k || !view_of(k, &v))
		return 0;
#pragma clang loop unroll(full)
	for (int tree = 0; tree < DP_CUT_TREES; tree++) {
		k->cuts[0] = cut_leaf(k, &v, v.chain->cuts[1][tree]);
		if (k->cuts[0].count)
			leaf6(k);
	}
	return 0;
}

static __always_inline void cut_rule(struct key *k)
{
	k->word[DP_CUT_WORD_PORTS] = k->has_ports ? (__u32)k->sport << 16 | k->dport : k->icmp;
	k->word[DP_CUT_WORD_REST] = (__u32)k->proto << 24 | (__u32)k->flags << 16 | k->vlan;
	k->kind = k->has_ports ? DP_BOX_PORTS : k->has_icmp ? DP_BOX_ICMP : DP_BOX_OTHER;
	if (k->family == PKT_IPV4) {
		cut_rule4(k);
		leaves4(k);
	} else if (k->family == PKT_IPV6) {
		cut_rule6(k);
	}
}
