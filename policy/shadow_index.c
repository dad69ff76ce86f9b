/* SPDX-License-Identifier: Apache-2.0 */
/* See shadow_index.h. */
#include "shadow_index.h"

#include <string.h>
#include <xxhash.h>

/* Where IPv4 lies among IPv6 addresses: no policy has any of these. */
#define IPV4_MAPPED ((u128)0xffff << 32)

#define NONE UINT32_MAX

#define PART_BLOCKS 8  /* of one rule in one dimension; more are put into one that holds them all */
#define RULE_BLOCKS 16 /* combinations of them; likewise */

/*
 * Rules with the same blocks are compared one by one, which for many thousands of them takes too long: after
 * so many comparisons only the first few of each list.
 */
#define ALL_COMPARED 3000000
#define FEW_COMPARED 32

/* ---- blocks ------------------------------------------------------------------------------------ */

static unsigned int leading_zeros(u128 value)
{
	uint64_t high = value >> 64, low = (uint64_t)value;

	return high ? __builtin_clzll(high) : low ? 64 + __builtin_clzll(low) : 128;
}

static struct shadow_block block_make(u128 value, unsigned int len)
{
	return (struct shadow_block){ .value = len ? value >> (128 - len) << (128 - len) : 0,
				      .len = len };
}

/* The smallest aligned block that holds both. */
static struct shadow_block block_around(u128 first, u128 last)
{
	return block_make(first, leading_zeros(first ^ last));
}

static u128 block_last(struct shadow_block block)
{
	return block.len ? block.value | (((u128)1 << (128 - block.len)) - 1) : ~(u128)0;
}

/* One rule in one dimension: where its first values lie, and what holds all of them. */
struct spread {
	struct shadow_block start;
	struct shadow_block at[PART_BLOCKS];
	size_t count;
};

static struct spread everything(void)
{
	return (struct spread){ .count = 1 };
}

static struct shadow_block address_block(struct address_range range)
{
	u128 base = range.family == REACH_IPV4 ? IPV4_MAPPED : 0;

	return block_around(base | range.first, base | range.last);
}

static struct spread spread_address(const struct model *model, const struct reach *reach,
				    const struct model_operand *operand, bool written)
{
	bool v4 = reach_has_family(reach, REACH_IPV4), v6 = reach_has_family(reach, REACH_IPV6);
	enum reach_family family = v4 ? REACH_IPV4 : REACH_IPV6;
	struct address_range ranges[PART_BLOCKS] = { address_range_all(family) };
	struct spread spread = { .count = 1 };

	if (reach->not_ip || v4 == v6)
		return spread;
	if (written)
		spread.count = operand_ranges(model, operand, family, ranges, PART_BLOCKS);
	spread.start = address_block(ranges[0]);
	if (written && operand_changes(model, operand)) {
		spread.count = 1; /* nobody knows what it will hold: everything */
		return spread;
	}
	if (spread.count > PART_BLOCKS) {
		ranges[0] = operand_hull(model, operand, family);
		spread.count = 1;
	}
	for (size_t i = 0; i < spread.count; i++)
		spread.at[i] = address_block(ranges[i]);
	return spread;
}

static struct shadow_block range_block(uint16_t first, uint16_t last, unsigned int bits)
{
	return block_around((u128)first << (128 - bits), (u128)last << (128 - bits));
}

/* Values of so many bits; a list that was not written is empty. */
static struct spread spread_ranges(const struct model_range *ranges, size_t count,
				   unsigned int bits)
{
	struct spread spread = { .count = count };

	if (!count)
		return everything();
	spread.start = range_block(ranges[0].first, ranges[0].last, bits);
	for (size_t i = 0; i < count && count <= PART_BLOCKS; i++)
		spread.at[i] = range_block(ranges[i].first, ranges[i].last, bits);
	if (count <= PART_BLOCKS)
		return spread;
	spread.at[0] = range_block(ranges[0].first, ranges[count - 1].last, bits);
	spread.count = 1;
	return spread;
}

static struct spread spread_proto(const struct reach *reach)
{
	struct spread spread = {};

	if (reach->not_ip)
		return everything();
	for (unsigned int i = 0; i < 4; i++) {
		uint64_t word = reach->protos[REACH_IPV4][i] | reach->protos[REACH_IPV6][i];

		for (; word; word &= word - 1) {
			unsigned int p = i * 64 + __builtin_ctzll(word);

			if (spread.count == PART_BLOCKS)
				return everything();
			spread.at[spread.count++] = block_make((u128)p << 120, 8);
		}
	}
	spread.start = spread.at[0];
	return spread;
}

static void spread_rule(const struct model *model, const struct model_rule *rule,
			const struct reach *reach, struct spread ret[static SHADOW_DIM_COUNT])
{
	uint32_t keys = rule->keys;

	ret[SHADOW_FROM] = spread_address(model, reach, &rule->from, keys & MODEL_KEY_FROM);
	ret[SHADOW_TO] = spread_address(model, reach, &rule->to, keys & MODEL_KEY_TO);
	ret[SHADOW_DPORT] = keys & MODEL_KEY_TYPE
				    ? spread_ranges(rule->type.at, rule->type.count, 8)
				    : spread_ranges(rule->dport.at, rule->dport.count, 16);
	ret[SHADOW_SPORT] = keys & MODEL_KEY_CODE
				    ? spread_ranges(rule->code.at, rule->code.count, 8)
				    : spread_ranges(rule->sport.at, rule->sport.count, 16);
	ret[SHADOW_PROTO] = spread_proto(reach);
}

/* The length is not the seed: of 16 bytes and a seed, blocks whose values and lengths differ alike collide. */
static u128 block_key(u128 value, uint32_t len)
{
	struct {
		u128 value;
		uint64_t len, pad;
	} block = { .value = value, .len = len };
	XXH128_hash_t h = XXH3_128bits(&block, sizeof(block));

	return (u128)h.high64 << 64 | h.low64;
}

static int block_id(struct shadow_blocks *blocks, struct shadow_block block, uint32_t *ret_id)
{
	u128 key = block_key(block.value, block.len);
	int r;

	*ret_id = u128map_get(&blocks->ids, key);
	if (*ret_id != U128MAP_NONE)
		return 0;
	*ret_id = blocks->vec.count;
	blocks->lens[block.len] = true;
	r = vec_push(&blocks->vec, block);
	return r ?: u128map_add(&blocks->ids, key, *ret_id);
}

static void find_around(struct shadow_blocks *blocks)
{
	for (size_t i = 0; i < blocks->vec.count; i++) {
		struct shadow_block *block = &blocks->vec.at[i];

		block->around = U128MAP_NONE;
		for (uint32_t len = block->len; len-- && block->around == U128MAP_NONE;) {
			if (blocks->lens[len])
				block->around = u128map_get(
					&blocks->ids,
					block_key(block_make(block->value, len).value, len));
		}
	}
}

/* ---- the index --------------------------------------------------------------------------------- */

/* A rule is added once for every combination of its blocks: no more of them than are worth it. */
static void limit_spreads(struct spread spreads[static SHADOW_DIM_COUNT])
{
	for (;;) {
		enum shadow_dim most = 0;
		size_t all = 1;

		for (enum shadow_dim d = 0; d < SHADOW_DIM_COUNT; d++) {
			all *= spreads[d].count;
			if (spreads[d].count > spreads[most].count)
				most = d;
		}
		if (all <= RULE_BLOCKS)
			return;
		spreads[most].at[0] =
			block_around(spreads[most].at[0].value,
				     block_last(spreads[most].at[spreads[most].count - 1]));
		spreads[most].count = 1;
	}
}

static bool same_block(struct shadow_block a, struct shadow_block b)
{
	return a.value == b.value && a.len == b.len;
}

static int part_make(struct shadow_index *index, uint32_t rule, enum shadow_dim d,
		     const struct spread *spread)
{
	struct shadow_part *part = &index->parts[rule][d];
	int r = block_id(&index->blocks[d], spread->start, &part->start);

	part->first = index->used.count;
	part->count = spread->count;
	for (size_t i = 0; i < spread->count && !r; i++) {
		uint32_t id = part->start;

		if (!same_block(spread->at[i], spread->start))
			r = block_id(&index->blocks[d], spread->at[i], &id);
		if (!r)
			r = vec_push(&index->used, id);
	}
	return r;
}

int shadow_index_init(struct shadow_index *index, const struct model *model,
		      const struct model_chain *chain, const struct reach *reaches)
{
	int r = 0;

	*index = (struct shadow_index){};
	index->parts = calloc(chain->rules.count + 1, sizeof(*index->parts));
	if (!index->parts)
		return -ENOMEM;
	for (uint32_t i = 0; i < chain->rules.count; i++) {
		struct spread spreads[SHADOW_DIM_COUNT];

		spread_rule(model, &chain->rules.at[i], &reaches[i], spreads);
		limit_spreads(spreads);
		for (enum shadow_dim d = 0; d < SHADOW_DIM_COUNT && !r; d++)
			r = part_make(index, i, d, &spreads[d]);
		if (r)
			return r;
	}
	for (enum shadow_dim d = 0; d < SHADOW_DIM_COUNT; d++)
		find_around(&index->blocks[d]);
	return vec_push(&index->lists, (struct shadow_list){ NONE, NONE });
}

void shadow_index_done(struct shadow_index *index)
{
	for (enum shadow_dim d = 0; d < SHADOW_DIM_COUNT; d++) {
		vec_done(&index->blocks[d].vec);
		u128map_done(&index->blocks[d].ids);
	}
	free(index->parts);
	vec_done(&index->used);
	u128map_done(&index->nodes);
	vec_done(&index->lists);
	vec_done(&index->entries);
}

static u128 step_key(uint32_t node, uint32_t block)
{
	return u128map_signature((uint64_t)node << 32 | block);
}

static int append(struct shadow_index *index, uint32_t node, uint32_t rule)
{
	struct shadow_list *list = &index->lists.at[node];
	uint32_t entry = index->entries.count;

	if (list->first == NONE)
		list->first = entry;
	else
		index->entries.at[list->last].next = entry;
	list->last = entry;
	return vec_push(&index->entries, (struct shadow_entry){ rule, NONE });
}

/* Adds the rule below a node by all its blocks of dimension d and those behind it. */
static int add_below(struct shadow_index *index, uint32_t rule, uint32_t node, enum shadow_dim d)
{
	const struct shadow_part *part = &index->parts[rule][d];
	int r = 0;

	if (d == SHADOW_DIM_COUNT)
		return append(index, node, rule);
	for (uint32_t i = 0; i < part->count && !r; i++) {
		u128 key = step_key(node, index->used.at[part->first + i]);
		uint32_t next = u128map_get(&index->nodes, key);

		if (next == U128MAP_NONE) {
			next = index->lists.count;
			r = vec_push(&index->lists, (struct shadow_list){ NONE, NONE });
			if (!r)
				r = u128map_add(&index->nodes, key, next);
		}
		if (!r)
			r = add_below(index, rule, next, d + 1);
	}
	return r;
}

int shadow_index_add(struct shadow_index *index, uint32_t rule)
{
	return add_below(index, rule, 0, 0);
}

struct search {
	struct shadow_index *index;
	uint32_t rule;
	void *ctx;
	bool (*covers)(void *ctx, uint32_t wide, uint32_t narrow);
	uint32_t found;
};

static void search_list(struct search *s, uint32_t node)
{
	const struct shadow_entry *entries = s->index->entries.at;
	uint32_t entry = s->index->lists.at[node].first;

	for (size_t i = 0; entry != NONE && entries[entry].rule < s->found; i++) {
		if (s->index->compared++ >= ALL_COMPARED && i >= FEW_COMPARED)
			return;
		if (s->covers(s->ctx, entries[entry].rule, s->rule))
			s->found = entries[entry].rule;
		entry = entries[entry].next;
	}
}

static void search_below(struct search *s, uint32_t node, enum shadow_dim d)
{
	const struct shadow_blocks *blocks = &s->index->blocks[d];
	uint32_t block;

	if (d == SHADOW_DIM_COUNT) {
		search_list(s, node);
		return;
	}
	block = s->index->parts[s->rule][d].start;
	for (; block != U128MAP_NONE; block = blocks->vec.at[block].around) {
		uint32_t next = u128map_get(&s->index->nodes, step_key(node, block));

		if (next != U128MAP_NONE)
			search_below(s, next, d + 1);
	}
}

uint32_t shadow_index_find(struct shadow_index *index, uint32_t rule, void *ctx,
			   bool (*covers)(void *ctx, uint32_t wide, uint32_t narrow))
{
	struct search s = {
		.index = index, .rule = rule, .ctx = ctx, .covers = covers, .found = SHADOW_NONE
	};

	search_below(&s, 0, 0);
	return s.found;
}
