/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a model. Everything but prefix sets lies in its arena. */
#include "model.h"

#include <stdlib.h>

#include "check.h"

void model_rule_done(struct model_rule *rule)
{
	prefix_set_done(&rule->from.literals);
	prefix_set_done(&rule->to.literals);
	prefix_set_done(&rule->not_from.literals);
	prefix_set_done(&rule->not_to.literals);
}

void model_free(struct model **model)
{
	struct model *m = *model;

	if (!m)
		return;
	for (size_t i = 0; i < m->sets.count; i++)
		prefix_set_done(&m->sets.at[i].prefixes);
	for (size_t i = 0; i < m->chains.count; i++) {
		for (size_t j = 0; j < m->chains.at[i].rules.count; j++)
			model_rule_done(&m->chains.at[i].rules.at[j]);
	}
	arena_done(&m->arena);
	free(m);
	*model = NULL;
}
