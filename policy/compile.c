/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model to image: one class table for each dimension that some rule asks for, shared by all chains;
 * for each chain its rule records and, for each dimension its rules ask for, one vector of rules a
 * class.
 */
#include <inttypes.h>
#include <string.h>

#include "asks.h"
#include "image.h"
#include "lines.h"
#include "trie.h"

struct table {
	uint32_t ref;
	uint32_t classes; /* class 0 included; 0: no rule asks for the dimension */
	VEC(size_t) from; /* as in struct classes */
	VEC(uint16_t) class_of;
};

struct compile {
	const struct model *model;
	struct diag_list *diags;
	struct lines lines;
	struct asks asks;
	struct table tables[DP_DIM_COUNT];
};

static const char *const table_names[DP_DIM_COUNT] = {
	[DP_DIM_PROTO] = "protocols",
	[DP_DIM_SRC4] = "IPv4 source addresses",
	[DP_DIM_SRC6] = "IPv6 source addresses",
	[DP_DIM_DST4] = "IPv4 destination addresses",
	[DP_DIM_DST6] = "IPv6 destination addresses",
	[DP_DIM_SPORT] = "source ports",
	[DP_DIM_DPORT] = "destination ports",
	[DP_DIM_ICMP4] = "ICMP types",
	[DP_DIM_ICMP6] = "ICMPv6 types",
	[DP_DIM_FLAGS] = "TCP flags",
	[DP_DIM_VLAN] = "VLANs",
};

/* The policy as a whole. */
static struct span everywhere(const struct model *model)
{
	uint32_t source = model->chains.count ? model->chains.at[0].span.source : 0;

	return (struct span){ .source = source, .line = 0, .col = 1, .len = 1 };
}

/* ---- limits that can be told before any work ------------------------------------------------- */

static void check_zones(struct compile *c)
{
	size_t zones = c->model->zones.count;

	if (zones > DP_ZONE_MAX)
		diag_error(c->diags, c->model->zones.at[DP_ZONE_MAX].span, "capacity",
			   "the policy has %zu zones, %zu more than the limit of %d", zones,
			   zones - DP_ZONE_MAX, DP_ZONE_MAX);
}

/*
 * Every chain has a slot of chain_counters, every rule and default one of rule_counters; slot 0 is
 * taken.
 */
static void check_chains(struct compile *c)
{
	size_t chains = c->model->chains.count, counters = 0;

	if (chains > DP_CHAIN_SLOTS - 1)
		diag_error(c->diags, c->model->chains.at[DP_CHAIN_SLOTS - 1].span, "capacity",
			   "the policy has %zu chains, %zu more than the limit of %d", chains,
			   chains - (DP_CHAIN_SLOTS - 1), DP_CHAIN_SLOTS - 1);
	for (size_t i = 0; i < chains; i++) {
		const struct model_chain *chain = &c->model->chains.at[i];
		size_t rules = chain->rules.count;

		counters += rules + 1;
		if (rules > DP_CHAIN_RULES)
			diag_error(c->diags, chain->span, "capacity",
				   "chain '%s' has %zu rules, %zu more than the limit of %d",
				   chain->name, rules, rules - DP_CHAIN_RULES, DP_CHAIN_RULES);
	}
	if (counters > DP_RULE_SLOTS - 1)
		diag_error(
			c->diags, everywhere(c->model), "capacity",
			"the rules and defaults of all chains need %zu counters, %zu more than the limit of %d",
			counters, counters - (DP_RULE_SLOTS - 1), DP_RULE_SLOTS - 1);
}

static int check_limits(struct compile *c)
{
	size_t errors = c->diags->errors;

	check_zones(c);
	check_chains(c);
	return c->diags->errors > errors ? -E2BIG : 0;
}

/* ---- class tables ---------------------------------------------------------------------------- */

static int refuse_classes(struct compile *c, enum dp_dim d, const struct classes *classes,
			  int error)
{
	uint32_t need = classes->count - 1;

	if (error == -E2BIG)
		diag_error(
			c->diags, everywhere(c->model), "capacity",
			"the table of %s needs too much memory: too many lists hold the same values; name common parts once, as a set",
			table_names[d]);
	else
		diag_error(c->diags, everywhere(c->model), "capacity",
			   "the table of %s needs %" PRIu32 " classes, %" PRIu32
			   " more than the limit of %u",
			   table_names[d], need, need - CLASSES_MAX, CLASSES_MAX);
	return -E2BIG;
}

static int write_segments(struct compile *c, enum dp_dim d, const struct segments *s,
			  uint32_t *ret_ref)
{
	if (asks_address(d))
		return trie_write(&c->lines, s, ret_ref);
	return array_write(&c->lines, s, (uint32_t)asks_last(d) + 1, ret_ref);
}

static int table_write(struct compile *c, enum dp_dim d)
{
	const struct asks_dim *asks = &c->asks.dims[d];
	struct table *table = &c->tables[d];
	_cleanup_(classes_done) struct classes classes = {};
	const struct class_space space = {
		.last = asks_last(d),
		.wide = asks_wide(d),
		.negated = asks->negated,
		.sources = asks->sources.at,
		.source_count = asks->sources.count,
		.groups = asks->groups.at,
		.group_count = asks->groups.count,
	};
	int r;

	if (!asks->groups.count)
		return 0;
	r = classes_init(&classes, &space);
	if (r == -E2BIG || (!r && classes.count - 1 > CLASSES_MAX))
		return refuse_classes(c, d, &classes, r);
	if (!r)
		r = write_segments(c, d, &classes.segments, &table->ref);
	if (r)
		return r;
	table->classes = classes.count;
	table->from.at = TAKE_PTR(classes.from.at);
	table->class_of.at = TAKE_PTR(classes.class_of.at);
	return 0;
}

/* ---- vectors --------------------------------------------------------------------------------- */

/* Rules that share vectors: bit i of a vector stands for rule first + i of all rules in a row. */
struct slice {
	size_t first;
	size_t count;
};

static struct dp_vector *vector_at(struct compile *c, uint32_t line)
{
	return (struct dp_vector *)&c->lines.vec.at[line];
}

static void vector_set(struct dp_vector *v, size_t rule)
{
	v->word[rule / 64] |= 1ull << (rule % 64);
}

static void vector_clear(struct dp_vector *v, size_t rule)
{
	v->word[rule / 64] &= ~(1ull << (rule % 64));
}

static bool slice_asks(const struct compile *c, enum dp_dim d, struct slice slice)
{
	const struct ask *rules = &c->asks.dims[d].rules[slice.first];

	for (size_t i = 0; i < slice.count; i++)
		if (rules[i].in != ASK_NOTHING || rules[i].out != ASK_NOTHING)
			return true;
	return false;
}

/* Class by class the rules that its values satisfy, in this dimension, from line `first` on. */
static void vectors_fill(struct compile *c, enum dp_dim d, struct slice slice, uint32_t first)
{
	const struct ask *rules = &c->asks.dims[d].rules[slice.first];
	const struct table *table = &c->tables[d];
	struct dp_vector *vectors = vector_at(c, first), rest = {};

	/* 1. A rule that asks for no group is satisfied by every class… */
	for (size_t i = 0; i < slice.count; i++)
		if (rules[i].in == ASK_NOTHING)
			vector_set(&rest, i);
	for (uint32_t class = 0; class < table->classes; class ++)
		vectors[class] = rest;
	for (size_t i = 0; i < slice.count; i++) {
		struct ask ask = rules[i];

		/* 2. …one that does, by the classes of the group… */
		if (ask.in != ASK_NOTHING)
			for (size_t k = table->from.at[ask.in]; k < table->from.at[ask.in + 1]; k++)
				vector_set(&vectors[table->class_of.at[k]], i);
		if (ask.out == ASK_NOTHING)
			continue;
		/*
		 * 3. …and one that excludes a group by none of its classes, nor by "no such value".
		 */
		vector_clear(&vectors[0], i);
		for (size_t k = table->from.at[ask.out]; k < table->from.at[ask.out + 1]; k++)
			vector_clear(&vectors[table->class_of.at[k]], i);
	}
}

/*
 * A packet starts with every bit set and only vectors clear bits, those past the last rule
 * included: so rules that ask for nothing at all still need one vector, which is the same for every
 * packet.
 */
static int no_demand_write(struct compile *c, struct slice slice, struct dp_chain *record)
{
	int r = lines_add(&c->lines, 1, &record->vector[DP_DIM_PROTO]);

	if (r)
		return r;
	for (size_t i = 0; i < slice.count; i++)
		vector_set(vector_at(c, record->vector[DP_DIM_PROTO]), i);
	record->dims = 1u << DP_DIM_PROTO;
	return 0;
}

static int vectors_write(struct compile *c, struct slice slice, struct dp_chain *record)
{
	for (enum dp_dim d = 0; d < DP_DIM_COUNT; d++) {
		int r;

		if (!slice_asks(c, d, slice))
			continue;
		r = lines_add(&c->lines, c->tables[d].classes, &record->vector[d]);
		if (r)
			return r;
		vectors_fill(c, d, slice, record->vector[d]);
		record->dims |= 1u << d;
		record->table[d] = c->tables[d].ref;
	}
	return record->dims ? 0 : no_demand_write(c, slice, record);
}

/* ---- chains ---------------------------------------------------------------------------------- */

static uint8_t rule_reason(const struct model_rule *rule)
{
	if (rule->never_drop)
		return DP_REASON_NEVER_DROP;
	return rule->verdict == DP_DROP ? DP_REASON_RULE_DROP : DP_REASON_RULE_PASS;
}

static int rules_write(struct compile *c, const struct model_chain *chain, uint32_t *ret_line)
{
	struct dp_rule *records;
	int r = lines_add(&c->lines, lines_for(chain->rules.count, DP_RULES_PER_LINE), ret_line);

	if (r)
		return r;
	records = (struct dp_rule *)&c->lines.vec.at[*ret_line];
	for (size_t i = 0; i < chain->rules.count; i++)
		records[i].reason = rule_reason(&chain->rules.at[i]);
	return 0;
}

static int audit_write(struct compile *c, const struct model_chain *chain, uint32_t *ret_line)
{
	for (size_t i = 0; i < chain->rules.count; i++) {
		int r;

		if (!chain->rules.at[i].audit)
			continue;
		r = *ret_line ? 0 : lines_add(&c->lines, 1, ret_line);
		if (r)
			return r;
		vector_set(vector_at(c, *ret_line), i);
	}
	return 0;
}

static int chain_write(struct compile *c, size_t index)
{
	const struct model_chain *chain = &c->model->chains.at[index];
	struct slice slice = { c->asks.first_rule[index], chain->rules.count };
	struct dp_chain record = {
		.flags = DP_CHAIN_PRESENT,
		.words = lines_for(chain->rules.count, 64),
		.default_reason = chain->default_verdict == DP_DROP ? DP_REASON_DEFAULT_DROP
								    : DP_REASON_DEFAULT_PASS,
	};
	int r = 0;

	for (enum dp_dim d = 0; d < DP_DIM_COUNT; d++)
		record.table[d] = DP_REF_CLASS;
	if (slice.count) {
		r = rules_write(c, chain, &record.rules);
		if (!r)
			r = audit_write(c, chain, &record.audit);
		if (!r)
			r = vectors_write(c, slice, &record);
	}
	if (!r)
		memcpy(&c->lines.vec.at[DP_CHAIN_LINE(chain->zone + 1, chain->dir)], &record,
		       sizeof(record));
	return r;
}

/* ---- the image ------------------------------------------------------------------------------- */

static void header_write(struct compile *c)
{
	struct dp_bank_header header = {
		.magic = DP_BANK_MAGIC,
		.abi_version = DP_ABI_VERSION,
		.lines = c->lines.vec.count,
		.zones = c->model->zones.count + 1,
	};

	memcpy(&c->lines.vec.at[0], &header, sizeof(header));
}

static int refuse_image(struct compile *c)
{
	size_t have = c->lines.vec.count;

	diag_error(c->diags, everywhere(c->model), "capacity",
		   "the tables of the policy need more than %zu MiB, the limit of a bank is %u MiB",
		   have * DP_LINE_BYTES >> 20, IMAGE_MAX_LINES / (1u << 20) * DP_LINE_BYTES);
	return -E2BIG;
}

static int write_all(struct compile *c)
{
	uint32_t line;
	int r = lines_add(&c->lines, DP_CHAIN_LINE(c->model->zones.count + 1, 0), &line);

	if (!r)
		r = asks_init(&c->asks, c->model);
	for (enum dp_dim d = 0; !r && d < DP_DIM_COUNT; d++)
		r = table_write(c, d);
	for (size_t i = 0; !r && i < c->model->chains.count; i++)
		r = chain_write(c, i);
	if (!r)
		header_write(c);
	return r;
}

static void compile_done(struct compile *c)
{
	asks_done(&c->asks);
	for (enum dp_dim d = 0; d < DP_DIM_COUNT; d++) {
		vec_done(&c->tables[d].from);
		vec_done(&c->tables[d].class_of);
	}
	vec_done(&c->lines.vec);
}

int image_compile(const struct model *model, struct diag_list *diags, struct image *ret)
{
	_cleanup_(compile_done) struct compile c = { .model = model, .diags = diags };
	size_t errors = diags->errors;
	struct dp_line *lines;
	int r = check_limits(&c);

	if (!r)
		r = write_all(&c);
	if (r == -E2BIG && diags->errors == errors)
		return refuse_image(&c);
	if (r)
		return r;
	/* Growth left room for twice the lines. */
	lines = reallocarray(c.lines.vec.at, c.lines.vec.count, sizeof(*lines));
	*ret = (struct image){ .lines = lines ?: c.lines.vec.at, .count = c.lines.vec.count };
	c.lines.vec.at = NULL;
	for (enum dp_dim d = 0; d < DP_DIM_COUNT; d++)
		ret->classes[d] = c.tables[d].classes;
	return 0;
}
