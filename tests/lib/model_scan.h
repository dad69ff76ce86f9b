/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The meaning of a model's rules, one packet and one rule at a time: what images are compared with. Nothing of
 * the compiler is used.
 */
#pragma once

#include "model.h"
#include "tests/lib/bank_walk.h"

/* The address is in a set: its own prefixes, or what run-time sets hold, by their place among themselves. */
static inline bool scan_set_has(const struct model *m, uint32_t set, bool v4, u128 addr,
				uint64_t runtime)
{
	uint32_t ordinal = 0;

	if (prefix_set_has(&m->sets.at[set].prefixes, v4 ? ADDR_IPV4 : ADDR_IPV6, addr, addr))
		return true;
	for (uint32_t i = 0; i < set; i++)
		ordinal += m->sets.at[i].runtime;
	return m->sets.at[set].runtime && runtime >> ordinal & 1;
}

static inline bool scan_operand_has(const struct model *m, const struct model_operand *o, bool v4,
				    u128 addr, uint64_t runtime)
{
	if (prefix_set_has(&o->literals, v4 ? ADDR_IPV4 : ADDR_IPV6, addr, addr))
		return true;
	for (size_t i = 0; i < o->sets.count; i++)
		if (scan_set_has(m, o->sets.at[i], v4, addr, runtime))
			return true;
	return false;
}

static inline bool scan_in(const struct model_range *ranges, size_t count, uint16_t value)
{
	for (size_t i = 0; i < count; i++)
		if (value >= ranges[i].first && value <= ranges[i].last)
			return true;
	return false;
}

static inline bool scan_addresses(const struct model *m, const struct model_rule *r,
				  const struct packet *p)
{
	bool v4 = p->family == PACKET_IPV4;

	if (r->keys & MODEL_KEY_FROM && !scan_operand_has(m, &r->from, v4, p->src, p->src_sets))
		return false;
	if (r->keys & MODEL_KEY_TO && !scan_operand_has(m, &r->to, v4, p->dst, p->dst_sets))
		return false;
	if (r->keys & MODEL_KEY_NOT_FROM &&
	    scan_operand_has(m, &r->not_from, v4, p->src, p->src_sets))
		return false;
	return !(r->keys & MODEL_KEY_NOT_TO &&
		 scan_operand_has(m, &r->not_to, v4, p->dst, p->dst_sets));
}

static inline bool scan_transport(const struct model_rule *r, const struct packet *p)
{
	bool v4 = p->family == PACKET_IPV4, icmp = p->proto == (v4 ? 1 : 58);

	if (r->keys & MODEL_KEY_SPORT &&
	    (!packet_has_ports(p) || !scan_in(r->sport.at, r->sport.count, p->sport)))
		return false;
	if (r->keys & MODEL_KEY_DPORT &&
	    (!packet_has_ports(p) || !scan_in(r->dport.at, r->dport.count, p->dport)))
		return false;
	if (r->keys & MODEL_KEY_TYPE && (!icmp || !scan_in(r->type.at, r->type.count, p->type)))
		return false;
	if (r->keys & MODEL_KEY_CODE && (!icmp || !scan_in(r->code.at, r->code.count, p->code)))
		return false;
	if (!(r->keys & MODEL_KEY_FLAGS))
		return true;
	return p->proto == 6 && (p->flags & r->flags_all) == r->flags_all &&
	       !(p->flags & r->flags_none) && (!r->flags_any || p->flags & r->flags_any);
}

/* The packet has all that the rule asks for. */
static inline bool scan_matches(const struct model *m, const struct model_rule *r,
				const struct packet *p)
{
	bool vlan = !(r->keys & MODEL_KEY_VLAN);

	for (size_t i = 0; i < r->vlan.count; i++)
		vlan |= r->vlan.at[i] == p->vlan;
	if (!vlan)
		return false;
	if (p->family == PACKET_NOT_IP)
		return !(r->keys & ~MODEL_KEY_VLAN);
	if (r->keys & MODEL_KEY_STATE && !p->established)
		return false;
	if (r->family == MODEL_FAMILY_IPV4 && p->family != PACKET_IPV4)
		return false;
	if (r->family == MODEL_FAMILY_IPV6 && p->family != PACKET_IPV6)
		return false;
	if (r->keys & MODEL_KEY_PROTO && !(r->protos[p->proto / 64] >> (p->proto % 64) & 1))
		return false;
	/* icmp is of IPv4 and icmp6 of IPv6; their numbers in the other family are neither. */
	if (r->keys & MODEL_KEY_PROTO && p->proto == (p->family == PACKET_IPV4 ? 58 : 1))
		return false;
	return scan_addresses(m, r, p) && scan_transport(r, p);
}

/* The first rule that matches and is not in audit mode, BANK_NO_RULE. */
static inline uint32_t scan_first(const struct model *m, const struct model_chain *chain,
				  const struct packet *p)
{
	for (uint32_t i = 0; i < chain->rules.count; i++)
		if (!chain->rules.at[i].audit && scan_matches(m, &chain->rules.at[i], p))
			return i;
	return BANK_NO_RULE;
}
