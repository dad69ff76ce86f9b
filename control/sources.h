/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The texts that a policy was made from, the policy first, then its set files: kept in the state directory as the
 * compiler read them, so that one of them can be replaced later, and asked what it says, without the others
 * being there any more. A file that stays the same from one apply to the next is kept once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fdio.h"
#include "vec.h"

struct json_object;
struct state;

struct source {
	uint8_t digest[16];
	uint64_t bytes;
};

/* Of one policy. number 0: nothing is known, as of a policy that an older daemon applied. */
struct sources {
	uint64_t number;           /* of the directory */
	struct json_object *paths; /* as in the policy, of files 1 and on; NULL for none */
	VEC(struct source) files;
};

VEC_NAMED(source_numbers, uint64_t);

void sources_done(struct sources *s);

/* The name is one of a directory of texts. */
bool sources_is_directory(const char *name);

/* Removes such a directory of the state directory, with what is in it. */
int sources_remove(int state_dir, const char *name);

/* Removes the directories of all but these. What cannot be removed is tried again the next time. */
void sources_clean(struct state *state, const struct source_numbers *needed);

/*
 * Copies what the descriptors hold and puts descriptors of the copies into their place; what is no regular file,
 * or too large, stays as it is, for the compiler to refuse. running: what may be there already. May block for long.
 * Not yet safe from a crash: sources_sync().
 */
int sources_keep(struct state *state, const struct sources *running, struct json_object *paths,
		 struct fd_list *fds, struct sources *ret, char **ret_why) _must_check_;
int sources_sync(struct state *state, const struct sources *s) _must_check_;

/* Descriptors of the files, the policy's first. -ENOENT when they are not there. */
int sources_open(struct state *state, const struct sources *s, struct fd_list *ret) _must_check_;

/* Index of the file of this path, 0 when there is none. */
size_t sources_find(const struct sources *s, const char *path);

/* The digest of what a descriptor holds. */
int sources_digest(int fd, struct source *ret) _must_check_;

bool sources_equal(const struct sources *a, const struct sources *b);

struct json_object *sources_to_json(const struct sources *s);
int sources_from_json(struct sources *ret, struct json_object *json) _must_check_;
