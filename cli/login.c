/* SPDX-License-Identifier: Apache-2.0 */
/* See login.h. Everything is read from /proc; what cannot be read is not there. */
#include "login.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/socket.h>

#include "cleanup.h"

#define PARENTS_MAX  64 /* a walk up ends, whatever /proc says */
#define PROCESS_NAME 32

/* States of a row of /proc/net/tcp (the kernel's net/tcp_states.h). */
#define TCP_ROW_ESTABLISHED 0x01
#define TCP_ROW_LISTEN      0x0a

struct tcp_row {
	struct login ends;
	unsigned int state;
	uint64_t inode;
};

/* ---- processes ----------------------------------------------------------------------------------------- */

/* Of /proc/PID/stat: the name stands in parentheses and may hold some, too. */
static bool read_process(pid_t pid, char name[static PROCESS_NAME], pid_t *ret_parent)
{
	char path[64], text[512], *open, *close;
	FILE *f;
	size_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	n = fread(text, 1, sizeof(text) - 1, f);
	(void)fclose(f); /* it was only read */
	text[n] = 0;
	open = strchr(text, '(');
	close = strrchr(text, ')');
	if (!open || !close || close < open)
		return false;
	*close = 0;
	(void)snprintf(name, PROCESS_NAME, "%s", open + 1);
	return sscanf(close + 1, " %*c %d", ret_parent) == 1;
}

/* A terminal multiplexer's server is no child of the login; its clients are. */
static bool is_multiplexer(const char *name)
{
	return !strcmp(name, "tmux: server") || !strcmp(name, "screen") || !strcmp(name, "SCREEN");
}

static bool is_client_of_one(const char *name)
{
	return !strcmp(name, "tmux: client") || !strcmp(name, "tmux") || !strcmp(name, "screen");
}

/* ---- connections ----------------------------------------------------------------------------------------- */

/* Addresses stand as words of the machine's byte order, in hexadecimal. */
static bool read_address(const char *text, int family, void *ret)
{
	uint32_t word[4] = {};
	size_t words = family == AF_INET ? 1 : 4;

	for (size_t i = 0; i < words; i++) {
		if (sscanf(text + 8 * i, "%8" SCNx32, &word[i]) != 1)
			return false;
	}
	memcpy(ret, word, words * sizeof(*word));
	return true;
}

static bool read_row(const char *line, int family, struct tcp_row *ret)
{
	char here[40], there[40];
	unsigned int here_port, there_port;

	*ret = (struct tcp_row){ .ends.family = family };
	if (sscanf(line,
		   " %*d: %39[0-9A-F]:%x %39[0-9A-F]:%x %x %*x:%*x %*x:%*x %*x %*u %*u %" SCNu64,
		   here, &here_port, there, &there_port, &ret->state, &ret->inode) != 6)
		return false;
	ret->ends.here_port = (uint16_t)here_port;
	ret->ends.there_port = (uint16_t)there_port;
	return read_address(here, family, &ret->ends.here) &&
	       read_address(there, family, &ret->ends.there);
}

/* Calls each() with the rows of both families until it returns true. */
static bool any_row(bool (*each)(const struct tcp_row *row, void *ctx), void *ctx)
{
	static const struct {
		const char *path;
		int family;
	} tables[] = { { "/proc/self/net/tcp", AF_INET }, { "/proc/self/net/tcp6", AF_INET6 } };
	bool found = false;

	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables) && !found; i++) {
		FILE *f = fopen(tables[i].path, "re");
		struct tcp_row row;
		char line[512];

		while (f && !found && fgets(line, sizeof(line), f))
			found = read_row(line, tables[i].family, &row) && each(&row, ctx);
		if (f)
			(void)fclose(f); /* it was only read */
	}
	return found;
}

static bool listens(const struct tcp_row *row, void *ctx)
{
	const uint16_t *port = ctx;

	return row->state == TCP_ROW_LISTEN && row->ends.here_port == *port;
}

struct search {
	uint64_t inode;
	struct login *ret;
};

/* A connection is inbound when somebody listens at its port here. */
static bool is_login(const struct tcp_row *row, void *ctx)
{
	struct search *s = ctx;
	uint16_t port = row->ends.here_port;

	if (row->state != TCP_ROW_ESTABLISHED || row->inode != s->inode || !any_row(listens, &port))
		return false;
	*s->ret = row->ends;
	return true;
}

/* One that reaches an IPv4 address is one of IPv4, whatever socket carries it. */
static void unmap(struct login *l)
{
	if (l->family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&l->here.ipv6))
		return;
	memmove(&l->here.ipv4, &l->here.ipv6.s6_addr[12], sizeof(l->here.ipv4));
	memmove(&l->there.ipv4, &l->there.ipv6.s6_addr[12], sizeof(l->there.ipv4));
	l->family = AF_INET;
}

static bool has_login(pid_t pid, struct login *ret)
{
	char path[64], link[320];
	bool found = false;
	struct dirent *e;
	DIR *d;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	while (d && !found && (e = readdir(d))) {
		struct search s = { .ret = ret };
		char target[64];
		ssize_t n;

		(void)snprintf(link, sizeof(link), "%s/%s", path, e->d_name);
		n = readlink(link, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = 0;
		found = sscanf(target, "socket:[%" SCNu64 "]", &s.inode) == 1 &&
			any_row(is_login, &s);
	}
	if (d)
		closedir(d);
	return found;
}

/* ---- the walk -------------------------------------------------------------------------------------------- */

/* Up from a process; *ret_multiplexer: it ended at one. */
static bool walk(pid_t pid, struct login *ret, bool *ret_multiplexer)
{
	char name[PROCESS_NAME];
	pid_t parent;

	for (int i = 0; i < PARENTS_MAX && pid > 1; i++, pid = parent) {
		if (has_login(pid, ret))
			return true;
		if (!read_process(pid, name, &parent))
			break;
		*ret_multiplexer |= is_multiplexer(name);
	}
	return false;
}

static bool any_client(struct login *ret)
{
	DIR *d = opendir("/proc");
	bool found = false, ignored = false;
	struct dirent *e;

	while (d && !found && (e = readdir(d))) {
		pid_t pid = (pid_t)atoi(e->d_name), parent;
		char name[PROCESS_NAME];

		found = pid > 1 && read_process(pid, name, &parent) && is_client_of_one(name) &&
			walk(pid, ret, &ignored);
	}
	if (d)
		closedir(d);
	return found;
}

static bool at_terminal(void)
{
	return isatty(STDIN_FILENO) || isatty(STDOUT_FILENO) || isatty(STDERR_FILENO);
}

bool login_find(struct login *ret)
{
	bool multiplexer = false;

	if (!at_terminal())
		return false;
	if (!walk(getpid(), ret, &multiplexer) && !(multiplexer && any_client(ret)))
		return false;
	unmap(ret);
	return true;
}

bool login_says_remote(void)
{
	return at_terminal() && getenv("SSH_CONNECTION");
}
