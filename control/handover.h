/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the start does while it has all its rights: mounts a bpffs where there is none, makes the instance's
 * directories, and gives those that root left there to the user that the daemon is about to become.
 */
#pragma once

#include <limits.h>

#include "cleanup.h"

struct options;
struct privilege_user;

struct handover {
	int pins;                /* the directory of the pins, locked while it is open; or -1 */
	char pin_path[PATH_MAX]; /* the way to it that needs no right on what lies above */
};

/*
 * Refuses, having changed nothing, directories of a third user, and those of a running daemon that are not
 * this user's yet.
 */
int handover_make(struct handover *h, const struct options *o, const struct privilege_user *user,
		  char **ret_why) _must_check_;
void handover_done(struct handover *h);
