/* SPDX-License-Identifier: Apache-2.0 */
/* Frames back into packets, as penstock-packets(7) says that they are read. */
#include "oracle.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

#define TAGS        8
#define EXTENSIONS  8
#define DEPTH       2048 /* the last header that is read begins in so many bytes */
#define DATAGRAM    65535
#define ND_HOPS     255
#define OPTION_LSRR 0x83
#define OPTION_SSRR 0x89

static const char cut[] = "truncated", too_many[] = "too-many-headers", routed[] = "source-route",
		  bad_ipv4[] = "bad-ipv4-header", bad_ipv6[] = "bad-ipv6-header",
		  bad_option[] = "bad-ip-option", bad_extension[] = "bad-extension-header",
		  bad_tcp[] = "bad-tcp-header", bad_udp[] = "bad-udp-header",
		  fragment[] = "fragment", tiny[] = "tiny-fragment";

/* A frame, how far it is read, and where its datagram ends. */
struct reader {
	const uint8_t *frame;
	size_t len, at, end;
	bool first_only;
	bool atomic; /* a fragment header around the whole */
	uint8_t hops;
};

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

/* Why the next bytes of a header are not read, NULL when they are. */
static const char *lacks(const struct reader *r, size_t bytes)
{
	if (r->at > DEPTH)
		return too_many;
	return r->at + bytes > r->len ? cut : NULL;
}

static const char *read_transport(struct reader *r, struct oracle_packet *p)
{
	const uint8_t *at = r->frame + r->at;
	bool icmp = p->proto == (p->l3 == ORACLE_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	size_t left = r->end > r->at ? r->end - r->at : 0;

	if (p->proto == IPPROTO_TCP) {
		size_t header;

		if (lacks(r, 20))
			return lacks(r, 20);
		header = (size_t)(at[12] >> 4) * 4;
		if (header < 20 || header > left)
			return bad_tcp;
		p->flags = at[13];
	} else if (p->proto == IPPROTO_UDP) {
		if (lacks(r, 8))
			return lacks(r, 8);
		if (get16(at + 4) < 8 || left < 8 || (!p->piece.is && get16(at + 4) > left))
			return bad_udp;
	} else if (p->proto == IPPROTO_SCTP ? left < 12 : icmp && left < 8) {
		return cut;
	}
	if (icmp) {
		p->type = at[0];
		p->code = at[1];
		p->nd = p->l3 == ORACLE_IPV6 && p->type >= 133 && p->type <= 136 && !p->code &&
			r->hops == ND_HOPS;
	} else if (p->proto == IPPROTO_TCP || p->proto == IPPROTO_UDP || p->proto == IPPROTO_SCTP) {
		p->sport = get16(at);
		p->dport = get16(at + 2);
	}
	return NULL;
}

/* The piece of a datagram that begins at the cursor. */
static const char *read_piece(struct reader *r, struct oracle_packet *p, uint32_t id,
			      uint32_t place)
{
	if (!r->first_only || r->at > r->end)
		return fragment;
	p->piece = (struct oracle_piece){ .is = true,
					  .later = place,
					  .id = id,
					  .at = place,
					  .end = place + (uint32_t)(r->end - r->at) };
	return p->piece.end > DATAGRAM ? fragment : NULL;
}

static const char *read_payload(struct reader *r, struct oracle_packet *p)
{
	const char *why;

	if (p->piece.later)
		return NULL;
	why = read_transport(r, p);
	if (p->nd && (r->atomic || p->piece.is))
		return fragment;
	return p->piece.is && (why == cut || why == bad_tcp || why == bad_udp) ? tiny : why;
}

static const char *read_options(const uint8_t *at, const uint8_t *end)
{
	while (at < end && *at) {
		if (*at == 1) {
			at++;
			continue;
		}
		if (*at == OPTION_LSRR || *at == OPTION_SSRR)
			return routed;
		if (at + 1 == end || at[1] < 2 || at[1] > end - at)
			return bad_option;
		at += at[1];
	}
	return NULL;
}

static const char *read_ipv4(struct reader *r, struct oracle_packet *p)
{
	const uint8_t *ip = r->frame + r->at;
	const char *why = lacks(r, 20);
	size_t header, total;

	if (why)
		return why;
	header = (size_t)(ip[0] & 15) * 4;
	total = get16(ip + 2);
	if (ip[0] >> 4 != 4 || header < 20)
		return bad_ipv4;
	if (r->at + total > r->len)
		return cut;
	if (total < header)
		return bad_ipv4;
	p->l3 = ORACLE_IPV4;
	p->proto = ip[9];
	memcpy(p->src, ip + 12, 4);
	memcpy(p->dst, ip + 16, 4);
	why = read_options(ip + 20, ip + header);
	r->end = r->at + total;
	r->at += header;
	if (!why && get16(ip + 6) & 0x3fff)
		why = read_piece(r, p, get16(ip + 4), (get16(ip + 6) & 0x1fffu) * 8);
	return why ? why : read_payload(r, p);
}

static bool is_extension(uint8_t next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_FRAGMENT ||
	       next == IPPROTO_AH || next == IPPROTO_DSTOPTS;
}

/* One extension header of type p->proto, which becomes the next. */
static const char *read_extension(struct reader *r, struct oracle_packet *p, bool first)
{
	const uint8_t *at = r->frame + r->at;
	const char *why = lacks(r, 8);
	size_t start = r->at;
	uint8_t type = p->proto;

	if ((type == IPPROTO_HOPOPTS && !first) || (type == IPPROTO_FRAGMENT && r->atomic))
		return bad_extension;
	if (why)
		return why;
	if (type == IPPROTO_ROUTING && (!at[2] || at[3]))
		return routed;
	p->proto = at[0];
	r->at = start + (type == IPPROTO_AH ? (at[1] + 2u) * 4 : (at[1] + 1u) * 8);
	if (type == IPPROTO_FRAGMENT) {
		r->atomic = true;
		r->at = start + 8;
		if (get16(at + 2) & 0xfff9)
			why = read_piece(r, p, get32(at + 4), get16(at + 2) & 0xfff8);
	}
	if (!why && r->at > r->end)
		return bad_extension;
	return !why && r->at > DEPTH ? too_many : why;
}

static const char *read_ipv6(struct reader *r, struct oracle_packet *p)
{
	const uint8_t *ip = r->frame + r->at;
	const char *why = lacks(r, 40);

	if (why)
		return why;
	if (ip[0] >> 4 != 6 || (!get16(ip + 4) && ip[6] != IPPROTO_NONE))
		return bad_ipv6;
	r->at += 40;
	r->end = r->at + get16(ip + 4);
	if (r->end > r->len)
		return cut;
	r->hops = ip[7];
	p->l3 = ORACLE_IPV6;
	p->proto = ip[6];
	memcpy(p->src, ip + 8, 16);
	memcpy(p->dst, ip + 24, 16);
	for (int i = 0; i < EXTENSIONS && is_extension(p->proto); i++) {
		why = read_extension(r, p, !i);
		if (why || p->piece.later)
			return why;
	}
	return is_extension(p->proto) ? too_many : read_payload(r, p);
}

const char *oracle_read(const uint8_t *frame, size_t len, bool first_only,
			struct oracle_packet *ret)
{
	struct reader r = { .frame = frame, .len = len, .first_only = first_only };
	uint16_t type;

	*ret = (struct oracle_packet){ .l3 = ORACLE_NOT_IP };
	if (lacks(&r, ETH_HLEN))
		return cut;
	r.at = ETH_HLEN;
	type = get16(frame + ETH_HLEN - 2);
	while (type == ETH_P_8021Q || type == ETH_P_8021AD || type == ETH_P_QINQ1) {
		if (ret->tags == TAGS)
			return too_many;
		if (lacks(&r, 4))
			return cut;
		if (!ret->tags++)
			ret->vlan = get16(frame + r.at) & 0xfff;
		type = get16(frame + r.at + 2);
		r.at += 4;
	}
	if (type == ETH_P_IP)
		return read_ipv4(&r, ret);
	if (type == ETH_P_IPV6)
		return read_ipv6(&r, ret);
	if (type == ETH_P_ARP)
		return lacks(&r, 28) ? cut : "arp";
	return NULL;
}
