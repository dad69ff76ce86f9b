/* SPDX-License-Identifier: Apache-2.0 */
/* A listening unix socket with its file: made private, opened to its group, removed when it is ours. */
#pragma once

#include <sys/types.h>

#include "cleanup.h"

struct api_listen {
	/* Filled in before opening, borrowed. group may not exist: then only root can connect. */
	int dir; /* descriptor of run_dir */
	const char *run_dir, *name, *group;
	int fd; /* -1 when closed */
	dev_t dev;
	ino_t ino;
};

int api_listen_open(struct api_listen *l, char **ret_why) _must_check_;
void api_listen_close(struct api_listen *l);
