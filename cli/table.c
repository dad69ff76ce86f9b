/* SPDX-License-Identifier: Apache-2.0 */
/* See table.h; the layout is libsmartcols'. */
#include "table.h"

#include <libsmartcols/libsmartcols.h>
#include <stdlib.h>
#include <unistd.h>

#include "term.h"

struct table {
	struct libscols_table *scols;
	struct libscols_line *line; /* the last row, owned by scols */
	bool failed;
};

bool table_colors(const struct invocation *call)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	if (call->value[OPTION_NO_COLOR] || (no_color && *no_color))
		return false;
	return isatty(STDOUT_FILENO) && term && *term;
}

void table_freep(struct table **table)
{
	struct table *t = *table;

	if (t)
		scols_unref_table(t->scols);
	free(t);
	*table = NULL;
}

struct table *table_new(const struct invocation *call, const struct table_column *columns)
{
	_cleanup_table_ struct table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->scols = scols_new_table();
	if (!t->scols)
		return NULL;
	for (const struct table_column *c = columns; c->name; c++)
		if (!scols_table_new_column(t->scols, c->name, 0, c->number ? SCOLS_FL_RIGHT : 0))
			return NULL;
	if (scols_table_enable_colors(t->scols, table_colors(call)) ||
	    scols_table_set_column_separator(t->scols, "  ") ||
	    /* Cells are escaped here; smartcols would escape again what its locale doesn't print. */
	    scols_table_enable_noencoding(t->scols, 1) ||
	    scols_table_set_termforce(t->scols, SCOLS_TERMFORCE_NEVER))
		return NULL;
	return TAKE_PTR(t);
}

void table_row(struct table *table)
{
	table->line = scols_table_new_line(table->scols, NULL);
	if (!table->line)
		table->failed = true;
}

void table_text(struct table *table, size_t column, const char *text)
{
	_cleanup_free_ char *safe = term_escape(text && *text ? text : "-", TERM_LINE);

	if (!safe || !table->line || scols_line_set_data(table->line, column, safe))
		table->failed = true;
}

void table_number(struct table *table, size_t column, uint64_t n)
{
	char buf[TERM_NUMBER];

	table_text(table, column, term_number(n, buf));
}

void table_color(struct table *table, size_t column, enum table_color color)
{
	static const char *const names[] = {
		[TABLE_RED] = "red",
		[TABLE_GREEN] = "green",
		[TABLE_DIM] = "darkgray",
	};
	struct libscols_cell *cell;

	cell = table->line ? scols_line_get_cell(table->line, column) : NULL;
	if (!cell || scols_cell_set_color(cell, names[color]))
		table->failed = true;
}

int table_print(struct table *table, bool heading)
{
	if (scols_table_enable_noheadings(table->scols, !heading))
		table->failed = true;
	if (table->failed || scols_print_table(table->scols)) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	return STATUS_DONE;
}
