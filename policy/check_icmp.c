/* SPDX-License-Identifier: Apache-2.0 */
/* ICMP types and codes. Types have names by family, codes by family and type. */
#include <string.h>

#include "check.h"
#include "names.h"

struct icmp {
	struct check *c;
	enum name_family family;
	bool bad;
};

static const char *const family_words[NAME_FAMILY_COUNT] = { "icmp", "icmp6" };

static void report_type(struct icmp *m, const struct tree_node *v)
{
	enum name_family other = m->family == NAME_ICMP4 ? NAME_ICMP6 : NAME_ICMP4;
	const char *quoted = quote_node(m->c, v);
	const char *near = names_nearest(&names_icmp_types[m->family], v->text);

	m->bad = true;
	if (names_find(&names_icmp_types[other], v->text) >= 0)
		diag_error(m->c->diags, v->span, "bad-icmp", "'%s' is a type of %s, not of %s",
			   quoted, family_words[other], family_words[m->family]);
	else if (near)
		diag_error(m->c->diags, v->span, "bad-icmp",
			   "unknown %s type '%s'; did you mean '%s'?", family_words[m->family],
			   quoted, near);
	else
		diag_error(m->c->diags, v->span, "bad-icmp",
			   "%s type must be a name or a number between 0 and 255, not '%s'",
			   family_words[m->family], quoted);
}

static bool read_number(const struct tree_node *v, uint16_t *ret)
{
	uint64_t number;

	if (!parse_decimal(v->text, v->len, &number) || number > 255)
		return false;
	*ret = (uint16_t)number;
	return true;
}

static void read_types(struct icmp *m, const struct tree_node *node, struct range_list *types)
{
	check_room(m->c, types, value_count(node));
	for (const struct tree_node *v = value_first(node); v; v = value_next(node, v)) {
		int named;
		uint16_t type;

		if (!check_value(m->c, &schema_rule.keys[RULE_TYPE], v)) {
			m->bad = true;
			continue;
		}
		named = names_find(&names_icmp_types[m->family], v->text);
		if (named >= 0)
			type = (uint16_t)named;
		else if (!read_number(v, &type)) {
			report_type(m, v);
			continue;
		}
		check_push(types, (struct model_range){ type, type });
	}
}

static const char *type_name(enum name_family family, uint16_t type)
{
	const struct name_table *table = &names_icmp_types[family];

	for (size_t i = 0; i < table->count; i++) {
		if (table->at[i].number == type)
			return table->at[i].name;
	}
	return NULL;
}

/* The type that has a code of this name, NULL for none. */
static const char *type_of_code(enum name_family family, const char *code)
{
	for (unsigned int type = 0; type < 256; type++) {
		struct name_table codes = names_icmp_codes(family, (uint8_t)type);

		if (names_find(&codes, code) >= 0)
			return type_name(family, (uint16_t)type);
	}
	return NULL;
}

static void report_code(struct icmp *m, const struct tree_node *v, uint16_t type)
{
	struct name_table codes = names_icmp_codes(m->family, (uint8_t)type);
	const char *quoted = quote_node(m->c, v), *other = type_of_code(m->family, v->text);
	const char *near = names_nearest(&codes, v->text), *of = type_name(m->family, type);

	m->bad = true;
	of = of ? of : print(m->c, "%u", type);
	if (other)
		diag_error(m->c->diags, v->span, "bad-icmp",
			   "'%s' is a code of type '%s', not of '%s'", quoted, other, of);
	else if (near)
		diag_error(m->c->diags, v->span, "bad-icmp",
			   "unknown code '%s' of %s type '%s'; did you mean '%s'?", quoted,
			   family_words[m->family], of, near);
	else
		diag_error(
			m->c->diags, v->span, "bad-icmp",
			"code of %s type '%s' must be a name or a number between 0 and 255, not '%s'",
			family_words[m->family], of, quoted);
}

static void read_codes(struct icmp *m, const struct tree_node *node, const struct range_list *types,
		       struct range_list *codes)
{
	check_room(m->c, codes, value_count(node));
	for (const struct tree_node *v = value_first(node); v; v = value_next(node, v)) {
		struct name_table table;
		uint16_t code;
		int named;

		if (!check_value(m->c, &schema_rule.keys[RULE_CODE], v)) {
			m->bad = true;
			continue;
		}
		if (!read_number(v, &code)) {
			if (types->count != 1) {
				m->bad = true;
				diag_error(
					m->c->diags, v->span, "bad-icmp",
					"a code's name needs exactly one type: codes differ by type");
				continue;
			}
			table = names_icmp_codes(m->family, (uint8_t)types->at[0].first);
			named = names_find(&table, v->text);
			if (named < 0) {
				report_code(m, v, types->at[0].first);
				continue;
			}
			code = (uint16_t)named;
		}
		check_push(codes, (struct model_range){ code, code });
	}
}

/* Exactly one of icmp and icmp6, because types and codes mean other things in the other. */
static bool find_family(struct icmp *m, const struct tree_node *key, const struct tree_node *proto,
			const struct model_rule *rule)
{
	bool icmp4 = !(rule->protos[0] & ~(1ull << 1)) && rule->protos[0];
	bool icmp6 = !(rule->protos[0] & ~(1ull << 58)) && rule->protos[0];
	bool others = rule->protos[1] || rule->protos[2] || rule->protos[3];
	bool both = !others && rule->protos[0] == (1ull << 1 | 1ull << 58);

	m->family = icmp6 ? NAME_ICMP6 : NAME_ICMP4;
	if (!others && (icmp4 || icmp6))
		return true;
	diag_error(m->c->diags, key->span, "needs-protocol",
		   both ? "'%s' needs one of icmp and icmp6, not both: their types differ"
			: "'%s' needs 'proto' icmp or icmp6",
		   key->text);
	if (proto)
		diag_note(m->c->diags, proto->span, "the protocol is given here");
	return false;
}

bool check_icmp(struct check *c, const char *where, struct tree_node *const *slots,
		struct model_rule *rule)
{
	const struct tree_node *type = slots[RULE_TYPE], *code = slots[RULE_CODE];
	struct icmp m = { .c = c };
	struct range_list types = {}, codes = {};

	if (!find_family(&m, type ? type->key : code->key, slots[RULE_PROTO], rule))
		return false;
	if (!type) {
		diag_error(c->diags, code->key->span, "missing-key",
			   "%s has 'code' and no 'type': codes belong to a type", where);
		return false;
	}
	if (!value_count(type) || (code && !value_count(code))) {
		diag_error(c->diags, value_count(type) ? code->span : type->span, "wrong-type",
			   "'%s' is an empty list", value_count(type) ? "code" : "type");
		return false;
	}
	read_types(&m, type, &types);
	if (code && !m.bad)
		read_codes(&m, code, &types, &codes);
	ranges_seal(&types);
	ranges_seal(&codes);
	memcpy(&rule->type, &types, sizeof(types)); /* the model's vectors have the same shape */
	memcpy(&rule->code, &codes, sizeof(codes));
	return !m.bad;
}
