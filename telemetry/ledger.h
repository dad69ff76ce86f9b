/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the kernel's cache of tuples (abi_accounts.h) to what the store counts: how much each slot has grown since it was
 * looked at, and what it came to in the end, from its record in the ring. Each packet once: a slot that another tuple has
 * taken is left alone until the record of the tuple of before is read. Memory of the maps is the caller's. One thread
 * uses it.
 */
#pragma once

#include <stdint.h>

#include "store.h"

struct ledger;

/* groups: the map of one epoch, in memory. */
int ledger_new(struct ledger **ret, const struct dp_account_group *groups, uint32_t count,
	       uint32_t epoch) _must_check_;

/* The store must be the one that it was fed into; NULL: it is gone, too. */
void ledger_free(struct ledger **l, struct store *store);

/* Looks at slots from..from + count - 1, as struct dp_record numbers them. */
void ledger_scan(struct ledger *l, struct store *store, uint32_t from, uint32_t count);

/* A record of the ring; false when it is of other maps. */
bool ledger_record(struct ledger *l, struct store *store, const struct dp_record *r);

struct ledger_totals {
	struct dp_count cached;   /* in slots, when they were looked at last */
	struct dp_count recorded; /* read from the ring */
	uint32_t used;            /* slots that hold a tuple */
};
struct ledger_totals ledger_totals(const struct ledger *l);
