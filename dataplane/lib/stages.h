/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The list of stages, the same at every hook. An early stage returns 0 to go on, a reason for which the
 * packet passes unjudged, or a negative reason for which it drops; settle() always decides.
 *
 * 1. select_chain  whose packet is it                      bank.h
 * 2. parse         what is it; the hook may ask to read again  parse.h, parse_ip.h, parse_l4.h
 * 3. ARP passes, later fragments follow their first        fragments.h
 * 4. classify      which rules match                       classify.h, trie.h, cuts.h, sets.h
 * 5. settle        which of them decides                   settle.h
 *    established   asked only when 5 cannot say without    established.h, socket.h, state.h, flow.h
 * 6. verdict       count, say, answer                      verdict.h, audit.h, count.h
 * 7. remember      what passed may make a flow             state.h, fragments.h
 * 8. account       who sent how much to whom               account.h
 */
#pragma once

#include "established.h"
#include "fragments.h"
#include "parse.h"
#include "settle.h"
#include "verdict.h"

#include "account.h"

/* Before 1. False when there is no key, which cannot be. */
static __always_inline bool pkt_init(struct pkt *pkt, __u32 hook)
{
	struct key *k = bpf_map_lookup_elem(&scratch, &hook);

	if (!k)
		return false;
	pkt->key = k;
#pragma clang loop unroll(full)
	for (int i = 0; i < DP_FRESH_WORDS; i++)
		k->fresh[i] = 0;
	k->rule = k->cut_rule = DP_EXPLAIN_NO_RULE;
	if (dry_run) {
		explain.audit_count = explain.dims = explain.boxes = explain.live = 0;
		/* What the parser does not come to is not what the last packet had. */
		k->family = PKT_NOT_IP;
		k->l3 = k->l4 = 0;
	}
	return true;
}

/* After 1 and 2: the reason when none of the rules is asked, 0 when they are. */
static __always_inline __u32 unjudged(const struct pkt *pkt, int result)
{
	if (pkt->unjudged)
		return DP_REASON_NO_CHAIN;
	if (result)
		return result < 0 ? -result : result;
	if (pkt->arp)
		return DP_REASON_ARP;
	if (unlikely(pkt->key->fragment == PKT_LATER))
		return fragment_follows(pkt->key) ? DP_REASON_FRAGMENT_FOLLOWS : DP_REASON_FRAGMENT;
	return 0;
}

/* 4 and 5, and once more 5 when the state had to be asked for first. */
static __always_inline __u32 judge(struct key *k, const struct reader *r)
{
	struct view v = {};
	__u32 reason;

	if (!view_of(k, &v))
		return DP_REASON_NO_BANK;
	classify(&v, k);
	reason = settle(&v, k);
	if (likely(reason != DP_UNSETTLED))
		return reason;
	k->live = established(k, r);
	if (dry_run)
		explain.live = k->live;
	return settle_late(k);
}

/* 7. A packet that is of a live flow has been seen by it already. */
static __always_inline void remember(struct pkt *pkt, enum dp_verdict v)
{
	struct key *k = pkt->key;

	if (unlikely(k->fragment == PKT_FIRST) && !pkt->unjudged)
		fragment_remember(k, v == DP_PASS);
	if (k->tracks && v == DP_PASS && k->live != LIVE_YES && k->fragment != PKT_LATER &&
	    !(k->local && k->proto == IPPROTO_TCP))
		flow_see(k, true);
}

/* 3 to 8. */
static __always_inline enum dp_verdict process(struct pkt *pkt, int result, const struct reader *r)
{
	enum dp_verdict v;
	__u32 reason;

	/* Which of the parser's reasons it is, is nothing the verifier should know. */
	result = forget(pkt->key, result);
	reason = unjudged(pkt, result);
	if (!reason)
		reason = judge(pkt->key, r);
	v = verdict(pkt, reason);
	if (!result && !pkt->arp)
		remember(pkt, v);
	account(pkt, result, v, reason);
	return v;
}
