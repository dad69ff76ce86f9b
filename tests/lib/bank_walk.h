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

/*
 * The rules that match. A dimension that the packet has no value in has class 0. With skip_absent
 * it is left out instead, as programs may do: the protocol has already decided for rules that ask
 * for it.
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

		if (!(chain->dims >> d & 1) || bank_other_family(d, p))
			continue;
		if (!bank_class(image, chain->table[d], d, p, &class)) {
			if (skip_absent)
				continue;
			class = 0;
		}
		v = BANK_LINE(image, chain->vector[d] + class, struct dp_vector);
		for (int w = 0; w < DP_VECTOR_WORDS; w++)
			all.word[w] &= v.word[w];
	}
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
