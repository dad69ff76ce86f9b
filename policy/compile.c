/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model to image: chains are planned first, since rules in cut trees need no classes; then one class table for
 * each dimension that some rule asks for, shared by all chains. What a packet is sure to read comes first in
 * the image, tries of large sets last.
 */
#include <inttypes.h>
#include <string.h>

#include "compile.h"
#include "trie.h"

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
	for (size_t i = 0; i < chains; i++)
		counters += c->model->chains.at[i].rules.count + 1;
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

static int classes_make(struct compile *c, enum dp_dim d)
{
	const struct asks_dim *asks = &c->asks.dims[d];
	struct classes *classes = &c->tables[d].classes;
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
	r = classes_init(classes, &space);
	if (r == -E2BIG || (!r && classes->count - 1 > CLASSES_MAX))
		return refuse_classes(c, d, classes, r);
	return r;
}

static int table_write(struct compile *c, enum dp_dim d)
{
	const struct segments *segments = &c->tables[d].classes.segments;
	size_t before = c->lines.vec.count;
	int r;

	if (!asks_address(d))
		return array_write(&c->lines, segments, (uint32_t)asks_last(d) + 1,
				   &c->tables[d].ref);
	r = trie_write(&c->lines, segments, &c->tables[d].ref);
	c->stats.trie_lines += c->lines.vec.count - before;
	return r;
}

/*
 * A trie of so many runs of addresses takes hardly more than its first level. It is read for every packet, a
 * cut tree of megabytes only here and there: such tries stand before the trees, larger ones behind.
 */
#define SMALL_TRIE 4096u

static bool table_is_small(const struct compile *c, enum dp_dim d)
{
	return !asks_address(d) || c->tables[d].classes.segments.class_of.count <= SMALL_TRIE;
}

static int tables_write(struct compile *c, bool small)
{
	for (enum dp_dim d = 0; d < DP_DIM_COUNT; d++) {
		int r;

		if (!c->tables[d].classes.count || table_is_small(c, d) != small)
			continue;
		r = table_write(c, d);
		if (r)
			return r;
	}
	return 0;
}

/* ---- the image ------------------------------------------------------------------------------- */

/* A line of ordinals for the installer to fill in. */
static int ordinals_write(struct compile *c, uint32_t *ret_line)
{
	bool asked = false;
	int r;

	for (size_t i = 0; i < c->record_count; i++)
		asked |= c->records[i].sets;
	if (!asked)
		return 0;
	r = lines_add(&c->lines, 1, ret_line);
	if (!r)
		memset(&c->lines.vec.at[*ret_line], DP_SET_NO_ORDINAL, DP_LINE_BYTES);
	return r;
}

static void records_write(struct compile *c, uint32_t ordinals)
{
	struct dp_bank_header header = {
		.magic = DP_BANK_MAGIC,
		.abi_version = DP_ABI_VERSION,
		.lines = c->lines.vec.count,
		.zones = c->model->zones.count + 1,
		.sets = ordinals,
	};

	for (size_t i = 0; i < c->record_count; i++)
		for (enum dp_dim d = 0; d < DP_DIM_COUNT; d++)
			if (c->records[i].dims >> d & 1 && c->records[i].table[d] == TABLE_TO_COME)
				c->records[i].table[d] = c->tables[d].ref;
	memcpy(&c->lines.vec.at[0], &header, sizeof(header));
	memcpy(&c->lines.vec.at[DP_CHAIN_LINE(0, 0)], c->records,
	       c->record_count * sizeof(*c->records));
}

static int refuse_image(struct compile *c)
{
	size_t have = c->lines.vec.count;

	diag_error(c->diags, everywhere(c->model), "capacity",
		   "the tables of the policy need more than %zu MiB, the limit of a bank is %u MiB",
		   have * DP_LINE_BYTES >> 20, IMAGE_MAX_LINES / (1u << 20) * DP_LINE_BYTES);
	return -E2BIG;
}

/* Chains with many run-time sets: four lines for each set. */
static int refuse_near(struct compile *c)
{
	diag_error(
		c->diags, everywhere(c->model), "capacity",
		"the near table, which packets read first, needs %zu lines for chains and their run-time sets, %zu more than the limit of %d",
		c->lines.vec.count, c->lines.vec.count - DP_NEAR_LINES, DP_NEAR_LINES);
	return -E2BIG;
}

static int compile_init(struct compile *c)
{
	size_t chains = c->model->chains.count;

	for (enum dp_dim d = 0; d < DP_DIM_COUNT; d++)
		c->tables[d].ref = DP_REF_CLASS;
	c->record_count = (c->model->zones.count + 1) * DP_DIR_COUNT;
	c->records = calloc(c->record_count, sizeof(*c->records));
	c->plans = calloc(chains + 1, sizeof(*c->plans));
	c->slots = calloc(chains + 1, sizeof(*c->slots));
	c->chain_slots = calloc(chains + 1, sizeof(*c->chain_slots));
	return c->records && c->plans && c->slots && c->chain_slots ? 0 : -ENOMEM;
}

/* Every chain is planned, so that all that do not fit are named. */
static int plans_make(struct compile *c)
{
	int result = 0;

	for (size_t i = 0; i < c->model->chains.count; i++) {
		int r = chain_plan_init(&c->plans[i], c->model, &c->model->chains.at[i], c->diags);

		if (r == -ENOMEM)
			return r;
		if (r)
			result = r;
		c->slots[i] = c->plans[i].slots;
	}
	return result;
}

static int write_all(struct compile *c)
{
	size_t chains = c->model->chains.count;
	uint32_t line, ordinals = 0;
	int r = plans_make(c);

	if (!r)
		r = asks_init(&c->asks, c->model, c->slots);
	for (enum dp_dim d = 0; !r && d < DP_DIM_COUNT; d++)
		r = classes_make(c, d);
	if (!r)
		r = lines_add(&c->lines, DP_CHAIN_LINE(c->model->zones.count + 1, 0), &line);
	for (size_t i = 0; !r && i < chains; i++)
		r = chain_write_near(c, i);
	if (!r)
		r = ordinals_write(c, &ordinals);
	if (!r && c->lines.vec.count > DP_NEAR_LINES)
		r = refuse_near(c);
	for (size_t i = 0; !r && i < chains; i++)
		r = chain_write(c, i);
	if (!r)
		r = tables_write(c, true);
	for (size_t i = 0; !r && i < chains; i++)
		r = chain_trees_write(c, i);
	if (!r)
		r = tables_write(c, false);
	if (r)
		return r;
	chains_track(c);
	records_write(c, ordinals);
	return 0;
}

static void compile_done(struct compile *c)
{
	asks_done(&c->asks);
	for (enum dp_dim d = 0; d < DP_DIM_COUNT; d++)
		classes_done(&c->tables[d].classes);
	for (size_t i = 0; c->plans && i < c->model->chains.count; i++)
		chain_plan_done(&c->plans[i]);
	free(c->plans);
	free(c->slots);
	free(c->records);
	free(c->chain_slots);
	vec_done(&c->lines.vec);
}

int image_compile(const struct model *model, struct diag_list *diags, struct image *ret)
{
	_cleanup_(compile_done) struct compile c = { .model = model, .diags = diags };
	size_t errors = diags->errors;
	struct dp_line *lines;
	int r = check_limits(&c);

	if (!r)
		r = compile_init(&c);
	if (!r)
		r = write_all(&c);
	if (r == -E2BIG && diags->errors == errors)
		return refuse_image(&c);
	if (r)
		return r;
	/* Growth left room for twice the lines. */
	lines = reallocarray(c.lines.vec.at, c.lines.vec.count, sizeof(*lines));
	*ret = (struct image){
		.lines = lines ?: c.lines.vec.at,
		.count = c.lines.vec.count,
		.stats = c.stats,
	};
	ret->chain_slots = TAKE_PTR(c.chain_slots);
	c.lines.vec.at = NULL;
	for (enum dp_dim d = 0; d < DP_DIM_COUNT; d++)
		ret->classes[d] = c.tables[d].classes.count;
	return 0;
}
