/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Rules in audit mode: counted when the packet would have met them, in order, at most DP_AUDIT_MAX for
 * one packet; the rest adds to the chain's audit_truncated. They never change a verdict.
 */
#pragma once

#include "count.h"
#include "settle.h"

static __always_inline __u32 bit_count(__u64 bits)
{
	bits -= bits >> 1 & 0x5555555555555555ull;
	bits = (bits & 0x3333333333333333ull) + (bits >> 2 & 0x3333333333333333ull);
	bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0full;
	return bits * 0x0101010101010101ull >> 56;
}

/*
 * Counts the rules, and returns how many were too many. Every turn takes the lowest hit of a word or goes
 * on to the next. A global function for the sake of the verifier, see decision 0003.
 */
__noinline int count_audit(struct key *k, __u64 packets, __u64 bytes)
{
	__u32 w = 0, counted = 0, truncated = 0;
	struct view v = {};

	if (!k || !view_of(k, &v))
		return 0;
	for (int turn = 0; turn < DP_AUDIT_MAX + DP_VECTOR_WORDS; turn++) {
		const struct dp_rule *record;
		__u32 rule;
		__u64 hits;

		w = forget(k, w);
		counted = forget(k, counted);
		truncated = forget(k, truncated);
		if (w >= DP_VECTOR_WORDS)
			break;
		hits = k->audit_hits[w];
		if (!hits || counted >= DP_AUDIT_MAX) {
			truncated += bit_count(hits);
			w++;
			continue;
		}
		k->audit_hits[w] = hits & (hits - 1);
		rule = forget(k, slot_rule(&v, w * 64 + first_bit(hits)));
		record = rule_record(&v, rule);
		if (dry_run)
			explain.audit[counted % DP_AUDIT_MAX] = rule;
		else if (record)
			add_rule(k, record->counter, packets, bytes);
		counted++;
	}
	if (dry_run)
		explain.audit_count = counted;
	return truncated;
}

static __always_inline void audit(struct pkt *pkt)
{
	__u32 truncated;

	if (likely(!pkt->key->has_audits))
		return;
	truncated = count_audit(pkt->key, pkt->packets, wire_bytes(pkt));
	if (truncated)
		count_audit_truncated(pkt, truncated);
}
