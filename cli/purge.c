/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `penstock purge`: an instance goes from the machine. A daemon that runs does it and ends. What it may not do, and
 * what one that is gone left, `penstockd --purge` does, as root: no part of that is here.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "client.h"
#include "help.h"
#include "output.h"
#include "table.h"
#include "term.h"
#include "verbs.h"

#define PURGE_TIMEOUT_MS CHANGE_TIMEOUT_MS
#define DAEMON           "penstockd"
#define DAEMON_ARGS      12
#define ANSWER_CHUNK     65536

extern char **environ;

/* ---- may we? ------------------------------------------------------------------------------------------- */

static bool said_yes(const struct invocation *call)
{
	const char *instance = call->value[OPTION_INSTANCE];
	char line[16] = "";

	fprintf(stderr, "This ends all filtering by %s%s and removes its %s. Go on? [y/N] ",
		instance ? "instance " : "penstock", instance ? instance : "",
		call->value[OPTION_KEEP_STATE]
			? "counters and run-time members"
			: "policies, history, counters and run-time members");
	return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y');
}

/* ---- penstockd --purge --------------------------------------------------------------------------------- */

/* Beside us, as it was built, or where it was installed. Owned by the caller; NULL: not there. */
static char *find_daemon(void)
{
	static const char *const ways[] = { "%.*s/" DAEMON, "%.*s/../sbin/" DAEMON };
	char self[4096], *path = NULL;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int dir;

	if (n < 0)
		return NULL;
	self[n] = '\0';
	dir = (int)(strrchr(self, '/') - self);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (asprintf(&path, ways[i], dir, self) < 0)
			return NULL;
		if (access(path, X_OK) == 0)
			return path;
		free(TAKE_PTR(path));
	}
	return NULL;
}

struct arguments {
	const char *at[DAEMON_ARGS];
	size_t count;
};

static void add_pair(struct arguments *args, const char *option, const char *value)
{
	if (!value || !*value)
		return;
	args->at[args->count++] = option;
	args->at[args->count++] = value;
}

/* Directories by the daemon's own word, when it gave one. */
static struct arguments make_arguments(const struct invocation *call, struct json_object *answer)
{
	static const struct {
		const char *option, *key;
		enum option_id id;
	} dirs[] = { { "--run-dir", "run_dir", OPTION_RUN_DIR },
		     { "--state-dir", "state_dir", OPTION_STATE_DIR },
		     { "--pin-dir", "pin_dir", OPTION_PIN_DIR } };
	struct arguments args = { { DAEMON, "--purge" }, 2 };

	add_pair(&args, "--instance", call->value[OPTION_INSTANCE]);
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		add_pair(&args, dirs[i].option,
			 answer ? json_text(answer, dirs[i].key) : call->value[dirs[i].id]);
	if (call->value[OPTION_KEEP_STATE])
		args.at[args.count++] = "--keep-state";
	return args;
}

static struct json_object *read_answer(int fd)
{
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *json = NULL;
	char chunk[ANSWER_CHUNK];
	ssize_t n;

	while (tokener && (n = read(fd, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || json)
			break;
		json = json_tokener_parse_ex(tokener, chunk, (int)n);
	}
	if (tokener)
		json_tokener_free(tokener);
	return json;
}

static int spawn(const char *path, const struct arguments *args, int out, pid_t *ret)
{
	posix_spawn_file_actions_t actions;
	int r = posix_spawn_file_actions_init(&actions);

	if (r)
		return -r;
	r = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	if (!r)
		r = posix_spawn(ret, path, &actions, NULL, (char *const *)(uintptr_t)args->at,
				environ);
	(void)posix_spawn_file_actions_destroy(&actions); /* cannot fail */
	return -r;
}

/* What it removed; NULL when it did not begin, which was said. */
static struct json_object *run_daemon(const struct invocation *call, struct json_object *answer)
{
	struct arguments args = make_arguments(call, answer);
	_cleanup_close_ int from = -1, to = -1;
	_cleanup_free_ char *path = find_daemon();
	struct json_object *json;
	int ends[2], r;
	pid_t pid = -1;

	if (!path || pipe2(ends, O_CLOEXEC) < 0) {
		term_error(DAEMON " is not where this program is; what it would do is left");
		return NULL;
	}
	from = ends[0];
	to = ends[1];
	r = spawn(path, &args, to, &pid);
	if (r) {
		term_error("%s: %s; what it would do is left", path, strerror(-r));
		return NULL;
	}
	closep(&to);
	json = read_answer(from);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return json;
}

/* ---- both ---------------------------------------------------------------------------------------------- */

static void append(struct json_object *to, struct json_object *from, const char *key)
{
	for (size_t i = 0; i < json_count(from, key); i++)
		(void)json_object_array_add(json_member(to, key),
					    json_object_get(json_at(from, key, i)));
}

/* What the daemon could not do was tried again: the second word on it holds. */
static void merge(struct json_object *answer, struct json_object *more)
{
	append(answer, more, "removed");
	json_set(answer, "kept", json_object_get(json_member(more, "kept")));
	json_set(answer, "failed", json_object_get(json_member(more, "failed")));
}

static void show_rows(struct table *table, struct json_object *answer, const char *key)
{
	for (size_t i = 0; i < json_count(answer, key); i++) {
		struct json_object *row = json_at(answer, key, i);

		table_row(table);
		table_text(table, 0, key);
		table_text(table, 1, json_text(row, "what"));
		table_text(table, 2, json_text(row, "name"));
		table_text(table, 3, json_text(row, "why"));
		if (!strcmp(key, "failed"))
			table_color(table, 0, TABLE_RED);
	}
}

static enum status show(const struct invocation *call, struct json_object *answer)
{
	static const struct table_column columns[] = {
		{ "", false }, { "WHAT", false }, { "NAME", false }, { "WHY", false }, {}
	};
	enum status status = json_count(answer, "failed") ? STATUS_FAILED : STATUS_DONE;
	_cleanup_table_ struct table *table = NULL;

	if (output_json(call)) {
		output_document(answer);
		return status;
	}
	if (!json_count(answer, "removed") && !json_count(answer, "kept") &&
	    status == STATUS_DONE) {
		puts("there was nothing to remove");
		return status;
	}
	table = table_new(call, columns);
	if (!table) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	show_rows(table, answer, "removed");
	show_rows(table, answer, "kept");
	show_rows(table, answer, "failed");
	return table_print(table, true) == STATUS_DONE ? status : STATUS_FAILED;
}

static enum status ask_daemon(const struct invocation *call, bool quiet, struct json_object **ret)
{
	_cleanup_json_ struct json_object *body = json_object_new_object();
	_cleanup_answer_ struct answer answer = {};
	struct request rq = { .path = "/v1/purge",
			      .body = body,
			      .changes = true,
			      .quiet = quiet,
			      .timeout_ms = PURGE_TIMEOUT_MS };
	enum status status;

	if (!body) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	json_set(body, "keep_state",
		 json_object_new_boolean(call->value[OPTION_KEEP_STATE] != NULL));
	status = client_send(call, &rq, &answer);
	if (status == STATUS_DONE)
		status = client_judge(&answer);
	if (status == STATUS_DONE)
		*ret = TAKE_PTR(answer.json);
	return status;
}

enum status verb_purge(const struct invocation *call)
{
	_cleanup_json_ struct json_object *answer = NULL, *more = NULL;
	bool root = geteuid() == 0;
	enum status status;

	if (!call->value[OPTION_YES] && !isatty(STDIN_FILENO))
		return help_usage_error(call->command,
					"'--yes' is needed where nobody can be asked");
	if (!call->value[OPTION_YES] && !said_yes(call))
		return STATUS_FAILED;
	/* For root a daemon that is not there is no failure. */
	status = ask_daemon(call, root, &answer);
	if (status != STATUS_DONE && (status != STATUS_UNREACHABLE || !root))
		return status;
	if (root && (!answer || json_count(answer, "failed"))) {
		more = run_daemon(call, answer);
		if (!more && !answer)
			return STATUS_FAILED;
		if (more && answer)
			merge(answer, more);
	}
	return show(call, answer ? answer : more);
}
