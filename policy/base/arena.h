/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many small objects with one lifetime: a parsed file, a model. Nothing is freed alone. Every allocation
 * is zeroed and aligned for any type; NULL means out of memory.
 */
#pragma once

#include <stddef.h>

#include "cleanup.h"

struct arena_block;

struct arena {
	struct arena_block *head;
};

void *arena_alloc(struct arena *a, size_t bytes) _must_check_;

/* A NUL-terminated copy of len bytes. */
char *arena_strndup(struct arena *a, const char *text, size_t len) _must_check_;

char *arena_printf(struct arena *a, const char *format, ...) _must_check_ _printf_(2, 3);

void arena_done(struct arena *a);
