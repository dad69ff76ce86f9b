/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policies that ran, the last HISTORY_MAX of them: what to go back to, who applied it and when. Their texts stay
 * in the state directory (sources.h). The loop's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <sys/types.h>

#include "sources.h"

#define HISTORY_MAX 10

struct generation;
struct json_object;
struct state;

struct history_entry {
	uint64_t number; /* generation */
	uint8_t digest[16];
	char *file, *dir, *applied_at;
	uid_t uid;   /* who asked; of the daemon's own changes its own */
	bool undone; /* not confirmed in time, or rolled back before */
	struct sources sources;
};

/* Ascending by number. */
VEC_NAMED(history, struct history_entry);

void history_done(struct history *h);

/* Adds what runs now, or changes what is known of it; the oldest go. */
int history_add(struct history *h, const struct generation *g, uid_t uid) _must_check_;
void history_forget(struct history *h,
		    uint64_t number); /* it was replaced by the same policy, with newer feeds */
bool history_has(const struct history *h, uint64_t number);
void history_mark_undone(struct history *h, uint64_t number);

/*
 * The policy before the running one: the last that was not undone and says something else. running: NULL when none
 * does, as after a reboot: then the last that was not undone. NULL: there is none.
 */
const struct history_entry *history_back(const struct history *h, const struct generation *running);

/* Adds the numbers of the texts that are still needed. */
int history_sources(const struct history *h, struct source_numbers *ret) _must_check_;

/* [{generation, digest, file, dir, applied_at, uid, undone}], the newest first. */
struct json_object *history_report(const struct history *h);

/* For the state directory; nothing saved is no history. */
#define HISTORY_FILE "history.json"
#define HISTORY_LOSS "'penstock rollback' may not find what ran"
struct json_object *history_to_json(const struct history *h);
int history_load(struct history *ret, struct state *state) _must_check_;
