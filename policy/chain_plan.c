/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Planning a chain of many rules. Slots of vectors go to 1. rules that only vectors know, 2. rules that are
 * narrow in nothing, 3. rules that are narrow only in the port that few of the rules without addresses are
 * narrow in, 4. rules that would make many boxes, 5. rules that meet too many others in one place of a tree.
 * Some slots are kept for 5.
 */
#include "chain_plan.h"

#include <stdlib.h>
#include <string.h>

#include "str.h"

#define SLOTS_KEPT 64u

/* A range of fewer ports is narrow; a rule of more boxes is large. */
#define NARROW_PORTS 1024u
#define MANY_BOXES   64u

/* Without rules that need vectors, so few others do not make it worth while to look at them. */
#define FEW_RULES 8u

/* Why a rule can only stand in vectors. */
enum need {
	NEED_NONE,
	NEED_AUDIT,
	NEED_STATE,
	NEED_RUNTIME,
	NEED_ANY_PACKET,
	NEED_BOXES,
	NEED_COUNT,
};

/* How much a rule belongs into vectors. */
enum wish {
	WISH_NONE,
	WISH_MANY_BOXES,
	WISH_MINOR_PORT,
	WISH_WIDE,
	WISH_NEED,
};

/* What is known of a rule. */
struct shape {
	uint32_t boxes; /* of both families */
	uint8_t need;   /* enum need */
	/* It has a box that is narrow in no address, and in: */
	bool nothing, sport_alone, dport_alone;
};

struct candidate {
	uint16_t rule;
	uint8_t wish; /* enum wish */
	uint32_t boxes;
};

struct planner {
	struct chain_plan *plan;
	const struct model_chain *chain;
	struct diag_list *diags;
	struct boxer boxer;
	struct box_vec scratch;
	struct shape *shapes; /* of each rule */
	size_t needs[NEED_COUNT];
	size_t sport_alone, dport_alone; /* boxes */
	VEC(struct candidate) candidates;
	struct spilled spilled; /* rules in vectors */
};

/* ---- shapes ---------------------------------------------------------------------------------- */

static bool is_narrow(const uint16_t range[static 2])
{
	return (unsigned int)(range[1] - range[0]) < NARROW_PORTS;
}

static void shape_box(struct planner *p, struct shape *shape, const struct box *box)
{
	bool sport = is_narrow(box->rest.sport), dport = is_narrow(box->rest.dport);

	shape->nothing |= !sport && !dport;
	shape->sport_alone |= sport && !dport;
	shape->dport_alone |= dport && !sport;
	p->sport_alone += sport && !dport;
	p->dport_alone += dport && !sport;
}

static enum need need_of(const struct model *model, const struct model_rule *rule)
{
	if (rule->audit)
		return NEED_AUDIT;
	if (rule->keys & MODEL_KEY_STATE)
		return NEED_STATE;
	if (asks_runtime(model, &rule->from) || asks_runtime(model, &rule->to) ||
	    asks_runtime(model, &rule->not_from) || asks_runtime(model, &rule->not_to))
		return NEED_RUNTIME;
	return asks_any_packet(rule) ? NEED_ANY_PACKET : NEED_NONE;
}

static int shape_rule(struct planner *p, uint32_t number)
{
	const struct model_rule *rule = &p->chain->rules.at[number];
	struct shape *shape = &p->shapes[number];
	int r = 0;

	shape->need = need_of(p->boxer.model, rule);
	for (unsigned int family = 0; shape->need == NEED_NONE && family < 2; family++) {
		p->scratch.count = 0;
		r = boxes_add(&p->boxer, rule, number, family, &p->scratch);
		if (r == -ENOMEM)
			return r;
		if (r)
			shape->need = NEED_BOXES;
		shape->boxes += p->scratch.count;
		for (size_t i = 0; i < p->scratch.count; i++)
			if (cut_forest_is_wide(&p->scratch.at[i], family))
				shape_box(p, shape, &p->scratch.at[i]);
	}
	p->needs[shape->need]++;
	return 0;
}

static int shapes_make(struct planner *p)
{
	int r = 0;

	p->shapes = calloc(p->chain->rules.count, sizeof(*p->shapes));
	if (!p->shapes)
		return -ENOMEM;
	for (uint32_t i = 0; !r && i < p->chain->rules.count; i++)
		r = shape_rule(p, i);
	return r;
}

/* ---- slots ----------------------------------------------------------------------------------- */

static enum wish wish_of(const struct planner *p, const struct shape *shape)
{
	bool dport_is_minor = p->dport_alone < p->sport_alone;

	if (shape->need != NEED_NONE)
		return WISH_NEED;
	if (shape->nothing)
		return WISH_WIDE;
	if (dport_is_minor ? shape->dport_alone : shape->sport_alone)
		return WISH_MINOR_PORT;
	return shape->boxes > MANY_BOXES ? WISH_MANY_BOXES : WISH_NONE;
}

static int compare_candidates(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->wish != y->wish)
		return x->wish > y->wish ? -1 : 1;
	if (x->boxes != y->boxes)
		return x->boxes > y->boxes ? -1 : 1;
	return (x->rule > y->rule) - (x->rule < y->rule);
}

/* Rules 1 to 4, the most urgent first. */
static int list_candidates(struct planner *p)
{
	for (uint32_t i = 0; i < p->chain->rules.count; i++) {
		const struct shape *shape = &p->shapes[i];
		enum wish wish = wish_of(p, shape);
		int r = 0;

		if (wish != WISH_NONE)
			r = vec_push(&p->candidates, (struct candidate){ i, wish, shape->boxes });
		if (r)
			return r;
	}
	if (p->candidates.count)
		qsort(p->candidates.at, p->candidates.count, sizeof(*p->candidates.at),
		      compare_candidates);
	return 0;
}

static int refuse_slots(struct planner *p, size_t need)
{
	static const char *const whose[NEED_COUNT] = {
		[NEED_AUDIT] = "in audit mode",
		[NEED_STATE] = "with 'state'",
		[NEED_RUNTIME] = "with run-time sets",
		[NEED_ANY_PACKET] = "that match more than IP",
		[NEED_BOXES] = "with lists too long for cut trees",
	};
	const struct span span = p->chain->span;
	struct text parts = {};

	diag_error(
		p->diags, span, "capacity",
		"chain '%s' has %zu rules that need a slot of its vectors, %zu more than the limit of %d",
		p->chain->name, need, need - DP_CHAIN_RULES, DP_CHAIN_RULES);
	for (enum need n = NEED_NONE + 1; n < NEED_COUNT; n++)
		if (p->needs[n])
			text_printf(&parts, "%s%zu %s", parts.len ? ", " : "", p->needs[n],
				    whose[n]);
	if (!parts.failed)
		diag_note(p->diags, span, "%s", parts.at);
	text_done(&parts);
	return -E2BIG;
}

static int choose_slots(struct planner *p)
{
	size_t rules = p->chain->rules.count, need = rules - p->needs[NEED_NONE];
	size_t taken = p->candidates.count, most = DP_CHAIN_RULES - SLOTS_KEPT;

	if (need > DP_CHAIN_RULES)
		return refuse_slots(p, need);
	if (!need && taken <= FEW_RULES)
		taken = 0;
	if (most < need)
		most = need;
	if (taken > most)
		taken = most;
	p->spilled.rule = calloc(rules, sizeof(*p->spilled.rule));
	if (!p->spilled.rule)
		return -ENOMEM;
	for (size_t i = 0; i < taken; i++)
		p->spilled.rule[p->candidates.at[i].rule] = 1;
	p->spilled.rules = rules;
	p->spilled.room = DP_CHAIN_RULES - taken;
	return 0;
}

/* ---- trees ----------------------------------------------------------------------------------- */

static int refuse_boxes(struct planner *p, size_t need)
{
	diag_error(
		p->diags, p->chain->span, "capacity",
		"the lists of chain '%s' make %zu boxes for its cut trees, %zu more than the limit of %u",
		p->chain->name, need, need - CHAIN_BOXES_MAX, CHAIN_BOXES_MAX);
	return -E2BIG;
}

static int refuse_forest(struct planner *p, const struct cut_forest *forest)
{
	if (forest->overfull)
		diag_error(
			p->diags, p->chain->span, "capacity",
			"%zu boxes meet in one place of the cut trees of chain '%s', %zu more than the limit of %d, and all %d slots of its vectors are taken",
			forest->overfull, p->chain->name, forest->overfull - DP_CUT_BOXES,
			DP_CUT_BOXES, DP_CHAIN_RULES);
	else
		diag_error(p->diags, p->chain->span, "capacity",
			   "a cut tree of chain '%s' needs more than the limit of %u MiB",
			   p->chain->name, CUT_TREE_LINES_MAX / (1024 * 1024 / DP_LINE_BYTES));
	return -E2BIG;
}

static int check_boxes(struct planner *p)
{
	size_t boxes = 0;

	for (size_t i = 0; i < p->chain->rules.count; i++)
		boxes += p->spilled.rule[i] ? 0 : p->shapes[i].boxes;
	return boxes > CHAIN_BOXES_MAX ? refuse_boxes(p, boxes) : 0;
}

static int plant(struct planner *p, unsigned int family)
{
	struct cut_forest *forest = &p->plan->forests[family];
	int r = 0;

	p->scratch.count = 0;
	for (uint32_t i = 0; !r && i < p->chain->rules.count; i++)
		if (!p->spilled.rule[i])
			r = boxes_add(&p->boxer, &p->chain->rules.at[i], i, family, &p->scratch);
	if (!r)
		r = cut_forest_build(forest, &p->scratch, family, &p->spilled);
	return r == -E2BIG ? refuse_forest(p, forest) : r;
}

/* ---- the plan -------------------------------------------------------------------------------- */

/* in_vectors: of each rule; NULL: all. */
static int slots_make(struct slots *slots, size_t rules, const uint8_t *in_vectors)
{
	slots->rule = reallocarray(NULL, rules + 1, sizeof(*slots->rule));
	if (!slots->rule)
		return -ENOMEM;
	for (size_t i = 0; i < rules; i++)
		if (!in_vectors || in_vectors[i])
			slots->rule[slots->count++] = i;
	return 0;
}

static int plan_large(struct planner *p)
{
	int r = shapes_make(p);

	if (!r)
		r = list_candidates(p);
	if (!r)
		r = choose_slots(p);
	if (!r)
		r = check_boxes(p);
	for (unsigned int family = 0; !r && family < 2; family++)
		r = plant(p, family);
	p->plan->cuts = true;
	return r ?: slots_make(&p->plan->slots, p->chain->rules.count, p->spilled.rule);
}

static void planner_done(struct planner *p)
{
	boxer_done(&p->boxer);
	vec_done(&p->scratch);
	vec_done(&p->candidates);
	free(p->shapes);
	free(p->spilled.rule);
}

int chain_plan_init(struct chain_plan *plan, const struct model *model,
		    const struct model_chain *chain, struct diag_list *diags)
{
	_cleanup_(planner_done) struct planner p = {
		.plan = plan,
		.chain = chain,
		.diags = diags,
		.boxer = { .model = model },
	};

	*plan = (struct chain_plan){};
	if (chain->rules.count <= DP_CHAIN_RULES)
		return slots_make(&plan->slots, chain->rules.count, NULL);
	return plan_large(&p);
}

void chain_plan_done(struct chain_plan *plan)
{
	for (unsigned int family = 0; family < 2; family++)
		cut_forest_done(&plan->forests[family]);
	free(plan->slots.rule);
	*plan = (struct chain_plan){};
}
