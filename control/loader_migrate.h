/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loader over maps of another layout. Map by map it goes on with what lies the same, and makes new ones for
 * the rest, in a directory of pins beside the one that is there; to exchange the two is one step. What was there
 * then stays, as maps-N, until all that it holds is carried over (loader_leftovers.h):
 *
 *   maps-next  without a number: being prepared; a start that finds it removes it
 *   maps       what is in force, or is about to be
 *   maps-N     what was, with the programs on devices that still run over it
 */
#pragma once

#include "layouts.h"
#include "loader_table.h"

struct dp_meta;

struct migration {
	enum layouts_fate fate[LOADER_MAPS];
	bool needed; /* some map does not lie the same */
};

/* What an interrupted migration left of itself is removed, or gets its number. */
int migration_tidy(const char *pin_dir) _must_check_;

/*
 * What becomes of each map that is pinned. -ENODATA: half of them is missing. -EPROTO, with a sentence that
 * names map and reason: there is no way to go on.
 */
int migration_judge(const struct loader *l, const struct penstock *skel, const struct dp_meta *meta,
		    struct migration *ret, char **ret_why) _must_check_;

/* Loads the programs with new maps in the place of those that lie otherwise. Nothing in force is changed. */
int migration_prepare(struct loader *l, struct penstock *skel, const struct migration *m,
		      char **ret_why) _must_check_;
