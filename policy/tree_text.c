/* SPDX-License-Identifier: Apache-2.0 */
/* Is it text, and within the limits? See tree_text.h. */
#include "tree_text.h"

#include <string.h>

#include "str.h"

#define MAX_BAD_CHARACTERS 20

static const struct magic {
	const char *bytes;
	size_t len;
	const char *what;
} magics[] = {
	{ "\x1f\x8b", 2, "starts with 1f 8b, which is gzip" },
	{ "\x28\xb5\x2f\xfd", 4, "starts with 28 b5 2f fd, which is zstd" },
	{ "\xfd"
	  "7zXZ",
	  5, "starts with fd 37 7a, which is xz" },
	{ "BZh", 3, "starts with 42 5a 68, which is bzip2" },
	{ "PK\x03\x04", 4, "starts with 50 4b 03 04, which is zip" },
	{ "\x7f"
	  "ELF",
	  4, "starts with 7f 45 4c 46, which is a program" },
	{ "\xff\xfe", 2, "starts with ff fe, which is UTF-16; save it as UTF-8" },
	{ "\xfe\xff", 2, "starts with fe ff, which is UTF-16; save it as UTF-8" },
};

static const char *find_magic(const struct tree_doc *doc)
{
	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
		if (doc->len >= magics[i].len && !memcmp(doc->text, magics[i].bytes, magics[i].len))
			return magics[i].what;
	}
	/* UTF-16 without a byte order mark: every second byte of ASCII is NUL. */
	if (doc->len >= 4 && !doc->text[0] && doc->text[1] && !doc->text[2] && doc->text[3])
		return "looks like UTF-16, big endian; save it as UTF-8";
	if (doc->len >= 4 && doc->text[0] && !doc->text[1] && doc->text[2] && !doc->text[3])
		return "looks like UTF-16, little endian; save it as UTF-8";
	return NULL;
}

static int find_lines(struct tree_doc *doc)
{
	const char *at = doc->text, *end = doc->text + doc->len;
	int err = vec_push(&doc->lines, 0);

	while (!err && at < end) {
		const char *line = memchr(at, '\n', (size_t)(end - at));

		if (!line)
			break;
		at = line + 1;
		err = vec_push(&doc->lines, (size_t)(at - doc->text));
	}
	return err;
}

static int check_lines(struct diag_list *diags, const struct tree_doc *doc)
{
	for (size_t i = 0; i < doc->lines.count; i++) {
		size_t end = i + 1 < doc->lines.count ? doc->lines.at[i + 1] : doc->len;
		size_t len = end - doc->lines.at[i];

		if (len > TREE_MAX_LINE_BYTES) {
			diag_error(diags, tree_span(doc, doc->lines.at[i], 1), "too-large",
				   "line of %zu bytes is over the limit of %u bytes", len,
				   TREE_MAX_LINE_BYTES);
			return -EINVAL;
		}
	}
	return 0;
}

static const char *describe(uint32_t code)
{
	if (!code)
		return " (NUL)";
	if (code == '\r')
		return " (carriage return without line feed)";
	if (code == 0x7f || code < 0x20 || (code >= 0x80 && code < 0xa0))
		return " (control character)";
	if ((code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
	    code == 0x61c || code == 0x200e || code == 0x200f)
		return " (bidirectional mark: the text is not what it looks like)";
	return " (invisible)";
}

/* True when the character at `at` may stand in a policy. */
static bool may_stand(const struct tree_doc *doc, size_t at, uint32_t code)
{
	if (code == '\r')
		return at + 1 < doc->len && doc->text[at + 1] == '\n';
	return code == '\n' || code == '\t' || code_is_visible(code);
}

static int check_characters(struct diag_list *diags, struct tree_doc *doc)
{
	size_t bytes, bad = 0;

	for (size_t at = 0; at < doc->len && bad < MAX_BAD_CHARACTERS; at += bytes) {
		uint32_t code;

		bytes = 1;
		if (doc->text[at] >= ' ' && doc->text[at] <= '~')
			continue;
		bytes = utf8_next(doc->text + at, doc->len - at, &code);
		doc->wide |= bytes > 1;
		if (!bytes) {
			diag_error(diags, tree_span(doc, at, 1), "not-text",
				   "byte 0x%02x at offset %zu is not UTF-8 text",
				   (unsigned char)doc->text[at], at);
			return -EINVAL;
		}
		if (may_stand(doc, at, code))
			continue;
		bad++;
		diag_error(diags, tree_span(doc, at, bytes), "bad-character",
			   "unexpected character U+%04X%s at offset %zu", code, describe(code), at);
	}
	return bad ? -EINVAL : 0;
}

int tree_check_text(struct diag_list *diags, struct tree_doc *doc)
{
	struct span whole = { .source = doc->source };
	const char *magic;
	int err;

	if (doc->len > TREE_MAX_BYTES) {
		diag_error(diags, whole, "too-large",
			   "file of %zu bytes is over the limit of %u bytes", doc->len,
			   TREE_MAX_BYTES);
		return -EINVAL;
	}
	magic = find_magic(doc);
	if (magic) {
		diag_error(diags, whole, "not-text", "not a text policy: %s", magic);
		return -EINVAL;
	}
	if (doc->len >= 3 && !memcmp(doc->text, "\xef\xbb\xbf", 3)) {
		diag_error(
			diags, whole, "not-text",
			"file starts with ef bb bf, a byte order mark; save it as UTF-8 without one");
		doc->text += 3;
		doc->len -= 3;
		diags->sources.at[doc->source].text = doc->text;
		diags->sources.at[doc->source].len = doc->len;
	}
	err = find_lines(doc);
	if (!err)
		err = check_lines(diags, doc);
	if (!err)
		err = check_characters(diags, doc);
	return err;
}
