/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An instance's directory on bpffs: maps/, progs/ and links/, for a while maps-*, private to its owner. Names hold no '.':
 * bpffs keeps that character for itself.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cleanup.h"

#define PINS_MAPS  "maps"
#define PINS_PROGS "progs"
#define PINS_LINKS "links"
/* Beside maps/ while it is replaced, see loader_migrate.h. */
#define PINS_ASIDE "maps-"
#define PINS_NEXT  PINS_ASIDE "next"

/* A directory by an open descriptor: a path to it for who may not go the way from above. For printf(). */
#define PINS_BY_FD "/proc/self/fd/%d/."

/* What people call the directory, also when it is named by descriptor. Owned by the caller; NULL: no memory. */
char *pins_name(const char *dir);

/*
 * Makes the instance's directory, 0700, ours, or finds it as the owner's. Mounts bpffs when the directory is to be below /sys/fs/bpf and nothing is
 * mounted there, and logs that. *ret_why says what was refused.
 */
int pins_make(const char *dir, uid_t owner, char **ret_why) _must_check_;

/*
 * Whether anybody could still come to a directory that is named by descriptor: 0, -ENODEV when its bpffs was
 * unmounted. Of others it says nothing.
 */
int pins_check(const char *dir);

/* The same as pins_make() for us, with what lies in it. */
int pins_prepare(const char *dir, char **ret_why) _must_check_;

/* A descriptor; -ENOENT when there is no such pin. */
int pins_open(const char *dir, const char *sub, const char *name) _must_check_;

bool pins_has(const char *dir, const char *sub, const char *name);

/* Pins, in the place of another pin of that name when there is one, in one step. */
int pins_replace(const char *dir, const char *sub, const char *name, int fd) _must_check_;

/* 0 also when it is not there. */
int pins_remove(const char *dir, const char *sub, const char *name);

/* Removes every pin of a subdirectory: best effort, for undoing. */
void pins_clear(const char *dir, const char *sub);

/* Makes a subdirectory, empties and removes it, gives it another name, swaps two: each of the last two in one step. */
int pins_make_sub(const char *dir, const char *sub, char **ret_why) _must_check_;
int pins_remove_sub(const char *dir, const char *sub);
int pins_rename_sub(const char *dir, const char *from, const char *to) _must_check_;
int pins_swap_subs(const char *dir, const char *a, const char *b) _must_check_;

/* From one subdirectory to the same name or another in another, in one step. */
int pins_move(const char *dir, const char *sub, const char *name, const char *to_sub,
	      const char *to_name) _must_check_;

/* Calls each() with every name, in no order; stops at and returns its first error. */
int pins_each(const char *dir, const char *sub, int (*each)(void *ctx, const char *name),
	      void *ctx);
