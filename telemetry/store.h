/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows as people speak of them: both directions of a conversation in one row, whichever CPUs, devices and hooks saw
 * its packets. Fed with what was counted since the last time, by ledger.h; knows nothing of maps or clocks. Rows that
 * are still in the kernel's cache stay; of the others the ones longest without a packet give way when there are too many,
 * into a sum. One thread uses it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi.h"
#include "cleanup.h"

struct store;

struct store_end {
	uint32_t addr[4]; /* host order; IPv4 in the first, the others 0 */
	uint16_t
		port; /* ICMP: of an echo the identifier for who asks and 0 for the other, else 0 and type << 8 | code */
};

/* One direction. */
struct store_way {
	uint64_t packets, bytes;
	uint64_t first_ns, second_ns; /* of its oldest account: see struct dp_birth */
	uint32_t decided;             /* DP_DECIDED, of the last packet; 0: there was none */
	uint32_t decided_before;      /* of what came before its last change, 0: none */
	uint64_t packets_before;      /* until that change */
	uint32_t ifindex;             /* where its packets were seen */
	uint16_t vlan;
	uint8_t egress;
	uint8_t flags; /* TCP, all that were seen */
};

enum store_direction {
	STORE_FORTH, /* from who began */
	STORE_BACK,
	STORE_DIRECTIONS,
};

struct store_flow {
	struct store_end from, to; /* from: who sent the first packet that was seen, or the SYN */
	uint8_t proto;
	uint8_t kind; /* enum dp_account_kind, without DP_ACCOUNT_EGRESS */
	struct store_way way[STORE_DIRECTIONS];
	uint64_t last_ns; /* of the last packet, as coarse as a tick of the tables */
	/* The store's own. */
	uint32_t held; /* slots of the kernel's cache that are of it */
	struct store_flow *chain, *newer, *older;
};

/* most: rows that may stay. -ENOMEM. */
int store_new(struct store **ret, size_t most) _must_check_;
void store_free(struct store **s);
void store_resize(struct store *s, size_t most);

/*
 * What a slot counted since it was looked at last. The row is held until store_release(); NULL without memory, and
 * the counts are then in the sum of what gave way.
 */
struct store_flow *store_count(struct store *s, const struct dp_account *a,
			       const struct dp_birth *b, uint64_t packets, uint64_t bytes);
void store_release(struct store *s, struct store_flow *f);

struct store_totals {
	size_t rows;
	size_t forgotten;           /* rows that gave way */
	struct dp_count kept, gone; /* of the rows, and of those that gave way */
	size_t bytes;               /* of memory */
};
struct store_totals store_totals(const struct store *s);

/* All rows, in no order that means anything; NULL at the end. The first for NULL. */
const struct store_flow *store_next(const struct store *s, const struct store_flow *f);

/*
 * Copies at most so many rows, from *at on, 0 for the first; *at is then where to go on, 0 at the end. A row that stays comes
 * once, unless the store is resized meanwhile. Costs as much as it gives.
 */
size_t store_walk(const struct store *s, uint64_t *at, struct store_flow *ret, size_t most);

/* The rows with the newest packets, at most so many, newest first. How many there are. */
size_t store_newest(const struct store *s, const struct store_flow **ret, size_t most);

/* Time from the SYN to the segment that ended the handshake, as this host saw it; 0: not known. */
uint64_t store_handshake_ns(const struct store_flow *f);
