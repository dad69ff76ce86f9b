/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state directory: one daemon's, by a lock; files that are whole or not there: written beside, synced,
 * renamed, and the directory synced. Holds the names and counter slots of the generations that the banks
 * hold, and the run-time overrides.
 */
#pragma once

#include <stdint.h>

#include "cleanup.h"

struct generation;
struct json_object;
struct state;

/* Says who has the lock. Daemons of before lock this file alone. */
#define STATE_NOTE "lock"

/*
 * The lock, by a descriptor of the directory, for as long as both descriptors are open; nothing is written.
 * *ret_note is a file in it, or -1. -EWOULDBLOCK when another daemon has it; *ret_why is a sentence that names it.
 */
int state_lock(int dir, const char *path, int *ret_note, char **ret_why) _must_check_;

/*
 * Makes the directory (0700) when there is none, refuses one that others can enter, takes the lock.
 * -EWOULDBLOCK when another daemon has it; *ret_why is a sentence that names it.
 */
int state_open(struct state **ret, const char *dir, char **ret_why) _must_check_;
void state_free(struct state **s);

/* The directory, borrowed. */
int state_dir(const struct state *s);

/* Whole or not at all. May block for long. */
int state_write(struct state *s, const char *name, struct json_object *json) _must_check_;
int state_read(struct state *s, const char *name, struct json_object **ret) _must_check_;

int state_save_generation(struct state *s, const struct generation *g) _must_check_;

/* -ENOENT when no saved generation has this number and digest. */
int state_find_generation(struct state *s, uint64_t number, const uint8_t digest[static 16],
			  struct generation **ret) _must_check_;

/* Of this number, whatever its digest. */
int state_read_generation(struct state *s, uint64_t number, struct generation **ret) _must_check_;

/* The highest number of a saved generation, 0 when there is none. */
uint64_t state_last_generation(struct state *s);

/* Removes the files of all generations but these two. */
void state_prune(struct state *s, uint64_t keep, uint64_t also_keep);
