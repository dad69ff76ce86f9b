/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of YAML: byte columns, spans of parts, and limits that must be met early. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "str.h"
#include "tree.h"

static int read_text(struct diag_list *diags, struct tree_doc *doc, const char *text)
{
	return tree_read(diags, "t", text, strlen(text), doc);
}

static void test_byte_columns(void **state)
{
	struct diag_list diags = {};
	struct tree_doc doc;
	struct tree_node *b;

	(void)state;
	assert_int_equal(read_text(&diags, &doc,
				   "a: {x: \"\xc3\xa9\xe2\x82\xac\", b: \"cd\\x21e\", c: 'fgh'}\n"),
			 0);
	b = doc.root->first->first->next;
	assert_string_equal(b->text, "cd!e");
	assert_int_equal(b->key->span.col, 17);
	assert_int_equal(b->span.col, 20);
	assert_int_equal(b->span.len, 9);
	/* An escape hides where its parts stand: all of the value is shown. */
	assert_int_equal(tree_part(b, 2, 1).len, 9);
	assert_int_equal(tree_part(b->next, 1, 1).col, b->next->span.col + 2);
	tree_done(&doc);
	diag_done(&diags);
}

static void test_spans_of_collections(void **state)
{
	struct diag_list diags = {};
	struct tree_doc doc;

	(void)state;
	assert_int_equal(read_text(&diags, &doc, "a:\n  b: [1,\n    2]\n  c:\nd: {}\n"), 0);
	assert_int_equal(doc.root->count, 2);
	assert_int_equal(doc.root->first->first->span.line, 2);
	assert_int_equal(doc.root->first->first->span.len, 3);
	assert_true(tree_is_empty(doc.root->first->first->next));
	assert_int_equal(doc.root->first->first->next->span.line, 4);
	tree_done(&doc);
	diag_done(&diags);
}

static void expect_error(const char *text, size_t len, const char *code)
{
	struct diag_list diags = {};
	struct tree_doc doc;

	assert_int_equal(tree_read(&diags, "t", text, len, &doc), -EINVAL);
	assert_int_equal(diags.errors, 1);
	assert_string_equal(diags.diags.at[0].code, code);
	tree_done(&doc);
	diag_done(&diags);
}

static void test_limits(void **state)
{
	struct text text = {};

	(void)state;
	text_puts(&text, "a: ");
	text_fill(&text, 'x', TREE_MAX_LINE_BYTES);
	expect_error(text.at, text.len, "too-large");
	text_done(&text);

	text_puts(&text, "a: ");
	text_fill(&text, '[', 100000);
	expect_error(text.at, text.len, "too-large");
	text_done(&text);

	text_fill(&text, '\n', TREE_MAX_BYTES + 1);
	expect_error(text.at, text.len, "too-large");
	text_done(&text);
}

/* Many keys and long lines must not take time by their square. */
static void test_many_keys(void **state)
{
	struct diag_list diags = {};
	struct text text = {};
	struct tree_doc doc;

	(void)state;
	text_puts(&text, "{");
	for (int i = 0; i < 50000; i++)
		text_printf(&text, "k%d: %d, ", i, i);
	text_puts(&text, "k7: 0}\n");
	assert_int_equal(tree_read(&diags, "t", text.at, text.len, &doc), 0);
	assert_int_equal(doc.root->count, 50000);
	assert_int_equal(diags.errors, 1);
	assert_string_equal(diags.diags.at[0].code, "duplicate-key");
	tree_done(&doc);
	diag_done(&diags);
	text_done(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_byte_columns),
		cmocka_unit_test(test_spans_of_collections),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_many_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
