/* SPDX-License-Identifier: Apache-2.0 */
/* See sets_given.h. One question after the other. */
#include "sets_given.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <systemd/sd-event.h>

#include "generation.h"
#include "job.h"
#include "log.h"
#include "state.h"
#include "worker.h"

#define REMEMBERED_US (10 * 1000000ull)

struct ask {
	struct ask *next;
	char *set;
	sets_given_fn *done;
	void *ctx;
};

struct sets_given {
	struct sd_event *event;
	struct worker *worker;
	struct state *state;
	struct generation *const *running;
	struct ask *first, **last;
	bool busy; /* for the first */
	bool stopping;
	struct job *job;
	struct job_result result;
	int error;

	/* The last answer: of this set, from these sources; 0: none. */
	char *set;
	uint64_t sources, asked; /* asked: what is being found out */
	struct sets_keys keys;
	sd_event_source *forget;
};

static void go_on(struct sets_given *g);

static void answer_first(struct sets_given *g, const struct sets_keys *keys, int error)
{
	struct ask *a = g->first;

	g->first = a->next;
	if (!g->first)
		g->last = &g->first;
	g->busy = false;
	a->done(a->ctx, keys, error);
	free(a->set);
	free(a);
}

static void forget(struct sets_given *g)
{
	(void)sd_event_source_set_enabled(g->forget, SD_EVENT_OFF); /* cannot fail */
	vec_done(&g->keys);
	free(TAKE_PTR(g->set));
	g->sources = 0;
}

static int on_forget(sd_event_source *s, uint64_t usec, void *ctx)
{
	(void)s, (void)usec;
	forget(ctx);
	return 0;
}

static void run_copy(void *ctx)
{
	struct sets_given *g = ctx;
	uint64_t ignored;

	g->error = job_result_keys(&g->result, &g->keys, &ignored);
	job_result_done(&g->result);
}

static void on_copied(void *ctx)
{
	struct sets_given *g = ctx;

	if (!g->first) /* stopped meanwhile */
		return;
	if (g->error < 0) {
		answer_first(g, NULL, g->error);
	} else {
		g->set = strdup(g->first->set);
		g->sources = g->set ? g->asked : 0;
		g->busy = false;
	}
	go_on(g);
}

static void on_job(void *ctx, int r, struct job_result *result, uint64_t took_ms, const char *why)
{
	struct sets_given *g = ctx;

	(void)took_ms;
	g->job = NULL;
	g->result = *result;
	if (r < 0)
		log_warning("sets: members of '%s': %s", g->first->set, why);
	forget(g);
	if (!r)
		r = worker_submit(g->worker, run_copy, on_copied, g);
	if (!r)
		return;
	job_result_done(&g->result);
	answer_first(g, NULL, r);
	go_on(g);
}

static int start_job(struct sets_given *g, const struct generation *running)
{
	struct job_input input = { .task = JOB_MEMBERS,
				   .file = running->file,
				   .paths = running->sources.paths,
				   .set = g->first->set };
	struct fd_list fds = {};
	int r = sources_open(g->state, &running->sources, &fds);

	input.fds = &fds;
	if (!r)
		r = job_start(&g->job, g->event, &input, on_job, g);
	fd_list_done(&fds);
	g->asked = running->sources.number;
	return r;
}

/* Answers the first, or sets out to find its answer; false: nothing more can be done now. */
static bool answer_or_start(struct sets_given *g)
{
	const struct generation *running = *g->running;
	int r;

	if (!running || !generation_set(running, g->first->set)) {
		answer_first(g, NULL, -ENOENT);
		return true;
	}
	if (g->sources && g->sources == running->sources.number && !strcmp(g->set, g->first->set)) {
		(void)sd_event_source_set_time_relative(g->forget, REMEMBERED_US);
		(void)sd_event_source_set_enabled(g->forget, SD_EVENT_ONESHOT); /* cannot fail */
		answer_first(g, &g->keys, 0);
		return true;
	}
	r = start_job(g, running);
	if (r < 0)
		answer_first(g, NULL, r);
	else
		g->busy = true;
	return r < 0;
}

static void go_on(struct sets_given *g)
{
	while (g->first && !g->busy && answer_or_start(g))
		continue;
}

void sets_given_ask(struct sets_given *g, const char *set, sets_given_fn *done, void *ctx)
{
	struct ask *a = calloc(1, sizeof(*a));
	char *copy = strdup(set);

	if (!a || !copy || g->stopping) {
		free(a);
		free(copy);
		done(ctx, NULL, g->stopping ? -ESHUTDOWN : -ENOMEM);
		return;
	}
	*a = (struct ask){ .set = copy, .done = done, .ctx = ctx };
	*g->last = a;
	g->last = &a->next;
	go_on(g);
}

int sets_given_new(struct sets_given **ret, struct sd_event *event, struct worker *worker,
		   struct state *state, struct generation *const *running)
{
	struct sets_given *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return -ENOMEM;
	*g = (struct sets_given){
		.event = event, .worker = worker, .state = state, .running = running
	};
	g->last = &g->first;
	r = sd_event_add_time_relative(event, &g->forget, CLOCK_MONOTONIC, 0, 0, on_forget, g);
	if (r < 0) {
		free(g);
		return r;
	}
	*ret = g;
	return 0;
}

void sets_given_stop(struct sets_given *g)
{
	if (!g)
		return;
	g->stopping = true;
	job_cancel(&g->job);
	while (g->first)
		answer_first(g, NULL, -ESHUTDOWN);
}

void sets_given_free(struct sets_given **at)
{
	struct sets_given *g = *at;

	if (!g)
		return;
	forget(g); /* uses the timer */
	sd_event_source_disable_unref(g->forget);
	free(g);
	*at = NULL;
}
