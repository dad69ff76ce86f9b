/* SPDX-License-Identifier: Apache-2.0 */
/* Plain frames back into packets. */
#include "oracle.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

#define TAGS_PLAIN 3

struct bytes {
	const uint8_t *at;
	size_t len;
};

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static bool skip(struct bytes *b, size_t bytes)
{
	if (b->len < bytes)
		return false;
	b->at += bytes;
	b->len -= bytes;
	return true;
}

/* The frame's tail behind the datagram is padding. */
static bool cut(struct bytes *b, size_t bytes)
{
	if (b->len < bytes)
		return false;
	b->len = bytes;
	return true;
}

static bool read_transport(struct bytes b, struct oracle_packet *p)
{
	bool icmp = p->proto == (p->l3 == ORACLE_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	size_t header = p->proto == IPPROTO_TCP    ? 20
			: p->proto == IPPROTO_UDP  ? 8
			: p->proto == IPPROTO_SCTP ? 12
			: icmp                     ? 8
						   : 0;

	if (b.len < header)
		return false;
	if (icmp) {
		p->type = b.at[0];
		p->code = b.at[1];
	} else if (header) {
		p->sport = get16(b.at);
		p->dport = get16(b.at + 2);
	}
	if (p->proto == IPPROTO_UDP)
		return get16(b.at + 4) >= 8 && get16(b.at + 4) <= b.len;
	if (p->proto != IPPROTO_TCP)
		return true;
	p->flags = b.at[13];
	return b.at[12] >> 4 >= 5 && (size_t)(b.at[12] >> 4) * 4 <= b.len;
}

static bool read_ipv4(struct bytes b, struct oracle_packet *p)
{
	const uint8_t *ip = b.at;

	if (b.len < 20 || ip[0] != 0x45 || get16(ip + 6) & 0x3fff || get16(ip + 2) < 20 ||
	    !cut(&b, get16(ip + 2)))
		return false;
	p->l3 = ORACLE_IPV4;
	p->proto = ip[9];
	memcpy(p->src, ip + 12, 4);
	memcpy(p->dst, ip + 16, 4);
	return skip(&b, 20) && read_transport(b, p);
}

static bool is_extension(uint8_t next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_FRAGMENT ||
	       next == IPPROTO_AH || next == IPPROTO_DSTOPTS;
}

static bool read_ipv6(struct bytes b, struct oracle_packet *p)
{
	const uint8_t *ip = b.at;

	if (b.len < 40 || ip[0] >> 4 != 6 || is_extension(ip[6]) || !get16(ip + 4) ||
	    !skip(&b, 40) || !cut(&b, get16(ip + 4)))
		return false;
	p->l3 = ORACLE_IPV6;
	p->proto = ip[6];
	memcpy(p->src, ip + 8, 16);
	memcpy(p->dst, ip + 24, 16);
	if (!read_transport(b, p))
		return false;
	p->nd = p->proto == IPPROTO_ICMPV6 && p->type >= 133 && p->type <= 136 && !p->code &&
		ip[7] == 255;
	return true;
}

bool oracle_read(const uint8_t *frame, size_t len, struct oracle_packet *ret)
{
	struct bytes b = { frame, len };
	uint16_t type;

	*ret = (struct oracle_packet){ .l3 = ORACLE_NOT_IP };
	if (!skip(&b, ETH_HLEN))
		return false;
	type = get16(frame + ETH_HLEN - 2);
	while (type == ETH_P_8021Q || type == ETH_P_8021AD || type == ETH_P_QINQ1) {
		if (ret->tags == TAGS_PLAIN || b.len < 4)
			return false;
		if (!ret->tags++)
			ret->vlan = get16(b.at) & 0xfff;
		type = get16(b.at + 2);
		(void)skip(&b, 4);
	}
	ret->arp = type == ETH_P_ARP;
	if (type == ETH_P_IP)
		return read_ipv4(b, ret);
	if (type == ETH_P_IPV6)
		return read_ipv6(b, ret);
	return !ret->arp || b.len >= 28;
}
