/* SPDX-License-Identifier: Apache-2.0 */
/* The semantic difference of manifests, and the escaping of text for a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "cli/compare.h"
#include "cli/output.h"
#include "cli/term.h"

#define ZONES "'zones': [{'name': 'wan', 'hook': 'auto', 'devs': ['eth0']}]"
#define CHAIN(place, default, rules)                                                                            \
	"'chains': [{'name': 'in', 'zone': 'wan', 'dir': 'ingress', 'default': '" default "', "                 \
											  "'source': '" place   \
											  "', 'rules': [" rules \
											  "]}]"
#define RULE(id, place, verdict)                                                           \
	"{'id': '" id "', 'source': '" place "', 'do': '" verdict "', 'mode': 'enforce', " \
	"'text': '{id: " id ", do: " verdict "}'}"

/* JSON with ' for ". */
static struct json_object *manifest(const char *text)
{
	_cleanup_free_ char *json = strdup(text);
	struct json_object *object;

	assert_non_null(json);
	for (char *c = json; *c; c++)
		if (*c == '\'')
			*c = '"';
	object = json_tokener_parse(json);
	assert_non_null(object);
	return object;
}

static void check(const char *old, const char *fresh, const char *expected)
{
	_cleanup_json_ struct json_object *a = old ? manifest(old) : NULL;
	_cleanup_json_ struct json_object *b = manifest(fresh), *want = manifest(expected);
	_cleanup_json_ struct json_object *got = compare_manifests(a, b);

	assert_non_null(got);
	assert_string_equal(json_object_to_json_string_ext(got, JSON_C_TO_STRING_PLAIN),
			    json_object_to_json_string_ext(want, JSON_C_TO_STRING_PLAIN));
}

static void place_makes_no_difference(void **state)
{
	(void)state;
	check("{'file': 'a', " ZONES ", " CHAIN("a:3", "drop", RULE("web", "a:4", "pass")) "}",
	      "{'file': 'b', " ZONES ", " CHAIN("b:9", "drop", RULE("web", "b:99", "pass")) "}",
	      "[]");
}

static void rules_come_go_and_change(void **state)
{
	(void)state;
	check("{" CHAIN("a:1", "drop",
			RULE("one", "a:2", "pass") "," RULE("two", "a:3", "pass")) "}",
	      "{" CHAIN("a:1", "pass",
			RULE("one", "a:2", "drop") "," RULE("new", "a:3", "pass")) "}",
	      "[{'kind': 'chain', 'change': 'changed', 'name': 'in', "
	      "'from': '{at: wan.ingress, default: drop}', 'to': '{at: wan.ingress, default: pass}'},"
	      "{'kind': 'rule', 'change': 'changed', 'chain': 'in', 'name': 'one', "
	      "'from': '{id: one, do: pass}', 'to': '{id: one, do: drop}'},"
	      "{'kind': 'rule', 'change': 'added', 'chain': 'in', 'name': 'new', "
	      "'to': '{id: new, do: pass}'},"
	      "{'kind': 'rule', 'change': 'removed', 'chain': 'in', 'name': 'two', "
	      "'from': '{id: two, do: pass}'}]");
}

/* Rules out a difference that is only looked for in members and rules. */
static void limits_and_fragments_count(void **state)
{
#define SET(rest) "'sets': [{'name': 's', 'members': 0, 'digest': 'd'" rest "}]"
#define CHAIN_OF(fragments)                                                             \
	"'chains': [{'name': 'in', 'zone': 'wan', 'dir': 'ingress', 'default': 'drop'," \
	"'fragments': '" fragments "'}]"
	(void)state;
	check("{" SET(", 'max': 10, 'ttl_ms': 0, 'refresh': false") "," CHAIN_OF("drop") "}",
	      "{" SET(", 'max': 10, 'ttl_ms': 2000, 'refresh': true") "," CHAIN_OF(
		      "first-only") "}",
	      "[{'kind': 'set', 'change': 'changed', 'name': 's', "
	      "'from': '{members: 0, digest: d, max: 10}', "
	      "'to': '{members: 0, digest: d, max: 10, ttl: 2000ms, refresh: on-change}'},"
	      "{'kind': 'chain', 'change': 'changed', 'name': 'in', "
	      "'from': '{at: wan.ingress, default: drop}', "
	      "'to': '{at: wan.ingress, default: drop, fragments: first-only}'}]");
#undef SET
#undef CHAIN_OF
}

static void fewest_rules_are_called_moved(void **state)
{
	(void)state;
	check("{" CHAIN("a:1", "drop",
			RULE("a", "", "pass") "," RULE("b", "", "pass") "," RULE(
				"c", "", "pass") "," RULE("d", "", "pass")) "}",
	      "{" CHAIN("a:1", "drop",
			RULE("d", "", "pass") "," RULE("a", "", "pass") "," RULE(
				"b", "", "pass") "," RULE("c", "", "pass")) "}",
	      "[{'kind': 'rule', 'change': 'moved', 'chain': 'in', 'name': 'd', 'from': 4, 'to': 1}]");
}

static void nothing_runs_yet(void **state)
{
	(void)state;
	check(NULL, "{" ZONES ", 'sets': [{'name': 's', 'members': 2, 'digest': 'ab', 'max': 5}]}",
	      "[{'kind': 'zone', 'change': 'added', 'name': 'wan', 'to': '{dev: [eth0], hook: auto}'},"
	      "{'kind': 'set', 'change': 'added', 'name': 's', "
	      "'to': '{members: 2, digest: ab, max: 5}'}]");
}

static void terminals_are_not_steered(void **state)
{
	static const struct {
		enum term_kind kind;
		const char *text, *safe;
	} rows[] = {
		{ TERM_LINE, "plain – text", "plain – text" },
		{ TERM_LINE, "a\033[31m\n\t\x7f", "a\\x1b[31m\\x0a\\x09\\x7f" },
		{ TERM_LINE,
		  "\xc2\x9b"
		  "31m \xff",
		  "\\x9b31m \\xff" },
		{ TERM_LINE,
		  "\xe2\x80\xae"
		  "evil",
		  "\\u202eevil" },
		{ TERM_BLOCK, "a\n\tb\033", "a\n\tb\\x1b" },
		{ TERM_JSON, "\"\xc2\x9b\xff\"\n", "\"\\u009b\\ufffd\"\n" },
		{ TERM_JSON, "\"\xf3\xa0\x80\x81\"", "\"\\udb40\\udc01\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		_cleanup_free_ char *safe = term_escape(rows[i].text, rows[i].kind);

		assert_non_null(safe);
		assert_string_equal(safe, rows[i].safe);
	}
}

static void numbers_are_readable(void **state)
{
	char buf[TERM_COUNT];

	(void)state;
	assert_string_equal(term_number(0, buf), "0");
	assert_string_equal(term_number(999, buf), "999");
	assert_string_equal(term_number(1000, buf), "1,000");
	assert_string_equal(term_number(UINT64_MAX, buf), "18,446,744,073,709,551,615");
	assert_string_equal(term_bytes(1023, buf), "1023 B");
	assert_string_equal(term_bytes(1536, buf), "1.5 KiB");
	assert_string_equal(term_bytes(UINT64_MAX, buf), "16.0 EiB");
	assert_string_equal(term_count(1, "rule", buf), "1 rule");
	assert_string_equal(term_count(1200, "rule", buf), "1,200 rules");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(place_makes_no_difference),
		cmocka_unit_test(rules_come_go_and_change),
		cmocka_unit_test(limits_and_fragments_count),
		cmocka_unit_test(fewest_rules_are_called_moved),
		cmocka_unit_test(nothing_runs_yet),
		cmocka_unit_test(terminals_are_not_steered),
		cmocka_unit_test(numbers_are_readable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
