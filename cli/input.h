/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy file and the set files it names, opened as the caller. Paths in a policy are relative to the
 * policy file; "-" is standard input, with paths relative to the working directory.
 */
#pragma once

#include <stddef.h>

#include "cleanup.h"
#include "vec.h"

struct policy;

struct input {
	const char *name; /* as typed, borrowed */
	int fd;           /* the policy; -1 when it could not be opened */
	int dir;          /* its directory */
	char *text;
	size_t len;
	VEC(char *) sets; /* contents of set files: diagnostics borrow from them */
};

#define INPUT_INIT                  \
	{                           \
		.fd = -1, .dir = -1 \
	}

/*
 * Reads to the end; a NUL follows the text, which is the caller's. expected: bytes, when known. -EFBIG above
 * max bytes.
 */
int input_read(int fd, size_t expected, size_t max, char **ret, size_t *ret_len) _must_check_;

/* Opens and reads the policy alone. 0 or -errno. */
int input_open(struct input *in, const char *name) _must_check_;
void input_done(struct input *in);
#define _cleanup_input_ _cleanup_(input_done)

/* A descriptor of a set file: a regular file, no larger than a set file may be. -errno otherwise. */
int input_open_set(const struct input *in, const char *path) _must_check_;

/*
 * Opens, reads, checks and compiles. As policy_load(); a policy that cannot be read is a diagnostic too.
 * in outlives policy.
 */
int input_load(struct input *in, const char *name, struct policy *policy) _must_check_;
