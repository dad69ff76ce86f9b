/* SPDX-License-Identifier: Apache-2.0 */
/* Random rules, and packets that meet their borders. */
#include "oracle.h"

#include <netinet/in.h>
#include <string.h>

/* Marsaglia's xorshift64*: repeatable from a seed anywhere. */
uint32_t oracle_random(struct oracle_random *r, uint32_t below)
{
	r->state ^= r->state >> 12;
	r->state ^= r->state << 25;
	r->state ^= r->state >> 27;
	return (uint32_t)((r->state * 0x2545f4914f6cdd1dull) >> 33) % below;
}

/* Router solicitation to neighbour advertisement, and redirect, which is no discovery. */
#define ND_FIRST 133
#define ND_TYPES 5

struct oracle_random oracle_seed(uint64_t seed)
{
	/* splitmix64: of seeds that differ in one bit about half the bits differ. */
	uint64_t x = seed * 0x9e3779b97f4a7c15ull + 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return (struct oracle_random){ (x ^ x >> 31) | 1 };
}

static bool one_in(struct oracle_random *r, uint32_t n)
{
	return !oracle_random(r, n);
}

/*
 * Addresses come from few networks, so that prefixes nest and packets hit; those of large policies from so many
 * that thousands of rules are apart.
 */
static void random_addr(struct oracle_random *r, enum oracle_style style, bool ipv6,
			uint8_t addr[16])
{
	static const uint8_t base6[8] = { 0x20, 0x01, 0x0d, 0xb8 };
	bool large = style == ORACLE_LARGE;

	memset(addr, 0, 16);
	if (!ipv6) {
		addr[0] = oracle_random(r, 2) ? 10 : 192;
		addr[1] = (uint8_t)oracle_random(r, large ? 24 : 2);
		addr[2] = (uint8_t)oracle_random(r, large ? 24 : 4);
		addr[3] = (uint8_t)oracle_random(r, 256);
		return;
	}
	memcpy(addr, base6, sizeof(base6));
	addr[5] = (uint8_t)oracle_random(r, large ? 24 : 2);
	addr[7] = (uint8_t)oracle_random(r, large ? 24 : 3);
	addr[13] = (uint8_t)oracle_random(r, large ? 24 : 2);
	addr[15] = (uint8_t)oracle_random(r, 256);
}

static struct oracle_prefix random_prefix(struct oracle_random *r, enum oracle_style style)
{
	static const uint8_t len4[] = { 0, 8, 15, 16, 22, 24, 25, 28, 31, 32, 32, 32 };
	static const uint8_t len6[] = { 0, 16, 32, 44, 48, 64, 112, 120, 127, 128, 128, 128 };
	static const uint8_t narrow4[] = { 16, 21, 23, 24, 24, 24, 27, 29, 31, 32, 32, 32 };
	static const uint8_t narrow6[] = { 47, 48, 60, 64, 64, 64, 112, 113, 120, 127, 128, 128 };
	struct oracle_prefix p = { .ipv6 = one_in(r, 2) };
	uint32_t i = oracle_random(r, sizeof(len4));

	random_addr(r, style, p.ipv6, p.addr);
	if (style == ORACLE_LARGE)
		p.len = p.ipv6 ? narrow6[i] : narrow4[i];
	else
		p.len = p.ipv6 ? len6[i] : len4[i];
	for (int bit = p.len; bit < 128; bit++)
		p.addr[bit / 8] &= (uint8_t) ~(1u << (7 - bit % 8));
	return p;
}

/* family: 0 any, or the one that the rule's other addresses allow. */
static void random_prefixes(struct oracle_random *r, enum oracle_style style, int family,
			    struct oracle_prefixes *p)
{
	p->written = true;
	p->as_set = one_in(r, style == ORACLE_LARGE ? 50 : 2);
	p->count = 1 + (int)oracle_random(r, ORACLE_LIST_MAX);
	for (int i = 0; i < p->count; i++)
		do
			p->at[i] = random_prefix(r, style);
		while (family && p->at[i].ipv6 != (family == 6));
}

static void random_ports(struct oracle_random *r, struct oracle_ports *p)
{
	static const uint16_t pool[] = { 0,   1,    22,   53,    79,    80,   81,
					 443, 8000, 8099, 40000, 65534, 65535 };

	p->written = true;
	p->count = 1 + (int)oracle_random(r, ORACLE_LIST_MAX);
	for (int i = 0; i < p->count; i++) {
		uint16_t a = pool[oracle_random(r, sizeof(pool) / 2)];
		uint16_t b = one_in(r, 2) ? a : pool[oracle_random(r, sizeof(pool) / 2)];

		p->at[i].first = a < b ? a : b;
		p->at[i].last = a < b ? b : a;
	}
}

/*
 * A family of all the rule's addresses, so that no rule is refused as one that can never match: what
 * mixed lists mean is covered by lists of both families in one key alone. Of a large policy's rules one in
 * thirty is narrow in neither address.
 */
static void random_addresses(struct oracle_random *r, enum oracle_style style,
			     struct oracle_rule *rule, int family)
{
	bool one_key = !family, large = style == ORACLE_LARGE;
	bool wide = !large || one_in(r, 30);

	if (wide ? !large && one_in(r, 2) : !one_in(r, 3))
		random_prefixes(r, style, family, &rule->from);
	if (wide ? !large && one_in(r, 3) && !(one_key && rule->from.written)
		 : !rule->from.written || (!one_key && one_in(r, 3)))
		random_prefixes(r, style, family, &rule->to);
	if (one_in(r, large ? 12 : 5))
		random_prefixes(r, style, family, &rule->not_from);
	if (one_in(r, large ? 12 : 6))
		random_prefixes(r, style, family, &rule->not_to);
}

static void random_l4(struct oracle_random *r, struct oracle_rule *rule)
{
	static const int protos[] = { IPPROTO_TCP,  IPPROTO_TCP,    IPPROTO_UDP, IPPROTO_SCTP,
				      IPPROTO_ICMP, IPPROTO_ICMPV6, 47,          0,
				      255 };
	bool icmp;

	rule->proto = protos[oracle_random(r, sizeof(protos) / sizeof(protos[0]))];
	icmp = rule->proto == IPPROTO_ICMP || rule->proto == IPPROTO_ICMPV6;
	if (icmp && one_in(r, 2)) {
		rule->type = (int)oracle_random(r, 12);
		if (rule->proto == IPPROTO_ICMPV6 && one_in(r, 2))
			rule->type = ND_FIRST + (int)oracle_random(r, ND_TYPES);
		rule->code = one_in(r, 2) ? (int)oracle_random(r, 4) : -1;
	}
	if (rule->proto != IPPROTO_TCP && rule->proto != IPPROTO_UDP && rule->proto != IPPROTO_SCTP)
		return;
	if (one_in(r, 3))
		random_ports(r, &rule->sport);
	if (one_in(r, 2))
		random_ports(r, &rule->dport);
	if (rule->proto == IPPROTO_TCP && one_in(r, 3)) {
		rule->has_flags = true;
		rule->all = one_in(r, 2) ? (uint8_t)(1u << oracle_random(r, 8)) : 0;
		rule->none = one_in(r, 2) ? (uint8_t)((1u << oracle_random(r, 8)) & ~rule->all) : 0;
		rule->any = (uint8_t)((1u << oracle_random(r, 8) | 1u << oracle_random(r, 8)) &
				      ~rule->none);
	}
}

static void random_rule(struct oracle_random *r, enum oracle_style style, struct oracle_rule *rule)
{
	static const uint32_t one_audit_in[] = {
		[ORACLE_SMALL] = 8,
		[ORACLE_AUDITS_MANY] = 2,
		[ORACLE_LARGE] = 60,
	};
	int family = (int)oracle_random(r, 3) * 2 + 2; /* of the addresses: 2 means both */

	*rule = (struct oracle_rule){ .proto = -1, .type = -1, .code = -1, .vlan = -1 };
	family = family == 2 ? 0 : family;
	if (!one_in(r, 4))
		random_l4(r, rule);
	if (rule->proto == IPPROTO_ICMP || rule->proto == IPPROTO_ICMPV6)
		family = rule->proto == IPPROTO_ICMP ? 4 : 6; /* ICMP belongs to one family */
	if (one_in(r, 5))
		rule->family = family;
	random_addresses(r, style, rule, family);
	if (one_in(r, 8))
		rule->vlan = (int)oracle_random(r, 4);
	rule->drop = one_in(r, 2);
	rule->audit = one_in(r, one_audit_in[style]);
}

void oracle_make_policy(struct oracle_random *r, enum oracle_style style, struct oracle_policy *ret)
{
	const int large = ORACLE_RULES_MAX - ORACLE_RULES_LARGE;

	ret->style = style;
	ret->count = style == ORACLE_LARGE
			     ? ORACLE_RULES_LARGE + (int)oracle_random(r, (uint32_t)large + 1)
			     : 1 + (int)oracle_random(r, ORACLE_RULES_SMALL);
	ret->default_drop = one_in(r, 2);
	ret->first_only = one_in(r, 2);
	for (int i = 0; i < ret->count; i++)
		random_rule(r, style, &ret->rules[i]);
}

static void near_prefix(struct oracle_random *r, enum oracle_style style,
			const struct oracle_prefixes *p, const struct oracle_packet *pkt,
			uint8_t *addr)
{
	const struct oracle_prefix *prefix;
	uint8_t random[16];

	if (!p->written)
		return;
	prefix = &p->at[oracle_random(r, (uint32_t)p->count)];
	if (prefix->ipv6 != (pkt->l3 == ORACLE_IPV6) || pkt->l3 == ORACLE_NOT_IP)
		return;
	random_addr(r, style, prefix->ipv6, random);
	for (int bit = 0; bit < 128; bit++) {
		uint8_t mask = (uint8_t)(1u << (7 - bit % 8));
		const uint8_t *from = bit < prefix->len ? prefix->addr : random;

		addr[bit / 8] = (uint8_t)((addr[bit / 8] & ~mask) | (from[bit / 8] & mask));
	}
	if (one_in(r, 6)) /* one off */
		addr[prefix->ipv6 ? 15 : 3] ^= 1;
}

static uint16_t near_port(struct oracle_random *r, const struct oracle_ports *p, uint16_t port)
{
	int i;

	if (!p->written)
		return port;
	i = (int)oracle_random(r, (uint32_t)p->count);
	port = one_in(r, 2) ? p->at[i].first : p->at[i].last;
	return (uint16_t)(port + oracle_random(r, 3) - 1);
}

static void fit_rule(struct oracle_random *r, enum oracle_style style,
		     const struct oracle_rule *rule, struct oracle_packet *pkt)
{
	if (rule->from.written)
		pkt->l3 = rule->from.at[0].ipv6 ? ORACLE_IPV6 : ORACLE_IPV4;
	if (rule->to.written)
		pkt->l3 = rule->to.at[0].ipv6 ? ORACLE_IPV6 : ORACLE_IPV4;
	if (rule->proto >= 0)
		pkt->proto = (uint8_t)rule->proto;
	if (rule->type >= 0) {
		pkt->l3 = rule->proto == IPPROTO_ICMP ? ORACLE_IPV4 : ORACLE_IPV6;
		pkt->type = (uint8_t)rule->type;
	}
	if (rule->code >= 0)
		pkt->code = (uint8_t)rule->code;
	random_addr(r, style, pkt->l3 == ORACLE_IPV6, pkt->src);
	random_addr(r, style, pkt->l3 == ORACLE_IPV6, pkt->dst);
	near_prefix(r, style, &rule->from, pkt, pkt->src);
	near_prefix(r, style, &rule->to, pkt, pkt->dst);
	pkt->sport = near_port(r, &rule->sport, pkt->sport);
	pkt->dport = near_port(r, &rule->dport, pkt->dport);
	if (rule->has_flags)
		pkt->flags = (uint8_t)((pkt->flags | rule->all | rule->any) & ~rule->none);
	if (rule->vlan >= 0) {
		pkt->tags = 1 + (int)oracle_random(r, 2);
		pkt->vlan = (uint16_t)rule->vlan;
	}
}

void oracle_make_packet(struct oracle_random *r, const struct oracle_policy *p,
			struct oracle_packet *ret)
{
	static const uint8_t protos[] = { 6, 6, 17, 132, 1, 58, 47, 255, 50 };

	*ret = (struct oracle_packet){
		.l3 = one_in(r, 30)         ? ORACLE_NOT_IP
		      : oracle_random(r, 2) ? ORACLE_IPV6
					    : ORACLE_IPV4,
		.proto = protos[oracle_random(r, sizeof(protos))],
		.sport = (uint16_t)oracle_random(r, 65536),
		.dport = (uint16_t)oracle_random(r, 65536),
		.flags = (uint8_t)oracle_random(r, 256),
		.type = (uint8_t)oracle_random(r, 12),
		.code = (uint8_t)oracle_random(r, 4),
		.tags = one_in(r, 4) ? 1 + (int)oracle_random(r, 3) : 0,
		.vlan = (uint16_t)oracle_random(r, 5),
	};
	random_addr(r, p->style, ret->l3 == ORACLE_IPV6, ret->src);
	random_addr(r, p->style, ret->l3 == ORACLE_IPV6, ret->dst);
	if (p->count && ret->l3 != ORACLE_NOT_IP && one_in(r, 2))
		fit_rule(r, p->style, &p->rules[oracle_random(r, (uint32_t)p->count)], ret);
	/* These are extension headers in IPv6, not protocols; see the parser's tests. */
	if (ret->l3 == ORACLE_IPV6 && (!ret->proto || ret->proto == 43 || ret->proto == 44))
		ret->proto = 47;
	if (ret->l3 == ORACLE_IPV6 && ret->proto == IPPROTO_ICMPV6 && one_in(r, 3)) {
		ret->type = (uint8_t)(ND_FIRST + oracle_random(r, ND_TYPES));
		ret->nd = one_in(r, 2);
	}
}
