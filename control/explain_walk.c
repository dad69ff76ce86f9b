/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See explain_walk.h. Everything here was said by the program or is looked up by a number that it said; what
 * becomes of a rule that matches follows from its place among those that decided and counted.
 */
#include "explain_walk.h"

#include <netinet/in.h>

#include "addr.h"
#include "explain.h"
#include "generation.h"
#include "image.h"
#include "jsonobj.h"
#include "names.h"

enum family {
	FAMILY_IPV4,
	FAMILY_IPV6,
	FAMILY_COUNT, /* not IP */
};

/* NULL in the list: nothing to say. */
#define name_of(names, i) ((i) < sizeof(names) / sizeof(*(names)) ? (names)[i] : NULL)

/* ---- the packet ---------------------------------------------------------------------------------------- */

static void add_known(struct json_object *to, const char *key, bool known, uint64_t n)
{
	if (known)
		json_add_u64(to, key, n);
	else
		json_add(to, key, NULL);
}

static void add_address(struct json_object *to, const char *key, enum family family,
			const __u32 *words)
{
	struct prefix p = { .family = ADDR_IPV4, .len = 32, .addr = words[0] };
	char text[PREFIX_TEXT];

	if (family == FAMILY_COUNT) {
		json_add(to, key, NULL);
		return;
	}
	if (family == FAMILY_IPV6) {
		p = (struct prefix){ .family = ADDR_IPV6, .len = 128 };
		for (int i = 0; i < 4; i++)
			p.addr = p.addr << 32 | words[i];
	}
	prefix_format(&p, text);
	json_add_text(to, key, text);
}

static struct json_object *flags(uint8_t bits)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < names_flags.count; i++) {
		if (bits & names_flags.at[i].number)
			json_object_array_add(list, json_object_new_string(names_flags.at[i].name));
	}
	return list;
}

/* As far as the parser came; what it did not come to, or what the packet does not have, is null. */
static struct json_object *packet(const struct dp_explain *e)
{
	static const char *const families[] = { "ipv4", "ipv6" };
	static const char *const pieces[] = { "whole", "first", "later" };
	struct json_object *p = json_object_new_object();
	bool payload = e->l4 || e->fragment, tcp = e->has_ports && e->proto == IPPROTO_TCP;

	json_add_text(p, "family", name_of(families, e->family));
	add_address(p, "src", e->family, e->addr);
	add_address(p, "dst", e->family, e->addr + 4);
	/* An IPv6 packet has none before its extension headers are behind. */
	add_known(p, "proto", e->family == FAMILY_IPV4 || payload, e->proto);
	add_known(p, "sport", e->has_ports, e->sport);
	add_known(p, "dport", e->has_ports, e->dport);
	json_add(p, "flags", tcp ? flags(e->flags) : NULL);
	add_known(p, "type", e->has_icmp, e->icmp >> 8);
	add_known(p, "code", e->has_icmp, e->icmp & 0xff);
	add_known(p, "vlan", e->vlan != DP_VLAN_NONE, e->vlan);
	json_add_text(p, "fragment", payload ? name_of(pieces, e->fragment) : NULL);
	add_known(p, "network_offset", e->l3, e->l3);
	add_known(p, "transport_offset", e->l4, e->l4);
	return p;
}

/* ---- what was looked up ---------------------------------------------------------------------------------- */

static struct json_object *classes(const struct dp_explain *e)
{
	struct json_object *json = json_object_new_object();

	for (enum dp_dim dim = 0; dim < DP_DIM_COUNT; dim++) {
		if (e->dims >> dim & 1)
			json_add_u64(json, image_dim_keys[dim], e->class[dim]);
	}
	return json;
}

static struct json_object *set_names(const struct generation *g, uint64_t numbers)
{
	struct json_object *names = json_object_new_array();

	for (size_t i = 0; i < g->sets.count; i++) {
		const struct generation_set *set = &g->sets.at[i];

		if (set->runtime && numbers >> set->number & 1)
			json_object_array_add(names, json_object_new_string(set->name));
	}
	return names;
}

/* Which run-time sets hold the address; null where no rule would ask. */
static struct json_object *sets(const struct generation *g, const struct explain_answer *a)
{
	struct json_object *json = json_object_new_object();
	bool asked = a->said.judged && a->said.family != FAMILY_COUNT;
	bool from = asked && a->chain_flags & DP_CHAIN_SETS_FROM;
	bool to = asked && a->chain_flags & DP_CHAIN_SETS_TO;

	json_add(json, "source", from ? set_names(g, a->said.sets[0]) : NULL);
	json_add(json, "destination", to ? set_names(g, a->said.sets[1]) : NULL);
	return json;
}

/* ---- rules that match ------------------------------------------------------------------------------------ */

/* An audit rule before the deciding one. */
static const char *audit_outcome(const struct dp_explain *e, uint32_t number)
{
	for (uint32_t i = 0; i < e->audit_count && i < DP_AUDIT_MAX; i++) {
		if (e->audit[i] == number)
			return "counts";
	}
	return e->audit_count == DP_AUDIT_MAX && number > e->audit[DP_AUDIT_MAX - 1] ? "truncated"
										     : "no-flow";
}

/*
 * 1. The deciding rule. 2. What stands behind it. 3. Audit rules before it. 4. Anything else before it asks for a
 * live flow, which the packet is not of.
 */
static const char *outcome(const struct dp_explain *e, const struct generation_rule *rule,
			   uint32_t number)
{
	if (number == e->rule)
		return "decides"; /* 1. */
	if (number > e->rule)
		return "not-reached";                              /* 2. */
	return rule->audit ? audit_outcome(e, number) : "no-flow"; /* 3., 4. */
}

static struct json_object *candidate(const struct dp_explain *e, const struct generation_rule *rule,
				     uint32_t number)
{
	struct json_object *json = json_object_new_object();

	json_add_text(json, "rule", rule->id);
	json_add_text(json, "source", rule->source);
	json_add_text(json, "do", rule->verdict == DP_DROP ? "drop" : "pass");
	json_add_text(json, "mode", rule->audit ? "audit" : "enforce");
	json_add_text(json, "outcome", outcome(e, rule, number));
	return json;
}

static void add_candidates(struct json_object *to, const struct generation_chain *c,
			   const struct explain_answer *a)
{
	struct json_object *rules = json_object_new_array();
	uint32_t named =
		a->candidate_count < EXPLAIN_CANDIDATES ? a->candidate_count : EXPLAIN_CANDIDATES;

	for (uint32_t i = 0; c && i < named; i++) {
		uint32_t number = a->candidates[i];

		if (number < c->rules.count)
			json_object_array_add(rules,
					      candidate(&a->said, &c->rules.at[number], number));
	}
	json_add(to, "candidates", rules);
	json_add_u64(to, "candidates_more", a->candidate_count - named);
}

/* Of the rules in trees only the first is known, since the others are not looked for. */
static struct json_object *trees(const struct generation_chain *c, const struct explain_answer *a)
{
	struct json_object *json;
	uint32_t rule = a->said.cut_rule;

	if (!c || !(a->chain_flags & DP_CHAIN_CUTS))
		return NULL;
	json = json_object_new_object();
	json_add_u64(json, "boxes", a->said.boxes);
	json_add_text(json, "rule", rule < c->rules.count ? c->rules.at[rule].id : NULL);
	return json;
}

/* ---------------------------------------------------------------------------------------------------------- */

struct json_object *explain_walk(const struct generation *g, const struct generation_chain *c,
				 const struct explain_answer *a)
{
	static const char *const states[] = { "not-asked", "no-flow", "live-flow", "syn-cookie",
					      "taken-over" };
	const struct dp_explain *e = &a->said;
	bool read = a->chain_flags & (DP_CHAIN_PRESENT | DP_CHAIN_TRACKS);
	struct json_object *walk = json_object_new_object();

	json_add(walk, "packet", read ? packet(e) : NULL);
	json_add(walk, "judged", json_object_new_boolean(e->judged));
	json_add(walk, "classes", classes(e));
	json_add(walk, "sets", sets(g, a));
	add_candidates(walk, c, a);
	json_add(walk, "trees", trees(c, a));
	json_add_text(walk, "state", name_of(states, e->live));
	json_add(walk, "tracks", json_object_new_boolean(!!(a->chain_flags & DP_CHAIN_TRACKS)));
	json_add_u64(walk, "packets", e->packets);
	json_add_u64(walk, "bytes", e->bytes);
	json_add_text(walk, "run_at", a->prog == LOADER_XDP_INGRESS ? "xdp" : "tc");
	return walk;
}
