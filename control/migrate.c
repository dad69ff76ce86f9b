/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See migrate.h. The policy is compiled from its texts in the state directory, and keeps the counters of its names and
 * the numbers of its sets. It is another generation of its own: files of the one in force stay as they are, whichever
 * of the two a start finds after this one was cut short.
 */
#include "migrate.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <systemd/sd-event.h>

#include "counters.h"
#include "daemon.h"
#include "diag.h"
#include "fail.h"
#include "flows.h"
#include "install.h"
#include "job.h"
#include "jsonobj.h"
#include "loader_leftovers.h"
#include "log.h"
#include "state.h"

#define SHOWN_DIAGNOSTICS 3

/* ---- compiling anew ------------------------------------------------------------------------------------ */

struct compile {
	struct job *job;
	struct job_result image;
	bool over;
	int r;
	char *why;
};

static void compile_done(struct compile *c)
{
	if (c->job)
		job_cancel(&c->job);
	job_result_done(&c->image);
	free(c->why);
}

static void on_compiled(void *ctx, int r, struct job_result *result, uint64_t took_ms,
			const char *why)
{
	struct compile *c = ctx;

	(void)took_ms;
	c->job = NULL;
	c->image = *result;
	c->r = r;
	c->why = why ? strdup(why) : NULL;
	c->over = true;
}

/* On a loop of its own: nothing else may happen meanwhile. */
static int compile(struct compile *c, const struct generation *g, const struct fd_list *fds)
{
	const struct job_input input = {
		.task = JOB_COMPILE, .file = g->file, .paths = g->sources.paths, .fds = fds
	};
	struct sd_event *event = NULL;
	int r = sd_event_new(&event);

	if (r >= 0)
		r = job_start(&c->job, event, &input, on_compiled, c);
	while (r >= 0 && !c->over)
		r = sd_event_run(event, UINT64_MAX);
	if (c->job)
		job_cancel(&c->job);
	sd_event_unref(event);
	return r < 0 ? r : c->r;
}

static int refuse_text(const struct job_result *image, char **ret_why)
{
	_cleanup_json_ struct json_object *said =
		json_read(image->diagnostics, image->diagnostics_len);
	_cleanup_free_ char *text = said ? diag_render_json(said, SHOWN_DIAGNOSTICS) : NULL;

	log_text(text ? text : "");
	return fail(ret_why, -EINVAL, "this build refuses the policy");
}

/* Devices have the numbers of zones that the programs in force read. */
static bool same_zones(const struct generation *a, const struct generation *b)
{
	bool same = a->zones.count == b->zones.count;

	for (size_t i = 0; same && i < a->zones.count; i++)
		same = !strcmp(a->zones.at[i].name, b->zones.at[i].name);
	return same;
}

static int copy_sources(const struct sources *from, struct sources *ret)
{
	_cleanup_json_ struct json_object *json = sources_to_json(from);

	return sources_from_json(ret, json);
}

static int read_image(const struct compile *c, const struct generation *running,
		      struct generation **ret, char **ret_why)
{
	const struct dp_bank_header *header = (const void *)c->image.lines;
	struct json_object *manifest = json_read(c->image.manifest, c->image.manifest_len);
	struct generation *g = NULL;
	int r;

	if (!manifest)
		return fail(ret_why, -EBADMSG, "the manifest of the policy is no JSON");
	r = generation_new(&g, manifest, ret_why);
	if (r < 0)
		return r;
	*ret = g;
	memcpy(g->digest, header->digest, sizeof(g->digest));
	g->lines = c->image.count;
	if (!same_zones(g, running))
		return fail(ret_why, -EPROTO, "this build numbers its zones in another way");
	r = generation_describe(g, running->file, running->dir, running->applied_at);
	return r ? r : copy_sources(&running->sources, &g->sources);
}

static int clear_slots(const struct daemon *d, const struct generation_clear *clear)
{
	int r = 0;

	for (size_t i = 0; !r && i < clear->rules.count; i++)
		r = counters_clear_rule(d->loader, clear->rules.at[i]);
	for (size_t i = 0; !r && i < clear->chains.count; i++)
		r = counters_clear_chain(d->loader, clear->chains.at[i]);
	return r;
}

static int install(struct daemon *d, struct generation *g, struct compile *c, char **ret_why)
{
	struct generation_clear clear = {};
	int r = generation_assign(g, d->running, d->last_number + 1, &clear, ret_why);

	if (!r)
		r = generation_sets_assign(g, d->running, 0, ret_why);
	if (!r)
		r = generation_patch(g, c->image.lines, c->image.count, ret_why);
	if (!r)
		r = clear_slots(d, &clear); /* names that only this build gives, if any */
	if (!r)
		r = state_save_generation(d->state, g);
	if (!r)
		r = install_active(d->loader, c->image.lines, c->image.count, ret_why);
	vec_done(&clear.rules);
	vec_done(&clear.chains);
	return r;
}

static int compile_anew(struct daemon *d, char **ret_why)
{
	struct generation *g __attribute__((cleanup(generation_free))) = NULL;
	_cleanup_(compile_done) struct compile c = {};
	_cleanup_(fd_list_done) struct fd_list fds = {};
	int r = sources_open(d->state, &d->running->sources, &fds);

	if (r < 0)
		return fail(ret_why, r, "its texts are not in the state directory: %s",
			    strerrordesc_np(-r));
	r = compile(&c, d->running, &fds);
	if (r < 0)
		return fail(ret_why, r, "it cannot be compiled: %s",
			    c.why ? c.why : strerrordesc_np(-r));
	if (!c.image.count)
		return refuse_text(&c.image, ret_why);
	r = read_image(&c, d->running, &g, ret_why);
	if (!r)
		r = install(d, g, &c, ret_why);
	if (r < 0)
		return r;
	d->migrated_from = d->running->number;
	d->last_number++;
	generation_free(&d->running);
	d->running = TAKE_PTR(g);
	return 0;
}

/* ---- the steps ----------------------------------------------------------------------------------------- */

static int refuse(const struct daemon *d, int r, const char *why, char **ret_why)
{
	_cleanup_free_ char *copy =
		strdup(why ? why : strerrordesc_np(-r)); /* it may be *ret_why */

	return fail(
		ret_why, r,
		"pinned maps are of another layout (%s), and the running policy cannot be taken "
		"over: %s; nothing was changed, it stays enforced; the build that made the maps "
		"adopts them",
		d->loader->changes ? d->loader->changes : "unknown", copy ? copy : "unknown");
}

static bool is_waiting(const struct daemon *d)
{
	uint64_t active = loader_active(d->loader);

	return active & DP_ACTIVE_PENDING && flows_now() < active >> DP_ACTIVE_DEADLINE_SHIFT;
}

int migrate_begin(struct daemon *d, char **ret_why)
{
	_cleanup_free_ char *why = NULL;
	int r = 0;

	if (d->loader->start != LOADER_MIGRATED)
		return 0;
	if (d->running && d->running->nameless)
		return refuse(d, -EPROTO, "its names are not in the state directory", ret_why);
	if (d->loader->uncompiled && is_waiting(d))
		return refuse(d, -EPROTO, "it waits to be confirmed", ret_why);
	r = leftovers_check(d->loader, ret_why);
	if (r < 0)
		return r;
	if (d->loader->uncompiled && d->running)
		r = compile_anew(d, &why);
	if (r < 0)
		return refuse(d, r, why, ret_why);
	r = loader_commit(d->loader, ret_why);
	if (!r)
		log_info("loader: migrated from another layout: %s", d->loader->changes);
	return r;
}

int migrate_carry(struct daemon *d, char **ret_why)
{
	struct leftovers_result ignored;

	return leftovers_any(d->loader) ? leftovers_carry(d->loader, &ignored, ret_why) : 0;
}

static bool is_anything_stale(const struct daemon *d)
{
	return (d->running && d->running->nameless) || attach_any_stale(d->attach);
}

int migrate_end(struct daemon *d, char **ret_why)
{
	struct leftovers_result res;
	const struct flows_carried *f = res.flows;
	int r;

	if (!leftovers_any(d->loader))
		return 0;
	if (is_anything_stale(d)) {
		log_warning(
			"loader: a device still runs the program of another build, over maps of "
			"another layout; they stay, and the next start carries them over");
		return 0;
	}
	r = migrate_carry(d,
			  ret_why); /* at once: a packet may wait for what the old ones saw last */
	if (!r)
		r = install_settle();
	if (!r)
		r = leftovers_finish(d->loader, &res, ret_why);
	if (r < 0)
		return r;
	log_info("loader: carried over from the maps of before: %" PRIu64
		 " established flows, %" PRIu64 " unanswered, %" PRIu64
		 " fragmented datagrams; lost: %" PRIu64 ", %" PRIu64 ", %" PRIu64
		 "; those maps are gone",
		 f[FLOWS_TABLE_FLOWS].kept, f[FLOWS_TABLE_PENDING].kept,
		 f[FLOWS_TABLE_FRAGMENTS].kept, f[FLOWS_TABLE_FLOWS].lost,
		 f[FLOWS_TABLE_PENDING].lost, f[FLOWS_TABLE_FRAGMENTS].lost);
	if (res.dropped)
		log_warning(
			"loader: %u maps of the other build are not known to this one; they are "
			"gone with what they held",
			res.dropped);
	return 0;
}
