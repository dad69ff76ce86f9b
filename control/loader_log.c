/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libbpf's print callback has no context, so what it says is kept in a variable of the thread: the last
 * TAIL_BYTES, from the start of a line on. A verifier's log may have megabytes; its end is what matters.
 */
#include "loader_log.h"

#include <stdarg.h>
#include <string.h>

#include <bpf/libbpf.h>

#define TAIL_BYTES 1500
#define JOINT      " | "

static _Thread_local char tail[TAIL_BYTES];

/* Text of at least TAIL_BYTES: its end replaces everything that was kept. */
static void keep_end(const char *text, size_t len)
{
	const char *from = text + len - (TAIL_BYTES - 1);
	const char *line = strchr(from, '\n');

	if (line && line[1])
		from = line + 1;
	(void)snprintf(tail, sizeof(tail), "%s", from);
}

static void keep(const char *text)
{
	size_t len = strlen(text), kept = strlen(tail);

	if (len >= TAIL_BYTES) {
		keep_end(text, len);
		return;
	}
	if (kept + len >= TAIL_BYTES) {
		size_t gone = kept + len - (TAIL_BYTES - 1);

		memmove(tail, tail + gone, kept - gone + 1);
		kept -= gone;
	}
	memcpy(tail + kept, text, len + 1);
}

static int on_print(enum libbpf_print_level level, const char *format, va_list args)
{
	_cleanup_free_ char *text = NULL;

	if (level != LIBBPF_WARN)
		return 0;
	if (vasprintf(&text, format, args) < 0) {
		text = NULL;
		return 0;
	}
	keep(strncmp(text, "libbpf: ", 8) ? text : text + 8);
	return 0;
}

void loader_log_begin(void)
{
	tail[0] = 0;
	(void)libbpf_set_print(on_print); /* returns the callback before, which is ours or none */
}

const char *loader_log_tail(void)
{
	size_t len = strlen(tail);

	while (len && tail[len - 1] == '\n')
		tail[--len] = 0;
	for (char *end = strchr(tail, '\n'); end; end = strchr(end, '\n')) {
		if (strlen(tail) + strlen(JOINT) >= TAIL_BYTES) {
			*end = ' ';
			continue;
		}
		memmove(end + strlen(JOINT), end + 1, strlen(end + 1) + 1);
		memcpy(end, JOINT, strlen(JOINT));
	}
	return tail;
}

void loader_say(char **ret_why, const char *format, ...)
{
	va_list args;

	if (!ret_why || *ret_why)
		return;
	va_start(args, format);
	if (vasprintf(ret_why, format, args) < 0)
		*ret_why = NULL;
	va_end(args);
}
