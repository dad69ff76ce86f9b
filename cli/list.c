/* SPDX-License-Identifier: Apache-2.0 */
/* See list.h. */
#include "list.h"

#include <json-c/json.h>
#include <string.h>

#include "client.h"
#include "output.h"
#include "term.h"

bool list_wanted(const struct invocation *call, enum option_id id, struct json_object *row,
		 const char *key)
{
	return !call->value[id] || !strcmp(call->value[id], json_text(row, key));
}

static struct json_object *select_rows(const struct invocation *call, const struct list *list,
				       struct json_object *answer)
{
	struct json_object *kept = json_object_new_array();

	for (size_t i = 0; kept && i < json_count(answer, list->key); i++) {
		struct json_object *row = json_at(answer, list->key, i);

		if (list->keep && !list->keep(call, row))
			continue;
		if (json_object_array_add(kept, json_object_get(row))) {
			json_object_put(row);
			json_putp(&kept);
		}
	}
	if (kept && list->compare)
		json_object_array_sort(kept, list->compare);
	return kept;
}

static enum status print_table(const struct invocation *call, const struct list *list,
			       struct json_object *answer)
{
	_cleanup_table_ struct table *table = table_new(call, list->columns);
	size_t rows = json_count(answer, list->key), shown = output_limit(call, rows);
	enum status status;

	if (!table) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	for (size_t i = 0; i < shown; i++) {
		table_row(table);
		list->fill(table, json_at(answer, list->key, i));
	}
	status = table_print(table, true);
	if (list->after)
		list->after(answer);
	output_rest(call, rows);
	return status;
}

enum status list_run(const struct invocation *call, const struct list *list)
{
	_cleanup_json_ struct json_object *answer = NULL;
	enum status status = client_get(call, list->path, &answer);
	struct json_object *rows;

	if (status != STATUS_DONE)
		return status;
	rows = select_rows(call, list, answer);
	if (!rows) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	json_set(answer, list->key, rows);
	if (list->noun && !json_count(answer, list->key)) {
		term_error("there is no %s '%s'", list->noun, call->args[0]);
		return STATUS_FAILED;
	}
	if (!output_json(call))
		return print_table(call, list, answer);
	output_list(call, answer, list->key);
	return STATUS_DONE;
}
