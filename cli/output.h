/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What verbs print on stdout: JSON documents and lists of rows with their limit. Also reading members
 * of JSON that the daemon sent, where what is missing is empty rather than a crash.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"
#include "command.h"

struct json_object;

void json_putp(struct json_object **object);
#define _cleanup_json_ _cleanup_(json_putp)

/* Members of an object: NULL, "", 0 when there is none. Borrowed. */
struct json_object *json_member(struct json_object *object, const char *key);
const char *json_text(struct json_object *object, const char *key);
uint64_t json_number(struct json_object *object, const char *key);

/* Elements of an array member; 0 and NULL when there is none. */
size_t json_count(struct json_object *object, const char *key);
struct json_object *json_at(struct json_object *object, const char *key, size_t i);

/* Sets a member of our own documents; takes the value. Memory that runs out shows as a missing member. */
void json_set(struct json_object *object, const char *key, struct json_object *value);

/* {schema: 1}, NULL when out of memory. */
struct json_object *json_document(void) _must_check_;

bool output_json(const struct invocation *call); /* --json */

/* One document and a newline; indented on a terminal. */
void output_document(struct json_object *document);

/* One line of a stream, with `schema`. */
void output_line(struct json_object *object);

/* The rows that the user asked for: all, --limit N, or 1000. */
size_t output_limit(const struct invocation *call, size_t rows);

/*
 * --json of a list: the document, its array `key` cut to the limit (then `rows_total` says how many there
 * were), or with --all one object a line.
 */
void output_list(const struct invocation *call, struct json_object *document, const char *key);

/* On stderr, when rows were left out of a table. */
void output_rest(const struct invocation *call, size_t rows);
