/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * `state: established`, asked of the table of flows and of the kernel's own sockets: for connections of this
 * machine they are the truth, also for those that are older than the policy. The hook's entry supplies the
 * packet's bytes.
 */
#pragma once

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#include "cursor.h"
#include "state.h"

enum live {
	LIVE_UNKNOWN, /* not asked yet */
	LIVE_NO,
	LIVE_YES,
	LIVE_OPENS,  /* the ACK that ends a handshake by SYN cookie */
	LIVE_ADOPTS, /* of a connection older than the policy, which is taken over */
};

/*
 * What differs from hook to hook: reading bytes wherever they lie, and where the linear part is. That is asked for
 * anew: of pointers kept since the parser the verifier knows how much each of its outcomes has seen of the packet,
 * and follows every one to the end (kernel 6.1, clang 14: a third more instructions).
 */
struct reader {
	void *ctx;
	long (*load)(void *ctx, __u32 off, void *to, __u32 bytes);
	void (*linear)(void *ctx, void **ret_data, void **ret_end);
};

#define DP_ICMP_HEADER 8 /* of an error; the quoted packet follows */
#define DP_QUOTED_L4   4 /* its ports, or an echo's type and code; the identifier follows */

/* The kernel's view: what is local is the destination. */
static __always_inline __u32 tuple_of(struct key *k, const struct ends *e, bool local_is_src)
{
	struct bpf_sock_tuple *t = &k->tuple;
	const __u32 *local = local_is_src ? e->src : e->dst,
		    *remote = local_is_src ? e->dst : e->src;
	__be16 lport = be16(local_is_src ? e->sport : e->dport),
	       rport = be16(local_is_src ? e->dport : e->sport);

	if (!e->ipv6) {
		t->ipv4.saddr = be32(remote[0]);
		t->ipv4.daddr = be32(local[0]);
		t->ipv4.sport = rport;
		t->ipv4.dport = lport;
		return sizeof(t->ipv4);
	}
#pragma clang loop unroll(full)
	for (int i = 0; i < 4; i++) {
		t->ipv6.saddr[i] = be32(remote[i]);
		t->ipv6.daddr[i] = be32(local[i]);
	}
	t->ipv6.sport = rport;
	t->ipv6.dport = lport;
	return sizeof(t->ipv6);
}

/* The cookie that the packet brings back is one that this listener gave. */
static __always_inline bool cookie_is_good(struct bpf_sock *listener, const struct key *k,
					   const struct reader *r)
{
	__u64 l3 = k->l3, l4 = k->l4;
	__u32 bytes = k->family == PKT_IPV6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	void *ip, *data, *end;
	struct tcphdr *tcp;

	r->linear(r->ctx, &data, &end);
	asm volatile("" : "+r"(l3), "+r"(l4)); /* see take() */
	if (l3 > DP_PARSE_BYTES || l4 > DP_PARSE_BYTES)
		return false;
	ip = data + l3;
	tcp = data + l4;
	if (ip + sizeof(struct ipv6hdr) > end || (void *)(tcp + 1) > end)
		return false;
	return !bpf_tcp_check_syncookie(listener, ip, bytes, tcp, sizeof(*tcp));
}

/* What a TCP socket of this machine, in a state, makes of the packet. */
static __always_inline enum live tcp_state_live(__u32 state, const struct key *k, bool quoted)
{
	__u8 handshake = k->flags & (DP_TCP_SYN | DP_TCP_ACK);
	bool egress = k->dir == DP_EGRESS;

	switch (state) {
	case BPF_TCP_CLOSE:
		return LIVE_NO;
	case BPF_TCP_LISTEN:
		/* A cookie's SYN-ACK belongs to no socket but this, and only a SYN that passed asks for it. */
		return egress && !quoted && handshake == (DP_TCP_SYN | DP_TCP_ACK) ? LIVE_YES
										   : LIVE_NO;
	case BPF_TCP_NEW_SYN_RECV:
		if (quoted || (egress && handshake == (DP_TCP_SYN | DP_TCP_ACK)))
			return LIVE_YES;
		return handshake == DP_TCP_ACK ? LIVE_YES : LIVE_NO;
	}
	return LIVE_YES;
}

static __always_inline enum live tcp_socket(const struct reader *r, struct key *k,
					    const struct ends *e, bool quoted)
{
	__u32 bytes = tuple_of(k, e, (k->dir == DP_EGRESS) != quoted);
	struct bpf_sock *sk;
	enum live live;

	if (bytes == sizeof(k->tuple.ipv4))
		sk = bpf_skc_lookup_tcp(r->ctx, &k->tuple, sizeof(k->tuple.ipv4),
					BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_skc_lookup_tcp(r->ctx, &k->tuple, sizeof(k->tuple.ipv6),
					BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return LIVE_NO;
	live = tcp_state_live(sk->state, k, quoted);
	if (sk->state == BPF_TCP_LISTEN && !quoted && k->dir == DP_INGRESS && goes_on(k) &&
	    cookie_is_good(sk, k, r))
		live = LIVE_OPENS;
	bpf_sk_release(sk);
	return live;
}

/* Only a connected socket has a peer; any other would make its port reachable to all. */
static __always_inline enum live udp_socket(void *ctx, struct key *k, const struct ends *e,
					    bool quoted)
{
	__u32 bytes = tuple_of(k, e, (k->dir == DP_EGRESS) != quoted);
	struct bpf_sock *sk;
	enum live live;

	if (bytes == sizeof(k->tuple.ipv4))
		sk = bpf_sk_lookup_udp(ctx, &k->tuple, sizeof(k->tuple.ipv4), BPF_F_CURRENT_NETNS,
				       0);
	else
		sk = bpf_sk_lookup_udp(ctx, &k->tuple, sizeof(k->tuple.ipv6), BPF_F_CURRENT_NETNS,
				       0);
	if (!sk)
		return LIVE_NO;
	live = sk->state == BPF_TCP_ESTABLISHED ? LIVE_YES : LIVE_NO;
	bpf_sk_release(sk);
	return live;
}

static __always_inline enum live local_socket(const struct reader *r, struct key *k,
					      const struct ends *e, bool quoted)
{
	if (e->proto == IPPROTO_TCP)
		return tcp_socket(r, k, e, quoted);
	if (e->proto == IPPROTO_UDP)
		return udp_socket(r->ctx, k, e, quoted);
	return LIVE_NO;
}
