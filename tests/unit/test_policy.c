/* SPDX-License-Identifier: Apache-2.0 */
/* policy_load() and policy_paths(): what the model says, files, and how long many rules take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <time.h>

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

/* 20 000 rules of one chain are over its capacity, but to say so must not take long. */
static void test_many_rules(void **state)
{
	struct text text = {};
	struct policy policy;
	struct timespec start, end;

	(void)state;
	text_puts(&text,
		  HEAD "filter:\n  in:\n    at: wan.ingress\n    default: drop\n    rules:\n");
	for (int i = 0; i < 20000; i++)
		text_printf(
			&text,
			"      - {id: r%d, proto: tcp, dport: %d, from: 10.%d.%d.0/24, do: drop}\n",
			i, i % 1000, i / 256, i % 256);
	(void)clock_gettime(CLOCK_MONOTONIC, &start); /* cannot fail */
	assert_int_equal(load(&policy, text.at), -EINVAL);
	(void)clock_gettime(CLOCK_MONOTONIC, &end);
	assert_string_equal(policy.diags.diags.at[0].code, "capacity");
	assert_true(end.tv_sec - start.tv_sec < 10);
	print_message("20000 rules: %ld ms\n",
		      (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000);
	policy_done(&policy);
	text_done(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model_of_a_rule),
		cmocka_unit_test(test_never_drop_is_mirrored),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_file_refused),
		cmocka_unit_test(test_many_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
