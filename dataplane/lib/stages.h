/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The list of stages, the same at every hook. An early stage returns 0 to go on, a reason for which the
 * packet passes unjudged, or a negative reason for which it drops; classify() always decides.
 *
 * 1. select_chain  whose packet is it                      bank.h
 * 2. parse         what is it; the hook may ask to read again  parse.h, parse_ip.h, parse_l4.h
 * 3. ARP passes
 * 4. classify      which rule decides                      classify.h, trie.h
 * 5. verdict       count, say, answer                      verdict.h, audit.h, count.h
 */
#pragma once

#include "classify.h"
#include "parse.h"
#include "verdict.h"

/* Before 1. False when there is no key, which cannot be. */
static __always_inline bool pkt_init(struct pkt *pkt, __u32 hook)
{
	struct key *k = bpf_map_lookup_elem(&scratch, &hook);

	if (!k)
		return false;
	pkt->key = k;
	k->sport = k->dport = k->icmp = 0;
	k->proto = k->flags = k->nd = k->has_ports = k->has_icmp = 0;
	k->rule = DP_EXPLAIN_NO_RULE;
	k->rule_counter = k->has_audits = 0;
	if (dry_run)
		explain.audit_count = explain.dims = 0;
	return true;
}

/* After 1 and 2, with their result. */
static __always_inline enum dp_verdict judge(struct pkt *pkt, int result)
{
	if (result)
		return verdict(pkt, result < 0 ? -result : result);
	if (pkt->arp)
		return verdict(pkt, DP_REASON_ARP);
	return verdict(pkt, classify(pkt->key));
}
