/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of flows (abi.h) in the daemon's memory: putting in flows that are older than the policy, and
 * counting. Packets read and write them at the same time. Knows nothing of maps; the memory is the caller's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi.h"

struct flows {
	struct dp_flow *at;
	uint32_t slots; /* a power of two */
	const __u64 *hash_key;
};

struct flows_end {
	uint32_t addr[4]; /* host order; IPv4 in the first */
	uint16_t port;    /* ICMP echo: the identifier for the end that asks, 0 for the other */
};

struct flows_entry {
	struct flows_end from, to; /* from: who began it */
	uint8_t ipv6, proto;
};

/* Name of a flow; ret_initiator: which end of it is e->from. */
struct dp_flow_key flows_key(const struct flows_entry *e, uint32_t *ret_initiator);

enum flows_put {
	FLOWS_PUT_NEW,
	FLOWS_PUT_KNOWN, /* is there already and stays as it is */
	FLOWS_PUT_FULL,
	FLOWS_PUT_COUNT,
};

/* Puts a flow that both ends have taken part in among the established ones. now: tick. */
enum flows_put flows_put(const struct flows *f, const struct flows_entry *e, uint32_t now);

/* Live flows by kind; used is the sum of the others. */
struct flows_use {
	uint64_t used;
	uint64_t tcp, closing, udp, icmp,
		other; /* closing: TCP that both ends have left, or a reset has */
};

/* Adds those of `count` slots to ret. */
void flows_count(const struct dp_flow *at, uint32_t count, uint32_t now, struct flows_use *ret);

/* How many of `count` slots hold a flow that waits for its reply, or a datagram that waits for its rest. */
uint64_t flows_count_pending(const struct dp_flow *at, uint32_t count, uint32_t now);
uint64_t flows_count_fragments(const struct dp_fragment *at, uint32_t count, uint32_t now);

/* Whether packets still find it: among the established flows, among the pending ones. */
bool flows_is_live(const struct dp_flow *f, uint32_t now);
bool flows_is_pending(const struct dp_flow *f, uint32_t now);
bool flows_is_fragment(const struct dp_fragment *f, uint32_t now);

uint32_t flows_now(void);       /* tick of this moment */
uint32_t flows_at(uint64_t ms); /* the first tick that begins so long from now, or later */
