/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Per-CPU counters. A program runs to its end on one CPU and is not entered again by a packet of the same
 * hook there; on a kernel where an ingress program is interrupted by another, the loss is one count. A
 * counter that cannot be found never changes a verdict.
 */
#pragma once

#include "clock.h"

/* Bytes on the wire: each segment repeats the headers, and a tag in metadata is sent with each. */
static __always_inline __u64 wire_bytes(const struct pkt *pkt)
{
	__s32 repeated = pkt->key->headers + pkt->stripped;

	return pkt->key->len + pkt->stripped + (__s64)(pkt->packets - 1) * repeated;
}

static __always_inline void add(struct dp_count *count, __u64 packets, __u64 bytes)
{
	count->packets += packets;
	count->bytes += bytes;
}

static __always_inline void add_rule(struct key *k, __u32 slot, __u64 packets, __u64 bytes)
{
	__u32 block = slot / DP_RULE_BLOCK;
	struct dp_rule_block *counts;
	struct dp_rule_count *count;

	if (dry_run || !slot)
		return;
	counts = bpf_map_lookup_elem(&rule_counters, &block);
	if (!counts)
		return;
	count = &counts->count[slot % DP_RULE_BLOCK];
	count->packets += packets;
	count->bytes += bytes;
	count->last_ns = now_ns(k);
	if (unlikely(!count->first_ns))
		count->first_ns = count->last_ns;
}

static __always_inline void count_chain(const struct pkt *pkt, enum dp_reason reason)
{
	__u32 slot = pkt->chain_counter;
	struct dp_chain_counters *counts;
	__u64 i = reason;

	if (dry_run)
		return;
	counts = bpf_map_lookup_elem(&chain_counters, &slot);
	if (!counts)
		return;
	add(&counts->received, pkt->packets, wire_bytes(pkt));
	/* One copy to check and to index with: clang 14 else spills it, and kernel 6.1 loses the bound there. */
	asm volatile("" : "+r"(i));
	if (i < DP_REASON_MAX)
		add(&counts->reason[i], pkt->packets, wire_bytes(pkt));
}

static __always_inline void count_state(enum dp_state_counter counter)
{
	struct dp_state_counters *counts;
	__u32 zero = 0;

	if (dry_run)
		return;
	counts = bpf_map_lookup_elem(&state_counters, &zero);
	if (counts)
		counts->count[counter]++;
}

static __always_inline void count_audit_truncated(const struct pkt *pkt, __u32 matches)
{
	__u32 slot = pkt->chain_counter;
	struct dp_chain_counters *counts;

	if (dry_run)
		return;
	counts = bpf_map_lookup_elem(&chain_counters, &slot);
	if (counts)
		counts->audit_truncated.packets += matches;
}
