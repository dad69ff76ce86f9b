/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bytes to struct pkt: Ethernet and tags here, the rest in parse_ip.h and parse_l4.h. Returns 0 or a
 * negative reason. Everything is read at its true place: header lengths, options, extension headers and
 * tags are walked, and what cannot be walked within the budget is dropped, never passed unread.
 */
#pragma once

#include <linux/if_ether.h>

#include "cursor.h"
#include "parse_ip.h"

/* 802.1Q, 802.1ad, and the tag type that predates the latter and is still sent. */
static __always_inline bool is_tag(__be16 type)
{
	return type == be16(ETH_P_8021Q) || type == be16(ETH_P_8021AD) || type == be16(ETH_P_QINQ1);
}

struct tag {
	__be16 tci;
	__be16 next;
};

/*
 * A tag that the hook took out of the frame counts too, so that both hooks have the same budget. The loop's
 * own bound ends it, see parse_ext_headers().
 */
static __always_inline int parse_tags(struct pkt *pkt, struct cursor *c, __be16 *type)
{
	const struct tag *tag;

	for (int i = !!pkt->stripped; i < DP_TAGS_MAX; i++) {
		if (!is_tag(*type))
			break;
		tag = take(pkt, c, sizeof(*tag));
		if (!tag)
			return short_of(pkt, c, sizeof(*tag));
		if (pkt->key->vlan == DP_VLAN_NONE)
			pkt->key->vlan = host16(tag->tci) & 0xfff;
		*type = tag->next;
		c->off = forget(pkt->key, c->off);
	}
	return is_tag(*type) ? -DP_REASON_TOO_MANY_HEADERS : 0;
}

/* Ethernet and IPv4: the fixed header and the four addresses (RFC 826). */
#define DP_ARP_BYTES 28

static __always_inline int parse_arp(struct pkt *pkt, struct cursor *c)
{
	if (!take(pkt, c, DP_ARP_BYTES))
		return short_of(pkt, c, DP_ARP_BYTES);
	pkt->arp = 1;
	return 0;
}

/*
 * The cursor ends behind the Ethernet header and its tags. A raw packet has neither. The first bytes are asked for all
 * the same: no IP header is shorter, and the verifier then knows as much of one kind as of the other.
 */
static __always_inline int parse_link(struct pkt *pkt, struct cursor *c, __be16 *type)
{
	const struct ethhdr *eth = take(pkt, c, sizeof(*eth));

	if (!eth)
		return short_of(pkt, c, sizeof(*eth));
	if (unlikely(pkt->key->raw)) {
		*type = pkt->key->type;
		c->off = forget(pkt->key, 0);
		return 0;
	}
	*type = eth->h_proto;
	return parse_tags(pkt, c, type);
}

static __always_inline int parse(struct pkt *pkt)
{
	struct cursor c = {};
	__be16 type;
	int r = parse_link(pkt, &c, &type);

	if (r)
		return r;
	if (type == be16(ETH_P_IP))
		return parse_ipv4(pkt, &c);
	if (type == be16(ETH_P_IPV6))
		return parse_ipv6(pkt, &c);
	pkt->key->family = PKT_NOT_IP;
	if (type == be16(ETH_P_ARP))
		return parse_arp(pkt, &c);
	return 0;
}
