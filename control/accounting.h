/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads what packets leave in the cache of tuples, all the time and on a thread of its own, into telemetry's store, and
 * answers what is asked about it. The loop never waits for a table, nor for the store.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "accounts.h"
#include "store.h"

struct accounting;
struct loader;
struct sd_event;

/* Goes on with the map that a start found. */
int accounting_new(struct accounting **ret, struct sd_event *event, struct loader *l,
		   char **ret_why) _must_check_;

/* The packets' map stays; every question is answered first. */
void accounting_free(struct accounting **a);

/* As the running policy asks: flows at once, 0 for none, and the silence that ends one. */
void accounting_want(struct accounting *a, uint64_t flows, uint64_t idle_ms);

/* What all packets came to. Exact when no packet came while it was read. */
struct accounting_sums {
	bool on;
	uint64_t flows_wanted, idle_ms;
	uint32_t slots, used;            /* of the cache, all CPUs */
	struct dp_count passed, dropped; /* at all hooks, since packets are accounted */
	struct dp_count cached;          /* in slots */
	struct dp_count settled;         /* in slots of maps of before, when they were given up */
	struct dp_count recorded;        /* have left slots for the ring */
	struct dp_count unread;          /* of those, not read yet, or by a daemon before */
	struct dp_count unaccounted, elsewhere;
	struct dp_count kept, folded; /* dropped: their tuples are there, or not */
	struct store_totals store;
	char why[160]; /* what went wrong last, "" for nothing */
};

/* One page of rows: of few the newest first, of many in no order. `asked` must be the same for all pages of one list. */
#define ACCOUNTING_SORTED 1000
struct accounting_page {
	uint64_t from; /* 0, or `next` of the page before */
	size_t most;
	uint64_t asked; /* rows of all pages together */
	bool dropped;   /* of dropped tuples, not of flows */
	/* The answer. */
	struct store_flow *rows;
	size_t count;
	uint64_t total;
	uint64_t next; /* 0: there is no other page */
	uint64_t now_ns, idle_ms;
};

/*
 * Asked on the loop; done() is called there, with an error or 0. What it points to is the asker's, and must stay until
 * then. -ESHUTDOWN, -ENOMEM: not asked.
 */
int accounting_ask_sums(struct accounting *a, struct accounting_sums *ret,
			void (*done)(void *ctx, int error), void *ctx) _must_check_;
int accounting_ask_page(struct accounting *a, struct accounting_page *page,
			void (*done)(void *ctx, int error), void *ctx) _must_check_;
