/* SPDX-License-Identifier: Apache-2.0 */
/* policy_load() and policy_paths(): what the model says, files, and how long many rules take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <json-c/json.h>
#include <string.h>
#include <time.h>

#include "format.h"
#include "policy.h"
#include "str.h"

#define HEAD "version: 1\nattach:\n  wan: {dev: [eth0, \"ppp*\"], hook: xdp}\n"

static int load(struct policy *policy, const char *text)
{
	return policy_load(policy, "t.yaml", text, strlen(text), NULL);
}

static void test_model_of_a_rule(void **state)
{
	static const char text[] = HEAD
		"sets:\n  s: {items: [192.0.2.0/25, 192.0.2.128/25, 192.0.2.1]}\n"
		"filter:\n  in:\n    at: wan.ingress\n    default: drop\n    rules:\n"
		"      - {id: r, proto: [tcp, 132], dport: [81-90, 80, 443], from: [$s, 198.51.100.1], "
		"vlan: [1, 2], do: drop, mode: audit}\n";
	struct policy policy;
	const struct model_rule *rule;

	(void)state;
	assert_int_equal(load(&policy, text), 0);
	assert_int_equal(policy.model->zones.at[0].hook, MODEL_HOOK_XDP);
	assert_int_equal(policy.model->zones.at[0].devs.count, 2);
	assert_int_equal(policy.model->sets.at[0].prefixes.v4.count, 1);
	assert_int_equal(policy.model->sets.at[0].prefixes.covered, 1);
	assert_int_equal(policy.model->chains.at[0].default_verdict, DP_DROP);
	rule = &policy.model->chains.at[0].rules.at[0];
	assert_int_equal(rule->keys,
			 MODEL_KEY_PROTO | MODEL_KEY_DPORT | MODEL_KEY_FROM | MODEL_KEY_VLAN);
	assert_int_equal(rule->protos[0], 1 << 6);
	assert_int_equal(rule->protos[2], 1 << 4);
	assert_int_equal(rule->dport.count, 2);
	assert_int_equal(rule->dport.at[0].first, 80);
	assert_int_equal(rule->dport.at[0].last, 90);
	assert_int_equal(rule->from.sets.count, 1);
	assert_int_equal(rule->from.literals.v4.count, 1);
	assert_true(rule->audit);
	assert_int_equal(rule->id_span.line, 11);
	assert_int_equal(rule->id_span.col, 14);
	policy_done(&policy);
}

static void test_never_drop_is_mirrored(void **state)
{
	static const char text[] =
		HEAD "safety:\n  never-drop:\n    - {proto: tcp, dport: 22, from: 192.0.2.1}\n"
		     "filter:\n  in: {at: wan.ingress, default: drop}\n"
		     "  out: {at: wan.egress, default: drop}\n";
	struct policy policy;
	const struct model_rule *in, *out;

	(void)state;
	assert_int_equal(load(&policy, text), 0);
	in = &policy.model->chains.at[0].rules.at[0];
	out = &policy.model->chains.at[1].rules.at[0];
	assert_true(in->never_drop && out->never_drop);
	assert_string_equal(in->id, "never-drop/1");
	assert_int_equal(in->keys, MODEL_KEY_PROTO | MODEL_KEY_DPORT | MODEL_KEY_FROM);
	assert_int_equal(out->keys, MODEL_KEY_PROTO | MODEL_KEY_SPORT | MODEL_KEY_TO);
	assert_int_equal(out->sport.at[0].first, 22);
	assert_int_equal(out->to.literals.v4.count, 1);
	assert_int_equal(out->from.literals.v4.count, 0);
	assert_string_equal(out->text, "{proto: tcp, sport: 22, to: 192.0.2.1}");
	policy_done(&policy);
}

/* Rules out a reader that takes the words and forgets them, and one that marks every chain of a policy. */
static void test_state_and_fragments(void **state)
{
	static const char text[] =
		HEAD "filter:\n  in: {at: wan.ingress, default: drop, fragments: first-only, "
		     "rules: [{id: a, state: established, do: pass}]}\n"
		     "  out: {at: wan.egress, default: drop, fragments: drop, "
		     "rules: [{id: a, proto: tcp, do: pass}]}\n";
	struct policy policy;
	const struct model_chain *chain;

	(void)state;
	assert_int_equal(load(&policy, text), 0);
	chain = policy.model->chains.at;
	assert_true(chain[0].stateful && chain[0].first_only);
	assert_int_equal(chain[0].rules.at[0].keys, MODEL_KEY_STATE);
	assert_false(chain[1].stateful || chain[1].first_only);
	assert_int_equal(chain[1].rules.at[0].keys, MODEL_KEY_PROTO);
	policy_done(&policy);
}

static int open_members(void *ctx, const char *path, const char **ret_text, size_t *ret_len)
{
	(void)ctx;
	(void)path;
	*ret_text = "192.0.2.1\n192.0.2.2\n";
	*ret_len = strlen(*ret_text);
	return 0;
}

static void test_sets_at_run_time(void **state)
{
	static const char text[] =
		"version: 1\nsets:\n  fixed: {items: [192.0.2.1]}\n  both: {ttl: 90s, max: 5k}\n"
		"  ttl: {ttl: 1h}\n  max: {file: f, max: 7}\n  feed: {file: f, refresh: on-change}\n";
	static const struct {
		uint64_t max, ttl_ns, members;
		bool runtime, refresh;
	} want[] = {
		{},
		{ .max = 5000, .ttl_ns = 90ull * 1000 * 1000 * 1000, .runtime = true },
		{ .max = 1000 * 1000, .ttl_ns = 3600ull * 1000 * 1000 * 1000, .runtime = true },
		{ .max = 7, .members = 2, .runtime = true },
		{ .members = 2, .refresh = true },
	};
	const struct policy_files files = { .open = open_members };
	struct policy policy;

	(void)state;
	assert_int_equal(policy_load(&policy, "t", text, strlen(text), &files), 0);
	assert_int_equal(policy.model->sets.count, 5);
	for (size_t i = 1; i < 5; i++) {
		const struct model_set *set = &policy.model->sets.at[i];

		assert_int_equal(set->max, want[i].max);
		assert_int_equal(set->ttl_ns, want[i].ttl_ns);
		assert_int_equal(set->runtime, want[i].runtime);
		assert_int_equal(set->refresh, want[i].refresh);
		assert_int_equal(prefix_set_members(&set->prefixes), want[i].members);
	}
	policy_done(&policy);
}

/* Member `key` of element i of the manifest's `list`, as JSON. */
static const char *told(const struct policy *policy, const char *list, size_t i, const char *key)
{
	struct json_object *array, *value = NULL;

	assert_true(json_object_object_get_ex(policy->manifest, list, &array));
	(void)json_object_object_get_ex(json_object_array_get_idx(array, i), key,
					&value); /* NULL prints as null */
	return json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN);
}

/* What the daemon and `diff` know of a policy is in the manifest: rules out one that leaves a key out. */
static void test_manifest(void **state)
{
	static const char text[] =
		HEAD "sets:\n  a: {items: [192.0.2.1]}\n  b: {max: 2k, ttl: 1500ms}\n"
		     "  c: {file: f, refresh: on-change}\n"
		     "filter:\n  in: {at: wan.ingress, default: drop, fragments: first-only, "
		     "rules: [{id: r, do: pass, from: $b, state: established}]}\n"
		     "  out: {at: wan.egress, default: drop}\n";
	static const struct {
		const char *list;
		size_t i;
		const char *key, *value;
	} want[] = {
		{ "sets", 0, "runtime", "false" },
		{ "sets", 0, "max", "null" },
		{ "sets", 0, "refresh", "false" },
		{ "sets", 1, "runtime", "true" },
		{ "sets", 1, "max", "2000" },
		{ "sets", 1, "ttl_ms", "1500" },
		{ "sets", 2, "refresh", "true" },
		{ "sets", 2, "ttl_ms", "0" },
		{ "chains", 0, "stateful", "true" },
		{ "chains", 0, "fragments", "\"first-only\"" },
		{ "chains", 1, "stateful", "false" },
		{ "chains", 1, "fragments", "\"drop\"" },
	};
	const struct policy_files files = { .open = open_members };
	struct policy policy;

	(void)state;
	assert_int_equal(policy_load(&policy, "t", text, strlen(text), &files), 0);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		assert_string_equal(told(&policy, want[i].list, want[i].i, want[i].key),
				    want[i].value);
	assert_string_equal(policy.model->chains.at[0].rules.at[0].text,
			    "{id: r, state: established, from: $b, do: pass}");
	policy_done(&policy);
}

static void test_too_many_run_time_sets(void **state)
{
	struct text text = {};
	struct policy policy;

	(void)state;
	text_puts(&text, "version: 1\nsets:\n  fixed: {items: [192.0.2.1]}\n");
	for (int i = 0; i < DP_SETS; i++)
		text_printf(&text, "  s%d: {max: 10}\n", i);
	assert_int_equal(load(&policy, text.at), 0);
	policy_done(&policy);
	text_puts(&text, "  more: {ttl: 1h}\n  evenmore: {ttl: 1h}\n");
	assert_int_equal(load(&policy, text.at), -EINVAL);
	assert_string_equal(policy.diags.diags.at[0].code, "capacity");
	assert_int_equal(policy.diags.diags.at[0].span.line, 4 + DP_SETS);
	assert_int_equal(policy.diags.errors, 1);
	policy_done(&policy);
	text_done(&text);
}

static int collect(void *ctx, const char *path)
{
	struct text *paths = ctx;

	text_printf(paths, "%s,", path);
	return 0;
}

static void test_paths(void **state)
{
	static const char text[] =
		"version: 7\nsets:\n  a: {file: lists/a.txt}\n  b: {items: []}\n"
		"  c: {file: \"/x y\", nonsense: 1}\n  d: {file: [z]}\nsets2: {e: {file: no}}\n";
	struct text paths = {};

	(void)state;
	assert_int_equal(policy_paths(text, strlen(text), &paths, collect), 0);
	assert_string_equal(paths.at, "lists/a.txt,/x y,");
	assert_int_equal(policy_paths("sets: [", 7, &paths, collect), 0);
	text_done(&paths);
}

static int refuse_open(void *ctx, const char *path, const char **ret_text, size_t *ret_len)
{
	(void)ctx;
	(void)path;
	(void)ret_text;
	(void)ret_len;
	return -EACCES;
}

static void test_file_refused(void **state)
{
	static const char text[] = "version: 1\nsets:\n  a: {file: lists/a.txt}\n";
	const struct policy_files files = { .open = refuse_open };
	struct policy policy;

	(void)state;
	assert_int_equal(policy_load(&policy, "t", text, strlen(text), &files), -EINVAL);
	assert_string_equal(policy.diags.diags.at[0].code, "cannot-read");
	assert_int_equal(policy.diags.diags.at[0].span.line, 3);
	assert_int_equal(policy.diags.diags.at[0].span.col, 13);
	assert_null(policy.model);
	policy_done(&policy);
}

/* More rules than there are counters: said at once, with limit and need, not after hours or out of memory. */
static void test_many_rules(void **state)
{
	struct text text = {};
	struct policy policy;

	(void)state;
	text_puts(&text,
		  HEAD "filter:\n  in:\n    at: wan.ingress\n    default: drop\n    rules:\n");
	for (int i = 0; i < DP_RULE_SLOTS; i++)
		text_printf(
			&text,
			"      - {id: r%d, proto: tcp, dport: %d, from: 10.%d.%d.0/24, do: drop}\n",
			i, i % 1000, i / 256, i % 256);
	assert_int_equal(load(&policy, text.at), -EINVAL);
	assert_string_equal(policy.diags.diags.at[0].code, "capacity");
	assert_non_null(strstr(policy.diags.diags.at[0].message, "65537 counters, 2 more than"));
	policy_done(&policy);
	text_done(&text);
}

/* Of this process alone, so that a machine's load has no say. */
static void assert_quick(clock_t since)
{
	assert_in_range((clock() - since) / CLOCKS_PER_SEC, 0, 4);
}

/* Thousands of wrong names among thousands of sets: rules out one that compares each with each, which takes minutes. */
static void test_many_unknown_names(void **state)
{
	enum {
		SETS = 20000
	};
	struct text text = {};
	struct policy policy;
	clock_t since = clock();

	(void)state;
	text_puts(&text, HEAD "sets:\n");
	for (int i = 0; i < SETS; i++)
		text_printf(&text, "  set%d: {items: [192.0.2.1]}\n", i);
	text_puts(&text, "filter:\n  in:\n    at: wan.ingress\n    default: drop\n    rules:\n");
	for (int i = 0; i < SETS; i++)
		text_printf(&text, "      - {id: r%d, from: $sett%d, do: drop}\n", i, i);
	assert_int_equal(load(&policy, text.at), -EINVAL);
	assert_quick(since);
	assert_int_equal(policy.diags.errors, SETS);
	assert_non_null(strstr(policy.diags.diags.at[0].message, "did you mean '$set0'?"));
	policy_done(&policy);
	text_done(&text);
}

static void assert_formats(const char *text, size_t len, size_t least)
{
	struct diag_list diags = {};
	char *formatted = NULL;
	clock_t since = clock();

	assert_int_equal(policy_format(&diags, "t.yaml", text, len, &formatted), 0);
	assert_quick(since);
	assert_true(strlen(formatted) >= least);
	free(formatted);
	diag_done(&diags);
}

/* Rules out a formatter that goes back to the begin of the line, or to the first comment, for each of many. */
static void test_long_lines_and_comments(void **state)
{
	struct text text = {};

	(void)state;
	text_puts(&text, "version: 1\nsets:\n");
	for (int set = 0; set < 4; set++) {
		text_printf(&text, "  s%d: {items: [192.0.2.1", set);
		for (int i = 0; i < 70000; i++)
			text_printf(&text, ", 10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
		text_puts(&text, "]}\n");
	}
	assert_formats(text.at, text.len, text.len);
	text_done(&text);
	text_puts(&text, "version: 1\n");
	for (int i = 0; i < 300000; i++)
		text_puts(&text, "# why\n");
	text_puts(&text, "attach: {}\n");
	assert_formats(text.at, text.len, text.len);
	text_done(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model_of_a_rule),
		cmocka_unit_test(test_never_drop_is_mirrored),
		cmocka_unit_test(test_state_and_fragments),
		cmocka_unit_test(test_sets_at_run_time),
		cmocka_unit_test(test_manifest),
		cmocka_unit_test(test_too_many_run_time_sets),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_file_refused),
		cmocka_unit_test(test_many_rules),
		cmocka_unit_test(test_many_unknown_names),
		cmocka_unit_test(test_long_lines_and_comments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
