/* SPDX-License-Identifier: Apache-2.0 */
/* The policies that ran: which one to go back to, how many are kept, and that they come back from disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "control/generation.h"
#include "control/history.h"
#include "control/state.h"

static char dir[] = "/tmp/penstock-history-XXXXXX";

static int make_dir(void **ctx)
{
	(void)ctx;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **ctx)
{
	char command[96];

	(void)ctx;
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

static struct generation policy(uint64_t number, uint8_t mark)
{
	struct generation g = { .number = number,
				.file = "a.yaml",
				.dir = "/etc",
				.applied_at = "2026-01-01T00:00:00Z" };

	memset(g.digest, mark, sizeof(g.digest));
	g.sources.number = 100 + number;
	assert_int_equal(vec_push(&g.sources.files, (struct source){ .bytes = number }), 0);
	return g;
}

static void add(struct history *h, uint64_t number, uint8_t mark)
{
	struct generation g = policy(number, mark);

	assert_int_equal(history_add(h, &g, 1000), 0);
	sources_done(&g.sources);
}

static uint64_t back_from(const struct history *h, uint64_t number, uint8_t mark)
{
	struct generation g = policy(number, mark);
	const struct history_entry *e = history_back(h, &g);

	sources_done(&g.sources);
	return e ? e->number : 0;
}

/* Not the same policy again, not one that was undone, not a later one. Rules out "the one before in the list". */
static void goes_back_to_what_ran_before(void **state)
{
	struct history h = {};

	(void)state;
	assert_int_equal(back_from(&h, 1, 'a'), 0);
	add(&h, 1, 'a');
	assert_int_equal(back_from(&h, 1, 'a'), 0);
	add(&h, 2, 'b');
	add(&h, 3, 'c');
	add(&h, 4, 'd');
	add(&h, 5, 'd');
	assert_int_equal(back_from(&h, 5, 'd'), 3);
	history_mark_undone(&h, 3);
	assert_int_equal(back_from(&h, 5, 'd'), 2);
	assert_int_equal(back_from(&h, 2, 'b'), 1);
	history_forget(&h, 2);
	assert_false(history_has(&h, 2));
	assert_int_equal(back_from(&h, 5, 'd'), 1);
	history_done(&h);
}

static void the_oldest_go(void **state)
{
	struct source_numbers needed = {};
	struct history h = {};

	(void)state;
	for (uint64_t n = 1; n <= HISTORY_MAX + 3; n++)
		add(&h, n, (uint8_t)n);
	add(&h, HISTORY_MAX, 77); /* what is known of it changes */
	assert_int_equal(h.count, HISTORY_MAX);
	assert_int_equal(h.at[0].number, 4);
	assert_int_equal(h.at[HISTORY_MAX - 4].digest[0], 77);
	assert_int_equal(history_sources(&h, &needed), 0);
	assert_int_equal(needed.count, HISTORY_MAX);
	assert_int_equal(needed.at[0], 104);
	vec_done(&needed);
	history_done(&h);
}

static void what_was_saved_comes_back(void **state)
{
	struct history h = {}, back = {};
	struct state *s = NULL;
	char path[64], *why = NULL;
	struct json_object *json;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/state", dir);
	assert_int_equal(state_open(&s, path, &why), 0);
	assert_int_equal(history_load(&back, s), 0);
	assert_int_equal(back.count, 0);
	add(&h, 1, 'a');
	add(&h, 2, 'b');
	history_mark_undone(&h, 2);
	json = history_to_json(&h);
	assert_int_equal(state_write(s, HISTORY_FILE, json), 0);
	json_object_put(json);
	assert_int_equal(history_load(&back, s), 0);
	assert_int_equal(back.count, 2);
	assert_int_equal(back.at[1].number, 2);
	assert_true(back.at[1].undone && !back.at[0].undone);
	assert_int_equal(back.at[0].uid, 1000);
	assert_int_equal(back.at[0].sources.number, 101);
	assert_int_equal(back.at[0].sources.files.at[0].bytes, 1);
	assert_string_equal(back.at[0].file, "a.yaml");
	assert_memory_equal(back.at[1].digest, h.at[1].digest, sizeof(h.at[1].digest));
	history_done(&back);
	json = json_tokener_parse("{\"policies\": [{\"generation\": 1}]}");
	assert_int_equal(state_write(s, HISTORY_FILE, json), 0);
	json_object_put(json);
	assert_true(history_load(&back, s) < 0);
	assert_int_equal(back.count, 0);
	history_done(&h);
	state_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(goes_back_to_what_ran_before),
		cmocka_unit_test(the_oldest_go),
		cmocka_unit_test(what_was_saved_comes_back),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
