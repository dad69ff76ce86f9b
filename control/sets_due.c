/* SPDX-License-Identifier: Apache-2.0 */
/* See sets_due.h. A binary heap; equal ticks, which a bulk of members has, are never moved past each other. */
#include "sets_due.h"

#include <errno.h>
#include <string.h>

int sets_due_reserve(struct sets_due *d, uint32_t members)
{
	struct sets_due_entry *heap;
	uint32_t *place;

	if (members <= d->members)
		return 0;
	heap = reallocarray(d->heap, members, sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	d->heap = heap;
	/* Memory that comes zeroed is touched when it is used, not here. */
	place = calloc(members, sizeof(*place));
	if (!place)
		return -ENOMEM;
	if (d->members)
		memcpy(place, d->place, d->members * sizeof(*place));
	free(d->place);
	d->place = place;
	d->members = members;
	return 0;
}

void sets_due_done(struct sets_due *d)
{
	free(d->heap);
	free(d->place);
	*d = (struct sets_due){};
}

static void set_at(struct sets_due *d, uint32_t at, struct sets_due_entry e)
{
	d->heap[at] = e;
	d->place[e.member] = at + 1;
}

static void move_up(struct sets_due *d, uint32_t at, struct sets_due_entry e)
{
	while (at && d->heap[(at - 1) / 2].tick > e.tick) {
		set_at(d, at, d->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	set_at(d, at, e);
}

static void move_down(struct sets_due *d, uint32_t at, struct sets_due_entry e)
{
	for (uint32_t child; (child = 2 * at + 1) < d->count; at = child) {
		if (child + 1 < d->count && d->heap[child + 1].tick < d->heap[child].tick)
			child++;
		if (d->heap[child].tick >= e.tick)
			break;
		set_at(d, at, d->heap[child]);
	}
	set_at(d, at, e);
}

void sets_due_put(struct sets_due *d, uint32_t member, uint32_t tick)
{
	struct sets_due_entry e = { tick, member };
	uint32_t at = d->place[member];

	if (!at)
		move_up(d, d->count++, e);
	else if (tick < d->heap[at - 1].tick)
		move_up(d, at - 1, e);
	else
		move_down(d, at - 1, e);
}

void sets_due_drop(struct sets_due *d, uint32_t member)
{
	uint32_t at = d->place[member], tick;
	struct sets_due_entry last;

	if (!at)
		return;
	d->place[member] = 0;
	tick = d->heap[--at].tick;
	last = d->heap[--d->count];
	if (at == d->count)
		return;
	if (last.tick < tick)
		move_up(d, at, last);
	else
		move_down(d, at, last);
}

const struct sets_due_entry *sets_due_first(const struct sets_due *d)
{
	return d->count ? &d->heap[0] : NULL;
}
