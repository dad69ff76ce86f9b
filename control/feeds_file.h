/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that the daemon opens by itself, again and again, on behalf of a policy: only in directories that the
 * administrator named and root alone can write to, and only what root put there.
 */
#pragma once

#include <stddef.h>

#include "cleanup.h"
#include "vec.h"

VEC_NAMED(feeds_dirs, char *);

/*
 * Where a policy's set file lies: the index of its feed directory, and in *ret_name its name in there (owned by the
 * caller). dir is the policy's. -EPERM with a sentence that says what to do when it lies in none of them.
 */
int feeds_file_locate(const struct feeds_dirs *dirs, const char *dir, const char *file,
		      char **ret_name, char **ret_why) _must_check_;

/* Descriptors, or -errno and a sentence. A file is opened below the directory and never through a link. */
int feeds_dir_open(const char *path, char **ret_why) _must_check_;
int feeds_file_open(int dir, const char *name, char **ret_why) _must_check_;

/* -EBADMSG with a sentence when the text is empty, or ends in the middle of a line. */
int feeds_file_check(int fd, char **ret_why) _must_check_;
