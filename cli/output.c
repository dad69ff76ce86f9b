/* SPDX-License-Identifier: Apache-2.0 */
/* See output.h. */
#include "output.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "term.h"

#define DEFAULT_ROWS 1000

void json_putp(struct json_object **object)
{
	json_object_put(*object);
	*object = NULL;
}

struct json_object *json_member(struct json_object *object, const char *key)
{
	struct json_object *value = NULL;

	if (!json_object_is_type(object, json_type_object))
		return NULL;
	return json_object_object_get_ex(object, key, &value) ? value : NULL;
}

const char *json_text(struct json_object *object, const char *key)
{
	struct json_object *value = json_member(object, key);

	return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
}

uint64_t json_number(struct json_object *object, const char *key)
{
	struct json_object *value = json_member(object, key);

	return json_object_is_type(value, json_type_int) ? json_object_get_uint64(value) : 0;
}

size_t json_count(struct json_object *object, const char *key)
{
	struct json_object *value = json_member(object, key);

	return json_object_is_type(value, json_type_array) ? json_object_array_length(value) : 0;
}

struct json_object *json_at(struct json_object *object, const char *key, size_t i)
{
	if (i >= json_count(object, key))
		return NULL;
	return json_object_array_get_idx(json_member(object, key), i);
}

void json_set(struct json_object *object, const char *key, struct json_object *value)
{
	if (json_object_object_add(object, key, value))
		json_object_put(value);
}

struct json_object *json_document(void)
{
	struct json_object *document = json_object_new_object();

	if (document)
		json_set(document, "schema", json_object_new_int(1));
	return document;
}

bool output_json(const struct invocation *call)
{
	return call->value[OPTION_JSON];
}

static void print(struct json_object *object, int flags)
{
	const char *text = json_object_to_json_string_ext(object, flags);

	term_write(stdout, text ?: "null", TERM_JSON);
	putchar('\n');
}

void output_document(struct json_object *document)
{
	int pretty = isatty(STDOUT_FILENO) ? JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED : 0;

	print(document, JSON_C_TO_STRING_NOSLASHESCAPE | pretty);
}

void output_line(struct json_object *object)
{
	_cleanup_json_ struct json_object *line = json_document();

	json_object_object_foreach(object, key, value) json_set(line, key, json_object_get(value));
	print(line, JSON_C_TO_STRING_NOSLASHESCAPE);
}

size_t output_limit(const struct invocation *call, size_t rows)
{
	const char *limit = call->value[OPTION_LIMIT];
	size_t most = limit ? strtoul(limit, NULL, 10) : DEFAULT_ROWS;

	if (call->value[OPTION_ALL])
		return rows;
	return rows < most ? rows : most;
}

void output_list(const struct invocation *call, struct json_object *document, const char *key)
{
	size_t rows = json_count(document, key), shown = output_limit(call, rows);

	if (call->value[OPTION_ALL]) {
		for (size_t i = 0; i < rows && !ferror(stdout); i++)
			output_line(json_at(document, key, i));
		return;
	}
	if (shown < rows) {
		json_object_array_del_idx(json_member(document, key), shown, rows - shown);
		json_set(document, "rows_total", json_object_new_uint64(rows));
	}
	output_document(document);
}

void output_rest(const struct invocation *call, size_t rows)
{
	size_t shown = output_limit(call, rows);
	char a[TERM_NUMBER], b[TERM_NUMBER];

	if (shown < rows)
		term_error("%s of %s rows; --all prints them all", term_number(shown, a),
			   term_number(rows, b));
}
