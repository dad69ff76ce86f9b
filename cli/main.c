/* SPDX-License-Identifier: Apache-2.0 */
/* penstock: reads the command line, calls the verb, and makes sure that what was printed arrived. */
#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "args.h"
#include "help.h"
#include "term.h"

/* A socket must never become stdout: fill what the caller closed. */
static void keep_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		(void)close(fd); /* nothing was written */
}

/* The reader of our pipe is gone. Asked of the pipe: the write that failed may be long past. */
static bool reader_gone(void)
{
	struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLERR | POLLHUP));
}

/*
 * A reader that closed the pipe has had enough: that is no failure. Anything else that kept output from
 * arriving is one.
 */
static enum status finish(enum status status)
{
	bool failed = fflush(stdout);

	if ((!failed && !ferror(stdout)) || reader_gone())
		return status;
	term_error("the output could not be written");
	return status == STATUS_DONE ? STATUS_FAILED : status;
}

static enum status run(int argc, char **argv)
{
	struct invocation call = {};
	const char *group = NULL;
	enum status status = args_parse(argc, argv, &call, &group);

	if (status != STATUS_DONE)
		return status;
	if (call.value[OPTION_VERSION]) {
		puts("penstock " PENSTOCK_VERSION);
		return STATUS_DONE;
	}
	if (!call.value[OPTION_HELP])
		return call.command->run(&call);
	if (call.command)
		help_command(stdout, call.command);
	else if (group)
		help_group(stdout, group);
	else
		help_all(stdout);
	return STATUS_DONE;
}

int main(int argc, char **argv)
{
	keep_standard_fds();
	(void)signal(SIGPIPE, SIG_IGN); /* cannot fail for SIGPIPE */
	(void)setlocale(LC_ALL, "");    /* without the locale, its absence: ASCII */
	return finish(run(argc, argv));
}
