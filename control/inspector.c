/* SPDX-License-Identifier: Apache-2.0 */
/*
 * penstock-inspect: a program of its own, because what it holds, CAP_SYS_ADMIN, is more than all of penstockd. It
 * is started by penstockd with a socket and nothing else, gives up all other rights, may make two calls of
 * bpf(2), answers one kind of request, and ends when nobody can ask any more. It has nothing to say: what is
 * wrong is in its exit status.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <linux/bpf.h>

#include "inspect_wire.h"
#include "privilege.h"
#include "sandbox.h"

static int bpf(enum bpf_cmd command, union bpf_attr *attr)
{
	long r = syscall(SYS_bpf, command, attr, sizeof(*attr));

	return r < 0 ? -errno : (int)r;
}

static int look_at_program(uint32_t id, struct inspect_answer *answer)
{
	struct bpf_prog_info info = {};
	union bpf_attr attr = { .prog_id = id };
	_cleanup_close_ int fd = bpf(BPF_PROG_GET_FD_BY_ID, &attr);
	int r;

	if (fd < 0)
		return fd;
	attr = (union bpf_attr){ .info = { .bpf_fd = (uint32_t)fd,
					   .info_len = sizeof(info),
					   .info = (uintptr_t)&info } };
	r = bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
	if (r < 0)
		return r;
	answer->uid = info.created_by_uid;
	memcpy(answer->name, info.name, sizeof(answer->name));
	return 0;
}
_Static_assert(sizeof(((struct bpf_prog_info *)NULL)->name) == INSPECT_NAME, "the kernel's names");

static int tell(const struct inspect_answer *answer)
{
	ssize_t n = send(INSPECT_SOCKET_FD, answer, sizeof(*answer), MSG_NOSIGNAL);

	return n < 0 ? -errno : 0;
}

/* A message that is no request is answered like one that is refused: -EINVAL, to nobody's number. */
static int answer_one(const void *bytes, size_t len)
{
	struct inspect_answer answer = { .magic = INSPECT_MAGIC, .kind = INSPECT_PROGRAM };
	struct inspect_request request;

	answer.error = inspect_read_request(bytes, len, &request);
	if (!answer.error) {
		answer.number = request.number;
		answer.id = request.id;
		answer.error = look_at_program(request.id, &answer);
	}
	return tell(&answer);
}

/* Until the other end is closed: with penstockd, however it ends. */
static int serve(void)
{
	for (;;) {
		char bytes[sizeof(struct inspect_request) + 1]; /* more than fits is too long */
		ssize_t n = recv(INSPECT_SOCKET_FD, bytes, sizeof(bytes), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		if (answer_one(bytes, (size_t)n) < 0)
			return 0;
	}
}

/* A decimal number and nothing else. */
static bool read_id(const char *text, uint32_t *ret)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	*ret = (uint32_t)value;
	return !errno && *text >= '0' && *text <= '9' && !*end && value < UINT32_MAX;
}

static bool has_socket(void)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return !getsockopt(INSPECT_SOCKET_FD, SOL_SOCKET, SO_TYPE, &type, &len) &&
	       type == SOCK_SEQPACKET;
}

int main(int argc, char *argv[])
{
	const struct inspect_answer ready = { .magic = INSPECT_MAGIC, .kind = INSPECT_READY };
	struct privilege_user user;

	if (argc != 3 || !read_id(argv[1], &user.uid) || !read_id(argv[2], &user.gid) ||
	    !has_socket()) {
		fputs("penstock-inspect: is started by penstockd, see penstockd(8)\n", stderr);
		return 2;
	}
	if (privilege_drop_to_inspect(&user) < 0 || sandbox_inspector() < 0)
		return EXIT_FAILURE;
	_exit(tell(&ready) < 0 || serve() < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}
