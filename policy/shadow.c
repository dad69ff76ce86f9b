/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules that can never match because one earlier rule takes all their packets. What is reported is certain;
 * what several earlier rules cover together is not found. Each rule is compared with the first
 * SHADOW_CANDIDATES enforcing rules before it, so the time grows with the rules, not with their square.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"

#define SHADOW_CANDIDATES 1024
#define SHADOW_SET_RANGES 4096 /* a larger set is compared by name alone */

/* Every key that `wide` restricts, `narrow` must restrict at least as much. */

static bool any_has(const struct model *model, const struct model_operand *wide,
		    enum addr_family family, u128 first, u128 last)
{
	bool found = prefix_set_has(&wide->literals, family, first, last);

	for (size_t i = 0; !found && i < wide->sets.count; i++)
		found = prefix_set_has(&model->sets.at[wide->sets.at[i]].prefixes, family, first,
				       last);
	return found;
}

static bool covers_prefixes(const struct model *model, const struct model_operand *wide,
			    const struct prefix_set *narrow)
{
	for (size_t i = 0; i < narrow->v4.count; i++) {
		const struct range4 *r = &narrow->v4.at[i];

		if (!any_has(model, wide, ADDR_IPV4, r->first, r->last))
			return false;
	}
	for (size_t i = 0; i < narrow->v6.count; i++) {
		const struct range6 *r = &narrow->v6.at[i];

		if (!any_has(model, wide, ADDR_IPV6, r->first, r->last))
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

static bool covers_operand(const struct model *model, const struct model_operand *wide,
			   const struct model_operand *narrow)
{
	for (size_t i = 0; i < narrow->sets.count; i++) {
		const struct prefix_set *set = &model->sets.at[narrow->sets.at[i]].prefixes;

		if (names_set(wide, narrow->sets.at[i]))
			continue;
		/* An empty set is filled one day; large ones are not worth the time. */
		if (set->v4.count + set->v6.count == 0 ||
		    set->v4.count + set->v6.count > SHADOW_SET_RANGES ||
		    !covers_prefixes(model, wide, set))
			return false;
	}
	return covers_prefixes(model, wide, &narrow->literals);
}

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

static bool covers_protos(const struct model_rule *wide, const struct model_rule *narrow)
{
	for (size_t i = 0; i < sizeof(wide->protos) / sizeof(wide->protos[0]); i++) {
		if (narrow->protos[i] & ~wide->protos[i])
			return false;
	}
	return true;
}

#define COVERS_RANGES(wide, narrow) \
	covers_ranges((wide).at, (wide).count, (narrow).at, (narrow).count)

static bool covers(const struct model *model, const struct model_rule *wide,
		   const struct model_rule *narrow)
{
	uint32_t keys = wide->keys;

	if (keys & ~narrow->keys)
		return false;
	if ((keys & MODEL_KEY_FAMILY) && wide->family != narrow->family)
		return false;
	if ((keys & MODEL_KEY_PROTO) && !covers_protos(wide, narrow))
		return false;
	if ((keys & MODEL_KEY_SPORT) && !COVERS_RANGES(wide->sport, narrow->sport))
		return false;
	if ((keys & MODEL_KEY_DPORT) && !COVERS_RANGES(wide->dport, narrow->dport))
		return false;
	if ((keys & MODEL_KEY_TYPE) && !COVERS_RANGES(wide->type, narrow->type))
		return false;
	if ((keys & MODEL_KEY_CODE) && !COVERS_RANGES(wide->code, narrow->code))
		return false;
	if ((keys & MODEL_KEY_FLAGS) && !covers_flags(wide, narrow))
		return false;
	if ((keys & MODEL_KEY_VLAN) && !covers_vlans(wide, narrow))
		return false;
	if ((keys & MODEL_KEY_FROM) && !covers_operand(model, &wide->from, &narrow->from))
		return false;
	if ((keys & MODEL_KEY_TO) && !covers_operand(model, &wide->to, &narrow->to))
		return false;
	/* "Not these" covers "not those" when those hold these. */
	if ((keys & MODEL_KEY_NOT_FROM) &&
	    !covers_operand(model, &narrow->not_from, &wide->not_from))
		return false;
	return !(keys & MODEL_KEY_NOT_TO) || covers_operand(model, &narrow->not_to, &wide->not_to);
}

static void report(struct diag_list *diags, const struct model *model,
		   const struct model_rule *wide, const struct model_rule *narrow)
{
	bool same = covers(model, narrow, wide);

	if (same && wide->verdict != narrow->verdict)
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

static void check_chain(struct diag_list *diags, const struct model *model,
			const struct model_chain *chain)
{
	const struct model_rule *candidates[SHADOW_CANDIDATES];
	size_t count = 0;

	for (size_t i = 0; i < chain->rules.count; i++) {
		const struct model_rule *rule = &chain->rules.at[i];
		bool shadowed = false;

		for (size_t j = 0; j < count && !shadowed && !rule->never_drop; j++) {
			shadowed = covers(model, candidates[j], rule);
			if (shadowed)
				report(diags, model, candidates[j], rule);
		}
		if (!rule->audit && !shadowed && count < SHADOW_CANDIDATES)
			candidates[count++] = rule;
	}
}

void check_shadowed(struct diag_list *diags, const struct model *model)
{
	for (size_t i = 0; i < model->chains.count; i++)
		check_chain(diags, model, &model->chains.at[i]);
}
