/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over CPUs, and clearing. */
#include "lib/lab.h"

#include <errno.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "counters.h"

static struct loader *l;

static int load(void **state)
{
	(void)state;
	l = lab_load();
	return 0;
}

static int wipe(void **state)
{
	(void)state;
	loader_free(&l);
	lab_wipe();
	return 0;
}

/*
 * Slot s counts s + 1 packets and 1000 s bytes on the first CPU, and one of either on all others. The first CPU
 * was the last to see the rule; on it, the first hit is never, which is not the earliest time.
 */
static void fill_block(uint32_t key)
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ struct dp_rule_block *block = calloc((size_t)cpus, sizeof(*block));

	assert_non_null(block);
	for (int cpu = 0; cpu < cpus; cpu++) {
		for (uint32_t i = 0; i < DP_RULE_BLOCK; i++) {
			uint32_t slot = key * DP_RULE_BLOCK + i;

			block[cpu].count[i] =
				cpu ? (struct dp_rule_count){ 1, 1, 700 + (uint64_t)cpu, 800 }
				    : (struct dp_rule_count){ slot + 1, 1000ull * slot, 0, 900 };
		}
	}
	assert_int_equal(bpf_map_update_elem(l->rule_counters, &key, block, BPF_ANY), 0);
}

static void check_slots(const struct dp_rule_count *counts, uint32_t slots, uint32_t cleared)
{
	uint64_t others = (uint64_t)libbpf_num_possible_cpus() - 1;

	for (uint32_t slot = 0; slot < slots; slot++) {
		struct dp_rule_count want = { slot + 1 + others, 1000ull * slot + others,
					      others ? 701 : 0, 900 };

		if (slot == cleared)
			want = (struct dp_rule_count){};
		assert_memory_equal(&counts[slot], &want, sizeof(want));
	}
}

static void sums_rules_over_cpus(void **state)
{
	struct dp_rule_count counts[3 * DP_RULE_BLOCK];

	(void)state;
	for (uint32_t key = 0; key < 3; key++)
		fill_block(key);
	memset(counts, 0xff, sizeof(counts));
	assert_int_equal(counters_rules(l, 130, counts), 0);
	check_slots(counts, 130, UINT32_MAX);
	assert_int_equal(counts[130].packets, UINT64_MAX); /* no more than was asked for */
	assert_int_equal(counters_clear_rule(l, 70), 0);
	assert_int_equal(counters_clear_rule(l, 70), 0);
	assert_int_equal(counters_rules(l, 130, counts), 0);
	check_slots(counts, 130, 70);
	assert_int_equal(counters_rules(l, 0, counts), 0);
	assert_int_equal(counters_rules(l, DP_RULE_SLOTS + 1, counts), -EINVAL);
	assert_int_equal(counters_clear_rule(l, DP_RULE_SLOTS), -EINVAL);
}

static void reads_every_slot_there_is(void **state)
{
	_cleanup_free_ struct dp_rule_count *counts = calloc(DP_RULE_SLOTS, sizeof(*counts));

	(void)state;
	assert_non_null(counts);
	fill_block(DP_RULE_BLOCKS - 1);
	assert_int_equal(counters_rules(l, DP_RULE_SLOTS, counts), 0);
	assert_true(counts[DP_RULE_SLOTS - 1].packets >= DP_RULE_SLOTS);
	assert_int_equal(counts[0].packets, 0);
}

static void sums_and_clears_chains(void **state)
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ struct dp_chain_counters *parts = calloc((size_t)cpus, sizeof(*parts));
	struct dp_chain_counters sum;
	uint32_t key = 9;

	(void)state;
	for (int cpu = 0; cpu < cpus; cpu++) {
		parts[cpu].received = (struct dp_count){ 10, 100 };
		parts[cpu].audit_truncated.packets = 3;
		parts[cpu].reason[DP_REASON_COUNT - 1] = (struct dp_count){ 7, 8 };
	}
	assert_int_equal(bpf_map_update_elem(l->chain_counters, &key, parts, BPF_ANY), 0);
	assert_int_equal(counters_chain(l, key, &sum), 0);
	assert_int_equal(sum.received.packets, 10 * cpus);
	assert_int_equal(sum.received.bytes, 100 * cpus);
	assert_int_equal(sum.audit_truncated.packets, 3 * cpus);
	assert_int_equal(sum.reason[DP_REASON_COUNT - 1].bytes, 8 * cpus);
	assert_int_equal(counters_clear_chain(l, key), 0);
	assert_int_equal(counters_chain(l, key, &sum), 0);
	assert_int_equal(sum.received.packets, 0);
	assert_int_equal(counters_chain(l, DP_CHAIN_SLOTS, &sum), -EINVAL);
}

static void clears_a_slot_that_has_times_alone(void **state)
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ struct dp_rule_block *block = calloc((size_t)cpus, sizeof(*block));
	struct dp_rule_count counts[6];
	uint32_t key = 0;

	(void)state;
	assert_non_null(block);
	block[cpus - 1].count[5].first_ns = 7;
	assert_int_equal(bpf_map_update_elem(l->rule_counters, &key, block, BPF_ANY), 0);
	assert_int_equal(counters_rules(l, 6, counts), 0);
	assert_int_equal(counts[5].first_ns, 7);
	assert_int_equal(counters_clear_rule(l, 5), 0);
	assert_int_equal(counters_rules(l, 6, counts), 0);
	assert_int_equal(counts[5].first_ns, 0);
}

static void sums_what_became_of_flows(void **state)
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ struct dp_state_counters *parts = calloc((size_t)cpus, sizeof(*parts));
	struct dp_state_counters sum;
	uint32_t key = 0;

	(void)state;
	assert_non_null(parts);
	for (int cpu = 0; cpu < cpus; cpu++) {
		parts[cpu].count[0] = 3;
		parts[cpu].count[DP_STATE_COUNTER_COUNT - 1] = UINT32_MAX;
	}
	assert_int_equal(bpf_map_update_elem(l->state_counters, &key, parts, BPF_ANY), 0);
	assert_int_equal(counters_state(l, &sum), 0);
	assert_int_equal(sum.count[0], 3 * cpus);
	assert_int_equal(sum.count[DP_STATE_COUNTER_COUNT - 1],
			 (uint64_t)UINT32_MAX * (uint64_t)cpus);
}

#define WITH_LOADER(test) cmocka_unit_test_setup_teardown(test, load, wipe)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_LOADER(sums_rules_over_cpus),
		WITH_LOADER(reads_every_slot_there_is),
		WITH_LOADER(sums_and_clears_chains),
		WITH_LOADER(clears_a_slot_that_has_times_alone),
		WITH_LOADER(sums_what_became_of_flows),
	};

	return cmocka_run_group_tests(tests, lab_enter, NULL);
}
