/* SPDX-License-Identifier: Apache-2.0 */
/* A listening unix socket with its file: made private, opened to its group, removed when it is ours. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "cleanup.h"

struct api_listen {
	/* Filled in before opening, borrowed. group may not exist: then only root can connect. */
	int dir; /* descriptor of run_dir */
	const char *run_dir, *name, *group;
	int fd;    /* -1 when closed */
	gid_t gid; /* of the group, or -1 */
	dev_t dev;
	ino_t ino;
};

int api_listen_open(struct api_listen *l, char **ret_why) _must_check_;
/*
 * Whether who connected may: root, our own user, members of the group. The file's mode says the same; this holds
 * also when somebody changed the mode.
 */
bool api_listen_permits(const struct api_listen *l, int client, const struct ucred *peer);

void api_listen_close(struct api_listen *l);
