/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Classes against their definition: two values share a class if and only if they are in the same
 * groups.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "classes.h"
#include "tests/lib/rng.h"

#define VALUES      256 /* of the small space that is compared value by value */
#define SOURCES_MAX 12
#define GROUPS_MAX  10

/* A space small enough to be looked at value by value, of either width. */
struct toy {
	bool in_source[SOURCES_MAX][VALUES];
	struct range4 v4[SOURCES_MAX][VALUES];
	struct range6 v6[SOURCES_MAX][VALUES];
	struct class_source sources[SOURCES_MAX];
	uint32_t of_group[GROUPS_MAX][SOURCES_MAX];
	struct class_group groups[GROUPS_MAX];
	struct class_space space;
};

static void toy_sources(struct toy *toy, struct rng *rng)
{
	for (size_t s = 0; s < toy->space.source_count; s++) {
		bool in = rng_below(rng, 2);
		size_t n = 0;

		for (uint32_t v = 0; v < VALUES; v++) {
			in ^= !rng_below(rng, 1 + rng_below(rng, 60));
			toy->in_source[s][v] = in;
			if (in && v && toy->in_source[s][v - 1]) {
				toy->v4[s][n - 1].last = v;
				toy->v6[s][n - 1].last = v;
			} else if (in) {
				toy->v4[s][n] = (struct range4){ v, v };
				toy->v6[s][n++] = (struct range6){ v, v };
			}
		}
		toy->sources[s].count = n;
		if (toy->space.wide)
			toy->sources[s].v6 = toy->v6[s];
		else
			toy->sources[s].v4 = toy->v4[s];
	}
}

static void toy_init(struct toy *toy, struct rng *rng)
{
	*toy = (struct toy){ .space = {
				     .last = VALUES - 1,
				     .wide = rng_below(rng, 2),
				     .negated = rng_below(rng, 2),
				     .sources = toy->sources,
				     .source_count = rng_below(rng, SOURCES_MAX + 1),
				     .groups = toy->groups,
				     .group_count = rng_below(rng, GROUPS_MAX + 1),
			     } };
	toy_sources(toy, rng);
	for (size_t g = 0; g < toy->space.group_count; g++) {
		size_t n = 0;

		for (uint32_t s = 0; s < toy->space.source_count; s++)
			if (!rng_below(rng, 4))
				toy->of_group[g][n++] = s;
		toy->groups[g] = (struct class_group){ toy->of_group[g], n };
	}
}

/* Bit g: the value is in group g. */
static uint32_t groups_of(const struct toy *toy, uint32_t value)
{
	uint32_t mask = 0;

	for (size_t g = 0; g < toy->space.group_count; g++)
		for (size_t i = 0; i < toy->groups[g].count; i++)
			if (toy->in_source[toy->groups[g].sources[i]][value])
				mask |= 1u << g;
	return mask;
}

static uint32_t class_of(const struct classes *c, u128 value)
{
	size_t i = c->segments.class_of.count;

	while (segments_first(&c->segments, --i) > value)
		;
	return c->segments.class_of.at[i];
}

static uint32_t groups_of_class(const struct classes *c, size_t group_count, uint32_t class)
{
	uint32_t mask = 0;

	for (size_t g = 0; g < group_count; g++)
		for (size_t k = c->from.at[g]; k < c->from.at[g + 1]; k++)
			if (c->class_of.at[k] == class)
				mask |= 1u << g;
	return mask;
}

static void check_toy(const struct toy *toy, const struct classes *c)
{
	uint32_t seen = 0;

	assert_int_equal(groups_of_class(c, toy->space.group_count, 0), 0);
	for (uint32_t v = 0; v < VALUES; v++) {
		uint32_t class = class_of(c, v), mask = groups_of(toy, v);

		assert_true(class < c->count);
		assert_int_equal(groups_of_class(c, toy->space.group_count, class), mask);
		if (mask || toy->space.negated)
			assert_true(class > 0);
		else
			assert_int_equal(class, 0);
		/* Numbered in order of appearance. */
		assert_true(class <= seen + 1);
		seen = class > seen ? class : seen;
		for (uint32_t u = 0; u < v; u++)
			assert_true((class_of(c, u) == class) == (groups_of(toy, u) == mask));
	}
	assert_int_equal(c->count, seen + 1);
}

/*
 * Rules out XOR by group without counting (a value in two sources of one group would drop out of
 * it), a class for each border, and borders lost where one source ends and another begins.
 */
static void test_definition(void **state)
{
	struct rng rng = rng_seeded("classes");

	(void)state;
	for (int round = 0; round < 150; round++) {
		_cleanup_(classes_done) struct classes c = {};
		struct toy toy;

		toy_init(&toy, &rng);
		assert_int_equal(classes_init(&c, &toy.space), 0);
		check_toy(&toy, &c);
	}
}

/* Rules out an end at last + 1 that wraps to 0, in both widths. */
static void test_whole_space(void **state)
{
	static const struct range4 all4 = { 0, UINT32_MAX };
	static const struct range6 all6 = { 0, ~(u128)0 };
	const uint32_t first = 0;
	const struct class_group group = { &first, 1 };

	(void)state;
	for (int wide = 0; wide < 2; wide++) {
		_cleanup_(classes_done) struct classes c = {};
		const struct class_source source = { wide ? NULL : &all4, wide ? &all6 : NULL, 1 };
		const struct class_space space = {
			.last = wide ? ~(u128)0 : UINT32_MAX,
			.wide = wide,
			.sources = &source,
			.source_count = 1,
			.groups = &group,
			.group_count = 1,
		};

		assert_int_equal(classes_init(&c, &space), 0);
		assert_int_equal(c.segments.class_of.count, 1);
		assert_int_equal(c.segments.class_of.at[0], 1);
		assert_int_equal(c.count, 2);
	}
}

/* Rules out numbers that wrap at 16 bits: what is needed is counted past what is possible. */
static void test_too_many(void **state)
{
	enum {
		COUNT = 70000
	};
	_cleanup_(classes_done) struct classes c = {};
	struct range4 *ranges = calloc(COUNT, sizeof(*ranges));
	struct class_source *sources = calloc(COUNT, sizeof(*sources));
	struct class_group *groups = calloc(COUNT, sizeof(*groups));
	uint32_t *numbers = calloc(COUNT, sizeof(*numbers));
	const struct class_space space = {
		.last = UINT32_MAX,
		.sources = sources,
		.source_count = COUNT,
		.groups = groups,
		.group_count = COUNT,
	};

	(void)state;
	assert_true(ranges && sources && groups && numbers);
	for (uint32_t i = 0; i < COUNT; i++) {
		ranges[i] = (struct range4){ 2 * i, 2 * i };
		sources[i] = (struct class_source){ .v4 = &ranges[i], .count = 1 };
		numbers[i] = i;
		groups[i] = (struct class_group){ &numbers[i], 1 };
	}
	assert_int_equal(classes_init(&c, &space), 0);
	assert_int_equal(c.count, COUNT + 1);
	free(ranges);
	free(sources);
	free(groups);
	free(numbers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_definition),
		cmocka_unit_test(test_whole_space),
		cmocka_unit_test(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
