/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's cache of tuples (abi_accounts.h): its map, its size, and the ring that its records come by. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi.h"
#include "cleanup.h"

struct loader;

struct accounts_map {
	struct dp_account_group *groups; /* mapped, NULL for none */
	uint32_t count;                  /* of all CPUs */
	uint32_t epoch;
};

void accounts_unmap(struct accounts_map *m);

/* Groups of each CPU for so many flows at once, both directions of each: a power of two. */
uint32_t accounts_groups(uint64_t flows);
/* A number of flows that gets so many groups. */
uint64_t accounts_flows(uint32_t groups);

/* Maps what a start found pinned; nothing for none. */
int accounts_open(const struct loader *l, struct accounts_map *ret) _must_check_;

/*
 * Makes packets look at so many groups a CPU, 0 for none, and gives the map of before: no packet is in it any more, and
 * its last records are in the ring. Nothing is changed when it fails, with a sentence. May take long: it fills
 * the map, and waits for packets.
 */
int accounts_resize(struct loader *l, uint32_t groups, struct accounts_map *map,
		    struct accounts_map *ret_before, char **ret_why) _must_check_;

/* What all CPUs have counted. */
int accounts_totals(const struct loader *l, struct dp_account_totals *ret) _must_check_;

/* The table of dropped tuples, mapped; *ret_count slots. NULL with errno. */
const struct dp_account *accounts_map_dropped(const struct loader *l, uint32_t *ret_count);

/* A reader of the ring. on_record gives false to stop for now. */
struct accounts_ring;
int accounts_ring_new(struct accounts_ring **ret, const struct loader *l,
		      bool (*on_record)(void *ctx, const struct dp_record *r),
		      void *ctx) _must_check_;
void accounts_ring_free(struct accounts_ring **ring);
int accounts_ring_read(struct accounts_ring *ring) _must_check_; /* until it is empty, or stopped */
