/* SPDX-License-Identifier: Apache-2.0 */
/* Diagnostics: quoting, suggestions, order, and the two forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <json-c/json.h>
#include <string.h>

#include "diag.h"

static const char source[] = "first line\n\tsecond \x1b[31m line\nthird: \xff\xc3\xa9 x\n";

static void check_render(struct diag_list *list, size_t limit, const char *expected)
{
	char *text = diag_render(list, limit);

	assert_non_null(text);
	assert_string_equal(text, expected);
	free(text);
	diag_done(list);
}

static void test_source_order(void **state)
{
	struct diag_list list = {};
	uint32_t s = diag_add_source(&list, "a.yaml", source, sizeof(source) - 1);

	(void)state;
	diag_warning(&list, (struct span){ s, 1, 7, 4 }, "unused-set", "second");
	diag_note(&list, (struct span){ s, 1, 1, 1 }, "noted");
	diag_error(&list, (struct span){ s, 1, 1, 5 }, "bad-name", "first");
	assert_int_equal(list.errors, 1);
	assert_int_equal(list.warnings, 1);
	check_render(&list, 0,
		     "a.yaml:1:1: error: first\n    1 | first line\n      | ^~~~~\n"
		     "a.yaml:1:7: warning: second\n    1 | first line\n      |       ^~~~\n"
		     "a.yaml:1:1: note: noted\n    1 | first line\n      | ^\n");
}

static void test_limit(void **state)
{
	struct diag_list list = {};
	uint32_t s = diag_add_source(&list, "a", "x\n", 2);

	(void)state;
	for (int i = 0; i < 3; i++)
		diag_error(&list, (struct span){ .source = s }, "empty-file", "error %d", i);
	check_render(&list, 1, "a:1:1: error: error 0\nand 2 more\n");
}

/* Rules out a cut in source order, behind which a policy is refused without a reason. */
static void test_limit_shows_errors(void **state)
{
	struct diag_list list = {};
	uint32_t s = diag_add_source(&list, "a", "x\n", 2);
	struct json_object *json;
	char *text;

	(void)state;
	for (int i = 0; i < 30; i++)
		diag_warning(&list, (struct span){ s, 1, 1, 1 }, "unused-set", "warning %d", i);
	diag_error(&list, (struct span){ s, 2, 1, 1 }, "bad-name", "error");
	json = diag_to_json(&list);
	text = diag_render_json(json, 2);
	assert_string_equal(text, "a:1:1: warning: warning 0\n    1 | x\n      | ^\n"
				  "a:2:1: error: error\n    2 | \n      | ^\nand 29 more\n");
	check_render(&list, 2, text);
	free(text);
	json_object_put(json);
}

static void test_terminal_safe(void **state)
{
	struct diag_list list = {};
	uint32_t s = diag_add_source(&list, "a\x1b.yaml", source, sizeof(source) - 1);

	(void)state;
	diag_error(&list, (struct span){ s, 2, 9, 1 }, "bad-character", "escape");
	diag_error(&list, (struct span){ s, 3, 11, 1 }, "bad-character", "behind two bytes");
	check_render(&list, 0,
		     "a<U+001B>.yaml:2:9: error: escape\n    2 | →second <U+001B>[31m line\n"
		     "      |         ^~~~~~~~\n"
		     "a<U+001B>.yaml:3:11: error: behind two bytes\n    3 | third: <ff>é x\n"
		     "      |             ^\n");
}

static void test_place_outside(void **state)
{
	struct diag_list list = {};
	uint32_t s = diag_add_source(&list, "a", "x", 1);

	(void)state;
	diag_error(&list, (struct span){ s, 70, 1, 1 }, "bad-name", "no such line");
	diag_error(&list, (struct span){ s, 1, 900, 70 }, "bad-name", "no such column");
	diag_error(&list, (struct span){ 5, 1, 1, 1 }, "bad-name", "no such source");
	check_render(&list, 0,
		     "a:1:900: error: no such column\n    1 | x\n      |  ^\n"
		     "a:70:1: error: no such line\n"
		     "policy:1:1: error: no such source\n");
}

static void test_quote(void **state)
{
	struct diag_list list = {};
	char many[100];

	(void)state;
	memset(many, 'a', sizeof(many));
	assert_string_equal(diag_quote(&list, "it's \x1b\x00\xff é", 11),
			    "it\\'s \\x1b\\x00\\xff é");
	assert_string_equal(diag_quote(&list, "\xe2\x80\xae", 3), "\\u202e");
	assert_int_equal(strlen(diag_quote(&list, many, sizeof(many))), 60 + strlen("…"));
	diag_done(&list);
}

static void test_nearest(void **state)
{
	static const char *const words[] = { "proto", "sport", "dport", "do", "from" };
	static const struct {
		const char *text, *near;
	} cases[] = {
		{ "dprot", "dport" }, { "DPORT", "dport" }, { "prto", "proto" }, { "form", "from" },
		{ "x", NULL },        { "to", NULL },       { "", NULL },        { "colour", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *near = diag_nearest(cases[i].text, words, 5);

		if (cases[i].near)
			assert_string_equal(near, cases[i].near);
		else
			assert_null(near);
	}
}

static void test_json(void **state)
{
	struct diag_list list = {};
	uint32_t s = diag_add_source(&list, "a", "key: value\n", 11);
	struct json_object *json, *first;
	char *direct, *travelled;

	(void)state;
	diag_error(&list, (struct span){ s, 1, 6, 5 }, "bad-choice", "no");
	json = diag_to_json(&list);
	first = json_object_array_get_idx(json_object_object_get(json, "diagnostics"), 0);
	assert_int_equal(json_object_get_int(json_object_object_get(json, "errors")), 1);
	assert_string_equal(json_object_get_string(json_object_object_get(first, "code")),
			    "bad-choice");
	assert_int_equal(json_object_get_int(json_object_object_get(first, "column")), 6);
	assert_int_equal(json_object_get_int(json_object_object_get(first, "length")), 5);
	direct = diag_render(&list, 0);
	travelled = diag_render_json(json, 0);
	assert_string_equal(direct, travelled);
	free(direct);
	free(travelled);
	json_object_put(json);
	diag_done(&list);
}

/* What comes from outside may lack anything. */
static void test_foreign_json(void **state)
{
	struct json_object *json = json_tokener_parse(
		"{\"diagnostics\": [{\"text\": \"x\", \"caret\": 99999999, \"caret_length\": 99999999}, 7, {}]}");
	char *text = diag_render_json(json, 0);

	(void)state;
	assert_string_equal(text,
			    ":0:0: error: \n    0 | x\n      | ^\n:0:0: error: \n:0:0: error: \n");
	free(text);
	json_object_put(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_source_order),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_limit_shows_errors),
		cmocka_unit_test(test_terminal_safe),
		cmocka_unit_test(test_place_outside),
		cmocka_unit_test(test_quote),
		cmocka_unit_test(test_nearest),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_foreign_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
