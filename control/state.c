/* SPDX-License-Identifier: Apache-2.0 */
/* See state.h. Everything goes through the directory's descriptor, opened and checked once. */
#include "state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "fail.h"
#include "fdio.h"
#include "generation.h"
#include "jsonobj.h"

#define FILE_MAX_BYTES    (256u * 1024 * 1024)
#define GENERATION_FORMAT "generation-%" PRIu64 ".json"

struct state {
	char *path;
	int dir;      /* -1: there is none yet; changed by state_look() alone */
	int note;     /* likewise, also where it could not be made */
	int error;    /* why nothing can be saved, or 0; atomic: the worker looks, the loop tells */
	bool renewed; /* likewise: dir is another one, or can be written again */
};

static int check_directory(int fd, const char *path, char **ret_why)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != geteuid())
		return fail(ret_why, -EPERM, "%s: belongs to user %u, not to us", path,
			    (unsigned int)st.st_uid);
	if (st.st_mode & 077)
		return fail(ret_why, -EPERM, "%s: mode is %04o; make it 0700", path,
			    (unsigned int)st.st_mode & 07777);
	return 0;
}

/* Of the process that the note names; "unknown" when there is no such process, as after a power cut. */
static const char *holder(int note, char text[static 24])
{
	ssize_t n = note < 0 ? 0 : pread(note, text, 23, 0);
	int pid;

	text[n > 0 ? strspn(text, "0123456789") : 0] = 0;
	pid = atoi(text);
	return pid > 0 && (kill(pid, 0) == 0 || errno == EPERM) ? text : "unknown";
}

/* Open for reading alone, so that nothing keeps the file system from becoming read-only. */
static int open_note(int dir)
{
	return openat(dir, STATE_NOTE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

int state_lock(int dir, const char *path, int *ret_note, char **ret_why)
{
	_cleanup_close_ int note = open_note(dir);
	char text[24] = "";
	int r = flock(dir, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;

	if (!r && note >= 0 && flock(note, LOCK_EX | LOCK_NB) < 0)
		r = -errno;
	if (r < 0)
		return fail(ret_why, r, "%s: in use by the penstockd with pid %s", path,
			    holder(note, text));
	*ret_note = TAKE_FD(note);
	return 0;
}

/* For people alone, and for daemons that know no other lock: it may fail. Who has the directory has the note. */
static void write_note(int dir, int *note)
{
	_cleanup_close_ int to =
		openat(dir, STATE_NOTE,
		       O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	char text[24];
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (to < 0)
		return;
	(void)!write(to, text, (size_t)n);
	if (*note < 0)
		*note = open_note(dir);
	(void)flock(*note, LOCK_EX | LOCK_NB);
}

/* 0 when files can be made in it. A directory that was removed can still be open. */
static int probe(int dir)
{
	struct stat st;

	if (dir < 0 || fstat(dir, &st) < 0 || !st.st_nlink)
		return -ENOENT;
	return faccessat(dir, ".", W_OK | X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

/* Of making or opening it: what may pass while a policy is enforced. */
static bool may_pass(int r)
{
	return r == -EROFS || r == -EACCES || r == -ENOENT || r == -ENOSPC || r == -EDQUOT ||
	       r == -EIO;
}

/* The directory of the path, made when missing, checked and locked. */
static int open_directory(const char *path, int *ret_dir, int *ret_note, char **ret_why)
{
	_cleanup_close_ int dir = fdio_make_dir(path, 0700);
	int r;

	if (dir < 0)
		return fail(ret_why, dir, "%s: %s", path, strerror(-dir));
	r = check_directory(dir, path, ret_why);
	if (!r)
		r = state_lock(dir, path, ret_note, ret_why);
	if (r < 0)
		return r;
	write_note(dir, ret_note);
	*ret_dir = TAKE_FD(dir);
	return 0;
}

int state_open(struct state **ret, const char *path, char **ret_why)
{
	_cleanup_(state_free) struct state *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->dir = s->note = -1;
	s->path = strdup(path);
	if (!s->path)
		return -ENOMEM;
	r = open_directory(path, &s->dir, &s->note, ret_why);
	if (r < 0 && !may_pass(r))
		return r;
	s->error = r ? r : probe(s->dir);
	*ret = TAKE_PTR(s);
	return 0;
}

int state_error(const struct state *s)
{
	return __atomic_load_n(&s->error, __ATOMIC_ACQUIRE);
}

/* Another directory lies at the path, or there is one at last. The number of the descriptor stays. */
static int replace(struct state *s)
{
	_cleanup_close_ int dir = -1, note = -1;
	_cleanup_free_ char *why = NULL;
	struct stat had, have;
	int r;

	if (s->dir >= 0 && fstat(s->dir, &had) == 0 && stat(s->path, &have) == 0 &&
	    had.st_dev == have.st_dev && had.st_ino == have.st_ino)
		return -EALREADY;
	r = open_directory(s->path, &dir, &note, &why);
	if (r < 0)
		return r;
	if (s->dir >= 0 && dup3(dir, s->dir, O_CLOEXEC) < 0)
		return -errno;
	if (s->dir < 0)
		__atomic_store_n(&s->dir, TAKE_FD(dir), __ATOMIC_RELEASE);
	closep(&s->note);
	s->note = TAKE_FD(note);
	return 0;
}

int state_look(struct state *s)
{
	int before = s->error, now = probe(s->dir), r = -EALREADY;

	if (now) {
		r = replace(s);
		now = !r ? probe(s->dir) : r == -EALREADY ? now : r;
	}
	if (!now && before && s->note < 0)
		write_note(s->dir, &s->note);
	__atomic_store_n(&s->error, now, __ATOMIC_RELEASE);
	if (!now && (before || !r))
		__atomic_store_n(&s->renewed, true, __ATOMIC_RELEASE);
	return now;
}

bool state_renewed(struct state *s)
{
	return __atomic_exchange_n(&s->renewed, false, __ATOMIC_ACQ_REL);
}

void state_free(struct state **at)
{
	struct state *s = *at;

	if (!s)
		return;
	closep(&s->note);
	closep(&s->dir);
	free(s->path);
	free(s);
	*at = NULL;
}

int state_dir(const struct state *s)
{
	return s->dir;
}

/* A new file: what a crash, or somebody else, left under its name is not written to. */
static int write_synced(int dir, const char *name, const char *text, size_t len)
{
	_cleanup_close_ int fd = -1;
	int r;

	(void)unlinkat(dir, name, 0); /* mostly there is nothing; what cannot go stops the next */
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = fdio_write(fd, text, len);
	if (!r && fsync(fd) < 0)
		r = -errno;
	return r;
}

int state_write(struct state *s, const char *name, struct json_object *json)
{
	_cleanup_free_ char *temp = NULL;
	const char *text;
	size_t len;
	int r;

	text = json_object_to_json_string_length(json, JSON_TEXT_FLAGS, &len);
	if (!text || asprintf(&temp, ".%s.new", name) < 0)
		return -ENOMEM;
	r = write_synced(s->dir, temp, text, len);
	if (!r && renameat(s->dir, temp, s->dir, name) < 0)
		r = -errno;
	if (!r && fsync(s->dir) < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(s->dir, temp, 0); /* a leftover is overwritten next time */
	return r;
}

int state_read(struct state *s, const char *name, struct json_object **ret)
{
	/* O_NONBLOCK, here as elsewhere: a FIFO must not hold us before it is seen to be no file. */
	_cleanup_close_ int fd =
		openat(s->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	if (fd < 0)
		return -errno;
	r = fdio_read(fd, FILE_MAX_BYTES, &text, &len);
	if (r < 0)
		return r;
	*ret = json_read(text, len);
	return *ret ? 0 : -EBADMSG;
}

void state_generation_name(uint64_t number, char name[static STATE_NAME_BYTES])
{
	(void)snprintf(name, STATE_NAME_BYTES, GENERATION_FORMAT, number); /* always fits */
}

int state_save_generation(struct state *s, const struct generation *g)
{
	_cleanup_json_ struct json_object *json = generation_to_json(g);
	char name[STATE_NAME_BYTES];

	state_generation_name(g->number, name);
	return json ? state_write(s, name, json) : -ENOMEM;
}

int state_read_generation(struct state *s, uint64_t number, struct generation **ret)
{
	_cleanup_json_ struct json_object *json = NULL;
	char name[STATE_NAME_BYTES];
	int r;

	state_generation_name(number, name);
	r = state_read(s, name, &json);
	return r ? r : generation_from_json(ret, json);
}

int state_find_generation(struct state *s, uint64_t number, const uint8_t digest[static 16],
			  struct generation **ret)
{
	struct generation *g = NULL;
	int r = state_read_generation(s, number, &g);

	if (r)
		return r;
	if (g->number != number || memcmp(g->digest, digest, sizeof(g->digest)) != 0) {
		generation_free(&g);
		return -ENOENT;
	}
	*ret = g;
	return 0;
}

/* Calls each() with the number of every generation file. */
static void each_generation(struct state *s,
			    void (*each)(struct state *s, uint64_t number, void *ctx), void *ctx)
{
	int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d) {
		closep(&fd);
		return;
	}
	while ((e = readdir(d))) {
		uint64_t number;
		char name[STATE_NAME_BYTES];

		if (sscanf(e->d_name, "generation-%" SCNu64, &number) != 1)
			continue;
		state_generation_name(number, name);
		if (!strcmp(name, e->d_name))
			each(s, number, ctx);
	}
	closedir(d);
}

/* A name that no daemon gave must leave room for the next number. */
static void note_highest(struct state *s, uint64_t number, void *ctx)
{
	uint64_t *highest = ctx;

	(void)s;
	if (number > *highest && number < INT64_MAX)
		*highest = number;
}

uint64_t state_last_generation(struct state *s)
{
	uint64_t highest = 0;

	each_generation(s, note_highest, &highest);
	return highest;
}

static void remove_unless_kept(struct state *s, uint64_t number, void *ctx)
{
	const uint64_t *keep = ctx;
	char name[STATE_NAME_BYTES];

	if (number == keep[0] || number == keep[1])
		return;
	state_generation_name(number, name);
	(void)unlinkat(s->dir, name, 0); /* one file too many does no harm */
}

void state_prune(struct state *s, uint64_t keep, uint64_t also_keep)
{
	uint64_t both[] = { keep, also_keep };

	each_generation(s, remove_unless_kept, both);
}
