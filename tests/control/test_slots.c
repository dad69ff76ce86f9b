/* SPDX-License-Identifier: Apache-2.0 */
/* Who owns which counter: for life, across tables and their saved form, until slots run out. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "control/slots.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* Replaces *t by the next generation's table; the number of slots to clear. */
static size_t step(struct slot_table *t, const struct slot_name *names, size_t count,
		   uint64_t generation)
{
	const struct slot_names wanted = { .at = (struct slot_name *)names, .count = count };
	struct slot_table next;
	struct slot_list clear;
	size_t cleared;

	assert_int_equal(slot_table_next(t, &wanted, generation, &next, &clear), 0);
	cleared = clear.count;
	vec_done(&clear);
	slot_table_done(t);
	*t = next;
	return cleared;
}

static void names_keep_their_slots(void **state)
{
	static const struct slot_name first[] = { { "in", "a" },
						  { "in", "b" },
						  { "in", "default" } };
	static const struct slot_name second[] = { { "in", "default" },
						   { "in", "c" },
						   { "in", "a" } };
	struct slot_table t;
	uint32_t a, b, c;

	(void)state;
	slot_table_init(&t, 100, true);
	assert_int_equal(step(&t, first, COUNT(first), 1), 0);
	a = slot_table_find(&t, "in", "a");
	b = slot_table_find(&t, "in", "b");
	assert_true(a && b && a != b);
	assert_int_equal(step(&t, second, COUNT(second), 2), 0);
	c = slot_table_find(&t, "in", "c");
	assert_int_equal(slot_table_find(&t, "in", "a"), a);
	assert_int_equal(slot_table_find(&t, "in", "b"), b);
	assert_true(c && c != a && c != b);
	assert_int_equal(slot_table_find(&t, "out", "a"), 0);
	slot_table_done(&t);
}

static void a_name_that_comes_back_finds_its_counter(void **state)
{
	static const struct slot_name with[] = { { "in", "a" }, { "in", "b" } };
	struct slot_table t;
	uint32_t b;

	(void)state;
	slot_table_init(&t, 100, true);
	(void)step(&t, with, 2, 1);
	b = slot_table_find(&t, "in", "b");
	(void)step(&t, with, 1, 2);
	assert_int_equal(step(&t, with, 2, 3), 0);
	assert_int_equal(slot_table_find(&t, "in", "b"), b);
	for (size_t i = 0; i < t.owners.count; i++)
		assert_int_equal(t.owners.at[i].retired, 0);
	slot_table_done(&t);
}

/* Three slots: the longest retired goes first, and its counter is to be cleared. */
static void the_longest_retired_goes(void **state)
{
	static const struct slot_name abc[] = { { "in", "a" }, { "in", "b" }, { "in", "c" } };
	static const struct slot_name bc[] = { { "in", "b" }, { "in", "c" } };
	static const struct slot_name c[] = { { "in", "c" } };
	static const struct slot_name cd[] = { { "in", "c" }, { "in", "d" } };
	struct slot_table t;
	uint32_t a;

	(void)state;
	slot_table_init(&t, 4, true);
	(void)step(&t, abc, 3, 1);
	a = slot_table_find(&t, "in", "a");
	(void)step(&t, bc, 2, 2);
	(void)step(&t, c, 1, 3);
	assert_int_equal(step(&t, cd, 2, 4), 1);
	assert_int_equal(slot_table_find(&t, "in", "d"), a);
	assert_int_equal(slot_table_find(&t, "in", "a"), 0);
	assert_int_not_equal(slot_table_find(&t, "in", "b"), 0);
	slot_table_done(&t);
}

/* A name that this very change retires still counts: it is not robbed, the change is refused. */
static void the_active_names_are_safe(void **state)
{
	static const struct slot_name now[] = { { "in", "a" }, { "in", "b" } };
	static const struct slot_name then[] = { { "in", "c" }, { "in", "d" } };
	const struct slot_names wanted = { .at = (struct slot_name *)then, .count = 2 };
	struct slot_table t, next;
	struct slot_list clear;

	(void)state;
	slot_table_init(&t, 3, true);
	(void)step(&t, now, 2, 1);
	assert_int_equal(slot_table_next(&t, &wanted, 2, &next, &clear), -ENOSPC);
	assert_int_equal(slot_table_need(&t, &wanted), 4);
	slot_table_done(&t);
}

static void a_name_twice_is_refused(void **state)
{
	static const struct slot_name twice[] = { { "in", "a" }, { "in", "a" } };
	const struct slot_names wanted = { .at = (struct slot_name *)twice, .count = 2 };
	struct slot_table t, next;
	struct slot_list clear;

	(void)state;
	slot_table_init(&t, 10, true);
	assert_int_equal(slot_table_next(&t, &wanted, 1, &next, &clear), -EEXIST);
	slot_table_done(&t);
}

/* Maps whose history is unknown: every new owner starts from a cleared counter. */
static void unknown_counters_are_cleared(void **state)
{
	static const struct slot_name names[] = { { "in", "a" }, { "in", "b" } };
	struct slot_table t;

	(void)state;
	slot_table_init(&t, 10, false);
	assert_int_equal(step(&t, names, 2, 1), 2);
	assert_int_equal(step(&t, names, 2, 2), 0);
	slot_table_done(&t);
}

static void a_saved_table_is_the_same(void **state)
{
	static const struct slot_name names[] = { { "in", "a" }, { "in", "b" }, { "out", "a" } };
	struct slot_table t, back;
	struct json_object *json;

	(void)state;
	slot_table_init(&t, 10, true);
	(void)step(&t, names, 3, 1);
	(void)step(&t, names + 1, 2, 7);
	json = slot_table_to_json(&t);
	slot_table_init(&back, 10, true);
	assert_int_equal(slot_table_from_json(&back, json), 0);
	assert_int_equal(back.next, t.next);
	assert_int_equal(back.clean_from, t.clean_from);
	assert_int_equal(back.owners.count, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_string_equal(back.owners.at[i].name.chain, t.owners.at[i].name.chain);
		assert_string_equal(back.owners.at[i].name.id, t.owners.at[i].name.id);
		assert_int_equal(back.owners.at[i].slot, t.owners.at[i].slot);
		assert_int_equal(back.owners.at[i].retired, t.owners.at[i].retired);
	}
	slot_table_done(&back);
	slot_table_init(&back, 11, true);
	assert_int_equal(slot_table_from_json(&back, json), -EBADMSG);
	slot_table_done(&back);
	slot_table_done(&t);
	json_object_put(json);
}

static void damaged_tables_are_refused(void **state)
{
	static const char *const texts[] = {
		"{}",
		"{\"limit\": 10, \"next\": 0, \"clean_from\": 1, \"owners\": []}",
		"{\"limit\": 10, \"next\": 11, \"clean_from\": 1, \"owners\": []}",
		"{\"limit\": 10, \"next\": 2, \"clean_from\": 2, \"owners\": [7]}",
		"{\"limit\": 10, \"next\": 2, \"clean_from\": 2, \"owners\": [[\"a\", \"b\", 2, 0]]}",
		"{\"limit\": 10, \"next\": 2, \"clean_from\": 2, \"owners\": [[\"a\", \"b\", 0, 0]]}",
		"{\"limit\": 10, \"next\": 3, \"clean_from\": 2,"
		" \"owners\": [[\"a\", \"b\", 1, 0], [\"a\", \"b\", 2, 0]]}",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		struct json_object *json = json_tokener_parse(texts[i]);
		struct slot_table t;

		slot_table_init(&t, 10, true);
		assert_int_equal(slot_table_from_json(&t, json), -EBADMSG);
		slot_table_done(&t);
		json_object_put(json);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_keep_their_slots),
		cmocka_unit_test(a_name_that_comes_back_finds_its_counter),
		cmocka_unit_test(the_longest_retired_goes),
		cmocka_unit_test(the_active_names_are_safe),
		cmocka_unit_test(a_name_twice_is_refused),
		cmocka_unit_test(unknown_counters_are_cleared),
		cmocka_unit_test(a_saved_table_is_the_same),
		cmocka_unit_test(damaged_tables_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
