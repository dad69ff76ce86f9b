/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of sets_table.h in the kernel: the inner map of `set_table`, and `set_filter`, mapped. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "abi.h"
#include "cleanup.h"

struct loader;

struct sets_map {
	struct dp_line *lines; /* NULL: none */
	uint32_t count;
};

/* The map that the slot holds; lines stays NULL when it holds none. */
int sets_map_open(const struct loader *l, struct sets_map *ret) _must_check_;

/* A new map of at least `lines` zeroed lines, for loader_put_inner(). *ret_fd is the caller's. */
int sets_map_make(const struct loader *l, uint32_t lines, struct sets_map *ret, int *ret_fd,
		  char **ret_why) _must_check_;

void sets_map_done(struct sets_map *m); /* the mapping alone: the map lives on in its slot */

/* Mapped until the process ends. */
int sets_map_filter(const struct loader *l, struct dp_filter **ret) _must_check_;
