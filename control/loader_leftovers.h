/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps that a migration came from, maps-N in the pin directory: carried over before the programs on the devices
 * change, and once more after the last packet has left the old ones; then they go.
 */
#pragma once

#include <stdbool.h>

#include "flows_carry.h"
#include "loader.h"

struct leftovers_result {
	struct flows_carried flows[FLOWS_TABLE_COUNT];
	uint32_t dropped; /* pins of maps that this build does not know */
};

/* There are some: this start migrates, or goes on with a migration that was cut short. */
bool leftovers_any(const struct loader *l);

/* -EPROTO, with a sentence that names the map, when this build cannot carry over all of them: before it adds to them. */
int leftovers_check(const struct loader *l, char **ret_why) _must_check_;

/* Flows and fragments; may be repeated. */
int leftovers_carry(const struct loader *l, struct leftovers_result *ret,
		    char **ret_why) _must_check_;

/* The same for the last time, and counters: no program uses them any more. Removes them. */
int leftovers_finish(struct loader *l, struct leftovers_result *ret, char **ret_why) _must_check_;
