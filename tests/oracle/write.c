/* SPDX-License-Identifier: Apache-2.0 */
/* Random policies as text. */
#include "oracle.h"

#include <arpa/inet.h>
#include <netinet/in.h>

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
	(void)fprintf(
		to,
		"filter:\n  wan-in:\n    at: wan.ingress\n    default: %s\n    fragments: %s\n    rules:\n",
		p->default_drop ? "drop" : "pass", p->first_only ? "first-only" : "drop");
	for (int i = 0; i < p->count; i++)
		write_rule(&p->rules[i], i, to);
}
