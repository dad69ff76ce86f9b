/* SPDX-License-Identifier: Apache-2.0 */
/*
 * penstock-inspect, as the daemon sees it: a child that may ask the kernel what the daemon may not, beside it since
 * before it gave up its rights. It is asked from the loop alone. Everything goes on without it; what it would
 * have told is then missing, and why is known.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "inspect_wire.h"

struct inspect;
struct privilege_user;
struct sd_event;

struct inspect_program {
	char name[INSPECT_NAME]; /* "" for a program without one */
	uint32_t uid;            /* who loaded it */
};

/*
 * Starts the program beside our own, as this user, and waits until it has given up its rights, a second at most.
 * An inspector that cannot be started is one that is missing. Only -ENOMEM fails. Not wanted: none is started.
 */
int inspect_new(struct inspect **ret, struct sd_event *event, const struct privilege_user *user,
		bool wanted) _must_check_;

/* Ends it. */
void inspect_free(struct inspect **i);

/* NULL while it is there, else a sentence. Borrowed. */
const char *inspect_missing(const struct inspect *i);
pid_t inspect_pid(const struct inspect *i); /* 0 when it is missing */

/*
 * Waits 5 ms at most, once: -ETIMEDOUT, it is late. Until the late answer has come others fail at once with -EBUSY;
 * who then asks for the same again is told it. -ENOTCONN: it is missing, or i is NULL. Else what the kernel said:
 * -ENOENT, there is no such program.
 */
int inspect_program(struct inspect *i, uint32_t id, struct inspect_program *ret) _must_check_;

/* "'NAME', loaded by uid N", or in its place why that is not known, by the result above. The result is buf. */
#define INSPECT_TEXT 96
const char *inspect_text(int r, const struct inspect_program *program,
			 char buf[static INSPECT_TEXT]);
