/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /v1/doctor: findings about what the daemon alone can see. In four turns, so that thousands of devices hold
 * nobody up:
 *   1. the loop copies what the daemon knows
 *   2. the worker asks the kernel, and judges what needs no names
 *   3. the loop asks the inspector for names, maybe again and again
 *   4. the worker judges devices; the loop answers
 */
#include <errno.h>
#include <string.h>

#include "daemon.h"
#include "doctor_look.h"
#include "jsonobj.h"
#include "options.h"
#include "report.h"
#include "routes.h"

/* That one answer asks for, at some 20 µs each: the loop has other work. */
#define NAMES_MAX 128

/* How long it waits for an inspector that is late, and how often: a second in all. */
#define REST_US   10000
#define RESTS_MAX 100

struct name {
	uint32_t prog;
	char text[INSPECT_TEXT]; /* "": not known yet */
};

struct call {
	struct daemon *d;
	struct api_request *request;
	struct doctor_facts facts;
	struct json_object *status, *sets, *rows;
	VEC(struct name) names;
	unsigned int rests;
};

static void call_free(struct call **at)
{
	struct call *c = *at;

	doctor_done(&c->facts);
	json_put(&c->status);
	json_put(&c->sets);
	json_put(&c->rows);
	vec_done(&c->names);
	free(c);
	*at = NULL;
}

/* ---- names ----------------------------------------------------------------------------------------- */

static struct name *find_name(const struct call *c, uint32_t prog)
{
	for (size_t i = 0; i < c->names.count; i++) {
		if (c->names.at[i].prog == prog)
			return &c->names.at[i];
	}
	return NULL;
}

static void list_names(struct call *c)
{
	for (size_t i = 0; i < c->facts.devs.count; i++) {
		const struct attach_programs *all = &c->facts.devs.at[i].programs;

		for (size_t k = 0; k < all->count && c->names.count < NAMES_MAX; k++) {
			uint32_t prog = all->at[k].ours ? 0 : all->at[k].prog;

			if (prog && !find_name(c, prog) &&
			    vec_push(&c->names, (struct name){ .prog = prog }) < 0)
				return; /* those so far */
		}
	}
}

/* False when the inspector is late: then again. */
static bool ask_names(struct call *c, bool last)
{
	for (size_t i = 0; i < c->names.count; i++) {
		struct name *n = &c->names.at[i];
		struct inspect_program program;
		int r;

		if (*n->text)
			continue;
		r = inspect_program(c->d->inspect, n->prog, &program);
		if ((r == -EBUSY || r == -ETIMEDOUT) && !last)
			return false;
		(void)inspect_text(r, &program, n->text);
	}
	return true;
}

static const char *who(void *ctx, uint32_t prog, char buf[static DOCTOR_WHO])
{
	const struct name *n = find_name(ctx, prog);

	(void)snprintf(buf, DOCTOR_WHO, "id %u (%s)", prog,
		       n ? n->text : "its name was not asked for"); /* always fits */
	return buf;
}

/* ---- findings -------------------------------------------------------------------------------------- */

static void judge_pins(struct json_object *rows, const struct doctor_facts *facts)
{
	char remedy[DOCTOR_REMEDY];
	const char *dir = facts->pin_dir;

	if (!facts->pins) {
		doctor_say(rows, &(struct doctor_finding){ DOCTOR_OK, "pins", dir, NULL },
			   "the pins are on a bpffs, for the next start to find");
		return;
	}
	if (facts->pins == -EMEDIUMTYPE)
		(void)snprintf(remedy, sizeof(remedy), "take away what lies over it: umount %s",
			       dir);
	else
		(void)snprintf(remedy, sizeof(remedy),
			       "look into penstockd's log; it pins again what was removed");
	doctor_say(rows, &(struct doctor_finding){ DOCTOR_BROKEN, "pins", dir, remedy },
		   "%s: the next start of penstockd will not find what is enforced now",
		   facts->pins == -EMEDIUMTYPE ? "it is no bpffs" : strerrordesc_np(-facts->pins));
}

static void judge_inspector(struct json_object *rows, const struct daemon *d)
{
	const char *missing = inspect_missing(d->inspect);

	if (missing)
		doctor_say(rows,
			   &(struct doctor_finding){
				   DOCTOR_WARNING, "inspector", "penstock-inspect",
				   d->options->no_inspect
					   ? "restart penstockd without --no-inspect"
					   : "restart penstockd, as root, with penstock-inspect "
					     "beside it and CAP_SYS_ADMIN" },
			   "%s: names and owners of other programs are not visible", missing);
	else
		doctor_say(rows,
			   &(struct doctor_finding){ DOCTOR_OK, "inspector", "penstock-inspect",
						     NULL },
			   "it names other owners' programs");
}

/* ---- in turns -------------------------------------------------------------------------------------- */

static void answer(void *ctx)
{
	struct call *c = ctx;
	struct json_object *json = json_object_new_object();
	pid_t inspector = inspect_pid(c->d->inspect);

	judge_inspector(c->rows, c->d);
	json_add(json, "findings", TAKE_PTR(c->rows));
	json_add_u64(json, "pid", (uint64_t)getpid());
	json_add(json, "inspector_pid", inspector ? json_object_new_int64(inspector) : NULL);
	api_answer(c->request, 200, json);
	call_free(&c);
}

static void judge_devs(void *ctx)
{
	struct call *c = ctx;

	for (size_t i = 0; i < c->facts.devs.count; i++)
		doctor_judge_dev(c->rows, &c->facts.devs.at[i], who, c);
}

/* The loop goes on, and who waits behind us on the worker waits no longer than that. */
static void rest(void *ctx)
{
	(void)ctx;
	(void)usleep(REST_US); /* sooner is as good */
}

static void on_rested(void *ctx)
{
	struct call *c = ctx;
	bool last = c->d->stopping || c->rests++ == RESTS_MAX;

	if (!ask_names(c, last)) {
		if (!worker_submit(c->d->worker, rest, on_rested, c))
			return;
		(void)ask_names(c, true); /* what is not known by now is said to be so */
	}
	if (!worker_submit(c->d->worker, judge_devs, answer, c))
		return;
	judge_devs(c); /* the daemon stops */
	answer(c);
}

static void look(void *ctx)
{
	struct call *c = ctx;

	doctor_look(&c->facts);
	doctor_judge_status(c->rows, c->status);
	doctor_judge_sets(c->rows, c->sets);
	judge_pins(c->rows, &c->facts);
	list_names(c);
}

static int begin(struct call *c)
{
	int error = 0, r;

	c->status = report_status(c->d, &error);
	if (!c->status)
		return error;
	c->sets = route_sets_report(c->d);
	c->rows = json_object_new_array();
	r = doctor_begin(c->d, &c->facts);
	return r ? r : worker_submit(c->d->worker, look, on_rested, c);
}

void route_doctor(void *ctx, struct api_request *r)
{
	struct call *c = calloc(1, sizeof(*c));
	int error;

	if (!c) {
		api_error(r, 500, "failed", "out of memory");
		return;
	}
	*c = (struct call){ .d = ctx, .request = r };
	error = begin(c);
	if (!error)
		return;
	api_error(r, 500, "failed", "the kernel cannot be asked: %s", strerrordesc_np(-error));
	call_free(&c);
}
