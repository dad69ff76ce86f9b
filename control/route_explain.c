/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/explain: frames through a test run of the loaded program, on the worker. An answer is about one
 * generation: frames that saw another than the one whose names we have are run again.
 */
#include <errno.h>
#include <string.h>

#include "daemon.h"
#include "explain_walk.h"
#include "fail.h"
#include "jsonobj.h"
#include "report.h"
#include "routes.h"
#include "str.h"

#define FRAMES_MAX      1024
#define FRAME_BYTES_MAX 65535
#define ROUNDS_MAX      3
#define MEASURED_MAX    16

struct frame {
	uint8_t *bytes;
	uint32_t len;
	int r; /* of its run */
	struct explain_answer answer;
};

struct question {
	struct daemon *d;
	struct api_request *request;
	char *at;                    /* "wan.ingress" */
	struct explain_question ask; /* all but the frame */
	VEC(struct frame) frames;
	unsigned int rounds;
	int r;
	char *why;
};

static void question_free(struct question **at)
{
	struct question *q = *at;

	for (size_t i = 0; i < q->frames.count; i++)
		free(q->frames.at[i].bytes);
	vec_done(&q->frames);
	free(q->at);
	free(q->why);
	free(q);
	*at = NULL;
}

/* ---- the answer ---------------------------------------------------------------------------------------- */

static const char *rule_id(const struct generation_chain *c, uint32_t index)
{
	return c && index < c->rules.count ? c->rules.at[index].id : NULL;
}

static void add_rule(struct json_object *row, const struct generation_chain *c,
		     const struct dp_explain *e)
{
	bool by_default =
		e->reason == DP_REASON_DEFAULT_PASS || e->reason == DP_REASON_DEFAULT_DROP;
	const char *id = rule_id(c, e->rule), *source = NULL;

	if (id)
		source = c->rules.at[e->rule].source;
	else if (c && by_default)
		source = c->source;
	json_add_text(row, "rule", id ? id : by_default ? "default" : NULL);
	json_add_text(row, "source", source);
}

static struct json_object *audit(const struct generation_chain *c, const struct dp_explain *e)
{
	struct json_object *ids = json_object_new_array();

	for (uint32_t i = 0; i < e->audit_count && i < DP_AUDIT_MAX; i++) {
		const char *id = rule_id(c, e->audit[i]);

		if (id)
			json_object_array_add(ids, json_object_new_string(id));
	}
	return ids;
}

static void add_cost(struct json_object *row, const struct question *q,
		     const struct explain_answer *a)
{
	char note[96];

	if (!a->cost_error) {
		json_add_u64(row, "cost_ns", a->cost_ns);
		json_add(row, "cost_note", NULL);
		return;
	}
	json_add(row, "cost_ns", NULL);
	if (q->ask.measure)
		(void)snprintf(note, sizeof(note), "the kernel cannot repeat the run: %s",
			       strerrordesc_np(-a->cost_error)); /* cut when it is long */
	else if (q->frames.count > MEASURED_MAX)
		(void)snprintf(note, sizeof(note),
			       "not measured in a request of more than %d frames",
			       MEASURED_MAX); /* always fits */
	else
		(void)snprintf(note, sizeof(note), "not asked for"); /* always fits */
	json_add_text(row, "cost_note", note);
}

static struct json_object *result(const struct question *q, const struct frame *f)
{
	const struct generation *g = q->d->running;
	const struct generation_chain *c = generation_chain(g, q->ask.zone, q->ask.dir);
	const struct dp_explain *said = &f->answer.said;
	struct json_object *row = json_object_new_object();

	if (f->r < 0) {
		json_add_text(row, "error",
			      f->r == -EINVAL ? "the frame is too short or too long to be run"
					      : strerrordesc_np(-f->r));
		return row;
	}
	json_add_text(row, "verdict", report_verdict(said->reason));
	json_add_text(row, "reason", report_reason(said->reason));
	json_add_text(row, "chain", c ? c->name : NULL);
	add_rule(row, c, said);
	json_add(row, "service", NULL);
	json_add(row, "backend", NULL);
	add_cost(row, q, &f->answer);
	json_add(row, "audit", audit(c, said));
	json_add(row, "walk", explain_walk(g, c, &f->answer));
	return row;
}

static void answer(struct question *q)
{
	struct json_object *json = json_object_new_object(), *rows = json_object_new_array();

	for (size_t i = 0; i < q->frames.count; i++)
		json_object_array_add(rows, result(q, &q->frames.at[i]));
	json_add_text(json, "at", q->at);
	json_add_u64(json, "generation", q->d->running->number);
	json_add(json, "results", rows);
	api_answer(q->request, 200, json);
}

/* ---- running it ------------------------------------------------------------------------------------------ */

static void run(void *ctx)
{
	struct question *q = ctx;
	struct daemon *d = q->d;

	q->r = d->explain ? 0 : explain_new(&d->explain, d->loader, &q->why);
	for (size_t i = 0; !q->r && i < q->frames.count; i++) {
		struct frame *f = &q->frames.at[i];

		q->ask.frame = f->bytes;
		q->ask.len = f->len;
		f->r = explain_run(d->explain, &q->ask, &f->answer);
	}
}

static bool is_of_one_generation(const struct question *q)
{
	for (size_t i = 0; i < q->frames.count; i++) {
		const struct frame *f = &q->frames.at[i];

		if (f->r == -EAGAIN ||
		    (!f->r && f->answer.said.generation != q->d->running->number))
			return false;
	}
	return true;
}

static void on_run(void *ctx);

static int look_at(struct question *q);

/* The policy may be another by now: zones are looked up again each time. */
static void start(struct question *q)
{
	int r;

	if (look_at(q) < 0) {
		question_free(&q);
		return;
	}
	r = worker_submit(q->d->worker, run, on_run, q);
	if (!r)
		return;
	api_error(q->request, r == -ESHUTDOWN ? 503 : 500, "failed", "%s", strerrordesc_np(-r));
	question_free(&q);
}

static void on_run(void *ctx)
{
	struct question *q = ctx;

	if (q->r == -ESTALE)
		api_error(q->request, 409, "other-build", "%s",
			  q->why ? q->why : "the attached programs are of another build");
	else if (q->r < 0)
		api_error(q->request, 500, "failed", "explain cannot run: %s",
			  q->why ? q->why : strerrordesc_np(-q->r));
	else if (is_of_one_generation(q))
		answer(q);
	else if (++q->rounds < ROUNDS_MAX) {
		start(q);
		return;
	} else
		api_error(q->request, 503, "busy", "the policy changes all the time; try again");
	question_free(&q);
}

/* ---- the question ----------------------------------------------------------------------------------------- */

/* Device and entry that the zone really uses, the first one's; no device, and XDP, when there are none yet. */
static void aim(struct explain_question *ask, const struct attach_states *states,
		const struct generation_zone *z)
{
	bool tc = z->hook == MODEL_HOOK_TC;

	ask->ifindex = 0;
	for (size_t i = 0; i < states->count && !ask->ifindex; i++) {
		const struct attach_state *s = &states->at[i];

		if (s->failed || s->zone != ask->zone || s->dir != ask->dir)
			continue;
		ask->ifindex = s->dev.ifindex;
		tc = s->mode == ATTACH_TCX || s->mode == ATTACH_CLSACT;
	}
	ask->prog = tc ? LOADER_TC_INGRESS : LOADER_XDP_INGRESS;
	if (ask->dir == DP_EGRESS)
		ask->prog = LOADER_TC_EGRESS;
}

/* Answers what is wrong with `at`, and fails; or fills in where the frames are to be run. */
static int look_at(struct question *q)
{
	const struct generation *g = q->d->running;
	const struct generation_zone *z;
	_cleanup_free_ char *zone = strdup(q->at);
	char *dot = zone ? strrchr(zone, '.') : NULL;

	if (!g || g->nameless) {
		api_error(q->request, 409, g ? "no-names" : "no-policy",
			  g ? "the names of the running policy are not known: apply it again"
			    : "there is no policy");
		return -ENOENT;
	}
	if (!dot || (strcmp(dot, ".ingress") != 0 && strcmp(dot, ".egress") != 0)) {
		api_error(q->request, 400, "bad-place", "'at' must be ZONE.ingress or ZONE.egress");
		return -EINVAL;
	}
	*dot = 0;
	z = generation_zone(g, zone);
	if (!z) {
		api_error(q->request, 404, "no-such-zone", "the policy has no zone '%s'", zone);
		return -ENOENT;
	}
	q->ask.zone = (uint8_t)(z - g->zones.at + 1);
	q->ask.dir = strcmp(dot + 1, "egress") ? DP_INGRESS : DP_EGRESS;
	aim(&q->ask, attach_states(q->d->attach), z);
	return 0;
}

static int read_frame(const char *hex, struct frame *ret)
{
	size_t room = hex ? strlen(hex) / 2 : 0;
	_cleanup_free_ uint8_t *bytes = NULL;
	ssize_t len;

	if (room > FRAME_BYTES_MAX)
		return -EINVAL;
	bytes = malloc(room + 1);
	if (!bytes)
		return -ENOMEM;
	len = hex_read(hex, bytes, room);
	if (len < 0)
		return -EINVAL;
	*ret = (struct frame){ .bytes = TAKE_PTR(bytes), .len = (uint32_t)len };
	return 0;
}

static int read_frames(struct question *q, struct json_object *frames)
{
	size_t count = frames ? json_object_array_length(frames) : 0;
	int r = count && count <= FRAMES_MAX ? 0 : -EINVAL;

	for (size_t i = 0; !r && i < count; i++) {
		struct json_object *hex = json_object_array_get_idx(frames, i);
		struct frame f;

		r = json_object_is_type(hex, json_type_string)
			    ? read_frame(json_object_get_string(hex), &f)
			    : -EINVAL;
		if (r < 0)
			break;
		r = vec_push(&q->frames, f);
		if (r < 0)
			free(f.bytes);
	}
	return r;
}

static bool wants_cost(struct json_object *json)
{
	struct json_object *measure = json_member(json, "measure", json_type_boolean);

	return !measure || json_object_get_boolean(measure);
}

void route_explain(void *ctx, struct api_request *r)
{
	_cleanup_json_ struct json_object *json = api_json(r);
	struct question *q;
	const char *at;
	int res;

	if (!json)
		return;
	q = calloc(1, sizeof(*q));
	if (!q) {
		api_error(r, 500, "failed", "out of memory");
		return;
	}
	q->d = ctx;
	q->request = r;
	at = json_text(json, "at");
	q->at = strdup(at ? at : "");
	res = q->at ? read_frames(q, json_member(json, "frames", json_type_array)) : -ENOMEM;
	/* A long capture is asked for its verdicts: with the cost of each frame it would take minutes. */
	q->ask.measure = q->frames.count <= MEASURED_MAX && wants_cost(json);
	if (!res) {
		start(q);
		return;
	}
	if (res == -EINVAL)
		api_error(r, 400, "bad-request",
			  "'frames' must be 1 to %d texts of hexadecimal bytes, at most %d each",
			  FRAMES_MAX, FRAME_BYTES_MAX);
	else
		api_error(r, 500, "failed", "%s", strerrordesc_np(-res));
	question_free(&q);
}
