/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over CPUs, and clearing; then the numbers that explain gives for frames, which count nothing. */
#include "lib/lab.h"

#include <errno.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/ethernet.h>

#include "counters.h"
#include "explain.h"

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

/* Slot s counts s + 1 packets and 1000 s bytes on the first CPU, and one of either on all others. */
static void fill_block(uint32_t key)
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ struct dp_rule_block *block = calloc((size_t)cpus, sizeof(*block));

	assert_non_null(block);
	for (int cpu = 0; cpu < cpus; cpu++) {
		for (uint32_t i = 0; i < DP_RULE_BLOCK; i++) {
			uint32_t slot = key * DP_RULE_BLOCK + i;

			block[cpu].count[i] = cpu ? (struct dp_count){ 1, 1 }
						  : (struct dp_count){ slot + 1, 1000ull * slot };
		}
	}
	assert_int_equal(bpf_map_update_elem(l->rule_counters, &key, block, BPF_ANY), 0);
}

static void check_slots(const struct dp_count *counts, uint32_t slots, uint32_t cleared)
{
	uint64_t others = (uint64_t)libbpf_num_possible_cpus() - 1;

	for (uint32_t slot = 0; slot < slots; slot++) {
		struct dp_count want = { slot + 1 + others, 1000ull * slot + others };

		if (slot == cleared)
			want = (struct dp_count){};
		assert_int_equal(counts[slot].packets, want.packets);
		assert_int_equal(counts[slot].bytes, want.bytes);
	}
}

static void sums_rules_over_cpus(void **state)
{
	struct dp_count counts[3 * DP_RULE_BLOCK];

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
	_cleanup_free_ struct dp_count *counts = calloc(DP_RULE_SLOTS, sizeof(*counts));

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

/* ---- explain ------------------------------------------------------------------------------------- */

static void explains_without_counting(void **state)
{
	static const enum loader_prog progs[] = { LOADER_XDP_INGRESS, LOADER_TC_INGRESS,
						  LOADER_TC_EGRESS };
	_cleanup_(explain_free) struct explain *e = NULL;
	_cleanup_free_ char *why = NULL;
	uint8_t frame[60] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5 };
	struct dp_explain answer;
	uint32_t cost;

	(void)state;
	if (explain_new(&e, l, &why))
		fail_msg("explain_new: %s", why);
	assert_int_equal(
		explain_run(e, LOADER_XDP_INGRESS, 1, DP_INGRESS, frame, 60, &answer, &cost), 0);
	assert_int_equal(answer.reason, DP_REASON_NO_BANK);
	lab_policy(l); /* the answer is of the bank that is active when it is asked */
	for (unsigned int i = 0; i < sizeof(progs) / sizeof(*progs); i++) {
		enum dp_dir dir = progs[i] == LOADER_TC_EGRESS ? DP_EGRESS : DP_INGRESS;

		assert_int_equal(explain_run(e, progs[i], 1, dir, frame, 60, &answer, &cost), 0);
		assert_int_equal(answer.reason, DP_REASON_DEFAULT_DROP);
		assert_int_equal(answer.rule, DP_EXPLAIN_NO_RULE);
		assert_int_equal(answer.generation, 1);
		assert_int_equal(answer.packets, 1);
		assert_in_range(cost, 1, 10000);
		assert_int_equal(explain_run(e, progs[i], 2, dir, frame, 60, &answer, &cost), 0);
		assert_int_equal(answer.reason, DP_REASON_DEFAULT_PASS);
		assert_int_equal(explain_run(e, progs[i], 3, dir, frame, 60, &answer, &cost), 0);
		assert_int_equal(answer.reason, DP_REASON_NO_CHAIN);
		assert_int_equal(explain_run(e, progs[i], 1, dir, frame, 13, &answer, &cost),
				 -EINVAL);
	}
	for (uint32_t slot = 0; slot <= LAB_CHAIN_COUNTER(2, DP_EGRESS); slot++)
		assert_int_equal(lab_received_later(l, slot), 0);
}

static void refuses_to_explain_another_build(void **state)
{
	const struct dp_meta another = { .abi_version = DP_ABI_VERSION, .build = { 1 } };
	_cleanup_(explain_free) struct explain *e = NULL;
	_cleanup_free_ char *why = NULL;
	uint32_t key = 0;

	(void)state;
	assert_int_equal(bpf_map_update_elem(l->meta, &key, &another, BPF_ANY), 0);
	assert_int_equal(explain_new(&e, l, &why), -ESTALE);
	assert_non_null(strstr(why, "another build"));
	assert_null(e);
}

#define WITH_LOADER(test) cmocka_unit_test_setup_teardown(test, load, wipe)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_LOADER(sums_rules_over_cpus),
		WITH_LOADER(reads_every_slot_there_is),
		WITH_LOADER(sums_and_clears_chains),
		WITH_LOADER(explains_without_counting),
		WITH_LOADER(refuses_to_explain_another_build),
	};

	return cmocka_run_group_tests(tests, lab_enter, NULL);
}
