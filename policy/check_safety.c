/* SPDX-License-Identifier: Apache-2.0 */
/*
 * safety: rules that come before every chain's own. Ingress chains get them as written; egress chains get
 * them with sources and destinations swapped, which is what the replies look like.
 */
#include <string.h>

#include "check.h"
#include "format.h"

const char *check_rule_text(struct check *c, const struct tree_node *node,
			    const struct schema_map *map, bool mirror)
{
	struct text text = {};
	_cleanup_free_ char *line = NULL;
	char *kept;

	format_line(&text, node, map, mirror);
	line = text_take(&text);
	kept = line ? arena_strndup(&c->model->arena, line, strlen(line)) : NULL;
	if (!kept)
		c->out_of_memory = true;
	return kept;
}

static bool copy_set(struct prefix_set *set)
{
	typeof(set->v4.at) v4 = set->v4.at;
	typeof(set->v6.at) v6 = set->v6.at;
	size_t count4 = set->v4.count, count6 = set->v6.count;

	set->v4.at = NULL;
	set->v6.at = NULL;
	set->v4.count = set->v4.room = set->v6.count = set->v6.room = 0;
	if ((count4 && vec_reserve(&set->v4, count4)) || (count6 && vec_reserve(&set->v6, count6)))
		return false;
	if (count4)
		memcpy(set->v4.at, v4, count4 * sizeof(*v4));
	if (count6)
		memcpy(set->v6.at, v6, count6 * sizeof(*v6));
	set->v4.count = count4;
	set->v6.count = count6;
	return true;
}

#define SWAP(a, b)                   \
	do {                         \
		typeof(a) swap_ = a; \
		a = b;               \
		b = swap_;           \
	} while (0)

static uint32_t swap_keys(uint32_t keys, uint32_t a, uint32_t b)
{
	uint32_t rest = keys & ~(a | b);

	return rest | (keys & a ? b : 0) | (keys & b ? a : 0);
}

/* What a reply to a packet of the rule looks like. */
static void mirror(struct model_rule *rule)
{
	SWAP(rule->from, rule->to);
	SWAP(rule->not_from, rule->not_to);
	SWAP(rule->sport, rule->dport);
	rule->keys = swap_keys(rule->keys, MODEL_KEY_FROM, MODEL_KEY_TO);
	rule->keys = swap_keys(rule->keys, MODEL_KEY_NOT_FROM, MODEL_KEY_NOT_TO);
	rule->keys = swap_keys(rule->keys, MODEL_KEY_SPORT, MODEL_KEY_DPORT);
}

/* A copy owns its literals; the rest is shared and lives in the model's arena. */
static bool copy_rule(struct model_rule *rule)
{
	bool copied = copy_set(&rule->from.literals);

	copied = copy_set(&rule->to.literals) && copied;
	copied = copy_set(&rule->not_from.literals) && copied;
	return copy_set(&rule->not_to.literals) && copied;
}

void check_add_never_drop(struct check *c, struct model_chain *chain)
{
	for (size_t i = 0; i < c->never_drop[chain->dir].count; i++) {
		struct model_rule rule = c->never_drop[chain->dir].at[i];

		if (!copy_rule(&rule))
			c->out_of_memory = true;
		check_push(&chain->rules, rule);
	}
}

static void check_never_drop(struct check *c, struct tree_node *node, size_t number)
{
	const char *where = print(c, "never-drop rule %zu", number);
	struct tree_node *slots[RULE_KEY_COUNT] = {};
	struct model_rule rule = { .span = node->span, .id_span = node->span, .never_drop = true },
			  reply;

	(void)schema_bind(c->diags, &schema_never_drop, where, node,
			  slots + RULE_FAMILY); /* what is there can be checked all the same */
	(void)check_match(c, where, slots, node->incomplete, &rule); /* likewise */
	if (slots[RULE_STATE])
		diag_error(
			c->diags, slots[RULE_STATE]->key->span, "state-not-allowed",
			"'state' has no place in 'never-drop': what is never dropped must pass when no flow is known");
	rule.verdict = DP_PASS;
	rule.id = arena_printf(&c->model->arena, "never-drop/%zu", number);
	reply = rule;
	if (!rule.id || !copy_rule(&reply))
		c->out_of_memory = true;
	mirror(&reply);
	rule.text = check_rule_text(c, node, &schema_never_drop, false);
	reply.text = check_rule_text(c, node, &schema_never_drop, true);
	check_push(&c->never_drop[DP_INGRESS], rule);
	check_push(&c->never_drop[DP_EGRESS], reply);
}

void check_safety(struct check *c, struct tree_node *node)
{
	struct tree_node *slots[SAFETY_KEY_COUNT], *list;
	size_t number = 0;

	if (!node)
		return;
	(void)schema_bind(c->diags, &schema_safety, "'safety'", node, slots); /* as above */
	c->model->says_confirm = slots[SAFETY_CONFIRM] &&
				 check_duration(c, &schema_safety.keys[SAFETY_CONFIRM],
						slots[SAFETY_CONFIRM], &c->model->confirm_ms);
	list = slots[SAFETY_NEVER_DROP];
	if (!list)
		return;
	check_room(c, &c->never_drop[DP_INGRESS], list->count);
	check_room(c, &c->never_drop[DP_EGRESS], list->count);
	for (struct tree_node *child = list->first; child; child = child->next) {
		number++;
		if (!child->bad && child->kind == TREE_MAP)
			check_never_drop(c, child, number);
		else if (!child->bad)
			diag_error(c->diags, child->span, "wrong-type",
				   "never-drop rule %zu must be a map of keys", number);
	}
}

void check_done(struct check *c)
{
	for (size_t dir = 0; dir < DP_DIR_COUNT; dir++) {
		for (size_t i = 0; i < c->never_drop[dir].count; i++)
			model_rule_done(&c->never_drop[dir].at[i]);
	}
}
