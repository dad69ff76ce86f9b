/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See inspect.h. Requests have numbers, and one at a time is on its way. An answer that comes when nobody waits for
 * it any more is read by the loop and kept for who asks again.
 */
#include "inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include <systemd/sd-event.h>

#include "log.h"
#include "privilege.h"

#define PROGRAM   "penstock-inspect"
#define START_MS  1000
#define ANSWER_MS 5 /* half of what the loop may be kept */

struct inspect {
	pid_t pid;
	int socket;
	sd_event_source *io;
	uint64_t number;            /* of the last request */
	bool waiting;               /* for the answer to it */
	struct inspect_answer late; /* the last one that was, id 0: none */
	char missing[160];
};

static void leave(struct inspect *i)
{
	i->io = sd_event_source_disable_unref(i->io);
	closep(&i->socket);
	if (i->pid > 0) {
		(void)kill(i->pid, SIGKILL); /* it holds nothing, and may be gone */
		while (waitpid(i->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	i->pid = 0;
	i->waiting = false;
}

static _printf_(2, 3) void lose(struct inspect *i, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(i->missing, sizeof(i->missing), format, args); /* cut at worst */
	va_end(args);
	leave(i);
	log_warning("inspect: %s; other people's programs are known by number alone", i->missing);
}

/* ---- answers --------------------------------------------------------------------------------------- */

/* -EAGAIN when there is none, -ENODATA when there will be none any more. */
static int receive(const struct inspect *i, struct inspect_answer *ret)
{
	char bytes[sizeof(struct inspect_answer) + 1];
	ssize_t n = recv(i->socket, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	return n == 0 ? -ENODATA : inspect_read_answer(bytes, (size_t)n, ret);
}

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* always there */
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* -ETIMEDOUT when it is late. */
static int wait_for(const struct inspect *i, int timeout_ms, struct inspect_answer *ret)
{
	int64_t end = now_ms() + timeout_ms, left;

	while ((left = end - now_ms()) > 0) {
		struct pollfd p = { .fd = i->socket, .events = POLLIN };
		int r;

		if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
			return -errno;
		r = receive(i, ret);
		if (r != -EAGAIN)
			return r;
	}
	return -ETIMEDOUT;
}

static void over(struct inspect *i, int r)
{
	if (r == -ENODATA || r == -ECONNRESET)
		lose(i, PROGRAM " has ended");
	else
		lose(i, PROGRAM " answered with what is no answer");
}

/* Late answers, and the end. */
static int on_readable(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	struct inspect *i = ctx;
	struct inspect_answer answer = {};
	int r = receive(i, &answer);

	(void)s, (void)fd, (void)revents;
	if (!r && answer.number == i->number) {
		i->waiting = false;
		i->late = answer;
	} else if (r < 0 && r != -EAGAIN) {
		over(i, r);
	}
	return 0;
}

static int tell(const struct inspect_answer *answer, struct inspect_program *ret)
{
	ret->uid = answer->uid;
	memcpy(ret->name, answer->name, sizeof(ret->name));
	return answer->error;
}

/* Once: what is asked later may have changed. */
static bool take_late(struct inspect *i, uint32_t id, struct inspect_answer *ret)
{
	*ret = i->late;
	if (i->late.id != id)
		return false;
	i->late.id = 0;
	return true;
}

int inspect_program(struct inspect *i, uint32_t id, struct inspect_program *ret)
{
	struct inspect_request request = { .magic = INSPECT_MAGIC, .kind = INSPECT_PROGRAM };
	struct inspect_answer answer = {};
	int r;

	if (!i || i->socket < 0)
		return -ENOTCONN;
	if (i->waiting)
		return -EBUSY;
	if (take_late(i, id, &answer))
		return tell(&answer, ret);
	request.number = ++i->number;
	request.id = id;
	if (send(i->socket, &request, sizeof(request), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		over(i, -ENODATA);
		return -ENOTCONN;
	}
	i->waiting = true;
	r = wait_for(i, ANSWER_MS, &answer);
	if (r == -ETIMEDOUT)
		return r;
	if (!r && answer.number != i->number)
		r = -EBADMSG;
	if (r < 0) {
		over(i, r);
		return -ENOTCONN;
	}
	i->waiting = false;
	return tell(&answer, ret);
}

const char *inspect_text(int r, const struct inspect_program *program,
			 char buf[static INSPECT_TEXT])
{
	if (r == -ENOTCONN)
		(void)snprintf(buf, INSPECT_TEXT, "its name is not visible: no " PROGRAM);
	else if (r < 0)
		(void)snprintf(buf, INSPECT_TEXT, "its name is not visible: %s",
			       strerrordesc_np(-r));
	else if (!*program->name)
		(void)snprintf(buf, INSPECT_TEXT, "without a name, loaded by uid %u", program->uid);
	else
		(void)snprintf(buf, INSPECT_TEXT, "'%s', loaded by uid %u", program->name,
			       program->uid);
	return buf;
}

/* ---- starting -------------------------------------------------------------------------------------- */

/* It lies beside us, wherever that is. */
static int find_program(char path[static PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
	char *slash;

	if (n < 0)
		return -errno;
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (!slash || slash + 1 + sizeof(PROGRAM) > path + PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(slash + 1, PROGRAM, sizeof(PROGRAM));
	return 0;
}

/* In a session of its own: what a terminal sends to the daemon is not for it. */
static int spawn(int socket, const struct privilege_user *user, pid_t *ret)
{
	char path[PATH_MAX], name[] = PROGRAM, uid[16], gid[16];
	char *argv[] = { name, uid, gid, NULL }, *envp[] = { NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r = find_program(path);

	if (r < 0)
		return r;
	(void)snprintf(uid, sizeof(uid), "%u", (unsigned int)user->uid); /* both fit */
	(void)snprintf(gid, sizeof(gid), "%u", (unsigned int)user->gid);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
						POSIX_SPAWN_SETSID);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawn_file_actions_init(&actions);
	r = -posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
	for (int fd = 1; !r && fd < INSPECT_SOCKET_FD; fd++)
		r = -posix_spawn_file_actions_adddup2(&actions, 0, fd);
	if (!r)
		r = -posix_spawn_file_actions_adddup2(&actions, socket, INSPECT_SOCKET_FD);
	if (!r)
		r = -posix_spawn_file_actions_addclosefrom_np(&actions, INSPECT_SOCKET_FD + 1);
	if (!r)
		r = -posix_spawn(ret, path, &actions, &attr, argv, envp);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return r;
}

static int start(struct inspect *i, struct sd_event *event, const struct privilege_user *user)
{
	_cleanup_close_ int theirs = -1;
	struct inspect_answer answer = {};
	int pair[2], r;

	if (!privilege_can_inspect())
		return -EPERM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	i->socket = pair[0];
	theirs = pair[1];
	r = spawn(theirs, user, &i->pid);
	closep(&theirs); /* or the end of the child would not be seen */
	if (!r)
		r = wait_for(i, START_MS, &answer);
	if (!r && answer.kind != INSPECT_READY)
		r = -EBADMSG;
	if (!r)
		r = sd_event_add_io(event, &i->io, i->socket, EPOLLIN, on_readable, i);
	return r < 0 ? r : 0;
}

int inspect_new(struct inspect **ret, struct sd_event *event, const struct privilege_user *user,
		bool wanted)
{
	struct inspect *i = calloc(1, sizeof(*i));
	int r;

	if (!i)
		return -ENOMEM;
	i->socket = -1;
	*ret = i;
	if (!wanted) {
		(void)snprintf(i->missing, sizeof(i->missing), "started with --no-inspect");
		return 0;
	}
	r = start(i, event, user);
	if (r == -EPERM)
		lose(i, PROGRAM " cannot be started: CAP_SYS_ADMIN, which it needs, is missing");
	else if (r < 0)
		lose(i, PROGRAM " cannot be started: %s", strerrordesc_np(-r));
	return 0;
}

void inspect_free(struct inspect **at)
{
	if (!*at)
		return;
	leave(*at);
	free(*at);
	*at = NULL;
}

const char *inspect_missing(const struct inspect *i)
{
	return *i->missing ? i->missing : NULL;
}

pid_t inspect_pid(const struct inspect *i)
{
	return i->pid;
}
