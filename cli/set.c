/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `penstock set add` and `set del`: members of a set at run time. A few addresses travel in the request, a list
 * as a descriptor; both are read here first, so that what is wrong is said at its place.
 */
#include <errno.h>
#include <json-c/json.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "addr.h"
#include "check.h"
#include "client.h"
#include "diags.h"
#include "help.h"
#include "input.h"
#include "output.h"
#include "setfile.h"
#include "str.h"
#include "term.h"
#include "verbs.h"

#define MEMBERS_INLINE 1000
#define STDIN_NAME     "<stdin>"
#define TIMEOUT_MS     (5 * 60 * 1000)

/* ---- what is asked ---------------------------------------------------------------------------- */

static bool reads_stdin(const struct invocation *call)
{
	return call->arg_count == 1 || (call->arg_count == 2 && !strcmp(call->args[1], "-"));
}

/* All that is wrong, by the number of the argument. */
static enum status check_arguments(const struct invocation *call)
{
	enum status status = STATUS_DONE;

	for (size_t i = 1; i < call->arg_count; i++) {
		const char *text = call->args[i];
		struct addr_error error = {};
		struct prefix prefix;

		if (prefix_parse(text, strlen(text), &prefix, &error))
			continue;
		term_error("address %zu, '%s': %s", i, text, error.message);
		status = STATUS_USAGE;
	}
	return status;
}

/* A text of its own: what came through a pipe is no regular file. */
static int make_memfd(const char *text, size_t len)
{
	_cleanup_close_ int fd = memfd_create("members", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, text + done, len - done);

		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return lseek(fd, 0, SEEK_SET) < 0 ? -errno : TAKE_FD(fd);
}

static int list_stdin(const struct invocation *call, enum status *ret_status)
{
	struct diag_list diags __attribute__((cleanup(diag_done))) = {};
	struct prefix_set set __attribute__((cleanup(prefix_set_done))) = {};
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = input_read(STDIN_FILENO, 0, SETFILE_MAX_BYTES, &text, &len);

	*ret_status = STATUS_FAILED;
	if (r < 0) {
		term_error("cannot read " STDIN_NAME ": %s", strerror(-r));
		return r;
	}
	r = setfile_read(&diags, diag_add_source(&diags, STDIN_NAME, text, len), 0, &set);
	if (!r && diags.errors)
		r = -EINVAL;
	if (r < 0) {
		*ret_status = diags_result(call, &diags, r, STDIN_NAME);
		return r;
	}
	r = make_memfd(text, len);
	if (r < 0)
		term_error("cannot hand the list to the daemon: %s", strerror(-r));
	return r;
}

static int list_arguments(const struct invocation *call)
{
	struct text text = {};
	_cleanup_free_ char *all = NULL;
	int fd;

	for (size_t i = 1; i < call->arg_count; i++) {
		text_puts(&text, call->args[i]);
		text_puts(&text, "\n");
	}
	all = text_take(&text);
	fd = all ? make_memfd(all, strlen(all)) : -ENOMEM;
	if (fd < 0)
		term_error("cannot hand the list to the daemon: %s", strerror(-fd));
	return fd;
}

static struct json_object *members(const struct invocation *call)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 1; array && i < call->arg_count; i++) {
		if (json_object_array_add(array, json_object_new_string(call->args[i])))
			json_putp(&array);
	}
	return array;
}

/* "never", or as in a policy. */
static enum status add_ttl(const struct invocation *call, struct json_object *body)
{
	const char *text = call->value[OPTION_TTL];
	uint64_t ms;

	if (!text)
		return STATUS_DONE;
	if (!strcmp(text, "never")) {
		json_set(body, "ttl_ms", NULL);
		return STATUS_DONE;
	}
	if (!parse_duration(text, strlen(text), &ms) || !ms)
		return help_usage_error(call->command,
					"'--ttl' is a number with a unit, s, m or h, or 'never', "
					"not '%s'",
					text);
	json_set(body, "ttl_ms", json_object_new_uint64(ms));
	return STATUS_DONE;
}

/* ---- what is answered --------------------------------------------------------------------------- */

static void show_counts(struct json_object *answer, bool add)
{
	uint64_t have =
		json_number(answer, "runtime_members") + json_number(answer, "static_members");
	char a[TERM_NUMBER], b[TERM_NUMBER];

	term_write(stdout, json_text(answer, "set"), TERM_LINE);
	if (add)
		printf(": %s added, %s refreshed", term_number(json_number(answer, "added"), a),
		       term_number(json_number(answer, "refreshed"), b));
	else
		printf(": %s removed", term_number(json_number(answer, "removed"), a));
	printf("; %s of %s members\n", term_number(have, a),
	       term_number(json_number(answer, "max"), b));
}

/* True when something was to be deleted that is no member, or not ours to delete. */
static bool show_absent(struct json_object *answer)
{
	uint64_t absent = json_number(answer, "absent");
	size_t shown = json_count(answer, "absent_members");
	const char *set = json_text(answer, "set");
	char number[TERM_NUMBER];

	for (size_t i = 0; i < shown; i++) {
		struct json_object *row = json_at(answer, "absent_members", i);
		bool is_static = json_object_get_boolean(json_member(row, "static"));

		if (is_static)
			term_error(
				"'%s' is a member of '%s' by the policy: take it away there and apply",
				json_text(row, "prefix"), set);
		else
			term_error("'%s' is no member of '%s'", json_text(row, "prefix"), set);
	}
	if (absent > shown)
		term_error("%s more were no members", term_number(absent - shown, number));
	return absent;
}

static enum status show_answer(const struct invocation *call, const struct answer *answer, bool add)
{
	enum status status;

	if (answer->http == 422 && json_count(answer->json, "diagnostics")) {
		if (output_json(call))
			output_document(answer->json);
		else
			diags_show_answer(answer->json);
		return STATUS_FAILED;
	}
	status = client_judge(answer);
	if (status != STATUS_DONE)
		return status;
	if (output_json(call))
		output_document(answer->json);
	else
		show_counts(answer->json, add);
	return show_absent(answer->json) ? STATUS_FAILED : STATUS_DONE;
}

static enum status send_body(const struct invocation *call, struct json_object *body, int fd,
			     bool add)
{
	_cleanup_answer_ struct answer answer = {};
	struct request rq = {
		.path = add ? "/v1/set/add" : "/v1/set/del",
		.body = body,
		.fds = &fd,
		.fd_count = fd >= 0,
		.changes = true,
		.timeout_ms = TIMEOUT_MS,
	};
	enum status status = client_send(call, &rq, &answer);

	return status == STATUS_DONE ? show_answer(call, &answer, add) : status;
}

static enum status change(const struct invocation *call, bool add)
{
	_cleanup_json_ struct json_object *body = json_object_new_object();
	_cleanup_close_ int fd = -1;
	enum status status;

	json_set(body, "set", json_object_new_string(call->args[0]));
	status = add_ttl(call, body);
	if (status == STATUS_DONE && !reads_stdin(call))
		status = check_arguments(call);
	if (status != STATUS_DONE)
		return status;
	if (reads_stdin(call)) {
		json_set(body, "file", json_object_new_string(STDIN_NAME));
		fd = list_stdin(call, &status);
	} else if (call->arg_count > MEMBERS_INLINE) {
		status = STATUS_FAILED;
		fd = list_arguments(call);
	} else {
		json_set(body, "members", members(call));
		return send_body(call, body, -1, add);
	}
	return fd < 0 ? status : send_body(call, body, fd, add);
}

enum status verb_set_change(const struct invocation *call)
{
	if (call->arg_count == 1 && isatty(STDIN_FILENO))
		return help_usage_error(call->command,
					"no address is given; name some, or write them to standard "
					"input");
	return change(call, !strcmp(call->command->name, "set add"));
}
