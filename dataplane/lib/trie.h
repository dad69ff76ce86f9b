/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The class of an address: one direct step for its first 16 bits, then one cache line a step (struct
 * dp_node). The kernel's own prefix trie takes a step a bit; this one takes 2 to 3 lines for IPv4.
 */
#pragma once

#include "bank.h"

/*
 * The entry whose range holds the value: the last that starts at or below it. Entry 0 starts at 0, so
 * there is one. Counting all compares without a branch beats a search with mispredictions.
 */
static __always_inline __u32 node_entry(const struct dp_node *node, __u32 value)
{
	__u64 above = ((__u64)value << 16 | 0xffff) + 1;
	__u32 entries = 0;

#pragma clang loop unroll(full)
	for (int i = 1; i < DP_NODE_ENTRIES; i++) {
		__u64 below = node->entry[i] - above;

		/* clang 19 else makes a branch of each sign: too many ways for the verifier. */
		asm volatile("" : "+r"(below));
		entries += below >> 63;
	}
	return entries;
}

/* One step: returns true and sets *class at the end, else *line and whether the next bits are due. */
static __always_inline bool node_step(const struct dp_node *node, __u32 value, __u32 *line,
				      __u32 *class, bool *next_bits)
{
	__u32 i = node_entry(node, value);
	__u32 content;

	if (i >= DP_NODE_ENTRIES) /* for the verifier: it does not follow the count */
		i = 0;
	content = node->entry[i] & DP_CLASS_MASK;
	if (!(node->child >> i & 1)) {
		*class = content;
		return true;
	}
	*line = node->base + content;
	*next_bits = !(node->child & DP_NODE_INNER);
	return false;
}

/* The reference for the first 16 bits; as the table's own, it may already be a class. */
static __always_inline __u32 trie_first(const struct view *v, __u32 ref, __u32 value)
{
	const struct dp_line *line;

	if (ref & DP_REF_CLASS)
		return ref;
	line = view_line(v, ref + value / DP_LINE_WORDS);
	return line ? line->word[value % DP_LINE_WORDS] : DP_REF_CLASS;
}

/*
 * Children stand behind their parents, so a walk that has left the near lines does not come back: two loops, of
 * which each turn knows one kind of line. One loop for both, which the verifier has to follow both ways at each
 * turn, took it twice the instructions.
 */
static __always_inline __u32 trie_class4(const struct view *v, __u32 ref, __u32 addr)
{
	__u32 line = trie_first(v, ref, addr >> 16), value = addr & 0xffff, class = 0;
	const struct dp_line *node;
	bool next_bits;

	if (line & DP_REF_CLASS)
		return line & DP_CLASS_MASK;
	line = (line & DP_REF_LINE_MASK) + (value >> (16 - (line >> DP_REF_BITS_SHIFT)));
	for (int i = 0; i < DP_NODE_STEPS_IPV4 && line < DP_NEAR_LINES; i++) {
		node = near_line(v->near, line);
		if (node_step((const void *)node, value, &line, &class, &next_bits))
			return class;
	}
	for (int i = 0; i < DP_NODE_STEPS_IPV4; i++) {
		node = far_line(v->bank_index, line);
		if (!node || node_step((const void *)node, value, &line, &class, &next_bits))
			break;
	}
	return class;
}

/* 1 when a < b, without a branch (Warren, Hacker's Delight, 2-12); the barrier as in node_entry(). */
static __always_inline __u64 less(__u64 a, __u64 b)
{
	__u64 sign = (~a & b) | ((~a | b) & (a - b));

	asm volatile("" : "+r"(sign));
	return sign >> 63;
}

/* The class by a line that holds whole addresses and ends the walk. */
static __always_inline __u32 wide_class(const struct dp_node_wide *node, __u64 high, __u64 low)
{
	__u64 below = DP_WIDE_BORDERS;

#pragma clang loop unroll(full)
	for (int i = 0; i < DP_WIDE_BORDERS; i++) {
		__u64 above = less(high, node->border[i].high);
		__u64 differ = above | less(node->border[i].high, high);

		below -= above | ((differ ^ 1) & less(low, node->border[i].low));
	}
	/* For the verifier, which does not follow the count; the compiler does, and would take it out. */
	asm volatile("" : "+r"(below));
	return node->class[below % (DP_WIDE_BORDERS + 1)];
}

/* An address on its way down from the first level. */
struct walk {
	__u32 bank_index;
	__u32 line;
	__u64 high, low;
};

/* What is left of an address on the way, and by how much the next step moves it. */
struct rest {
	__u64 high, low, shift;
};

/* One step; true at the end of the walk, with the class. Else w->line is the next. */
static __always_inline bool walk6_step(struct walk *w, struct rest *r, const struct dp_line *line,
				       __u32 *class)
{
	const struct dp_node *node = (const void *)line;
	__u64 child = node->child, same;
	bool next_bits;

	if (child & DP_NODE_WIDE) {
		*class = wide_class((const void *)node, w->high, w->low);
		return true;
	}
	r->high = r->high << r->shift | r->low >> 1 >> (63 - r->shift);
	r->low <<= r->shift;
	if (node_step(node, r->high >> 48, &w->line, class, &next_bits))
		return true;
	/* DP_NODE_INNER: the same bits again. No branch, or the verifier follows both at each turn. */
	same = child >> 31;
	asm volatile("" : "+r"(same));
	r->shift = 16 - (same << 4);
	return false;
}

/*
 * The walk below the first level. A global function, which the verifier checks once and by itself: inlined,
 * its 35 steps were followed again for every way to reach them and to go on from them (kernel 6.18, clang
 * 14: "BPF program is too large"). The line stays in memory from step to step, where the verifier does not
 * follow it: a number that indexes a map must be exact back to where it came from, and when that is an
 * argument or a call, kernels 6.1 and 6.18 ask the same of all numbers and no two steps are alike (6.1, clang
 * 14: "BPF program is too large"). Two loops as in trie_class4().
 */
__noinline __u32 trie_walk6(struct walk *w)
{
	struct rest r = { .shift = 16 };
	__u32 bank_index, class = 0;
	const struct dp_line *line;
	struct dp_near *lines;

	if (!w)
		return 0;
	bank_index = w->bank_index;
	lines = bpf_map_lookup_elem(&near, &bank_index);
	if (!lines)
		return 0;
	r.high = w->high;
	r.low = w->low;
	for (int i = 0; i < DP_NODE_STEPS_IPV6; i++) {
		__u32 n = *(volatile __u32 *)&w->line;

		if (n >= DP_NEAR_LINES)
			break;
		if (walk6_step(w, &r, near_line(lines, n), &class))
			return class;
	}
	for (int i = 0; i < DP_NODE_STEPS_IPV6; i++) {
		line = far_line(bank_index, *(volatile __u32 *)&w->line);
		if (!line || walk6_step(w, &r, line, &class))
			break;
	}
	return class;
}

static __always_inline __u32 trie_class6(const struct view *v, __u32 ref, const __u32 *addr)
{
	struct walk w = { .bank_index = v->bank_index,
			  .high = (__u64)addr[0] << 32 | addr[1],
			  .low = (__u64)addr[2] << 32 | addr[3] };

	w.line = trie_first(v, ref, w.high >> 48);
	if (w.line & DP_REF_CLASS)
		return w.line & DP_CLASS_MASK;
	return trie_walk6(&w);
}
