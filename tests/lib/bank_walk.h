/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader of images, written from the comments of abi.h and nothing else, so that a test of the
 * compiler does not borrow its idea of the format. Plain and slow; every rule of the format it
 * meets is checked.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "abi.h"
#include "image.h"

/* A line as T. Copied, so that the image may have any type. */
#define BANK_LINE(image, n, T)                                                          \
	({                                                                              \
		T at_;                                                                  \
		assert_true((size_t)(n) + sizeof(T) / DP_LINE_BYTES <= (image)->count); \
		memcpy(&at_, (image)->lines + (n), sizeof(at_));                        \
		at_;                                                                    \
	})

/* Entries ascend from 0; unused ones repeat the last, child bit included. */
static inline void bank_check_node(const struct dp_node *node)
{
	assert_int_equal(node->entry[0] >> 16, 0);
	for (int i = 1; i < DP_NODE_ENTRIES; i++) {
		uint32_t before = node->entry[i - 1] >> 16, key = node->entry[i] >> 16;

		assert_true(key >= before);
		if (key > before)
			continue;
		assert_int_equal(node->entry[i], node->entry[i - 1]);
		assert_int_equal(node->child >> i & 1, node->child >> (i - 1) & 1);
	}
}

/* The class by a line that holds whole addresses. */
static inline uint32_t bank_wide(const struct image *image, uint32_t line, u128 addr, int bits)
{
	struct dp_node_wide node = BANK_LINE(image, line, struct dp_node_wide);
	uint32_t below = 0;

	assert_int_equal(bits, 128);
	for (int i = 0; i < DP_WIDE_BORDERS; i++)
		below += ((u128)node.border[i].high << 64 | node.border[i].low) <= addr;
	return node.class[below];
}

/* The class of an address of `bits` bits, and how many lines below the first level it took. */
static inline uint32_t bank_address(const struct image *image, uint32_t ref, u128 addr, int bits,
				    int *ret_steps)
{
	int shift = bits - 16, steps = 0;
	uint32_t line, value = (uint32_t)(addr >> shift) & 0xffff;

	*ret_steps = 0;
	if (ref & DP_REF_CLASS)
		return ref & DP_CLASS_MASK;
	line = BANK_LINE(image, ref + value / 16, struct dp_line).word[value % 16];
	if (line & DP_REF_CLASS)
		return line & DP_CLASS_MASK;
	if (bits == 32) {
		uint32_t more = line >> DP_REF_BITS_SHIFT;

		assert_true(more <= DP_REF_BITS_MAX);
		line = (line & DP_REF_LINE_MASK) + ((uint32_t)(addr & 0xffff) >> (16 - more));
	}
	for (shift -= 16;;) {
		struct dp_node node = BANK_LINE(image, line, struct dp_node);
		int i = DP_NODE_ENTRIES - 1;
		uint32_t content;

		assert_true(shift >= 0);
		if (node.child == DP_NODE_WIDE) {
			*ret_steps = steps + 1;
			return bank_wide(image, line, addr, bits);
		}
		bank_check_node(&node);
		value = (uint32_t)(addr >> shift) & 0xffff;
		while (node.entry[i] >> 16 > value)
			i--;
		content = node.entry[i] & 0xffff;
		steps++;
		if (!(node.child >> i & 1)) {
			*ret_steps = steps;
			return content;
		}
		line = node.base + content;
		if (!(node.child & DP_NODE_INNER))
			shift -= 16;
	}
}

static inline uint32_t bank_array(const struct image *image, uint32_t ref, uint32_t value)
{
	uint16_t class[DP_CLASSES_PER_LINE];
	struct dp_line line;

	if (ref & DP_REF_CLASS)
		return ref & DP_CLASS_MASK;
	line = BANK_LINE(image, ref + value / DP_CLASSES_PER_LINE, struct dp_line);
	memcpy(class, &line, sizeof(line));
	return class[value % DP_CLASSES_PER_LINE];
}

enum packet_family {
	PACKET_IPV4,
	PACKET_IPV6,
	PACKET_NOT_IP,
};

/* What a rule can see of a packet. */
struct packet {
	enum packet_family family;
	u128 src, dst;
	uint8_t proto, flags, type, code;
	uint16_t sport, dport;
	uint16_t vlan; /* DP_VLAN_NONE: untagged */
	/* What the tables outside the bank say: bit o for the run-time set with ordinal o. */
	uint64_t src_sets, dst_sets;
	bool established;
};

static inline bool packet_has_ports(const struct packet *p)
{
	return p->family != PACKET_NOT_IP && (p->proto == 6 || p->proto == 17 || p->proto == 132);
}

/* The packet's value in a dimension has this class; false: the packet has no such value. */
static inline bool bank_class(const struct image *image, uint32_t ref, enum dp_dim dim,
			      const struct packet *p, uint32_t *ret_class)
{
	bool v4 = p->family == PACKET_IPV4, v6 = p->family == PACKET_IPV6, has = true;
	int steps;

	switch (dim) {
	case DP_DIM_PROTO:
		*ret_class = bank_array(image, ref,
					v4 || v6 ? DP_PROTO_INDEX(v6, p->proto) : DP_PROTO_NOT_IP);
		break;
	case DP_DIM_SRC4:
	case DP_DIM_DST4:
		has = v4;
		if (has)
			*ret_class = bank_address(image, ref, dim == DP_DIM_SRC4 ? p->src : p->dst,
						  32, &steps);
		break;
	case DP_DIM_SRC6:
	case DP_DIM_DST6:
		has = v6;
		if (has)
			*ret_class = bank_address(image, ref, dim == DP_DIM_SRC6 ? p->src : p->dst,
						  128, &steps);
		break;
	case DP_DIM_SPORT:
	case DP_DIM_DPORT:
		has = packet_has_ports(p);
		*ret_class = bank_array(image, ref, dim == DP_DIM_SPORT ? p->sport : p->dport);
		break;
	case DP_DIM_ICMP4:
	case DP_DIM_ICMP6:
		has = dim == DP_DIM_ICMP4 ? v4 && p->proto == 1 : v6 && p->proto == 58;
		*ret_class = bank_array(image, ref, p->type << 8 | p->code);
		break;
	case DP_DIM_FLAGS:
		has = p->family != PACKET_NOT_IP && p->proto == 6;
		*ret_class = bank_array(image, ref, p->flags);
		break;
	case DP_DIM_VLAN:
		*ret_class = bank_array(image, ref, p->vlan);
		break;
	case DP_DIM_COUNT:
		fail();
	}
	return has;
}

static inline struct dp_chain bank_chain(const struct image *image, uint32_t zone, enum dp_dir dir)
{
	return BANK_LINE(image, DP_CHAIN_LINE(zone, dir), struct dp_chain);
}

/* The dimension exists for each family, and this is the other family's. */
static inline bool bank_other_family(enum dp_dim dim, const struct packet *p)
{
	bool only4 = dim == DP_DIM_SRC4 || dim == DP_DIM_DST4 || dim == DP_DIM_ICMP4;
	bool only6 = dim == DP_DIM_SRC6 || dim == DP_DIM_DST6 || dim == DP_DIM_ICMP6;

	return (only4 && p->family == PACKET_IPV6) || (only6 && p->family == PACKET_IPV4);
}

static inline struct dp_vector bank_vector(const struct image *image, uint32_t line)
{
	return BANK_LINE(image, line, struct dp_vector);
}

/* Run-time sets have their say: rules that they satisfy unless the class bars them, rules they rule out. */
static inline void bank_sets(const struct image *image, const struct dp_chain *chain,
			     enum dp_dim dim, const struct packet *p, uint32_t class,
			     struct dp_vector *v)
{
	bool source = dim == DP_DIM_SRC4 || dim == DP_DIM_SRC6;
	uint64_t sets = source ? p->src_sets : p->dst_sets;
	uint32_t barred_line = chain->barred[dim - DP_DIM_SRC4];
	struct dp_vector barred = {}, in = {}, out = {};

	if (barred_line)
		barred = bank_vector(image, barred_line + class);
	for (uint32_t o = 0; o < DP_SETS; o++) {
		uint32_t first =
			chain->sets + o * DP_SET_VECTOR_COUNT + (source ? DP_SET_FROM : DP_SET_TO);

		for (int w = 0; sets >> o & 1 && w < DP_VECTOR_WORDS; w++) {
			in.word[w] |= bank_vector(image, first).word[w];
			out.word[w] |= bank_vector(image, first + 1).word[w];
		}
	}
	for (int w = 0; w < DP_VECTOR_WORDS; w++)
		v->word[w] = (v->word[w] | (in.word[w] & ~barred.word[w])) & ~out.word[w];
}

/* The chain asks which run-time sets hold this address, and some do. */
static inline bool bank_has_sets(const struct dp_chain *chain, enum dp_dim dim,
				 const struct packet *p)
{
	if (dim == DP_DIM_SRC4 || dim == DP_DIM_SRC6)
		return chain->flags & DP_CHAIN_SETS_FROM && p->src_sets;
	return (dim == DP_DIM_DST4 || dim == DP_DIM_DST6) && chain->flags & DP_CHAIN_SETS_TO &&
	       p->dst_sets;
}

/*
 * The rules in vectors that match, by slot. A dimension that the packet has no value in has class 0. With
 * skip_absent it is left out instead, as programs may do: the protocol has already decided for rules that
 * ask for it.
 */
static inline struct dp_vector bank_match(const struct image *image, const struct dp_chain *chain,
					  const struct packet *p, bool skip_absent)
{
	struct dp_vector all = {};

	for (uint32_t w = 0; w < chain->words; w++)
		all.word[w] = ~0ull;
	for (enum dp_dim d = 0; d < DP_DIM_COUNT; d++) {
		struct dp_vector v;
		uint32_t class = 0;
		bool has;

		if (!(chain->dims >> d & 1) || bank_other_family(d, p))
			continue;
		has = bank_class(image, chain->table[d], d, p, &class);
		if (!has && skip_absent)
			continue;
		v = bank_vector(image, chain->vector[d] + (has ? class : 0));
		if (has && bank_has_sets(chain, d, p))
			bank_sets(image, chain, d, p, class, &v);
		for (int w = 0; w < DP_VECTOR_WORDS; w++)
			all.word[w] &= v.word[w];
	}
	if (chain->state && !p->established)
		for (int w = 0; w < DP_VECTOR_WORDS; w++)
			all.word[w] &= ~bank_vector(image, chain->state).word[w];
	return all;
}

static inline struct dp_rule bank_rule(const struct image *image, const struct dp_chain *chain,
				       uint32_t rule)
{
	struct dp_rule records[DP_RULES_PER_LINE];
	struct dp_line line =
		BANK_LINE(image, chain->rules + rule / DP_RULES_PER_LINE, struct dp_line);

	memcpy(records, &line, sizeof(line));
	return records[rule % DP_RULES_PER_LINE];
}

/* ---- cut trees ------------------------------------------------------------------------------- */

#define BANK_NO_RULE UINT32_MAX

/* The rule of a slot of the chain's vectors. */
static inline uint32_t bank_slot_rule(const struct image *image, const struct dp_chain *chain,
				      uint32_t slot)
{
	uint16_t rules[DP_LINE_BYTES / 2];
	struct dp_line line;

	if (!(chain->flags & DP_CHAIN_CUTS))
		return slot;
	line = BANK_LINE(image, chain->slots + slot / (DP_LINE_BYTES / 2), struct dp_line);
	memcpy(rules, &line, sizeof(line));
	return rules[slot % (DP_LINE_BYTES / 2)];
}

/* A packet as cut trees read it. */
struct bank_words {
	uint32_t word[DP_CUT_WORDS];
	uint8_t kind; /* one of DP_BOX_* */
};

static inline struct bank_words bank_words(const struct packet *p)
{
	bool v4 = p->family == PACKET_IPV4, ports = packet_has_ports(p);
	bool icmp = p->proto == (v4 ? 1 : 58);
	struct bank_words w = { .kind = ports ? DP_BOX_PORTS : icmp ? DP_BOX_ICMP : DP_BOX_OTHER };

	for (int i = 0; i < (v4 ? 1 : 4); i++) {
		w.word[DP_CUT_WORD_SRC + i] = p->src >> (v4 ? 0 : 96 - 32 * i);
		w.word[DP_CUT_WORD_DST + i] = p->dst >> (v4 ? 0 : 96 - 32 * i);
	}
	if (ports)
		w.word[DP_CUT_WORD_PORTS] = (uint32_t)p->sport << 16 | p->dport;
	else if (icmp)
		w.word[DP_CUT_WORD_PORTS] = p->type << 8 | p->code;
	w.word[DP_CUT_WORD_REST] =
		(uint32_t)p->proto << 24 | (uint32_t)(p->proto == 6 ? p->flags : 0) << 16 | p->vlan;
	return w;
}

static inline bool bank_same_block(u128 a, u128 b, unsigned int shift)
{
	return shift == 128 || a >> shift == b >> shift;
}

static inline bool bank_rest_has(const struct dp_box_rest *rest, const struct bank_words *w)
{
	uint16_t sport = w->word[DP_CUT_WORD_PORTS] >> 16, dport = w->word[DP_CUT_WORD_PORTS];
	uint8_t proto = w->word[DP_CUT_WORD_REST] >> 24, flags = w->word[DP_CUT_WORD_REST] >> 16;
	uint16_t vlan = w->word[DP_CUT_WORD_REST];

	return rest->kind & w->kind && sport >= rest->sport[0] && sport <= rest->sport[1] &&
	       dport >= rest->dport[0] && dport <= rest->dport[1] &&
	       (rest->kind & DP_BOX_ANY_PROTO || proto == rest->proto) &&
	       !((flags ^ rest->flags) & rest->flags_mask) &&
	       (rest->vlan == DP_BOX_ANY_VLAN || vlan == rest->vlan);
}

static inline u128 bank_address_of(const uint32_t word[static 4])
{
	return (u128)word[0] << 96 | (u128)word[1] << 64 | (u128)word[2] << 32 | word[3];
}

/* Box number i of a leaf has the packet. */
static inline bool bank_box_has(const struct image *image, uint32_t line, uint32_t i, bool v4,
				const struct packet *p, uint32_t *ret_rule)
{
	struct bank_words w = bank_words(p);
	struct dp_box4 two[2];
	struct dp_box6 box6;

	if (v4) {
		struct dp_line at = BANK_LINE(image, line + i / 2, struct dp_line);

		memcpy(two, &at, sizeof(two));
		*ret_rule = two[i % 2].rest.rule;
		assert_true(two[i % 2].rest.src_shift <= 32 && two[i % 2].rest.dst_shift <= 32);
		return bank_rest_has(&two[i % 2].rest, &w) &&
		       bank_same_block(two[i % 2].src, p->src, two[i % 2].rest.src_shift) &&
		       bank_same_block(two[i % 2].dst, p->dst, two[i % 2].rest.dst_shift);
	}
	box6 = BANK_LINE(image, line + i, struct dp_box6);
	*ret_rule = box6.rest.rule;
	assert_true(box6.rest.src_shift <= 128 && box6.rest.dst_shift <= 128);
	return bank_rest_has(&box6.rest, &w) &&
	       bank_same_block(bank_address_of(box6.src), p->src, box6.rest.src_shift) &&
	       bank_same_block(bank_address_of(box6.dst), p->dst, box6.rest.dst_shift);
}

/* How far a packet went in a tree. */
struct bank_way {
	uint32_t steps, boxes;
};

/* The first rule of a cut tree that has the packet, BANK_NO_RULE; IP packets only. */
static inline uint32_t bank_tree_rule(const struct image *image, struct dp_cut at,
				      const struct packet *p, struct bank_way *ret_way)
{
	struct bank_words w = bank_words(p);
	uint32_t found = BANK_NO_RULE, before = 0, rule;

	*ret_way = (struct bank_way){};
	while (at.bits) {
		struct dp_cut refs[DP_CUTS_PER_LINE];
		struct dp_line line;
		uint32_t next;

		assert_true(++ret_way->steps <= DP_CUT_STEPS);
		assert_true(at.bits <= DP_CUT_BITS_MAX && at.word < DP_CUT_WORDS);
		assert_true(at.shift + at.bits <= 32 && at.count == 0);
		next = (w.word[at.word] >> at.shift) % (1u << at.bits);
		line = BANK_LINE(image, at.line + next / DP_CUTS_PER_LINE, struct dp_line);
		memcpy(refs, &line, sizeof(refs));
		at = refs[next % DP_CUTS_PER_LINE];
	}
	assert_true(at.count <= DP_CUT_BOXES);
	for (uint32_t i = 0; i < at.count; i++) {
		bool has = bank_box_has(image, at.line, i, p->family == PACKET_IPV4, p, &rule);

		assert_true(rule >= before);
		before = rule;
		ret_way->boxes += found == BANK_NO_RULE;
		if (has && found == BANK_NO_RULE)
			found = rule;
	}
	return found;
}

/* The lowest rule in the chain's trees that has the packet, BANK_NO_RULE. */
static inline uint32_t bank_cut_rule(const struct image *image, const struct dp_chain *chain,
				     const struct packet *p)
{
	uint32_t first = BANK_NO_RULE;
	struct bank_way way;

	if (!(chain->flags & DP_CHAIN_CUTS) || p->family == PACKET_NOT_IP)
		return first;
	for (int t = 0; t < DP_CUT_TREES; t++) {
		uint32_t rule =
			bank_tree_rule(image, chain->cuts[p->family == PACKET_IPV6][t], p, &way);

		if (rule < first)
			first = rule;
	}
	return first;
}

/* The rule that decides: the lowest that matches and does not stand in audit mode; BANK_NO_RULE. */
static inline uint32_t bank_decide(const struct image *image, const struct dp_chain *chain,
				   const struct packet *p)
{
	struct dp_vector found = bank_match(image, chain, p, true);
	uint32_t first = bank_cut_rule(image, chain, p);

	for (uint32_t slot = 0; slot < chain->words * 64; slot++) {
		uint64_t bit = 1ull << (slot % 64);

		if (!(found.word[slot / 64] & bit))
			continue;
		if (chain->audit && bank_vector(image, chain->audit).word[slot / 64] & bit)
			continue;
		if (bank_slot_rule(image, chain, slot) < first)
			first = bank_slot_rule(image, chain, slot);
	}
	return first;
}
