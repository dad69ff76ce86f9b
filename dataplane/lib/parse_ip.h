/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* IPv4 (RFC 791) and IPv6 (RFC 8200) headers, options and extension headers. */
#pragma once

#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "parse_ipv4.h"
#include "parse_l4.h"

#define DP_IPV4_MORE    0x2000 /* of the fragment word: more fragments follow */
#define DP_IPV4_OFFSET  0x1fff /* in units of 8 bytes */
#define DP_IPV6_MORE    0x0001
#define DP_IPV6_OFFSET  0xfff8 /* in bytes */
#define DP_DATAGRAM_MAX 65535

/*
 * Where the datagram ends in the frame. A frame may be longer (padding), never shorter; a buffer that
 * stands for many segments may be too long for the length field, which is 0 then.
 */
static __always_inline int datagram_end(const struct pkt *pkt, struct cursor *c, __u32 start,
					__u32 bytes)
{
	if (!bytes && pkt->segment)
		bytes = pkt->len - start;
	c->limit = start + bytes;
	return c->limit > pkt->len ? -DP_REASON_TRUNCATED : 0;
}

/* A piece of a datagram, whose payload begins at the cursor: noted where the chain follows fragments. */
static __always_inline int note_fragment(struct pkt *pkt, const struct cursor *c, __u32 at,
					 __u32 id)
{
	struct key *k = pkt->key;

	if (!k->first_only)
		return -DP_REASON_FRAGMENT;
	if (k->family == PKT_IPV4) /* the table of datagrams compares whole addresses */
		for (int i = 1; i < 4; i++)
			k->word[DP_CUT_WORD_SRC + i] = k->word[DP_CUT_WORD_DST + i] = 0;
	k->fragmented = 1;
	k->fragment = at ? PKT_LATER : PKT_FIRST;
	k->fragment_id = id;
	k->fragment_at = at;
	k->fragment_end = at + c->limit - c->off;
	return c->off > c->limit || k->fragment_end > DP_DATAGRAM_MAX ? -DP_REASON_FRAGMENT : 0;
}

/*
 * What follows the network header. A first fragment that lacks some of the transport header is one that
 * hides it (RFC 1858), and neighbour discovery is never cut (RFC 6980).
 */
static __always_inline int parse_payload(struct pkt *pkt, struct cursor *c)
{
	int r;

	if (pkt->key->fragment == PKT_LATER)
		return 0;
	pkt->key->l4 = c->off;
	pkt->key->end = c->limit;
	r = parse_l4(pkt, c);
	if (unlikely(pkt->key->fragmented && pkt->key->nd))
		return -DP_REASON_FRAGMENT;
	if (likely(pkt->key->fragment == PKT_WHOLE))
		return r;
	if (r == -DP_REASON_TRUNCATED || r == -DP_REASON_BAD_TCP || r == -DP_REASON_BAD_UDP)
		return -DP_REASON_TINY_FRAGMENT;
	return r;
}

static __always_inline int parse_ipv4(struct pkt *pkt, struct cursor *c)
{
	__u32 start = c->off, header;
	const struct iphdr *ip = take(pkt, c, sizeof(*ip));
	__u16 fragment, id;
	int r;

	if (!ip)
		return short_of(pkt, c, sizeof(*ip));
	pkt->key->l3 = start;
	header = ip->ihl * 4u;
	r = datagram_end(pkt, c, start, host16(ip->tot_len));
	if (ip->version != 4 || header < sizeof(*ip))
		return -DP_REASON_BAD_IPV4;
	if (r)
		return r;
	if (c->limit < start + header)
		return -DP_REASON_BAD_IPV4;
	pkt->key->family = PKT_IPV4;
	pkt->key->proto = ip->protocol;
	pkt->hop_limit = ip->ttl;
	pkt->key->word[DP_CUT_WORD_SRC] = host32(ip->saddr);
	pkt->key->word[DP_CUT_WORD_DST] = host32(ip->daddr);
	fragment = host16(ip->frag_off) & (DP_IPV4_MORE | DP_IPV4_OFFSET);
	id = host16(ip->id);
	if (header > sizeof(*ip)) {
		r = parse_ipv4_options(pkt, c, header - sizeof(*ip));
		if (r)
			return r;
	} else if (unlikely(pkt->key->tracks)) {
		/* What the host drops makes no flow. */
		pkt->key->tracks = checksum_is_good(ip);
	}
	if (unlikely(fragment)) {
		r = note_fragment(pkt, c, (fragment & DP_IPV4_OFFSET) * 8, id);
		if (r)
			return r;
	}
	return parse_payload(pkt, c);
}

struct ext_header {
	__u8 next;
	__u8 len; /* in units of 8 bytes without the first 8; AH: of 4 bytes without the first 8 */
	__u8 type;
	__u8 segments_left; /* of a routing header */
	__be32 rest;
};

struct fragment_header {
	__u8 next;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

enum ext_kind {
	EXT_NONE, /* not an extension header: the walk ends */
	EXT_PLAIN,
	EXT_ROUTING,
	EXT_FRAGMENT,
	EXT_AUTH,
};

static __always_inline enum ext_kind ext_kind(__u8 next)
{
	switch (next) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_DSTOPTS:
		return EXT_PLAIN;
	case IPPROTO_ROUTING:
		return EXT_ROUTING;
	case IPPROTO_FRAGMENT:
		return EXT_FRAGMENT;
	case IPPROTO_AH:
		return EXT_AUTH;
	}
	return EXT_NONE;
}

/*
 * One extension header; *next becomes the one behind it. Refused: a routing header that still asks for
 * a hop (RFC 5095) or is of the deprecated type 0, a header that ends behind the datagram.
 */
static __always_inline int parse_ext_header(struct pkt *pkt, struct cursor *c, enum ext_kind kind,
					    __u8 *next)
{
	__u32 start = c->off, bytes;
	const struct ext_header *ext = take(pkt, c, sizeof(*ext));

	if (!ext)
		return short_of(pkt, c, sizeof(*ext));
	if (kind == EXT_ROUTING && (!ext->type || ext->segments_left))
		return -DP_REASON_SOURCE_ROUTE;
	*next = ext->next;
	if (kind == EXT_FRAGMENT) {
		const struct fragment_header *fragment = (const void *)ext;
		__u16 word = host16(fragment->offset);

		/* Neither an offset nor more to come: atomic (RFC 6946), a whole datagram. */
		bytes = sizeof(*fragment);
		pkt->key->fragmented = 1;
		if (word & (DP_IPV6_OFFSET | DP_IPV6_MORE)) {
			int r = note_fragment(pkt, c, word & DP_IPV6_OFFSET, host32(fragment->id));

			if (r)
				return r;
		}
	} else {
		bytes = kind == EXT_AUTH ? (ext->len + 2u) * 4 : (ext->len + 1u) * 8;
	}
	c->off = forget(pkt->key, start + bytes);
	if (c->off > c->limit)
		return -DP_REASON_BAD_EXT_HEADER;
	/* A tag in metadata counts as in the frame, or TC would read four bytes further than XDP. */
	return c->off + pkt->stripped > DP_PARSE_BYTES ? -DP_REASON_TOO_MANY_HEADERS : 0;
}

/*
 * Hop-by-hop options only first (RFC 8200 4.1), at most one fragment header. The bound is the loop's own
 * exit, and no test inside makes it redundant: the compiler then closes the loop by a jump. Kernel 6.1
 * refuses one that falls into its head (clang 14: "back-edge from insn").
 */
static __always_inline int parse_ext_headers(struct pkt *pkt, struct cursor *c, __u8 next)
{
	bool fragment_seen = false;
	enum ext_kind kind;
	int r;

	for (int i = 0; i < DP_EXT_HEADERS_MAX; i++) {
		kind = ext_kind(next);
		if (kind == EXT_NONE)
			break;
		if ((next == IPPROTO_HOPOPTS && i) || (kind == EXT_FRAGMENT && fragment_seen))
			return -DP_REASON_BAD_EXT_HEADER;
		fragment_seen |= kind == EXT_FRAGMENT;
		r = parse_ext_header(pkt, c, kind, &next);
		if (r)
			return r;
		if (pkt->key->fragment == PKT_LATER) {
			pkt->key->proto = next;
			return 0;
		}
	}
	pkt->key->proto = next;
	return ext_kind(next) == EXT_NONE ? 0 : -DP_REASON_TOO_MANY_HEADERS;
}

static __always_inline void copy_addr(__u32 *to, const struct in6_addr *from)
{
	for (int i = 0; i < 4; i++)
		to[i] = host32(from->s6_addr32[i]);
}

/*
 * A buffer longer than the length field can say begins with a mark of the kernel's own, a hop-by-hop header that no
 * frame on the wire has. Without a branch on what it is.
 */
static __always_inline void forget_mark(struct key *k, __u32 payload, __u8 next)
{
	__u32 bytes = (is_zero(payload) & is_zero(next)) * sizeof(struct ext_header);

	k->len -= bytes;
	k->headers = -bytes;
}

static __always_inline int parse_ipv6(struct pkt *pkt, struct cursor *c)
{
	__u32 start = c->off, payload;
	const struct ipv6hdr *ip = take(pkt, c, sizeof(*ip));
	__u8 next;
	int r;

	if (!ip)
		return short_of(pkt, c, sizeof(*ip));
	pkt->key->l3 = start;
	if (ip->version != 6)
		return -DP_REASON_BAD_IPV6;
	payload = host16(ip->payload_len);
	next = ip->nexthdr;
	if (pkt->segment)
		forget_mark(pkt->key, payload, next);
	/* No payload: a jumbogram, which Ethernet does not carry, unless nothing was to follow. */
	if (!payload && !pkt->segment && next != IPPROTO_NONE)
		return -DP_REASON_BAD_IPV6;
	r = datagram_end(pkt, c, start, payload || !pkt->segment ? payload + sizeof(*ip) : 0);
	if (r)
		return r;
	pkt->key->family = PKT_IPV6;
	pkt->hop_limit = ip->hop_limit;
	copy_addr(&pkt->key->word[DP_CUT_WORD_SRC], &ip->saddr);
	copy_addr(&pkt->key->word[DP_CUT_WORD_DST], &ip->daddr);
	r = parse_ext_headers(pkt, c, next);
	return r ? r : parse_payload(pkt, c);
}
