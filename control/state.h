/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state directory: one daemon's, by a lock; files that are whole or not there: written beside, synced,
 * renamed, and the directory synced. Holds the names and counter slots of the generations that the banks
 * hold, and the run-time overrides.
 */
#pragma once

#include <stdbool.h>
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
 * -EWOULDBLOCK when another daemon has it; *ret_why is a sentence that names it. One that cannot be written, or not
 * be made, is no failure: see state_error().
 */
int state_open(struct state **ret, const char *dir, char **ret_why) _must_check_;
void state_free(struct state **s);

/* Why nothing can be saved: -errno by the last look, 0 when it can. */
int state_error(const struct state *s);

/*
 * Looks whether the directory can be written now, and makes it anew when it is gone. The worker's. Gives what
 * state_error() then says.
 */
int state_look(struct state *s);

/* Since the last question it has become a directory that can be written: what it should hold is to be saved again. */
bool state_renewed(struct state *s);

/* The directory, borrowed; -1 while there is none. */
int state_dir(const struct state *s);

/* Whole or not at all. May block for long. */
int state_write(struct state *s, const char *name, struct json_object *json) _must_check_;
int state_read(struct state *s, const char *name, struct json_object **ret) _must_check_;

/* The file of a generation. */
#define STATE_NAME_BYTES 40
void state_generation_name(uint64_t number, char name[static STATE_NAME_BYTES]);
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
