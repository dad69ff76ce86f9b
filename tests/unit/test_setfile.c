/* SPDX-License-Identifier: Apache-2.0 */
/* Set files: what feeds look like, and what is said of those that are damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "setfile.h"

#define FEED_PATH "../shared/data/blocklists/ipsum.txt"

struct reading {
	struct diag_list diags;
	struct prefix_set set;
};

static void read_bytes(struct reading *r, const char *text, size_t len, uint64_t max)
{
	uint32_t source = diag_add_source(&r->diags, "lists/a.txt", text, len);

	assert_int_equal(setfile_read(&r->diags, source, max, &r->set), 0);
	assert_int_equal(prefix_set_seal(&r->set), 0);
}

static void read_text(struct reading *r, const char *text)
{
	read_bytes(r, text, strlen(text), 0);
}

static void reading_done(struct reading *r)
{
	diag_done(&r->diags);
	prefix_set_done(&r->set);
}

/* Rules out splitting at blanks only, and losing the last line of a file without a newline. */
static void test_forms(void **state)
{
	_cleanup_(reading_done) struct reading r = {};

	(void)state;
	read_text(&r, "\xef\xbb\xbf# a feed\r\n"
		      "192.0.2.1\r\n"
		      "\n"
		      "   \t \n"
		      "192.0.2.2\t10 reports\n"
		      "  192.0.2.3  # indented\n"
		      "192.0.2.4#close\n"
		      "198.51.100.0/24 ; SBL1234\n"
		      "203.0.113.0/24;close\n"
		      "; a comment\n"
		      "2001:db8::/32 text with 300.0.0.1 in it\n"
		      "2001:db8:1::1");
	assert_int_equal(r.diags.errors, 0);
	assert_int_equal(r.set.given, 8);
	assert_int_equal(r.set.v4.count, 3);
	assert_int_equal(r.set.v6.count, 1); /* the last lies inside the one before */
	assert_int_equal(r.set.covered, 1);
}

static void test_empty(void **state)
{
	_cleanup_(reading_done) struct reading r = {};

	(void)state;
	read_text(&r, "");
	read_text(&r, "\n\n#\n");
	assert_int_equal(r.diags.errors, 0);
	assert_int_equal(r.set.given, 0);
}

static void expect(const struct reading *r, size_t i, const char *code, uint32_t line, uint32_t col,
		   uint32_t len)
{
	const struct diag *d = &r->diags.diags.at[i];

	assert_true(i < r->diags.diags.count);
	assert_string_equal(d->code, code);
	assert_int_equal(d->span.line, line);
	assert_int_equal(d->span.col, col);
	assert_int_equal(d->span.len, len);
}

/*
 * Rules out stopping at the first error, and columns counted from the address instead of the line.
 */
static void test_errors_have_places(void **state)
{
	_cleanup_(reading_done) struct reading r = {};

	(void)state;
	read_text(&r, "192.0.2.1\n"
		      "  192.0.2.256\n"
		      "192.0.2.7/24 text\n"
		      "# fine\n"
		      "hello\r\n"
		      "192.0.2.9,5\n"
		      "192.0.2.8\n");
	assert_int_equal(r.diags.errors, 4);
	expect(&r, 0, "bad-address", 2, 11, 3);
	expect(&r, 1, "host-bits", 3, 1, 12);
	expect(&r, 2, "bad-address", 5, 1, 5);
	expect(&r, 3, "bad-address", 6, 1, 11);
	assert_int_equal(r.set.given, 2);
}

static void test_byte_order_mark_counts_as_bytes(void **state)
{
	_cleanup_(reading_done) struct reading r = {};

	(void)state;
	read_text(&r, "\xef\xbb\xbfnonsense\n");
	expect(&r, 0, "bad-address", 1, 4, 8);
}

/* Rules out one diagnostic for each of a million bad lines. */
static void test_many_errors(void **state)
{
	_cleanup_(reading_done) struct reading r = {};
	char text[2 * 250 + 1] = "";

	(void)state;
	for (int i = 0; i < 250; i++)
		memcpy(text + 2 * i, "x\n", 2);
	read_text(&r, text);
	assert_int_equal(r.diags.errors, 101);
	expect(&r, 99, "bad-address", 100, 1, 1);
	expect(&r, 100, "too-many-errors", 0, 1, 1);
	assert_non_null(strstr(r.diags.diags.at[100].message, "150 more"));
}

/* Rules out a limit that is off by one, and a set that grows past it. */
static void test_max(void **state)
{
	static const char text[] = "192.0.2.1\n192.0.2.2\n192.0.2.3\n";
	_cleanup_(reading_done) struct reading fits = {}, over = {};

	(void)state;
	read_bytes(&fits, text, strlen(text), 3);
	assert_int_equal(fits.diags.errors, 0);
	read_bytes(&over, text, strlen(text), 2);
	assert_int_equal(over.diags.errors, 1);
	expect(&over, 0, "over-max", 0, 1, 1);
	assert_string_equal(
		over.diags.diags.at[0].message,
		"set file 'lists/a.txt' has 3 prefixes, 1 more than the limit of 2; raise 'max'");
	assert_int_equal(over.set.given, 2);
}

static void expect_only(const char *text, size_t len, const char *code, uint32_t line,
			const char *says)
{
	_cleanup_(reading_done) struct reading r = {};

	read_bytes(&r, text, len, 0);
	assert_int_equal(r.diags.errors, 1);
	assert_string_equal(r.diags.diags.at[0].code, code);
	assert_int_equal(r.diags.diags.at[0].span.line, line);
	assert_non_null(strstr(r.diags.diags.at[0].message, says));
}

/* Rules out a hundred errors of garbage where one says what the file is. */
static void test_not_text(void **state)
{
	static char line[SETFILE_MAX_LINE + 2];

	(void)state;
	expect_only("\x1f\x8b\x08zip", 6, "not-text", 0, "1f 8b");
	expect_only("\xff\xfe"
		    "1\0",
		    4, "not-text", 0, "UTF-16");
	expect_only("1.2.3.4\n\0\n", 10, "not-text", 0, "offset 8");
	expect_only("", SETFILE_MAX_BYTES + 1, "file-too-large", 0, "600000000");
	memset(line, '1', sizeof(line));
	line[SETFILE_MAX_LINE + 1] = '\n';
	expect_only(line, sizeof(line), "line-too-long", 1,
		    "4097 bytes, 1 more than the limit of 4096");
}

/* The real thing where it is there; its shape is otherwise tested through bench/gen/feed-gen. */
static void test_feed(void **state)
{
	_cleanup_(reading_done) struct reading r = {};
	_cleanup_fclose_ FILE *f = fopen(FEED_PATH, "r");
	_cleanup_free_ char *text = NULL;
	size_t len, room = 8 << 20;

	(void)state;
	if (!f) {
		print_message("skipped: no %s\n", FEED_PATH);
		skip();
	}
	text = malloc(room);
	assert_non_null(text);
	len = fread(text, 1, room, f);
	read_bytes(&r, text, len, 0);
	assert_int_equal(r.diags.errors, 0);
	assert_int_equal(r.set.given, 120430);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_errors_have_places),
		cmocka_unit_test(test_byte_order_mark_counts_as_bytes),
		cmocka_unit_test(test_many_errors),
		cmocka_unit_test(test_max),
		cmocka_unit_test(test_not_text),
		cmocka_unit_test(test_feed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
