/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors: whole reads and writes, directories, descriptors over sockets. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cleanup.h"
#include "vec.h"

VEC_NAMED(fd_list, int);

void fd_list_done(struct fd_list *fds); /* closes them */

/*
 * The content of a regular file from its beginning, wherever the descriptor's position is, with a NUL
 * after it. -EFBIG above max bytes, -EINVAL when it is not a regular file.
 */
int fdio_read(int fd, size_t max, char **ret, size_t *ret_len) _must_check_;
int fdio_write(int fd, const void *bytes, size_t len) _must_check_;

/* A descriptor of the directory; it and what leads to it are made when missing. Never a symbolic link. */
int fdio_make_dir(const char *path, mode_t mode) _must_check_;

/*
 * One message of one byte with descriptors. Receiving: -ENODATA at the end of the stream, -EMFILE when
 * more came than fit into `most` or into our table; nothing is appended then.
 */
#define FDIO_PER_MESSAGE 250
int fdio_send(int socket, unsigned char byte, const int fds[], size_t count) _must_check_;
int fdio_receive(int socket, unsigned char *ret_byte, struct fd_list *fds,
		 size_t most) _must_check_;
