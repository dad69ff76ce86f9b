/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The coarse clock. It only moves once a tick of the kernel, so it is asked once a tick on each CPU: reading
 * the tick's number is a load that the kernel puts in line, reading the clock is a call.
 */
#pragma once

#include "maps.h"

static __always_inline __u64 now_ns(struct key *k)
{
	__u64 jiffies = bpf_jiffies64();

	if (unlikely(jiffies != k->clock_jiffies)) {
		k->clock_jiffies = jiffies;
		k->clock_ns = bpf_ktime_get_coarse_ns();
	}
	return k->clock_ns;
}

static __always_inline __u32 now_tick(struct key *k)
{
	return now_ns(k) >> DP_TICK_SHIFT;
}
