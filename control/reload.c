/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --policy FILE, at a start and on SIGHUP: the daemon opens the files itself, each once, never through a
 * symbolic link, only where nobody else could have put them, and hands the descriptors to the same apply as everybody else. Which set files there are
 * is found out by a child, because the text is not to be read by anything that has rights.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include <systemd/sd-event.h>

#include "daemon.h"
#include "diag.h"
#include "fail.h"
#include "job.h"
#include "jsonobj.h"
#include "log.h"
#include "options.h"

#define SHOWN_DIAGNOSTICS 20

struct reload {
	struct daemon *d;
	struct job *job;
	struct apply_request request;
	int dir; /* of the policy file */
};

static void reload_free(struct reload **at)
{
	struct reload *r = *at;

	apply_request_done(&r->request);
	closep(&r->dir);
	free(r);
	*at = NULL;
}

static void over(struct daemon *d, bool good)
{
	d->policy_refused = !good;
	if (!d->ready)
		daemon_started(d, good);
}

static void give_up(struct reload *r, const char *path, const char *why)
{
	struct daemon *d = r->d;

	log_error("policy: %s: %s; %s", path, why,
		  d->running ? "the running policy stays" : "nothing is enforced");
	d->changing = false;
	reload_free(&r);
	over(d, false);
	daemon_changed(d);
}

static void on_applied(void *ctx, const struct apply_outcome *o)
{
	struct daemon *d = ctx;

	if (o->result == APPLY_REFUSED) {
		_cleanup_free_ char *text = diag_render_json(o->diagnostics, SHOWN_DIAGNOSTICS);

		log_text(text ? text : "");
	}
	over(d, o->result == APPLY_DONE || o->result == APPLY_UNCHANGED);
}

/* root's or ours, and nobody else can change it; in a sticky directory nobody else can change what is there. */
static bool is_trusted(const struct stat *st)
{
	bool sticky = S_ISDIR(st->st_mode) && st->st_mode & S_ISVTX;

	return (st->st_uid == 0 || st->st_uid == geteuid()) && (sticky || !(st->st_mode & 022));
}

/* From the directory up to the root: whoever can write to one of them can put another file into place. */
static int check_way(int dir)
{
	_cleanup_close_ int at = openat(dir, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat here, above;

	if (at < 0 || fstat(at, &here) < 0)
		return -errno;
	for (;;) {
		int up = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (up < 0)
			return -errno;
		closep(&at);
		at = up;
		if (!is_trusted(&here))
			return -EPERM;
		if (fstat(at, &above) < 0)
			return -errno;
		if (above.st_dev == here.st_dev && above.st_ino == here.st_ino)
			return 0;
		here = above;
	}
}

/* By its directory, which was looked at: what is opened is what lies in there, once. */
static int open_file(int dir, const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	_cleanup_close_ int parent = -1, fd = -1;
	const char *slash = strrchr(path, '/');
	struct stat st;
	int r;

	if (!copy)
		return -ENOMEM;
	parent = openat(dir, dirname(copy), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return -errno;
	r = check_way(parent);
	if (r < 0)
		return r;
	fd = openat(parent, slash ? slash + 1 : path,
		    O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	return is_trusted(&st) ? TAKE_FD(fd) : -EPERM;
}

static const char *why_not_opened(int r)
{
	if (r == -ELOOP)
		return "it is a symbolic link; name the file itself";
	if (r == -EINVAL)
		return "it is no regular file";
	if (r == -EPERM)
		return "others than root and the daemon's user can write to it, or to a directory on "
		       "the way to it";
	return strerrordesc_np(-r);
}

/* A set file that cannot be opened is left out: the compiler then says at which place it is missing. */
static int open_sets(struct reload *r, struct json_object *paths)
{
	r->request.paths = json_object_new_array();
	if (!r->request.paths)
		return -ENOMEM;
	for (size_t i = 0; i < json_object_array_length(paths); i++) {
		struct json_object *path = json_object_array_get_idx(paths, i);
		const char *text = json_object_get_string(path);
		int fd = text ? open_file(r->dir, text) : -EINVAL;

		if (fd < 0) {
			log_warning("policy: %s: cannot be opened: %s", text ? text : "null",
				    why_not_opened(fd));
			continue;
		}
		if (r->request.fds.count >= JOB_FILES || vec_push(&r->request.fds, fd) < 0) {
			closep(&fd);
			return -EMFILE;
		}
		(void)json_object_array_add(r->request.paths, json_object_get(path));
	}
	return 0;
}

static void on_paths(void *ctx, int res, struct job_result *result, uint64_t took_ms,
		     const char *why)
{
	_cleanup_json_ struct json_object *paths = NULL;
	struct reload *r = ctx;
	struct daemon *d = r->d;

	(void)took_ms;
	r->job = NULL;
	d->reload = NULL;
	if (!res) {
		paths = json_read(result->manifest, result->manifest_len);
		if (!json_object_is_type(paths, json_type_array))
			res = -EBADMSG;
	}
	job_result_done(result);
	if (!res)
		res = open_sets(r, paths);
	d->changing = false;
	r->request.confirm_given = true; /* as 0: nobody sits there to confirm */
	if (!res)
		res = apply_start(d, &r->request, on_applied, d);
	if (res < 0)
		give_up(r, d->options->policy, why ? why : strerrordesc_np(-res));
	else
		reload_free(&r);
}

/* Of an open directory; NULL when it cannot be told. Owned by the caller. */
static char *name_of(int dir)
{
	char link[32], path[PATH_MAX];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", dir); /* always fits */
	n = readlink(link, path, sizeof(path));
	return n < 0 ? NULL : strndup(path, (size_t)n);
}

static int open_policy(struct reload *r, const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	int fd;

	r->request.file = strdup(path);
	if (!copy || !r->request.file)
		return -ENOMEM;
	r->dir = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->dir < 0)
		return -errno;
	r->request.dir = name_of(r->dir);
	fd = open_file(AT_FDCWD, path);
	if (fd < 0)
		return fd;
	if (vec_push(&r->request.fds, fd) < 0) {
		closep(&fd);
		return -ENOMEM;
	}
	return 0;
}

void daemon_reload(struct daemon *d)
{
	struct job_input input = { .task = JOB_PATHS, .file = d->options->policy };
	struct reload *r = calloc(1, sizeof(*r));
	int res;

	if (!r) {
		log_error("policy: %s: out of memory; the running policy stays",
			  d->options->policy);
		over(d, false);
		return;
	}
	r->d = d;
	r->dir = -1;
	res = open_policy(r, d->options->policy);
	input.fds = &r->request.fds;
	if (!res)
		res = job_start(&r->job, d->event, &input, on_paths, r);
	if (res < 0) {
		give_up(r, d->options->policy, why_not_opened(res));
		return;
	}
	d->reload = r;
	d->changing = true;
}

void daemon_reload_cancel(struct daemon *d)
{
	if (!d->reload)
		return;
	job_cancel(&d->reload->job);
	reload_free(&d->reload);
}
