/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/apply and /v1/check: the descriptors and names of a request become an apply. */
#include <errno.h>
#include <string.h>

#include "daemon.h"
#include "job.h"
#include "jsonobj.h"
#include "routes.h"

#define DAY_MS (24 * 3600 * 1000)

static void add_diagnostics(struct json_object *to, struct json_object *diagnostics)
{
	if (!diagnostics) {
		json_add(to, "diagnostics", json_object_new_array());
		return;
	}
	json_object_object_foreach(diagnostics, key, value)
		json_add(to, key, json_object_get(value));
}

static struct json_object *policy(const struct apply_outcome *o)
{
	struct json_object *json = json_object_new_object();

	json_add_text(json, "file", o->file);
	json_add_text(json, "dir", o->dir);
	json_add_text(json, "digest", o->digest);
	if (o->generation)
		json_add_u64(json, "generation", o->generation);
	return json;
}

static void answer_good(struct api_request *r, const struct apply_outcome *o)
{
	struct json_object *json = json_object_new_object();

	json_add(json, "policy", policy(o));
	json_add_u64(json, "changed", o->lines_changed);
	json_add(json, "unchanged", json_object_new_boolean(o->result == APPLY_UNCHANGED));
	json_add_u64(json, "rules", o->rules);
	json_add_u64(json, "compile_ms", o->compile_ms);
	json_add_u64(json, "install_ms", o->install_ms);
	json_add_u64(json, "image_bytes", o->image_bytes);
	json_add(json, "confirm", o->confirm ? json_object_get(o->confirm) : NULL);
	json_add_u64(json, "members_dropped", o->members_dropped);
	add_diagnostics(json, o->diagnostics);
	api_answer(r, 200, json);
}

static void answer_refused(struct api_request *r, const struct apply_outcome *o)
{
	struct json_object *json = json_object_new_object(), *error = json_object_new_object();

	json_add_text(error, "code", "refused");
	json_add_text(error, "message", "the policy has errors; nothing was changed");
	json_add(json, "error", error);
	add_diagnostics(json, o->diagnostics);
	api_answer(r, 422, json);
}

void route_apply_done(void *ctx, const struct apply_outcome *o)
{
	switch (o->result) {
	case APPLY_DONE:
	case APPLY_UNCHANGED:
		answer_good(ctx, o);
		return;
	case APPLY_REFUSED:
		answer_refused(ctx, o);
		return;
	case APPLY_FAILED:
	case APPLY_RESULT_COUNT:
		if (o->error == -EPERM) {
			api_error(ctx, 409, "locks-out", "%s; nothing was changed", o->why);
			return;
		}
		api_error(ctx, o->error == -ESHUTDOWN ? 503 : 500,
			  o->error == -ESHUTDOWN ? "stopping" : "failed", "%s; nothing was changed",
			  o->why);
	}
}

static bool are_texts(struct json_object *paths)
{
	for (size_t i = 0; paths && i < json_object_array_length(paths); i++) {
		if (!json_object_is_type(json_object_array_get_idx(paths, i), json_type_string))
			return false;
	}
	return true;
}

/* Absent, or milliseconds of a day at most. */
static bool is_time(struct json_object *json, const char *key)
{
	struct json_object *time = json_object_object_get(json, key);
	int64_t ms = json_object_get_int64(time);

	return !time || (json_object_is_type(time, json_type_int) && ms >= 0 && ms <= DAY_MS);
}

/* What the request should hold and does not; NULL when it is good. */
static const char *what_is_wrong(struct json_object *json, size_t descriptors)
{
	struct json_object *paths = json_member(json, "paths", json_type_array);
	size_t files = 1 + (paths ? json_object_array_length(paths) : 0);
	struct guard login;

	if (!json_text(json, "file"))
		return "'file' is missing, or no text";
	if (json_object_object_get(json, "paths") && !paths)
		return "'paths' is no list";
	if (!are_texts(paths))
		return "'paths' must hold texts";
	if (files > JOB_FILES)
		return "too many files";
	if (!is_time(json, "confirm_ms") || !is_time(json, "confirm_preset_ms"))
		return "times to confirm in are milliseconds of a day at most";
	if (json_object_object_get(json, "login") &&
	    !guard_read(&login, json_object_object_get(json, "login")))
		return "'login' must have addresses of one family, 'here' and 'there', and their ports";
	if (files != descriptors)
		return "the descriptors must be the policy's and one for each of 'paths'";
	return NULL;
}

void route_apply_not_started(struct api_request *r, int error)
{
	if (error == -EINPROGRESS)
		route_to_confirm(r);
	else if (error == -EBUSY)
		api_error(r, 409, "busy", "another change is being carried out; try again");
	else if (error == -EAGAIN)
		api_error(r, 503, "busy", "%d checks are running; try again", APPLY_CHECKS_MAX);
	else if (error == -ESHUTDOWN)
		api_error(r, 503, "stopping", "the daemon is stopping");
	else
		api_error(r, 500, "failed", "the compiling child cannot be started: %s",
			  strerrordesc_np(-error));
}

/* {confirm_ms} or {confirm_preset_ms}; neither: what the policy says. */
static void read_confirm(struct apply_request *to, struct json_object *json)
{
	struct json_object *given = json_member(json, "confirm_ms", json_type_int);
	struct json_object *preset = json_member(json, "confirm_preset_ms", json_type_int);

	to->confirm_given = given;
	to->confirm_ms = given ? json_object_get_uint64(given) : 0;
	to->confirm_preset_ms = preset ? json_object_get_uint64(preset) : 0;
}

static int fill(struct apply_request *to, struct api_request *r, struct json_object *json)
{
	const char *dir = json_text(json, "dir");

	to->file = strdup(json_text(json, "file"));
	to->dir = strdup(dir ? dir : "");
	if (!to->file || !to->dir)
		return -ENOMEM;
	to->paths = json_object_get(json_member(json, "paths", json_type_array));
	to->fds = *api_descriptors(r);
	*api_descriptors(r) = (struct fd_list){};
	read_confirm(to, json);
	to->forced = json_object_get_boolean(json_member(json, "force", json_type_boolean));
	if (!guard_read(&to->login, json_object_object_get(json, "login")))
		to->login.family = AF_UNSPEC;
	to->pid = api_peer(r)->pid;
	to->uid = api_peer(r)->uid;
	return 0;
}

static void begin(struct daemon *d, struct api_request *r, bool check_only)
{
	_cleanup_json_ struct json_object *json = api_json(r);
	struct apply_request request = { .check_only = check_only };
	const char *wrong;
	int res;

	if (!json)
		return;
	wrong = what_is_wrong(json, api_descriptors(r)->count);
	if (wrong) {
		api_error(r, 400, "bad-request", "%s", wrong);
		return;
	}
	res = fill(&request, r, json);
	if (!res)
		res = apply_start(d, &request, route_apply_done, r);
	else
		apply_request_done(&request);
	if (res < 0)
		route_apply_not_started(r, res);
}

void route_apply(void *ctx, struct api_request *r)
{
	begin(ctx, r, false);
}

void route_check(void *ctx, struct api_request *r)
{
	begin(ctx, r, true);
}
