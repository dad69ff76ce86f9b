/* SPDX-License-Identifier: Apache-2.0 */
/* See sample.h. */
#include "sample.h"

static enum answer both(enum answer a, enum answer b)
{
	return a < b ? a : b;
}

static enum answer not(enum answer a) {
	return a == ANSWER_MAYBE ? a : a == ANSWER_YES ? ANSWER_NO : ANSWER_YES;
}

static enum answer holds(const struct model *model, const struct model_operand *operand,
			 enum reach_family family, struct sample_side side)
{
	struct address_range range = address_range_all(family);
	enum answer answer;

	if (side.peer == SAMPLE_ADDRESS)
		range.first = range.last = side.address;
	answer = operand_holds(model, operand, range);
	/* Nobody lists a stranger; only a list of all addresses holds it. */
	return side.peer == SAMPLE_STRANGER && answer != ANSWER_YES ? ANSWER_NO : answer;
}

enum answer sample_from(const struct model *model, const struct model_rule *rule,
			enum reach_family family, struct sample_side side)
{
	enum answer answer = ANSWER_YES;

	if (rule->keys & MODEL_KEY_FROM)
		answer = holds(model, &rule->from, family, side);
	if (rule->keys & MODEL_KEY_NOT_FROM)
		answer = both(answer, not(holds(model, &rule->not_from, family, side)));
	return answer;
}

enum answer sample_to(const struct model *model, const struct model_rule *rule,
		      enum reach_family family, struct sample_side side)
{
	enum answer answer = ANSWER_YES;

	if (rule->keys & MODEL_KEY_TO)
		answer = holds(model, &rule->to, family, side);
	if (rule->keys & MODEL_KEY_NOT_TO)
		answer = both(answer, not(holds(model, &rule->not_to, family, side)));
	return answer;
}

static bool in_ranges(const struct model_range *ranges, size_t count, unsigned int value)
{
	for (size_t i = 0; i < count; i++) {
		if (value >= ranges[i].first && value <= ranges[i].last)
			return true;
	}
	return false;
}

#define IN(rule, key, field, value) \
	(!((rule)->keys & (key)) || in_ranges((rule)->field.at, (rule)->field.count, (value)))

enum answer sample_matches(const struct model *model, const struct model_rule *rule,
			   const struct sample *s)
{
	unsigned int word = s->proto / 64, bit = s->proto % 64;
	enum answer answer = ANSWER_YES;
	struct reach reach;

	if ((rule->keys & MODEL_KEY_PROTO) && !(rule->protos[word] >> bit & 1))
		return ANSWER_NO;
	if (!IN(rule, MODEL_KEY_SPORT, sport, s->sport) ||
	    !IN(rule, MODEL_KEY_DPORT, dport, s->dport) ||
	    !IN(rule, MODEL_KEY_TYPE, type, s->type) || !IN(rule, MODEL_KEY_CODE, code, s->code))
		return ANSWER_NO;
	reach = reach_of(model, rule);
	if (!(reach.protos[s->family][word] >> bit & 1))
		return ANSWER_NO;
	if (rule->keys & (MODEL_KEY_VLAN | MODEL_KEY_STATE))
		answer = ANSWER_MAYBE;
	answer = both(answer, sample_from(model, rule, s->family, s->from));
	return both(answer, sample_to(model, rule, s->family, s->to));
}
