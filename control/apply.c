/* SPDX-License-Identifier: Apache-2.0 */
/* See apply.h; the numbers of its steps return here. */
#include "apply.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "apply_switch.h"
#include "confirm.h"
#include "counters.h"
#include "daemon.h"
#include "fail.h"
#include "feeds.h"
#include "flows.h"
#include "flows_import.h"
#include "install.h"
#include "job.h"
#include "jsonobj.h"
#include "log.h"
#include "save.h"
#include "state.h"

struct apply {
	struct apply *next; /* in the daemon's list */
	struct daemon *d;
	struct apply_request request;
	struct job *job; /* while the child runs */
	struct job_result image;
	struct sources sources;        /* until the generation has them */
	struct generation *generation; /* what is to run */
	struct json_object *diagnostics;
	struct generation_clear clear;
	struct install_result installed;
	uint64_t sets_taken; /* numbers that are for no new set */
	bool adds_state;     /* it asks for flows where nothing asked before */
	struct flows_import import;
	struct overrides overrides; /* as they are after the change */
	bool overrides_changed;
	uint64_t flipped_from; /* the generation that ran before */
	uint64_t confirm_ms;
	struct source_numbers needed; /* texts that stay */
	int r;
	char *why;
	bool unchanged;
	uint64_t compile_ms, install_ms, members_dropped;
	apply_done_fn *done;
	void *ctx;
};

static void on_read(void *ctx);
static void on_installed(void *ctx);

void apply_request_done(struct apply_request *r)
{
	free(r->file);
	free(r->dir);
	json_put(&r->paths);
	fd_list_done(&r->fds);
	*r = (struct apply_request){};
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void apply_free(struct apply **at)
{
	struct apply *a = *at;

	apply_request_done(&a->request);
	job_result_done(&a->image);
	sources_done(&a->sources);
	generation_free(&a->generation);
	json_put(&a->diagnostics);
	vec_done(&a->clear.rules);
	vec_done(&a->clear.chains);
	vec_done(&a->overrides);
	vec_done(&a->needed);
	free(a->why);
	free(a);
	*at = NULL;
}

/* ---- the end ----------------------------------------------------------------------------------------- */

static void leave_list(struct apply *a)
{
	struct apply **at = &a->d->applies;

	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
}

static uint64_t count_rules(const struct generation *g)
{
	uint64_t n = 0;

	for (size_t i = 0; g && i < g->chains.count; i++)
		n += g->chains.at[i].rules.count;
	return n;
}

/* The generation that the outcome is about: ours, or the running one when it took our place. */
static void describe(const struct apply *a, const struct generation *g, struct apply_outcome *o)
{
	if (!g)
		return;
	o->file = g->file;
	o->dir = g->dir;
	digest_format(g->digest, o->digest);
	o->generation = a->request.check_only ? 0 : g->number;
	o->rules = count_rules(g);
	o->image_bytes = (uint64_t)g->lines * DP_LINE_BYTES;
}

/* "pid 4711, uid 0", or that nobody asked. */
static const char *asked_by(const struct apply_request *r, char text[static 48])
{
	if (!r->pid)
		return r->guard ? "a feed" : "--policy";
	(void)snprintf(text, 48, "pid %d, uid %u", (int)r->pid, (unsigned int)r->uid);
	return text;
}

static void log_outcome(const struct apply *a, const struct apply_outcome *o)
{
	const struct apply_request *r = &a->request;
	struct json_object *errors = NULL;
	char by[48];

	if (r->check_only || (r->guard && o->result != APPLY_DONE))
		return;
	switch (o->result) {
	case APPLY_DONE:
		log_info("apply: policy %s active as generation %llu: %llu rules; %u of %u lines "
			 "changed in %llu ms, compiled in %llu ms; asked by %s",
			 o->digest, (unsigned long long)o->generation, (unsigned long long)o->rules,
			 o->lines_changed, a->installed.lines, (unsigned long long)o->install_ms,
			 (unsigned long long)o->compile_ms, asked_by(r, by));
		return;
	case APPLY_UNCHANGED:
		log_info("apply: policy %s is active already; asked by %s", o->digest,
			 asked_by(r, by));
		return;
	case APPLY_REFUSED:
		json_object_object_get_ex(a->diagnostics, "errors", &errors);
		log_warning("apply: %s: refused with %d errors; asked by %s; nothing "
			    "was changed",
			    r->file, json_object_get_int(errors), asked_by(r, by));
		return;
	case APPLY_FAILED:
	case APPLY_RESULT_COUNT:
		log_error("apply: %s: %s; asked by %s; nothing was changed", r->file, o->why,
			  asked_by(r, by));
	}
}

/* The one way out. The apply is gone afterwards. */
static void finish(struct apply *a)
{
	struct apply_outcome o = { .error = a->r, .file = a->request.file };
	_cleanup_json_ struct json_object *confirm = NULL;
	struct daemon *d = a->d;

	leave_list(a);
	if (a->r == -EINVAL && a->diagnostics)
		o.result = APPLY_REFUSED;
	else if (a->r < 0)
		o.result = APPLY_FAILED;
	else
		o.result = a->unchanged ? APPLY_UNCHANGED : APPLY_DONE;
	if (o.result == APPLY_DONE || o.result == APPLY_UNCHANGED)
		describe(a, a->generation ? a->generation : d->running, &o);
	o.why = a->why               ? a->why
		: a->r == -ESHUTDOWN ? "the daemon is stopping"
				     : strerrordesc_np(-a->r);
	o.diagnostics = a->diagnostics;
	o.lines_changed = a->installed.lines_changed;
	o.compile_ms = a->compile_ms;
	o.install_ms = a->install_ms;
	confirm = o.result == APPLY_DONE && !a->request.check_only ? confirm_report(d) : NULL;
	o.confirm = confirm;
	o.members_dropped = a->members_dropped;
	log_outcome(a, &o);
	if (a->request.check_only)
		d->checks--;
	else
		d->changing = false;
	a->done(a->ctx, &o);
	if (!a->request.check_only)
		daemon_changed(d);
	apply_free(&a);
}

static void give_up(struct apply *a, int r, const char *why)
{
	a->r = r;
	if (why) {
		free(a->why);
		a->why = strdup(why);
	}
	finish(a);
}

static void submit(struct apply *a, void (*run)(void *ctx), void (*done)(void *ctx))
{
	int r = a->d->stopping ? -ESHUTDOWN : worker_submit(a->d->worker, run, done, a);

	if (r < 0)
		give_up(a, r, NULL);
}

/* ---- 6 ------------------------------------------------------------------------------------------------ */

static void settle(void *ctx)
{
	struct apply *a = ctx;
	struct daemon *d = a->d;
	int r = install_settle();

	if (r < 0)
		log_warning("install: waiting for packets: %s; the next apply waits again",
			    strerrordesc_np(-r));
	if (a->import.tracked)
		flows_import(&a->import, d->loader);
	state_prune(d->state, d->running->number, a->flipped_from);
}

static void on_settled(void *ctx)
{
	struct apply *a = ctx;

	a->install_ms = now_ms() - a->install_ms;
	if (a->import.tracked)
		log_info("flows: %llu imported from the kernel's connection tracking",
			 (unsigned long long)a->import.put);
	flows_watch_imported(a->d->flows, &a->import);
	if (!a->d->confirm)
		a->members_dropped = sets_drop_unnamed(a->d->sets);
	finish(a);
}

/* ---- 4 and 5 ------------------------------------------------------------------------------------------ */

static int clear_slots(struct apply *a)
{
	int r = 0;

	for (size_t i = 0; !r && i < a->clear.rules.count; i++)
		r = counters_clear_rule(a->d->loader, a->clear.rules.at[i]);
	for (size_t i = 0; !r && i < a->clear.chains.count; i++)
		r = counters_clear_chain(a->d->loader, a->clear.chains.at[i]);
	if (r < 0)
		return fail(&a->why, r, "counters with a new owner cannot be cleared: %s",
			    strerrordesc_np(-r));
	return 0;
}

static int save(struct apply *a)
{
	int r = sources_sync(a->d->state, &a->generation->sources);

	if (!r)
		r = state_save_generation(a->d->state, a->generation);

	if (r < 0)
		return fail(&a->why, r, "the state directory cannot take the new names: %s",
			    strerrordesc_np(-r));
	return 0;
}

/* The new bank is asked for the login, and for what is never to be dropped. */
static int guard(struct apply *a)
{
	struct daemon *d = a->d;
	int r = guard_ask(&a->request.login, d, a->generation, a->installed.bank, &a->why);

	return r ?: guard_never_drop(d, a->generation, a->installed.bank, &a->why);
}

static void install(void *ctx)
{
	struct apply *a = ctx;
	struct daemon *d = a->d;
	uint64_t number = d->last_number + 1;
	int r;

	a->install_ms = now_ms();
	r = generation_assign(a->generation, d->running, number, &a->clear, &a->why);
	if (!r)
		r = generation_sets_assign(a->generation, d->running, a->sets_taken, &a->why);
	if (!r)
		r = generation_patch(a->generation, a->image.lines, a->image.count, &a->why);
	if (!r)
		r = save(a);
	/* A first policy must have something to go back to. */
	if (!r && a->confirm_ms && !d->running)
		r = install_nothing(d->loader, &a->why);
	if (!r)
		r = install_write(d->loader, a->image.lines, a->image.count, &a->installed,
				  &a->why);
	if (!r && !a->request.forced)
		r = guard(a);
	if (!r)
		r = clear_slots(a);
	job_result_done(&a->image);
	a->adds_state = !r && generation_adds_state(a->generation, d->running);
	if (a->adds_state)
		flows_import(&a->import, d->loader);
	a->r = r;
}

/* The flip; flows that are older than it are either known by now or may show themselves for a while. */
static int flip(struct apply *a)
{
	bool adopt = a->adds_state && !a->import.tracked;
	struct apply_to to = { .bank = a->installed.bank };
	uint32_t before = 0;
	int r;

	if (adopt)
		before = flows_adopt(a->d->loader, flows_now() + DP_TICKS(FLOWS_ADOPT_SECONDS));
	if (a->confirm_ms)
		to.deadline = flows_at(a->confirm_ms);
	r = apply_switch(a->d, a->generation, &a->overrides, &to, &a->why);
	if (r < 0 && adopt)
		(void)flows_adopt(a->d->loader, before); /* what it was meanwhile is of no use */
	return r;
}

/* The policy is the running one; what ran before goes, or waits for whether this one is confirmed. */
static void take_over(struct apply *a)
{
	struct daemon *d = a->d;
	struct generation *before = d->running;
	struct overrides overrides = d->overrides;
	uint32_t deadline = (uint32_t)(loader_active(d->loader) >> DP_ACTIVE_DEADLINE_SHIFT);

	d->policy_refused = false;
	a->flipped_from = before ? before->number : 0;
	a->overrides_changed = a->overrides.count != overrides.count;
	d->last_number = a->generation->number;
	d->running = TAKE_PTR(a->generation);
	d->overrides = a->overrides;
	a->overrides = (struct overrides){};
	if (a->confirm_ms && confirm_begin(d, &before, &overrides, deadline) < 0) {
		install_flip(d->loader, a->installed.bank, 0);
		log_error("confirm: out of memory; policy stays without being confirmed");
	}
	generation_free(&before);
	vec_done(&overrides);
	if (a->request.guard)
		history_forget(&d->history, a->flipped_from);
	if (history_add(&d->history, d->running, a->request.uid) < 0)
		log_warning("history: out of memory; %s", HISTORY_LOSS);
}

/* What could be undone keeps the overrides on disk as they were. */
static void save_what_changed(struct apply *a)
{
	struct daemon *d = a->d;

	save_later(d, HISTORY_FILE, history_to_json(&d->history), HISTORY_LOSS);
	if (a->overrides_changed && !d->confirm)
		save_later(d, OVERRIDES_FILE, overrides_to_json(&d->overrides), OVERRIDES_LOSS);
}

static void on_installed(void *ctx)
{
	struct apply *a = ctx;
	struct daemon *d = a->d;

	if (a->r >= 0 && d->stopping)
		a->r = -ESHUTDOWN;
	if (a->r >= 0)
		a->r = flip(a);
	if (a->r < 0) {
		finish(a);
		return;
	}
	take_over(a);
	apply_detach_rest(d);
	daemon_policy_changed(d);
	save_what_changed(a);
	/* The policy is active, whatever becomes of the tidying up. */
	if (worker_submit(d->worker, settle, on_settled, a) < 0)
		on_settled(a);
}

/* ---- 3 ------------------------------------------------------------------------------------------------ */

/* The policy runs; only where its rules stand in the file has changed. */
static void save_places(void *ctx)
{
	struct apply *a = ctx;
	int r = generation_assign(a->generation, a->d->running, a->d->running->number, &a->clear,
				  &a->why);

	if (!r)
		r = generation_sets_assign(a->generation, a->d->running, a->sets_taken, &a->why);
	a->r = r < 0 ? r : save(a);
}

static void on_places_saved(void *ctx)
{
	struct apply *a = ctx;

	if (a->r >= 0) {
		generation_free(&a->d->running);
		a->d->running = TAKE_PTR(a->generation);
		feeds_follow(a->d->feeds);
	}
	finish(a);
}

static bool runs_already(struct apply *a)
{
	const struct generation *running = a->d->running;

	return running && !running->nameless && !a->overrides_changed &&
	       !memcmp(running->digest, a->generation->digest, sizeof(running->digest));
}

static void answer_unchanged(struct apply *a)
{
	a->unchanged = true;
	a->r = daemon_refresh_devices(a->d, &a->why);
	if (a->r < 0) {
		finish(a);
		return;
	}
	if (!generation_same_names(a->generation, a->d->running)) {
		submit(a, save_places, on_places_saved);
		return;
	}
	generation_free(&a->generation);
	finish(a);
}

/* What only the daemon can say against a policy that compiles. */
static int ask_guard(struct apply *a)
{
	const struct apply_guard *guard = a->request.guard;

	if (guard)
		return guard->policy(guard->ctx, a->d->running, a->generation, &a->why);
	return feeds_admit(a->d->feeds, a->generation, a->diagnostics);
}

static void on_read(void *ctx)
{
	struct apply *a = ctx;

	if (a->r >= 0 && !a->request.check_only)
		a->r = ask_guard(a);
	if (a->r >= 0 && !a->request.check_only)
		a->r = overrides_copy(&a->d->overrides, &a->overrides);
	if (a->r < 0 || a->request.check_only) {
		finish(a);
		return;
	}
	a->overrides_changed = overrides_drop_named(&a->overrides, a->generation);
	a->sets_taken = sets_taken(a->d->sets);
	a->confirm_ms = a->request.confirm_given      ? a->request.confirm_ms
			: a->generation->says_confirm ? a->generation->confirm_ms
						      : a->request.confirm_preset_ms;
	if (runs_already(a)) {
		answer_unchanged(a);
		return;
	}
	if (a->request.login.family != AF_UNSPEC)
		guard_aim(&a->request.login, a->d, a->generation, &a->overrides);
	submit(a, install, on_installed);
}

/* ---- 2 ------------------------------------------------------------------------------------------------ */

static int describe_now(struct apply *a)
{
	char text[32] = "";
	time_t now = time(NULL);
	struct tm utc;

	if (gmtime_r(&now, &utc))
		(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc); /* always fits */
	return generation_describe(a->generation, a->request.file,
				   a->request.dir ? a->request.dir : "", text);
}

static int read_generation(struct apply *a)
{
	const struct dp_bank_header *header = (void *)a->image.lines;
	struct json_object *manifest = json_read(a->image.manifest, a->image.manifest_len);
	int r;

	if (!manifest)
		return fail(&a->why, -EBADMSG, "the manifest of the policy is no JSON");
	r = generation_new(&a->generation, manifest, &a->why);
	if (r < 0)
		return r;
	memcpy(a->generation->digest, header->digest, sizeof(header->digest));
	a->generation->lines = a->image.count;
	a->generation->sources = a->sources;
	a->sources = (struct sources){};
	return describe_now(a);
}

static void read_result(void *ctx)
{
	struct apply *a = ctx;

	a->diagnostics = json_read(a->image.diagnostics, a->image.diagnostics_len);
	if (!json_object_is_type(a->diagnostics, json_type_object)) {
		json_put(&a->diagnostics);
		a->r = fail(&a->why, -EBADMSG, "the diagnostics of the policy are no JSON");
		return;
	}
	a->r = a->image.count ? read_generation(a) : -EINVAL;
}

/* ---- 0 and 1 ------------------------------------------------------------------------------------------ */

static void on_compiled(void *ctx, int r, struct job_result *result, uint64_t took_ms,
			const char *why)
{
	struct apply *a = ctx;

	a->job = NULL;
	a->image = *result;
	a->compile_ms = took_ms;
	if (r < 0)
		give_up(a, r, why);
	else
		submit(a, read_result, on_read);
}

static int start_job(struct apply *a)
{
	struct job_input input = { .task = JOB_COMPILE,
				   .file = a->request.file,
				   .paths = a->request.paths,
				   .fds = &a->request.fds };
	int r = job_start(&a->job, a->d->event, &input, on_compiled, a);

	fd_list_done(&a->request.fds); /* the child has its own by now */
	return r;
}

/* The child gets copies: what is kept is what is compiled, whoever writes to the files meanwhile. */
static void keep_sources(void *ctx)
{
	struct apply *a = ctx;
	const struct generation *running = a->d->running;

	a->r = state_look(a->d->state);
	if (a->r < 0) {
		a->r = fail(&a->why, a->r, "the state directory cannot be written: %s",
			    strerrordesc_np(-a->r));
		return;
	}
	sources_clean(a->d->state, &a->needed);
	a->r = sources_keep(a->d->state, running ? &running->sources : NULL, a->request.paths,
			    &a->request.fds, &a->sources, &a->why);
	if (!a->r && a->request.guard)
		a->r = a->request.guard->files(a->request.guard->ctx, &a->request.fds, &a->why);
}

static void on_kept(void *ctx)
{
	struct apply *a = ctx;

	if (a->r >= 0)
		a->r = a->d->stopping ? -ESHUTDOWN : start_job(a);
	if (a->r < 0)
		finish(a);
}

static int check_room(const struct daemon *d, bool check_only)
{
	if (d->stopping)
		return -ESHUTDOWN;
	if (check_only)
		return d->checks < APPLY_CHECKS_MAX ? 0 : -EAGAIN;
	if (d->confirm)
		return -EINPROGRESS;
	return d->changing ? -EBUSY : 0;
}

static int note_needed(struct apply *a)
{
	const struct generation *running = a->d->running;
	int r = history_sources(&a->d->history, &a->needed);

	return r || !running ? r : vec_push(&a->needed, running->sources.number);
}

int apply_start(struct daemon *d, struct apply_request *request, apply_done_fn *done, void *ctx)
{
	struct apply *a = NULL;
	int r = check_room(d, request->check_only);

	if (!r) {
		a = calloc(1, sizeof(*a));
		r = a ? 0 : -ENOMEM;
	}
	if (!r) {
		*a = (struct apply){ .d = d, .request = *request, .done = done, .ctx = ctx };
		*request = (struct apply_request){};
		r = note_needed(a);
	}
	if (!r) {
		r = a->request.check_only ? start_job(a)
					  : worker_submit(d->worker, keep_sources, on_kept, a);
	}
	if (r < 0) {
		if (a)
			apply_free(&a);
		apply_request_done(request);
		return r;
	}
	a->next = d->applies;
	d->applies = a;
	if (a->request.check_only)
		d->checks++;
	else
		d->changing = true;
	return 0;
}

void apply_cancel_all(struct daemon *d)
{
	struct apply *next;

	for (struct apply *a = d->applies; a; a = next) {
		next = a->next;
		if (!a->job)
			continue;
		job_cancel(&a->job);
		give_up(a, -ESHUTDOWN, NULL);
	}
}
