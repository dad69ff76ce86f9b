/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `penstock apply`: opens the policy and its set files as the caller and hands them to the daemon, which
 * reads, checks and installs. What the daemon refuses is shown as `check` would show it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <arpa/inet.h>

#include "check.h"
#include "client.h"
#include "diags.h"
#include "help.h"
#include "input.h"
#include "login.h"
#include "output.h"
#include "policy.h"
#include "term.h"
#include "vec.h"
#include "verbs.h"

#define CONFIRM_MAX_MS     (24ull * 3600 * 1000)
#define DEFAULT_CONFIRM_MS (60 * 1000) /* for who is logged in from elsewhere */

struct parcel {
	const struct input *in;
	VEC(int) fds;
	struct json_object *paths;
	bool set_missing; /* a set file could not be opened */
	bool confirm_given;
	uint64_t confirm_ms;
};

static void parcel_done(struct parcel *p)
{
	for (size_t i = 0; i < p->fds.count; i++)
		(void)close(p->fds.at[i]); /* only read from */
	vec_done(&p->fds);
	json_putp(&p->paths);
}

static int parcel_add(struct parcel *p, int fd)
{
	int r = vec_push(&p->fds, fd);

	if (r)
		(void)close(fd); /* only read from */
	return r;
}

/* Descriptors are for regular files; what came through a pipe goes on in memory. */
static int open_policy(const struct input *in)
{
	_cleanup_close_ int fd = -1;
	size_t done = 0;
	struct stat st;

	if (fstat(in->fd, &st))
		return -errno;
	if (S_ISREG(st.st_mode)) {
		fd = fcntl(in->fd, F_DUPFD_CLOEXEC, 3);
		return fd < 0 || lseek(fd, 0, SEEK_SET) < 0 ? -errno : TAKE_FD(fd);
	}
	fd = memfd_create("policy", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (done < in->len) {
		ssize_t n = write(fd, in->text + done, in->len - done);

		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return lseek(fd, 0, SEEK_SET) < 0 ? -errno : TAKE_FD(fd);
}

static bool is_listed(const struct parcel *p, const char *path)
{
	for (size_t i = 0; i < json_object_array_length(p->paths); i++)
		if (!strcmp(json_object_get_string(json_object_array_get_idx(p->paths, i)), path))
			return true;
	return false;
}

static int add_set(void *ctx, const char *path)
{
	struct parcel *p = ctx;
	struct json_object *name;
	int fd, r;

	if (is_listed(p, path))
		return 0;
	fd = input_open_set(p->in, path);
	if (fd < 0) {
		p->set_missing = true;
		return 0;
	}
	r = parcel_add(p, fd);
	if (r)
		return r;
	name = json_object_new_string(path);
	if (!name || json_object_array_add(p->paths, name)) {
		json_object_put(name);
		return -ENOMEM;
	}
	return 0;
}

/* The usual limit is 1024 descriptors; a policy may name more files. */
static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit); /* if not, opening says so */
}

static int pack(struct parcel *p, const struct input *in)
{
	int fd, r;

	raise_fd_limit();
	p->in = in;
	p->paths = json_object_new_array();
	if (!p->paths)
		return -ENOMEM;
	fd = open_policy(in);
	if (fd < 0)
		return fd;
	r = parcel_add(p, fd);
	return r ?: policy_paths(in->text, in->len, p, add_set);
}

/* The directory, for the daemon's messages and records; it opens nothing there. */
static struct json_object *dir_name(const struct input *in)
{
	char link[64], path[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", in->dir);
	n = readlink(link, path, sizeof(path));
	return json_object_new_string_len(path, n < 0 ? 0 : (int)n);
}

/* Enforced means on every device that is there: which are not, and which could not be? */
static void show_devices(const struct invocation *call)
{
	_cleanup_json_ struct json_object *status = NULL;
	struct request rq = { .path = "/v1/status", .changes = true, .quiet = true };

	if (client_ask(call, &rq, &status) != STATUS_DONE)
		return;
	for (size_t i = 0; i < json_count(status, "pending"); i++) {
		struct json_object *row = json_at(status, "pending", i);

		term_error(
			"note: device %s of zone %s is not there; it is attached when it appears",
			json_text(row, "dev"), json_text(row, "zone"));
	}
	for (size_t i = 0; i < json_count(status, "failed"); i++) {
		struct json_object *row = json_at(status, "failed", i);

		term_error("warning: device %s of zone %s is not attached: %s",
			   json_text(row, "dev"), json_text(row, "zone"), json_text(row, "why"));
	}
}

static void show_done(struct json_object *answer)
{
	struct json_object *policy = json_member(answer, "policy");
	char rules[TERM_COUNT], lines[TERM_COUNT], generation[TERM_NUMBER];
	uint64_t ms = json_number(answer, "compile_ms") + json_number(answer, "install_ms");

	fputs("applied ", stdout);
	term_write(stdout, json_text(policy, "file"), TERM_LINE);
	fputs(": policy ", stdout);
	term_write(stdout, json_text(policy, "digest"), TERM_LINE);
	printf(", generation %s", term_number(json_number(policy, "generation"), generation));
	if (json_member(answer, "rules"))
		printf(", %s", term_count(json_number(answer, "rules"), "rule", rules));
	if (json_object_is_type(json_member(answer, "unchanged"), json_type_boolean) &&
	    json_object_get_boolean(json_member(answer, "unchanged")))
		printf(", already running, %" PRIu64 " ms\n", ms);
	else
		printf(", %s changed, %" PRIu64 " ms\n",
		       term_count(json_number(answer, "changed"), "line", lines), ms);
}

/* Who cannot log in any more cannot confirm. */
static void show_confirm(struct json_object *answer)
{
	struct json_object *confirm = json_member(answer, "confirm");
	struct json_object *previous = json_member(confirm, "previous");
	char left[TERM_NUMBER];

	if (!confirm)
		return;
	printf("'penstock confirm' within %s, or ",
	       term_duration(json_number(confirm, "left_ms"), left));
	if (previous) {
		fputs("policy ", stdout);
		term_write(stdout, json_text(previous, "digest"), TERM_LINE);
		puts(" comes back; devices and zones when the daemon runs");
	} else {
		puts("nothing is filtered again");
	}
}

static void show_dropped(struct json_object *answer)
{
	uint64_t members = json_number(answer, "members_dropped");
	char text[TERM_COUNT];

	if (members)
		term_error(
			"warning: %s gone, added at run time to sets that the policy no longer has",
			term_count(members, "member", text));
}

static enum status show_answer(const struct invocation *call, const struct answer *answer)
{
	bool diagnosed = json_count(answer->json, "diagnostics");
	bool refused = answer->http == 422 && diagnosed;

	if (!refused) {
		enum status status = client_judge(answer);

		if (status != STATUS_DONE)
			return status;
	}
	if (output_json(call))
		output_document(answer->json);
	else if (diagnosed)
		diags_show_answer(answer->json);
	if (refused) {
		if (!output_json(call))
			term_error("refused; the running policy is unchanged");
		return STATUS_FAILED;
	}
	if (!output_json(call)) {
		show_done(answer->json);
		show_dropped(answer->json);
		show_devices(call);
		show_confirm(answer->json);
	}
	return STATUS_DONE;
}

/* The daemon refuses what would cut it off. */
static void add_login(const struct login *login, struct json_object *body)
{
	char here[INET6_ADDRSTRLEN], there[INET6_ADDRSTRLEN];
	struct json_object *json = json_object_new_object();

	(void)inet_ntop(login->family, &login->here, here, sizeof(here)); /* both fit */
	(void)inet_ntop(login->family, &login->there, there, sizeof(there));
	json_set(json, "here", json_object_new_string(here));
	json_set(json, "here_port", json_object_new_int(login->here_port));
	json_set(json, "there", json_object_new_string(there));
	json_set(json, "there_port", json_object_new_int(login->there_port));
	json_set(body, "login", json);
}

static enum status send_parcel(const struct invocation *call, const struct parcel *p)
{
	_cleanup_answer_ struct answer answer = {};
	_cleanup_json_ struct json_object *body = json_object_new_object();
	struct request rq = {
		.path = "/v1/apply",
		.body = body,
		.fds = p->fds.at,
		.fd_count = p->fds.count,
		.changes = true,
		.timeout_ms = CHANGE_TIMEOUT_MS,
	};
	enum status status;
	struct login login;
	bool logged_in;

	if (!body) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	json_set(body, "file", json_object_new_string(p->in->name));
	json_set(body, "dir", dir_name(p->in));
	json_set(body, "paths", json_object_get(p->paths));
	logged_in = login_find(&login);
	if (logged_in)
		add_login(&login, body);
	if (call->value[OPTION_FORCE])
		json_set(body, "force", json_object_new_boolean(true));
	if (p->confirm_given)
		json_set(body, "confirm_ms", json_object_new_uint64(p->confirm_ms));
	else if (logged_in || login_says_remote())
		json_set(body, "confirm_preset_ms", json_object_new_uint64(DEFAULT_CONFIRM_MS));
	status = client_send(call, &rq, &answer);
	return status == STATUS_DONE ? show_answer(call, &answer) : status;
}

/* A set file that cannot be opened is the policy's fault like any other: `check` says where. */
static enum status diagnose(const struct invocation *call)
{
	_cleanup_input_ struct input in = INPUT_INIT;
	_cleanup_(policy_done) struct policy policy = {};
	int r = input_load(&in, call->args[0], &policy);

	if (!r) {
		term_error("the files of %s changed while they were read", in.name);
		return STATUS_FAILED;
	}
	(void)diags_result(call, &policy.diags, r, in.name); /* refused in any case */
	return STATUS_FAILED;
}

static bool read_confirm(const char *text, uint64_t *ret_ms)
{
	return parse_duration(text, strlen(text), ret_ms) && *ret_ms <= CONFIRM_MAX_MS;
}

enum status verb_apply(const struct invocation *call)
{
	_cleanup_input_ struct input in = INPUT_INIT;
	_cleanup_(parcel_done) struct parcel parcel = {};
	int r;

	if (call->value[OPTION_CONFIRM] && call->value[OPTION_NO_CONFIRM])
		return help_usage_error(call->command,
					"'--confirm' and '--no-confirm' exclude each other");
	parcel.confirm_given = call->value[OPTION_CONFIRM] || call->value[OPTION_NO_CONFIRM];
	if (call->value[OPTION_CONFIRM] &&
	    !read_confirm(call->value[OPTION_CONFIRM], &parcel.confirm_ms))
		return help_usage_error(
			call->command,
			"'--confirm' takes a time of a day at most, as 60s or 5m, not '%s'",
			call->value[OPTION_CONFIRM]);
	r = input_open(&in, call->args[0]);
	if (r) {
		term_error("cannot read %s: %s", in.name, strerror(-r));
		return STATUS_FAILED;
	}
	r = pack(&parcel, &in);
	if (r) {
		term_error("cannot open the files of %s: %s", in.name, strerror(-r));
		return STATUS_FAILED;
	}
	if (parcel.set_missing)
		return diagnose(call);
	return send_parcel(call, &parcel);
}
