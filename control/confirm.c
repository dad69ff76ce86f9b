/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See confirm.h. Undoing:
 *   1. the word says the bank of before for good; when the time is over, packets read it already  (loop)
 *   2. names of before get the counters that they had, and are saved with those of what was undone, so that
 *      nobody takes a used counter for a new one                                                  (worker)
 *   3. names, overrides and devices are those of before                                           (loop)
 */
#include "confirm.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include <systemd/sd-event.h>

#include "apply_switch.h"
#include "daemon.h"
#include "fail.h"
#include "feeds.h"
#include "flows.h"
#include "install.h"
#include "jsonobj.h"
#include "log.h"
#include "report.h"
#include "save.h"
#include "state.h"

#define US_PER_TICK ((1ull << DP_TICK_SHIFT) / 1000)

struct confirm {
	struct daemon *d;
	struct generation *previous; /* NULL: nothing ran */
	struct overrides overrides;  /* as they were */
	uint32_t deadline;
	sd_event_source *timer;
	/* while it is undone */
	bool undoing;
	enum confirm_end end;
	int r;
	char *why;
	confirm_done_fn *done;
	void *ctx;
};

void confirm_free(struct confirm **at)
{
	struct confirm *c = *at;

	if (!c)
		return;
	sd_event_source_disable_unref(c->timer);
	generation_free(&c->previous);
	vec_done(&c->overrides);
	free(c->why);
	free(c);
	*at = NULL;
}

const struct generation *confirm_previous(const struct daemon *d)
{
	return d->confirm ? d->confirm->previous : NULL;
}

const struct overrides *confirm_overrides(const struct daemon *d)
{
	return d->confirm ? &d->confirm->overrides : NULL;
}

struct json_object *confirm_report(const struct daemon *d)
{
	struct json_object *json;
	uint32_t now = flows_now();

	if (!d->confirm)
		return NULL;
	json = json_object_new_object();
	json_add_u64(json, "left_ms",
		     d->confirm->deadline > now ? (d->confirm->deadline - now) * US_PER_TICK / 1000
						: 0);
	json_add(json, "previous",
		 d->confirm->previous ? report_generation(d->confirm->previous) : NULL);
	return json;
}

/* What the log calls a policy. */
static const char *name_of(const struct generation *g, char text[static 80])
{
	char digest[DIGEST_TEXT];

	if (!g)
		return "no policy";
	digest_format(g->digest, digest);
	(void)snprintf(text, 80, "policy %s, generation %" PRIu64, digest, g->number);
	return text;
}

/* ---- undoing ------------------------------------------------------------------------------------------- */

static void say_undone(const struct confirm *c, const struct generation *undone)
{
	static const char *const ends[] = { [CONFIRM_TIMEOUT] = "was not confirmed in time",
					    [CONFIRM_ROLLBACK] = "was rolled back" };
	char was[80], is[80];

	log_warning("confirm: %s, %s; %s is enforced again", name_of(undone, was), ends[c->end],
		    name_of(c->previous, is));
}

/* Nothing is wanted where no policy is. */
static void refresh_devices(struct daemon *d)
{
	const struct attach_wants none = {};
	int r;

	if (d->running) {
		apply_detach_rest(d);
		return;
	}
	r = attach_reconcile(d->attach, &none);
	if (r < 0)
		log_error("attach: %s; what is attached judges nothing", strerrordesc_np(-r));
}

/* 3 */
static void on_named(void *ctx)
{
	struct confirm *c = ctx;
	struct daemon *d = c->d;
	struct generation *undone = d->running;
	confirm_done_fn *done = c->done;
	void *done_ctx = c->ctx;
	int r = c->r;

	if (r < 0)
		log_error(
			"confirm: %s; a start that finds the state as it is may not know all names",
			c->why ? c->why : strerrordesc_np(-r));
	say_undone(c, undone);
	if (undone)
		history_mark_undone(&d->history, undone->number);
	save_later(d, HISTORY_FILE, history_to_json(&d->history), HISTORY_LOSS);
	d->running = TAKE_PTR(c->previous);
	vec_done(&d->overrides);
	d->overrides = c->overrides;
	c->overrides = (struct overrides){};
	generation_free(&undone);
	confirm_free(&d->confirm);
	d->changing = false;
	refresh_devices(d);
	daemon_policy_changed(d);
	(void)sets_drop_unnamed(d->sets); /* it says how many */
	if (done)
		done(done_ctx, r);
	daemon_changed(d);
}

/* The tables of counters of what ran before, with the slots that what is undone took. */
static int take_slots(struct generation *g, const struct generation *undone, char **ret_why)
{
	struct generation_clear clear = {};
	int r = generation_assign(g, undone, g->number, &clear, ret_why);

	vec_done(&clear.rules); /* every name has the slot that it had */
	vec_done(&clear.chains);
	return r;
}

/* 2 */
static void name_before(void *ctx)
{
	struct confirm *c = ctx;
	struct daemon *d = c->d;

	c->r = install_settle();
	if (c->r < 0 || !c->previous || c->previous->nameless || d->running->nameless)
		return;
	c->r = take_slots(c->previous, d->running, &c->why);
	if (!c->r)
		c->r = state_save_generation(d->state, c->previous);
	if (c->r < 0)
		c->r = fail(&c->why, c->r,
			    "the state directory cannot take the names of before: %s",
			    strerrordesc_np(-c->r));
}

int confirm_undo(struct daemon *d, enum confirm_end end, confirm_done_fn *done, void *ctx)
{
	struct confirm *c = d->confirm;
	uint64_t active = loader_active(d->loader);
	int r;

	if (!c || c->undoing)
		return -ENOENT;
	if (d->changing)
		return -EBUSY;
	c->end = end;
	c->done = done;
	c->ctx = ctx;
	r = worker_submit(d->worker, name_before, on_named, c);
	if (r < 0)
		return r;
	c->undoing = true;
	d->changing = true;
	if (active & DP_ACTIVE_PENDING) /* 1 */
		install_flip(d->loader, ~active & DP_ACTIVE_BANK, 0);
	return 0;
}

static int on_deadline(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct confirm *c = ctx;
	int r = -EAGAIN;

	(void)usec;
	if (flows_now() >= c->deadline)
		r = confirm_undo(c->d, CONFIRM_TIMEOUT, NULL, NULL);
	if (r != -EAGAIN && r != -EBUSY)
		return 0;
	r = sd_event_source_set_time_relative(
		s, US_PER_TICK); /* not yet, or something else is under way */
	return r < 0 ? r : sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

/* ---- beginning ----------------------------------------------------------------------------------------- */

static int confirm_new(struct confirm **ret, struct daemon *d, uint32_t deadline)
{
	_cleanup_(confirm_free) struct confirm *c = calloc(1, sizeof(*c));
	uint32_t now = flows_now();
	int r;

	if (!c)
		return -ENOMEM;
	c->d = d;
	c->deadline = deadline;
	r = sd_event_add_time_relative(d->event, &c->timer, CLOCK_MONOTONIC,
				       deadline > now ? (deadline - now) * US_PER_TICK : 0, 0,
				       on_deadline, c);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

int confirm_begin(struct daemon *d, struct generation **previous, struct overrides *overrides,
		  uint32_t deadline)
{
	int r = confirm_new(&d->confirm, d, deadline);

	if (r < 0)
		return r;
	d->confirm->previous = TAKE_PTR(*previous);
	d->confirm->overrides = *overrides;
	*overrides = (struct overrides){};
	return 0;
}

/* ---- confirming ---------------------------------------------------------------------------------------- */

int confirm_accept(struct daemon *d)
{
	struct confirm *c = d->confirm;
	char text[80];
	int r;

	if (!c)
		return -ENOENT;
	r = c->undoing ? -ETIME : install_confirm(d->loader);
	if (r < 0)
		return r;
	log_info("confirm: %s stays", name_of(d->running, text));
	if (c->overrides.count != d->overrides.count)
		save_later(d, OVERRIDES_FILE, overrides_to_json(&d->overrides), OVERRIDES_LOSS);
	confirm_free(&d->confirm);
	apply_detach_rest(d);
	(void)sets_drop_unnamed(d->sets); /* it says how many */
	daemon_changed(d);
	return 0;
}

/* ---- at a start ---------------------------------------------------------------------------------------- */

/* The policy of the bank that packets do not read now. ret: NULL when it holds none. */
static int other_policy(struct daemon *d, unsigned int bank, struct generation **ret)
{
	struct dp_bank_header header;
	int r;

	if (!loader_bank_header(d->loader, bank, &header) || !header.generation)
		return 0;
	r = state_find_generation(d->state, header.generation, header.digest, ret);
	if (r == -ENOMEM)
		return r;
	return r < 0 ? generation_new_nameless(ret, &header) : 0;
}

/* It waits still: the word goes on to say so. */
static int wait_on(struct daemon *d, uint64_t active)
{
	struct generation *previous __attribute__((cleanup(generation_free))) = NULL;
	_cleanup_(confirm_free) struct confirm *c = NULL;
	char was[80], is[80];
	int r = other_policy(d, ~active & DP_ACTIVE_BANK, &previous);

	if (r < 0)
		return r;
	r = confirm_new(&c, d, (uint32_t)(active >> DP_ACTIVE_DEADLINE_SHIFT));
	if (r < 0)
		return r;
	r = overrides_copy(&d->overrides, &c->overrides);
	if (r < 0)
		return r;
	if (!d->running->nameless)
		(void)overrides_drop_named(&d->overrides, d->running); /* as the apply did */
	c->previous = TAKE_PTR(previous);
	d->confirm = TAKE_PTR(c);
	log_info("confirm: %s waits to be confirmed, else %s comes back", name_of(d->running, is),
		 name_of(d->confirm->previous, was));
	return 0;
}

/* Names that a policy has counters for which was saved later, but is not the one enforced. */
static int take_later_slots(struct daemon *d, char **ret_why)
{
	struct generation *later __attribute__((cleanup(generation_free))) = NULL;
	uint64_t number = state_last_generation(d->state);
	int r;

	if (!d->running || d->running->nameless || number <= d->running->number)
		return 0;
	r = state_read_generation(d->state, number, &later);
	if (r < 0)
		return r == -ENOMEM ? r
				    : 0; /* nobody could count with slots that were never saved */
	r = take_slots(d->running, later, ret_why);
	if (!r && state_save_generation(d->state, d->running) < 0)
		log_warning(
			"confirm: the state directory cannot take the names of what is enforced");
	history_mark_undone(&d->history, number);
	return r;
}

int confirm_adopt(struct daemon *d, char **ret_why)
{
	uint64_t active = loader_active(d->loader);
	struct generation *undone __attribute__((cleanup(generation_free))) = NULL;
	bool over = flows_now() >= active >> DP_ACTIVE_DEADLINE_SHIFT;
	char was[80], is[80];
	int r = 0;

	if (active & DP_ACTIVE_PENDING && !over && d->running)
		r = wait_on(d, active);
	if (active & DP_ACTIVE_PENDING && over) {
		r = other_policy(d, active & DP_ACTIVE_BANK, &undone);
		install_flip(d->loader, ~active & DP_ACTIVE_BANK, 0);
		log_warning(
			"confirm: %s was not confirmed in time: the kernel went back, and %s is "
			"enforced since",
			name_of(undone, was), name_of(d->running, is));
	}
	if (!r && !d->confirm)
		r = take_later_slots(d, ret_why);
	return r < 0 ? fail(ret_why, r, "the change that waited to be confirmed: %s",
			    strerrordesc_np(-r))
		     : 0;
}
