/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts made in maps of another layout. Packets add to per-CPU counters without a lock, so nobody else can add to
 * those without losing some: what was counted before stands in an array of its own beside them, and readers add both.
 */
#pragma once

#include "cleanup.h"
#include "loader.h"

/* One map of counters as another build left it. */
struct counters_from {
	const struct dp_layout *layout;
	int live;    /* per CPU; no packet counts there any more */
	int carried; /* what it had been given in the same way, or -1 */
};

/*
 * A map of what `from` holds and what l has of the same counters in its own array; *ret_fd is the caller's. Nothing
 * else is changed.
 */
int counters_carry(const struct loader *l, enum loader_counters which,
		   const struct counters_from *from, int *ret_fd) _must_check_;
