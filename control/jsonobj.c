/* SPDX-License-Identifier: Apache-2.0 */
/* See jsonobj.h. */
#include "jsonobj.h"

#include <limits.h>
#include <string.h>

#define DEPTH 16 /* of what we exchange; a deeper text is refused, not recursed into */

struct json_object *json_vtext(const char *format, va_list args)
{
	_cleanup_free_ char *text = NULL;

	if (vasprintf(&text, format, args) < 0)
		text = NULL; /* vasprintf() leaves it undefined */
	return text ? json_object_new_string(text) : NULL;
}

void json_append_text(struct json_object *array, const char *format, ...)
{
	struct json_object *text;
	va_list args;

	va_start(args, format);
	text = json_vtext(format, args);
	va_end(args);
	if (text)
		(void)json_object_array_add(array, text); /* short of memory: a row less */
}

/* Without JSON_TOKENER_STRICT: json-c 0.18 then refuses all that is not ASCII (json-c issue 875). */
struct json_object *json_read(const char *text, size_t len)
{
	struct json_tokener *tok = len <= INT_MAX ? json_tokener_new_ex(DEPTH) : NULL;
	struct json_object *json;
	size_t end;

	if (!tok)
		return NULL;
	json = json_tokener_parse_ex(tok, text, (int)len);
	end = json_tokener_get_parse_end(tok);
	while (end < len && strchr(" \t\r\n", text[end]) && text[end])
		end++;
	if (json_tokener_get_error(tok) != json_tokener_success || end != len)
		json_put(&json);
	json_tokener_free(tok);
	return json;
}
