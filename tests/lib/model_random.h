/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random models and the packets that meet their borders: addresses, ports and types come from a small pool, so
 * that prefixes nest, repeat and touch, ranges overlap, and packets hit them.
 */
#pragma once

#include "tests/lib/bank_walk.h"
#include "tests/lib/model_kit.h"
#include "tests/lib/rng.h"

/* Each part of an address has one of so many values. */
#define RANDOM_SMALL 3
#define RANDOM_LARGE 24

static inline u128 random_address(struct rng *rng, bool v4, unsigned int pool)
{
	uint64_t a = rng_below(rng, pool), b = rng_below(rng, pool), c = rng_below(rng, pool);

	if (v4)
		return 10u << 24 | a << 16 | b << 8 | c;
	return (u128)0x20010db8 << 96 | (u128)a << 80 | (u128)b << 64 | (u128)c << 16 |
	       rng_below(rng, 3);
}

static inline struct prefix random_prefix(struct rng *rng)
{
	static const uint8_t lens4[] = { 0, 8, 15, 16, 17, 23, 24, 31, 32, 32 };
	static const uint8_t lens6[] = { 0, 32, 47, 48, 64, 65, 111, 112, 127, 128 };
	bool v4 = rng_below(rng, 2);
	unsigned int bits = v4 ? 32 : 128, len = (v4 ? lens4 : lens6)[rng_below(rng, 10)];
	u128 addr = random_address(rng, v4, RANDOM_SMALL);

	return (struct prefix){ v4 ? ADDR_IPV4 : ADDR_IPV6, len,
				len ? addr >> (bits - len) << (bits - len) : 0 };
}

static inline void random_set(struct prefix_set *set, size_t count, struct rng *rng)
{
	for (size_t i = 0; i < count; i++) {
		struct prefix p = random_prefix(rng);

		kit_must(!prefix_set_add(set, &p), "no memory");
	}
	kit_must(!prefix_set_seal(set), "no memory");
}

static inline void random_operand(struct kit *k, struct model_rule *rule, enum model_key key,
				  struct model_operand *o, struct rng *rng)
{
	if (rng_below(rng, 3))
		return;
	rule->keys |= key;
	random_set(&o->literals, rng_below(rng, 3), rng);
	for (uint32_t s = 0; s < k->model.sets.count; s++)
		if (!rng_below(rng, 3))
			kit_must(!vec_push(&o->sets, s), "no memory");
}

static inline void random_ranges(struct model_rule *rule, enum model_key key, struct rng *rng)
{
	unsigned int from = 0;

	if (rng_below(rng, 2))
		return;
	for (int i = 0; i < 3; i++) {
		unsigned int first = from + rng_below(rng, 4), last = first + rng_below(rng, 3);

		kit_range(rule, key, first, last);
		from = last + 2;
	}
}

/* Ports and types also without the protocols that have them. */
static inline void random_transport(struct model_rule *rule, struct rng *rng)
{
	switch (rng_below(rng, 7)) {
	case 0:
		kit_proto(rule, 6);
		if (rng_below(rng, 2))
			kit_proto(rule, 17);
		random_ranges(rule, MODEL_KEY_SPORT, rng);
		random_ranges(rule, MODEL_KEY_DPORT, rng);
		break;
	case 1:
		kit_proto(rule, 1);
		if (rng_below(rng, 2))
			kit_proto(rule, 58);
		random_ranges(rule, MODEL_KEY_TYPE, rng);
		random_ranges(rule, MODEL_KEY_CODE, rng);
		break;
	case 2:
		kit_proto(rule, 6);
		rule->keys |= MODEL_KEY_FLAGS;
		rule->flags_all = rng_next(rng) & rng_next(rng) & rng_next(rng);
		rule->flags_any = rng_next(rng) & rng_next(rng);
		rule->flags_none = rng_next(rng) & rng_next(rng) & ~rule->flags_all;
		break;
	case 3:
		kit_proto(rule, rng_below(rng, 256));
		break;
	case 4:
		random_ranges(rule, MODEL_KEY_DPORT, rng);
		break;
	case 5:
		random_ranges(rule, MODEL_KEY_TYPE, rng);
		break;
	}
}

static inline void random_rule(struct kit *k, uint32_t chain, struct rng *rng)
{
	struct model_rule *rule = kit_rule(k, chain, rng_below(rng, DP_VERDICT_COUNT));

	rule->audit = !rng_below(rng, 5);
	if (!rng_below(rng, 4)) {
		rule->keys |= MODEL_KEY_FAMILY;
		rule->family = MODEL_FAMILY_IPV4 + rng_below(rng, 2);
	}
	if (!rng_below(rng, 4))
		for (int i = 0; i < 2; i++)
			kit_vlan(rule, rng_below(rng, 4));
	random_operand(k, rule, MODEL_KEY_FROM, &rule->from, rng);
	random_operand(k, rule, MODEL_KEY_TO, &rule->to, rng);
	random_operand(k, rule, MODEL_KEY_NOT_FROM, &rule->not_from, rng);
	random_operand(k, rule, MODEL_KEY_NOT_TO, &rule->not_to, rng);
	random_transport(rule, rng);
	if (!rng_below(rng, 6))
		kit_state(k, chain, rule);
}

static inline void random_sets(struct kit *k, struct rng *rng)
{
	for (uint64_t s = rng_below(rng, 6); s > 0; s--) {
		struct prefix_set set = {};

		random_set(&set, rng_below(rng, 20), rng);
		(void)kit_set(k, "s", &set);
		k->model.sets.at[k->model.sets.count - 1].runtime = rng_below(rng, 2);
	}
}

static inline void random_model(struct kit *k, struct rng *rng)
{
	*k = (struct kit){};
	for (int z = 0; z < 3; z++)
		(void)kit_zone(k, "z");
	random_sets(k, rng);
	for (uint32_t z = 0; z < 3; z++) {
		uint32_t chain = kit_chain(k, "c", z, rng_below(rng, 2), rng_below(rng, 2));

		for (uint64_t i = rng_below(rng, z == 0 ? 140 : 8); i > 0; i--)
			random_rule(k, chain, rng);
	}
}

/* What the tables outside the bank say of a packet; a set holds what the policy gives it as well. */
static inline void random_outside(const struct kit *k, struct packet *p, struct rng *rng)
{
	uint64_t sets = 0;

	for (size_t i = 0; i < k->model.sets.count; i++)
		sets = sets << k->model.sets.at[i].runtime | k->model.sets.at[i].runtime;
	p->established = rng_below(rng, 2);
	if (p->family == PACKET_NOT_IP)
		return;
	p->src_sets = rng_next(rng) & rng_next(rng) & sets;
	p->dst_sets = rng_next(rng) & rng_next(rng) & sets;
}

static inline struct packet random_packet(const struct kit *k, struct rng *rng)
{
	static const uint8_t protos[] = { 1, 6, 6, 17, 58, 132 };
	struct packet p = {
		.family = rng_below(rng, 12) ? rng_below(rng, 2) : PACKET_NOT_IP,
		.proto = rng_below(rng, 8) ? protos[rng_below(rng, 6)] : rng_below(rng, 256),
		.flags = rng_next(rng),
		.type = rng_below(rng, 16),
		.code = rng_below(rng, 16),
		.sport = rng_below(rng, 8) ? rng_below(rng, 18) : rng_below(rng, 65536),
		.dport = rng_below(rng, 8) ? rng_below(rng, 18) : rng_below(rng, 65536),
		.vlan = rng_below(rng, 2) ? DP_VLAN_NONE : rng_below(rng, 5),
	};

	p.src = random_address(rng, p.family == PACKET_IPV4, RANDOM_SMALL);
	p.dst = random_address(rng, p.family == PACKET_IPV4, RANDOM_SMALL);
	if (!rng_below(rng, 8))
		p.src = p.family == PACKET_IPV4 ? (uint32_t)rng_next(rng) : rng_u128(rng);
	random_outside(k, &p, rng);
	return p;
}

/* ---- large chains ---------------------------------------------------------------------------- */

/* Narrow enough for thousands of them to be apart, and still nested and repeated. */
static inline struct prefix random_narrow(struct rng *rng)
{
	static const uint8_t lens4[] = { 16, 21, 24, 24, 29, 31, 32, 32 };
	static const uint8_t lens6[] = { 47, 48, 60, 64, 64, 113, 127, 128 };
	bool v4 = rng_below(rng, 3);
	unsigned int bits = v4 ? 32 : 128, len = (v4 ? lens4 : lens6)[rng_below(rng, 8)];
	u128 addr = random_address(rng, v4, RANDOM_LARGE);

	return (struct prefix){ v4 ? ADDR_IPV4 : ADDR_IPV6, len,
				addr >> (bits - len) << (bits - len) };
}

static inline void random_literals(struct model_rule *rule, enum model_key key,
				   struct model_operand *o, unsigned int count, struct rng *rng)
{
	rule->keys |= key;
	for (unsigned int i = 0; i < count; i++) {
		struct prefix p = random_narrow(rng);

		kit_must(!prefix_set_add(&o->literals, &p), "no memory");
	}
	kit_must(!prefix_set_seal(&o->literals), "no memory");
}

/* Lists, negations, both families at once; one rule in thirty is narrow in nothing. */
static inline void random_large_addresses(struct model_rule *rule, struct rng *rng)
{
	unsigned int narrow = rng_below(rng, 30);

	if (narrow && narrow < 18)
		random_literals(rule, MODEL_KEY_FROM, &rule->from, 1 + rng_below(rng, 3), rng);
	if (narrow > 12)
		random_literals(rule, MODEL_KEY_TO, &rule->to, 1 + rng_below(rng, 3), rng);
	if (!rng_below(rng, 12))
		random_literals(rule, MODEL_KEY_NOT_FROM, &rule->not_from, 1 + rng_below(rng, 2),
				rng);
	if (!rng_below(rng, 12))
		random_literals(rule, MODEL_KEY_NOT_TO, &rule->not_to, 1, rng);
}

/* Ranges that overlap by halves, and the whole of them, which still asks for ports. */
static inline void random_wide_range(struct model_rule *rule, struct rng *rng)
{
	unsigned int first = rng_below(rng, 64) << 10, last = first + (rng_below(rng, 64) << 10);

	if (rule->keys & MODEL_KEY_SPORT || rng_below(rng, 3))
		return;
	if (rng_below(rng, 4))
		kit_range(rule, MODEL_KEY_SPORT, first, last > UINT16_MAX ? UINT16_MAX : last);
	else
		kit_range(rule, MODEL_KEY_SPORT, 0, UINT16_MAX);
}

static inline void random_large_rule(struct kit *k, uint32_t chain, struct rng *rng)
{
	struct model_rule *rule = kit_rule(k, chain, rng_below(rng, DP_VERDICT_COUNT));

	rule->audit = !rng_below(rng, 60);
	if (!rng_below(rng, 12)) {
		rule->keys |= MODEL_KEY_FAMILY;
		rule->family = MODEL_FAMILY_IPV4 + rng_below(rng, 2);
	}
	if (!rng_below(rng, 10))
		for (int i = 0; i < 2; i++)
			kit_vlan(rule, rng_below(rng, 4));
	random_large_addresses(rule, rng);
	random_transport(rule, rng);
	random_wide_range(rule, rng);
	if (!rng_below(rng, 80))
		kit_state(k, chain, rule);
	if (k->model.sets.count && !rng_below(rng, 80)) {
		rule->keys |= MODEL_KEY_FROM;
		kit_must(!vec_push(&rule->from.sets, rng_below(rng, k->model.sets.count)),
			 "no memory");
	}
}

/* One chain of so many rules that it needs cut trees. */
static inline void random_large_model(struct kit *k, size_t rules, struct rng *rng)
{
	*k = (struct kit){};
	random_sets(k, rng);
	(void)kit_chain(k, "large", kit_zone(k, "z"), DP_INGRESS, DP_DROP);
	for (size_t i = 0; i < rules; i++)
		random_large_rule(k, 0, rng);
}

static inline u128 random_member(const struct model_operand *o, bool v4, struct rng *rng)
{
	const struct prefix_set *set = &o->literals;
	size_t count = v4 ? set->v4.count : set->v6.count, i;
	u128 first, last;

	if (!count || !rng_below(rng, 8))
		return random_address(rng, v4, RANDOM_LARGE);
	i = rng_below(rng, count);
	first = v4 ? set->v4.at[i].first : set->v6.at[i].first;
	last = v4 ? set->v4.at[i].last : set->v6.at[i].last;
	switch (rng_below(rng, 3)) {
	case 0:
		return first;
	case 1:
		return last;
	default:
		return first + rng_u128(rng) % (last - first + 1);
	}
}

/* A packet that the rule's addresses and protocol let in, mostly; the rest is left to chance. */
static inline struct packet random_packet_of(const struct kit *k, const struct model_rule *rule,
					     struct rng *rng)
{
	struct packet p = random_packet(k, rng);
	bool v4;

	if (p.family == PACKET_NOT_IP)
		return p;
	if (rule->family != MODEL_FAMILY_ANY)
		p.family = rule->family == MODEL_FAMILY_IPV4 ? PACKET_IPV4 : PACKET_IPV6;
	v4 = p.family == PACKET_IPV4;
	p.src = random_member(&rule->from, v4, rng);
	p.dst = random_member(&rule->to, v4, rng);
	for (unsigned int proto = 0; rule->keys & MODEL_KEY_PROTO && proto < 256; proto++)
		if (rule->protos[proto / 64] >> (proto % 64) & 1)
			p.proto = proto;
	if (rule->keys & MODEL_KEY_VLAN)
		p.vlan = rule->vlan.at[0];
	if (rule->keys & MODEL_KEY_SPORT)
		p.sport = rng_below(rng, 2) ? rule->sport.at[0].first : rule->sport.at[0].last;
	if (!rng_below(rng, 4))
		p.sport = rng_below(rng, 65536);
	return p;
}
