/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who the daemon is and what it may do. It keeps three capabilities, as whichever user it runs; what needs more
 * is done before, see handover.h.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "cleanup.h"

struct privilege_user {
	uid_t uid;
	gid_t gid;
};

/* name: NULL for who we are. -ENOENT and a sentence when there is no such user. */
int privilege_find_user(const char *name, struct privilege_user *ret, char **ret_why) _must_check_;

/* -EPERM and a sentence when one of the three is missing. */
int privilege_check(char **ret_why) _must_check_;

/*
 * Takes as many open files as the limit can be raised to. -EMFILE and a sentence when that is too few for a daemon
 * that has nothing to do.
 */
int privilege_take_files(char **ret_why) _must_check_;

/*
 * For good: becomes the user with the groups named (those that exist), keeps the three capabilities and sets
 * no_new_privs. Before the first thread; the list of system calls comes after it, see sandbox.h.
 */
int privilege_drop(const struct privilege_user *user, const char *const groups[], size_t count,
		   char **ret_why) _must_check_;

/* The same for penstock-inspect, which keeps CAP_SYS_ADMIN alone, and no groups. */
int privilege_drop_to_inspect(const struct privilege_user *user) _must_check_;

/* Whether a child of ours could. */
bool privilege_can_inspect(void);

/* For good: no capability at all. */
int privilege_drop_all(void) _must_check_;
