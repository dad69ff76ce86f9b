/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The match of a rule: what each key may hold, what keys need of each other, and whether any packet can
 * satisfy all of them.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "names.h"

#define ICMP4_PROTO 1
#define ICMP6_PROTO 58

enum family_bits {
	IPV4_BIT = 1,
	IPV6_BIT = 2,
	BOTH_BITS = 3,
};

struct match {
	struct check *c;
	const char *where;
	struct tree_node *const *slots;
	struct model_rule *rule;
	bool bad;       /* an error was reported */
	bool proto_bad; /* so nobody can say what goes with it */
};

static const char *const family_names[] = { "", "IPv4", "IPv6", "IPv4 and IPv6" };

static void report(struct match *m, struct span span, const char *code, const char *message)
{
	diag_error(m->c->diags, span, code, "%s", message);
	m->bad = true;
}

/* ---- proto ---------------------------------------------------------------------------------------- */

static void report_proto(struct match *m, const struct tree_node *v)
{
	const char *quoted = quote_node(m->c, v), *near = names_nearest(&names_protocols, v->text);
	int other = names_find(&names_other_protocols, v->text);

	if (other == ICMP6_PROTO)
		report(m, v->span, "bad-protocol",
		       print(m->c, "unknown protocol '%s'; did you mean 'icmp6'?", quoted));
	else if (other >= 0)
		report(m, v->span, "bad-protocol",
		       print(m->c, "protocol '%s' has no name here; write its number, %d", quoted,
			     other));
	else if (!strcmp(v->text, "any") || !strcmp(v->text, "all"))
		report(m, v->span, "bad-protocol", "leave 'proto' out to match any protocol");
	else if (near)
		report(m, v->span, "bad-protocol",
		       print(m->c, "unknown protocol '%s'; did you mean '%s'?", quoted, near));
	else
		report(m, v->span, "bad-protocol",
		       print(m->c,
			     "protocol must be tcp, udp, icmp, icmp6, sctp or a number from 0 to 255, not '%s'",
			     quoted));
}

static void match_proto(struct match *m, const struct tree_node *node)
{
	for (const struct tree_node *v = value_first(node); v; v = value_next(node, v)) {
		uint64_t number;
		int named;

		if (!check_value(m->c, &schema_rule.keys[RULE_PROTO], v)) {
			m->bad = m->proto_bad = true;
			continue;
		}
		named = names_find(&names_protocols, v->text);
		if (named >= 0) {
			number = (uint64_t)named;
		} else if (!parse_decimal(v->text, v->len, &number) || number > 255) {
			report_proto(m, v);
			m->proto_bad = true;
			continue;
		}
		m->rule->protos[number / 64] |= 1ull << number % 64;
	}
}

/* True when all protocols of the rule are among these and there is one. */
static bool only_protos(const struct model_rule *rule, const unsigned int *protos, size_t count)
{
	uint64_t rest[4] = { rule->protos[0], rule->protos[1], rule->protos[2], rule->protos[3] };

	if (!(rule->keys & MODEL_KEY_PROTO))
		return false;
	for (size_t i = 0; i < count; i++)
		rest[protos[i] / 64] &= ~(1ull << protos[i] % 64);
	return !(rest[0] | rest[1] | rest[2] | rest[3]);
}

/* ---- addresses ---------------------------------------------------------------------------------- */

/* Thousands of wrong names among thousands of sets would take minutes: those behind get no suggestion. */
#define NAMES_COMPARED_MAX 1000000u

static const char *nearest_set(struct match *m, const char *name)
{
	const struct model *model = m->c->model;
	_cleanup_free_ const char **names = NULL;

	if (m->c->names_compared + model->sets.count > NAMES_COMPARED_MAX)
		return NULL;
	m->c->names_compared += model->sets.count;
	names = calloc(model->sets.count + 1, sizeof(*names));
	if (!names) {
		m->c->out_of_memory = true;
		return NULL;
	}
	for (size_t i = 0; i < model->sets.count; i++)
		names[i] = model->sets.at[i].name;
	return diag_nearest(name, names, model->sets.count);
}

static void report_set(struct match *m, const struct tree_node *v)
{
	const struct model *model = m->c->model;
	const char *near = nearest_set(m, v->text + 1), *known = "";
	const char *quoted = diag_quote(m->c->diags, v->text + 1, v->len - 1);

	m->bad = true;
	for (size_t i = 0; i < model->sets.count && i < 8; i++) {
		const char *name = model->sets.at[i].name;

		known = print(m->c, "%s%s%s", known, i ? ", " : "",
			      diag_quote(m->c->diags, name, strlen(name)));
	}
	if (model->sets.count > 8)
		known = print(m->c, "%s, …", known);
	if (near)
		diag_error(m->c->diags, v->span, "unknown-set",
			   "set '%s' is not defined; did you mean '$%s'?", quoted, near);
	else if (model->sets.count)
		diag_error(m->c->diags, v->span, "unknown-set",
			   "set '%s' is not defined; known sets: %s", quoted, known);
	else
		diag_error(m->c->diags, v->span, "unknown-set",
			   "set '%s' is not defined; the policy has no sets", quoted);
}

static void operand_set(struct match *m, struct model_operand *operand, const struct tree_node *v)
{
	int64_t found = check_find_set(m->c, v->text + 1);

	if (found < 0) {
		report_set(m, v);
		return;
	}
	m->c->set_used[found] = true;
	for (size_t i = 0; i < operand->sets.count; i++) {
		if (operand->sets.at[i] == found)
			return;
	}
	check_push(&operand->sets, (uint32_t)found);
}

static void operand_literal(struct match *m, const struct schema_key *key,
			    struct model_operand *operand, const struct tree_node *v)
{
	enum model_family family = m->rule->family;
	struct addr_error error = {};
	struct prefix prefix;

	if (!prefix_parse(v->text, v->len, &prefix, &error)) {
		report(m, tree_part(v, error.at, error.len), error.code, error.message);
		return;
	}
	if ((family == MODEL_FAMILY_IPV4 && prefix.family != ADDR_IPV4) ||
	    (family == MODEL_FAMILY_IPV6 && prefix.family != ADDR_IPV6)) {
		report(m, v->span, "family-mismatch",
		       print(m->c, "'%s' in '%s' is not of the rule's family, %s",
			     quote_node(m->c, v), key->name,
			     family == MODEL_FAMILY_IPV4 ? "ipv4" : "ipv6"));
		diag_note(m->c->diags, m->slots[RULE_FAMILY]->span, "the family is given here");
		return;
	}
	if (prefix_set_add(&operand->literals, &prefix))
		m->c->out_of_memory = true;
}

static int compare_index(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void match_operand(struct match *m, enum rule_key which, struct model_operand *operand)
{
	const struct schema_key *key = &schema_rule.keys[which];
	const struct tree_node *node = m->slots[which];

	operand->span = node->span;
	check_room(m->c, &operand->sets, value_count(node));
	if (!value_count(node))
		report(m, node->span, "never-matches",
		       print(m->c, "%s can never match: '%s' is an empty list", m->where,
			     key->name));
	for (const struct tree_node *v = value_first(node); v; v = value_next(node, v)) {
		if (!check_value(m->c, key, v))
			m->bad = true;
		else if (v->text[0] == '$')
			operand_set(m, operand, v);
		else
			operand_literal(m, key, operand, v);
	}
	if (operand->sets.count > 1)
		qsort(operand->sets.at, operand->sets.count, sizeof(*operand->sets.at),
		      compare_index);
	if (prefix_set_seal(&operand->literals))
		m->c->out_of_memory = true;
}

/* ---- ports, flags, VLANs ------------------------------------------------------------------------ */

static void match_ports(struct match *m, enum rule_key which, void *ret)
{
	static const unsigned int with_ports[] = { 6, 17, 132 };
	const struct tree_node *node = m->slots[which];
	struct range_list ranges = {};
	bool good = check_ports(m->c, &schema_rule.keys[which], node, &ranges);

	memcpy(ret, &ranges,
	       sizeof(ranges)); /* the model's vector has the same shape without the tag */
	m->bad |= !good;
	if (m->proto_bad || only_protos(m->rule, with_ports, 3))
		return;
	report(m, node->key->span, "needs-protocol",
	       print(m->c, "'%s' needs 'proto' tcp, udp or sctp", node->key->text));
	if (m->slots[RULE_PROTO])
		diag_note(m->c->diags, m->slots[RULE_PROTO]->span, "the protocol is given here");
}

static uint8_t read_flags(struct match *m, const struct schema_key *key,
			  const struct tree_node *node)
{
	unsigned int bits = 0;

	if (!value_count(node))
		report(m, node->span, "wrong-type",
		       print(m->c, "'%s' is an empty list", key->name));
	for (const struct tree_node *v = value_first(node); v; v = value_next(node, v)) {
		const char *near;
		int bit;

		if (!check_value(m->c, key, v)) {
			m->bad = true;
			continue;
		}
		bit = names_find(&names_flags, v->text);
		if (bit >= 0) {
			bits |= (unsigned int)bit;
			continue;
		}
		near = names_nearest(&names_flags, v->text);
		report(m, v->span, "bad-choice",
		       print(m->c,
			     "TCP flag must be one of syn, ack, fin, rst, psh, urg, ece, cwr, not '%s'%s%s%s",
			     quote_node(m->c, v), near ? "; did you mean '" : "", near ? near : "",
			     near ? "'?" : ""));
	}
	return (uint8_t)bits;
}

static void match_flags(struct match *m, struct tree_node *node)
{
	static const unsigned int tcp[] = { 6 };
	struct tree_node *slots[FLAGS_KEY_COUNT];
	struct model_rule *rule = m->rule;

	m->bad |= !schema_bind(m->c->diags, &schema_flags, print(m->c, "'flags' of %s", m->where),
			       node, slots);
	if (slots[FLAGS_ALL_OF])
		rule->flags_all =
			read_flags(m, &schema_flags.keys[FLAGS_ALL_OF], slots[FLAGS_ALL_OF]);
	if (slots[FLAGS_ANY_OF])
		rule->flags_any =
			read_flags(m, &schema_flags.keys[FLAGS_ANY_OF], slots[FLAGS_ANY_OF]);
	if (slots[FLAGS_NONE_OF])
		rule->flags_none =
			read_flags(m, &schema_flags.keys[FLAGS_NONE_OF], slots[FLAGS_NONE_OF]);
	if (!node->count)
		report(m, node->span, "missing-key",
		       "'flags' needs 'all-of', 'any-of' or 'none-of'");
	if (slots[FLAGS_NONE_OF] && ((rule->flags_all & rule->flags_none) ||
				     (rule->flags_any && !(rule->flags_any & ~rule->flags_none))))
		report(m, slots[FLAGS_NONE_OF]->span, "never-matches",
		       print(m->c, "%s can never match: 'none-of' excludes what it asks for",
			     m->where));
	if (m->proto_bad || only_protos(rule, tcp, 1))
		return;
	report(m, node->key->span, "needs-protocol", "'flags' needs 'proto: tcp'");
	if (m->slots[RULE_PROTO])
		diag_note(m->c->diags, m->slots[RULE_PROTO]->span, "the protocol is given here");
}

static void match_vlan(struct match *m, const struct tree_node *node)
{
	struct model_rule *rule = m->rule;

	check_room(m->c, &rule->vlan, value_count(node));
	if (!value_count(node))
		report(m, node->span, "wrong-type", "'vlan' is an empty list");
	for (const struct tree_node *v = value_first(node); v; v = value_next(node, v)) {
		uint64_t id;

		if (!check_value(m->c, &schema_rule.keys[RULE_VLAN], v))
			m->bad = true;
		else if (!parse_decimal(v->text, v->len, &id) || id > 4094)
			report(m, v->span, "bad-vlan",
			       print(m->c, "VLAN id must be between 0 and 4094, not '%s'",
				     quote_node(m->c, v)));
		else
			check_push(&rule->vlan, (uint16_t)id);
	}
}

/* ---- families ----------------------------------------------------------------------------------- */

static unsigned int operand_families(const struct match *m, const struct model_operand *operand)
{
	unsigned int bits = (operand->literals.v4.count ? IPV4_BIT : 0) |
			    (operand->literals.v6.count ? IPV6_BIT : 0);

	for (size_t i = 0; i < operand->sets.count; i++) {
		const struct model_set *set = &m->c->model->sets.at[operand->sets.at[i]];
		const struct prefix_set *p = &set->prefixes;

		if (set->runtime || set->refresh || (!p->v4.count && !p->v6.count))
			return BOTH_BITS; /* what will be in it is not known */
		bits |= (p->v4.count ? IPV4_BIT : 0) | (p->v6.count ? IPV6_BIT : 0);
	}
	return bits ? bits : BOTH_BITS;
}

static unsigned int key_families(const struct match *m, enum rule_key which)
{
	static const unsigned int icmp4[] = { ICMP4_PROTO }, icmp6[] = { ICMP6_PROTO };

	if (which == RULE_FAMILY)
		return m->rule->family == MODEL_FAMILY_IPV4   ? IPV4_BIT
		       : m->rule->family == MODEL_FAMILY_IPV6 ? IPV6_BIT
							      : BOTH_BITS;
	if (which == RULE_PROTO)
		return only_protos(m->rule, icmp4, 1)   ? IPV4_BIT
		       : only_protos(m->rule, icmp6, 1) ? IPV6_BIT
							: BOTH_BITS;
	return operand_families(m, which == RULE_FROM ? &m->rule->from : &m->rule->to);
}

/* Keys that leave no address family: nothing can satisfy all of them. */
static void check_families(struct match *m)
{
	static const enum rule_key keys[] = { RULE_FAMILY, RULE_PROTO, RULE_FROM, RULE_TO };
	const struct tree_node *first = NULL;
	unsigned int left = BOTH_BITS;
	bool sets = m->rule->from.sets.count || m->rule->to.sets.count;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const struct tree_node *node = m->slots[keys[i]];
		unsigned int bits = node ? key_families(m, keys[i]) : BOTH_BITS;
		const char *message;

		if (bits == BOTH_BITS)
			continue;
		if (left & bits) {
			first = first ? first : node;
			left &= bits;
			continue;
		}
		message = print(m->c, "%s can never match: '%s' is %s, '%s' is %s", m->where,
				node->key->text, family_names[bits], first->key->text,
				family_names[left]);
		if (sets) /* whose members may change */
			diag_warning(m->c->diags, node->span, "never-matches", "%s", message);
		else
			report(m, node->span, "never-matches", message);
		diag_note(m->c->diags, first->span, "'%s' is given here", first->key->text);
		return;
	}
}

/* ---- all of it ---------------------------------------------------------------------------------- */

static void match_addresses(struct match *m)
{
	struct model_rule *rule = m->rule;
	const struct {
		enum rule_key which;
		struct model_operand *operand;
	} operands[] = {
		{ RULE_FROM, &rule->from },
		{ RULE_TO, &rule->to },
		{ RULE_NOT_FROM, &rule->not_from },
		{ RULE_NOT_TO, &rule->not_to },
	};

	for (size_t i = 0; i < sizeof(operands) / sizeof(operands[0]); i++) {
		if (m->slots[operands[i].which])
			match_operand(m, operands[i].which, operands[i].operand);
	}
}

static void note_keys(struct model_rule *rule, struct tree_node *const *slots)
{
	static const struct {
		enum rule_key which;
		enum model_key bit;
	} bits[] = {
		{ RULE_FAMILY, MODEL_KEY_FAMILY },     { RULE_PROTO, MODEL_KEY_PROTO },
		{ RULE_FROM, MODEL_KEY_FROM },         { RULE_TO, MODEL_KEY_TO },
		{ RULE_NOT_FROM, MODEL_KEY_NOT_FROM }, { RULE_NOT_TO, MODEL_KEY_NOT_TO },
		{ RULE_SPORT, MODEL_KEY_SPORT },       { RULE_DPORT, MODEL_KEY_DPORT },
		{ RULE_FLAGS, MODEL_KEY_FLAGS },       { RULE_TYPE, MODEL_KEY_TYPE },
		{ RULE_CODE, MODEL_KEY_CODE },         { RULE_VLAN, MODEL_KEY_VLAN },
		{ RULE_STATE, MODEL_KEY_STATE },
	};

	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		if (slots[bits[i].which])
			rule->keys |= bits[i].bit;
	}
}

static void match_words(struct match *m)
{
	if (m->slots[RULE_FAMILY]) {
		int word = check_word(m->c, &schema_rule.keys[RULE_FAMILY], m->slots[RULE_FAMILY]);

		m->bad |= word < 0;
		m->rule->family = word == 0   ? MODEL_FAMILY_IPV4
				  : word == 1 ? MODEL_FAMILY_IPV6
					      : MODEL_FAMILY_ANY;
	}
	if (m->slots[RULE_STATE])
		m->bad |= check_word(m->c, &schema_rule.keys[RULE_STATE], m->slots[RULE_STATE]) < 0;
}

bool check_match(struct check *c, const char *where, struct tree_node *const *slots,
		 bool incomplete, struct model_rule *rule)
{
	struct match m = { .c = c, .where = where, .slots = slots, .rule = rule };

	note_keys(rule, slots);
	match_words(&m);
	m.proto_bad = !slots[RULE_PROTO] && incomplete;
	if (slots[RULE_PROTO] && value_count(slots[RULE_PROTO]))
		match_proto(&m, slots[RULE_PROTO]);
	else if (slots[RULE_PROTO])
		report(&m, slots[RULE_PROTO]->span, "never-matches",
		       print(c, "%s can never match: 'proto' is an empty list", where));
	match_addresses(&m);
	if (slots[RULE_SPORT])
		match_ports(&m, RULE_SPORT, &rule->sport);
	if (slots[RULE_DPORT])
		match_ports(&m, RULE_DPORT, &rule->dport);
	if (slots[RULE_FLAGS])
		match_flags(&m, slots[RULE_FLAGS]);
	if (slots[RULE_VLAN])
		match_vlan(&m, slots[RULE_VLAN]);
	if ((slots[RULE_TYPE] || slots[RULE_CODE]) && !m.proto_bad)
		m.bad |= !check_icmp(c, where, slots, rule);
	if (!m.bad)
		check_families(&m);
	return !m.bad;
}
