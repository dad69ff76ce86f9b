/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of prefixes against a list that is searched from end to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "addr.h"
#include "tests/lib/rng.h"

static struct prefix prefix(const char *text)
{
	struct addr_error error;
	struct prefix p;

	assert_true(prefix_parse(text, strlen(text), &p, &error));
	return p;
}

static void add(struct prefix_set *set, const char *text)
{
	struct prefix p = prefix(text);

	assert_int_equal(prefix_set_add(set, &p), 0);
}

static u128 size_of(const struct prefix *p)
{
	return (u128)1 << ((p->family == ADDR_IPV4 ? 32 : 128) - p->len);
}

static bool has_all_of(const struct prefix_set *set, const struct prefix *p)
{
	u128 last = p->family == ADDR_IPV6 && !p->len ? ~(u128)0 : p->addr + size_of(p) - 1;

	return prefix_set_has(set, p->family, p->addr, last);
}

static bool has(const struct prefix_set *set, const char *text)
{
	struct prefix p = prefix(text);

	return has_all_of(set, &p);
}

/*
 * Rules out counting a repeated covered prefix twice, and merging neighbours of different families.
 */
static void test_counts(void **state)
{
	struct prefix_set set = {};

	(void)state;
	add(&set, "10.1.0.0/16");
	add(&set, "10.0.0.0/8");
	add(&set, "10.1.0.0/16");
	add(&set, "10.1.2.0/24");
	add(&set, "11.0.0.0/8");
	add(&set, "2001:db8::/32");
	add(&set, "2001:db8::/32");
	add(&set, "2001:db8::/48");
	assert_int_equal(prefix_set_seal(&set), 0);
	assert_int_equal(set.given, 8);
	assert_int_equal(set.duplicates, 2);
	assert_int_equal(set.covered, 3);
	assert_int_equal(prefix_set_members(&set), 3);
	assert_int_equal(set.v4.count, 1);
	assert_int_equal(set.v4.at[0].first, 0x0a000000);
	assert_int_equal(set.v4.at[0].last, 0x0bffffff);
	assert_int_equal(set.v6.count, 1);
	assert_int_equal(prefix_set_seal(&set), 0); /* again: no change */
	assert_int_equal(set.given, 8);
	prefix_set_done(&set);
}

/* Rules out ends computed with one bit too few: the last address plus one is 0 again. */
static void test_edges(void **state)
{
	struct prefix_set set = {};

	(void)state;
	assert_int_equal(prefix_set_seal(&set), 0);
	assert_false(has(&set, "0.0.0.0"));
	assert_false(has(&set, "::/0"));
	prefix_set_done(&set);

	add(&set, "255.255.255.255");
	add(&set, "0.0.0.0");
	add(&set, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	add(&set, "::");
	assert_int_equal(prefix_set_seal(&set), 0);
	assert_int_equal(set.v4.count, 2);
	assert_int_equal(set.v6.count, 2);
	assert_true(has(&set, "255.255.255.255"));
	assert_false(has(&set, "255.255.255.254"));
	assert_true(has(&set, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
	assert_false(has(&set, "::1"));
	assert_false(has(&set, "0.0.0.0/31"));
	prefix_set_done(&set);

	add(&set, "0.0.0.0/0");
	add(&set, "::/0");
	add(&set, "255.255.255.255");
	assert_int_equal(prefix_set_seal(&set), 0);
	assert_int_equal(set.covered, 1);
	assert_true(has(&set, "0.0.0.0/0"));
	assert_true(has(&set, "::/0"));
	prefix_set_done(&set);
}

/* A small corner of either space, where prefixes meet often. */
static struct prefix random_prefix(struct rng *rng)
{
	bool v4 = rng_below(rng, 2);
	unsigned int bits = v4 ? 32 : 128, len = bits - rng_below(rng, 9);
	u128 base = v4 ? 0xffffff00 : (~(u128)0 << 8), addr = base | rng_below(rng, 256);

	addr = addr >> (bits - len) << (bits - len);
	return (struct prefix){ v4 ? ADDR_IPV4 : ADDR_IPV6, len, addr };
}

static bool inside(const struct prefix *a, const struct prefix *b)
{
	return a->family == b->family && a->len >= b->len &&
	       !((a->addr ^ b->addr) & ~(size_of(b) - 1));
}

static void check_counts(const struct prefix_set *set, const struct prefix *list, size_t count)
{
	uint64_t duplicates = 0, covered = 0;

	for (size_t i = 0; i < count; i++) {
		bool again = false, within = false;

		for (size_t k = 0; k < count; k++) {
			bool same = inside(&list[i], &list[k]) && list[i].len == list[k].len;

			again |= same && k < i;
			within |= !same && inside(&list[i], &list[k]);
		}
		duplicates += again;
		covered += within && !again;
	}
	assert_int_equal(set->given, count);
	assert_int_equal(set->duplicates, duplicates);
	assert_int_equal(set->covered, covered);
}

static void check_shape(const struct prefix_set *set)
{
	for (size_t i = 0; i < set->v4.count; i++) {
		assert_true(set->v4.at[i].first <= set->v4.at[i].last);
		if (i)
			assert_true(set->v4.at[i].first > (uint64_t)set->v4.at[i - 1].last + 1);
	}
	for (size_t i = 0; i < set->v6.count; i++) {
		assert_true(set->v6.at[i].first <= set->v6.at[i].last);
		if (i)
			assert_true(set->v6.at[i].first - 1 > set->v6.at[i - 1].last);
	}
}

/* Whether the list as a whole covers p, address by address. */
static bool list_has(const struct prefix *list, size_t count, const struct prefix *p)
{
	for (u128 i = 0; i < size_of(p); i++) {
		struct prefix one = { p->family, p->family == ADDR_IPV4 ? 32 : 128, p->addr + i };
		bool found = false;

		for (size_t k = 0; k < count; k++)
			found |= inside(&one, &list[k]);
		if (!found)
			return false;
	}
	return true;
}

/* Rules out a merge that ends a wide range where a narrow one inside it ends. */
static void test_random(void **state)
{
	struct rng rng = rng_seeded("random sets");

	(void)state;
	for (int round = 0; round < 300; round++) {
		struct prefix list[60];
		size_t count = rng_below(&rng, 61);
		struct prefix_set set = {};

		for (size_t i = 0; i < count; i++) {
			list[i] = random_prefix(&rng);
			assert_int_equal(prefix_set_add(&set, &list[i]), 0);
		}
		assert_int_equal(prefix_set_seal(&set), 0);
		check_shape(&set);
		check_counts(&set, list, count);
		for (int i = 0; i < 100; i++) {
			struct prefix p = random_prefix(&rng);

			assert_true(has_all_of(&set, &p) == list_has(list, count, &p));
		}
		prefix_set_done(&set);
	}
}

/* Adds n prefixes over the whole space, the same for one seed whatever the order. */
static void fill(struct prefix_set *set, uint64_t seed, size_t n, bool backwards)
{
	for (size_t i = 0; i < n; i++) {
		struct rng rng = { seed + (backwards ? n - 1 - i : i) };
		bool v4 = rng_below(&rng, 2);
		unsigned int bits = v4 ? 32 : 128, len = bits - rng_below(&rng, 20);
		u128 addr = v4 ? (u128)(uint32_t)rng_next(&rng) : rng_u128(&rng);
		struct prefix p = { v4 ? ADDR_IPV4 : ADDR_IPV6, len,
				    addr >> (bits - len) << (bits - len) };

		assert_int_equal(prefix_set_add(set, &p), 0);
	}
	assert_int_equal(prefix_set_seal(set), 0);
}

/*
 * Rules out a sort that skips a digit: all bytes of an address differ here, in either order given.
 */
static void test_order_does_not_matter(void **state)
{
	struct prefix_set a = {}, b = {};
	uint64_t seed = rng_seeded("order").state;

	(void)state;
	fill(&a, seed, 50000, false);
	fill(&b, seed, 50000, true);
	check_shape(&a);
	assert_int_equal(a.v4.count, b.v4.count);
	assert_int_equal(a.v6.count, b.v6.count);
	assert_memory_equal(a.v4.at, b.v4.at, a.v4.count * sizeof(*a.v4.at));
	assert_memory_equal(a.v6.at, b.v6.at, a.v6.count * sizeof(*a.v6.at));
	assert_int_equal(a.covered, b.covered);
	prefix_set_done(&a);
	prefix_set_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_order_does_not_matter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
