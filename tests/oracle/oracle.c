/* SPDX-License-Identifier: Apache-2.0 */
#include "oracle.h"

#include <arpa/inet.h>
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

static bool one_in(struct oracle_random *r, uint32_t n)
{
	return !oracle_random(r, n);
}

/* Addresses come from few networks, so that prefixes nest and packets hit. */
static void random_addr(struct oracle_random *r, bool ipv6, uint8_t addr[16])
{
	static const uint8_t base6[8] = { 0x20, 0x01, 0x0d, 0xb8 };

	memset(addr, 0, 16);
	if (!ipv6) {
		addr[0] = oracle_random(r, 2) ? 10 : 192;
		addr[1] = (uint8_t)oracle_random(r, 2);
		addr[2] = (uint8_t)oracle_random(r, 4);
		addr[3] = (uint8_t)oracle_random(r, 256);
		return;
	}
	memcpy(addr, base6, sizeof(base6));
	addr[5] = (uint8_t)oracle_random(r, 2);
	addr[7] = (uint8_t)oracle_random(r, 3);
	addr[13] = (uint8_t)oracle_random(r, 2);
	addr[15] = (uint8_t)oracle_random(r, 256);
}

static bool inside(const uint8_t *addr, const struct oracle_prefix *p)
{
	for (int bit = 0; bit < p->len; bit++)
		if ((addr[bit / 8] ^ p->addr[bit / 8]) >> (7 - bit % 8) & 1)
			return false;
	return true;
}

static struct oracle_prefix random_prefix(struct oracle_random *r)
{
	static const uint8_t len4[] = { 0, 8, 15, 16, 22, 24, 25, 28, 31, 32, 32, 32 };
	static const uint8_t len6[] = { 0, 16, 32, 44, 48, 64, 112, 120, 127, 128, 128, 128 };
	struct oracle_prefix p = { .ipv6 = one_in(r, 2) };

	random_addr(r, p.ipv6, p.addr);
	p.len = p.ipv6 ? len6[oracle_random(r, sizeof(len6))]
		       : len4[oracle_random(r, sizeof(len4))];
	for (int bit = p.len; bit < 128; bit++)
		p.addr[bit / 8] &= (uint8_t) ~(1u << (7 - bit % 8));
	return p;
}

/* family: 0 any, or the one that the rule's other addresses allow. */
static void random_prefixes(struct oracle_random *r, int family, struct oracle_prefixes *p)
{
	p->written = true;
	p->as_set = one_in(r, 2);
	p->count = 1 + (int)oracle_random(r, ORACLE_LIST_MAX);
	for (int i = 0; i < p->count; i++)
		do
			p->at[i] = random_prefix(r);
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
 * mixed lists mean is covered by lists of both families in one key alone.
 */
static void random_addresses(struct oracle_random *r, struct oracle_rule *rule, int family)
{
	bool one_key = !family;

	if (one_in(r, 2))
		random_prefixes(r, family, &rule->from);
	if (one_in(r, 3) && !(one_key && rule->from.written))
		random_prefixes(r, family, &rule->to);
	if (one_in(r, 5))
		random_prefixes(r, family, &rule->not_from);
	if (one_in(r, 6))
		random_prefixes(r, family, &rule->not_to);
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

static void random_rule(struct oracle_random *r, struct oracle_rule *rule)
{
	int family = (int)oracle_random(r, 3) * 2 + 2; /* of the addresses: 2 means both */

	*rule = (struct oracle_rule){ .proto = -1, .type = -1, .code = -1, .vlan = -1 };
	family = family == 2 ? 0 : family;
	if (!one_in(r, 4))
		random_l4(r, rule);
	if (rule->proto == IPPROTO_ICMP || rule->proto == IPPROTO_ICMPV6)
		family = rule->proto == IPPROTO_ICMP ? 4 : 6; /* ICMP belongs to one family */
	if (one_in(r, 5))
		rule->family = family;
	random_addresses(r, rule, family);
	if (one_in(r, 8))
		rule->vlan = (int)oracle_random(r, 4);
	rule->drop = one_in(r, 2);
	rule->audit = one_in(r, 8);
}

void oracle_make_policy(struct oracle_random *r, int rules, struct oracle_policy *ret)
{
	ret->count = rules;
	ret->default_drop = one_in(r, 2);
	for (int i = 0; i < rules; i++)
		random_rule(r, &ret->rules[i]);
}

static void write_prefix(const struct oracle_prefix *p, FILE *to)
{
	char text[INET6_ADDRSTRLEN];

	(void)inet_ntop(p->ipv6 ? AF_INET6 : AF_INET, p->addr, text, sizeof(text));
	(void)fprintf(to, "\"%s/%d\"", text, p->len);
}

static void write_list(const struct oracle_prefixes *p, FILE *to)
{
	(void)fputc('[', to);
	for (int i = 0; i < p->count; i++) {
		(void)fputs(i ? ", " : "", to);
		write_prefix(&p->at[i], to);
	}
	(void)fputc(']', to);
}

static void write_operand(const struct oracle_prefixes *p, const char *key, int rule, FILE *to)
{
	if (!p->written)
		return;
	(void)fprintf(to, ", %s: ", key);
	if (p->as_set)
		(void)fprintf(to, "$%s-%d", key, rule);
	else
		write_list(p, to);
}

static void write_set(const struct oracle_prefixes *p, const char *key, int rule, FILE *to)
{
	if (!p->written || !p->as_set)
		return;
	(void)fprintf(to, "  %s-%d: {items: ", key, rule);
	write_list(p, to);
	(void)fputs("}\n", to);
}

static void write_ports(const struct oracle_ports *p, const char *key, FILE *to)
{
	if (!p->written)
		return;
	(void)fprintf(to, ", %s: [", key);
	for (int i = 0; i < p->count; i++) {
		(void)fprintf(to, "%s%u", i ? ", " : "", p->at[i].first);
		if (p->at[i].last != p->at[i].first)
			(void)fprintf(to, "-%u", p->at[i].last);
	}
	(void)fputc(']', to);
}

static void write_flags(uint8_t bits, const char *key, bool *first, FILE *to)
{
	static const char *const names[] = {
		"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"
	};
	bool comma = false;

	if (!bits)
		return;
	(void)fprintf(to, "%s%s: [", *first ? "" : ", ", key);
	*first = false;
	for (int i = 0; i < 8; i++) {
		if (!(bits >> i & 1))
			continue;
		(void)fprintf(to, "%s%s", comma ? ", " : "", names[i]);
		comma = true;
	}
	(void)fputc(']', to);
}

static void write_rule(const struct oracle_rule *rule, int i, FILE *to)
{
	bool first = true;

	(void)fprintf(to, "      - {id: r%d", i);
	if (rule->family)
		(void)fprintf(to, ", family: ipv%d", rule->family);
	if (rule->proto == IPPROTO_ICMP || rule->proto == IPPROTO_ICMPV6)
		(void)fprintf(to, ", proto: %s", rule->proto == IPPROTO_ICMP ? "icmp" : "icmp6");
	else if (rule->proto >= 0)
		(void)fprintf(to, ", proto: %d", rule->proto);
	write_operand(&rule->from, "from", i, to);
	write_operand(&rule->to, "to", i, to);
	write_operand(&rule->not_from, "not-from", i, to);
	write_operand(&rule->not_to, "not-to", i, to);
	write_ports(&rule->sport, "sport", to);
	write_ports(&rule->dport, "dport", to);
	if (rule->has_flags) {
		(void)fputs(", flags: {", to);
		write_flags(rule->all, "all-of", &first, to);
		write_flags(rule->any, "any-of", &first, to);
		write_flags(rule->none, "none-of", &first, to);
		(void)fputc('}', to);
	}
	if (rule->type >= 0)
		(void)fprintf(to, ", type: %d", rule->type);
	if (rule->code >= 0)
		(void)fprintf(to, ", code: %d", rule->code);
	if (rule->vlan >= 0)
		(void)fprintf(to, ", vlan: %d", rule->vlan);
	(void)fprintf(to, ", do: %s%s}\n", rule->drop ? "drop" : "pass",
		      rule->audit ? ", mode: audit" : "");
}

void oracle_write_policy(const struct oracle_policy *p, FILE *to)
{
	bool sets = false;

	(void)fputs("version: 1\nattach:\n  wan: {dev: lo}\n", to);
	for (int i = 0; i < p->count; i++) {
		const struct oracle_rule *rule = &p->rules[i];

		if (!sets && ((rule->from.written && rule->from.as_set) ||
			      (rule->to.written && rule->to.as_set) ||
			      (rule->not_from.written && rule->not_from.as_set) ||
			      (rule->not_to.written && rule->not_to.as_set))) {
			(void)fputs("sets:\n", to);
			sets = true;
		}
		write_set(&rule->from, "from", i, to);
		write_set(&rule->to, "to", i, to);
		write_set(&rule->not_from, "not-from", i, to);
		write_set(&rule->not_to, "not-to", i, to);
	}
	(void)fprintf(to, "filter:\n  wan-in:\n    at: wan.ingress\n    default: %s\n    rules:\n",
		      p->default_drop ? "drop" : "pass");
	for (int i = 0; i < p->count; i++)
		write_rule(&p->rules[i], i, to);
}

static void near_prefix(struct oracle_random *r, const struct oracle_prefixes *p,
			struct oracle_packet *pkt, uint8_t *addr)
{
	const struct oracle_prefix *prefix = &p->at[oracle_random(r, (uint32_t)p->count)];
	uint8_t random[16];

	if (!p->written || prefix->ipv6 != (pkt->l3 == ORACLE_IPV6) || pkt->l3 == ORACLE_NOT_IP)
		return;
	random_addr(r, prefix->ipv6, random);
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

static void fit_rule(struct oracle_random *r, const struct oracle_rule *rule,
		     struct oracle_packet *pkt)
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
	random_addr(r, pkt->l3 == ORACLE_IPV6, pkt->src);
	random_addr(r, pkt->l3 == ORACLE_IPV6, pkt->dst);
	near_prefix(r, &rule->from, pkt, pkt->src);
	near_prefix(r, &rule->to, pkt, pkt->dst);
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
	random_addr(r, ret->l3 == ORACLE_IPV6, ret->src);
	random_addr(r, ret->l3 == ORACLE_IPV6, ret->dst);
	if (p->count && ret->l3 != ORACLE_NOT_IP && one_in(r, 2))
		fit_rule(r, &p->rules[oracle_random(r, (uint32_t)p->count)], ret);
	/* These are extension headers in IPv6, not protocols; see the parser's tests. */
	if (ret->l3 == ORACLE_IPV6 && (!ret->proto || ret->proto == 43 || ret->proto == 44))
		ret->proto = 47;
}

static bool in_list(const struct oracle_prefixes *p, const uint8_t *addr, bool ipv6)
{
	for (int i = 0; i < p->count; i++)
		if (p->at[i].ipv6 == ipv6 && inside(addr, &p->at[i]))
			return true;
	return false;
}

static bool in_ports(const struct oracle_ports *p, uint16_t port)
{
	for (int i = 0; i < p->count; i++)
		if (port >= p->at[i].first && port <= p->at[i].last)
			return true;
	return false;
}

static bool addresses_match(const struct oracle_rule *rule, const struct oracle_packet *pkt)
{
	bool ipv6 = pkt->l3 == ORACLE_IPV6;

	if (rule->from.written && !in_list(&rule->from, pkt->src, ipv6))
		return false;
	if (rule->to.written && !in_list(&rule->to, pkt->dst, ipv6))
		return false;
	if (rule->not_from.written && in_list(&rule->not_from, pkt->src, ipv6))
		return false;
	return !rule->not_to.written || !in_list(&rule->not_to, pkt->dst, ipv6);
}

static bool l4_matches(const struct oracle_rule *rule, const struct oracle_packet *pkt)
{
	if (rule->proto >= 0 && pkt->proto != rule->proto)
		return false;
	if (rule->sport.written && !in_ports(&rule->sport, pkt->sport))
		return false;
	if (rule->dport.written && !in_ports(&rule->dport, pkt->dport))
		return false;
	if (rule->has_flags &&
	    ((pkt->flags & rule->all) != rule->all || (pkt->flags & rule->none) ||
	     (rule->any && !(pkt->flags & rule->any))))
		return false;
	/* ICMP is ICMP only in its own family. */
	if ((rule->proto == IPPROTO_ICMP && pkt->l3 != ORACLE_IPV4) ||
	    (rule->proto == IPPROTO_ICMPV6 && pkt->l3 != ORACLE_IPV6))
		return false;
	return (rule->type < 0 || pkt->type == rule->type) &&
	       (rule->code < 0 || pkt->code == rule->code);
}

static bool matches(const struct oracle_rule *rule, const struct oracle_packet *pkt)
{
	bool asks_ip = rule->family || rule->proto >= 0 || rule->from.written || rule->to.written ||
		       rule->not_from.written || rule->not_to.written;

	if (rule->vlan >= 0 && (!pkt->tags || pkt->vlan != rule->vlan))
		return false;
	if (pkt->l3 == ORACLE_NOT_IP)
		return !asks_ip;
	if (rule->family && (rule->family == 6) != (pkt->l3 == ORACLE_IPV6))
		return false;
	return addresses_match(rule, pkt) && l4_matches(rule, pkt);
}

struct oracle_answer oracle_judge(const struct oracle_policy *p, const struct oracle_packet *pkt)
{
	struct oracle_answer a = { .rule = -1, .drop = p->default_drop };

	for (int i = 0; i < p->count; i++) {
		if (!matches(&p->rules[i], pkt))
			continue;
		if (p->rules[i].audit) {
			a.audits++;
			continue;
		}
		a.rule = i;
		a.drop = p->rules[i].drop;
		break;
	}
	return a;
}
