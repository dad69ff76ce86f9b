/* SPDX-License-Identifier: Apache-2.0 */
/* Which device gets into which zone: names before patterns, overrides before both. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "control/wants.h"

static const char manifest[] =
	"{\"schema\": 1, \"file\": \"a.yaml\", \"sets\": [], \"zones\": ["
	" {\"name\": \"wan\", \"hook\": \"auto\", \"devs\": [\"eth0\", \"*\"]},"
	" {\"name\": \"lan\", \"hook\": \"tc\", \"devs\": [\"veth*\", \"eth1\", \"eth7\"]}],"
	" \"chains\": [{\"name\": \"in\", \"zone\": \"wan\", \"dir\": \"ingress\","
	"   \"default\": \"drop\", \"source\": \"a.yaml:3\", \"rules\": []},"
	"  {\"name\": \"out\", \"zone\": \"lan\", \"dir\": \"egress\","
	"   \"default\": \"pass\", \"source\": \"a.yaml:4\", \"rules\": []}]}";

static struct netif_dev present[] = {
	{ .ifindex = 1, .name = "lo", .loopback = true },
	{ .ifindex = 2, .name = "eth0" },
	{ .ifindex = 3, .name = "eth1" },
	{ .ifindex = 4, .name = "veth5" },
};

static const struct netif_devs devs = { .at = present, .count = 4, .room = 4 };

static struct generation *make(void)
{
	struct generation *g = NULL;
	char *why = NULL;

	assert_int_equal(generation_new(&g, json_tokener_parse(manifest), &why), 0);
	return g;
}

/* The manifest with a member more, before the one named. */
static struct generation *make_with(const char *where, const char *member)
{
	char text[sizeof(manifest) + 100];
	const char *at = strstr(manifest, where);
	struct generation *g = NULL;
	char *why = NULL;

	assert_non_null(at);
	snprintf(text, sizeof(text), "%.*s%s, %s", (int)(at - manifest), manifest, member, at);
	assert_int_equal(generation_new(&g, json_tokener_parse(text), &why), 0);
	return g;
}

/* 0: not wanted. */
static uint8_t zone_of(const struct generation *g, const struct overrides *o, const char *dev,
		       char **ret_doubts)
{
	struct attach_wants wants = {};
	uint8_t zone = 0;

	assert_int_equal(wants_compute(g, o, &devs, &wants, ret_doubts), 0);
	for (size_t i = 0; i < wants.count; i++) {
		if (!strcmp(wants.at[i].dev.name, dev))
			zone = wants.at[i].zone;
	}
	vec_done(&wants);
	return zone;
}

static void names_come_before_patterns(void **state)
{
	struct generation *g = make();
	struct overrides none = {};
	char *doubts = NULL;

	(void)state;
	assert_int_equal(zone_of(g, &none, "eth0", &doubts), 1);
	free(doubts);
	assert_int_equal(zone_of(g, &none, "eth1", &doubts), 2);
	free(doubts);
	assert_int_equal(zone_of(g, &none, "lo", &doubts), 0);
	free(doubts);
	assert_int_equal(zone_of(g, &none, "veth5", &doubts), 1);
	assert_string_equal(doubts, "'veth5' fits several zones, taken as 'wan'");
	free(doubts);
	generation_free(&g);
}

static void overrides_come_first(void **state)
{
	struct generation *g = make();
	struct overrides o = {};
	char *doubts = NULL;

	(void)state;
	assert_int_equal(overrides_set(&o, "eth0", "lan"), 0);
	assert_int_equal(zone_of(g, &o, "eth0", &doubts), 2);
	free(doubts);
	assert_int_equal(overrides_set(&o, "eth0", NULL), 0);
	assert_int_equal(o.count, 1);
	assert_int_equal(zone_of(g, &o, "eth0", &doubts), 0);
	free(doubts);
	assert_int_equal(overrides_set(&o, "a-name-too-long-for-a-device", NULL), -EINVAL);
	vec_done(&o);
	generation_free(&g);
}

static void an_apply_that_names_the_device_ends_the_override(void **state)
{
	struct generation *g = make();
	struct overrides o = {};

	(void)state;
	g->zones.at[0].devs.count = 1; /* without the pattern that fits all */
	assert_int_equal(overrides_set(&o, "wlan0", "lan"), 0);
	assert_false(overrides_drop_named(&o, g));
	assert_int_equal(overrides_set(&o, "eth1", NULL), 0);
	assert_int_equal(overrides_set(&o, "veth77", NULL), 0);
	assert_true(overrides_drop_named(&o, g));
	assert_int_equal(o.count, 1);
	assert_string_equal(o.at[0].dev, "wlan0");
	vec_done(&o);
	generation_free(&g);
}

static void absent_names_are_pending(void **state)
{
	struct generation *g = make();
	struct overrides none = {};
	struct json_object *rows = wants_pending(g, &none, &devs);

	(void)state;
	assert_int_equal(json_object_array_length(rows), 1);
	assert_string_equal(json_object_to_json_string_ext(rows, JSON_C_TO_STRING_PLAIN),
			    "[{\"zone\":\"lan\",\"dev\":\"eth7\"}]");
	json_object_put(rows);
	generation_free(&g);
}

static void a_union_has_both(void **state)
{
	struct attach_want a[] = { { .dev = { .ifindex = 1 }, .zone = 1, .ingress = true },
				   { .dev = { .ifindex = 2 }, .zone = 1, .ingress = true } };
	struct attach_want b[] = { { .dev = { .ifindex = 2 }, .zone = 2, .egress = true } };
	struct attach_wants now = { .at = a, .count = 2 }, next = { .at = b, .count = 1 }, both;

	(void)state;
	assert_int_equal(wants_union(&now, &next, &both), 0);
	assert_int_equal(both.count, 2);
	assert_int_equal(both.at[0].zone, 2);
	assert_true(both.at[0].ingress && both.at[0].egress);
	assert_int_equal(both.at[1].dev.ifindex, 1);
	vec_done(&both);
}

/* Where packets make flows, they are seen, chain or no chain; elsewhere nothing changes. */
static void a_zone_that_tracks_wants_that_direction(void **state)
{
	struct generation *g = make();
	struct overrides none = {};
	struct attach_wants wants = {};
	char *doubts = NULL;

	(void)state;
	for (int turn = 0; turn < 2; turn++) {
		assert_int_equal(wants_compute(g, &none, &devs, &wants, &doubts), 0);
		for (size_t i = 0; i < wants.count; i++) {
			bool wan = wants.at[i].zone == 1;

			assert_int_equal(wants.at[i].ingress, wan);
			assert_int_equal(wants.at[i].egress, !wan || turn);
		}
		vec_done(&wants);
		free(doubts);
		generation_free(&g);
		g = make_with("\"hook\": \"auto\"", "\"tracks\": [\"egress\"]");
	}
	generation_free(&g);
}

/* Older flows are asked for when a chain becomes stateful, not when one stays so or another policy comes. */
static void only_new_state_needs_older_flows(void **state)
{
	struct generation *without = make();
	struct generation *in = make_with("\"name\": \"in\"", "\"stateful\": true");
	struct generation *out = make_with("\"name\": \"out\"", "\"stateful\": true");

	(void)state;
	assert_true(generation_is_stateful(in));
	assert_false(generation_is_stateful(without));
	assert_false(generation_is_stateful(NULL));
	assert_true(generation_adds_state(in, NULL));
	assert_true(generation_adds_state(in, without));
	assert_true(generation_adds_state(in, out));
	assert_false(generation_adds_state(in, in));
	assert_false(generation_adds_state(without, in));
	generation_free(&without);
	generation_free(&in);
	generation_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_come_before_patterns),
		cmocka_unit_test(overrides_come_first),
		cmocka_unit_test(an_apply_that_names_the_device_ends_the_override),
		cmocka_unit_test(absent_names_are_pending),
		cmocka_unit_test(a_union_has_both),
		cmocka_unit_test(a_zone_that_tracks_wants_that_direction),
		cmocka_unit_test(only_new_state_needs_older_flows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
