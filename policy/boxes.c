/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rule's boxes are the product of its source blocks, its destination blocks and the combinations of all
 * else, so each of the three lists is made first.
 */
#include "boxes.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "asks.h"

#define ANY_KIND (DP_BOX_PORTS | DP_BOX_ICMP | DP_BOX_OTHER)

/* ---- address blocks -------------------------------------------------------------------------- */

static u128 last_address(unsigned int family)
{
	return asks_last(family ? DP_DIM_SRC6 : DP_DIM_SRC4);
}

static int set_ranges(struct range_vec *ranges, const struct prefix_set *set, unsigned int family)
{
	size_t count = family ? set->v6.count : set->v4.count;
	int r;

	if (ranges->count + count > BOXES_PER_RULE)
		return -E2BIG;
	r = vec_reserve(ranges, count);
	for (size_t i = 0; !r && i < count; i++)
		ranges->at[ranges->count++] =
			family ? set->v6.at[i]
			       : (struct range6){ set->v4.at[i].first, set->v4.at[i].last };
	return r;
}

static int compare_ranges(const void *a, const void *b)
{
	u128 x = ((const struct range6 *)a)->first, y = ((const struct range6 *)b)->first;

	return (x > y) - (x < y);
}

/* Sorts ranges and joins those that meet. */
static void ranges_merge(struct range_vec *ranges)
{
	size_t kept = 0;

	if (ranges->count < 2)
		return;
	qsort(ranges->at, ranges->count, sizeof(*ranges->at), compare_ranges);
	for (size_t i = 1; i < ranges->count; i++) {
		struct range6 next = ranges->at[i], *before = &ranges->at[kept];

		if (next.first > before->last && next.first - before->last > 1)
			ranges->at[++kept] = next;
		else if (next.last > before->last)
			before->last = next.last;
	}
	ranges->count = kept + 1;
}

/* The addresses of an operand in one family, ascending and disjoint. */
static int operand_ranges(struct boxer *b, const struct model_operand *o, unsigned int family,
			  struct range_vec *ret)
{
	int r;

	ret->count = 0;
	r = set_ranges(ret, &o->literals, family);
	for (size_t i = 0; !r && i < o->sets.count; i++)
		r = set_ranges(ret, &b->model->sets.at[o->sets.at[i]].prefixes, family);
	if (!r)
		ranges_merge(ret);
	return r;
}

static unsigned int trailing_zeros(u128 x)
{
	if (!x)
		return 128;
	return (uint64_t)x ? __builtin_ctzll(x) : 64 + __builtin_ctzll(x >> 64);
}

/* A block of 2^shift addresses from first on does not go past last. */
static bool block_fits(u128 first, unsigned int shift, u128 last)
{
	if (shift == 128)
		return last == ~(u128)0;
	return ((u128)1 << shift) - 1 <= last - first;
}

/* Adds the blocks that make up a range: always the widest that begins there and fits. */
static int range_blocks(struct boxer *b, u128 first, u128 last)
{
	for (;;) {
		unsigned int shift = trailing_zeros(first);
		u128 end;
		int r;

		while (!block_fits(first, shift, last))
			shift--;
		end = first + (shift == 128 ? last : ((u128)1 << shift) - 1);
		r = vec_push(&b->blocks, (struct block){ first, shift });
		if (r || end == last)
			return r;
		if (b->blocks.count > BOXES_PER_RULE)
			return -E2BIG;
		first = end + 1;
	}
}

/* Adds the blocks of a range without what b->out takes away; *at is the first of b->out that may. */
static int rest_of_range(struct boxer *b, struct range6 range, size_t *at)
{
	int r = 0;

	for (; !r && *at < b->out.count && b->out.at[*at].first <= range.last; ++*at) {
		struct range6 out = b->out.at[*at];

		if (out.last < range.first)
			continue;
		if (out.first > range.first)
			r = range_blocks(b, range.first, out.first - 1);
		if (out.last >= range.last)
			return r; /* and it may reach into the next range */
		range.first = out.last + 1;
	}
	return r ?: range_blocks(b, range.first, range.last);
}

/* Adds the blocks of one direction: those of `in`, or all when it is NULL, without those of `out`. */
static int operand_blocks(struct boxer *b, const struct model_operand *in,
			  const struct model_operand *out, unsigned int family)
{
	size_t at = 0;
	int r = 0;

	b->in.count = b->out.count = 0;
	if (in)
		r = operand_ranges(b, in, family, &b->in);
	else
		r = vec_push(&b->in, (struct range6){ 0, last_address(family) });
	if (!r && out)
		r = operand_ranges(b, out, family, &b->out);
	for (size_t i = 0; !r && i < b->in.count; i++)
		r = rest_of_range(b, b->in.at[i], &at);
	return r;
}

/* ---- all else -------------------------------------------------------------------------------- */

/* TCP flags that must be as in value where mask is set. */
struct flag_choice {
	uint8_t value, mask;
};

/* "Any of" is a choice for each flag. Returns how many, at most eight. */
static unsigned int flag_choices(const struct model_rule *rule, struct flag_choice ret[static 8])
{
	uint8_t all = rule->flags_all, none = rule->flags_none, any = rule->flags_any & ~none;
	unsigned int n = 0;

	if (all & none)
		return 0;
	if (!rule->flags_any || all & any) {
		ret[0] = (struct flag_choice){ all, all | none };
		return 1;
	}
	for (; any; any &= any - 1) {
		uint8_t flag = any & -any;

		ret[n++] = (struct flag_choice){ all | flag, all | none | flag };
	}
	return n;
}

/* Adds one combination for each VLAN that the rule names. */
static int add_vlans(struct boxer *b, const struct model_rule *rule, struct dp_box_rest rest)
{
	int r = 0;

	rest.vlan = DP_BOX_ANY_VLAN;
	if (!(rule->keys & MODEL_KEY_VLAN))
		return vec_push(&b->rests, rest);
	if (b->rests.count + rule->vlan.count > BOXES_PER_RULE)
		return -E2BIG;
	for (size_t i = 0; !r && i < rule->vlan.count; i++) {
		rest.vlan = rule->vlan.at[i];
		r = vec_push(&b->rests, rest);
	}
	return r;
}

static int add_flags(struct boxer *b, const struct model_rule *rule, struct dp_box_rest rest)
{
	struct flag_choice choices[8];
	unsigned int n;
	int r = 0;

	if (!(rule->keys & MODEL_KEY_FLAGS))
		return add_vlans(b, rule, rest);
	n = flag_choices(rule, choices);
	for (unsigned int i = 0; !r && i < n; i++) {
		rest.flags = choices[i].value;
		rest.flags_mask = choices[i].mask;
		r = add_vlans(b, rule, rest);
	}
	return r;
}

static int add_ports(struct boxer *b, const struct model_rule *rule, struct dp_box_rest rest)
{
	static const struct model_range all = { 0, UINT16_MAX };
	bool asks_sport = rule->keys & MODEL_KEY_SPORT, asks_dport = rule->keys & MODEL_KEY_DPORT;
	size_t sports = asks_sport ? rule->sport.count : 1;
	size_t dports = asks_dport ? rule->dport.count : 1;
	int r = 0;

	if (asks_sport || asks_dport)
		rest.kind &= ~(DP_BOX_ICMP | DP_BOX_OTHER);
	for (size_t s = 0; !r && s < sports; s++)
		for (size_t d = 0; !r && d < dports; d++) {
			struct model_range sport = asks_sport ? rule->sport.at[s] : all;
			struct model_range dport = asks_dport ? rule->dport.at[d] : all;

			rest.sport[0] = sport.first;
			rest.sport[1] = sport.last;
			rest.dport[0] = dport.first;
			rest.dport[1] = dport.last;
			r = add_flags(b, rule, rest);
		}
	return r;
}

/* Types from `first` to `last`, with the codes that the rule names. */
static int add_types(struct boxer *b, const struct model_rule *rule, struct dp_box_rest rest,
		     unsigned int first, unsigned int last)
{
	int r = 0;

	if (!(rule->keys & MODEL_KEY_CODE)) {
		rest.dport[0] = first << 8;
		rest.dport[1] = last << 8 | 0xff;
		return add_vlans(b, rule, rest);
	}
	for (unsigned int type = first; !r && type <= last; type++)
		for (size_t i = 0; !r && i < rule->code.count; i++) {
			rest.dport[0] = type << 8 | rule->code.at[i].first;
			rest.dport[1] = type << 8 | rule->code.at[i].last;
			r = add_vlans(b, rule, rest);
		}
	return r;
}

/* An ICMP packet has its type and code where others have the destination port, and 0 above. */
static int add_icmp(struct boxer *b, const struct model_rule *rule, struct dp_box_rest rest)
{
	int r = 0;

	rest.kind = DP_BOX_ICMP;
	if (!(rule->keys & MODEL_KEY_TYPE))
		return add_types(b, rule, rest, 0, UINT8_MAX);
	for (size_t i = 0; !r && i < rule->type.count; i++)
		r = add_types(b, rule, rest, rule->type.at[i].first, rule->type.at[i].last);
	return r;
}

static int add_proto(struct boxer *b, const struct model_rule *rule, uint8_t proto, uint8_t kind)
{
	const struct dp_box_rest rest = { .proto = proto, .kind = kind };

	if (b->rests.count > BOXES_PER_RULE)
		return -E2BIG;
	if (rule->keys & (MODEL_KEY_TYPE | MODEL_KEY_CODE))
		return add_icmp(b, rule, rest);
	return add_ports(b, rule, rest);
}

/* Every combination of what a rule asks for besides addresses. */
static int rests_make(struct boxer *b, const struct model_rule *rule, unsigned int family)
{
	const uint32_t narrower =
		MODEL_KEY_PROTO | MODEL_KEY_FLAGS | MODEL_KEY_TYPE | MODEL_KEY_CODE;
	int r = 0;

	b->rests.count = 0;
	if (!(rule->keys & narrower))
		return add_proto(b, rule, 0, ANY_KIND | DP_BOX_ANY_PROTO);
	for (unsigned int proto = 0; !r && proto <= UINT8_MAX; proto++) {
		if (rule->keys & MODEL_KEY_PROTO && !(rule->protos[proto / 64] >> (proto % 64)))
			proto |= 63; /* none of the others in this word */
		else if (asks_proto(rule, family, proto))
			r = add_proto(b, rule, proto, ANY_KIND);
	}
	return r;
}

/* ---- boxes ----------------------------------------------------------------------------------- */

static void words_of(u128 addr, unsigned int family, uint32_t ret[static 4])
{
	memset(ret, 0, 4 * sizeof(*ret));
	if (!family) {
		ret[0] = addr;
		return;
	}
	for (unsigned int w = 0; w < 4; w++)
		ret[w] = addr >> (96 - 32 * w);
}

static void boxes_fill(const struct boxer *b, uint32_t number, unsigned int family, size_t sources,
		       struct box *box)
{
	for (size_t s = 0; s < sources; s++)
		for (size_t d = sources; d < b->blocks.count; d++)
			for (size_t i = 0; i < b->rests.count; i++, box++) {
				box->rest = b->rests.at[i];
				words_of(b->blocks.at[s].addr, family, box->src);
				words_of(b->blocks.at[d].addr, family, box->dst);
				box->rest.src_shift = b->blocks.at[s].shift;
				box->rest.dst_shift = b->blocks.at[d].shift;
				box->rest.rule = number;
			}
}

int boxes_add(struct boxer *b, const struct model_rule *rule, uint32_t number, unsigned int family,
	      struct box_vec *boxes)
{
	uint32_t keys = rule->keys;
	size_t sources, count;
	int r;

	if (!(asks_families(b->model, rule) >> family & 1))
		return 0;
	b->blocks.count = 0;
	r = operand_blocks(b, keys & MODEL_KEY_FROM ? &rule->from : NULL,
			   keys & MODEL_KEY_NOT_FROM ? &rule->not_from : NULL, family);
	sources = b->blocks.count;
	if (!r)
		r = operand_blocks(b, keys & MODEL_KEY_TO ? &rule->to : NULL,
				   keys & MODEL_KEY_NOT_TO ? &rule->not_to : NULL, family);
	if (!r)
		r = rests_make(b, rule, family);
	if (r)
		return r;
	count = sources * (b->blocks.count - sources) * b->rests.count;
	if (count > BOXES_PER_RULE)
		return -E2BIG;
	r = vec_reserve(boxes, count);
	if (r)
		return r;
	boxes_fill(b, number, family, sources, boxes->at + boxes->count);
	boxes->count += count;
	return 0;
}

void boxer_done(struct boxer *b)
{
	vec_done(&b->in);
	vec_done(&b->out);
	vec_done(&b->blocks);
	vec_done(&b->rests);
}
