/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables for people. Cells are escaped here. A pipe gets every cell whole; colour only goes to a
 * terminal, and not with NO_COLOR or --no-color.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"
#include "command.h"

struct table;

struct table_column {
	const char *name; /* NULL ends a list of columns */
	bool number;      /* aligned to the right */
};

/* NULL when out of memory. */
struct table *table_new(const struct invocation *call,
			const struct table_column *columns) _must_check_;
void table_freep(struct table **table);
#define _cleanup_table_ _cleanup_(table_freep)

void table_row(struct table *table);

/* Sets cells of the last row. Text is copied; NULL and "" show as "-". */
void table_text(struct table *table, size_t column, const char *text);
void table_number(struct table *table, size_t column, uint64_t n);

/* Red for what was dropped, green for what passed. */
enum table_color {
	TABLE_RED,
	TABLE_GREEN,
	TABLE_DIM,
};
void table_color(struct table *table, size_t column, enum table_color color);

/* Prints on stdout. STATUS_FAILED, with a message, when memory ran out on the way. */
int table_print(struct table *table, bool heading) _must_check_;

/* For what is not a table: may stdout be coloured? */
bool table_colors(const struct invocation *call);
