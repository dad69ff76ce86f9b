/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words and numbers on their way to a person. Text that came from elsewhere (file names, messages, what
 * the daemon says) reaches a terminal through this module only.
 */
#pragma once

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "cleanup.h"

enum term_kind {
	TERM_LINE,  /* one line: control bytes, newlines and tabs too, are written as \xNN */
	TERM_BLOCK, /* several lines: newlines and tabs are kept */
	TERM_JSON,  /* a JSON document: as TERM_BLOCK, but with \u escapes that JSON readers undo */
};

/*
 * Writes text with everything escaped that could steer a terminal or reorder what is read: C0 and C1
 * controls, DEL, line separators, bidirectional marks and bytes that are not UTF-8.
 */
void term_write(FILE *f, const char *text, enum term_kind kind);

/* The same into a new string; NULL when out of memory. */
char *term_escape(const char *text, enum term_kind kind) _must_check_;

/* "penstock: …" on stderr, escaped, with a newline. */
void term_error(const char *format, ...) _printf_(1, 2);
void term_verror(const char *format, va_list args) _printf_(1, 0);

/* For people: "1,234,567", "4.2 MiB". The result is buf. */
#define TERM_NUMBER 32
const char *term_number(uint64_t n, char buf[static TERM_NUMBER]);
const char *term_bytes(uint64_t n, char buf[static TERM_NUMBER]);

/* The two largest units: "45s", "59m 30s", "2d 3h"; below a second "250ms". */
const char *term_duration(uint64_t ms, char buf[static TERM_NUMBER]);

/* "1 rule", "1,234 rules". */
#define TERM_COUNT 64
const char *term_count(uint64_t n, const char *noun, char buf[static TERM_COUNT]);
