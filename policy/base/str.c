/* SPDX-License-Identifier: Apache-2.0 */
/* Text under construction, UTF-8 and names; see str.h. */
#include "str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool text_room(struct text *t, size_t more)
{
	size_t want, room;
	char *grown;

	if (t->failed)
		return false;
	if (__builtin_add_overflow(t->len, more, &want) || want == SIZE_MAX) {
		t->failed = true;
		return false;
	}
	want++;
	if (want <= t->room)
		return true;
	room = want > 2 * t->room ? want : 2 * t->room;
	if (room < 128)
		room = 128;
	grown = realloc(t->at, room);
	if (!grown) {
		t->failed = true;
		return false;
	}
	t->at = grown;
	t->room = room;
	return true;
}

void text_add(struct text *t, const char *bytes, size_t len)
{
	if (!text_room(t, len))
		return;
	if (len)
		memcpy(t->at + t->len, bytes, len);
	t->len += len;
	t->at[t->len] = '\0';
}

void text_puts(struct text *t, const char *string)
{
	text_add(t, string, strlen(string));
}

void text_fill(struct text *t, char c, size_t count)
{
	if (!text_room(t, count))
		return;
	memset(t->at + t->len, c, count);
	t->len += count;
	t->at[t->len] = '\0';
}

void text_printf(struct text *t, const char *format, ...)
{
	va_list args, again;
	int len;

	va_start(args, format);
	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, args);
	if (len >= 0 && text_room(t, (size_t)len)) {
		(void)vsnprintf(t->at + t->len, (size_t)len + 1, format,
				again); /* measured above */
		t->len += (size_t)len;
	}
	va_end(again);
	va_end(args);
}

char *text_take(struct text *t)
{
	char *at;

	text_add(t, "", 0);
	if (t->failed) {
		text_done(t);
		return NULL;
	}
	at = TAKE_PTR(t->at);
	*t = (struct text){};
	return at;
}

void text_done(struct text *t)
{
	free(t->at);
	*t = (struct text){};
}

static size_t utf8_length(unsigned char lead)
{
	if (lead < 0x80)
		return 1;
	if (lead >= 0xc2 && lead <= 0xdf)
		return 2;
	if ((lead & 0xf0) == 0xe0)
		return 3;
	if (lead >= 0xf0 && lead <= 0xf4)
		return 4;
	return 0;
}

size_t utf8_next(const char *at, size_t len, uint32_t *ret_code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char lead = (unsigned char)at[0];
	size_t bytes = utf8_length(lead);
	uint32_t code;

	if (!bytes || bytes > len)
		return 0;
	code = bytes == 1 ? lead : lead & (0x7fu >> bytes);
	for (size_t i = 1; i < bytes; i++) {
		if (((unsigned char)at[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | ((unsigned char)at[i] & 0x3f);
	}
	if (code < least[bytes] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	*ret_code = code;
	return bytes;
}

struct code_range {
	uint32_t first, last;
};

static bool in_ranges(uint32_t code, const struct code_range *ranges, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (code >= ranges[i].first && code <= ranges[i].last)
			return true;
	}
	return false;
}

unsigned int code_width(uint32_t code)
{
	static const struct code_range wide[] = {
		{ 0x1100, 0x115f },   { 0x2e80, 0x303e },   { 0x3041, 0xa4cf },
		{ 0xac00, 0xd7a3 },   { 0xf900, 0xfaff },   { 0xfe30, 0xfe6f },
		{ 0xff00, 0xff60 },   { 0xffe0, 0xffe6 },   { 0x1f300, 0x1f64f },
		{ 0x1f900, 0x1f9ff }, { 0x20000, 0x3fffd },
	};
	static const struct code_range none[] = {
		{ 0x300, 0x36f }, { 0x1ab0, 0x1aff }, { 0x20d0, 0x20ff }, { 0xfe00, 0xfe0f }
	};

	if (in_ranges(code, none, sizeof(none) / sizeof(none[0])))
		return 0;
	return in_ranges(code, wide, sizeof(wide) / sizeof(wide[0])) ? 2 : 1;
}

bool code_is_visible(uint32_t code)
{
	static const struct code_range hidden[] = {
		{ 0, 0x1f },          { 0x7f, 0x9f },     { 0xad, 0xad },     { 0x61c, 0x61c },
		{ 0x180e, 0x180e },   { 0x200b, 0x200f }, { 0x2028, 0x202e }, { 0x2060, 0x206f },
		{ 0xd800, 0xdfff },   { 0xfeff, 0xfeff }, { 0xfff0, 0xfffb }, { 0xfffe, 0xffff },
		{ 0xe0000, 0xe0fff },
	};

	return code <= 0x10ffff && !in_ranges(code, hidden, sizeof(hidden) / sizeof(hidden[0]));
}

static bool name_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '.' || c == '-';
}

int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

ssize_t hex_read(const char *text, uint8_t *ret, size_t room)
{
	size_t len = text ? strlen(text) : 0;

	if (!len || len % 2)
		return -EINVAL;
	if (len / 2 > room)
		return -E2BIG;
	for (size_t i = 0; i < len / 2; i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		ret[i] = (uint8_t)(high << 4 | low);
	}
	return (ssize_t)(len / 2);
}

void hex_write(const uint8_t *bytes, size_t len, char *ret)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		*ret++ = digits[bytes[i] >> 4];
		*ret++ = digits[bytes[i] & 15];
	}
	*ret = 0;
}

bool name_is_valid(const char *name, size_t len)
{
	if (!len || len > 63 || name[0] == '-')
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!name_byte(name[i]))
			return false;
	}
	return true;
}
