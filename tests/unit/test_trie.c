/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Class tables: what trie.c writes, a reader written from the format's description must find again.
 * The reference is a scan over the runs that the table was made from.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/bank_walk.h"
#include "tests/lib/rng.h"
#include "trie.h"

static void run_add(struct segments *s, u128 first, uint16_t class)
{
	size_t n = s->class_of.count;

	if (n && segments_first(s, n - 1) == first) {
		s->class_of.at[n - 1] = class;
		return;
	}
	if (s->wide)
		assert_int_equal(vec_push(&s->first6, first), 0);
	else
		assert_int_equal(vec_push(&s->first4, (uint32_t)first), 0);
	assert_int_equal(vec_push(&s->class_of, class), 0);
}

static uint32_t scan(const struct segments *s, u128 value)
{
	size_t i = s->class_of.count;

	while (segments_first(s, --i) > value)
		;
	return s->class_of.at[i];
}

struct written {
	struct lines lines;
	struct image image;
	uint32_t ref;
};

static void write_trie(struct written *w, const struct segments *s)
{
	uint32_t header;

	assert_int_equal(lines_add(&w->lines, 1, &header), 0);
	assert_int_equal(trie_write(&w->lines, s, &w->ref), 0);
	w->image = (struct image){ .lines = w->lines.vec.at, .count = w->lines.vec.count };
}

static void written_done(struct written *w)
{
	vec_done(&w->lines.vec);
}

static void check_value(const struct written *w, const struct segments *s, u128 value)
{
	int steps, limit = s->wide ? DP_NODE_STEPS_IPV6 : DP_NODE_STEPS_IPV4;
	uint32_t found = bank_address(&w->image, w->ref, value, s->wide ? 128 : 32, &steps);
	uint32_t expected = scan(s, value);

	assert_true(steps <= limit);
	if (found != expected)
		fail_msg("value %016" PRIx64 "%016" PRIx64 ": class %u, expected %u",
			 (uint64_t)(value >> 64), (uint64_t)value, found, expected);
}

/* The values around every border, where an error would be, and some anywhere. */
static void check_table(const struct segments *s, struct rng *rng)
{
	_cleanup_(written_done) struct written w = {};
	u128 last = s->wide ? ~(u128)0 : UINT32_MAX;
	size_t n = s->class_of.count, step = n / 2000 + 1;

	write_trie(&w, s);
	for (size_t i = 0; i < n; i += step) {
		u128 first = segments_first(s, i);

		check_value(&w, s, first);
		check_value(&w, s, (first - 1) & last);
		check_value(&w, s, (first + 1) & last);
	}
	for (int i = 0; i < 500; i++)
		check_value(&w, s, rng_u128(rng) & last);
	check_value(&w, s, 0);
	check_value(&w, s, last);
}

/* Rules out a first level of 256 KiB for a table that says the same everywhere. */
static void test_constant(void **state)
{
	_cleanup_(segments_done) struct segments s = {};
	_cleanup_(written_done) struct written w = {};

	(void)state;
	run_add(&s, 0, 7);
	write_trie(&w, &s);
	assert_int_equal(w.ref, DP_REF_CLASS | 7);
	assert_int_equal(w.lines.vec.count, 1);
}

/* Rules out a trie that gives a block without borders a node of its own. */
static void test_small_stays_small(void **state)
{
	_cleanup_(segments_done) struct segments s = {};
	_cleanup_(written_done) struct written w = {};

	(void)state;
	run_add(&s, 0, 0);
	run_add(&s, 0xc0000200, 1);
	run_add(&s, 0xc0000220, 0);
	write_trie(&w, &s);
	assert_int_equal(w.lines.vec.count, 1 + DP_TRIE_FIRST_LINES + 1);
}

/* Rules out a line for each 16 bits on the way to a lone host: a million hosts would need 350 MiB. */
static void test_lone_hosts_are_cheap(void **state)
{
	_cleanup_(segments_done) struct segments s = { .wide = true };
	_cleanup_(written_done) struct written w = {};
	struct rng rng = rng_seeded("lone hosts");

	(void)state;
	run_add(&s, 0, 0);
	for (u128 i = 1; i <= 100; i++) {
		u128 host = i << 112 | (rng_u128(&rng) >> 17);

		run_add(&s, host, 1);
		run_add(&s, host + 1, 0);
	}
	write_trie(&w, &s);
	assert_int_equal(w.lines.vec.count, 1 + DP_TRIE_FIRST_LINES + 100);
	check_table(&s, &rng);
}

/* count borders in the 16 bits that end at bit `low` of the address 198.18.0.0 or 2001:db8:… */
static void one_chunk(bool wide, unsigned int low, size_t count, struct rng *rng)
{
	_cleanup_(segments_done) struct segments s = { .wide = wide };
	u128 base = wide ? (u128)0x20010db800420043 << 64 | 0x0044004500460047 : 0xc6120000;
	uint32_t key = 0;

	run_add(&s, 0, 0);
	base = base >> (low + 16) << (low + 16);
	for (size_t i = 0; i < count; i++) {
		key = i * 65536 / count;
		run_add(&s, base | (u128)key << low, 1 + rng_below(rng, 65535));
	}
	check_table(&s, rng);
}

/*
 * Rules out a node that does not spill (15 ranges), a spill of one level only (197), trees whose
 * last line is left empty, and keys of 16 bits that overflow (65536 ranges).
 */
static void test_crowded_chunks(void **state)
{
	static const size_t counts[] = { 1,   13,  14,   15,   28,    29,   196,
					 197, 500, 2744, 2745, 38417, 65536 };
	struct rng rng = rng_seeded("crowded chunks");

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
		one_chunk(false, 0, counts[i], &rng);
		for (unsigned int low = 0; low <= 96; low += 48)
			one_chunk(true, low, counts[i], &rng);
	}
}

/* A border at every level below one another: /16, /17, /32, /33 … /128. */
static void test_nested(void **state)
{
	_cleanup_(segments_done) struct segments s6 = { .wide = true }, s4 = {};
	struct rng rng = rng_seeded("nested");
	u128 addr = ~(u128)0 / 3;

	(void)state;
	run_add(&s6, 0, 0);
	for (unsigned int len = 1; len <= 128; len++)
		run_add(&s6, addr >> (128 - len) << (128 - len), len);
	for (unsigned int len = 128; len >= 1; len--) {
		u128 end = (addr | (((u128)1 << (128 - len)) - 1)) + 1;

		run_add(&s6, end, len + 200);
	}
	check_table(&s6, &rng);
	run_add(&s4, 0, 0);
	for (unsigned int len = 1; len <= 32; len++)
		run_add(&s4, (uint32_t)addr >> (32 - len) << (32 - len), len);
	check_table(&s4, &rng);
}

/* The first and the last address of a space alone: /32 and /128 at the ends. */
static void test_ends(void **state)
{
	struct rng rng = rng_seeded("ends");

	(void)state;
	for (int wide = 0; wide < 2; wide++) {
		_cleanup_(segments_done) struct segments s = { .wide = wide };

		run_add(&s, 0, 1);
		run_add(&s, 1, 2);
		run_add(&s, wide ? ~(u128)0 : UINT32_MAX, 3);
		check_table(&s, &rng);
	}
}

/* Prefixes like those of policies: few lengths, many in one corner, some of them nested. */
static void random_table(bool wide, size_t count, struct rng *rng)
{
	_cleanup_(segments_done) struct segments s = { .wide = wide };
	unsigned int bits = wide ? 128 : 32;
	u128 at = 0;

	run_add(&s, 0, rng_below(rng, 4));
	for (size_t i = 0; i < count; i++) {
		u128 step = (u128)1 << rng_below(rng, bits - 8);

		step *= 1 + rng_below(rng, 3);
		if (step > (wide ? ~(u128)0 : UINT32_MAX) - at)
			break;
		at += step;
		run_add(&s, at, rng_below(rng, 65536));
		if (rng_below(rng, 4))
			at = at >> 8 << 8;
		if (segments_first(&s, s.class_of.count - 1) > at)
			at = segments_first(&s, s.class_of.count - 1);
	}
	check_table(&s, rng);
}

static void test_random(void **state)
{
	struct rng rng = rng_seeded("random tables");

	(void)state;
	for (int round = 0; round < 60; round++) {
		random_table(false, 1 + rng_below(&rng, 300), &rng);
		random_table(true, 1 + rng_below(&rng, 300), &rng);
	}
}

/* Rules out a last line cut short: 4097 values need 129 lines. */
static void test_array(void **state)
{
	static const uint32_t borders[] = { 0, 1, 31, 32, 33, 4000, 4096 };
	_cleanup_(segments_done) struct segments s = {};
	_cleanup_(written_done) struct written w = {};

	(void)state;
	for (size_t i = 0; i < sizeof(borders) / sizeof(*borders); i++)
		run_add(&s, borders[i], i * 9000);
	assert_int_equal(lines_add(&w.lines, 3, &w.ref), 0);
	assert_int_equal(array_write(&w.lines, &s, 4097, &w.ref), 0);
	assert_int_equal(w.lines.vec.count, 3 + 129);
	w.image = (struct image){ .lines = w.lines.vec.at, .count = w.lines.vec.count };
	for (uint32_t value = 0; value < 4097; value++)
		assert_int_equal(bank_array(&w.image, w.ref, value), scan(&s, value));
}

/* Rules out a limit that is only noticed when memory has run out. */
static void test_limit(void **state)
{
	struct lines lines = { .vec.count = IMAGE_MAX_LINES - 10 };
	uint32_t line;

	(void)state;
	assert_int_equal(lines_add(&lines, 11, &line), -E2BIG);
	assert_int_equal(lines.vec.count, IMAGE_MAX_LINES - 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_constant),
		cmocka_unit_test(test_small_stays_small),
		cmocka_unit_test(test_lone_hosts_are_cheap),
		cmocka_unit_test(test_crowded_chunks),
		cmocka_unit_test(test_nested),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_array),
		cmocka_unit_test(test_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
