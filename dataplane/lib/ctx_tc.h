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

/*
 * Whether a TCP socket of this network namespace has the ends of the one that sends. All is read before the families
 * part: clang 14 else makes one load of two ("pointer arithmetic on sock_common prohibited").
 */
static __always_inline bool is_known(struct __sk_buff *skb, const volatile struct bpf_sock *from)
{
	__u32 src4 = from->src_ip4, dst4 = from->dst_ip4, src6[4], dst6[4];
	__be16 sport = be16(from->src_port), dport = from->dst_port;
	bool ipv4 = from->family == DP_AF_INET, known;
	struct bpf_sock_tuple t = {};
	struct bpf_sock *sk;

#pragma clang loop unroll(full)
	for (int i = 0; i < 4; i++) {
		src6[i] = from->src_ip6[i];
		dst6[i] = from->dst_ip6[i];
	}
	/* Of a socket of both families IPv4 is looked for as such. */
	if (ipv4 || (!(src6[0] | src6[1]) && src6[2] == bpf_htonl(0xffff))) {
		__builtin_memcpy(&t.ipv4.saddr, &dst4, sizeof(dst4));
		__builtin_memcpy(&t.ipv4.daddr, &src4, sizeof(src4));
		t.ipv4.sport = dport;
		t.ipv4.dport = sport;
		sk = bpf_skc_lookup_tcp(skb, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
	} else {
		__builtin_memcpy(t.ipv6.saddr, dst6, sizeof(dst6));
		__builtin_memcpy(t.ipv6.daddr, src6, sizeof(src6));
		t.ipv6.sport = dport;
		t.ipv6.dport = sport;
		sk = bpf_skc_lookup_tcp(skb, &t, sizeof(t.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	if (!sk)
		return false;
	known = sk->state != BPF_TCP_LISTEN; /* a guest may use the port, too */
	bpf_sk_release(sk);
	return known;
}

/*
 * At egress: whether TCP is from a socket of this machine. That the buffer has one is not enough: it may be a raw
 * one, which says that it is closed, or a guest's, of another namespace behind a macvlan device. So the kernel's
 * table is asked when a connection begins, and always once there was a guest, or while older connections may be
 * taken over. Without a socket, and never received, is the SYN-ACK of a cookie.
 */
__noinline int is_own(struct __sk_buff *skb)
{
	__u32 hook = DP_HOOK_TC_EGRESS, zero = 0;
	struct key *k = bpf_map_lookup_elem(&scratch, &hook);
	struct dp_ctl *c = bpf_map_lookup_elem(&ctl, &zero);
	struct bpf_sock *from = skb->sk;
	bool begins;

	if (!k || !c)
		return 0;
	if (!from)
		return !skb->ingress_ifindex && !c->has_guests;
	if (from->state == BPF_TCP_CLOSE)
		return 0;
	begins = from->state == BPF_TCP_SYN_SENT || from->state == BPF_TCP_NEW_SYN_RECV;
	if (!begins && !c->has_guests && now_tick(k) >= *(const volatile __u32 *)&c->adopt_until)
		return 1;
	if (is_known(skb, from))
		return 1;
	if (begins && !c->has_guests && !dry_run)
		c->has_guests = 1;
	return 0;
}

static __always_inline int tc_judge(struct __sk_buff *skb, enum dp_hook hook, enum dp_dir dir)
{
	const struct reader reader = { .ctx = skb, .load = tc_load, .linear = tc_linear };
	struct pkt pkt = {};
	int r;

	if (!pkt_init(&pkt, hook))
		return TC_ACT_SHOT;
	if (hook == DP_HOOK_TC_EGRESS)
		pkt.key->local = is_own(skb);
	pkt_from_skb(&pkt, skb);
	if (hook == DP_HOOK_TC_EGRESS)
		pkt.key->elsewhere = came_in(skb->ingress_ifindex);
	r = select_chain(&pkt, dir);
	if (!r)
		r = parse_skb(&pkt, skb);
	/* Pass on to whoever comes next: another program, another filter, the stack. */
	return process(&pkt, r, &reader) == DP_PASS ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}
