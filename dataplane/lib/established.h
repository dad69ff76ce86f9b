/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * `state: established`: whether a packet, or the one that an ICMP error quotes, belongs to a live flow. Asked only
 * when the answer can change the verdict or the rule named (settle.h).
 */
#pragma once

#include "parse_ip.h"
#include "socket.h"

/* As the kernel has them; its header needs the C library. */
#define DP_AF_INET  2
#define DP_AF_INET6 10

/* Reads bytes of the datagram; what lies behind its end is not of it, though it may be in the frame. */
static __always_inline bool read_at(const struct reader *r, const struct key *k, __u32 off,
				    void *to, __u32 bytes)
{
	return off + bytes <= k->end && !r->load(r->ctx, off, to, bytes);
}

/* Of TCP, UDP and SCTP the ports; of an echo its type and code, and behind the checksum its identifier. */
static __always_inline bool quote_ends(struct key *k, const struct reader *r, __u32 l4)
{
	struct ends *e = &k->ends;
	const __be16 *ports = k->quote.ports;
	__u8 request = e->ipv6 ? ICMPV6_ECHO_REQUEST : ICMP4_ECHO_REQUEST;

	e->sport = e->dport = 0;
	if (e->proto != IPPROTO_TCP && e->proto != IPPROTO_UDP && e->proto != IPPROTO_SCTP &&
	    e->proto != IPPROTO_ICMP && e->proto != IPPROTO_ICMPV6)
		return true;
	if (!read_at(r, k, l4, &k->quote.ports, sizeof(k->quote.ports)))
		return false;
	if (e->proto != IPPROTO_ICMP && e->proto != IPPROTO_ICMPV6) {
		e->sport = host16(ports[0]);
		e->dport = host16(ports[1]);
		return true;
	}
	e->sport = host16(ports[2]);
	return host16(ports[0]) == (__u16)(request << 8);
}

static __always_inline bool quote4(struct key *k, const struct reader *r, __u32 at)
{
	const struct iphdr *ip = &k->quote.ipv4;
	struct ends *e = &k->ends;

	if (!read_at(r, k, at, &k->quote.ipv4, sizeof(*ip)) || ip->version != 4 ||
	    ip->ihl * 4u < sizeof(*ip) || host16(ip->frag_off) & DP_IPV4_OFFSET)
		return false;
	e->ipv6 = 0;
	e->proto = ip->protocol;
	for (int i = 0; i < 4; i++)
		e->src[i] = e->dst[i] = 0;
	e->src[0] = host32(ip->saddr);
	e->dst[0] = host32(ip->daddr);
	return quote_ends(k, r, at + ip->ihl * 4u);
}

/* Without extension headers: of a flow whose packets have some, errors are judged by the other rules. */
static __always_inline bool quote6(struct key *k, const struct reader *r, __u32 at)
{
	const struct ipv6hdr *ip = &k->quote.ipv6;
	struct ends *e = &k->ends;

	if (!read_at(r, k, at, &k->quote.ipv6, sizeof(*ip)) || ip->version != 6)
		return false;
	e->ipv6 = 1;
	e->proto = ip->nexthdr;
	for (int i = 0; i < 4; i++) {
		e->src[i] = host32(ip->saddr.s6_addr32[i]);
		e->dst[i] = host32(ip->daddr.s6_addr32[i]);
	}
	return quote_ends(k, r, at + sizeof(*ip));
}

/* An error goes to the sender of what it quotes; one that does not is a forgery. Never in a fragment. */
static __always_inline bool quote_read(struct key *k, const struct reader *r)
{
	__u32 at = k->l4 + DP_ICMP_HEADER, differs = 0;
	bool ipv6 = k->family == PKT_IPV6;

	if (k->fragment != PKT_WHOLE || !(ipv6 ? quote6(k, r, at) : quote4(k, r, at)))
		return false;
	for (int i = 0; i < 4; i++)
		differs |= (k->ends.src[i] ^ k->word[DP_CUT_WORD_DST + i]) & (i && !ipv6 ? 0 : ~0u);
	return !differs;
}

/* Goes on to another machine: what is ours is known by the sockets. */
static __always_inline bool is_forwarded(const struct key *k, const struct reader *r)
{
	struct bpf_fib_lookup route = { .family = k->family == PKT_IPV6 ? DP_AF_INET6 : DP_AF_INET,
					.l4_protocol = IPPROTO_TCP,
					.ifindex = k->ifindex };
	long found;

	if (k->dir == DP_EGRESS)
		return !k->local;
	if (k->family == PKT_IPV6) {
#pragma clang loop unroll(full)
		for (int i = 0; i < 4; i++) {
			route.ipv6_src[i] = bpf_htonl(k->word[DP_CUT_WORD_SRC + i]);
			route.ipv6_dst[i] = bpf_htonl(k->word[DP_CUT_WORD_DST + i]);
		}
	} else {
		route.ipv4_src = be32(k->word[DP_CUT_WORD_SRC]);
		route.ipv4_dst = be32(k->word[DP_CUT_WORD_DST]);
	}
	found = bpf_fib_lookup(r->ctx, &route, sizeof(route), 0);
	return found == BPF_FIB_LKUP_RET_SUCCESS || found == BPF_FIB_LKUP_RET_NO_NEIGH;
}

/* For a while, the next segment of a connection that is older than the policy counts as its first. */
static __always_inline bool may_adopt(struct key *k, const struct reader *r)
{
	__u32 zero = 0;
	const struct dp_ctl *c = bpf_map_lookup_elem(&ctl, &zero);

	return c && k->proto == IPPROTO_TCP && goes_on(k) &&
	       now_tick(k) < *(const volatile __u32 *)&c->adopt_until && is_forwarded(k, r);
}

static __always_inline enum live established(struct key *k, const struct reader *r)
{
	enum live live;

	if (is_icmp_error(k)) {
		if (!quote_read(k, r))
			return LIVE_NO;
		if (flow_quoted(k))
			return LIVE_YES;
		return local_socket(r, k, &k->ends, true);
	}
	if (flow_see(k, false) == FLOW_LIVE)
		return LIVE_YES;
	if (!ends_of(k))
		return LIVE_NO;
	live = local_socket(r, k, &k->ends, false);
	return live == LIVE_NO && may_adopt(k, r) ? LIVE_ADOPTS : live;
}
