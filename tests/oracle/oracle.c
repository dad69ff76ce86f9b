/* SPDX-License-Identifier: Apache-2.0 */
#include "oracle.h"

#include <netinet/in.h>
#include <string.h>

static bool inside(const uint8_t *addr, const struct oracle_prefix *p)
{
	int bytes = p->len / 8, bits = p->len % 8;

	return !memcmp(addr, p->addr, (size_t)bytes) &&
	       (!bits || !((addr[bytes] ^ p->addr[bytes]) >> (8 - bits)));
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
	struct oracle_answer a = { .rule = -1 };

	for (int i = 0; i < p->count; i++) {
		if (!matches(&p->rules[i], pkt))
			continue;
		if (p->rules[i].audit) {
			if (a.audits < ORACLE_AUDITS)
				a.audit[a.audits] = i;
			a.audits++;
			continue;
		}
		a.rule = i;
		a.drop = p->rules[i].drop;
		return a;
	}
	a.nd = pkt->nd;
	a.drop = !pkt->nd && p->default_drop;
	return a;
}
