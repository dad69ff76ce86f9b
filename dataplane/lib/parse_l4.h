/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Transport headers, up to where their payload begins. */
#pragma once

#include <linux/icmpv6.h>
#include <linux/in.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "cursor.h"

#define DP_SCTP_HEADER  12 /* RFC 9260: ports, tag, checksum */
#define DP_TCP_FLAGS_AT 13
#define DP_ND_HOP_LIMIT 255 /* RFC 4861: what was routed is not from the link */

/* ICMP and ICMPv6 alike; the last four are an echo's. */
struct icmp_head {
	__u8 type, code;
	__be16 checksum;
	__be16 echo;
	__be16 sequence;
};

static __always_inline int parse_tcp(struct pkt *pkt, struct cursor *c)
{
	__u32 start = c->off, header;
	const struct tcphdr *tcp = take(pkt, c, sizeof(*tcp));

	if (!tcp)
		return short_of(pkt, c, sizeof(*tcp));
	header = tcp->doff * 4u;
	if (header < sizeof(*tcp) || start + header > c->limit)
		return -DP_REASON_BAD_TCP;
	pkt->key->sport = host16(tcp->source);
	pkt->key->dport = host16(tcp->dest);
	pkt->key->has_ports = 1;
	pkt->key->flags = ((const __u8 *)tcp)[DP_TCP_FLAGS_AT];
	if (unlikely(pkt->key->stateful)) {
		pkt->key->seq = host32(tcp->seq);
		pkt->key->ack = host32(tcp->ack_seq);
	}
	pkt->key->headers += start + header;
	return 0;
}

static __always_inline int parse_udp(struct pkt *pkt, struct cursor *c)
{
	__u32 start = c->off;
	const struct udphdr *udp = take(pkt, c, sizeof(*udp));
	__u16 len;

	if (!udp)
		return short_of(pkt, c, sizeof(*udp));
	len = host16(udp->len);
	if (len < sizeof(*udp) || start + sizeof(*udp) > c->limit)
		return -DP_REASON_BAD_UDP;
	if (start + len > c->limit && pkt->key->fragment == PKT_WHOLE)
		return -DP_REASON_BAD_UDP;
	pkt->key->sport = host16(udp->source);
	pkt->key->dport = host16(udp->dest);
	pkt->key->has_ports = 1;
	pkt->key->headers += c->off;
	return 0;
}

static __always_inline int parse_sctp(struct pkt *pkt, struct cursor *c)
{
	const __be16 *ports;

	if (c->off + DP_SCTP_HEADER > c->limit)
		return -DP_REASON_TRUNCATED;
	ports = take(pkt, c, DP_SCTP_HEADER);
	if (!ports)
		return short_of(pkt, c, DP_SCTP_HEADER);
	pkt->key->sport = host16(ports[0]);
	pkt->key->dport = host16(ports[1]);
	pkt->key->has_ports = 1;
	pkt->key->headers += c->off;
	return 0;
}

static __always_inline int parse_icmp(struct pkt *pkt, struct cursor *c)
{
	const struct icmp_head *icmp;

	if (c->off + sizeof(*icmp) > c->limit)
		return -DP_REASON_TRUNCATED;
	icmp = take(pkt, c, sizeof(*icmp));
	if (!icmp)
		return short_of(pkt, c, sizeof(*icmp));
	pkt->key->icmp = icmp->type << 8 | icmp->code;
	pkt->key->has_icmp = 1;
	pkt->key->echo = host16(icmp->echo);
	return 0;
}

/* Router and neighbour solicitation and advertisement; a redirect (137) is not among them. */
static __always_inline bool is_nd(const struct pkt *pkt)
{
	__u8 type = pkt->key->icmp >> 8;

	return type >= 133 && type <= 136 && !(pkt->key->icmp & 0xff) &&
	       pkt->hop_limit == DP_ND_HOP_LIMIT;
}

static __always_inline int parse_l4(struct pkt *pkt, struct cursor *c)
{
	int r;

	switch (pkt->key->proto) {
	case IPPROTO_TCP:
		return parse_tcp(pkt, c);
	case IPPROTO_UDP:
		return parse_udp(pkt, c);
	case IPPROTO_SCTP:
		return parse_sctp(pkt, c);
	case IPPROTO_ICMP:
		return pkt->key->family == PKT_IPV4 ? parse_icmp(pkt, c) : 0;
	case IPPROTO_ICMPV6:
		if (pkt->key->family != PKT_IPV6)
			return 0;
		r = parse_icmp(pkt, c);
		pkt->key->nd = !r && is_nd(pkt);
		return r;
	}
	return 0;
}
