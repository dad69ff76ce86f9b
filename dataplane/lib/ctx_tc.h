/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * TC: from struct __sk_buff to struct pkt, from a verdict to an action. A buffer may stand for many
 * segments, its outer tag may be in metadata, and its headers may lie outside the linear part.
 */
#pragma once

#include <linux/pkt_cls.h>

#include "stages.h"

#define DP_TAG_BYTES 4

/*
 * Whether there are segments and a tag is forgotten, or all behind the parser is followed once for each
 * combination (kernel 6.1, clang 14: four times the instructions).
 */
static __always_inline void pkt_from_skb(struct pkt *pkt, struct __sk_buff *skb)
{
	pkt->data = (void *)(long)skb->data;
	pkt->end = (void *)(long)skb->data_end;
	pkt->ifindex = skb->ifindex;
	pkt->key->type = (dp_force __be16)skb->protocol;
	pkt->len = pkt->key->len = skb->len;
	pkt->packets = forget(pkt->key, skb->gso_segs > 1 ? skb->gso_segs : 1);
	pkt->segment = skb->gso_size;
	pkt->stripped = forget(pkt->key, skb->vlan_present ? DP_TAG_BYTES : 0);
	pkt->key->vlan = skb->vlan_present ? skb->vlan_tci & 0xfff : DP_VLAN_NONE;
}

/*
 * Parses; when headers lie outside the linear part, has them pulled in and parses once more. The loop
 * keeps one copy of the parser.
 */
static __always_inline int parse_skb(struct pkt *pkt, struct __sk_buff *skb)
{
	const __u32 most = DP_PARSE_BYTES + DP_HEADER_MAX;
	int r = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 2; i++) {
		r = parse(pkt);
		if (likely(r != -DP_REASON_NOT_LINEAR))
			return r;
		if (bpf_skb_pull_data(skb, skb->len < most ? skb->len : most))
			return r;
		pkt_from_skb(pkt, skb);
	}
	return r;
}

static __always_inline long tc_load(void *ctx, __u32 off, void *to, __u32 bytes)
{
	return bpf_skb_load_bytes(ctx, off, to, bytes);
}

static __always_inline void tc_linear(void *ctx, void **ret_data, void **ret_end)
{
	struct __sk_buff *skb = ctx;

	asm volatile("" ::: "memory"); /* not what was read before */
	*ret_data = (void *)(long)skb->data;
	*ret_end = (void *)(long)skb->data_end;
}

static __always_inline int tc_judge(struct __sk_buff *skb, enum dp_hook hook, enum dp_dir dir)
{
	const struct reader reader = { .ctx = skb, .load = tc_load, .linear = tc_linear };
	struct pkt pkt = {};
	int r;

	if (!pkt_init(&pkt, hook))
		return TC_ACT_SHOT;
	if (hook == DP_HOOK_TC_EGRESS && skb->sk)
		pkt.key->local = 1;
	pkt_from_skb(&pkt, skb);
	r = select_chain(&pkt, dir);
	if (!r)
		r = parse_skb(&pkt, skb);
	/* Pass on to whoever comes next: another program, another filter, the stack. */
	return process(&pkt, r, &reader) == DP_PASS ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}
