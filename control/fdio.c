/* SPDX-License-Identifier: Apache-2.0 */
/* See fdio.h. */
#include "fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define KERNEL_MOST 253 /* SCM_MAX_FD: more never come in one message */

void fd_list_done(struct fd_list *fds)
{
	for (size_t i = 0; i < fds->count; i++)
		closep(&fds->at[i]);
	vec_done(fds);
}

static int read_from_start(int fd, char *to, size_t room, size_t *ret_len)
{
	size_t len = 0;

	while (len < room) {
		ssize_t n = pread(fd, to + len, room - len, (off_t)len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		len += (size_t)n;
	}
	*ret_len = len;
	return 0;
}

int fdio_read(int fd, size_t max, char **ret, size_t *ret_len)
{
	_cleanup_free_ char *text = NULL;
	struct stat st;
	size_t len = 0;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size < 0 || (uint64_t)st.st_size > max)
		return -EFBIG;
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	r = read_from_start(fd, text, (size_t)st.st_size, &len);
	if (r < 0)
		return r;
	text[len] = 0;
	*ret = TAKE_PTR(text);
	*ret_len = len;
	return 0;
}

int fdio_write(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Parents get 0755: the last directory's mode is what protects. */
static int make_parents(char *path)
{
	for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = 0;
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return -errno;
		*at = '/';
	}
	return 0;
}

int fdio_make_dir(const char *path, mode_t mode)
{
	_cleanup_free_ char *copy = strdup(path);
	int fd, r;

	if (!copy)
		return -ENOMEM;
	r = make_parents(copy);
	if (r < 0)
		return r;
	if (mkdir(path, mode) == 0) {
		/* The umask may have taken bits away; nobody else had a reason to look yet. */
		if (chmod(path, mode) < 0)
			return -errno;
	} else if (errno != EEXIST) {
		return -errno;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

union control {
	char bytes[CMSG_SPACE(sizeof(int) * KERNEL_MOST)];
	struct cmsghdr align;
};

int fdio_send(int socket, unsigned char byte, const int fds[], size_t count)
{
	struct iovec io = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1 };
	union control control = {};
	struct cmsghdr *c;

	if (count > FDIO_PER_MESSAGE)
		return -EINVAL;
	if (count) {
		m.msg_control = control.bytes;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * count);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
	}
	return sendmsg(socket, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* All descriptors of a message are ours as soon as it is received, also those nobody wants. */
static int take(struct msghdr *m, struct fd_list *fds)
{
	int r = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (!r)
				r = vec_push(fds, fd);
			if (r < 0)
				closep(&fd);
		}
	}
	return r;
}

int fdio_receive(int socket, unsigned char *ret_byte, struct fd_list *fds, size_t most)
{
	struct iovec io = { .iov_base = ret_byte, .iov_len = 1 };
	union control control = {};
	struct msghdr m = { .msg_iov = &io,
			    .msg_iovlen = 1,
			    .msg_control = control.bytes,
			    .msg_controllen = sizeof(control.bytes) };
	struct fd_list got = {};
	ssize_t n = recvmsg(socket, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int r;

	if (n < 0)
		return -errno;
	r = take(&m, &got);
	if (!r && !n)
		r = -ENODATA;
	if (!r && ((m.msg_flags & MSG_CTRUNC) || got.count > most - fds->count))
		r = -EMFILE;
	if (!r)
		r = vec_reserve(fds, got.count);
	if (r < 0) {
		fd_list_done(&got);
		return r;
	}
	for (size_t i = 0; i < got.count; i++)
		fds->at[fds->count++] = got.at[i];
	vec_done(&got);
	return 0;
}
