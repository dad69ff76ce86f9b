/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client from accept() until its request begins: takes the descriptors that come before it. One that
 * never sends its first byte holds nothing but its own place, and that not for long.
 */
#pragma once

#include "api.h"

struct api_client {
	struct api_client *prev, *next; /* in the list of its owner */
	int fd;
	int socket;   /* the same number once fd is libmicrohttpd's: to shut it down */
	size_t body;  /* bytes of its request that we hold */
	bool refused; /* it was told so: nothing of it is to be read */
	/* Its request is being worked on, or waits for its turn; it was shut down. */
	bool busy, postponed, dropped;
	struct ucred peer;
	struct fd_list fds;
	unsigned int preambles;
	struct sd_event_source *readable, *late;
	/* Called once: with true when a request begins, with false when the client is to be dropped. */
	void (*ready)(struct api_client *c, bool request);
	void *ctx;
};

/* Takes fd over, also when it fails. */
int api_client_new(struct api_client **ret, struct sd_event *event, int fd,
		   void (*ready)(struct api_client *c, bool request), void *ctx) _must_check_;

/* No more events; what was received stays. */
void api_client_quiet(struct api_client *c);
void api_client_free(struct api_client **c);
