/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Warnings about chains that drop what the network itself needs and nobody thinks of: replies to DHCP
 * clients, neighbour discovery, and the messages by which hosts learn the MTU of a path. A rule that names
 * such packets is a decision, whatever it does, and ends the matter.
 */
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>

#include "check.h"
#include "sample.h"

#define LINK_LOCAL(n) ((u128)0xfe80 << 112 | (n))
#define MULTICAST(n)  ((u128)0xff02 << 112 | (n))
#define ALL_NODES     MULTICAST(1)
#define ALL_ROUTERS   MULTICAST(2)
#define SOLICITED     MULTICAST(0x1ff000001) /* the group of a host's address */

#define DHCP_CLIENT  68
#define DHCP_SERVER  67
#define DHCP6_CLIENT 546
#define DHCP6_SERVER 547

/* One packet. keys: a rule with one of them is about such packets. */
struct need {
	const char *name;
	uint32_t keys;
	struct sample sample;
};

#define NEEDS_MAX 3

struct topic {
	const char *code, *what, *effect, *advice;
	enum dp_dir dir;
	bool default_drop;            /* asked only where the default is drop */
	bool from_anyone;             /* comes from whom no rule names */
	struct need needs[NEEDS_MAX]; /* up to the first without a name */
};

#define DHCP_NEED(label, ip, from_port, to_port)                            \
	{                                                                   \
		.name = (label), .keys = MODEL_KEY_SPORT | MODEL_KEY_DPORT, \
		.sample = {                                                 \
			.family = (ip),                                     \
			.proto = IPPROTO_UDP,                               \
			.sport = (from_port),                               \
			.dport = (to_port),                                 \
		},                                                          \
	}

#define ND_NEED(label, icmp6_type_, dest)                          \
	{                                                          \
		.name = (label), .keys = MODEL_KEY_TYPE,           \
		.sample = {                                        \
			.family = REACH_IPV6,                      \
			.proto = IPPROTO_ICMPV6,                   \
			.type = (icmp6_type_),                     \
			.from = { SAMPLE_ADDRESS, LINK_LOCAL(1) }, \
			.to = { SAMPLE_ADDRESS, (dest) },          \
		},                                                 \
	}

#define DHCP(of)                                                \
	.code = "no-dhcp", .what = (of), .default_drop = true,  \
	.effect = "a lease on these devices cannot be renewed", \
	.advice = ", one that drops them when the addresses are static"

#define DISCOVERY                                                             \
	.code = "no-neighbour-discovery", .what = "IPv6 neighbour discovery", \
	.effect = "neighbours and routers are not found", .advice = ", by type"

static const struct topic topics[] = {
	{ DHCP("DHCP replies"), .dir = DP_INGRESS,
	  .needs = { DHCP_NEED("udp 67 to 68", REACH_IPV4, DHCP_SERVER, DHCP_CLIENT),
		     DHCP_NEED("udp 547 to 546", REACH_IPV6, DHCP6_SERVER, DHCP6_CLIENT) } },
	{ DHCP("DHCP requests"), .dir = DP_EGRESS,
	  .needs = { DHCP_NEED("udp 68 to 67", REACH_IPV4, DHCP_CLIENT, DHCP_SERVER),
		     DHCP_NEED("udp 546 to 547", REACH_IPV6, DHCP6_CLIENT, DHCP6_SERVER) } },
	{ DISCOVERY, .dir = DP_INGRESS,
	  .needs = { ND_NEED("neighbour-solicitation", ND_NEIGHBOR_SOLICIT, SOLICITED),
		     ND_NEED("neighbour-advertisement", ND_NEIGHBOR_ADVERT, LINK_LOCAL(2)),
		     ND_NEED("router-advertisement", ND_ROUTER_ADVERT, ALL_NODES) } },
	{ DISCOVERY, .dir = DP_EGRESS,
	  .needs = { ND_NEED("neighbour-solicitation", ND_NEIGHBOR_SOLICIT, SOLICITED),
		     ND_NEED("neighbour-advertisement", ND_NEIGHBOR_ADVERT, LINK_LOCAL(2)),
		     ND_NEED("router-solicitation", ND_ROUTER_SOLICIT, ALL_ROUTERS) } },
	{ .code = "no-path-mtu",
	  .what = "path MTU messages",
	  .dir = DP_INGRESS,
	  .from_anyone = true,
	  .effect = "connections over links with a smaller MTU stall",
	  .advice = ", or one with 'state: established'",
	  .needs = { { .name = "icmp dest-unreachable, frag-needed",
		       .keys = MODEL_KEY_TYPE,
		       .sample = { .family = REACH_IPV4,
				   .proto = IPPROTO_ICMP,
				   .type = ICMP_DEST_UNREACH,
				   .code = ICMP_FRAG_NEEDED } },
		     { .name = "icmp6 packet-too-big",
		       .keys = MODEL_KEY_TYPE,
		       .sample = { .family = REACH_IPV6,
				   .proto = IPPROTO_ICMPV6,
				   .type = ICMP6_PACKET_TOO_BIG } } } },
};

/* ---- one chain, one packet ----------------------------------------------------------------------- */

struct starved {
	const struct model *model;
	const struct model_chain *chain;
};

/* Ping alone has no use for a path's MTU. */
static bool has_traffic(const struct reach *reach, enum reach_family family,
			const struct topic *topic)
{
	uint64_t icmp = 1ull << IPPROTO_ICMP | 1ull << IPPROTO_ICMPV6;
	const uint64_t *p = reach->protos[family];

	return (p[0] & ~(topic->from_anyone ? icmp : 0)) | p[1] | p[2] | p[3];
}

/* Whether the chain lets anything of the family and the peer through that makes the topic matter. */
static bool family_in_use(const struct starved *s, const struct topic *topic,
			  enum reach_family family, enum sample_peer peer)
{
	const struct sample_side side = { .peer = peer };
	const uint32_t any_packet = MODEL_KEY_FAMILY | MODEL_KEY_FROM | MODEL_KEY_NOT_FROM;

	for (size_t i = 0; i < s->chain->rules.count; i++) {
		const struct model_rule *rule = &s->chain->rules.at[i];
		struct reach reach = reach_of(s->model, rule);
		enum answer from;

		if (rule->audit || !reach_has_family(&reach, family))
			continue;
		from = sample_from(s->model, rule, family, side);
		if (rule->verdict == DP_DROP && !(rule->keys & ~any_packet) && from == ANSWER_YES)
			return false; /* nothing of it comes further */
		if (rule->verdict == DP_PASS && from && has_traffic(&reach, family, topic))
			return true;
	}
	return s->chain->default_verdict == DP_PASS;
}

/*
 * True when the packet is dropped and no rule shows that this was meant; *ret_rule then is the rule that drops
 * it, NULL for the default. A rule that may pass it is taken to, and one about such packets has a say whatever
 * the sources it names.
 */
static bool is_dropped(const struct starved *s, const struct need *need,
		       const struct sample *sample, const struct model_rule **ret_rule)
{
	*ret_rule = NULL;
	for (size_t i = 0; i < s->chain->rules.count; i++) {
		const struct model_rule *rule = &s->chain->rules.at[i];
		bool about = rule->keys & need->keys;
		enum answer answer;

		if (rule->audit)
			continue;
		answer = sample_matches(s->model, rule, about ? &need->sample : sample);
		if (answer == ANSWER_NO || (answer == ANSWER_MAYBE && rule->verdict == DP_DROP))
			continue;
		if (rule->verdict == DP_PASS || about)
			return false;
		*ret_rule = rule;
		return true;
	}
	/* Without a rule that says otherwise neighbour discovery passes whatever the default. */
	return s->chain->default_verdict == DP_DROP && sample->from.peer != SAMPLE_ADDRESS;
}

static bool is_starved(const struct starved *s, const struct topic *topic, const struct need *need,
		       const struct model_rule **ret_rule)
{
	struct sample sample = need->sample;

	if (topic->from_anyone && family_in_use(s, topic, sample.family, SAMPLE_STRANGER))
		sample.from.peer = SAMPLE_STRANGER;
	else if (!family_in_use(s, topic, sample.family, SAMPLE_ANY))
		return false;
	return is_dropped(s, need, &sample, ret_rule);
}

/* ---- reports ------------------------------------------------------------------------------------- */

static void report(struct check *c, const struct starved *s, const struct topic *topic,
		   const struct model_rule *rule, const char *names)
{
	if (rule)
		diag_warning(c->diags, rule->id_span, topic->code,
			     "rule '%s' drops %s (%s): %s; add a rule for them before it%s",
			     rule->id, topic->what, names, topic->effect, topic->advice);
	else
		diag_warning(c->diags, s->chain->default_span, topic->code,
			     "no rule lets %s %s (%s): %s; add a rule for them%s", topic->what,
			     topic->dir == DP_INGRESS ? "in" : "out", names, topic->effect,
			     topic->advice);
}

/* Needs that fail at the same place are one warning. */
static void check_topic(struct check *c, const struct starved *s, const struct topic *topic)
{
	const struct model_rule *rules[NEEDS_MAX] = {};
	bool open[NEEDS_MAX] = {};

	for (size_t i = 0; i < NEEDS_MAX && topic->needs[i].name; i++)
		open[i] = is_starved(s, topic, &topic->needs[i], &rules[i]);
	for (size_t i = 0; i < NEEDS_MAX; i++) {
		const char *names = topic->needs[i].name;

		if (!open[i])
			continue;
		for (size_t j = i + 1; j < NEEDS_MAX; j++) {
			if (!open[j] || rules[j] != rules[i])
				continue;
			names = print(c, "%s; %s", names, topic->needs[j].name);
			open[j] = false;
		}
		report(c, s, topic, rules[i], names);
	}
}

void check_starved(struct check *c)
{
	for (size_t i = 0; i < c->model->chains.count; i++) {
		const struct starved s = { .model = c->model, .chain = &c->model->chains.at[i] };

		for (size_t t = 0; t < sizeof(topics) / sizeof(topics[0]); t++) {
			if (topics[t].dir == s.chain->dir &&
			    (!topics[t].default_drop || s.chain->default_verdict == DP_DROP))
				check_topic(c, &s, &topics[t]);
		}
	}
}
