/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/confirm and /v1/rollback, GET /v1/history. While a change waits, going back is to undo it; else it is an
 * apply of the texts of the policy that ran before.
 */
#include <errno.h>
#include <string.h>

#include "confirm.h"
#include "daemon.h"
#include "jsonobj.h"
#include "log.h"
#include "report.h"
#include "routes.h"

void route_to_confirm(struct api_request *r)
{
	api_error(
		r, 409, "to-confirm",
		"the running policy waits to be confirmed: 'penstock confirm' or 'penstock rollback' first");
}

static struct json_object *running(const struct daemon *d)
{
	struct json_object *json = json_object_new_object();

	json_add(json, "policy", d->running ? report_generation(d->running) : NULL);
	return json;
}

static void say_who(const char *what, struct api_request *r)
{
	const struct ucred *peer = api_peer(r);

	log_info("confirm: %s by pid %d, uid %u", what, (int)peer->pid, (unsigned int)peer->uid);
}

void route_confirm(void *ctx, struct api_request *r)
{
	struct daemon *d = ctx;
	int res = confirm_accept(d);

	if (res == -ENOENT) {
		api_error(r, 409, "nothing-to-confirm", "nothing waits to be confirmed");
	} else if (res < 0) {
		api_error(r, 409, "too-late",
			  "the time to confirm in is over; the policy of before is enforced");
	} else {
		say_who("confirmed", r);
		api_answer(r, 200, running(d));
	}
}

/* ---- back -------------------------------------------------------------------------------------------- */

struct undo {
	struct daemon *d;
	struct api_request *request;
};

static void on_undone(void *ctx, int res)
{
	struct undo *u = ctx;

	if (res < 0)
		api_error(u->request, 500, "not-saved",
			  "the policy of before is enforced; its names cannot be saved: %s",
			  strerrordesc_np(-res));
	else
		api_answer(u->request, 200, running(u->d));
	free(u);
}

static void undo(struct daemon *d, struct api_request *r)
{
	struct undo *u = calloc(1, sizeof(*u));
	int res = -ENOMEM;

	if (u) {
		*u = (struct undo){ d, r };
		res = confirm_undo(d, CONFIRM_ROLLBACK, on_undone, u);
	}
	if (res < 0) {
		free(u);
		route_apply_not_started(r, res == -ENOENT ? -EBUSY : res);
		return;
	}
	say_who("rolled back", r);
}

static int fill(struct apply_request *to, struct daemon *d, const struct history_entry *e,
		struct api_request *r)
{
	to->confirm_given = true; /* as 0: what ran before needs no trial */
	to->file = strdup(e->file);
	to->dir = strdup(e->dir);
	to->paths = json_object_get(e->sources.paths);
	to->pid = api_peer(r)->pid;
	to->uid = api_peer(r)->uid;
	if (!to->file || !to->dir)
		return -ENOMEM;
	return sources_open(d->state, &e->sources, &to->fds);
}

static void apply_again(struct daemon *d, struct api_request *r)
{
	const struct history_entry *e = history_back(&d->history, d->running);
	struct apply_request request = {};
	int res;

	if (!e) {
		api_error(r, 409, "nothing-before", "no policy is known that ran before");
		return;
	}
	res = fill(&request, d, e, r);
	if (res < 0) {
		apply_request_done(&request);
		api_error(r, 500, "failed", "the texts of generation %llu cannot be read: %s",
			  (unsigned long long)e->number, strerrordesc_np(-res));
		return;
	}
	res = apply_start(d, &request, route_apply_done, r);
	if (res < 0)
		route_apply_not_started(r, res);
}

void route_rollback(void *ctx, struct api_request *r)
{
	struct daemon *d = ctx;

	if (d->confirm)
		undo(d, r);
	else
		apply_again(d, r);
}

void route_history(void *ctx, struct api_request *r)
{
	struct daemon *d = ctx;
	struct json_object *json = json_object_new_object();

	json_add(json, "history", history_report(&d->history));
	if (d->running)
		json_add_u64(json, "running", d->running->number);
	else
		json_add(json, "running", NULL);
	json_add(json, "confirm", confirm_report(d));
	api_answer(r, 200, json);
}
