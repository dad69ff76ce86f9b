/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with a policy, where, and what would be right. Stages append, nobody prints: the CLI and
 * the daemon render the list when all stages are done, so that one run reports every error.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "vec.h"

struct json_object;

/* A place in a source. Lines and columns count from 1, columns in bytes; line 0: the file as a whole. */
struct span {
	uint32_t source; /* index in the diag_list's sources */
	uint32_t line;
	uint32_t col;
	uint32_t len; /* bytes to underline, at least 1, never past the end of the line */
};

/* Text is borrowed and must outlive the list. name is what the user typed: `edge.yaml`, `lists/us.txt`. */
struct diag_source {
	const char *name;
	const char *text;
	size_t len;
};

enum diag_severity {
	DIAG_ERROR,
	DIAG_WARNING,
	DIAG_SEVERITY_COUNT,
};

struct diag_note {
	struct span span;
	const char *message;
};

/*
 * code: stable, for machines: "unknown-key", "not-carried-out", … listed in diag_codes.h.
 * Messages are lower case, no full stop, user text in single quotes, escaped and cut by diag_quote().
 */
struct diag {
	enum diag_severity severity;
	const char *code;
	struct span span;
	const char *message;
	VEC(struct diag_note) notes;
};

struct diag_list {
	struct arena arena; /* owns messages */
	VEC(struct diag_source) sources;
	VEC(struct diag) diags;
	size_t errors, warnings;
	bool out_of_memory; /* something could not be recorded: the run failed */
};

void diag_done(struct diag_list *list);

/* Returns the source's index for spans. */
uint32_t diag_add_source(struct diag_list *list, const char *name, const char *text, size_t len);

/* Appends an error or a warning. Never fails to the caller: see out_of_memory. */
void diag_error(struct diag_list *list, struct span span, const char *code, const char *format, ...)
	_printf_(4, 5);
void diag_warning(struct diag_list *list, struct span span, const char *code, const char *format,
		  ...) _printf_(4, 5);

/* Adds a second place to the diagnostic appended last. */
void diag_note(struct diag_list *list, struct span span, const char *format, ...) _printf_(3, 4);

/*
 * User text made safe for a message: control bytes, quotes and invalid UTF-8 escaped, cut after 60 bytes
 * with "…". Owned by the list; "" when out of memory.
 */
const char *diag_quote(struct diag_list *list, const char *text, size_t len);

/* The candidate nearest to text (edit distance, transpositions count one), NULL when none is near. */
const char *diag_nearest(const char *text, const char *const candidates[], size_t count);

/*
 * Human form, errors and warnings in source order (by source, line, column), at most `limit`
 * diagnostics (0: all), errors rather than warnings, and then "and N more". Returned text is malloc()ed;
 * NULL when out of memory.
 */
char *diag_render(const struct diag_list *list, size_t limit);

/* {errors: N, warnings: N, diagnostics: [{severity, code, file, line, column, length, message, notes}]} */
struct json_object *diag_to_json(const struct diag_list *list);

/* Renders what diag_to_json() made, given back by the daemon; source lines travel in `text` members. */
char *diag_render_json(struct json_object *json, size_t limit);
