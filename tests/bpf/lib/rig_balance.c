/* SPDX-License-Identifier: Apache-2.0 */
/* See rig_balance.h. */
#include "rig_balance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cmocka.h>

static void add_account(struct dp_count *to, const struct dp_account *a)
{
	to->packets += a->packets & DP_ACCOUNT_COUNT;
	to->bytes += a->bytes & DP_ACCOUNT_COUNT;
}

static int on_record(void *ctx, void *data, size_t len)
{
	struct rig *rig = ctx;
	const struct dp_record *r = data;

	assert_int_equal(len, sizeof(*r));
	assert_in_range(r->slot, 0, rig_per_cpu(RIG_ACCOUNT_SLOTS) - 1);
	add_account(&rig->recorded, &r->account);
	rig->records = reallocarray(rig->records, rig->record_count + 1, sizeof(*r));
	assert_non_null(rig->records);
	rig->records[rig->record_count++] = *r;
	return 0;
}

static size_t group_bytes(void)
{
	return rig_per_cpu(RIG_ACCOUNT_SLOTS / DP_ACCOUNT_WAYS) * sizeof(struct dp_account_group);
}

void rig_account_maps_new(struct rig *rig)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	uint32_t groups = rig_per_cpu(RIG_ACCOUNT_SLOTS / DP_ACCOUNT_WAYS), zero = 0;
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "accounts", sizeof(zero),
				sizeof(struct dp_account_group), groups, &opts);

	assert_true(fd >= 0);
	assert_int_equal(
		bpf_map_update_elem(bpf_map__fd(rig->skel->maps.account_table), &zero, &fd, 0), 0);
	rig->accounts = mmap(NULL, group_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(rig->accounts != MAP_FAILED);
	(void)close(fd);
	rig->ring = ring_buffer__new(bpf_map__fd(rig->skel->maps.records), on_record, rig, NULL);
	assert_non_null(rig->ring);
}

void rig_account_maps_clear(struct rig *rig)
{
	memset(rig->accounts, 0, group_bytes());
	memset(rig->dropped, 0, rig_per_cpu(DP_DROPPED_SLOTS) * sizeof(*rig->dropped));
	(void)ring_buffer__consume(rig->ring);
	rig->recorded = (struct dp_count){};
	rig->record_count = 0;
}

void rig_account_maps_free(struct rig *rig)
{
	(void)munmap(rig->accounts, group_bytes());
	ring_buffer__free(rig->ring);
	free(rig->records);
}

static struct dp_count sum_of(const struct dp_account *at, size_t count)
{
	struct dp_count sum = {};

	for (size_t i = 0; i < count; i++)
		add_account(&sum, &at[i]);
	return sum;
}

static void plus(struct dp_count *to, const struct dp_count *count)
{
	to->packets += count->packets;
	to->bytes += count->bytes;
}

static void assert_same(const char *what, struct dp_count a, struct dp_count b)
{
	if (a.packets != b.packets || a.bytes != b.bytes)
		fail_msg("%s: %llu packets, %llu bytes are not %llu, %llu", what, a.packets,
			 a.bytes, b.packets, b.bytes);
}

void rig_balance(struct rig *rig)
{
	struct dp_account_totals t = rig_account_totals(rig);
	struct dp_count passed = {}, dropped = {}, accounted = {}, folded;

	for (uint32_t c = 0; c < DP_CHAIN_SLOTS; c++) {
		struct dp_chain_counters counters = rig_chain_counters(rig, c);

		for (uint32_t reason = 0; reason < DP_REASON_COUNT; reason++)
			plus(rig_reason_passes(reason) ? &passed : &dropped,
			     &counters.reason[reason]);
	}
	assert_same("passed, by chains and by accounts", passed, t.passed);
	assert_same("dropped, by chains and by accounts", dropped, t.dropped);
	assert_true(ring_buffer__consume(rig->ring) >= 0);
	assert_same("recorded and read", t.recorded, rig->recorded);
	for (uint32_t g = 0; g < rig_per_cpu(RIG_ACCOUNT_SLOTS / DP_ACCOUNT_WAYS); g++) {
		struct dp_count sum = sum_of(rig->accounts[g].way, DP_ACCOUNT_WAYS);

		plus(&accounted, &sum);
	}
	plus(&accounted, &t.recorded);
	plus(&accounted, &t.unaccounted);
	plus(&accounted, &t.elsewhere);
	assert_same("passed and accounted", passed, accounted);
	folded = sum_of(rig->dropped, rig_per_cpu(DP_DROPPED_SLOTS));
	plus(&folded, &t.folded);
	assert_same("dropped and kept or folded", dropped, folded);
}
