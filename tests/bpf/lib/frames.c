/* SPDX-License-Identifier: Apache-2.0 */
#include "frames.h"

#include <arpa/inet.h>
#include <assert.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

#define IPV4_BYTES 20
#define IPV6_BYTES 40
#define UDP_BYTES  8

static uint8_t *append(struct frame *f, size_t len)
{
	uint8_t *at = f->bytes + f->len;

	assert(f->len + len <= sizeof(f->bytes));
	memset(at, 0, len);
	f->len += len;
	return at;
}

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint16_t sum16(const uint8_t *at, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)at[i] << 8 | at[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

void frame_eth(struct frame *f, uint16_t type)
{
	static const uint8_t macs[12] = { 2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa };
	uint8_t *at = append(f, ETH_HLEN);

	memcpy(at, macs, sizeof(macs));
	put16(at + 12, type);
}

void frame_tag(struct frame *f, uint16_t tpid, uint16_t vid)
{
	uint8_t *type = f->bytes + f->len - 2, inner[2];
	uint8_t *at;

	memcpy(inner, type, 2);
	put16(type, tpid);
	at = append(f, 4);
	put16(at, vid);
	memcpy(at + 2, inner, 2);
}

void frame_ipv4(struct frame *f, const char *src, const char *dst, uint8_t proto)
{
	uint8_t *at = append(f, IPV4_BYTES);

	f->l3 = (size_t)(at - f->bytes);
	f->l4 = f->len;
	f->proto = proto;
	at[0] = 0x45;
	at[8] = 64;
	at[9] = proto;
	assert(inet_pton(AF_INET, src, at + 12) == 1 && inet_pton(AF_INET, dst, at + 16) == 1);
}

void frame_ipv4_options(struct frame *f, const void *options, size_t len)
{
	memcpy(append(f, len), options, len);
	f->bytes[f->l3] = (uint8_t)(f->bytes[f->l3] + len / 4);
	f->l4 = f->len;
}

void frame_ipv6(struct frame *f, const char *src, const char *dst, uint8_t next)
{
	uint8_t *at = append(f, IPV6_BYTES);

	f->l3 = (size_t)(at - f->bytes);
	f->l4 = f->len;
	f->ipv6 = true;
	f->proto = next;
	at[0] = 0x60;
	at[6] = next;
	at[7] = 64;
	assert(inet_pton(AF_INET6, src, at + 8) == 1 && inet_pton(AF_INET6, dst, at + 24) == 1);
}

void frame_ext(struct frame *f, uint8_t next, uint8_t len8, const void *body, size_t body_len)
{
	uint8_t *at = append(f, 8u * (1 + len8));

	at[0] = next;
	at[1] = len8;
	if (body_len)
		memcpy(at + 2, body, body_len);
	f->l4 = f->len;
	f->proto = next;
}

void frame_ports(struct frame *f, uint16_t sport, uint16_t dport, uint8_t flags)
{
	size_t len = f->proto == IPPROTO_TCP ? 20 : f->proto == IPPROTO_UDP ? UDP_BYTES : 12;
	uint8_t *at = append(f, len);

	put16(at, sport);
	put16(at + 2, dport);
	if (f->proto == IPPROTO_TCP) {
		at[12] = 5 << 4;
		at[13] = flags;
	}
}

void frame_icmp(struct frame *f, uint8_t type, uint8_t code)
{
	uint8_t *at = append(f, 8);

	at[0] = type;
	at[1] = code;
}

void frame_pad(struct frame *f, size_t len)
{
	if (f->len < len)
		(void)append(f, len - f->len);
}

void frame_arp(struct frame *f)
{
	frame_eth(f, ETH_P_ARP);
	(void)append(f, 28);
}

void frame_finish(struct frame *f)
{
	uint8_t *ip = f->bytes + f->l3;

	if (!f->l3)
		return;
	if (f->proto == IPPROTO_UDP && f->len >= f->l4 + UDP_BYTES)
		put16(f->bytes + f->l4 + 4, (uint16_t)(f->len - f->l4));
	if (f->ipv6) {
		put16(ip + 4, (uint16_t)(f->len - f->l3 - IPV6_BYTES));
		return;
	}
	put16(ip + 2, (uint16_t)(f->len - f->l3));
	put16(ip + 10, 0);
	put16(ip + 10, sum16(ip, 4u * (ip[0] & 15)));
}

struct frame frame_flow(const char *src, const char *dst, uint8_t proto, uint16_t sport,
			uint16_t dport, uint8_t flags)
{
	struct frame f = {};

	if (strchr(src, ':')) {
		frame_eth(&f, ETH_P_IPV6);
		frame_ipv6(&f, src, dst, proto);
	} else {
		frame_eth(&f, ETH_P_IP);
		frame_ipv4(&f, src, dst, proto);
	}
	frame_ports(&f, sport, dport, flags);
	frame_finish(&f);
	return f;
}
