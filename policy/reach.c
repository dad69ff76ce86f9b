/* SPDX-License-Identifier: Apache-2.0 */
/* See reach.h. */
#include "reach.h"

#include <netinet/in.h>

#define SET_RANGES_MAX 4096 /* ranges of a set that are compared one by one */

/* ---- families and protocols -------------------------------------------------------------------- */

static enum addr_family addr_family(enum reach_family family)
{
	return family == REACH_IPV4 ? ADDR_IPV4 : ADDR_IPV6;
}

static bool changes(const struct model_set *set)
{
	return set->runtime || set->refresh;
}

static bool has_ranges(const struct prefix_set *set, enum reach_family family)
{
	return family == REACH_IPV4 ? set->v4.count : set->v6.count;
}

static bool may_have_family(const struct model *model, const struct model_operand *operand,
			    enum reach_family family)
{
	bool has = has_ranges(&operand->literals, family);

	for (size_t i = 0; !has && i < operand->sets.count; i++) {
		const struct model_set *set = &model->sets.at[operand->sets.at[i]];

		has = changes(set) || has_ranges(&set->prefixes, family);
	}
	return has;
}

static bool family_left(const struct model *model, const struct model_rule *rule,
			enum reach_family family)
{
	if (rule->family == (family == REACH_IPV4 ? MODEL_FAMILY_IPV6 : MODEL_FAMILY_IPV4))
		return false;
	if (rule->keys & MODEL_KEY_FROM && !may_have_family(model, &rule->from, family))
		return false;
	return !(rule->keys & MODEL_KEY_TO) || may_have_family(model, &rule->to, family);
}

static void leave_out(uint64_t protos[static 4], unsigned int proto)
{
	protos[proto / 64] &= ~(1ull << proto % 64);
}

struct reach reach_of(const struct model *model, const struct model_rule *rule)
{
	/* ICMP of the other family is a number without a meaning: what names a protocol leaves it out. */
	static const unsigned int other_icmp[] = { IPPROTO_ICMPV6, IPPROTO_ICMP };
	struct reach reach = { .not_ip = !(rule->keys & ~MODEL_KEY_VLAN) };

	for (enum reach_family f = 0; f < REACH_FAMILY_COUNT; f++) {
		if (!family_left(model, rule, f))
			continue;
		for (size_t i = 0; i < 4; i++)
			reach.protos[f][i] = rule->keys & MODEL_KEY_PROTO ? rule->protos[i] : ~0ull;
		if (rule->keys & MODEL_KEY_PROTO)
			leave_out(reach.protos[f], other_icmp[f]);
	}
	return reach;
}

bool reach_has_family(const struct reach *reach, enum reach_family family)
{
	const uint64_t *p = reach->protos[family];

	return p[0] | p[1] | p[2] | p[3];
}

bool reach_covers(const struct reach *wide, const struct reach *narrow)
{
	uint64_t more = 0;

	for (enum reach_family f = 0; f < REACH_FAMILY_COUNT; f++) {
		for (size_t i = 0; i < 4; i++)
			more |= narrow->protos[f][i] & ~wide->protos[f][i];
	}
	return !more && (wide->not_ip || !narrow->not_ip);
}

/* ---- operands ---------------------------------------------------------------------------------- */

struct address_range address_range_all(enum reach_family family)
{
	return (struct address_range){ family, 0, family == REACH_IPV4 ? UINT32_MAX : ~(u128)0 };
}

static enum answer set_holds(const struct prefix_set *set, struct address_range range)
{
	enum addr_family family = addr_family(range.family);

	if (prefix_set_has(set, family, range.first, range.last))
		return ANSWER_YES;
	return prefix_set_meets(set, family, range.first, range.last) ? ANSWER_MAYBE : ANSWER_NO;
}

enum answer operand_holds(const struct model *model, const struct model_operand *operand,
			  struct address_range range)
{
	enum answer answer = set_holds(&operand->literals, range);

	for (size_t i = 0; i < operand->sets.count && answer != ANSWER_YES; i++) {
		const struct model_set *set = &model->sets.at[operand->sets.at[i]];
		enum answer part = set->refresh ? ANSWER_MAYBE : set_holds(&set->prefixes, range);

		if (set->runtime && part == ANSWER_NO)
			part = ANSWER_MAYBE;
		answer = part > answer ? part : answer;
	}
	return answer;
}

static struct address_range range_at(const struct prefix_set *set, enum reach_family family,
				     size_t i)
{
	if (family == REACH_IPV4)
		return (struct address_range){ family, set->v4.at[i].first, set->v4.at[i].last };
	return (struct address_range){ family, set->v6.at[i].first, set->v6.at[i].last };
}

static size_t range_count(const struct prefix_set *set, enum reach_family family)
{
	return family == REACH_IPV4 ? set->v4.count : set->v6.count;
}

static bool all_ranges(const struct model *model, const struct prefix_set *set,
		       enum reach_family family, enum answer want, const struct model_operand *of)
{
	for (size_t i = 0; i < range_count(set, family); i++) {
		if (operand_holds(model, of, range_at(set, family, i)) != want)
			return false;
	}
	return true;
}

static bool names_set(const struct model_operand *operand, uint32_t set)
{
	for (size_t i = 0; i < operand->sets.count; i++) {
		if (operand->sets.at[i] == set)
			return true;
	}
	return false;
}

bool operand_all(const struct model *model, const struct model_operand *operand,
		 enum reach_family family, enum answer want, const struct model_operand *of)
{
	if (operand_holds(model, of, address_range_all(family)) == want)
		return true;
	for (size_t i = 0; i < operand->sets.count; i++) {
		const struct model_set *set = &model->sets.at[operand->sets.at[i]];

		if (want == ANSWER_YES && names_set(of, operand->sets.at[i]))
			continue;
		if (changes(set) || range_count(&set->prefixes, family) > SET_RANGES_MAX ||
		    !all_ranges(model, &set->prefixes, family, want, of))
			return false;
	}
	return all_ranges(model, &operand->literals, family, want, of);
}

bool operand_changes(const struct model *model, const struct model_operand *operand)
{
	for (size_t i = 0; i < operand->sets.count; i++) {
		if (changes(&model->sets.at[operand->sets.at[i]]))
			return true;
	}
	return false;
}

/* Part 0 is what is written, the others are the sets; NULL for one that changes. */
static const struct prefix_set *part_at(const struct model *model,
					const struct model_operand *operand, size_t i)
{
	const struct model_set *set;

	if (!i)
		return &operand->literals;
	set = &model->sets.at[operand->sets.at[i - 1]];
	return changes(set) ? NULL : &set->prefixes;
}

size_t operand_ranges(const struct model *model, const struct model_operand *operand,
		      enum reach_family family, struct address_range *ret, size_t room)
{
	size_t count = 0;

	for (size_t i = 0; i <= operand->sets.count; i++) {
		const struct prefix_set *part = part_at(model, operand, i);
		size_t ranges = part ? range_count(part, family) : 0;

		for (size_t j = 0; j < ranges && count + j < room; j++)
			ret[count + j] = range_at(part, family, j);
		count += ranges;
	}
	return count;
}

struct address_range operand_hull(const struct model *model, const struct model_operand *operand,
				  enum reach_family family)
{
	struct address_range hull = { .family = family, .first = ~(u128)0 };

	for (size_t i = 0; i <= operand->sets.count; i++) {
		const struct prefix_set *part = part_at(model, operand, i);
		size_t ranges = part ? range_count(part, family) : 0;
		u128 first, last;

		if (!ranges)
			continue;
		first = range_at(part, family, 0).first;
		last = range_at(part, family, ranges - 1).last;
		hull.first = first < hull.first ? first : hull.first;
		hull.last = last > hull.last ? last : hull.last;
	}
	return hull;
}
