/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guard asks of a bank: the programs' own answer to frames, not what the policy says of itself. The bank of
 * the lab drops everything in zone 1 and passes everything in zone 2, whatever rules a generation claims to have.
 * Rules out a guard that believes the compiler.
 */
#include "lib/lab.h"

#include <errno.h>

#include <arpa/inet.h>
#include <json-c/json.h>

#include "daemon.h"
#include "generation.h"
#include "guard.h"

/* UDP from 192.0.2.1 to 198.51.100.1. */
#define FRAME                          \
	"0000000000000000000000000800" \
	"4500001c00000000401100"       \
	"00c0000201c6336401"           \
	"9c4000350008"                 \
	"0000"

static struct daemon d;

static int load(void **state)
{
	(void)state;
	d.loader = lab_load();
	lab_policy(d.loader);
	return 0;
}

static int wipe(void **state)
{
	(void)state;
	explain_free(&d.explain);
	loader_free(&d.loader);
	lab_wipe();
	return 0;
}

/* A policy of one chain with one never-drop rule. */
static struct generation *claim(const char *zone, const char *dir, const char *frame)
{
	struct json_object *manifest;
	_cleanup_free_ char *why = NULL, *text = NULL;
	struct generation *g = NULL;

	assert_true(
		asprintf(
			&text,
			"{\"schema\": 1, \"file\": \"x.yaml\", \"zones\": [{\"name\": \"one\", \"hook\": \"auto\", "
			"\"devs\": []}, {\"name\": \"two\", \"hook\": \"auto\", \"devs\": []}], \"sets\": [], "
			"\"stats\": {}, \"chains\": [{\"name\": \"c\", \"zone\": \"%s\", \"dir\": \"%s\", "
			"\"default\": \"drop\", \"fragments\": \"drop\", \"stateful\": false, \"source\": "
			"\"x.yaml:5\", \"rules\": [{\"id\": \"never-drop/1\", \"source\": \"x.yaml:3\", "
			"\"do\": \"pass\", \"mode\": \"enforce\", \"text\": \"\", \"frames\": [\"%s\"]}]}]}",
			zone, dir, frame) > 0);
	manifest = json_tokener_parse(text);
	assert_non_null(manifest);
	if (generation_new(&g, manifest, &why))
		fail_msg("generation_new: %s", why ?: "");
	return g;
}

static int ask(const char *zone, const char *dir, const char *frame, char **ret_why)
{
	_cleanup_(generation_free) struct generation *g = claim(zone, dir, frame);

	return guard_never_drop(&d, g, loader_active_bank(d.loader), ret_why);
}

static void a_bank_that_drops_is_found_out(void **state)
{
	static const char *const dirs[] = { "ingress", "egress" };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		_cleanup_free_ char *why = NULL, *none = NULL;

		assert_int_equal(ask("one", dirs[i], FRAME, &why), -EPERM);
		assert_non_null(strstr(why, "'never-drop/1' (x.yaml:3)"));
		assert_non_null(strstr(why, "default of c"));
		assert_int_equal(ask("two", dirs[i], FRAME, &none), 0);
		assert_null(none);
	}
}

static void what_is_no_frame_is_no_answer(void **state)
{
	_cleanup_free_ char *why = NULL;

	(void)state;
	assert_int_equal(ask("two", "ingress", "zz", &why), -EINVAL);
	assert_non_null(strstr(why, "cannot be told"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_bank_that_drops_is_found_out, load, wipe),
		cmocka_unit_test_setup_teardown(what_is_no_frame_is_no_answer, load, wipe),
	};

	return cmocka_run_group_tests(tests, lab_enter, NULL);
}
