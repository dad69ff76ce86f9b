/* SPDX-License-Identifier: Apache-2.0 */
/* See input.h. */
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "diag.h"
#include "policy.h"
#include "setfile.h"

#define POLICY_MAX_BYTES (64u * 1024 * 1024)

int input_read(int fd, size_t expected, size_t max, char **ret, size_t *ret_len)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0, room = expected + 1;

	for (;;) {
		char *grown = realloc(text, room + 1);
		ssize_t n;

		if (!grown)
			return -ENOMEM;
		text = grown;
		n = read(fd, text + len, room - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		len += (size_t)n;
		if (len > max)
			return -EFBIG;
		if (len == room)
			room *= 2;
	}
	text[len] = '\0';
	*ret = TAKE_PTR(text);
	*ret_len = len;
	return 0;
}

static int open_dir_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir = NULL;
	int fd;

	dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	if (!dir)
		return -ENOMEM;
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int input_open(struct input *in, const char *name)
{
	bool from_stdin = !strcmp(name, "-");
	struct stat st;

	in->name = from_stdin ? "<stdin>" : name;
	/* Here a pipe is welcome: `penstock check <(generate)`. */
	in->fd = from_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
			    : open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (in->fd < 0)
		return -errno;
	if (fstat(in->fd, &st))
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (S_ISREG(st.st_mode) && st.st_size > POLICY_MAX_BYTES)
		return -EFBIG;
	in->dir = open_dir_of(from_stdin ? "./" : name);
	if (in->dir < 0)
		return in->dir;
	return input_read(in->fd, S_ISREG(st.st_mode) ? (size_t)st.st_size : 65536,
			  POLICY_MAX_BYTES, &in->text, &in->len);
}

void input_done(struct input *in)
{
	closep(&in->fd);
	closep(&in->dir);
	free(in->text);
	for (size_t i = 0; i < in->sets.count; i++)
		free(in->sets.at[i]);
	vec_done(&in->sets);
}

int input_open_set(const struct input *in, const char *path)
{
	/* O_NONBLOCK: a FIFO must not hold us before fstat() can refuse it. */
	_cleanup_close_ int fd =
		openat(in->dir, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size > SETFILE_MAX_BYTES)
		return -EFBIG;
	return TAKE_FD(fd);
}

static int read_set(void *ctx, const char *path, const char **ret_text, size_t *ret_len)
{
	struct input *in = ctx;
	_cleanup_close_ int fd = input_open_set(in, path);
	_cleanup_free_ char *text = NULL;
	struct stat st;
	int r;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st))
		return -errno;
	r = input_read(fd, (size_t)st.st_size, SETFILE_MAX_BYTES, &text, ret_len);
	if (!r)
		r = vec_push(&in->sets, text);
	if (r)
		return r;
	*ret_text = TAKE_PTR(text);
	return 0;
}

int input_load(struct input *in, const char *name, struct policy *policy)
{
	const struct policy_files files = { .ctx = in, .open = read_set };
	int r = input_open(in, name);

	if (r) {
		uint32_t source = diag_add_source(&policy->diags, in->name, "", 0);

		diag_error(&policy->diags, (struct span){ .source = source }, "cannot-read",
			   "cannot be read: %s", strerror(-r));
		return -EINVAL;
	}
	return policy_load(policy, in->name, in->text, in->len, &files);
}
