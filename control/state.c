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
	int dir, note;
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

int state_lock(int dir, const char *path, int *ret_note, char **ret_why)
{
	_cleanup_close_ int note = openat(dir, STATE_NOTE, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	char text[24] = "";
	int r = flock(dir, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;

	if (note < 0)
		note = openat(dir, STATE_NOTE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (!r && note >= 0 && flock(note, LOCK_EX | LOCK_NB) < 0)
		r = -errno;
	if (r < 0)
		return fail(ret_why, r, "%s: in use by the penstockd with pid %s", path,
			    holder(note, text));
	*ret_note = TAKE_FD(note);
	return 0;
}

static int take_lock(struct state *s, const char *path, char **ret_why)
{
	char text[24];
	int n, r = state_lock(s->dir, path, &s->note, ret_why);

	if (r < 0)
		return r;
	if (s->note < 0) {
		s->note =
			openat(s->dir, STATE_NOTE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (s->note < 0)
			return fail(ret_why, -errno, "%s/" STATE_NOTE ": %s", path,
				    strerror(errno));
		(void)flock(s->note, LOCK_EX | LOCK_NB); /* who has the directory has the note */
	}
	n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ftruncate(s->note, 0) < 0 || pwrite(s->note, text, (size_t)n, 0) != n)
		return fail(ret_why, -EIO, "%s/" STATE_NOTE ": cannot be written", path);
	return 0;
}

int state_open(struct state **ret, const char *dir, char **ret_why)
{
	struct state *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->note = -1;
	s->dir = fdio_make_dir(dir, 0700);
	r = s->dir < 0 ? fail(ret_why, s->dir, "%s: %s", dir, strerror(-s->dir)) : 0;
	if (!r)
		r = check_directory(s->dir, dir, ret_why);
	if (!r)
		r = take_lock(s, dir, ret_why);
	if (r < 0) {
		state_free(&s);
		return r;
	}
	*ret = s;
	return 0;
}

void state_free(struct state **at)
{
	struct state *s = *at;

	if (!s)
		return;
	closep(&s->note);
	closep(&s->dir);
	free(s);
	*at = NULL;
}

int state_dir(const struct state *s)
{
	return s->dir;
}

static int write_synced(int dir, const char *name, const char *text, size_t len)
{
	_cleanup_close_ int fd =
		openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r;

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
	_cleanup_close_ int fd = openat(s->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
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

int state_save_generation(struct state *s, const struct generation *g)
{
	_cleanup_json_ struct json_object *json = generation_to_json(g);
	char name[64];

	(void)snprintf(name, sizeof(name), GENERATION_FORMAT, g->number); /* always fits */
	return json ? state_write(s, name, json) : -ENOMEM;
}

int state_read_generation(struct state *s, uint64_t number, struct generation **ret)
{
	_cleanup_json_ struct json_object *json = NULL;
	char name[64];
	int r;

	(void)snprintf(name, sizeof(name), GENERATION_FORMAT, number); /* always fits */
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
		char name[64];

		if (sscanf(e->d_name, "generation-%" SCNu64, &number) != 1)
			continue;
		(void)snprintf(name, sizeof(name), GENERATION_FORMAT, number); /* always fits */
		if (!strcmp(name, e->d_name))
			each(s, number, ctx);
	}
	closedir(d);
}

static void note_highest(struct state *s, uint64_t number, void *ctx)
{
	uint64_t *highest = ctx;

	(void)s;
	if (number > *highest)
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
	char name[64];

	if (number == keep[0] || number == keep[1])
		return;
	(void)snprintf(name, sizeof(name), GENERATION_FORMAT, number); /* always fits */
	(void)unlinkat(s->dir, name, 0); /* one file too many does no harm */
}

void state_prune(struct state *s, uint64_t keep, uint64_t also_keep)
{
	uint64_t both[] = { keep, also_keep };

	each_generation(s, remove_unless_kept, both);
}
