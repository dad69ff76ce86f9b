/* SPDX-License-Identifier: Apache-2.0 */
/* `penstock diff`: what apply would change. The file is compiled here, the running policy is asked for. */
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>

#include "client.h"
#include "compare.h"
#include "diags.h"
#include "input.h"
#include "output.h"
#include "policy.h"
#include "table.h"
#include "term.h"
#include "verbs.h"

struct sign {
	const char *change;
	char mark;
	const char *color; /* on a terminal */
};

static const struct sign *sign_of(const char *change)
{
	static const struct sign signs[] = {
		{ "added", '+', "\033[32m" },
		{ "removed", '-', "\033[31m" },
		{ "changed", '~', "\033[33m" },
		{ "moved", '>', "\033[36m" },
	};
	size_t i = 0;

	while (i < 3 && strcmp(signs[i].change, change) != 0)
		i++;
	return &signs[i];
}

static void print_value(struct json_object *row, const char *key)
{
	if (json_object_is_type(json_member(row, key), json_type_string))
		term_write(stdout, json_text(row, key), TERM_LINE);
	else
		printf("place %" PRIu64, json_number(row, key));
}

/* "+ wan-in: {id: …}", "~ set us: {…} -> {…}", "> wan-in: web: place 3 -> place 5". */
static void print_change(struct json_object *row, bool colors)
{
	const struct sign *sign = sign_of(json_text(row, "change"));
	const char *chain = json_text(row, "chain");
	bool from = json_member(row, "from"), to = json_member(row, "to");

	printf("%s%c ", colors ? sign->color : "", sign->mark);
	if (*chain) {
		term_write(stdout, chain, TERM_LINE);
	} else {
		printf("%s ", json_text(row, "kind"));
		term_write(stdout, json_text(row, "name"), TERM_LINE);
	}
	fputs(": ", stdout);
	if (sign->mark == '>') {
		term_write(stdout, json_text(row, "name"), TERM_LINE);
		fputs(": ", stdout);
	}
	if (from)
		print_value(row, "from");
	if (from && to)
		fputs(" -> ", stdout);
	if (to)
		print_value(row, "to");
	puts(colors ? "\033[0m" : "");
}

static enum status print_json(const struct input *in, struct json_object *running,
			      struct json_object *changes)
{
	_cleanup_json_ struct json_object *document = json_document();
	struct json_object *policy = running ? json_object_new_object() : NULL;

	if (!document || (running && !policy)) {
		json_object_put(policy);
		term_error("out of memory");
		return STATUS_FAILED;
	}
	if (policy) {
		json_set(policy, "digest", json_object_get(json_member(running, "digest")));
		json_set(policy, "generation", json_object_get(json_member(running, "generation")));
	}
	json_set(document, "file", json_object_new_string(in->name));
	json_set(document, "running", policy);
	json_set(document, "same", json_object_new_boolean(json_object_array_length(changes) == 0));
	json_set(document, "changes", json_object_get(changes));
	output_document(document);
	return STATUS_DONE;
}

/* NULL in *ret: the daemon runs, but no policy does. */
static enum status get_running(const struct invocation *call, struct json_object **ret)
{
	_cleanup_answer_ struct answer answer = {};
	struct request rq = { .path = "/v1/policy" };
	enum status status = client_send(call, &rq, &answer);

	if (status != STATUS_DONE || answer.http == 404)
		return status;
	status = client_judge(&answer);
	if (status != STATUS_DONE)
		return status;
	if (json_member(answer.json, "zones")) {
		*ret = TAKE_PTR(answer.json);
	} else if (json_member(answer.json, "policy")) {
		term_error("the daemon does not know what it runs: apply a policy first");
		return STATUS_FAILED;
	}
	return STATUS_DONE;
}

enum status verb_diff(const struct invocation *call)
{
	_cleanup_json_ struct json_object *running = NULL, *changes = NULL;
	_cleanup_input_ struct input in = INPUT_INIT;
	_cleanup_(policy_done) struct policy policy = {};
	int r = input_load(&in, call->args[0], &policy);
	enum status status = diags_result(call, &policy.diags, r, in.name);

	if (status == STATUS_DONE)
		status = get_running(call, &running);
	if (status != STATUS_DONE)
		return status;
	changes = compare_manifests(running, policy.manifest);
	if (!changes) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	if (output_json(call))
		status = print_json(&in, running, changes);
	for (size_t i = 0; !output_json(call) && i < json_object_array_length(changes); i++)
		print_change(json_object_array_get_idx(changes, i), table_colors(call));
	if (status == STATUS_DONE && json_object_array_length(changes))
		status = STATUS_FAILED;
	return status;
}
