/* SPDX-License-Identifier: Apache-2.0 */
/* See sets.h. */
#include "sets.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include <systemd/sd-event.h>

#include "diag.h"
#include "fail.h"
#include "generation.h"
#include "install.h"
#include "loader.h"
#include "log.h"
#include "sets_map.h"
#include "worker.h"

#define SLICE_NS     1000000ull /* of the loop's time; others have their turn in between */
#define SLICE_STEP   128u       /* members between two looks at the clock */
#define PURGE_STEP   4096u      /* member numbers, most of which are somebody else's */
#define NS_PER_S     1000000000ull
#define NS_PER_MS    1000000ull
#define NS_PER_US    1000ull
#define QUEUED_MOST  SETS_MEMBERS_MAX /* keys of all requests that wait */
#define EXPIRES_LAST UINT32_MAX
#define TIMER_US     50000ull /* how late the timer may be */

enum phase {
	PHASE_COUNT, /* how many are new? */
	PHASE_LINK,
	PHASE_UNLINK,
};

struct sets_op {
	struct sets_op *next;
	struct sets_request request;
	enum phase phase;
	uint8_t number;
	uint32_t expires;
	size_t at;       /* the next key */
	size_t from;     /* where counting and linking begin: what is before is linked */
	uint64_t fresh;  /* keys that are no members yet */
	bool long_chain; /* one of them needs a larger table whatever room there is */
	struct sets_outcome outcome;
	char *why;
	sets_done_fn *done;
	void *ctx;
};

struct sets {
	struct worker *worker;
	struct loader *loader;
	struct generation *const *running;
	struct sets_table table;
	struct sets_map map;
	sd_event_source *work, *timer;
	bool stopping;

	struct sets_op *op, *first, **last; /* under way; waiting */
	size_t queued;
	uint64_t purge; /* numbers whose members go */
	uint32_t purge_at;

	/* While the worker has the table nobody changes it. */
	bool lent;
	uint32_t grow_to; /* the worker's */
	struct sets_map grown;
	int worker_error;
	char *worker_why;
};

/* ---- time ------------------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* always there */
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint32_t sets_now(void)
{
	return (uint32_t)(now_ns() >> DP_TICK_SHIFT);
}

/* A member is there for at most its time: what is left of a tick is not counted. */
static uint32_t expires_after(uint64_t ttl_ms)
{
	uint64_t end;

	if (!ttl_ms)
		return 0;
	end = (now_ns() + ttl_ms * NS_PER_MS) >> DP_TICK_SHIFT;
	return end < EXPIRES_LAST ? (uint32_t)end : EXPIRES_LAST;
}

/* ---- requests --------------------------------------------------------------------------------- */

void sets_request_done(struct sets_request *r)
{
	free(r->set);
	vec_done(&r->keys);
	*r = (struct sets_request){};
}

static void wake(struct sets *s)
{
	if (!s->stopping && !s->lent)
		(void)sd_event_source_set_enabled(s->work, SD_EVENT_ONESHOT); /* cannot fail */
}

static const char *nearest(const struct generation *g, const char *name)
{
	_cleanup_free_ const char **names = NULL;
	size_t count = g ? g->sets.count : 0;

	names = count ? calloc(count, sizeof(*names)) : NULL;
	for (size_t i = 0; names && i < count; i++)
		names[i] = g->sets.at[i].name;
	return names ? diag_nearest(name, names, count) : NULL;
}

const struct generation_set *sets_find(const struct sets *s, const char *name, int *ret_error,
				       char **ret_why)
{
	const struct generation_set *set = generation_set(*s->running, name);
	const char *near;

	if (set && set->runtime)
		return set;
	if (set) {
		*ret_error =
			fail(ret_why, -EPERM, "set '%s' has neither max nor ttl: change its %s",
			     name, set->file ? "file and apply the policy" : "items in the policy");
		return NULL;
	}
	near = nearest(*s->running, name);
	*ret_error = fail(ret_why, -ENOENT, "there is no set '%s'%s%s%s", name,
			  near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	return NULL;
}

/* ---- the end of a request ------------------------------------------------------------------------------ */

static void op_free(struct sets_op *op)
{
	sets_request_done(&op->request);
	vec_done(&op->outcome.absent);
	free(op->why);
	free(op);
}

/* What the set holds, as the answer has it. */
static void describe(const struct sets *s, struct sets_op *op)
{
	const struct generation_set *set = generation_set(*s->running, op->request.set);
	struct sets_outcome *o = &op->outcome;

	o->set = op->request.set;
	o->why = op->why ? op->why : strerrordesc_np(-o->error);
	if (!set || !set->runtime)
		return;
	o->members = s->table.count[set->number];
	o->policy = set->members;
	o->max = set->max;
}

static void finish(struct sets *s, struct sets_op *op, int error)
{
	op->outcome.error = error;
	describe(s, op);
	op->done(op->ctx, &op->outcome);
	op_free(op);
}

static void finish_current(struct sets *s, int error)
{
	struct sets_op *op = TAKE_PTR(s->op);

	finish(s, op, error);
}

/* ---- what the worker does ------------------------------------------------------------------------------- */

static void lend(struct sets *s, void (*run)(void *ctx), void (*done)(void *ctx))
{
	int r = worker_submit(s->worker, run, done, s);

	if (r < 0)
		finish_current(s, r);
	else
		s->lent = true;
}

static void run_settle(void *ctx)
{
	struct sets *s = ctx;

	s->worker_error = install_settle();
}

static void on_settled(void *ctx)
{
	struct sets *s = ctx;

	s->lent = false;
	if (s->worker_error >= 0)
		sets_table_settle(&s->table);
	else if (s->op)
		finish_current(s, s->worker_error);
	wake(s);
}

static void run_grow(void *ctx)
{
	struct sets *s = ctx;
	_cleanup_close_ int fd = -1;

	s->worker_error = sets_map_make(s->loader, sets_table_lines(s->grow_to), &s->grown, &fd,
					&s->worker_why);
	if (s->worker_error < 0)
		return;
	sets_table_copy(&s->table, s->grown.lines, s->grow_to);
	s->worker_error = loader_put_inner(s->loader, LOADER_MEMBERS, fd, &s->worker_why);
	if (s->worker_error < 0)
		sets_map_done(&s->grown);
	else
		(void)TAKE_FD(fd);
}

static void on_grown(void *ctx)
{
	struct sets *s = ctx;

	s->lent = false;
	if (s->worker_error >= 0) {
		sets_table_move(&s->table, s->grown.lines, s->grow_to);
		sets_map_done(&s->map);
		s->map = s->grown;
		s->grown = (struct sets_map){};
		log_debug("sets: room for %u members, %" PRIu64 " bytes", s->grow_to - 1,
			  sets_memory_bytes(s));
	} else if (s->op) {
		s->op->why = TAKE_PTR(s->worker_why);
		finish_current(s, s->worker_error);
	}
	free(TAKE_PTR(s->worker_why));
	wake(s);
}

static void refuse_total(struct sets *s)
{
	int r = fail(&s->op->why, -EDQUOT,
		     "all run-time sets together hold %u of %u members; nothing was added",
		     s->table.live, SETS_MEMBERS_MAX - 1);

	finish_current(s, r);
}

/* Room for what is new: numbers that rest are waited for, else the table grows. False: not before later. */
static bool make_room(struct sets *s)
{
	uint64_t need = (uint64_t)s->table.live + s->op->fresh;
	uint32_t capacity = sets_table_capacity(need);
	int r;

	if (s->op->long_chain && capacity && capacity <= s->table.capacity)
		capacity = s->table.capacity < SETS_MEMBERS_MAX ? 2 * s->table.capacity : 0;
	if (!capacity) {
		refuse_total(s);
		return false;
	}
	if (!s->op->long_chain && sets_table_room(&s->table) >= s->op->fresh)
		return true;
	if (capacity <= s->table.capacity && sets_table_rest(&s->table)) {
		lend(s, run_settle, on_settled);
		return false;
	}
	r = sets_table_reserve(&s->table, capacity);
	if (r < 0) {
		finish_current(s, r);
		return false;
	}
	s->op->long_chain = false;
	s->grow_to = capacity;
	lend(s, run_grow, on_grown);
	return false;
}

/* ---- requests in slices ----------------------------------------------------------------------------------- */

static void begin(struct sets *s)
{
	struct sets_op *op = s->op;
	const struct sets_request *r = &op->request;
	int error = 0;
	const struct generation_set *set = sets_find(s, r->set, &error, &op->why);

	if (!set) {
		finish_current(s, error);
		return;
	}
	op->number = set->number;
	op->expires = expires_after(r->has_ttl ? r->ttl_ms : set->ttl_ms);
	op->phase = r->verb == SETS_ADD ? PHASE_COUNT : PHASE_UNLINK;
}

static void refuse_quota(struct sets *s, const struct generation_set *set, uint64_t have)
{
	struct sets_op *op = s->op;
	int r;

	if (op->fresh == 1)
		r = fail(&op->why, -EDQUOT,
			 "set '%s' holds %" PRIu64 " of %" PRIu64 " members; nothing was added",
			 set->name, have, set->max);
	else
		r = fail(&op->why, -EDQUOT,
			 "set '%s' holds %" PRIu64 " of %" PRIu64 " members, %" PRIu64
			 " more do not fit; nothing was added",
			 set->name, have, set->max, op->fresh);
	finish_current(s, r);
}

/* All are counted: is there room for them? The set may have left the policy meanwhile: then nobody is left out. */
static void end_count(struct sets *s)
{
	struct sets_op *op = s->op;
	const struct generation_set *set = generation_set(*s->running, op->request.set);
	uint64_t have = set ? set->members + s->table.count[op->number] : 0;

	if (set && op->fresh && (have > set->max || op->fresh > set->max - have)) {
		refuse_quota(s, set, have);
		return;
	}
	if (!make_room(s))
		return;
	op->phase = PHASE_LINK;
	op->at = op->from;
}

static void refuse_prefix(struct sets *s, const struct sets_key *key)
{
	struct prefix p = sets_prefix_of(key);
	char text[PREFIX_TEXT];
	int r;

	prefix_format(&p, text);
	r = fail(
		&s->op->why, -EDQUOT,
		"'%s' is in %d run-time sets, which is as many as can hold the same prefix; nothing "
		"was added",
		text, SETS_PER_PREFIX);
	finish_current(s, r);
}

static void count_one(struct sets *s, const struct sets_key *key)
{
	struct sets_op *op = s->op;
	int r = sets_table_probe(&s->table, key, op->number);

	op->at++;
	if (r == SETS_REFRESHED)
		return;
	op->fresh++;
	if (r == -E2BIG)
		op->long_chain = true;
	if (r == -EMLINK)
		refuse_prefix(s, key);
}

/* Members that expired since they were counted take room again: then the rest is counted anew. */
static void link_one(struct sets *s, const struct sets_key *key)
{
	struct sets_op *op = s->op;
	int r = sets_table_add(&s->table, key, op->number, op->expires);

	if (r < 0) {
		op->phase = PHASE_COUNT;
		op->from = op->at;
		op->fresh = 0;
		return;
	}
	op->at++;
	op->outcome.added += r == SETS_ADDED;
	op->outcome.refreshed += r == SETS_REFRESHED;
}

static void unlink_one(struct sets *s, const struct sets_key *key)
{
	struct sets_op *op = s->op;

	op->at++;
	if (sets_table_del(&s->table, key, op->number))
		op->outcome.removed++;
	else if (vec_push(&op->outcome.absent, *key) < 0)
		finish_current(s, -ENOMEM);
}

static void op_step(struct sets *s)
{
	static void (*const steps[])(struct sets * s, const struct sets_key *key) = {
		[PHASE_COUNT] = count_one,
		[PHASE_LINK] = link_one,
		[PHASE_UNLINK] = unlink_one,
	};
	struct sets_op *op = s->op;

	for (uint32_t i = 0; s->op && i < SLICE_STEP && op->at < op->request.keys.count; i++)
		steps[op->phase](s, &op->request.keys.at[op->at]);
	if (!s->op || op->at < op->request.keys.count)
		return;
	if (op->phase == PHASE_COUNT)
		end_count(s);
	else
		finish_current(s, 0);
}

static void purge_step(struct sets *s)
{
	sets_table_purge(&s->table, s->purge, PURGE_STEP, &s->purge_at);
	if (s->purge_at >= s->table.used)
		s->purge = 0;
}

static bool has_expired(const struct sets *s)
{
	const struct sets_due_entry *first = sets_due_first(&s->table.due);

	return first && first->tick <= sets_now();
}

/* One small step of what is most urgent; false when there is nothing to do. */
static bool step(struct sets *s)
{
	if (has_expired(s))
		(void)sets_table_expire(&s->table, sets_now(),
					SLICE_STEP); /* the rest comes next */
	else if (s->op)
		op_step(s);
	else if (s->purge)
		purge_step(s);
	else if (s->first) {
		s->op = s->first;
		s->first = s->op->next;
		if (!s->first)
			s->last = &s->first;
		s->queued -= s->op->request.keys.count;
		begin(s);
	} else if (s->table.fresh || sets_table_filter_is_stale(&s->table))
		(void)sets_table_refilter(&s->table, PURGE_STEP); /* the rest comes next */
	else
		return false;
	return true;
}

static void arm_timer(struct sets *s)
{
	const struct sets_due_entry *first = sets_due_first(&s->table.due);
	uint64_t at_us;

	if (!first) {
		(void)sd_event_source_set_enabled(s->timer, SD_EVENT_OFF); /* cannot fail */
		return;
	}
	at_us = ((uint64_t)first->tick << DP_TICK_SHIFT) / NS_PER_US + 1;
	(void)sd_event_source_set_time(s->timer, at_us); /* these two cannot fail either */
	(void)sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

static int on_work(sd_event_source *source, void *ctx)
{
	struct sets *s = ctx;
	uint64_t until = now_ns() + SLICE_NS;
	bool more = true;

	(void)source;
	while (more && !s->lent && now_ns() < until)
		more = step(s);
	if (more)
		wake(s);
	else
		arm_timer(s);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
	(void)source, (void)usec;
	wake(ctx); /* while the table is lent: what comes back wakes */
	return 0;
}

/* ---- from outside ----------------------------------------------------------------------------------------- */

int sets_submit(struct sets *s, struct sets_request *request, sets_done_fn *done, void *ctx)
{
	struct sets_op *op = NULL;
	int r = 0;

	if (s->stopping)
		r = -ESHUTDOWN;
	else if (s->queued && s->queued + request->keys.count > QUEUED_MOST)
		r = -EAGAIN;
	if (!r) {
		op = calloc(1, sizeof(*op));
		r = op ? 0 : -ENOMEM;
	}
	if (r < 0) {
		sets_request_done(request);
		return r;
	}
	op->request = *request;
	*request = (struct sets_request){};
	op->done = done;
	op->ctx = ctx;
	*s->last = op;
	s->last = &op->next;
	s->queued += op->request.keys.count;
	wake(s);
	return 0;
}

uint64_t sets_drop_unnamed(struct sets *s)
{
	uint64_t named = generation_set_numbers(*s->running), members = 0;

	if (!*s->running || (*s->running)->nameless)
		return 0;
	for (unsigned int n = 0; n < DP_SETS; n++) {
		bool used = s->table.count[n] || (s->op && s->op->number == n);

		if (!used || named >> n & 1)
			continue;
		if (!(s->purge >> n & 1))
			members += s->table.count[n];
		s->purge |= 1ull << n;
	}
	s->purge_at = 1;
	wake(s);
	if (members)
		log_warning("sets: %" PRIu64
			    " members go, of run-time sets that the policy no longer has",
			    members);
	return members;
}

uint64_t sets_taken(const struct sets *s)
{
	uint64_t taken = s->purge;

	if (s->op)
		taken |= 1ull << s->op->number;
	for (unsigned int n = 0; n < DP_SETS; n++)
		taken |= (uint64_t) !!s->table.count[n] << n;
	return taken;
}

const struct sets_table *sets_table(const struct sets *s)
{
	return &s->table;
}

uint64_t sets_memory_bytes(const struct sets *s)
{
	return (uint64_t)s->map.count * DP_LINE_BYTES + sizeof(struct dp_filter);
}

/* ---- start and end ------------------------------------------------------------------------------------------ */

static int adopt(struct sets *s, char **ret_why)
{
	struct dp_filter *filter = NULL;
	uint32_t cut = 0;
	int r = sets_map_filter(s->loader, &filter);

	if (r < 0)
		return fail(ret_why, r, "the filter of run-time sets cannot be mapped: %s",
			    strerrordesc_np(-r));
	sets_table_init(&s->table, s->loader->ctl_page, filter);
	r = sets_map_open(s->loader, &s->map);
	if (!r && s->map.lines)
		r = sets_table_adopt(&s->table, s->map.lines, s->map.count, &cut);
	if (r == -EBADMSG) {
		/* Nobody who follows the format wrote this. Packets must not read it any longer. */
		log_error("sets: the table of members is damaged; run-time sets are empty now");
		sets_map_done(&s->map);
		sets_table_forget(&s->table);
		return 0;
	}
	if (r < 0)
		return fail(ret_why, r, "members of run-time sets cannot be adopted: %s",
			    strerrordesc_np(-r));
	if (cut)
		log_error("sets: %u chains of members were damaged; what hung on them is lost",
			  cut);
	if (s->table.live)
		log_info("sets: %u members adopted", s->table.live);
	return 0;
}

int sets_new(struct sets **ret, struct sd_event *event, struct worker *worker, struct loader *l,
	     struct generation *const *running, char **ret_why)
{
	struct sets *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->worker = worker;
	s->loader = l;
	s->running = running;
	s->last = &s->first;
	r = adopt(s, ret_why);
	if (!r)
		r = sd_event_add_defer(event, &s->work, on_work, s);
	/* Of equals sd-event may well take the same one again and again. */
	if (r >= 0)
		r = sd_event_source_set_priority(s->work, SD_EVENT_PRIORITY_NORMAL + 1);
	if (r >= 0)
		r = sd_event_add_time(event, &s->timer, CLOCK_MONOTONIC, 0, TIMER_US, on_timer, s);
	if (r < 0) {
		sets_free(&s);
		return r;
	}
	*ret = s;
	return 0;
}

void sets_stop(struct sets *s)
{
	if (!s)
		return;
	s->stopping = true;
	if (s->op)
		finish_current(s, -ESHUTDOWN);
	while (s->first) {
		struct sets_op *op = s->first;

		s->first = op->next;
		finish(s, op, -ESHUTDOWN);
	}
	s->last = &s->first;
}

void sets_free(struct sets **at)
{
	struct sets *s = *at;

	if (!s)
		return;
	sd_event_source_disable_unref(s->work);
	sd_event_source_disable_unref(s->timer);
	sets_table_done(&s->table);
	sets_map_done(&s->map);
	free(s);
	*at = NULL;
}
