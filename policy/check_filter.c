/* SPDX-License-Identifier: Apache-2.0 */
/* filter: chains and their rules. */
#include <stdlib.h>
#include <string.h>

#include "check.h"

struct filter {
	struct check *c;
	const struct span **places; /* of the chain at [zone][direction], NULL for none */
};

static const char *rule_id(struct check *c, const struct tree_node *id, struct model_rule *rule)
{
	rule->id = "";
	rule->id_span = rule->span;
	if (!id || !check_name(c, "rule", id))
		return "rule";
	rule->id_span = id->span;
	if (!strcmp(id->text, "default"))
		diag_error(c->diags, id->span, "reserved-name",
			   "rule name 'default' is taken: the chain's default counts under it");
	rule->id = arena_strndup(&c->model->arena, id->text, id->len);
	if (!rule->id) {
		c->out_of_memory = true;
		rule->id = "";
	}
	return print(c, "rule '%s'", quote_node(c, id));
}

static bool operand_empty(const struct check *c, const struct model_operand *operand)
{
	if (operand->literals.v4.count || operand->literals.v6.count)
		return false;
	for (size_t i = 0; i < operand->sets.count; i++) {
		const struct model_set *set = &c->model->sets.at[operand->sets.at[i]];

		if (set->unread || set->runtime || set->refresh || set->prefixes.v4.count ||
		    set->prefixes.v6.count)
			return false;
	}
	return true;
}

static void warn_empty(struct check *c, const char *where, const struct tree_node *node,
		       const struct model_operand *operand)
{
	if (!node || !operand_empty(c, operand))
		return;
	diag_warning(c->diags, node->span, "empty-set",
		     "%s can never match: the sets of '%s' are empty", where, node->key->text);
}

static struct tree_node *id_node(struct tree_node *node)
{
	for (struct tree_node *child = node->kind == TREE_MAP ? node->first : NULL; child;
	     child = child->next) {
		if (!strcmp(child->key->text, "id") && child->kind == TREE_SCALAR && !child->bad)
			return child;
	}
	return NULL;
}

static void check_rule(struct check *c, struct model_chain *chain, struct tree_node *node)
{
	static const enum dp_verdict verdicts[] = { DP_PASS, DP_DROP };
	struct tree_node *slots[RULE_KEY_COUNT];
	struct model_rule rule = { .span = node->span };
	const char *where = rule_id(c, id_node(node), &rule);
	int word;

	if (!schema_bind(c->diags, &schema_rule, where, node, slots) && node->kind != TREE_MAP)
		return;
	if (check_match(c, where, slots, node->incomplete, &rule)) {
		warn_empty(c, where, slots[RULE_FROM], &rule.from);
		warn_empty(c, where, slots[RULE_TO], &rule.to);
	}
	if (slots[RULE_DO]) {
		word = check_word(c, &schema_rule.keys[RULE_DO], slots[RULE_DO]);
		rule.verdict = word == 0 || word == 1 ? verdicts[word] : DP_DROP;
	}
	if (slots[RULE_MODE])
		rule.audit = check_word(c, &schema_rule.keys[RULE_MODE], slots[RULE_MODE]) == 1;
	rule.text = check_rule_text(c, node, &schema_rule, false);
	check_push(&chain->rules, rule);
}

static int compare_ids(const void *a, const void *b)
{
	const struct model_rule *x = *(const struct model_rule *const *)a,
				*y = *(const struct model_rule *const *)b;
	int d = strcmp(x->id, y->id);

	return d ? d : x < y ? -1 : x > y;
}

static void check_ids(struct check *c, const struct model_chain *chain)
{
	_cleanup_free_ const struct model_rule **order =
		calloc(chain->rules.count + 1, sizeof(*order));
	size_t first = 0;

	if (!order) {
		c->out_of_memory = true;
		return;
	}
	for (size_t i = 0; i < chain->rules.count; i++)
		order[i] = &chain->rules.at[i];
	qsort(order, chain->rules.count, sizeof(*order), compare_ids);
	for (size_t i = 1; i < chain->rules.count; i++) {
		if (!order[i]->id[0] || strcmp(order[i]->id, order[first]->id) != 0) {
			first = i;
			continue;
		}
		diag_error(c->diags, order[i]->id_span, "duplicate-name",
			   "chain '%s' has a rule '%s' already",
			   diag_quote(c->diags, chain->name, strlen(chain->name)), order[i]->id);
		diag_note(c->diags, order[first]->id_span, "first used here");
	}
}

/* ---- chains ------------------------------------------------------------------------------------- */

static void report_zone(struct check *c, const struct tree_node *node, size_t len)
{
	const struct model *model = c->model;
	_cleanup_free_ const char **names = calloc(model->zones.count + 1, sizeof(*names));
	_cleanup_free_ char *zone = strndup(node->text, len);
	const char *near, *known = "", *quoted = diag_quote(c->diags, node->text, len);

	if (!names || !zone) {
		c->out_of_memory = true;
		return;
	}
	for (size_t i = 0; i < model->zones.count; i++) {
		names[i] = model->zones.at[i].name;
		if (i < 8)
			known = print(c, "%s%s%s", known, i ? ", " : "",
				      diag_quote(c->diags, names[i], strlen(names[i])));
		else if (i == 8)
			known = print(c, "%s, …", known);
	}
	near = diag_nearest(zone, names, model->zones.count);
	if (near)
		diag_error(c->diags, tree_part(node, 0, len), "unknown-zone",
			   "zone '%s' is not in 'attach'; did you mean '%s'?", quoted, near);
	else if (model->zones.count)
		diag_error(c->diags, tree_part(node, 0, len), "unknown-zone",
			   "zone '%s' is not in 'attach'; known zones: %s", quoted, known);
	else
		diag_error(c->diags, tree_part(node, 0, len), "unknown-zone",
			   "zone '%s' is not in 'attach', which is empty or missing", quoted);
}

/* ZONE.ingress or ZONE.egress. A zone's name may hold dots itself. */
static bool check_place(struct check *c, const struct tree_node *node, struct model_chain *chain)
{
	static const char *const dirs[DP_DIR_COUNT] = {
		[DP_INGRESS] = "ingress", [DP_EGRESS] = "egress"
	};
	const char *dot = strrchr(node->text, '.'), *near;
	size_t len = dot ? (size_t)(dot - node->text) : 0;

	for (unsigned int i = 0; dot && i < DP_DIR_COUNT; i++) {
		if (strcmp(dot + 1, dirs[i]) != 0)
			continue;
		chain->dir = (enum dp_dir)i;
		for (uint32_t z = 0; z < c->model->zones.count; z++) {
			const char *name = c->model->zones.at[z].name;

			if (strlen(name) == len && !memcmp(name, node->text, len)) {
				chain->zone = z;
				return true;
			}
		}
		report_zone(c, node, len);
		return false;
	}
	near = dot ? diag_nearest(dot + 1, dirs, DP_DIR_COUNT) : NULL;
	if (near)
		diag_error(
			c->diags, node->span, "bad-place",
			"'at' must be ZONE.ingress or ZONE.egress, not '%s'; did you mean '%s.%s'?",
			quote_node(c, node), diag_quote(c->diags, node->text, len), near);
	else
		diag_error(c->diags, node->span, "bad-place",
			   "'at' must be ZONE.ingress or ZONE.egress, not '%s'",
			   quote_node(c, node));
	return false;
}

static void take_place(struct filter *f, const struct tree_node *at,
		       const struct model_chain *chain)
{
	const struct span **place = &f->places[chain->zone * DP_DIR_COUNT + chain->dir];

	if (*place) {
		diag_error(f->c->diags, at->span, "duplicate-chain",
			   "there is a chain at '%s' already", quote_node(f->c, at));
		diag_note(f->c->diags, **place, "the first is here");
		return;
	}
	*place = &at->span;
}

static void check_rules(struct check *c, struct model_chain *chain, struct tree_node *node)
{
	size_t first = c->never_drop[chain->dir].count;

	check_room(c, &chain->rules, first + (node ? node->count : 0));
	check_add_never_drop(c, chain);
	for (struct tree_node *child = node ? node->first : NULL; child; child = child->next) {
		if (!child->bad)
			check_rule(c, chain, child);
	}
	check_ids(c, chain);
}

static void check_chain(struct filter *f, struct tree_node *node)
{
	struct check *c = f->c;
	struct tree_node *slots[CHAIN_KEY_COUNT];
	struct model_chain chain = { .span = node->key->span };
	int word;

	(void)check_name(c, "chain",
			 node->key); /* reported; its rules can be checked all the same */
	chain.name = arena_strndup(&c->model->arena, node->key->text, node->key->len);
	if (!chain.name) {
		c->out_of_memory = true;
		return;
	}
	(void)schema_bind(c->diags, &schema_chain, print(c, "chain '%s'", quote_node(c, node->key)),
			  node, slots); /* likewise */
	if (slots[CHAIN_AT] && check_place(c, slots[CHAIN_AT], &chain))
		take_place(f, slots[CHAIN_AT], &chain);
	if (slots[CHAIN_DEFAULT]) {
		word = check_word(c, &schema_chain.keys[CHAIN_DEFAULT], slots[CHAIN_DEFAULT]);
		chain.default_verdict = word == 0 ? DP_PASS : DP_DROP;
		chain.default_span = slots[CHAIN_DEFAULT]->span;
	}
	if (slots[CHAIN_FRAGMENTS])
		chain.first_only = check_word(c, &schema_chain.keys[CHAIN_FRAGMENTS],
					      slots[CHAIN_FRAGMENTS]) == 1;
	check_rules(c, &chain, slots[CHAIN_RULES]);
	for (size_t i = 0; i < chain.rules.count; i++)
		chain.stateful |= !!(chain.rules.at[i].keys & MODEL_KEY_STATE);
	check_push(&c->model->chains, chain);
}

void check_filter(struct check *c, struct tree_node *node)
{
	struct filter f = { .c = c };

	if (!node)
		return;
	f.places = check_alloc(c, (c->model->zones.count + 1) * DP_DIR_COUNT *
					  sizeof(const struct span *));
	check_room(c, &c->model->chains, node->count);
	if (c->out_of_memory)
		return;
	for (struct tree_node *child = node->first; child; child = child->next)
		check_chain(&f, child);
}
