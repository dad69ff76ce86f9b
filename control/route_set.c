/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/set/add and /v1/set/del. A few members stand in the request; a long list comes as a descriptor and is
 * read by the child that compiles, because reading text takes time and trust.
 */
#include "route_set.h"

#include <errno.h>
#include <string.h>

#include "addr.h"
#include "daemon.h"
#include "job.h"
#include "jsonobj.h"
#include "routes.h"

#define MEMBERS_INLINE 1024
#define LISTS_AT_ONCE  4 /* being read */
#define ABSENT_SHOWN   100
#define TTL_MIN_MS     1000ull /* as in a policy */
#define TTL_MAX_MS     31536000000ull

struct set_call {
	struct set_call *next; /* while the child reads its list */
	struct daemon *d;
	struct api_request *r;
	struct sets_request request;
	uint64_t duplicates;
	struct job *job;
	struct job_result result;
	int error;

	/* Of a deletion that is over: what was not there. */
	struct sets_outcome outcome;
	struct sets_keys absent;
};

static void call_free(struct set_call *c)
{
	sets_request_done(&c->request);
	job_result_done(&c->result);
	vec_done(&c->absent);
	free(c);
}

/* ---- answers ------------------------------------------------------------------------------------------- */

void route_set_error(struct api_request *r, int error, const char *why)
{
	why = why ? why : strerrordesc_np(-error);
	if (error == -ENOENT)
		api_error(r, 404, "no-such-set", "%s", why);
	else if (error == -EPERM)
		api_error(r, 409, "not-run-time", "%s", why);
	else if (error == -EDQUOT)
		api_error(r, 409, "over-max", "%s", why);
	else if (error == -EAGAIN)
		api_error(r, 503, "busy", "too many members wait to be added; try again");
	else if (error == -ESHUTDOWN)
		api_error(r, 503, "stopping", "the daemon is stopping");
	else
		api_error(r, 500, "failed", "%s", why);
}

static struct json_object *answer_head(const struct sets_outcome *o)
{
	struct json_object *json = json_object_new_object();

	json_add_text(json, "set", o->set);
	json_add_u64(json, "runtime_members", o->members);
	json_add_u64(json, "static_members", o->policy);
	json_add_u64(json, "max", o->max);
	return json;
}

static void on_added(void *ctx, struct sets_outcome *o)
{
	struct set_call *c = ctx;
	struct json_object *json;

	if (o->error < 0) {
		route_set_error(c->r, o->error, o->why);
	} else {
		json = answer_head(o);
		json_add_u64(json, "added", o->added);
		json_add_u64(json, "refreshed", o->refreshed);
		json_add_u64(json, "duplicates", c->duplicates);
		api_answer(c->r, 200, json);
	}
	call_free(c);
}

/* policy: what the policy gives to the set; NULL when nobody knows. */
static struct json_object *absent_rows(const struct sets_keys *absent,
				       const struct sets_keys *policy)
{
	struct json_object *rows = json_object_new_array();

	for (size_t i = 0; i < absent->count && i < ABSENT_SHOWN; i++) {
		struct prefix p = sets_prefix_of(&absent->at[i]);
		struct json_object *row = json_object_new_object();
		char text[PREFIX_TEXT];
		bool is_static = policy && sets_keys_have(policy, &absent->at[i]);

		prefix_format(&p, text);
		json_add_text(row, "prefix", text);
		json_add(row, "static", json_object_new_boolean(is_static));
		json_object_array_add(rows, row);
	}
	return rows;
}

static void answer_deleted(struct set_call *c, const struct sets_keys *policy)
{
	struct json_object *json;

	c->outcome.set = c->request.set;
	json = answer_head(&c->outcome);
	json_add_u64(json, "removed", c->outcome.removed);
	json_add_u64(json, "absent", c->absent.count);
	json_add(json, "absent_members", absent_rows(&c->absent, policy));
	api_answer(c->r, 200, json);
	call_free(c);
}

static void on_given(void *ctx, const struct sets_keys *keys, int error)
{
	(void)error; /* then it is not known which are the policy's, and nobody says so */
	answer_deleted(ctx, keys);
}

static void on_deleted(void *ctx, struct sets_outcome *o)
{
	struct set_call *c = ctx;
	struct daemon *d = c->d;

	if (o->error < 0) {
		route_set_error(c->r, o->error, o->why);
		call_free(c);
		return;
	}
	c->outcome = *o;
	c->absent = o->absent;
	o->absent = (struct sets_keys){};
	c->request.set = strdup(o->set); /* the request is gone; NULL shows as a missing member */
	if (c->absent.count && o->policy && c->request.set)
		sets_given_ask(d->given, c->request.set, on_given, c);
	else
		answer_deleted(c, NULL);
}

static void submit(struct set_call *c)
{
	bool add = c->request.verb == SETS_ADD;
	struct api_request *r = c->r;
	int error = sets_submit(c->d->sets, &c->request, add ? on_added : on_deleted, c);

	if (error < 0) {
		route_set_error(r, error, NULL);
		call_free(c);
	}
}

/* ---- a list that the child reads -------------------------------------------------------------------------- */

static void leave_list(struct set_call *c)
{
	struct set_call **at = &c->d->set_calls;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
}

static void run_copy(void *ctx)
{
	struct set_call *c = ctx;

	c->error = job_result_keys(&c->result, &c->request.keys, &c->duplicates);
	job_result_done(&c->result);
}

static void on_copied(void *ctx)
{
	struct set_call *c = ctx;

	if (c->error < 0) {
		route_set_error(c->r, c->error, NULL);
		call_free(c);
		return;
	}
	submit(c);
}

static void answer_bad_list(struct set_call *c)
{
	struct json_object *json, *error = json_object_new_object();

	json = json_read(c->result.diagnostics, c->result.diagnostics_len);
	if (!json_object_is_type(json, json_type_object)) {
		json_put(&json);
		json = json_object_new_object();
	}
	json_add_text(error, "code", "refused");
	json_add_text(error, "message", "the list has errors; nothing was changed");
	json_add(json, "error", error);
	api_answer(c->r, 422, json);
	call_free(c);
}

static void on_list(void *ctx, int r, struct job_result *result, uint64_t took_ms, const char *why)
{
	struct set_call *c = ctx;

	(void)took_ms;
	c->job = NULL;
	c->result = *result;
	leave_list(c);
	if (r < 0) {
		route_set_error(c->r, r, why);
		call_free(c);
		return;
	}
	if (!c->result.manifest_len) {
		answer_bad_list(c);
		return;
	}
	r = worker_submit(c->d->worker, run_copy, on_copied, c);
	if (r < 0) {
		route_set_error(c->r, r, NULL);
		call_free(c);
	}
}

static void read_list(struct set_call *c, const char *name)
{
	struct job_input input = { .task = JOB_PREFIXES,
				   .file = name ? name : "list",
				   .fds = api_descriptors(c->r),
				   .max = SETS_MEMBERS_MAX - 1 };
	unsigned int reading = 0;
	int r = 0;

	for (const struct set_call *at = c->d->set_calls; at; at = at->next)
		reading++;
	if (c->d->stopping)
		r = -ESHUTDOWN;
	else if (reading >= LISTS_AT_ONCE)
		r = -EAGAIN;
	if (!r)
		r = job_start(&c->job, c->d->event, &input, on_list, c);
	if (r < 0) {
		route_set_error(c->r, r, NULL);
		call_free(c);
		return;
	}
	c->next = c->d->set_calls;
	c->d->set_calls = c;
}

void route_set_cancel_all(struct daemon *d)
{
	while (d->set_calls) {
		struct set_call *c = d->set_calls;

		d->set_calls = c->next;
		job_cancel(&c->job);
		route_set_error(c->r, -ESHUTDOWN, NULL);
		call_free(c);
	}
}

/* ---- requests ------------------------------------------------------------------------------------------- */

const char *route_set_name(struct api_request *r, struct json_object *json)
{
	const char *name = json_text(json, "set");

	if (!name)
		api_error(r, 400, "bad-request", "'set' is missing, or no text");
	return name;
}

/* Answers and returns false when one of them is wrong. */
static bool read_members(struct set_call *c, struct json_object *members)
{
	for (size_t i = 0; i < json_object_array_length(members); i++) {
		struct json_object *item = json_object_array_get_idx(members, i);
		bool is_text = json_object_is_type(item, json_type_string);
		const char *text = is_text ? json_object_get_string(item) : "";
		struct addr_error why = { .message = "not a text" };
		struct prefix p;

		if (!is_text || !prefix_parse(text, strlen(text), &p, &why)) {
			api_error(c->r, 400, "bad-address", "members[%zu], '%s': %s", i, text,
				  why.message);
			return false;
		}
		if (vec_push(&c->request.keys, sets_key_of(&p)) < 0) {
			route_set_error(c->r, -ENOMEM, NULL);
			return false;
		}
	}
	c->duplicates = sets_keys_sort(&c->request.keys);
	return true;
}

/* What the request should hold and does not; NULL when it is good. */
static const char *what_is_wrong(struct json_object *json, size_t descriptors)
{
	struct json_object *members = json_member(json, "members", json_type_array), *ttl = NULL;
	bool has_ttl = json_object_object_get_ex(json, "ttl_ms", &ttl);
	uint64_t ms = json_object_get_uint64(ttl);

	if (json_object_object_get(json, "members") && !members)
		return "'members' is no list";
	if (!members == !descriptors || descriptors > 1)
		return "either 'members' or one descriptor must hold the members";
	if (members && json_object_array_length(members) > MEMBERS_INLINE)
		return "more members than a request can hold; send a list as a descriptor";
	if (has_ttl && ttl && !json_object_is_type(ttl, json_type_int))
		return "'ttl_ms' is neither a number nor null";
	if (ttl && (ms < TTL_MIN_MS || ms > TTL_MAX_MS))
		return "'ttl_ms' must be between 1000 and 31536000000";
	return NULL;
}

/* Early, for its message: the set is looked for again when the request's turn comes. */
static bool check_set(struct daemon *d, struct api_request *r, const char *name)
{
	_cleanup_free_ char *why = NULL;
	int error = 0;

	if (sets_find(d->sets, name, &error, &why))
		return true;
	route_set_error(r, error, why);
	return false;
}

static struct set_call *call_new(struct daemon *d, struct api_request *r, enum sets_verb verb,
				 struct json_object *json)
{
	struct set_call *c = calloc(1, sizeof(*c));
	struct json_object *ttl = NULL;

	if (!c)
		return NULL;
	c->d = d;
	c->r = r;
	c->request.verb = verb;
	c->request.set = strdup(json_text(json, "set"));
	c->request.has_ttl = json_object_object_get_ex(json, "ttl_ms", &ttl);
	c->request.ttl_ms = json_object_get_uint64(ttl);
	if (!c->request.set) {
		call_free(c);
		return NULL;
	}
	return c;
}

static void begin(struct daemon *d, struct api_request *r, enum sets_verb verb)
{
	_cleanup_json_ struct json_object *json = api_json(r);
	struct json_object *members = json_member(json, "members", json_type_array);
	const char *name = json ? route_set_name(r, json) : NULL;
	const char *wrong;
	struct set_call *c;

	if (!name)
		return;
	wrong = what_is_wrong(json, api_descriptors(r)->count);
	if (wrong) {
		api_error(r, 400, "bad-request", "%s", wrong);
		return;
	}
	if (!check_set(d, r, name))
		return;
	c = call_new(d, r, verb, json);
	if (!c)
		route_set_error(r, -ENOMEM, NULL);
	else if (!members)
		read_list(c, json_text(json, "file"));
	else if (read_members(c, members))
		submit(c);
	else
		call_free(c);
}

void route_set_add(void *ctx, struct api_request *r)
{
	begin(ctx, r, SETS_ADD);
}

void route_set_del(void *ctx, struct api_request *r)
{
	begin(ctx, r, SETS_DEL);
}
