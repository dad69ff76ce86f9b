/* SPDX-License-Identifier: Apache-2.0 */
/* See term.h. Text is UTF-8 here, whatever the locale. */
#include "term.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "str.h"

static bool is_safe(uint32_t c, enum term_kind kind)
{
	if (c == '\n' || c == '\t')
		return kind != TERM_LINE;
	return code_is_visible(c);
}

static void write_json_escape(FILE *f, uint32_t c)
{
	if (c > 0xffff)
		fprintf(f, "\\u%04" PRIx32 "\\u%04" PRIx32, 0xd7c0 + (c >> 10),
			0xdc00 + (c & 0x3ff));
	else
		fprintf(f, "\\u%04" PRIx32, c);
}

void term_write(FILE *f, const char *text, enum term_kind kind)
{
	for (size_t left = strlen(text), len; left; text += len, left -= len) {
		uint32_t c = 0;
		bool valid = (len = utf8_next(text, left, &c));

		len = valid ? len : 1;
		if (valid && is_safe(c, kind))
			fwrite(text, 1, len, f);
		else if (kind == TERM_JSON)
			write_json_escape(f, valid ? c : 0xfffd);
		else if (!valid || c <= 0xff)
			fprintf(f, "\\x%02x", valid ? c : (unsigned char)*text);
		else
			fprintf(f, "\\u%04" PRIx32, c);
	}
}

char *term_escape(const char *text, enum term_kind kind)
{
	_cleanup_free_ char *out = NULL;
	size_t bytes;
	FILE *f = open_memstream(&out, &bytes);
	bool bad;

	if (!f)
		return NULL;
	term_write(f, text, kind);
	bad = ferror(f);
	if (fclose(f) || bad)
		return NULL;
	return TAKE_PTR(out);
}

void term_verror(const char *format, va_list args)
{
	_cleanup_free_ char *message = NULL;

	if (vasprintf(&message, format, args) < 0)
		message = NULL; /* vasprintf() leaves it undefined */
	fputs("penstock: ", stderr);
	term_write(stderr, message ?: "out of memory", TERM_LINE);
	fputc('\n', stderr);
}

void term_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	term_verror(format, args);
	va_end(args);
}

const char *term_number(uint64_t n, char buf[static TERM_NUMBER])
{
	char digits[TERM_NUMBER];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, n);
	char *out = buf;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			*out++ = ',';
		*out++ = digits[i];
	}
	*out = '\0';
	return buf;
}

const char *term_bytes(uint64_t n, char buf[static TERM_NUMBER])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)n;
	size_t unit = 0;

	for (; value >= 1024; unit++)
		value /= 1024;
	if (unit)
		snprintf(buf, TERM_NUMBER, "%.1f %s", value, units[unit]);
	else
		snprintf(buf, TERM_NUMBER, "%" PRIu64 " B", n);
	return buf;
}

const char *term_duration(uint64_t ms, char buf[static TERM_NUMBER])
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {
		{ "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 }
	};
	size_t unit = 0;
	int len;

	while (units[unit].ms > 1 && ms < units[unit].ms)
		unit++;
	len = snprintf(buf, TERM_NUMBER, "%" PRIu64 "%s", ms / units[unit].ms, units[unit].name);
	ms %= units[unit].ms;
	if (units[unit].ms > 1000 && ms / units[unit + 1].ms)
		snprintf(buf + len, TERM_NUMBER - (size_t)len, " %" PRIu64 "%s",
			 ms / units[unit + 1].ms, units[unit + 1].name);
	return buf;
}

const char *term_count(uint64_t n, const char *noun, char buf[static TERM_COUNT])
{
	char number[TERM_NUMBER];

	snprintf(buf, TERM_COUNT, "%s %s%s", term_number(n, number), noun, n == 1 ? "" : "s");
	return buf;
}
