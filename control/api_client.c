/* SPDX-License-Identifier: Apache-2.0 */
/* See api_client.h. */
#include "api_client.h"

#include <errno.h>

#include <systemd/sd-event.h>

/* NUL bytes before a request: enough for API_DESCRIPTORS_MAX sent one by one. */
#define PREAMBLES_MAX (API_DESCRIPTORS_MAX + 1)

/* 1: a request begins; 0: nothing more to read now; -errno: not one of ours. */
static int read_preambles(struct api_client *c)
{
	for (;;) {
		unsigned char byte;
		ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
		int r;

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		if (!n)
			return -ENODATA;
		if (byte)
			return 1;
		if (++c->preambles > PREAMBLES_MAX)
			return -EMSGSIZE;
		r = fdio_receive(c->fd, &byte, &c->fds, API_DESCRIPTORS_MAX);
		if (r < 0)
			return r;
	}
}

static int on_readable(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	struct api_client *c = ctx;
	int r = read_preambles(c);

	(void)s, (void)fd, (void)revents;
	if (r)
		c->ready(c, r > 0);
	return 0;
}

static int on_late(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct api_client *c = ctx;

	(void)s, (void)usec;
	c->ready(c, false);
	return 0;
}

int api_client_new(struct api_client **ret, struct sd_event *event, int fd,
		   void (*ready)(struct api_client *c, bool request), void *ctx)
{
	_cleanup_(api_client_free) struct api_client *c = calloc(1, sizeof(*c));
	socklen_t len = sizeof(c->peer);
	int r;

	if (!c) {
		closep(&fd);
		return -ENOMEM;
	}
	*c = (struct api_client){ .fd = fd, .socket = fd, .ready = ready, .ctx = ctx };
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c->peer, &len) < 0)
		return -errno;
	r = sd_event_add_io(event, &c->readable, fd, EPOLLIN, on_readable, c);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &c->late, CLOCK_MONOTONIC,
					       API_FIRST_BYTE_MS * 1000ull, 0, on_late, c);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

void api_client_quiet(struct api_client *c)
{
	c->readable = sd_event_source_disable_unref(c->readable);
	c->late = sd_event_source_disable_unref(c->late);
}

void api_client_free(struct api_client **at)
{
	struct api_client *c = *at;

	if (!c)
		return;
	api_client_quiet(c);
	fd_list_done(&c->fds);
	closep(&c->fd);
	free(c);
	*at = NULL;
}
