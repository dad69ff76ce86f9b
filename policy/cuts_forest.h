/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cut trees of a chain and family. Boxes that are narrow in the source and those that are narrow in the
 * destination do not stand in one tree: a cut by either repeats all of the other kind. After CutSplit (Li et
 * al. 2018).
 */
#pragma once

#include "cuts.h"

/* In the order of struct dp_chain. */
enum cut_by {
	CUT_BY_SOURCE,
	CUT_BY_DESTINATION,
	CUT_BY_PORTS,
};

struct cut_forest {
	struct box_vec boxes[DP_CUT_TREES]; /* of each tree */
	struct cut_tree trees[DP_CUT_TREES];
	size_t overfull; /* as in struct cut_tree */
};

/*
 * Builds the trees of all boxes of a family, which stand in the order of rules; spilled and what is returned
 * are as for cut_tree_build(). The caller releases the forest in every case.
 */
int cut_forest_build(struct cut_forest *forest, const struct box_vec *boxes, unsigned int family,
		     struct spilled *spilled) _must_check_;

/* The box is narrow in no address. */
bool cut_forest_is_wide(const struct box *box, unsigned int family);

void cut_forest_done(struct cut_forest *forest);
