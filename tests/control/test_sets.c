/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests for run-time sets, from their queue to their answer, with the kernel's maps as plain memory. Rules out
 * an add that takes what fits, one that counts a member twice, a queue that mixes requests up, and a set whose
 * members outlive its name.
 */
#include "lib/sets_reader.h"

#include <errno.h>
#include <time.h>

#include <json-c/json.h>
#include <systemd/sd-event.h>

#include "control/generation.h"
#include "control/install.h"
#include "control/sets.h"
#include "control/sets_map.h"
#include "control/worker.h"
#include "tests/lib/rng.h"

/* ---- the kernel's side, as memory ------------------------------------------------------------------- */

static struct dp_ctl ctl;
static struct dp_filter filter;
static struct dp_line *lines; /* what the slot of set_table leads to */
static struct loader loader = { .ctl_page = &ctl };
static bool keep_map; /* as a pin does, when the writer goes */
static int put_error; /* of the next loader_put_inner() */

int sets_map_filter(const struct loader *l, struct dp_filter **ret)
{
	(void)l;
	*ret = &filter;
	return 0;
}

static uint32_t line_count(void)
{
	return sets_table_lines(((const struct dp_set_header *)lines)->capacity);
}

int sets_map_open(const struct loader *l, struct sets_map *ret)
{
	(void)l;
	*ret = (struct sets_map){ lines, lines ? line_count() : 0 };
	return 0;
}

int sets_map_make(const struct loader *l, uint32_t count, struct sets_map *ret, int *ret_fd,
		  char **ret_why)
{
	(void)l, (void)ret_why;
	*ret = (struct sets_map){ calloc(count, sizeof(struct dp_line)), count };
	*ret_fd = -1;
	return ret->lines ? 0 : -ENOMEM;
}

int loader_put_inner(struct loader *l, enum loader_inner which, int fd, char **ret_why)
{
	(void)l, (void)which, (void)fd, (void)ret_why;
	return put_error;
}

void sets_map_done(struct sets_map *m)
{
	if (!keep_map)
		free(m->lines);
	*m = (struct sets_map){};
}

int install_settle(void)
{
	return 0;
}

/* ---- a daemon's worth of it -------------------------------------------------------------------------- */

static struct sd_event *event;
static struct worker *worker;
static struct generation *running;
static struct sets *sets;

struct answer {
	bool given;
	int error;
	char why[200];
	uint64_t added, refreshed, removed, absent, members;
};

static void run_names(const char *sets_json)
{
	struct generation *g = NULL;
	_cleanup_free_ char *text = NULL, *why = NULL;

	assert_true(
		asprintf(&text,
			 "{\"file\": \"a.yaml\", \"zones\": [], \"chains\": [], \"sets\": [%s]}",
			 sets_json) > 0);
	assert_int_equal(generation_new(&g, json_tokener_parse(text), &why), 0);
	assert_int_equal(generation_sets_assign(g, running, sets ? sets_taken(sets) : 0, &why), 0);
	generation_free(&running);
	running = g;
}

#define SET(name, max, ttl_ms, members)                                                        \
	"{\"name\": \"" name "\", \"source\": \"a.yaml:1\", \"runtime\": true, \"max\": " #max \
	", \"ttl_ms\": " #ttl_ms ", \"members\": " #members "}"
#define FIXED "{\"name\": \"fixed\", \"source\": \"a.yaml:2\", \"members\": 5}"

static void start_sets(void)
{
	_cleanup_free_ char *why = NULL;

	if (sets_new(&sets, event, worker, &loader, &running, &why) < 0)
		fail_msg("%s", why ? why : "no reason");
}

static int set_up(void **state)
{
	struct rng rng = { 11 };

	(void)state;
	ctl = (struct dp_ctl){};
	filter = (struct dp_filter){};
	put_error = 0;
	for (int i = 0; i < DP_HASH_KEYS; i++)
		ctl.hash_key[i] = rng_next(&rng);
	assert_int_equal(sd_event_new(&event), 0);
	assert_int_equal(worker_new(&worker, event), 0);
	run_names(SET("banned", 3000, 0, 0) "," SET("listed", 10, 60000, 7) "," FIXED);
	start_sets();
	return 0;
}

/* What a daemon that ends leaves. */
static void free_sets(void)
{
	lines = sets_table(sets)->lines;
	keep_map = true;
	sets_stop(sets);
	sets_free(&sets);
	keep_map = false;
}

static int tear_down(void **state)
{
	(void)state;
	sets_stop(sets);
	worker_free(&worker);
	sets_free(&sets);
	lines = NULL;
	generation_free(&running);
	event = sd_event_unref(event);
	return 0;
}

static void note(void *ctx, struct sets_outcome *o)
{
	struct answer *a = ctx;

	assert_false(a->given);
	*a = (struct answer){ .given = true, .error = o->error };
	(void)snprintf(a->why, sizeof(a->why), "%s", o->why ? o->why : "");
	a->added = o->added;
	a->refreshed = o->refreshed;
	a->removed = o->removed;
	a->absent = o->absent.count;
	a->members = o->members;
}

/* IPv4 addresses from `first` on. */
static void ask(enum sets_verb verb, const char *set, uint32_t first, uint32_t count,
		int64_t ttl_ms, struct answer *ret)
{
	struct sets_request r = { .verb = verb, .set = strdup(set), .has_ttl = ttl_ms >= 0 };

	r.ttl_ms = ttl_ms < 0 ? 0 : (uint64_t)ttl_ms;
	for (uint32_t i = 0; i < count; i++) {
		struct prefix p = { ADDR_IPV4, 32, first + i };

		assert_int_equal(vec_push(&r.keys, sets_key_of(&p)), 0);
	}
	*ret = (struct answer){};
	assert_int_equal(sets_submit(sets, &r, note, ret), 0);
}

/* The slot follows the writer's table: here they are the same memory. */
static void turn(void)
{
	assert_true(sd_event_run(event, 10000) >= 0);
	lines = sets_table(sets)->lines;
}

static struct answer wait_for(struct answer *a)
{
	for (int i = 0; !a->given && i < 10000; i++)
		turn();
	assert_true(a->given);
	return *a;
}

static struct answer done(enum sets_verb verb, const char *set, uint32_t first, uint32_t count,
			  int64_t ttl_ms)
{
	struct answer a;

	ask(verb, set, first, count, ttl_ms, &a);
	return wait_for(&a);
}

static bool met(uint32_t addr, const char *set)
{
	const struct sets_reader r = { &ctl, &filter, &lines };

	return sets_reader_ask(&r, false, addr, sets_now()) >>
		       generation_set(running, set)->number &
	       1;
}

/* ---- requests ----------------------------------------------------------------------------------------- */

static void members_come_and_go(void **state)
{
	struct answer a;

	(void)state;
	a = done(SETS_ADD, "banned", 100, 10, -1);
	assert_int_equal(a.added, 10);
	assert_int_equal(a.members, 10);
	assert_true(met(100, "banned") && met(109, "banned"));
	assert_false(met(110, "banned") || met(100, "listed"));
	a = done(SETS_ADD, "banned", 105, 10, -1);
	assert_int_equal(a.added, 5);
	assert_int_equal(a.refreshed, 5);
	a = done(SETS_DEL, "banned", 95, 10, -1);
	assert_int_equal(a.removed, 5);
	assert_int_equal(a.absent, 5);
	assert_int_equal(a.members, 10);
	assert_false(met(104, "banned"));
	assert_true(met(105, "banned"));
}

/* The policy's own members count; what is there already needs no room; nothing is left behind by a refusal. */
static void a_full_set_takes_all_or_nothing(void **state)
{
	struct answer a;

	(void)state;
	a = done(SETS_ADD, "listed", 1, 2, -1);
	assert_int_equal(a.added, 2);
	a = done(SETS_ADD, "listed", 1, 4, -1);
	assert_int_equal(a.error, -EDQUOT);
	assert_string_equal(a.why,
			    "set 'listed' holds 9 of 10 members, 2 more do not fit; nothing was "
			    "added");
	assert_int_equal(a.members, 2);
	assert_false(met(3, "listed"));
	a = done(SETS_ADD, "listed", 1, 3, -1);
	assert_int_equal(a.added, 1);
	assert_int_equal(a.refreshed, 2);
	a = done(SETS_ADD, "listed", 9, 1, -1);
	assert_string_equal(a.why, "set 'listed' holds 10 of 10 members; nothing was added");
}

/* A member that expires makes room for the next at once, whoever took it out of the table or not. */
static void what_expires_makes_room(void **state)
{
	struct answer a;

	(void)state;
	a = done(SETS_ADD, "listed", 1, 3, 1000);
	assert_int_equal(a.added, 3);
	assert_int_equal(done(SETS_ADD, "listed", 9, 1, -1).error, -EDQUOT);
	for (int i = 0; met(1, "listed") && i < 1000; i++)
		turn();
	assert_false(met(1, "listed"));
	a = done(SETS_ADD, "listed", 9, 3, -1);
	assert_int_equal(a.error, 0);
	assert_int_equal(a.members, 3);
	for (int i = 0; sets_table(sets)->live > 3 && i < 1000; i++)
		turn();
	assert_int_equal(sets_table(sets)->live, 3);
}

static void wrong_sets_are_refused(void **state)
{
	struct answer a;

	(void)state;
	a = done(SETS_ADD, "baned", 1, 1, -1);
	assert_int_equal(a.error, -ENOENT);
	assert_string_equal(a.why, "there is no set 'baned'; did you mean 'banned'?");
	a = done(SETS_DEL, "fixed", 1, 1, -1);
	assert_int_equal(a.error, -EPERM);
	assert_string_equal(a.why,
			    "set 'fixed' has neither max nor ttl: change its items in the policy");
}

/* Requests are carried out in their order, whatever the loop does between their slices. */
static void requests_wait_for_each_other(void **state)
{
	struct answer a[4];

	(void)state;
	ask(SETS_ADD, "banned", 0, 2000, -1, &a[0]);
	ask(SETS_DEL, "banned", 0, 1500, -1, &a[1]);
	ask(SETS_ADD, "banned", 1000, 1000, -1, &a[2]);
	ask(SETS_ADD, "banned", 5000, 1500, -1, &a[3]);
	assert_int_equal(wait_for(&a[3]).error, 0);
	assert_int_equal(a[0].added, 2000);
	assert_int_equal(a[1].removed, 1500);
	assert_int_equal(a[2].added, 500);
	assert_int_equal(a[2].refreshed, 500);
	assert_int_equal(a[3].members, 2500);
}

/* Deleted numbers rest for a grace period; a full table waits for it instead of growing for ever. */
static void numbers_are_used_again(void **state)
{
	uint32_t capacity;

	(void)state;
	assert_int_equal(done(SETS_ADD, "banned", 0, 1000, -1).added, 1000);
	capacity = sets_table(sets)->capacity;
	for (uint32_t i = 0; i < 20; i++) {
		assert_int_equal(done(SETS_DEL, "banned", i * 1000, 1000, -1).removed, 1000);
		assert_int_equal(done(SETS_ADD, "banned", (i + 1) * 1000, 1000, -1).added, 1000);
	}
	assert_int_equal(sets_table(sets)->capacity, capacity);
}

static void a_table_that_cannot_grow_loses_nothing(void **state)
{
	struct answer a;

	(void)state;
	assert_int_equal(done(SETS_ADD, "banned", 0, 1000, -1).added, 1000);
	put_error = -ENOMEM;
	a = done(SETS_ADD, "banned", 500, 1000, -1);
	assert_int_equal(a.error, -ENOMEM);
	assert_int_equal(a.members, 1000);
	for (uint32_t n = 0; n < 1500; n++)
		assert_int_equal(met(n, "banned"), n < 1000);
	put_error = 0;
	assert_int_equal(done(SETS_ADD, "banned", 500, 1000, -1).added, 500);
	for (uint32_t n = 0; n < 1500; n++)
		assert_true(met(n, "banned"));
}

/* ---- policies come and go ------------------------------------------------------------------------------- */

static void members_follow_the_name(void **state)
{
	uint8_t number = generation_set(running, "banned")->number;
	struct answer a;

	(void)state;
	(void)done(SETS_ADD, "banned", 1, 5, -1);
	(void)done(SETS_ADD, "listed", 1, 2, -1);
	run_names(SET("first", 10, 0, 0) "," SET("banned", 4, 0, 0));
	assert_int_equal(generation_set(running, "banned")->number, number);
	sets_drop_unnamed(sets);
	/* Until they are gone their number is nobody else's. */
	assert_int_equal(__builtin_popcountll(sets_taken(sets)), 2);
	for (int i = 0; sets_table(sets)->live > 5 && i < 1000; i++)
		turn();
	assert_int_equal(sets_table(sets)->live, 5);
	assert_int_equal(sets_taken(sets), 1ull << number);
	assert_false(met(1, "first"));
	a = done(SETS_ADD, "banned", 50, 1, -1);
	assert_string_equal(a.why, "set 'banned' holds 5 of 4 members; nothing was added");
	assert_int_equal(done(SETS_ADD, "listed", 1, 1, -1).error, -ENOENT);
}

/* A request that waits while its set leaves the policy is told so. */
static void a_set_may_leave_before_its_turn(void **state)
{
	struct answer a, b;

	(void)state;
	ask(SETS_ADD, "banned", 0, 3000, -1, &a);
	ask(SETS_ADD, "listed", 0, 1, -1, &b);
	run_names(SET("banned", 3000, 0, 0));
	sets_drop_unnamed(sets);
	assert_int_equal(wait_for(&b).error, -ENOENT);
	assert_int_equal(a.added, 3000);
}

static void a_new_daemon_goes_on(void **state)
{
	(void)state;
	(void)done(SETS_ADD, "banned", 0, 2000, -1);
	(void)done(SETS_ADD, "listed", 7, 1, 1000);
	free_sets();
	start_sets();
	assert_int_equal(sets_table(sets)->live, 2001);
	for (int i = 0; sets_table(sets)->live > 2000 && i < 1000; i++)
		turn();
	assert_int_equal(sets_table(sets)->live, 2000);
	assert_int_equal(done(SETS_DEL, "banned", 0, 2000, -1).removed, 2000);
	assert_int_equal(ctl.set_lengths4, 0);
}

static void a_strange_table_is_let_go(void **state)
{
	(void)state;
	(void)done(SETS_ADD, "banned", 0, 10, -1);
	free_sets();
	lines[0].word[0] ^= 1;
	start_sets();
	assert_int_equal(ctl.set_lengths4, 0);
	lines = NULL;
	assert_int_equal(done(SETS_ADD, "banned", 3, 1, -1).added, 1);
	assert_true(met(3, "banned"));
}

static void who_waits_is_told_that_we_stop(void **state)
{
	struct answer a[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		ask(SETS_ADD, "banned", 0, 2000, -1, &a[i]);
	turn();
	sets_stop(sets);
	for (int i = 0; i < 3; i++)
		assert_int_equal(a[i].error, -ESHUTDOWN);
}

/* ---- numbers ---------------------------------------------------------------------------------------------- */

static struct generation *with_sets(unsigned int first, unsigned int count)
{
	struct json_object *json = json_tokener_parse(
		"{\"file\": \"a.yaml\", \"zones\": [], \"chains\": [], \"sets\": []}");
	struct json_object *rows = json_object_object_get(json, "sets");
	_cleanup_free_ char *why = NULL;
	struct generation *g = NULL;

	for (unsigned int i = first; i < first + count; i++) {
		struct json_object *row = json_tokener_parse(SET("x", 9, 0, 0));
		char name[16];

		(void)snprintf(name, sizeof(name), "s%u", i);
		json_object_object_add(row, "name", json_object_new_string(name));
		json_object_array_add(rows, row);
	}
	assert_int_equal(generation_new(&g, json, &why), 0);
	return g;
}

static void numbers_belong_to_names(void **state)
{
	struct generation *a = with_sets(0, 40), *b = with_sets(20, 44), *c = with_sets(20, 45);
	struct dp_set_ordinals ordinals;
	_cleanup_free_ char *why = NULL;
	uint64_t seen = 0;

	(void)state;
	assert_int_equal(generation_sets_assign(a, NULL, 0xff, &why), 0);
	assert_int_equal(generation_set_numbers(a) & 0xff, 0);
	assert_int_equal(generation_sets_assign(b, a, 0, &why), 0);
	for (size_t i = 0; i < b->sets.count; i++) {
		const struct generation_set *old = generation_set(a, b->sets.at[i].name);

		assert_true(!old || old->number == b->sets.at[i].number);
		assert_false(seen >> b->sets.at[i].number & 1);
		seen |= 1ull << b->sets.at[i].number;
	}
	/* Those of `a` alone are still looked at by packets. */
	assert_int_equal(generation_set_numbers(a) & seen, seen & generation_set_numbers(a));
	generation_sets_patch(b, &ordinals);
	for (size_t i = 0; i < b->sets.count; i++)
		assert_int_equal(ordinals.ordinal[b->sets.at[i].number], i);
	assert_int_equal(generation_sets_assign(c, a, 0, &why), -ENOSPC);
	assert_non_null(strstr(why, "together have more than 64 run-time sets"));
	generation_free(&a);
	generation_free(&b);
	generation_free(&c);
}

static void saved_numbers_are_the_same(void **state)
{
	static const char *const damaged[] = { "{}", "{\"s0\": 1, \"s1\": 1}",
					       "{\"s0\": 1, \"s1\": 64}",
					       "{\"s0\": 1, \"s1\": \"2\"}" };
	struct generation *a = with_sets(0, 2);
	_cleanup_free_ char *why = NULL;
	struct json_object *json;

	(void)state;
	assert_int_equal(generation_sets_assign(a, NULL, 0x5, &why), 0);
	json = generation_sets_to_json(a);
	a->sets.at[0].number = a->sets.at[1].number = 0;
	assert_int_equal(generation_sets_from_json(a, json), 0);
	assert_int_equal(a->sets.at[0].number, 1);
	assert_int_equal(a->sets.at[1].number, 3);
	json_object_put(json);
	for (size_t i = 0; i < sizeof(damaged) / sizeof(*damaged); i++) {
		json = json_tokener_parse(damaged[i]);
		assert_int_equal(generation_sets_from_json(a, json), -EBADMSG);
		json_object_put(json);
	}
	generation_free(&a);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(members_come_and_go),
		CASE(a_full_set_takes_all_or_nothing),
		CASE(what_expires_makes_room),
		CASE(wrong_sets_are_refused),
		CASE(requests_wait_for_each_other),
		CASE(numbers_are_used_again),
		CASE(a_table_that_cannot_grow_loses_nothing),
		CASE(members_follow_the_name),
		CASE(a_set_may_leave_before_its_turn),
		CASE(a_new_daemon_goes_on),
		CASE(a_strange_table_is_let_go),
		CASE(who_waits_is_told_that_we_stop),
		cmocka_unit_test(numbers_belong_to_names),
		cmocka_unit_test(saved_numbers_are_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
