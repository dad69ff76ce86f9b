/* SPDX-License-Identifier: Apache-2.0 */
/*
 * penstockd's main(): options, becoming a daemon, and the other thing this program can be, the compiling
 * child. One who starts it without --foreground gets its prompt back when the policy is enforced, and an
 * exit status that says whether it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "daemon.h"
#include "job.h"
#include "log.h"
#include "options.h"
#include "purge.h"

/* Waits for the byte that says how it went. None: the daemon died without a word. */
static int wait_for_ready(int from)
{
	unsigned char status;
	ssize_t n;

	do
		n = read(from, &status, 1);
	while (n < 0 && errno == EINTR);
	return n == 1 ? status : EXIT_FAILURE;
}

/*
 * The usual two forks. Returns the status to exit with in those who leave, -1 in the one who stays, with
 * *ret_tell the descriptor to tell the first one.
 */
static int become_daemon(int *ret_tell)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return EXIT_FAILURE;
	pid = fork();
	if (pid < 0)
		return EXIT_FAILURE;
	if (pid > 0) {
		closep(&ends[1]);
		(void)waitpid(pid, NULL, 0); /* the one in between ends at once */
		return wait_for_ready(ends[0]);
	}
	if (setsid() < 0)
		_exit(EXIT_FAILURE);
	pid = fork();
	if (pid != 0)
		_exit(pid < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
	closep(&ends[0]);
	*ret_tell = ends[1];
	return -1;
}

static int run(const struct options *o)
{
	int tell = -1, status = -1;

	if (chdir("/") < 0)
		return EXIT_FAILURE;
	umask(022);
	if (!o->foreground && !getenv("NOTIFY_SOCKET"))
		status = become_daemon(&tell);
	return status >= 0 ? status : daemon_run(o, tell);
}

/* Paths are the caller's; they are made absolute before the daemon leaves its directory. */
static bool make_absolute(char **path)
{
	char *cwd, *full = NULL;

	if (!*path || **path == '/')
		return true;
	cwd = getcwd(NULL, 0);
	if (!cwd || asprintf(&full, "%s/%s", cwd, *path) < 0)
		full = NULL;
	free(cwd);
	if (!full)
		return false;
	free(*path);
	*path = full;
	return true;
}

static bool make_all_absolute(struct options *o)
{
	bool good = make_absolute(&o->policy) && make_absolute(&o->run_dir) &&
		    make_absolute(&o->state_dir) && make_absolute(&o->pin_dir);

	for (size_t i = 0; good && i < o->feed_dirs.count; i++)
		good = make_absolute(&o->feed_dirs.at[i]);
	return good;
}

int main(int argc, char *argv[])
{
	_cleanup_(options_done) struct options o = {};

	if (argc == 2 && !strcmp(argv[1], JOB_CHILD_ARG))
		return job_child_main();
	switch (options_read(&o, argc, argv)) {
	case OPTIONS_DONE:
		return EXIT_SUCCESS;
	case OPTIONS_USAGE:
		return 2;
	case OPTIONS_RUN:
		break;
	}
	log_init(o.level);
	if (!make_all_absolute(&o)) {
		log_error("daemon: the working directory: %s", strerrordesc_np(errno));
		return EXIT_FAILURE;
	}
	return o.purge ? purge_main(&o) : run(&o);
}
