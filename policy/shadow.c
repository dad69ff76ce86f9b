/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules that can never match: what they exclude leaves nothing, or one earlier rule takes all their
 * packets. What is reported is certain; what several earlier rules cover only together is not found.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "reach.h"
#include "shadow_index.h"

struct shadow {
	const struct model *model;
	const struct model_chain *chain;
	struct reach *reaches; /* by rule */
};

/* ---- one rule around another: every key that `wide` restricts, `narrow` restricts as much -------- */

static bool covers_ranges(const struct model_range *wide, size_t wide_count,
			  const struct model_range *narrow, size_t narrow_count)
{
	size_t w = 0;

	for (size_t n = 0; n < narrow_count; n++) {
		while (w < wide_count && wide[w].last < narrow[n].first)
			w++;
		if (w == wide_count || wide[w].first > narrow[n].first ||
		    wide[w].last < narrow[n].last)
			return false;
	}
	return true;
}

static bool covers_vlans(const struct model_rule *wide, const struct model_rule *narrow)
{
	for (size_t n = 0; n < narrow->vlan.count; n++) {
		bool found = false;

		for (size_t w = 0; w < wide->vlan.count && !found; w++)
			found = wide->vlan.at[w] == narrow->vlan.at[n];
		if (!found)
			return false;
	}
	return true;
}

static bool covers_flags(const struct model_rule *wide, const struct model_rule *narrow)
{
	if ((wide->flags_all & ~narrow->flags_all) || (wide->flags_none & ~narrow->flags_none))
		return false;
	return !wide->flags_any || (narrow->flags_all & wide->flags_any) ||
	       (narrow->flags_any && !(narrow->flags_any & ~wide->flags_any));
}

/* A key that is not written leaves all 16 bits, or all 8 of ICMP. */
#define COVERS_RANGES(wide, narrow, key, field, end)                                         \
	(!((wide)->keys & (key)) ||                                                          \
	 ((narrow)->keys & (key)                                                             \
		  ? covers_ranges((wide)->field.at, (wide)->field.count, (narrow)->field.at, \
				  (narrow)->field.count)                                     \
		  : (wide)->field.at[0].first == 0 && (wide)->field.at[0].last == (end)))

static bool covers_values(const struct model_rule *wide, const struct model_rule *narrow)
{
	uint32_t must = wide->keys & (MODEL_KEY_VLAN | MODEL_KEY_STATE);

	if (must & ~narrow->keys)
		return false;
	if (!COVERS_RANGES(wide, narrow, MODEL_KEY_SPORT, sport, UINT16_MAX) ||
	    !COVERS_RANGES(wide, narrow, MODEL_KEY_DPORT, dport, UINT16_MAX) ||
	    !COVERS_RANGES(wide, narrow, MODEL_KEY_TYPE, type, UINT8_MAX) ||
	    !COVERS_RANGES(wide, narrow, MODEL_KEY_CODE, code, UINT8_MAX))
		return false;
	if ((wide->keys & MODEL_KEY_FLAGS) && !covers_flags(wide, narrow))
		return false;
	return !(wide->keys & MODEL_KEY_VLAN) || covers_vlans(wide, narrow);
}

/* The addresses of one side of a packet that a rule asks for. NULL: not written. */
struct side {
	const struct model_operand *in, *out;
};

static struct side source_of(const struct model_rule *rule)
{
	return (struct side){ rule->keys & MODEL_KEY_FROM ? &rule->from : NULL,
			      rule->keys & MODEL_KEY_NOT_FROM ? &rule->not_from : NULL };
}

static struct side destination_of(const struct model_rule *rule)
{
	return (struct side){ rule->keys & MODEL_KEY_TO ? &rule->to : NULL,
			      rule->keys & MODEL_KEY_NOT_TO ? &rule->not_to : NULL };
}

static bool covers_side(const struct model *model, enum reach_family family, struct side wide,
			struct side narrow)
{
	struct address_range all = address_range_all(family);

	if (wide.in && (narrow.in ? !operand_all(model, narrow.in, family, ANSWER_YES, wide.in)
				  : operand_holds(model, wide.in, all) != ANSWER_YES))
		return false;
	if (!wide.out)
		return true;
	/* "Not these" covers "not those" when those hold these, and what these hold nothing of. */
	return (narrow.out && operand_all(model, wide.out, family, ANSWER_YES, narrow.out)) ||
	       (narrow.in && operand_all(model, narrow.in, family, ANSWER_NO, wide.out));
}

static bool covers(void *ctx, uint32_t wide_at, uint32_t narrow_at)
{
	const struct shadow *s = ctx;
	const struct model_rule *wide = &s->chain->rules.at[wide_at];
	const struct model_rule *narrow = &s->chain->rules.at[narrow_at];
	const struct reach *reach = &s->reaches[narrow_at];

	if (!covers_values(wide, narrow) || !reach_covers(&s->reaches[wide_at], reach))
		return false;
	for (enum reach_family f = 0; f < REACH_FAMILY_COUNT; f++) {
		if (reach_has_family(reach, f) &&
		    (!covers_side(s->model, f, source_of(wide), source_of(narrow)) ||
		     !covers_side(s->model, f, destination_of(wide), destination_of(narrow))))
			return false;
	}
	return true;
}

static void report(struct diag_list *diags, struct shadow *s, uint32_t wide_at, uint32_t narrow_at)
{
	const struct model_rule *wide = &s->chain->rules.at[wide_at];
	const struct model_rule *narrow = &s->chain->rules.at[narrow_at];
	bool same = covers(s, narrow_at, wide_at);

	if (wide->verdict == narrow->verdict)
		diag_warning(diags, narrow->id_span, "shadowed",
			     "rule '%s' is redundant: it can never match", narrow->id);
	else if (same)
		diag_warning(
			diags, narrow->id_span, "shadowed",
			"rule '%s' can never match: '%s' has the same match, comes first and decides '%s'",
			narrow->id, wide->id, wide->verdict == DP_PASS ? "pass" : "drop");
	else
		diag_warning(diags, narrow->id_span, "shadowed", "rule '%s' can never match",
			     narrow->id);
	if (!wide->keys)
		diag_note(diags, wide->id_span, "'%s' comes first and matches everything",
			  wide->id);
	else if (same)
		diag_note(diags, wide->id_span, "'%s' comes first and has the same match",
			  wide->id);
	else
		diag_note(diags, wide->id_span, "'%s' comes first and covers it", wide->id);
}

/* ---- one rule by itself -------------------------------------------------------------------------- */

static bool excludes_all(const struct model *model, enum reach_family family, struct side side)
{
	if (!side.out)
		return false;
	if (side.in)
		return operand_all(model, side.in, family, ANSWER_YES, side.out);
	return operand_holds(model, side.out, address_range_all(family)) == ANSWER_YES;
}

/* The side whose exclusions leave nothing of any family; `out` is NULL when there is none such. */
static struct side excluded(const struct model *model, const struct model_rule *rule,
			    const struct reach *reach)
{
	const struct side source = source_of(rule), destination = destination_of(rule);
	struct side found = {};

	for (enum reach_family f = 0; f < REACH_FAMILY_COUNT; f++) {
		if (!reach_has_family(reach, f))
			continue;
		if (excludes_all(model, f, source))
			found = source;
		else if (excludes_all(model, f, destination))
			found = destination;
		else
			return (struct side){};
	}
	return found;
}

/* True when the rule can match something as far as it alone tells. */
static bool check_alone(struct diag_list *diags, const struct model *model,
			const struct model_rule *rule, const struct reach *reach)
{
	struct side side = excluded(model, rule, reach);
	bool source = side.out == &rule->not_from;

	/* Without a family there is nothing to match either, which check_match() has said. */
	if (!side.out)
		return reach->not_ip || reach_has_family(reach, REACH_IPV4) ||
		       reach_has_family(reach, REACH_IPV6);
	if (rule->never_drop) /* it stands in many chains */
		return true;
	diag_warning(diags, side.out->span, "never-matches",
		     "rule '%s' can never match: '%s' leaves no address", rule->id,
		     source ? "not-from" : "not-to");
	if (side.in)
		diag_note(diags, side.in->span, "of what '%s' names", source ? "from" : "to");
	return false;
}

/* ---- a chain ------------------------------------------------------------------------------------- */

static int check_chain(struct diag_list *diags, struct shadow *s, struct shadow_index *index)
{
	const struct model_chain *chain = s->chain;
	int r = shadow_index_init(index, s->model, chain, s->reaches);

	for (uint32_t i = 0; i < chain->rules.count && !r; i++) {
		const struct model_rule *rule = &chain->rules.at[i];
		uint32_t wide = SHADOW_NONE;

		if (!check_alone(diags, s->model, rule, &s->reaches[i]))
			continue;
		if (!rule->never_drop)
			wide = shadow_index_find(index, i, s, covers);
		if (wide != SHADOW_NONE)
			report(diags, s, wide, i);
		else if (!rule->audit)
			r = shadow_index_add(index, i);
	}
	return r;
}

int check_shadowed(struct diag_list *diags, const struct model *model)
{
	int r = 0;

	for (size_t i = 0; i < model->chains.count && !r; i++) {
		const struct model_chain *chain = &model->chains.at[i];
		_cleanup_(shadow_index_done) struct shadow_index index = {};
		_cleanup_free_ struct reach *reaches =
			calloc(chain->rules.count + 1, sizeof(*reaches));
		struct shadow s = { .model = model, .chain = chain, .reaches = reaches };

		if (!reaches)
			return -ENOMEM;
		for (size_t j = 0; j < chain->rules.count; j++)
			reaches[j] = reach_of(model, &chain->rules.at[j]);
		r = check_chain(diags, &s, &index);
	}
	return r;
}
