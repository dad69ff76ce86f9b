/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See accounting.h. All of `struct accounting` but the first three members belongs to the thread; the loop hands it tasks:
 * a piece of reading on a timer, another size, a question.
 */
#include "accounting.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <systemd/sd-event.h>

#include "fail.h"
#include "ledger.h"
#include "loader.h"
#include "log.h"
#include "worker.h"

#define READ_GAP_US   (20 * 1000)
#define RECORDS_MOST  65536 /* of one piece of reading */
#define SLOTS_MOST    65536 /* likewise: a pass over a million takes a third of a second */
#define ROWS_MOST_MIN 4096

struct accounting {
	sd_event_source *timer;
	struct worker *worker;
	bool reading; /* a piece is under way */

	struct loader *l; /* borrowed */
	uint64_t flows, idle_ms;
	struct accounts_map map, before; /* before: until its last records are read */
	struct ledger *ledger, *ledger_before;
	struct store *store;
	struct accounts_ring *ring;
	const struct dp_account *dropped;
	uint32_t dropped_count;
	uint32_t next_slot;
	uint32_t records;     /* of this piece */
	struct dp_count read; /* from the ring, since this daemon began */
	char why[160];
};

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* always there */
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void add(struct dp_count *to, struct dp_count n)
{
	to->packets += n.packets;
	to->bytes += n.bytes;
}

/* ---- reading -------------------------------------------------------------------------------------------- */

static bool on_record(void *ctx, const struct dp_record *r)
{
	struct accounting *a = ctx;
	bool known = (a->ledger && ledger_record(a->ledger, a->store, r)) ||
		     (a->ledger_before && ledger_record(a->ledger_before, a->store, r));
	const struct dp_count n = dp_account_count(&r->account);
	struct store_flow *f;

	if (!known) { /* of a map that no daemon remembers: whole */
		f = store_count(a->store, &r->account, &r->birth, n.packets, n.bytes);
		if (f)
			store_release(a->store, f);
	}
	add(&a->read, n);
	return ++a->records < RECORDS_MOST;
}

static void read_records(struct accounting *a)
{
	int r;

	a->records = 0;
	r = accounts_ring_read(a->ring);
	if (r < 0)
		(void)snprintf(a->why, sizeof(a->why), "the ring of records cannot be read: %s",
			       strerrordesc_np(-r)); /* cut when it is long */
}

/* Until nothing is left of what was there: the ring may hold more than a piece of reading. */
static void drain(struct accounting *a)
{
	for (uint32_t n = 0; n < DP_RECORDS_BYTES / sizeof(struct dp_record); n += RECORDS_MOST) {
		read_records(a);
		if (a->records < RECORDS_MOST)
			return;
	}
}

static uint32_t slots(const struct accounting *a)
{
	return a->map.count * DP_ACCOUNT_WAYS;
}

/* With all that packets have left so far. */
static void catch_up(struct accounting *a)
{
	drain(a);
	if (a->ledger)
		ledger_scan(a->ledger, a->store, 0, slots(a));
}

static void read_piece(void *ctx)
{
	struct accounting *a = ctx;

	read_records(a);
	if (!a->ledger)
		return;
	ledger_scan(a->ledger, a->store, a->next_slot, SLOTS_MOST);
	a->next_slot = slots(a) - a->next_slot > SLOTS_MOST ? a->next_slot + SLOTS_MOST : 0;
}

static void on_read(void *ctx)
{
	struct accounting *a = ctx;

	a->reading = false;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct accounting *a = ctx;
	int r = sd_event_source_set_time_relative(s, READ_GAP_US);

	(void)usec;
	if (r >= 0)
		r = sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	if (r >= 0 && !a->reading)
		a->reading = worker_submit(a->worker, read_piece, on_read, a) >= 0;
	return r;
}

/* ---- another size ----------------------------------------------------------------------------------------- */

/* Rows that the cache may hold, and as many that have left it. */
static size_t rows_most(const struct accounting *a)
{
	return slots(a) + a->flows + ROWS_MOST_MIN;
}

/* What is left of the map of before: its records are in the ring, its slots are as they were last. */
static void settle(struct accounting *a)
{
	if (!a->ledger_before)
		return;
	drain(a);
	ledger_scan(a->ledger_before, a->store, 0, a->before.count * DP_ACCOUNT_WAYS);
	a->l->ctl_page->settled_packets += ledger_totals(a->ledger_before).cached.packets;
	a->l->ctl_page->settled_bytes += ledger_totals(a->ledger_before).cached.bytes;
	ledger_free(&a->ledger_before, a->store);
	accounts_unmap(&a->before);
}

static int follow(struct accounting *a)
{
	int r = 0;

	if (a->map.groups)
		r = ledger_new(&a->ledger, a->map.groups, a->map.count, a->map.epoch);
	a->next_slot = 0;
	store_resize(a->store, rows_most(a));
	return r;
}

struct want {
	struct accounting *a;
	uint64_t flows, idle_ms;
	char *why;
	int r;
};

static void resize(void *ctx)
{
	struct want *w = ctx;
	struct accounting *a = w->a;
	uint32_t groups = accounts_groups(w->flows);
	uint32_t have = a->l->ctl_page->account_groups;

	a->idle_ms = w->idle_ms;
	a->flows = w->flows;
	if (groups == have && !groups == !a->map.groups) {
		store_resize(a->store, rows_most(a));
		return;
	}
	w->r = accounts_resize(a->l, groups, &a->map, &a->before, &w->why);
	if (w->r < 0) {
		(void)snprintf(a->why, sizeof(a->why), "%s", w->why); /* cut when it is long */
		return;
	}
	*a->why = '\0';
	a->ledger_before = TAKE_PTR(a->ledger);
	w->r = follow(a);
	settle(a);
}

static void on_resized(void *ctx)
{
	struct want *w = ctx;

	if (w->r < 0)
		log_error("accounting: %s", w->why ? w->why : strerrordesc_np(-w->r));
	free(w->why);
	free(w);
}

void accounting_want(struct accounting *a, uint64_t flows, uint64_t idle_ms)
{
	struct want *w = calloc(1, sizeof(*w));

	if (!w) {
		log_error("accounting: out of memory");
		return;
	}
	*w = (struct want){ .a = a, .flows = flows, .idle_ms = idle_ms };
	if (worker_submit(a->worker, resize, on_resized, w) < 0)
		free(w); /* the daemon stops */
	else if (sd_event_source_set_enabled(a->timer, flows ? SD_EVENT_ONESHOT : SD_EVENT_OFF) < 0)
		log_error("accounting: the timer cannot be set");
}

/* ---- questions ---------------------------------------------------------------------------------------------- */

struct question {
	struct accounting *a;
	void *ask;
	void (*done)(void *ctx, int error);
	void *ctx;
	int error;
};

static void on_answered(void *ctx)
{
	struct question *q = ctx;

	q->done(q->ctx, q->error);
	free(q);
}

static int ask(struct accounting *a, void (*run)(void *ctx), void *what,
	       void (*done)(void *ctx, int error), void *ctx)
{
	struct question *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return -ENOMEM;
	*q = (struct question){ .a = a, .ask = what, .done = done, .ctx = ctx };
	r = worker_submit(a->worker, run, on_answered, q);
	if (r < 0)
		free(q);
	return r;
}

static void sum_kept(const struct accounting *a, struct dp_count *ret)
{
	*ret = (struct dp_count){};
	for (uint32_t i = 0; a->dropped && i < a->dropped_count; i++)
		add(ret, dp_account_count(&a->dropped[i]));
}

static void read_sums(void *ctx)
{
	struct question *q = ctx;
	struct accounting *a = q->a;
	struct accounting_sums *s = q->ask;
	struct dp_account_totals t;

	*s = (struct accounting_sums){ .on = a->map.groups,
				       .flows_wanted = a->flows,
				       .idle_ms = a->idle_ms,
				       .slots = slots(a) };
	q->error = accounts_totals(a->l, &t);
	if (q->error < 0)
		return;
	catch_up(a);
	if (a->ledger) {
		struct ledger_totals l = ledger_totals(a->ledger);

		s->cached = l.cached;
		s->used = l.used;
	}
	sum_kept(a, &s->kept);
	s->passed = t.passed;
	s->dropped = t.dropped;
	s->recorded = t.recorded;
	s->unread = (struct dp_count){ t.recorded.packets - a->read.packets,
				       t.recorded.bytes - a->read.bytes };
	s->unaccounted = t.unaccounted;
	s->elsewhere = t.elsewhere;
	s->settled =
		(struct dp_count){ a->l->ctl_page->settled_packets, a->l->ctl_page->settled_bytes };
	s->folded = t.folded;
	s->store = store_totals(a->store);
	memcpy(s->why, a->why, sizeof(s->why));
}

int accounting_ask_sums(struct accounting *a, struct accounting_sums *ret,
			void (*done)(void *ctx, int error), void *ctx)
{
	return ask(a, read_sums, ret, done, ctx);
}

static int copy_sorted(const struct store *s, struct accounting_page *p)
{
	size_t left = p->from < p->asked ? p->asked - p->from : 0;
	size_t end = p->from + (p->most < left ? p->most : left), count;
	_cleanup_free_ const struct store_flow **newest = NULL;

	if (!left)
		return 0;
	newest = calloc(end, sizeof(*newest));
	if (!newest)
		return -ENOMEM;
	count = store_newest(s, newest, end);
	for (size_t i = p->from; i < count; i++)
		p->rows[p->count++] = *newest[i];
	p->next = count == end && end < p->asked && end < p->total ? end : 0;
	return 0;
}

static int copy_page(const struct store *s, struct accounting_page *p)
{
	p->rows = reallocarray(NULL, p->most ? p->most : 1, sizeof(*p->rows));
	if (!p->rows)
		return -ENOMEM;
	p->total = store_totals(s).rows;
	if (p->asked <= ACCOUNTING_SORTED)
		return copy_sorted(s, p);
	p->next = p->from;
	p->count = store_walk(s, &p->next, p->rows, p->most);
	return 0;
}

/* Dropped tuples as rows of a store of their own, which is made for the question. */
static int copy_dropped(const struct accounting *a, struct accounting_page *p)
{
	_cleanup_(store_free) struct store *s = NULL;
	int r = store_new(&s, a->dropped_count);

	for (uint32_t i = 0; !r && a->dropped && i < a->dropped_count; i++) {
		const struct dp_account tuple = a->dropped[i];
		const struct dp_birth birth = { .first_ns = (uint64_t)tuple.seen << DP_TICK_SHIFT };

		const struct dp_count n = dp_account_count(&tuple);

		if (n.packets) /* counted, or not a row */
			(void)store_count(s, &tuple, &birth, n.packets, n.bytes);
	}
	return r ?: copy_page(s, p);
}

static void read_page(void *ctx)
{
	struct question *q = ctx;
	struct accounting *a = q->a;
	struct accounting_page *p = q->ask;

	if (!p->from) /* what is asked now is of now */
		catch_up(a);
	p->now_ns = now_ns();
	p->idle_ms = a->idle_ms;
	q->error = p->dropped ? copy_dropped(a, p) : copy_page(a->store, p);
}

int accounting_ask_page(struct accounting *a, struct accounting_page *page,
			void (*done)(void *ctx, int error), void *ctx)
{
	return ask(a, read_page, page, done, ctx);
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

void accounting_free(struct accounting **at)
{
	struct accounting *a = *at;

	if (!a)
		return;
	worker_free(&a->worker);
	sd_event_source_disable_unref(a->timer);
	ledger_free(&a->ledger, NULL);
	ledger_free(&a->ledger_before, NULL);
	store_free(&a->store);
	accounts_ring_free(&a->ring);
	accounts_unmap(&a->map);
	accounts_unmap(&a->before);
	if (a->dropped)
		(void)munmap((void *)a->dropped, a->dropped_count * sizeof(*a->dropped));
	free(a);
	*at = NULL;
}

static int open_maps(struct accounting *a)
{
	int r = accounts_open(a->l, &a->map);

	if (!r)
		r = accounts_ring_new(&a->ring, a->l, on_record, a);
	if (r < 0)
		return r;
	a->dropped = accounts_map_dropped(a->l, &a->dropped_count);
	return a->dropped ? follow(a) : -errno;
}

int accounting_new(struct accounting **ret, struct sd_event *event, struct loader *l,
		   char **ret_why)
{
	_cleanup_(accounting_free) struct accounting *a = calloc(1, sizeof(*a));
	int r = a ? store_new(&a->store, ROWS_MOST_MIN) : -ENOMEM;

	if (!r) {
		a->l = l;
		r = open_maps(a);
	}
	if (!r)
		r = worker_new(&a->worker, event);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &a->timer, CLOCK_MONOTONIC, 0, 0, on_timer,
					       a);
	if (r >= 0)
		r = sd_event_source_set_enabled(a->timer, SD_EVENT_OFF);
	if (r < 0)
		return fail(ret_why, r, "the accounts cannot be read: %s", strerrordesc_np(-r));
	*ret = TAKE_PTR(a);
	return 0;
}
