/* SPDX-License-Identifier: Apache-2.0 */
/* Text: a buffer that grows, UTF-8 by code points, and what a terminal can be given. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"

/*
 * A text under construction, always NUL-terminated once anything was added. An allocation that failed is
 * remembered, later additions do nothing, and text_take() gives NULL: one check at the end is enough.
 */
struct text {
	char *at;
	size_t len, room;
	bool failed;
};

void text_add(struct text *t, const char *bytes, size_t len);
void text_puts(struct text *t, const char *string);
void text_fill(struct text *t, char c, size_t count);
void text_printf(struct text *t, const char *format, ...) _printf_(2, 3);

/* The malloc()ed string, "" when nothing was added; NULL when out of memory. The text is empty after. */
char *text_take(struct text *t) _must_check_;
void text_done(struct text *t);

/* Bytes of the first character of at[0..len), 0 when it is no valid UTF-8. len is not 0. */
size_t utf8_next(const char *at, size_t len, uint32_t *ret_code);

/* Columns a terminal needs for a character that code_is_visible(). */
unsigned int code_width(uint32_t code);

/* False for what a terminal would obey or hide: control characters, bidirectional marks, separators. */
bool code_is_visible(uint32_t code);

/* The value of a hexadecimal digit of either case, -1 for any other character. */
int hex_digit(char c);

/*
 * Bytes of a text of two digits each and nothing else. How many; -EINVAL when it is no such text, or an empty one,
 * -E2BIG when there is no room for them. Text may be NULL, which is none.
 */
ssize_t hex_read(const char *text, uint8_t *ret, size_t room);

/* Two lower-case digits a byte and an end: 2 * len + 1 characters. */
void hex_write(const uint8_t *bytes, size_t len, char *ret);

/* A name as the grammar allows it: 1 to 63 of A-Z a-z 0-9 _ . -, not starting with a dash. */
bool name_is_valid(const char *name, size_t len);
