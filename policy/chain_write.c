/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a chain owns in an image: its rule records and, for each dimension that its rules ask for, one vector
 * of rules a class; then the vectors for what no class tells: audit, state, run-time sets.
 */
#include <netinet/in.h>
#include <string.h>

#include "compile.h"

/* A chain being written. */
struct writer {
	struct compile *c;
	const struct model_chain *chain;
	const struct slots *slots;
	size_t first; /* of its slots among those of all chains */
	struct dp_chain *record;
};

/* ---- vectors --------------------------------------------------------------------------------- */

static struct dp_vector *vector_at(struct compile *c, uint32_t line)
{
	return (struct dp_vector *)&c->lines.vec.at[line];
}

static void vector_set(struct dp_vector *v, size_t slot)
{
	v->word[slot / 64] |= 1ull << (slot % 64);
}

static void vector_clear(struct dp_vector *v, size_t slot)
{
	v->word[slot / 64] &= ~(1ull << (slot % 64));
}

static int vectors_add(struct compile *c, size_t count, uint32_t *ret_line)
{
	c->stats.vector_lines += count;
	return lines_add(&c->lines, count, ret_line);
}

static const struct model_rule *rule_of(const struct writer *w, size_t slot)
{
	return &w->chain->rules.at[w->slots->rule[slot]];
}

static const struct ask *asks_of(const struct writer *w, enum dp_dim d)
{
	return &w->c->asks.dims[d].slots[w->first];
}

/* Packets look up run-time sets where the chain asks for the address at all. */
static bool chain_asks(const struct writer *w, enum dp_dim d)
{
	const struct ask *asks = asks_of(w, d);
	bool source = d == DP_DIM_SRC4 || d == DP_DIM_SRC6;

	if (asks_address(d) && w->record->flags & (source ? DP_CHAIN_SETS_FROM : DP_CHAIN_SETS_TO))
		return true;
	for (size_t i = 0; i < w->slots->count; i++)
		if (asks[i].in != ASK_NOTHING || asks[i].out != ASK_NOTHING)
			return true;
	return false;
}

/* A table that no rule has a group in has class 0 for every value. */
static uint32_t table_classes(const struct table *table)
{
	return table->classes.count ?: 1;
}

/* Class by class the rules that its values satisfy, in this dimension, from line `first` on. */
static void vectors_fill(const struct writer *w, enum dp_dim d, uint32_t first)
{
	const struct ask *asks = asks_of(w, d);
	const struct classes *classes = &w->c->tables[d].classes;
	struct dp_vector *vectors = vector_at(w->c, first), rest = {};
	uint32_t count = table_classes(&w->c->tables[d]);

	/* 1. A rule that asks for no group is satisfied by every class… */
	for (size_t i = 0; i < w->slots->count; i++)
		if (asks[i].in == ASK_NOTHING)
			vector_set(&rest, i);
	for (uint32_t class = 0; class < count; class ++)
		vectors[class] = rest;
	for (size_t i = 0; i < w->slots->count; i++) {
		struct ask ask = asks[i];

		/* 2. …one that does, by the classes of the group… */
		if (ask.in != ASK_NOTHING)
			for (size_t k = classes->from.at[ask.in]; k < classes->from.at[ask.in + 1];
			     k++)
				vector_set(&vectors[classes->class_of.at[k]], i);
		if (ask.out == ASK_NOTHING)
			continue;
		/*
		 * 3. …and one that excludes a group by none of its classes, nor by "no such value".
		 */
		vector_clear(&vectors[0], i);
		for (size_t k = classes->from.at[ask.out]; k < classes->from.at[ask.out + 1]; k++)
			vector_clear(&vectors[classes->class_of.at[k]], i);
	}
}

/*
 * A packet starts with every bit set and only vectors clear bits, those past the last rule
 * included: so rules that ask for nothing at all still need one vector, which is the same for every
 * packet.
 */
static int no_demand_write(struct writer *w)
{
	uint32_t *line = &w->record->vector[DP_DIM_PROTO];
	int r = vectors_add(w->c, 1, line);

	if (r)
		return r;
	for (size_t i = 0; i < w->slots->count; i++)
		vector_set(vector_at(w->c, *line), i);
	w->record->dims = 1u << DP_DIM_PROTO;
	return 0;
}

static int vectors_write(struct writer *w)
{
	for (enum dp_dim d = 0; d < DP_DIM_COUNT; d++) {
		int r;

		if (!chain_asks(w, d))
			continue;
		r = vectors_add(w->c, table_classes(&w->c->tables[d]), &w->record->vector[d]);
		if (r)
			return r;
		vectors_fill(w, d, w->record->vector[d]);
		w->record->dims |= 1u << d;
		w->record->table[d] = TABLE_TO_COME;
	}
	return w->record->dims ? 0 : no_demand_write(w);
}

/* ---- one vector for all packets -------------------------------------------------------------- */

static bool is_audit(const struct model_rule *rule)
{
	return rule->audit;
}

static bool is_state(const struct model_rule *rule)
{
	return rule->keys & MODEL_KEY_STATE;
}

/* A vector of the rules that are such; no line when there are none. */
static int marks_write(struct writer *w, bool (*is_such)(const struct model_rule *),
		       uint32_t *ret_line)
{
	for (size_t i = 0; i < w->slots->count; i++) {
		int r;

		if (!is_such(rule_of(w, i)))
			continue;
		r = *ret_line ? 0 : vectors_add(w->c, 1, ret_line);
		if (r)
			return r;
		vector_set(vector_at(w->c, *ret_line), i);
	}
	return 0;
}

/* ---- run-time sets --------------------------------------------------------------------------- */

/* The place of a set among the run-time sets of the policy; with the number of all sets: how many. */
static size_t ordinal_of(const struct model *m, size_t set)
{
	size_t ordinal = 0;

	for (size_t i = 0; i < set; i++)
		ordinal += m->sets.at[i].runtime;
	return ordinal;
}

static void set_vectors_fill(const struct writer *w, const struct model_operand *o, size_t slot,
			     enum dp_set_vector which)
{
	const struct model *m = w->c->model;

	for (size_t i = 0; i < o->sets.count; i++) {
		uint32_t set = o->sets.at[i];
		size_t line = w->record->sets + ordinal_of(m, set) * DP_SET_VECTOR_COUNT + which;

		if (m->sets.at[set].runtime)
			vector_set(vector_at(w->c, line), slot);
	}
}

static int set_vectors_write(struct writer *w)
{
	const struct model *m = w->c->model;
	int r;

	for (size_t i = 0; i < w->slots->count; i++) {
		const struct model_rule *rule = rule_of(w, i);

		if (asks_runtime(m, &rule->from) || asks_runtime(m, &rule->not_from))
			w->record->flags |= DP_CHAIN_SETS_FROM;
		if (asks_runtime(m, &rule->to) || asks_runtime(m, &rule->not_to))
			w->record->flags |= DP_CHAIN_SETS_TO;
	}
	if (!(w->record->flags & (DP_CHAIN_SETS_FROM | DP_CHAIN_SETS_TO)))
		return 0;
	r = vectors_add(w->c, ordinal_of(m, m->sets.count) * DP_SET_VECTOR_COUNT, &w->record->sets);
	for (size_t i = 0; !r && i < w->slots->count; i++) {
		const struct model_rule *rule = rule_of(w, i);

		set_vectors_fill(w, &rule->from, i, DP_SET_FROM);
		set_vectors_fill(w, &rule->not_from, i, DP_SET_NOT_FROM);
		set_vectors_fill(w, &rule->to, i, DP_SET_TO);
		set_vectors_fill(w, &rule->not_to, i, DP_SET_NOT_TO);
	}
	return r;
}

/* A slot's rule may be satisfied by a run-time set in a dimension where it excludes classes. */
static bool is_barred(const struct writer *w, enum dp_dim d, size_t slot)
{
	const struct model_rule *rule = rule_of(w, slot);
	bool source = d == DP_DIM_SRC4 || d == DP_DIM_SRC6;

	return asks_of(w, d)[slot].out != ASK_NOTHING &&
	       asks_runtime(w->c->model, source ? &rule->from : &rule->to);
}

static int barred_write(struct writer *w)
{
	for (enum dp_dim d = DP_DIM_SRC4; d <= DP_DIM_DST6; d++) {
		const struct classes *classes = &w->c->tables[d].classes;
		uint32_t *line = &w->record->barred[d - DP_DIM_SRC4];

		for (size_t i = 0; i < w->slots->count; i++) {
			uint32_t out = asks_of(w, d)[i].out;
			int r;

			if (!is_barred(w, d, i))
				continue;
			r = *line ? 0 : vectors_add(w->c, classes->count, line);
			if (r)
				return r;
			for (size_t k = classes->from.at[out]; k < classes->from.at[out + 1]; k++)
				vector_set(vector_at(w->c, *line) + classes->class_of.at[k], i);
		}
	}
	return 0;
}

/* ---- records --------------------------------------------------------------------------------- */

static uint8_t rule_reason(const struct model_rule *rule)
{
	if (rule->never_drop)
		return DP_REASON_NEVER_DROP;
	return rule->verdict == DP_DROP ? DP_REASON_RULE_DROP : DP_REASON_RULE_PASS;
}

/* In a chain that asks for state, a rule that says nothing of it or of flags passes openings alone. */
static uint8_t rule_flags(const struct model_chain *chain, const struct model_rule *rule)
{
	bool passes = rule->verdict == DP_PASS && !rule->never_drop;
	bool tcp = asks_proto(rule, 0, IPPROTO_TCP) || asks_proto(rule, 1, IPPROTO_TCP);
	bool says = rule->keys & (MODEL_KEY_FLAGS | MODEL_KEY_STATE);

	return chain->stateful && passes && tcp && !says ? DP_RULE_OPENS : 0;
}

static int rules_write(struct writer *w)
{
	size_t count = w->chain->rules.count;
	struct dp_rule *records;
	int r = lines_add(&w->c->lines, lines_for(count, DP_RULES_PER_LINE), &w->record->rules);

	if (r)
		return r;
	records = (struct dp_rule *)&w->c->lines.vec.at[w->record->rules];
	for (size_t i = 0; i < count; i++) {
		records[i].reason = rule_reason(&w->chain->rules.at[i]);
		records[i].flags = rule_flags(w->chain, &w->chain->rules.at[i]);
	}
	return 0;
}

/* Slots that hold no rule come behind all that do, where packets search among them. */
static int slots_write(struct writer *w)
{
	size_t bytes = DP_CHAIN_RULES * sizeof(*w->slots->rule);
	struct dp_line *lines;
	int r = lines_add(&w->c->lines, bytes / DP_LINE_BYTES, &w->record->slots);

	if (r)
		return r;
	lines = &w->c->lines.vec.at[w->record->slots];
	memset(lines, 0xff, bytes);
	memcpy(lines, w->slots->rule, w->slots->count * sizeof(*w->slots->rule));
	return 0;
}

static struct writer writer_of(struct compile *c, size_t index)
{
	const struct model_chain *chain = &c->model->chains.at[index];

	return (struct writer){
		.c = c,
		.chain = chain,
		.slots = &c->slots[index],
		.first = c->asks.first_slot[index],
		.record = compile_record(c, chain->zone + 1, chain->dir),
	};
}

static void record_init(struct writer *w)
{
	*w->record = (struct dp_chain){
		.flags = DP_CHAIN_PRESENT,
		.words = lines_for(w->slots->count, 64),
		.default_reason = w->chain->default_verdict == DP_DROP ? DP_REASON_DEFAULT_DROP
								       : DP_REASON_DEFAULT_PASS,
		.rule_count = w->chain->rules.count,
	};
	for (enum dp_dim d = 0; d < DP_DIM_COUNT; d++)
		w->record->table[d] = DP_REF_CLASS;
	if (w->chain->first_only)
		w->record->flags |= DP_CHAIN_FIRST_ONLY;
}

int chain_write_near(struct compile *c, size_t index)
{
	struct writer w = writer_of(c, index);
	int r = 0;

	record_init(&w);
	c->chain_slots[index] = w.slots->count;
	if (c->plans[index].cuts) {
		w.record->flags |= DP_CHAIN_CUTS;
		r = w.slots->count ? slots_write(&w) : 0;
	}
	if (!r)
		r = marks_write(&w, is_audit, &w.record->audit);
	if (!r)
		r = marks_write(&w, is_state, &w.record->state);
	return r ?: set_vectors_write(&w);
}

int chain_write(struct compile *c, size_t index)
{
	struct writer w = writer_of(c, index);
	int r = w.chain->rules.count ? rules_write(&w) : 0;

	if (r || !w.slots->count)
		return r;
	return vectors_write(&w) ?: barred_write(&w);
}

/* ---- trees ----------------------------------------------------------------------------------- */

static void count_tree(struct image_stats *stats, const struct cut_tree *tree)
{
	stats->boxes += tree->leaf_boxes.count;
	if (tree->depth > stats->tree_depth)
		stats->tree_depth = tree->depth;
	if (tree->largest_leaf > stats->largest_leaf)
		stats->largest_leaf = tree->largest_leaf;
}

int chain_trees_write(struct compile *c, size_t index)
{
	const struct model_chain *chain = &c->model->chains.at[index];
	struct dp_chain *record = compile_record(c, chain->zone + 1, chain->dir);
	size_t before = c->lines.vec.count;
	int r = 0;

	for (unsigned int family = 0; family < 2; family++)
		for (unsigned int t = 0; !r && t < DP_CUT_TREES; t++) {
			const struct cut_forest *forest = &c->plans[index].forests[family];

			r = cut_tree_write(&forest->trees[t], &forest->boxes[t], family, &c->lines,
					   &record->cuts[family][t]);
			count_tree(&c->stats, &forest->trees[t]);
		}
	c->stats.tree_lines += c->lines.vec.count - before;
	return r;
}

/* ---- flows ----------------------------------------------------------------------------------- */

/*
 * What passes one way through a zone goes on as a flow by the same chain; a reply to it is asked about where it
 * comes back: the other way through the same zone, or, for what goes on to another zone, the same way through
 * that one.
 */
void chains_track(struct compile *c)
{
	size_t asked[DP_DIR_COUNT] = {}, zones = c->model->zones.count;

	for (uint32_t z = 1; z <= zones; z++)
		for (enum dp_dir d = 0; d < DP_DIR_COUNT; d++)
			asked[d] += !!compile_record(c, z, d)->state;
	for (uint32_t z = 1; z <= zones; z++)
		for (enum dp_dir d = 0; d < DP_DIR_COUNT; d++) {
			bool back = compile_record(c, z, !d)->state;

			if (back || asked[d])
				compile_record(c, z, d)->flags |= DP_CHAIN_TRACKS;
		}
}
