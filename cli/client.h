/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request to the daemon (docs/api.md): HTTP over a unix socket, descriptors first. Requests that
 * change nothing go to read.sock, and to penstock.sock where that one is not for the caller.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cleanup.h"
#include "command.h"

struct json_object;

struct request {
	const char *path;         /* "/v1/apply" */
	struct json_object *body; /* NULL: GET */
	const int *fds;           /* sent before the request; borrowed */
	size_t fd_count;
	bool changes;    /* needs penstock.sock */
	bool quiet;      /* say nothing when it fails */
	long timeout_ms; /* 0: a few seconds; more: for work that takes long */
};

/* Of a change that compiles a policy. */
#define CHANGE_TIMEOUT_MS (2 * 60 * 1000)

struct answer {
	long http; /* status of HTTP */
	struct json_object *json;
};

void answer_done(struct answer *answer);
#define _cleanup_answer_ _cleanup_(answer_done)

/*
 * Sends and waits; a daemon that is stopped or stuck is found out in a few seconds, whatever the request takes.
 * STATUS_DONE: there is an answer, which may be a refusal. Otherwise why there is none,
 * said on stderr.
 */
enum status client_send(const struct invocation *call, const struct request *request,
			struct answer *ret) _must_check_;

/* STATUS_DONE for an answer of success; otherwise prints its message and says which exit code it means. */
enum status client_judge(const struct answer *answer);

/* Both, for a request that must succeed. */
enum status client_ask(const struct invocation *call, const struct request *request,
		       struct json_object **ret) _must_check_;
enum status client_get(const struct invocation *call, const char *path,
		       struct json_object **ret) _must_check_;
