/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An instance's directory on bpffs: maps/, progs/ and links/, private to its owner. Names hold no '.':
 * bpffs keeps that character for itself.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"

#define PINS_MAPS  "maps"
#define PINS_PROGS "progs"
#define PINS_LINKS "links"

/*
 * Makes the directories, 0700. Mounts bpffs when the directory is to be below /sys/fs/bpf and nothing is
 * mounted there, and logs that. *ret_why says what was refused.
 */
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

/* Calls each() with every name, in no order; stops at and returns its first error. */
int pins_each(const char *dir, const char *sub, int (*each)(void *ctx, const char *name),
	      void *ctx);
