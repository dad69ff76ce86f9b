/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short spellings for json-c. A member whose allocation fails is left out: an answer that is short of a
 * member is refused by its reader, and nothing that decides about packets is built with these.
 */
#pragma once

#include <stdarg.h>
#include <stdint.h>

#include <json-c/json.h>

#include "cleanup.h"

static inline void json_put(struct json_object **json)
{
	json_object_put(*json);
	*json = NULL;
}

/* How we write: short, and paths as people read them. */
#define JSON_TEXT_FLAGS (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

#define _cleanup_json_ __attribute__((cleanup(json_put)))

static inline void json_add(struct json_object *to, const char *key, struct json_object *value)
{
	(void)json_object_object_add(to, key, value); /* see above */
}

static inline void json_add_text(struct json_object *to, const char *key, const char *text)
{
	json_add(to, key, text ? json_object_new_string(text) : NULL);
}

static inline void json_add_u64(struct json_object *to, const char *key, uint64_t n)
{
	json_add(to, key, json_object_new_uint64(n));
}

/* NULL when there is no such member or it is no text. */
static inline const char *json_text(struct json_object *from, const char *key)
{
	struct json_object *value = NULL;

	if (!json_object_is_type(from, json_type_object) ||
	    !json_object_object_get_ex(from, key, &value) ||
	    !json_object_is_type(value, json_type_string))
		return NULL;
	return json_object_get_string(value);
}

/* NULL when there is no such member or it is of another type. */
static inline struct json_object *json_member(struct json_object *from, const char *key,
					      enum json_type type)
{
	struct json_object *value = NULL;

	if (!json_object_is_type(from, json_type_object) ||
	    !json_object_object_get_ex(from, key, &value) || !json_object_is_type(value, type))
		return NULL;
	return value;
}

/* A text; NULL without memory for it. */
struct json_object *json_vtext(const char *format, va_list args) _printf_(1, 0);

/* The same at the end of an array. */
void json_append_text(struct json_object *array, const char *format, ...) _printf_(2, 3);

/* All of text must be one JSON value; NULL when it is not. */
struct json_object *json_read(const char *text, size_t len);
