/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See sources.h. Each policy has a directory of its own, sources-N, with the files 0, 1, …; equal files are links.
 * Nothing refers to a directory before the generation that names it is saved, so leftovers of an apply that
 * failed are simply removed by the next one.
 */
#include "sources.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include <xxhash.h>

#include "fail.h"
#include "jsonobj.h"
#include "setfile.h"
#include "state.h"
#include "str.h"

#define DIRECTORY   "sources-%" PRIu64
#define NAME_BYTES  40
#define CHUNK_BYTES (256u * 1024)

void sources_done(struct sources *s)
{
	json_put(&s->paths);
	vec_done(&s->files);
	*s = (struct sources){};
}

static struct sources take(struct sources *from)
{
	struct sources s = *from;

	*from = (struct sources){};
	return s;
}

/* ---- copies ------------------------------------------------------------------------------------------- */

/* Reads all of `from`, which may grow meanwhile; writes it to `to` unless that is -1. */
static int copy(int from, int to, struct source *ret)
{
	XXH3_state_t *state = XXH3_createState();
	_cleanup_free_ char *chunk = malloc(CHUNK_BYTES);
	XXH128_canonical_t digest;
	ssize_t n = 1;
	int r = state && chunk ? 0 : -ENOMEM;

	*ret = (struct source){};
	if (!r)
		(void)XXH3_128bits_reset(state); /* fails for NULL alone, as do the others */
	while (!r && n) {
		n = pread(from, chunk, CHUNK_BYTES, (off_t)ret->bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			r = -errno;
			break;
		}
		(void)XXH3_128bits_update(state, chunk, (size_t)n);
		ret->bytes += (uint64_t)n;
		if (ret->bytes > SETFILE_MAX_BYTES)
			r = -EFBIG;
		if (!r && to >= 0)
			r = fdio_write(to, chunk, (size_t)n);
	}
	if (!r) {
		XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(state));
		memcpy(ret->digest, digest.digest, sizeof(ret->digest));
	}
	(void)XXH3_freeState(state);
	return r;
}

int sources_digest(int fd, struct source *ret)
{
	return copy(fd, -1, ret);
}

static bool is_same(const struct source *a, const struct source *b)
{
	return a->bytes == b->bytes && !memcmp(a->digest, b->digest, sizeof(a->digest));
}

static bool can_be_kept(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= SETFILE_MAX_BYTES;
}

static void file_name(char name[static NAME_BYTES], size_t i)
{
	(void)snprintf(name, NAME_BYTES, "%zu", i); /* always fits */
}

/* The same content lies in the directory of the running policy: one more name for it. */
static int link_same(int old_dir, const struct sources *running, int dir, const char *name,
		     const struct source *file)
{
	for (size_t i = 0; old_dir >= 0 && i < running->files.count; i++) {
		char old_name[NAME_BYTES];

		if (!is_same(&running->files.at[i], file))
			continue;
		file_name(old_name, i);
		if (linkat(old_dir, old_name, dir, name, 0) == 0)
			return 0;
	}
	return -ENOENT;
}

static int copy_new(int from, int dir, const char *name, struct source *ret)
{
	_cleanup_close_ int to =
		openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = to < 0 ? -errno : copy(from, to, ret);

	/* On its way to the disk while the compiler works; sources_sync() waits for it. */
	if (!r)
		(void)sync_file_range(to, 0, 0, SYNC_FILE_RANGE_WRITE);
	return r;
}

static int keep_one(int old_dir, const struct sources *running, int dir, size_t i, int *fd,
		    struct source *ret)
{
	char name[NAME_BYTES];
	int r, kept;

	file_name(name, i);
	r = sources_digest(*fd, ret);
	if (!r && link_same(old_dir, running, dir, name, ret) < 0)
		r = copy_new(*fd, dir, name, ret);
	if (r < 0)
		return r;
	kept = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (kept < 0)
		return -errno;
	closep(fd);
	*fd = kept;
	return 0;
}

/* ---- directories --------------------------------------------------------------------------------------- */

int sources_remove(int state_dir, const char *name)
{
	int fd = openat(state_dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d) {
		int r = -errno;

		closep(&fd);
		return r;
	}
	while ((e = readdir(d)))
		(void)unlinkat(fd, e->d_name, 0); /* fails for . and .. */
	closedir(d);
	return unlinkat(state_dir, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

bool sources_is_directory(const char *name)
{
	char same[NAME_BYTES];
	uint64_t number;

	if (sscanf(name, DIRECTORY, &number) != 1)
		return false;
	(void)snprintf(same, sizeof(same), DIRECTORY, number); /* always fits */
	return !strcmp(name, same);
}

/* Calls each() with the number and the name of every directory of texts. */
static void each_directory(int state_dir, void (*each)(int state_dir, uint64_t number, void *ctx),
			   void *ctx)
{
	int fd = openat(state_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d) {
		closep(&fd);
		return;
	}
	while ((e = readdir(d))) {
		uint64_t number;

		if (sscanf(e->d_name, DIRECTORY, &number) == 1)
			each(state_dir, number, ctx);
	}
	closedir(d);
}

/* A name that no daemon gave must leave room for the next number. */
static void note_highest(int state_dir, uint64_t number, void *ctx)
{
	uint64_t *highest = ctx;

	(void)state_dir;
	if (number > *highest && number < INT64_MAX)
		*highest = number;
}

static void remove_unless_needed(int state_dir, uint64_t number, void *ctx)
{
	const struct source_numbers *needed = ctx;
	char name[NAME_BYTES];

	for (size_t i = 0; i < needed->count; i++) {
		if (needed->at[i] == number)
			return;
	}
	(void)snprintf(name, sizeof(name), DIRECTORY, number); /* always fits */
	(void)sources_remove(state_dir, name); /* a leftover is tried again next time */
}

void sources_clean(struct state *state, const struct source_numbers *needed)
{
	struct source_numbers numbers = *needed;

	each_directory(state_dir(state), remove_unless_needed, &numbers);
}

static int open_directory(int state_dir, uint64_t number, bool make)
{
	char name[NAME_BYTES];
	int fd;

	(void)snprintf(name, sizeof(name), DIRECTORY, number); /* always fits */
	if (make && mkdirat(state_dir, name, 0700) < 0)
		return -errno;
	fd = openat(state_dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

int sources_keep(struct state *state, const struct sources *running, struct json_object *paths,
		 struct fd_list *fds, struct sources *ret, char **ret_why)
{
	static const struct sources none;
	struct sources s __attribute__((cleanup(sources_done))) = {};
	_cleanup_close_ int dir = -1, old_dir = -1;
	int r = 0;

	running = running ? running : &none;
	s.number = running->number;
	each_directory(state_dir(state), note_highest, &s.number);
	s.number++;
	s.paths = json_object_get(paths);
	old_dir = running->number ? open_directory(state_dir(state), running->number, false) : -1;
	dir = open_directory(state_dir(state), s.number, true);
	if (dir < 0)
		r = dir;
	for (size_t i = 0; !r && i < fds->count; i++) {
		struct source file = {};

		if (can_be_kept(fds->at[i]))
			r = keep_one(old_dir, running, dir, i, &fds->at[i], &file);
		if (!r)
			r = vec_push(&s.files, file);
	}
	if (r < 0)
		return fail(ret_why, r, "the state directory cannot take the policy's files: %s",
			    strerrordesc_np(-r));
	*ret = take(&s);
	return 0;
}

int sources_open(struct state *state, const struct sources *s, struct fd_list *ret)
{
	_cleanup_close_ int dir = -1;

	if (!s->number)
		return -ENOENT;
	dir = open_directory(state_dir(state), s->number, false);
	if (dir < 0)
		return dir;
	for (size_t i = 0; i < s->files.count; i++) {
		char name[NAME_BYTES];
		int fd, r;

		file_name(name, i);
		fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		r = fd < 0 ? -errno : vec_push(ret, fd);
		if (r < 0) {
			closep(&fd);
			fd_list_done(ret);
			return r;
		}
	}
	return 0;
}

int sources_sync(struct state *state, const struct sources *s)
{
	struct fd_list fds = {};
	_cleanup_close_ int dir = -1;
	int r = sources_open(state, s, &fds);

	for (size_t i = 0; !r && i < fds.count; i++)
		r = fsync(fds.at[i]) < 0 ? -errno : 0;
	fd_list_done(&fds);
	if (r < 0)
		return r;
	dir = open_directory(state_dir(state), s->number, false);
	if (dir < 0)
		return dir;
	return fsync(dir) < 0 || fsync(state_dir(state)) < 0 ? -errno : 0;
}

/* ---- questions, and the saved form ----------------------------------------------------------------------- */

static size_t path_count(const struct sources *s)
{
	return s->paths ? json_object_array_length(s->paths) : 0;
}

size_t sources_find(const struct sources *s, const char *path)
{
	for (size_t i = 0; i < path_count(s); i++) {
		const char *have = json_object_get_string(json_object_array_get_idx(s->paths, i));

		if (have && !strcmp(have, path))
			return i + 1;
	}
	return 0;
}

bool sources_equal(const struct sources *a, const struct sources *b)
{
	if (a->files.count != b->files.count || path_count(a) != path_count(b))
		return false;
	for (size_t i = 0; i < a->files.count; i++) {
		if (!is_same(&a->files.at[i], &b->files.at[i]))
			return false;
	}
	return !path_count(a) || json_object_equal(a->paths, b->paths);
}

struct json_object *sources_to_json(const struct sources *s)
{
	struct json_object *json = json_object_new_object(), *files = json_object_new_array();

	json_add_u64(json, "number", s->number);
	if (s->paths)
		json_add(json, "paths", json_object_get(s->paths));
	for (size_t i = 0; i < s->files.count; i++) {
		const struct source *file = &s->files.at[i];
		struct json_object *row = json_object_new_object();
		char text[2 * sizeof(file->digest) + 1];

		hex_write(file->digest, sizeof(file->digest), text);
		json_add_text(row, "digest", text);
		json_add_u64(row, "bytes", file->bytes);
		json_object_array_add(files, row);
	}
	json_add(json, "files", files);
	return json;
}

static int file_from_json(struct sources *s, struct json_object *row)
{
	const char *text = json_text(row, "digest");
	struct source file = { .bytes = json_object_get_uint64(
				       json_object_object_get(row, "bytes")) };

	if (!text || strlen(text) != 2 * sizeof(file.digest))
		return -EBADMSG;
	for (size_t k = 0; k < sizeof(file.digest); k++) {
		if (sscanf(text + 2 * k, "%2hhx", &file.digest[k]) != 1)
			return -EBADMSG;
	}
	return vec_push(&s->files, file);
}

int sources_from_json(struct sources *ret, struct json_object *json)
{
	struct json_object *files = json_member(json, "files", json_type_array);
	struct sources s __attribute__((cleanup(sources_done))) = {
		.number = json_object_get_uint64(json_object_object_get(json, "number")),
		.paths = json_object_get(json_member(json, "paths", json_type_array)),
	};
	int r = 0;

	if (!files || json_object_array_length(files) != path_count(&s) + (s.number != 0))
		return -EBADMSG;
	for (size_t i = 0; !r && i < json_object_array_length(files); i++)
		r = file_from_json(&s, json_object_array_get_idx(files, i));
	if (r < 0)
		return r;
	*ret = take(&s);
	return 0;
}
