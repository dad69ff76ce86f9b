/* SPDX-License-Identifier: Apache-2.0 */
/* A verb that asks for a list, keeps some of its rows and prints them: rules, sets, drops. */
#pragma once

#include "command.h"
#include "table.h"

struct json_object;

struct list {
	const char *path, *key; /* of the request, of the array in its answer */
	const struct table_column *columns;
	const char *noun; /* what the argument names: no row is then an error; NULL: a filter */
	bool (*keep)(const struct invocation *call, struct json_object *row); /* NULL: every row */
	int (*compare)(const void *a, const void *b); /* of struct json_object *; NULL: as sent */
	void (*fill)(struct table *table, struct json_object *row);
	void (*after)(
		struct json_object *answer); /* what people see below the table; NULL: nothing */
};

enum status list_run(const struct invocation *call, const struct list *list);

/* True when the option was not given or names the member's text. */
bool list_wanted(const struct invocation *call, enum option_id id, struct json_object *row,
		 const char *key);
