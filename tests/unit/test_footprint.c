/* SPDX-License-Identifier: Apache-2.0 */
/* What a policy will take of the kernel, against sums made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "footprint.h"
#include "policy.h"

/* Rules out a size that is not rounded, and one that is rounded when it need not be. */
static void test_bank_pages(void **state)
{
	(void)state;
	assert_int_equal(footprint_bank_pages(1), 1);
	assert_int_equal(footprint_bank_pages(DP_PAGE_LINES), 1);
	assert_int_equal(footprint_bank_pages(DP_PAGE_LINES + 1), 2);
	assert_int_equal(footprint_bank_pages(2 * DP_PAGE_LINES + 1), 4);
	assert_int_equal(footprint_bank_pages(1024 * DP_PAGE_LINES), 1024);
	assert_int_equal(footprint_bank_pages(IMAGE_MAX_LINES), IMAGE_MAX_LINES / DP_PAGE_LINES);
}

/* Member 0 is never used: a table for 1024 members has no room for the last of them. */
static void test_member_table(void **state)
{
	(void)state;
	assert_int_equal(footprint_member_capacity(0), FOOTPRINT_MEMBERS_MIN);
	assert_int_equal(footprint_member_capacity(1023), 1024);
	assert_int_equal(footprint_member_capacity(1024), 2048);
	assert_int_equal(footprint_member_capacity(FOOTPRINT_MEMBERS_MAX - 1),
			 FOOTPRINT_MEMBERS_MAX);
	assert_int_equal(footprint_member_capacity(FOOTPRINT_MEMBERS_MAX), 0);
	/* A header, 2048 heads of 16 a line, 1024 members of 2 a line. */
	assert_int_equal(footprint_member_lines(1024), 1 + 128 + 512);
}

static struct footprint footprint_of_text(const char *text, unsigned int cpus, uint64_t flow_slots)
{
	struct footprint f;
	struct policy policy;

	assert_int_equal(policy_load(&policy, "t", text, strlen(text), NULL), 0);
	f = footprint_of(policy.model, &policy.image, cpus, flow_slots);
	assert_in_range(f.bank_bytes, (uint64_t)policy.image.count * DP_LINE_BYTES,
			(uint64_t)policy.image.count * DP_LINE_BYTES * 2 + DP_PAGE_BYTES);
	policy_done(&policy);
	return f;
}

static uint64_t bytes_of(const struct footprint *f, const char *name)
{
	for (size_t i = 0; i < FOOTPRINT_MAPS; i++) {
		if (!strcmp(f->maps[i].name, name))
			return f->maps[i].bytes;
	}
	fail_msg("no map '%s'", name);
	return 0;
}

/* What grows with the CPUs and the daemon's option grows, nothing else does. */
static void test_fixed_maps(void **state)
{
	struct footprint one = footprint_of_text("version: 1\n", 1, 1024);
	struct footprint four = footprint_of_text("version: 1\n", 4, 4096);
	uint64_t sum = 0;

	(void)state;
	assert_int_equal(bytes_of(&one, "flows"), 1024 * 64);
	assert_int_equal(bytes_of(&four, "flows"), 4096 * 64);
	assert_int_equal(bytes_of(&four, "rule_counters") - bytes_of(&one, "rule_counters"),
			 3 * DP_RULE_SLOTS * sizeof(struct dp_rule_count));
	assert_int_equal(bytes_of(&four, "near"), bytes_of(&one, "near"));
	for (size_t i = 0; i < FOOTPRINT_MAPS; i++)
		sum += four.maps[i].bytes;
	assert_int_equal(four.fixed_bytes, sum);
	assert_int_equal(one.members, 0);
	assert_int_equal(one.member_bytes, 0);
}

/* The policy's own members are in the bank, not in the table; `max` counts both. */
static void test_run_time_sets(void **state)
{
	struct footprint f = footprint_of_text(
		"version: 1\nsets:\n  a: {max: 10, items: [192.0.2.1, 192.0.2.3, 192.0.2.1]}\n"
		"  b: {max: 2k}\n  c: {items: [192.0.2.1]}\n",
		1, 1024);
	struct footprint huge = footprint_of_text("version: 1\nsets:\n  a: {max: 100M}\n", 1, 1024);

	(void)state;
	assert_int_equal(f.members, 8 + 2000);
	assert_int_equal(f.member_bytes, (1 + 256 + 1024 + 63) / 64 * DP_PAGE_BYTES);
	assert_int_equal(huge.member_bytes,
			 (footprint_member_lines(FOOTPRINT_MEMBERS_MAX) + 63) / 64 * DP_PAGE_BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bank_pages),
		cmocka_unit_test(test_member_table),
		cmocka_unit_test(test_fixed_maps),
		cmocka_unit_test(test_run_time_sets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
