/* SPDX-License-Identifier: Apache-2.0 */
/* See flows_watch.h. */
#include "flows_watch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <systemd/sd-event.h>

#include "counters.h"
#include "flows.h"
#include "flows_import.h"
#include "jsonobj.h"
#include "loader.h"
#include "log.h"

/* Slots of a slice: 4 MiB, a millisecond or two when none of it is in a cache. */
#define SLICE_SLOTS  65536
#define SLICE_GAP_US (100 * 1000)
#define REST_US      (1000 * 1000)

#define NS_PER_S   1000000000ull
#define RECENT_S   60 /* a count that rose within this time is worth a warning */
#define FULL_PARTS 4  /* more than 3 of 4 slots in use is, too */

enum table_kind {
	TABLE_FLOWS,
	TABLE_PENDING,
	TABLE_FRAGMENTS,
	TABLE_COUNT,
};

struct table {
	void *at; /* mapped */
	size_t bytes;
	uint32_t slots;
	uint64_t lost;    /* when it was looked at last */
	uint64_t lost_ns; /* when a rise was seen last, 0: never */
	bool warned;
};

static const struct {
	const char *name, *full, *losing;
	enum dp_state_counter lost;
} words[TABLE_COUNT] = {
	[TABLE_FLOWS] = { "established flows",
			  "a fresh start with a larger --flow-slots makes room",
			  "times a flow found no slot and stayed unconfirmed",
			  DP_STATE_FLOWS_FULL },
	[TABLE_PENDING] = { "unanswered flows", "this is what a flood looks like",
			    "of them gave way to newer ones, as in a flood",
			    DP_STATE_PENDING_LOST },
	[TABLE_FRAGMENTS] = { "fragmented datagrams",
			      "this is what a flood of fragments looks like",
			      "of them were forgotten before their time", DP_STATE_FRAGMENTS_LOST },
};

/* What a whole pass over the tables found. */
struct counted {
	struct flows_use flows;
	uint64_t used[TABLE_COUNT];
};

struct flows_watch {
	const struct loader *l; /* borrowed */
	sd_event_source *timer;
	struct table tables[TABLE_COUNT];
	bool stateful;
	enum table_kind next; /* the pass goes on at this slot of this table */
	uint32_t next_slot;
	struct counted part, whole;
	time_t whole_at; /* 0: no pass was finished */
	uint64_t imported;
};

/* ---- the timer ----------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* always there */
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static bool is_crowded(const struct flows_watch *w, enum table_kind kind)
{
	uint64_t slots = w->tables[kind].slots;

	return w->whole.used[kind] * FULL_PARTS > slots * (FULL_PARTS - 1);
}

static bool is_losing(const struct table *t)
{
	return t->lost_ns && now_ns() - t->lost_ns < RECENT_S * NS_PER_S;
}

static void note_losses(struct flows_watch *w, const struct dp_state_counters *counters)
{
	for (int i = 0; i < TABLE_COUNT; i++) {
		struct table *t = &w->tables[i];
		uint64_t lost = counters->count[words[i].lost];

		if (lost > t->lost)
			t->lost_ns = now_ns();
		t->lost = lost;
	}
}

/* One warning for a time of pressure: status says the rest. */
static void warn(struct flows_watch *w)
{
	for (int i = 0; i < TABLE_COUNT; i++) {
		struct table *t = &w->tables[i];
		bool pressed = is_crowded(w, (enum table_kind)i) || is_losing(t);

		if (pressed && !t->warned)
			log_warning("flows: %s: %" PRIu64 " of %u slots in use, %" PRIu64 " %s; "
				    "'penstock status' follows it",
				    words[i].name, w->whole.used[i], t->slots, t->lost,
				    words[i].losing);
		t->warned = pressed;
	}
}

static void finish_pass(struct flows_watch *w)
{
	struct dp_state_counters counters;

	w->whole = w->part;
	w->whole.used[TABLE_FLOWS] = w->whole.flows.used;
	w->whole_at = time(NULL);
	w->part = (struct counted){};
	if (counters_state(w->l, &counters) == 0) /* else the next pass looks again */
		note_losses(w, &counters);
	warn(w);
}

static void count_slice(struct flows_watch *w, uint32_t slots, uint32_t now)
{
	void *at = w->tables[w->next].at;

	switch (w->next) {
	case TABLE_FLOWS:
		flows_count((struct dp_flow *)at + w->next_slot, slots, now, &w->part.flows);
		return;
	case TABLE_PENDING:
		w->part.used[TABLE_PENDING] +=
			flows_count_pending((struct dp_flow *)at + w->next_slot, slots, now);
		return;
	case TABLE_FRAGMENTS:
		w->part.used[TABLE_FRAGMENTS] +=
			flows_count_fragments((struct dp_fragment *)at + w->next_slot, slots, now);
		return;
	case TABLE_COUNT:
		return;
	}
}

/* True when that was the last slice of a pass. */
static bool step(struct flows_watch *w)
{
	const struct table *t = &w->tables[w->next];
	uint32_t left = t->slots - w->next_slot;
	uint32_t slots = left < SLICE_SLOTS ? left : SLICE_SLOTS;

	count_slice(w, slots, flows_now());
	w->next_slot += slots;
	if (w->next_slot < t->slots)
		return false;
	w->next_slot = 0;
	w->next++;
	if (w->next < TABLE_COUNT)
		return false;
	w->next = TABLE_FLOWS;
	return true;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct flows_watch *w = ctx;
	bool whole = step(w);
	int r;

	(void)usec;
	if (whole)
		finish_pass(w);
	r = sd_event_source_set_time_relative(s, whole ? REST_US : SLICE_GAP_US);
	return r < 0 ? r : sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

int flows_watch_run(struct flows_watch *w, bool stateful)
{
	int r;

	if (stateful == w->stateful)
		return 0;
	w->stateful = stateful;
	w->next = TABLE_FLOWS;
	w->next_slot = 0;
	w->part = w->whole = (struct counted){};
	w->whole_at = 0;
	if (!stateful)
		return sd_event_source_set_enabled(w->timer, SD_EVENT_OFF);
	r = sd_event_source_set_time_relative(w->timer, 0);
	return r < 0 ? r : sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
}

/* ---- making and freeing -------------------------------------------------------------------------- */

void flows_watch_free(struct flows_watch **at)
{
	struct flows_watch *w = *at;

	if (!w)
		return;
	for (int i = 0; i < TABLE_COUNT; i++) {
		if (w->tables[i].at)
			(void)munmap(w->tables[i].at, w->tables[i].bytes); /* it is ours */
	}
	sd_event_source_unref(w->timer);
	free(w);
	*at = NULL;
}

static int map_table(struct table *t, int fd, uint32_t slots, size_t slot_bytes)
{
	size_t bytes = slots * slot_bytes;
	void *at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		return -errno;
	*t = (struct table){ .at = at, .bytes = bytes, .slots = slots };
	return 0;
}

int flows_watch_new(struct flows_watch **ret, struct sd_event *event, const struct loader *l)
{
	_cleanup_(flows_watch_free) struct flows_watch *w = calloc(1, sizeof(*w));
	struct dp_state_counters counters;
	int r;

	if (!w)
		return -ENOMEM;
	w->l = l;
	r = map_table(&w->tables[TABLE_FLOWS], l->flows, l->flow_slots, sizeof(struct dp_flow));
	if (!r)
		r = map_table(&w->tables[TABLE_PENDING], l->pending, DP_PENDING_SLOTS,
			      sizeof(struct dp_flow));
	if (!r)
		r = map_table(&w->tables[TABLE_FRAGMENTS], l->fragments, DP_FRAGMENT_SLOTS,
			      sizeof(struct dp_fragment));
	if (!r)
		r = counters_state(l, &counters);
	if (r)
		return r;
	for (int i = 0; i < TABLE_COUNT; i++)
		w->tables[i].lost = counters.count[words[i].lost];
	r = sd_event_add_time_relative(event, &w->timer, CLOCK_MONOTONIC, 0, 0, on_timer, w);
	if (r >= 0)
		r = sd_event_source_set_enabled(w->timer, SD_EVENT_OFF);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(w);
	return 0;
}

void flows_watch_imported(struct flows_watch *w, const struct flows_import *i)
{
	w->imported += i->put;
}

/* ---- what status says ---------------------------------------------------------------------------- */

static uint64_t adopt_seconds_left(const struct loader *l)
{
	uint32_t until = __atomic_load_n(&l->ctl_page->adopt_until, __ATOMIC_RELAXED);
	uint32_t now = flows_now();

	return until > now ? (((uint64_t)(until - now) << DP_TICK_SHIFT) + NS_PER_S - 1) / NS_PER_S
			   : 0;
}

static struct json_object *warnings(const struct flows_watch *w,
				    const struct dp_state_counters *counters)
{
	struct json_object *all = json_object_new_array();

	for (int i = 0; i < TABLE_COUNT; i++) {
		const struct table *t = &w->tables[i];
		uint64_t lost = counters->count[words[i].lost];

		if (is_crowded(w, (enum table_kind)i))
			json_append_text(all, "%s: %" PRIu64 " of %u slots are in use; %s",
					 words[i].name, w->whole.used[i], t->slots, words[i].full);
		if (lost > t->lost || is_losing(t))
			json_append_text(all, "%s: %" PRIu64 " %s, the last within %d s",
					 words[i].name, lost, words[i].losing, RECENT_S);
	}
	return all;
}

/* A table's size, and what it holds once that is known. */
static struct json_object *table_row(const struct flows_watch *w, enum table_kind kind)
{
	struct json_object *row = json_object_new_object();

	json_add_u64(row, "slots", w->tables[kind].slots);
	if (w->whole_at)
		json_add_u64(row, "used", w->whole.used[kind]);
	else
		json_add(row, "used", NULL);
	json_add(row, "losing", json_object_new_boolean(is_losing(&w->tables[kind])));
	return row;
}

static void add_counter(struct json_object *row, const char *key,
			const struct dp_state_counters *counters, enum dp_state_counter which)
{
	json_add_u64(row, key, counters->count[which]);
}

static struct json_object *flows_row(const struct flows_watch *w, const struct dp_state_counters *c)
{
	struct json_object *row = table_row(w, TABLE_FLOWS);
	const struct flows_use *use = &w->whole.flows;

	if (w->whole_at) {
		json_add_u64(row, "tcp", use->tcp);
		json_add_u64(row, "closing", use->closing);
		json_add_u64(row, "udp", use->udp);
		json_add_u64(row, "icmp", use->icmp);
		json_add_u64(row, "other", use->other);
	}
	add_counter(row, "new_count", c, DP_STATE_FLOWS_NEW);
	add_counter(row, "full_count", c, DP_STATE_FLOWS_FULL);
	add_counter(row, "adopted_count", c, DP_STATE_FLOWS_ADOPTED);
	json_add_u64(row, "imported_count", w->imported);
	return row;
}

static struct json_object *pending_row(const struct flows_watch *w,
				       const struct dp_state_counters *c, enum table_kind kind)
{
	struct json_object *row = table_row(w, kind);
	bool flows = kind == TABLE_PENDING;

	add_counter(row, "new_count", c, flows ? DP_STATE_PENDING_NEW : DP_STATE_FRAGMENTS_NEW);
	add_counter(row, "lost_count", c, words[kind].lost);
	return row;
}

struct json_object *flows_watch_report(const struct flows_watch *w, int *ret_error)
{
	struct dp_state_counters counters;
	struct json_object *json;
	char text[32] = "";
	struct tm utc;
	int r = counters_state(w->l, &counters);

	if (r < 0) {
		*ret_error = r;
		return NULL;
	}
	if (w->whole_at && gmtime_r(&w->whole_at, &utc))
		(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc); /* always fits */
	json = json_object_new_object();
	json_add(json, "stateful", json_object_new_boolean(w->stateful));
	json_add_u64(json, "adopt_seconds_left", adopt_seconds_left(w->l));
	json_add(json, "flows", flows_row(w, &counters));
	json_add(json, "pending", pending_row(w, &counters, TABLE_PENDING));
	json_add(json, "fragments", pending_row(w, &counters, TABLE_FRAGMENTS));
	json_add_text(json, "counted_at", *text ? text : NULL);
	json_add(json, "warnings", warnings(w, &counters));
	return json;
}
