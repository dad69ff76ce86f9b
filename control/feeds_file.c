/* SPDX-License-Identifier: Apache-2.0 */
/* See feeds_file.h. */
#include "feeds_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "fail.h"
#include "setfile.h"

#define OTHERS_WRITE 022

/* Single slashes and no dots; NULL for a path that leads upwards, or no memory. */
static char *normalise(const char *dir, const char *file)
{
	_cleanup_free_ char *path = NULL, *copy = NULL;
	char *rest, *part, *end;

	if (asprintf(&copy, "%s/%s", *file == '/' ? "" : dir, file) < 0)
		copy = NULL;
	path = copy ? calloc(1, strlen(copy) + 2) : NULL;
	end = path;
	for (part = path ? strtok_r(copy, "/", &rest) : NULL; part;
	     part = strtok_r(NULL, "/", &rest)) {
		if (!strcmp(part, ".."))
			return NULL;
		if (strcmp(part, ".") != 0)
			end = stpcpy(stpcpy(end, "/"), part);
	}
	return TAKE_PTR(path);
}

/* What follows the directory and its slash, NULL when the path is not right in it. */
static const char *name_below(const char *dir, const char *path)
{
	_cleanup_free_ char *real = realpath(dir, NULL), *plain = normalise("", dir);
	const char *const spellings[] = { real, plain };

	for (size_t i = 0; i < 2; i++) {
		size_t len = spellings[i] ? strlen(spellings[i]) : 0;

		if (len && !strncmp(path, spellings[i], len) && path[len] == '/' && path[len + 1] &&
		    !strchr(path + len + 1, '/'))
			return path + len + 1;
	}
	return NULL;
}

int feeds_file_locate(const struct feeds_dirs *dirs, const char *dir, const char *file,
		      char **ret_name, char **ret_why)
{
	_cleanup_free_ char *path = normalise(dir, file);

	for (size_t i = 0; path && i < dirs->count; i++) {
		const char *name = name_below(dirs->at[i], path);

		if (!name)
			continue;
		*ret_name = strdup(name);
		return *ret_name ? (int)i : -ENOMEM;
	}
	return fail(
		ret_why, -EPERM,
		"'%s' is to be read again on change, but lies in no feed directory; move it to %s, "
		"or start penstockd with '--feed-dir' and its directory",
		file, dirs->at[0]);
}

/* root's, and nobody else can write to it. */
static int check_owner(const struct stat *st, const char *what, const char *name, char **ret_why)
{
	if (st->st_uid != 0)
		return fail(ret_why, -EPERM, "%s '%s' belongs to user %u; make it root's", what,
			    name, (unsigned int)st->st_uid);
	if (st->st_mode & OTHERS_WRITE)
		return fail(ret_why, -EPERM,
			    "%s '%s' has mode %04o; take the right to write from others", what,
			    name, (unsigned int)st->st_mode & 07777);
	return 0;
}

int feeds_dir_open(const char *path, char **ret_why)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(ret_why, -errno, "feed directory '%s': %s", path,
			    strerrordesc_np(errno));
	r = check_owner(&st, "feed directory", path, ret_why);
	return r < 0 ? r : TAKE_FD(fd);
}

int feeds_file_open(int dir, const char *name, char **ret_why)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
	_cleanup_close_ int fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));
	struct stat st;
	int r;

	if (fd < 0 && errno == ELOOP)
		return fail(ret_why, -ELOOP, "'%s' is a symbolic link", name);
	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(ret_why, -errno, "'%s': %s", name, strerrordesc_np(errno));
	if (!S_ISREG(st.st_mode))
		return fail(ret_why, -EINVAL, "'%s' is no regular file", name);
	if (st.st_size > SETFILE_MAX_BYTES)
		return fail(ret_why, -EFBIG, "'%s' has %lld bytes, a set file has at most %u", name,
			    (long long)st.st_size, SETFILE_MAX_BYTES);
	r = check_owner(&st, "file", name, ret_why);
	return r < 0 ? r : TAKE_FD(fd);
}

int feeds_file_check(int fd, char **ret_why)
{
	struct stat st;
	char last;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!st.st_size)
		return fail(ret_why, -EBADMSG, "it is empty");
	if (pread(fd, &last, 1, st.st_size - 1) != 1)
		return fail(ret_why, -EBADMSG, "it cannot be read to its end");
	if (last != '\n')
		return fail(ret_why, -EBADMSG, "it is cut short: its last line has no end");
	return 0;
}
