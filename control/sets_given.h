/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the running policy gives to a set. The kernel has only ranges of addresses, merged over all sets of a
 * rule, so the kept texts are read again, by the child that compiles; the last answer is remembered for
 * a while, because a long list is asked for page by page.
 */
#pragma once

#include "sets_keys.h"

struct generation;
struct sd_event;
struct sets_given;
struct state;
struct worker;

/* keys: borrowed, sorted; NULL with -errno when they are not to be had. */
typedef void sets_given_fn(void *ctx, const struct sets_keys *keys, int error);

int sets_given_new(struct sets_given **ret, struct sd_event *event, struct worker *worker,
		   struct state *state, struct generation *const *running)
	__attribute__((warn_unused_result));

/* Everybody who asked gets an answer. Before the worker goes; free() after it has gone. */
void sets_given_stop(struct sets_given *g);
void sets_given_free(struct sets_given **g);

/* done() is called once, on the loop, maybe before this returns. */
void sets_given_ask(struct sets_given *g, const char *set, sets_given_fn *done, void *ctx);
