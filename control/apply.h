/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A change of policy as one transaction:
 *   0. the files are copied, to be kept                    (worker)
 *   1. a child compiles the copies                         (child)
 *   2. its answer is read and checked                      (worker)
 *   3. nothing to do? then that is the answer              (loop)
 *   4. names get counter slots, which go into the image; names, spans and slots are saved, synced;
 *      the inactive bank is written and read back, and asked whether it cuts off who applies it; slots
 *      with a new owner are cleared                                                        (worker)
 *   5. devices are attached, the flip, devices that are not wanted any more are detached (loop); what is to be
 *      confirmed keeps them until then, see confirm.h
 *   6. the last packet has left the old bank; old files go (worker)
 * Whatever fails before the flip leaves everything as it was. Nothing after the flip can fail.
 */
#pragma once

#include <sys/socket.h>

#include "fdio.h"
#include "generation.h"
#include "guard.h"

struct apply;
struct daemon;
struct json_object;

/* Questions that a change by the daemon itself asks before anything is changed: 0, or -errno and a sentence. */
struct apply_guard {
	void *ctx;
	int (*files)(void *ctx, const struct fd_list *fds,
		     char **ret_why); /* the copies; on the worker */
	int (*policy)(void *ctx, const struct generation *running, const struct generation *next,
		      char **ret_why); /* on the loop; not -EINVAL */
};

struct apply_request {
	char *file, *dir;          /* dir may be NULL */
	struct json_object *paths; /* may be NULL */
	struct fd_list fds;        /* the policy, then one for each path */
	bool check_only;
	const struct apply_guard *guard; /* NULL: nobody is asked; its owner speaks of failures */
	bool confirm_given;              /* the time to confirm in: by who asks, */
	uint64_t confirm_ms;
	uint64_t confirm_preset_ms; /* else by the policy, else this; 0: no need to */
	struct guard login;         /* that must not be cut off */
	bool forced;                /* whatever it cuts off or drops */
	pid_t pid;                  /* who asked, 0: ourselves */
	uid_t uid;
};

void apply_request_done(struct apply_request *r);

enum apply_result {
	APPLY_DONE,      /* applied, or checked and good */
	APPLY_UNCHANGED, /* runs already */
	APPLY_REFUSED,   /* the policy is bad: see diagnostics */
	APPLY_FAILED,    /* see why */
	APPLY_RESULT_COUNT,
};

/* Borrowed by done() for its time. */
struct apply_outcome {
	enum apply_result result;
	int error; /* -errno when failed */
	const char *why;
	struct json_object
		*diagnostics; /* {errors, warnings, diagnostics}, NULL when there are none */
	const char *file, *dir;
	char digest[DIGEST_TEXT];
	uint64_t generation; /* 0 for a check */
	uint32_t lines_changed;
	uint64_t rules, compile_ms, install_ms, image_bytes;
	struct json_object *confirm; /* see confirm_report(); NULL when there is no need to */
	uint64_t members_dropped;    /* of run-time sets that the policy no longer has */
};

typedef void apply_done_fn(void *ctx, const struct apply_outcome *outcome);

#define APPLY_CHECKS_MAX 4 /* at the same time */

/*
 * Takes the request over, also when it fails: -EBUSY when another change is under way, -EINPROGRESS when one
 * waits to be confirmed, -EAGAIN when too many checks are under way, other errors with nothing started. done() is called once, on the loop, later.
 */
int apply_start(struct daemon *d, struct apply_request *request, apply_done_fn *done,
		void *ctx) _must_check_;

/* For a daemon that stops: children are killed, and everybody gets an answer; steps on the worker first. */
void apply_cancel_all(struct daemon *d);
