/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the rules of a chain stand. Up to DP_CHAIN_RULES rules all stand in vectors. Of more, those that only
 * vectors know and those that look at much of the space do, and all others are boxes in cut trees.
 */
#pragma once

#include "asks.h"
#include "cuts_forest.h"
#include "diag.h"

struct chain_plan {
	bool cuts;                    /* there are trees, and slot numbers are not rule numbers */
	struct slots slots;           /* owned */
	struct cut_forest forests[2]; /* by family: bit numbers of asks_families() */
};

/* Boxes of one chain, both families. */
#define CHAIN_BOXES_MAX (512u * 1024)

/*
 * 0 or -ENOMEM; -E2BIG when the chain does not fit, with errors in diags that name the table, the limit and
 * the need. The caller releases the plan in every case.
 */
int chain_plan_init(struct chain_plan *plan, const struct model *model,
		    const struct model_chain *chain, struct diag_list *diags) _must_check_;

void chain_plan_done(struct chain_plan *plan);
