/* SPDX-License-Identifier: Apache-2.0 */
/* See frame.h. Everything is written byte by byte, most significant first. */
#include "frame.h"

#include <errno.h>
#include <string.h>

#include "str.h"

#define HOP_LIMIT    64
#define ND_HOP_LIMIT 255 /* RFC 4861: anything less came through a router */

struct writer {
	uint8_t *at;
	size_t len;
};

static void put(struct writer *w, uint64_t value, size_t bytes)
{
	while (bytes--)
		w->at[w->len++] = (uint8_t)(value >> 8 * bytes);
}

static void put_addr(struct writer *w, const struct tuple *t, u128 addr)
{
	if (t->family == ADDR_IPV6) {
		put(w, (uint64_t)(addr >> 64), 8);
		put(w, (uint64_t)addr, 8);
	} else {
		put(w, (uint64_t)addr, 4);
	}
}

static void patch16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* Ones' complement sum (RFC 1071) of bytes, onto sum. */
static uint32_t add_sum(uint32_t sum, const uint8_t *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? at[i] : (uint32_t)at[i] << 8;
	return sum;
}

static uint16_t close_sum(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* CRC-32C (RFC 9260, appendix A), bit by bit: the message is one chunk. */
static uint32_t crc32c(const uint8_t *at, size_t len)
{
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < len; i++) {
		crc ^= at[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static void put_tcp(struct writer *w, const struct tuple *t)
{
	put(w, t->sport, 2);
	put(w, t->dport, 2);
	put(w, 1, 4);                       /* sequence number */
	put(w, t->flags & 0x10 ? 1 : 0, 4); /* acknowledgement */
	put(w, 5 << 4, 1);                  /* header words */
	put(w, t->flags, 1);
	put(w, 65535, 2); /* window */
	put(w, 0, 4);     /* checksum, urgent pointer */
}

static void put_udp(struct writer *w, const struct tuple *t)
{
	put(w, t->sport, 2);
	put(w, t->dport, 2);
	put(w, 8, 2); /* length */
	put(w, 0, 2); /* checksum */
}

/* The common header and an INIT chunk. */
static void put_sctp(struct writer *w, const struct tuple *t)
{
	put(w, t->sport, 2);
	put(w, t->dport, 2);
	put(w, 0, 4);     /* verification tag: 0 in an INIT */
	put(w, 0, 4);     /* checksum */
	put(w, 1, 1);     /* INIT */
	put(w, 0, 1);     /* flags */
	put(w, 20, 2);    /* length of the chunk */
	put(w, 1, 4);     /* initiate tag */
	put(w, 65536, 4); /* window */
	put(w, 1, 2);     /* outbound streams */
	put(w, 1, 2);     /* inbound streams */
	put(w, 1, 4);     /* first TSN */
}

/* Neighbour discovery messages carry a target, all others here just their header. */
static bool is_discovery(const struct tuple *t)
{
	return t->proto == TUPLE_PROTO_ICMP6 && t->type >= 133 && t->type <= 137;
}

static void put_icmp(struct writer *w, const struct tuple *t)
{
	put(w, t->type, 1);
	put(w, t->code, 1);
	put(w, 0, 2); /* checksum */
	put(w, 0, 4); /* identifier and sequence number, unused, MTU */
	if (!is_discovery(t) || t->type == 133)
		return;
	if (t->type == 134) { /* reachable and retransmission time of an advertisement */
		put(w, 0, 8);
		return;
	}
	put_addr(w, t, t->dst); /* target */
	if (t->type == 137)
		put_addr(w, t, t->dst); /* redirected destination */
}

static void put_payload(struct writer *w, const struct tuple *t)
{
	switch (t->proto) {
	case TUPLE_PROTO_TCP:
		put_tcp(w, t);
		break;
	case TUPLE_PROTO_UDP:
		put_udp(w, t);
		break;
	case TUPLE_PROTO_SCTP:
		put_sctp(w, t);
		break;
	case TUPLE_PROTO_ICMP:
	case TUPLE_PROTO_ICMP6:
		put_icmp(w, t);
		break;
	default:
		put(w, 0, 8);
		put(w, 0, 8);
	}
}

/* Fills in the checksum of what put_payload() wrote. */
static void close_payload(const struct tuple *t, uint8_t *at, size_t len)
{
	uint8_t pseudo[40];
	struct writer p = { .at = pseudo };
	uint32_t crc;
	uint16_t sum;

	put_addr(&p, t, t->src);
	put_addr(&p, t, t->dst);
	put(&p, len, 4);
	put(&p, t->proto, 4);
	sum = close_sum(add_sum(add_sum(0, pseudo, p.len), at, len));
	switch (t->proto) {
	case TUPLE_PROTO_TCP:
		patch16(at + 16, sum);
		break;
	case TUPLE_PROTO_UDP:
		patch16(at + 6, sum ? sum : 0xffff); /* 0 means "none" */
		break;
	case TUPLE_PROTO_ICMP:
		patch16(at + 2, close_sum(add_sum(0, at, len)));
		break;
	case TUPLE_PROTO_ICMP6:
		patch16(at + 2, sum);
		break;
	case TUPLE_PROTO_SCTP:
		crc = crc32c(at, len);
		for (size_t i = 0; i < 4; i++) /* little endian, unlike everything else */
			at[8 + i] = (uint8_t)(crc >> 8 * i);
		break;
	default:
		break;
	}
}

static void put_ipv4(struct writer *w, const struct tuple *t, size_t payload)
{
	uint8_t *header = w->at + w->len;

	put(w, 0x45, 1);
	put(w, 0, 1); /* type of service */
	put(w, 20 + payload, 2);
	put(w, 1, 2);      /* identification */
	put(w, 0x4000, 2); /* don't fragment */
	put(w, HOP_LIMIT, 1);
	put(w, t->proto, 1);
	put(w, 0, 2); /* checksum */
	put_addr(w, t, t->src);
	put_addr(w, t, t->dst);
	patch16(header + 10, close_sum(add_sum(0, header, 20)));
}

static void put_ipv6(struct writer *w, const struct tuple *t, size_t payload)
{
	put(w, 6u << 28, 4); /* version, class, label */
	put(w, payload, 2);
	put(w, t->proto, 1);
	put(w, is_discovery(t) ? ND_HOP_LIMIT : HOP_LIMIT, 1);
	put_addr(w, t, t->src);
	put_addr(w, t, t->dst);
}

size_t frame_build(const struct tuple *t, uint8_t frame[static FRAME_MAX])
{
	uint8_t payload[64];
	struct writer w = { .at = frame }, p = { .at = payload };

	memset(frame, 0, FRAME_MAX);
	put_payload(&p, t);
	close_payload(t, payload, p.len);
	put(&w, 0x020000000002, 6); /* to a locally administered address */
	put(&w, 0x020000000001, 6);
	if (t->tagged) {
		put(&w, 0x8100, 2);
		put(&w, t->vlan, 2);
	}
	if (t->family == ADDR_IPV4) {
		put(&w, 0x0800, 2);
		put_ipv4(&w, t, p.len);
	} else {
		put(&w, 0x86dd, 2);
		put_ipv6(&w, t, p.len);
	}
	memcpy(frame + w.len, payload, p.len);
	w.len += p.len;
	return w.len < FRAME_MIN ? FRAME_MIN : w.len;
}

int frame_from_hex(const char *text, uint8_t *frame, size_t room, size_t *ret_len)
{
	size_t len = 0;

	while (*(text += strspn(text, " \t\n:"))) {
		int high = hex_digit(text[0]), low = high < 0 ? -1 : hex_digit(text[1]);

		if (low < 0)
			return -EINVAL;
		if (len == room)
			return -E2BIG;
		frame[len++] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	*ret_len = len;
	return 0;
}
