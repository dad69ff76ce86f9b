/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Run-time sets: their members come and go here, one request after the other, each in slices of the loop's time.
 * What takes long (a larger table, a grace period) is on the worker, and changes wait for it. Numbers and
 * limits of sets are those of the running generation.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cleanup.h"
#include "sets_table.h"
#include "vec.h"

struct generation;
struct generation_set;
struct loader;
struct sd_event;
struct sets;
struct worker;

enum sets_verb {
	SETS_ADD,
	SETS_DEL,
};

struct sets_request {
	enum sets_verb verb;
	char *set;             /* name */
	struct sets_keys keys; /* sorted */
	bool has_ttl;          /* ttl_ms counts and not the set's */
	uint64_t ttl_ms;       /* 0: they stay */
};

void sets_request_done(struct sets_request *r);

/* Borrowed by done() for its time. An add is done whole or not at all; what is absent is not deleted. */
struct sets_outcome {
	int error; /* 0; -ENOENT: see sets_find(); -EDQUOT: no room; -ESHUTDOWN; -ENOMEM; … */
	const char *why;
	const char *set;
	uint64_t added, refreshed, removed;
	struct sets_keys absent;  /* may be taken out */
	uint64_t members, policy; /* that the set has now: added at run time, given by the policy */
	uint64_t max;
};

typedef void sets_done_fn(void *ctx, struct sets_outcome *o);

/*
 * Adopts the members that the maps of l hold. running: the daemon's, NULL in it when there is none; read when a
 * request's turn comes.
 */
int sets_new(struct sets **ret, struct sd_event *event, struct worker *worker, struct loader *l,
	     struct generation *const *running, char **ret_why) _must_check_;

/* Every request gets its answer; none is taken any more. Before the worker goes; free() after it has gone. */
void sets_stop(struct sets *s);
void sets_free(struct sets **s);

/*
 * The run-time set of the name, in the running policy. NULL with -ENOENT (no such set; the sentence names the
 * nearest) or -EPERM (its members are the policy's) in *ret_error.
 */
const struct generation_set *sets_find(const struct sets *s, const char *name, int *ret_error,
				       char **ret_why);

/*
 * Takes the request over, also when it fails. -EAGAIN: too much is waiting. done() is called once, on the
 * loop, maybe before this returns.
 */
int sets_submit(struct sets *s, struct sets_request *request, sets_done_fn *done,
		void *ctx) _must_check_;

/* No packet reads a policy that is not the running one: what only others named goes, and how many members. */
uint64_t sets_drop_unnamed(struct sets *s);

/* Numbers that members are known by, or soon will be: none of them is for a new set. */
uint64_t sets_taken(const struct sets *s);

/* For readers. */
const struct sets_table *sets_table(const struct sets *s);
uint64_t sets_memory_bytes(const struct sets *s);

/* Ticks as packets read them. */
uint32_t sets_now(void);
