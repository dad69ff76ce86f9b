/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See job.h: the parent's side. Nothing the child says is believed before it is checked: seals, sizes and
 * bounds first, then the memfd is mapped.
 */
#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <systemd/sd-event.h>

#include "image.h"
#include "jsonobj.h"
#include "sets_keys.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

const char job_program[] = "/proc/self/exe";

static const struct job_limits default_limits = { .arg = JOB_CHILD_ARG, .timeout_ms = 60000 };

struct job {
	pid_t pid;
	int pidfd, socket;
	bool timed_out;
	uint64_t timeout_ms, started_ms;
	sd_event_source *exited, *timer;
	job_done_fn *done;
	void *ctx;
};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void job_result_done(struct job_result *result)
{
	if (result->map)
		(void)munmap(result->map, result->map_len); /* our own mapping: cannot fail */
	*result = (struct job_result){};
}

int job_result_keys(const struct job_result *result, struct sets_keys *ret,
		    uint64_t *ret_duplicates)
{
	_cleanup_json_ struct json_object *json = json_read(result->manifest, result->manifest_len);
	struct json_object *count = json_member(json, "keys", json_type_int);
	uint64_t n = count ? json_object_get_uint64(count) : UINT64_MAX;
	struct sets_keys keys = {};
	int r;

	if (n > (uint64_t)result->count * DP_LINE_BYTES / sizeof(*keys.at))
		return -EBADMSG;
	r = vec_reserve(&keys, n);
	if (r < 0)
		return r;
	if (n)
		memcpy(keys.at, result->lines, n * sizeof(*keys.at));
	keys.count = n;
	if (!sets_keys_are_good(&keys)) {
		vec_done(&keys);
		return -EBADMSG;
	}
	*ret = keys;
	*ret_duplicates = json_object_get_uint64(json_object_object_get(json, "duplicates"));
	return 0;
}

static void job_free(struct job **at)
{
	struct job *j = *at;

	if (!j)
		return;
	sd_event_source_disable_unref(j->exited);
	sd_event_source_disable_unref(j->timer);
	closep(&j->pidfd);
	closep(&j->socket);
	free(j);
	*at = NULL;
}

/* ---- reading the answer ---------------------------------------------------------------------------- */

static int check_sizes(const struct job_header *h, size_t size)
{
	uint64_t lines = (uint64_t)h->count * DP_LINE_BYTES;

	if (h->magic != JOB_MAGIC || h->count > IMAGE_MAX_LINES || h->manifest_len > JOB_TEXT_MAX ||
	    h->diagnostics_len > JOB_TEXT_MAX)
		return -EBADMSG;
	return sizeof(*h) + lines + h->manifest_len + h->diagnostics_len == size ? 0 : -EBADMSG;
}

static int map_answer(int fd, struct job_result *ret)
{
	size_t most = sizeof(struct job_header) + (size_t)IMAGE_MAX_LINES * DP_LINE_BYTES +
		      2 * (size_t)JOB_TEXT_MAX;
	const struct job_header *h;
	struct job_result result = {};
	struct stat st;
	int r, seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) < 0)
		return -EBADMSG;
	if (st.st_size < (off_t)sizeof(*h) || (uint64_t)st.st_size > most)
		return -EBADMSG;
	result.map_len = (size_t)st.st_size;
	result.map = mmap(NULL, result.map_len, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (result.map == MAP_FAILED)
		return -errno;
	h = result.map;
	r = check_sizes(h, result.map_len);
	if (r < 0) {
		job_result_done(&result);
		return r;
	}
	result.lines = (struct dp_line *)((char *)result.map + sizeof(*h));
	result.count = h->count;
	result.manifest = (char *)(result.lines + h->count);
	result.manifest_len = h->manifest_len;
	result.diagnostics = result.manifest + h->manifest_len;
	result.diagnostics_len = h->diagnostics_len;
	*ret = result;
	return 0;
}

static int read_answer(struct job *j, struct job_result *ret)
{
	struct fd_list fds = {};
	unsigned char byte;
	int r = fdio_receive(j->socket, &byte, &fds, 1);

	if (!r)
		r = fds.count == 1 ? map_answer(fds.at[0], ret) : -EBADMSG;
	fd_list_done(&fds);
	return r;
}

static const char *what_status_says(int status)
{
	if (status == JOB_STATUS_SETUP)
		return ": it could not drop its privileges";
	if (status == JOB_STATUS_MEMORY)
		return ": out of memory";
	if (status == JOB_STATUS_INPUT)
		return ": the policy is no regular file, or too large";
	return "";
}

static const char *why_it_failed(const struct job *j, const siginfo_t *how, char text[static 128])
{
	if (j->timed_out)
		(void)snprintf(text, 128,
			       "the compiling child was stopped: not done after %" PRIu64 " ms",
			       j->timeout_ms);
	else if (how->si_code == CLD_EXITED)
		(void)snprintf(text, 128, "the compiling child gave up with status %d%s",
			       how->si_status, what_status_says(how->si_status));
	else if (how->si_status == SIGKILL)
		(void)snprintf(text, 128, "the compiling child was killed, maybe out of memory");
	else
		(void)snprintf(text, 128, "the compiling child died of signal %d (%s)",
			       how->si_status, sigabbrev_np(how->si_status) ?: "?");
	return text;
}

static int on_exit_of_child(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	struct job *j = ctx;
	struct job_result result = {};
	job_done_fn *done = j->done;
	void *done_ctx = j->ctx;
	uint64_t took_ms = now_ms() - j->started_ms;
	const char *why = NULL;
	siginfo_t how = {};
	char text[128];
	int r;

	(void)s, (void)revents;
	if (waitid(P_PIDFD, (id_t)fd, &how, WEXITED | WNOHANG) < 0 || !how.si_pid)
		return 0;
	if (how.si_code == CLD_EXITED && how.si_status == 0) {
		r = read_answer(j, &result);
		if (r < 0)
			why = "the compiling child gave an answer that is not sealed or not whole";
	} else {
		r = j->timed_out ? -ETIMEDOUT : -ECHILD;
		why = why_it_failed(j, &how, text);
	}
	job_free(&j);
	done(done_ctx, r, &result, took_ms, why);
	return 0;
}

static int on_timeout(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct job *j = ctx;

	(void)s, (void)usec;
	j->timed_out = true;
	(void)pidfd_send_signal(j->pidfd, SIGKILL, NULL, 0); /* it may have ended just now */
	return 0;
}

/* ---- starting ---------------------------------------------------------------------------------------- */

static int make_request(const struct job_input *input)
{
	static const char *const tasks[] = { [JOB_COMPILE] = "compile",
					     [JOB_PATHS] = "paths",
					     [JOB_PREFIXES] = "prefixes",
					     [JOB_MEMBERS] = "members" };
	_cleanup_json_ struct json_object *json = json_object_new_object();
	_cleanup_close_ int fd = memfd_create("penstock-request", MFD_CLOEXEC);
	const char *text;
	size_t len;
	int r;

	if (fd < 0)
		return -errno;
	json_add_text(json, "task", tasks[input->task]);
	json_add_text(json, "file", input->file);
	if (input->paths)
		json_add(json, "paths", json_object_get(input->paths));
	if (input->set)
		json_add_text(json, "set", input->set);
	json_add_u64(json, "max", input->max);
	text = json_object_to_json_string_length(json, JSON_TEXT_FLAGS, &len);
	if (!text)
		return -ENOMEM;
	r = fdio_write(fd, text, len);
	return r < 0 ? r : TAKE_FD(fd);
}

/* The request first, then the files. The socket's buffer holds all of it: nothing here waits. */
static int send_input(int socket, const struct job_input *input)
{
	_cleanup_close_ int request = make_request(input);
	int r;

	if (request < 0)
		return request;
	r = fdio_send(socket, 0, &request, 1);
	for (size_t at = 0; !r && at < input->fds->count; at += FDIO_PER_MESSAGE) {
		size_t left = input->fds->count - at;

		r = fdio_send(socket, 0, input->fds->at + at,
			      left < FDIO_PER_MESSAGE ? left : FDIO_PER_MESSAGE);
	}
	return r;
}

static int spawn(int socket, const char *arg, pid_t *ret)
{
	static char name[] = "penstockd";
	_cleanup_free_ char *copy = strdup(arg);
	char *argv[] = { name, copy, NULL }, *envp[] = { NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r;

	if (!copy)
		return -ENOMEM;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawn_file_actions_init(&actions);
	r = -posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
	if (!r)
		r = -posix_spawn_file_actions_adddup2(&actions, 0, 1);
	if (!r)
		r = -posix_spawn_file_actions_adddup2(&actions, socket, JOB_SOCKET_FD);
	if (!r)
		r = -posix_spawn_file_actions_addclosefrom_np(&actions, JOB_SOCKET_FD + 1);
	if (!r)
		r = -posix_spawn(ret, job_program, &actions, &attr, argv, envp);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return r;
}

static int watch(struct job *j, struct sd_event *event)
{
	int r;

	j->pidfd = pidfd_open(j->pid, 0);
	if (j->pidfd < 0)
		return -errno;
	r = sd_event_add_io(event, &j->exited, j->pidfd, EPOLLIN, on_exit_of_child, j);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &j->timer, CLOCK_MONOTONIC,
					       j->timeout_ms * 1000, 0, on_timeout, j);
	return r < 0 ? r : 0;
}

static void kill_and_reap(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

int job_start(struct job **ret, struct sd_event *event, const struct job_input *input,
	      job_done_fn *done, void *ctx)
{
	const struct job_limits *limits = input->limits ? input->limits : &default_limits;
	_cleanup_(job_free) struct job *j = calloc(1, sizeof(*j));
	_cleanup_close_ int theirs = -1;
	int pair[2], r;

	if (!j)
		return -ENOMEM;
	*j = (struct job){ .pidfd = -1, .socket = -1, .done = done, .ctx = ctx };
	j->timeout_ms = limits->timeout_ms;
	j->started_ms = now_ms();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	j->socket = pair[0];
	theirs = pair[1];
	r = send_input(j->socket, input);
	if (!r)
		r = spawn(theirs, limits->arg, &j->pid);
	if (r < 0)
		return r;
	r = watch(j, event);
	if (r < 0) {
		kill_and_reap(j->pid);
		return r;
	}
	*ret = TAKE_PTR(j);
	return 0;
}

void job_cancel(struct job **at)
{
	if (!*at)
		return;
	kill_and_reap((*at)->pid);
	job_free(at);
}
