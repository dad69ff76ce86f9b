/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What IPv4 headers alone have: options and a checksum (RFC 791). */
#pragma once

#include <linux/ip.h>

#include "bits.h"
#include "cursor.h"

#define DP_IPV4_OPTIONS_MAX 40 /* bytes: a header has at most 60 */

enum ipv4_option {
	IPV4_OPTION_END = 0,
	IPV4_OPTION_NOP = 1,
	IPV4_OPTION_LSRR = 0x83,
	IPV4_OPTION_SSRR = 0x89,
};

/* Options between the fixed header and c->off + bytes; the cursor ends behind them. */
static __always_inline int parse_ipv4_options(const struct pkt *pkt, struct cursor *c, __u32 bytes)
{
	struct cursor at = *c;
	__u32 end = c->off + bytes;
	const __u8 *option;

	c->off = end;
	for (int i = 0; i < DP_IPV4_OPTIONS_MAX && at.off < end; i++) {
		at.off = forget(pkt->key, at.off);
		option = take(pkt, &at, 1);
		if (!option)
			return short_of(pkt, &at, 1);
		if (*option == IPV4_OPTION_END)
			return 0;
		if (*option == IPV4_OPTION_NOP)
			continue;
		if (*option == IPV4_OPTION_LSRR || *option == IPV4_OPTION_SSRR)
			return -DP_REASON_SOURCE_ROUTE;
		if (at.off >= end)
			return -DP_REASON_BAD_OPTION;
		option = take(pkt, &at, 1);
		if (!option)
			return short_of(pkt, &at, 1);
		if (*option < 2 || at.off + *option - 2 > end)
			return -DP_REASON_BAD_OPTION;
		at.off += *option - 2;
	}
	return 0;
}

/* 1 when the checksum is right, by sums without a branch; of a header without options, as flows mostly have. */
static __always_inline __u32 checksum_is_good(const struct iphdr *ip)
{
	const __u32 *word = (const void *)ip;
	__u64 sum = (__u64)word[0] + word[1] + word[2] + word[3] + word[4];

	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return is_zero((sum & 0xffff) + (sum >> 16) ^ 0xffff);
}
