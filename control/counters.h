/* SPDX-License-Identifier: Apache-2.0 */
/* Per-CPU counters, summed over possible CPUs: the only module that reads per-CPU values. */
#pragma once

#include "loader.h"

/*
 * slots: how many of the DP_RULE_SLOTS to read, from 0. ret has room for them. The first time is that of the
 * CPU that was first, the last that of the last one.
 */
int counters_rules(const struct loader *l, uint32_t slots, struct dp_rule_count *ret) _must_check_;
int counters_chain(const struct loader *l, uint32_t slot,
		   struct dp_chain_counters *ret) _must_check_;
int counters_state(const struct loader *l, struct dp_state_counters *ret) _must_check_;

/*
 * Zeroes a slot before a new owner gets it. The kernel writes a whole block of rule slots at once:
 * packets that the other 63 count during these microseconds are lost to the counters, which is why a slot
 * that is zero already is only read, and why slots are reused last.
 */
int counters_clear_rule(const struct loader *l, uint32_t slot) _must_check_;
int counters_clear_chain(const struct loader *l, uint32_t slot) _must_check_;
