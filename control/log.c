/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See log.h. The level, the target and the count of lost lines are the process's, like stderr itself:
 * the one place with variables of its own.
 */
#include "log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define LINE_BYTES \
	1024        /* below PIPE_BUF: poll() promises that a write of this size does not block */
#define FACILITY 24 /* syslog's "daemon", already shifted */

static enum log_level most = LOG_LEVEL_INFO;
static bool prefixed;
static int syslog_fd = -1;
static atomic_ulong lost, lost_said;

static const char *const names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARNING] = "warning",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

static const unsigned int priorities[] = {
	[LOG_LEVEL_ERROR] = 3,
	[LOG_LEVEL_WARNING] = 4,
	[LOG_LEVEL_INFO] = 6,
	[LOG_LEVEL_DEBUG] = 7,
};

void log_init(enum log_level most_verbose)
{
	most = most_verbose;
	prefixed = getenv("JOURNAL_STREAM") || getenv("NOTIFY_SOCKET");
}

void log_to_syslog(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		closep(&fd);
	syslog_fd = fd;
}

uint64_t log_lost(void)
{
	return atomic_load(&lost);
}

static bool put(const char *line, size_t len)
{
	struct pollfd ready = { .fd = STDERR_FILENO, .events = POLLOUT };
	ssize_t n;

	if (syslog_fd >= 0)
		return send(syslog_fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len;
	if (poll(&ready, 1, 0) != 1 || !(ready.revents & POLLOUT))
		return false;
	n = write(STDERR_FILENO, line, len);
	return n == (ssize_t)len;
}

static void put_or_count(const char *line, size_t len)
{
	int saved = errno;

	if (!put(line, len))
		atomic_fetch_add(&lost, 1);
	errno = saved;
}

/* What other people named may hold anything: control and non-ASCII bytes are shown, never sent. */
static size_t escape(const char *from, char *to, size_t room)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	for (; *from && n + 5 < room; from++) {
		unsigned char c = (unsigned char)*from;

		if (c >= 0x20 && c < 0x7f) {
			to[n++] = (char)c;
			continue;
		}
		to[n++] = '\\';
		to[n++] = 'x';
		to[n++] = hex[c >> 4];
		to[n++] = hex[c & 15];
	}
	to[n] = 0;
	return n;
}

static void line(enum log_level level, const char *message)
{
	char out[LINE_BYTES];
	int n = 0;

	if (syslog_fd >= 0)
		n = snprintf(out, sizeof(out), "<%u>penstockd[%d]: %s ",
			     FACILITY | priorities[level], (int)getpid(), names[level]);
	else if (prefixed)
		n = snprintf(out, sizeof(out), "<%u>%s ", priorities[level], names[level]);
	else
		n = snprintf(out, sizeof(out), "%s ", names[level]);
	n += (int)escape(message, out + n, sizeof(out) - (size_t)n - 1);
	if (syslog_fd < 0)
		out[n++] = '\n';
	put_or_count(out, (size_t)n);
}

void log_at(enum log_level level, const char *format, ...)
{
	unsigned long now = atomic_load(&lost), said = atomic_load(&lost_said);
	char message[LINE_BYTES];
	va_list args;

	if (level > most)
		return;
	va_start(args, format);
	(void)vsnprintf(message, sizeof(message), format, args); /* a long message is cut */
	va_end(args);
	line(level, message);
	if (now == said || atomic_load(&lost) != now)
		return;
	atomic_store(&lost_said, now);
	(void)snprintf(message, sizeof(message),
		       "log: %lu lines were lost: the reader of the log was not reading",
		       now - said);
	line(LOG_LEVEL_WARNING, message);
}

void log_text(const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n"), step = len + (text[len] == '\n');

		if (step > LINE_BYTES)
			step = LINE_BYTES;
		put_or_count(text, step);
		text += step;
	}
}
