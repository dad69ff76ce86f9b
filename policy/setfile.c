/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Set files, line by line. A feed may hold millions of lines, and a damaged one as many errors:
 * reading goes on to the end, memory stays bounded by what the set may hold and by the number of
 * errors kept.
 */
#include "setfile.h"

#include <inttypes.h>
#include <string.h>

#define ERRORS_KEPT 100

struct reader {
	struct diag_list *diags;
	uint32_t source;
	uint64_t max;
	struct prefix_set *set;
	uint64_t line, prefixes, errors;
};

static struct span place(const struct reader *r, size_t col, size_t len)
{
	return (struct span){ .source = r->source, .line = r->line, .col = col + 1, .len = len };
}

/* True while errors are still recorded one by one. */
static bool keep_error(struct reader *r)
{
	return r->errors++ < ERRORS_KEPT;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Ends the address on a line; a vertical tab and the like are left to be refused with it. */
static bool ends_token(char c)
{
	return is_blank(c) || c == '#' || c == ';';
}

static int read_line(struct reader *r, const char *line, size_t len)
{
	struct addr_error error;
	struct prefix prefix;
	size_t from = 0, to;

	if (len > SETFILE_MAX_LINE) {
		if (keep_error(r))
			diag_error(r->diags, place(r, 0, 1), "line-too-long",
				   "the line has %zu bytes, %zu more than the limit of %d", len,
				   len - SETFILE_MAX_LINE, SETFILE_MAX_LINE);
		return 0;
	}
	if (r->line == 1 && len >= 3 && !memcmp(line, "\xef\xbb\xbf", 3))
		from = 3; /* a byte order mark; columns go on counting the file's bytes */
	while (from < len && is_blank(line[from]))
		from++;
	to = from;
	while (to < len && !ends_token(line[to]))
		to++;
	if (to == from)
		return 0;
	if (!prefix_parse(line + from, to - from, &prefix, &error)) {
		if (keep_error(r))
			diag_error(r->diags, place(r, from + error.at, error.len), error.code, "%s",
				   error.message);
		return 0;
	}
	r->prefixes++;
	if (r->max && r->prefixes > r->max)
		return 0; /* only counted: the set is refused, and its memory stays bounded */
	return prefix_set_add(r->set, &prefix);
}

/* What no line of a text can mean: compressed files, UTF-16, binary data. True when it said so. */
static bool refuse_binary(struct reader *r, const char *text, size_t len)
{
	const char *nul;

	if (len > SETFILE_MAX_BYTES) {
		diag_error(r->diags, place(r, 0, 1), "file-too-large",
			   "the file has %zu bytes, more than the limit of %u", len,
			   SETFILE_MAX_BYTES);
		return true;
	}
	if (len >= 2 && !memcmp(text, "\x1f\x8b", 2)) {
		diag_error(
			r->diags, place(r, 0, 1), "not-text",
			"not a text file: it starts with 1f 8b, as gzip files do; decompress it first");
		return true;
	}
	if (len >= 2 && (!memcmp(text, "\xff\xfe", 2) || !memcmp(text, "\xfe\xff", 2))) {
		diag_error(r->diags, place(r, 0, 1), "not-text",
			   "not a text file in UTF-8: it starts with a byte order mark of UTF-16");
		return true;
	}
	nul = len ? memchr(text, 0, len) : NULL;
	if (nul) {
		diag_error(r->diags, place(r, 0, 1), "not-text",
			   "not a text file: a NUL byte at offset %zu", (size_t)(nul - text));
		return true;
	}
	return false;
}

static void report_totals(struct reader *r)
{
	const char *name = r->diags->sources.at[r->source].name;

	r->line = 0;
	if (r->errors > ERRORS_KEPT)
		diag_error(r->diags, place(r, 0, 1), "too-many-errors",
			   "%" PRIu64 " more lines of the file are wrong", r->errors - ERRORS_KEPT);
	if (r->max && r->prefixes > r->max)
		diag_error(r->diags, place(r, 0, 1), "over-max",
			   "set file '%s' has %" PRIu64 " prefixes, %" PRIu64
			   " more than the limit of %" PRIu64 "; raise 'max'",
			   diag_quote(r->diags, name, strlen(name)), r->prefixes,
			   r->prefixes - r->max, r->max);
}

int setfile_read(struct diag_list *diags, uint32_t source, uint64_t max, struct prefix_set *set)
{
	struct reader r = { .diags = diags, .source = source, .max = max, .set = set };
	const char *at = diags->sources.at[source].text;
	const char *end = at + diags->sources.at[source].len;

	if (refuse_binary(&r, at, end - at))
		return 0;
	while (at < end) {
		const char *newline = memchr(at, '\n', end - at);
		size_t len = (newline ? newline : end) - at;
		int error;

		r.line++;
		error = read_line(&r, at, len);
		if (error)
			return error;
		at += len + 1;
	}
	report_totals(&r);
	return 0;
}
