/* SPDX-License-Identifier: Apache-2.0 */
/* See ledger.h. */
#include "ledger.h"

#include <errno.h>
#include <stdlib.h>

#define TRIES 4 /* of reading a slot that a packet is counted in */

/* What was counted of a slot. */
struct tally {
	struct store_flow *flow; /* held; NULL: there was no memory for it */
	uint64_t packets, bytes;
	uint32_t generation;
	bool open; /* the record of this generation has not come */
};

struct ledger {
	const struct dp_account_group *groups;
	uint32_t slots, epoch;
	struct tally *tallies;
	struct ledger_totals totals;
};

int ledger_new(struct ledger **ret, const struct dp_account_group *groups, uint32_t count,
	       uint32_t epoch)
{
	struct ledger *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	*l = (struct ledger){ .groups = groups, .slots = count * DP_ACCOUNT_WAYS, .epoch = epoch };
	l->tallies = calloc(l->slots, sizeof(*l->tallies));
	if (!l->tallies) {
		free(l);
		return -ENOMEM;
	}
	*ret = l;
	return 0;
}

void ledger_free(struct ledger **at, struct store *store)
{
	struct ledger *l = *at;

	if (!l)
		return;
	for (uint32_t i = 0; store && i < l->slots; i++)
		if (l->tallies[i].flow)
			store_release(store, l->tallies[i].flow);
	free(l->tallies);
	free(l);
	*at = NULL;
}

/* What is new of a slot that stands as in a and b. */
static void count(struct ledger *l, struct store *store, struct tally *t,
		  const struct dp_account *a, const struct dp_birth *b)
{
	const struct dp_count n = dp_account_count(a);
	struct store_flow *f;

	if (n.packets == t->packets && n.bytes == t->bytes)
		return;
	f = store_count(store, a, b, n.packets - t->packets, n.bytes - t->bytes);
	if (t->flow)
		store_release(store, t->flow);
	l->totals.cached.packets += n.packets - t->packets;
	l->totals.cached.bytes += n.bytes - t->bytes;
	*t = (struct tally){ f, n.packets, n.bytes, b->generation, t->open };
}

/*
 * A copy of a slot as it was at one moment: packets are counted in it on their CPU meanwhile. The program clears the
 * packets before it raises the generation, so the generation is read first and last: a tuple that comes between has
 * another one. False when the slot is free, or changes too fast; it is then looked at the next time.
 */
static bool copy_slot(const struct ledger *l, uint32_t slot, struct dp_account *ret_a,
		      struct dp_birth *ret_b)
{
	const struct dp_account_group *g = &l->groups[slot / DP_ACCOUNT_WAYS];
	const struct dp_account *a = &g->way[slot % DP_ACCOUNT_WAYS];
	const struct dp_birth *b = &g->birth[slot % DP_ACCOUNT_WAYS];

	for (int i = 0; i < TRIES; i++) {
		uint32_t generation = __atomic_load_n(&b->generation, __ATOMIC_ACQUIRE);
		uint64_t packets = __atomic_load_n(&a->packets, __ATOMIC_ACQUIRE);

		if (!packets)
			return false;
		*ret_a = *a;
		*ret_b = *b;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (__atomic_load_n(&a->packets, __ATOMIC_RELAXED) == packets &&
		    ret_a->packets == packets &&
		    __atomic_load_n(&b->generation, __ATOMIC_RELAXED) == generation)
			return true;
	}
	return false;
}

void ledger_scan(struct ledger *l, struct store *store, uint32_t from, uint32_t count_of)
{
	for (uint32_t slot = from; slot < from + count_of && slot < l->slots; slot++) {
		struct tally *t = &l->tallies[slot];
		struct dp_account a;
		struct dp_birth b;

		if (!copy_slot(l, slot, &a, &b) || (t->open && t->generation != b.generation))
			continue;
		l->totals.used += !t->open;
		t->open = true;
		count(l, store, t, &a, &b);
	}
}

bool ledger_record(struct ledger *l, struct store *store, const struct dp_record *r)
{
	const struct dp_count n = dp_account_count(&r->account);
	struct tally *t, none = {};

	if (r->birth.epoch != l->epoch || r->slot >= l->slots)
		return false;
	t = &l->tallies[r->slot];
	if (!t->open || t->generation != r->birth.generation)
		t = &none; /* it came and went between two looks */
	count(l, store, t, &r->account, &r->birth);
	if (t->flow)
		store_release(store, t->flow);
	l->totals.used -= t->open;
	*t = (struct tally){};
	l->totals.cached.packets -= n.packets;
	l->totals.cached.bytes -= n.bytes;
	l->totals.recorded.packets += n.packets;
	l->totals.recorded.bytes += n.bytes;
	return true;
}

struct ledger_totals ledger_totals(const struct ledger *l)
{
	return l->totals;
}
