/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The only file that compares a pointer with the end of the packet. */
#pragma once

#include <stdbool.h>

#include "pkt.h"

/* Budgets of the parser; past them a packet drops as too-many-headers. */
#define DP_TAGS_MAX        8
#define DP_EXT_HEADERS_MAX 8
#define DP_PARSE_BYTES     2048 /* where the last header that is read begins, at most */
#define DP_HEADER_MAX      64   /* and what is read of it, at most */

struct cursor {
	__u32 off;   /* from the start of the frame */
	__u32 limit; /* end of the IP datagram, which may be before the end of the frame */
};

/*
 * Returns x, and makes the verifier forget what it knows of it: what is read from a map is any number. Loops
 * over tags, options and headers forget their offset at each turn; without that, every turn is followed to
 * the end of the program with an offset of its own (kernel 6.18, clang 14: "BPF program is too large"). A
 * global function forgets too, but kernel 6.1 then asks of every number before the call to be exact, and the
 * turns differ again (the same message).
 */
static __always_inline __u32 forget(struct key *k, __u32 x)
{
	volatile __u32 *memory = &k->forgotten;

	*memory = x;
	return *memory;
}

/* Takes `bytes` at the cursor; NULL when they are not there, see short_of(). */
static __always_inline void *take(const struct pkt *pkt, struct cursor *c, __u32 bytes)
{
	__u64 off = c->off;
	void *at;

	/*
	 * The verifier needs a bound on what is added to a packet pointer, in the very register that is
	 * added: clang 14 else checks one copy and adds another ("R2 offset is outside of the packet").
	 */
	asm volatile("" : "+r"(off));
	if (off > DP_PARSE_BYTES)
		return NULL;
	at = pkt->data + off;
	if (at + bytes > pkt->end)
		return NULL;
	c->off = off + bytes;
	return at;
}

/* Why take() gave nothing. */
static __always_inline int short_of(const struct pkt *pkt, const struct cursor *c, __u32 bytes)
{
	if (c->off > DP_PARSE_BYTES)
		return -DP_REASON_TOO_MANY_HEADERS;
	if (c->off + bytes > pkt->len)
		return -DP_REASON_TRUNCATED;
	return -DP_REASON_NOT_LINEAR;
}
