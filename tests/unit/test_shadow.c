/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules that can never match, against a scan that compares the packets that rules match, one by one. Rules
 * out a check that compares only the keys that are written, or only near rules, or that finds
 * candidates by equal prefixes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <string.h>

#include "policy.h"
#include "str.h"

#define HEAD                                                                                 \
	"version: 1\nattach:\n  wan: {dev: eth0}\nfilter:\n  in:\n    at: wan.ingress\n    " \
	"default: pass\n    rules:\n"
#define HEAD_LINES 8
#define RULES      40
#define ROUNDS     400

/* ---- packets: one for every value that some rule below tells from its neighbours ----------------- */

static const char *const prefixes[] = {
	"0.0.0.0/0", "10.0.0.0/8",    "10.1.0.0/16", "10.1.2.3",
	"::/0",      "2001:db8::/32", "2001:db8::1", "192.0.2.0/24",
};
#define PREFIXES 8

/* Which prefixes hold an address, as bits; IPv4 first. */
static const struct host {
	bool v6;
	unsigned int in;
} hosts[] = {
	{ false, 1u << 0 | 1u << 1 | 1u << 2 | 1u << 3 },
	{ false, 1u << 0 | 1u << 1 | 1u << 2 },
	{ false, 1u << 0 | 1u << 1 },
	{ false, 1u << 0 | 1u << 7 },
	{ false, 1u << 0 },
	{ true, 1u << 4 | 1u << 5 | 1u << 6 },
	{ true, 1u << 4 | 1u << 5 },
	{ true, 1u << 4 },
};
#define HOSTS 8

static const char *const port_lists[] = { "80", "80-89", "[80, 443]", "1-1000", "0-65535" };
static const unsigned int ports[] = { 0, 80, 85, 443, 900, 40000 };

static bool port_in(unsigned int list, unsigned int port)
{
	switch (list) {
	case 0:
		return port == 80;
	case 1:
		return port >= 80 && port <= 89;
	case 2:
		return port == 80 || port == 443;
	case 3:
		return port >= 1 && port <= 1000;
	default:
		return true;
	}
}

enum l4 {
	TCP,
	UDP,
	ICMP,
	GRE,
	L4_COUNT,
	NOT_IP = L4_COUNT,
};

struct packet {
	const struct host *from, *to;
	enum l4 l4; /* ICMP is that of the packet's family */
	unsigned int dport, flags, type, code, vlan;
	bool established;
};

/* ---- rules as the test makes them --------------------------------------------------------------- */

#define ABSENT UINT32_MAX

struct made {
	unsigned int family; /* 0: absent, 4, 6 */
	unsigned int protos; /* bits of enum l4, 0: absent; with ICMP alone `family` says which */
	unsigned int from, to, not_from, not_to; /* bits of prefixes, 0: absent */
	unsigned int dport, type, code;          /* index in port_lists, number, number */
	unsigned int flags_all, flags_none;      /* 0: absent */
	unsigned int vlan;
	bool state, audit, drop;
};

static bool has_family(unsigned int in, bool v6)
{
	return in & (v6 ? 0x70u : 0x8fu);
}

static bool side_matches(unsigned int in, unsigned int out, const struct host *host)
{
	return (!in || host->in & in) && !(host->in & out);
}

static bool matches(const struct made *m, const struct packet *p)
{
	bool v6 = p->from->v6;

	if (p->l4 == NOT_IP)
		return !(m->family | m->protos | m->from | m->to | m->not_from | m->not_to |
			 m->state) &&
		       (!m->vlan || m->vlan == p->vlan);
	if (m->family && (m->family == 6) != v6)
		return false;
	if (m->protos && !(m->protos >> p->l4 & 1))
		return false;
	if ((m->from && !has_family(m->from, v6)) || (m->to && !has_family(m->to, v6)))
		return false;
	if (m->dport != ABSENT && !port_in(m->dport, p->dport))
		return false;
	if ((m->type != ABSENT && m->type != p->type) || (m->code != ABSENT && m->code != p->code))
		return false;
	if ((p->flags & m->flags_all) != m->flags_all || p->flags & m->flags_none)
		return false;
	if ((m->vlan && m->vlan != p->vlan) || (m->state && !p->established))
		return false;
	return side_matches(m->from, m->not_from, p->from) && side_matches(m->to, m->not_to, p->to);
}

static unsigned int pick(unsigned int n)
{
	return (unsigned int)rand() % n;
}

static unsigned int some_prefixes(void)
{
	unsigned int bits = 1u << pick(PREFIXES);

	return pick(3) ? bits : bits | 1u << pick(PREFIXES);
}

static struct made make_rule(bool negations)
{
	static const unsigned int protos[] = { 1u << TCP, 1u << UDP, 1u << TCP | 1u << UDP };
	struct made m = { .dport = ABSENT, .type = ABSENT, .code = ABSENT };

	m.from = pick(2) ? some_prefixes() : 0;
	m.to = pick(3) ? 0 : some_prefixes();
	if (m.from && m.to && !(has_family(m.from, false) && has_family(m.to, false)) &&
	    !(has_family(m.from, true) && has_family(m.to, true)))
		m.to = 0; /* that would be an error */
	if (negations && !pick(3))
		m.not_from = some_prefixes();
	if (negations && !pick(4))
		m.not_to = some_prefixes();
	if (!pick(3) && !m.from && !m.to && !m.not_from && !m.not_to)
		m.family = pick(2) ? 4 : 6;
	if (pick(2)) {
		m.protos = protos[pick(3)];
		m.dport = pick(2) ? pick(5) : ABSENT;
		if (m.protos == 1u << TCP && !pick(3))
			m.flags_all = 0x02;
		else if (m.protos == 1u << TCP && !pick(3))
			m.flags_none = pick(2) ? 0x10 : 0x12;
	} else if (m.family && pick(2)) {
		m.protos = 1u << ICMP;
		m.type = pick(2) ? 3 : ABSENT;
		m.code = m.type != ABSENT && pick(2) ? 4 : ABSENT;
	}
	m.vlan = pick(5) ? 0 : 5;
	m.state = !pick(6);
	m.audit = !pick(6);
	m.drop = pick(2);
	return m;
}

static void put_operand(struct text *t, const char *key, unsigned int in)
{
	bool first = true;

	if (!in)
		return;
	text_printf(t, ", %s: [", key);
	for (unsigned int i = 0; i < PREFIXES; i++) {
		if (!(in >> i & 1))
			continue;
		text_printf(t, "%s\"%s\"", first ? "" : ", ", prefixes[i]);
		first = false;
	}
	text_puts(t, "]");
}

static void put_rule(struct text *t, unsigned int number, const struct made *m)
{
	static const char *const names[] = { "tcp", "udp", "icmp", "47" };
	bool first = true;

	text_printf(t, "      - {id: r%u", number);
	if (m->family)
		text_printf(t, ", family: ipv%u", m->family);
	for (unsigned int i = 0; i < L4_COUNT; i++) {
		if (!(m->protos >> i & 1))
			continue;
		text_printf(t, "%s%s%s", first ? ", proto: [" : ", ", names[i],
			    i == ICMP && m->family == 6 ? "6" : "");
		first = false;
	}
	text_puts(t, m->protos ? "]" : "");
	if (m->dport != ABSENT)
		text_printf(t, ", dport: %s", port_lists[m->dport]);
	if (m->type != ABSENT)
		text_printf(t, ", type: %u", m->type);
	if (m->code != ABSENT)
		text_printf(t, ", code: %u", m->code);
	if (m->flags_all)
		text_puts(t, ", flags: {all-of: syn}");
	if (m->flags_none)
		text_printf(t, ", flags: {none-of: %s}",
			    m->flags_none == 0x10 ? "ack" : "[syn, ack]");
	if (m->vlan)
		text_printf(t, ", vlan: %u", m->vlan);
	text_puts(t, m->state ? ", state: established" : "");
	put_operand(t, "from", m->from);
	put_operand(t, "to", m->to);
	put_operand(t, "not-from", m->not_from);
	put_operand(t, "not-to", m->not_to);
	text_printf(t, ", do: %s%s}\n", m->drop ? "drop" : "pass", m->audit ? ", mode: audit" : "");
}

/* ---- what each rule matches, as a bit for each packet --------------------------------------------- */

#define WORDS 640

struct matched {
	uint64_t word[WORDS];
	bool any;
};

static void add_packet(struct matched *all, const struct made *rules, size_t *count,
		       const struct packet *p)
{
	size_t at = (*count)++;

	assert_true(at < (size_t)WORDS * 64);
	for (size_t i = 0; i < RULES; i++) {
		if (!matches(&rules[i], p))
			continue;
		all[i].word[at / 64] |= 1ull << at % 64;
		all[i].any = true;
	}
}

/* All that differs above the addresses. */
static void add_packets(struct matched *all, const struct made *rules, size_t *count,
			struct packet p)
{
	static const unsigned int flags[] = { 0, 0x02, 0x10, 0x12 };

	for (unsigned int i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		p.dport = ports[i];
		p.l4 = UDP;
		add_packet(all, rules, count, &p);
		p.l4 = TCP;
		for (unsigned int f = 0; f < 4; f++) {
			p.flags = flags[f];
			add_packet(all, rules, count, &p);
		}
		p.flags = 0;
	}
	p.dport = 0;
	p.l4 = GRE;
	add_packet(all, rules, count, &p);
	p.l4 = NOT_IP;
	add_packet(all, rules, count, &p);
	p.l4 = ICMP;
	for (unsigned int i = 0; i < 4; i++) {
		p.type = i & 1 ? 3 : 8;
		p.code = i & 2 ? 4 : 1;
		add_packet(all, rules, count, &p);
	}
}

static void match_all(struct matched *all, const struct made *rules)
{
	size_t count = 0;

	memset(all, 0, RULES * sizeof(*all));
	for (unsigned int i = 0; i < HOSTS * HOSTS * 4; i++) {
		struct packet p = {
			.from = &hosts[i % HOSTS],
			.to = &hosts[i / HOSTS % HOSTS],
			.vlan = i / HOSTS / HOSTS & 1 ? 5 : 6,
			.established = i / HOSTS / HOSTS & 2,
		};

		if (p.from->v6 == p.to->v6)
			add_packets(all, rules, &count, p);
	}
}

static bool inside(const struct matched *narrow, const struct matched *wide)
{
	for (size_t i = 0; i < WORDS; i++) {
		if (narrow->word[i] & ~wide->word[i])
			return false;
	}
	return true;
}

/* ---- the test ------------------------------------------------------------------------------------ */

/* By rule: the rule that is said to cover it, ABSENT for none; what is said of others is left. */
static void read_warnings(const struct diag_list *diags, uint32_t *ret_wide)
{
	memset(ret_wide, 0xff, RULES * sizeof(*ret_wide));
	for (size_t i = 0; i < diags->diags.count; i++) {
		const struct diag *d = &diags->diags.at[i];

		if (strcmp(d->code, "shadowed") != 0)
			continue;
		assert_int_equal(d->notes.count, 1);
		ret_wide[d->span.line - HEAD_LINES - 1] = d->notes.at[0].span.line - HEAD_LINES - 1;
	}
}

static void check_round(struct matched *all, bool negations)
{
	struct made rules[RULES];
	uint32_t said[RULES];
	struct text text = {};
	struct policy policy;

	text_puts(&text, HEAD);
	for (unsigned int i = 0; i < RULES; i++) {
		rules[i] = make_rule(negations);
		put_rule(&text, i, &rules[i]);
	}
	if (policy_load(&policy, "t", text.at, text.len, NULL))
		fail_msg("%s", diag_render(&policy.diags, 3));
	read_warnings(&policy.diags, said);
	match_all(all, rules);
	for (uint32_t i = 0; i < RULES; i++) {
		uint32_t first = 0;

		while (first < i && (rules[first].audit || !inside(&all[i], &all[first])))
			first++;
		if (said[i] != ABSENT &&
		    (said[i] >= i || rules[said[i]].audit || !inside(&all[i], &all[said[i]])))
			fail_msg("r%u is not covered by r%u in\n%s", i, said[i], text.at);
		if (!negations && all[i].any && said[i] != (first < i ? first : ABSENT))
			fail_msg("r%u is covered by r%u first, not r%u, in\n%s", i, first, said[i],
				 text.at);
	}
	policy_done(&policy);
	text_done(&text);
}

static void test_against_packets(void **state)
{
	struct matched *all = calloc(RULES, sizeof(*all));
	unsigned int seed = 1;

	(void)state;
	print_message("seed %u\n", seed);
	srand(seed);
	assert_non_null(all);
	for (unsigned int i = 0; i < ROUNDS; i++)
		check_round(all, i % 2);
	free(all);
}

/* The rule that covers it stands far away from both ends of a long chain. */
static void test_long_chain(void **state)
{
	const unsigned int count = 50000, wide = 30000;
	struct text text = {};
	struct policy policy;
	const struct diag *found = NULL;

	(void)state;
	text_puts(&text, HEAD);
	for (unsigned int i = 0; i < count; i++) {
		if (i == wide)
			text_puts(&text, "      - {id: wide, proto: [tcp, udp], dport: 100-200, "
					 "from: 172.16.0.0/12, do: drop}\n");
		else
			text_printf(&text,
				    "      - {id: r%u, proto: tcp, dport: %u, from: 10.%u.%u.0/24, "
				    "do: pass}\n",
				    i, i % 7, i / 256, i % 256);
	}
	text_puts(&text, "      - {id: narrow, proto: tcp, dport: [150, 160], "
			 "from: [172.16.1.1, 172.31.0.0/24], to: 192.0.2.1, do: pass}\n");
	if (policy_load(&policy, "t", text.at, text.len, NULL))
		print_message("the policy is over a limit; its warnings stand all the same\n");
	for (size_t i = 0; i < policy.diags.diags.count; i++) {
		if (!strcmp(policy.diags.diags.at[i].code, "shadowed")) {
			assert_null(found);
			found = &policy.diags.diags.at[i];
		}
	}
	assert_non_null(found);
	assert_int_equal(found->span.line, HEAD_LINES + count + 1);
	assert_int_equal(found->notes.at[0].span.line, HEAD_LINES + wide + 1);
	policy_done(&policy);
	text_done(&text);
}

/*
 * Blocks whose values and lengths differ by the same bits, 2001:db8:9:10::/64 and 2001:db8:9::/48: with the length
 * as the seed of the hash one was found for the other, and the search for what covers a rule never ended.
 */
static void test_lengths_like_values(void **state)
{
	struct policy policy;
	struct text text = {};

	(void)state;
	text_puts(&text, HEAD);
	text_puts(&text, "      - {id: a, to: [10.3.8.0/21, \"2001:db8:10:13::/64\"], do: drop}\n"
			 "      - {id: b, to: [\"2001:db8:c::/48\", \"2001:db8:9:10::/64\"], "
			 "do: pass}\n");
	assert_int_equal(policy_load(&policy, "t", text.at, text.len, NULL), 0);
	assert_int_equal(policy.diags.diags.count, 0);
	policy_done(&policy);
	text_done(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_packets),
		cmocka_unit_test(test_long_chain),
		cmocka_unit_test(test_lengths_like_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
