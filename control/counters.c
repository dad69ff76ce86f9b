/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See counters.h. A value of a per-CPU map is one copy for each possible CPU, offline ones included, so a
 * CPU that went keeps its counts.
 */
#include "counters.h"

#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

static void add(struct dp_count *sum, const struct dp_count *part)
{
	sum->packets += part->packets;
	sum->bytes += part->bytes;
}

static void add_rule(struct dp_rule_count *sum, const struct dp_rule_count *part)
{
	sum->packets += part->packets;
	sum->bytes += part->bytes;
	if (part->first_ns && (!sum->first_ns || part->first_ns < sum->first_ns))
		sum->first_ns = part->first_ns;
	if (part->last_ns > sum->last_ns)
		sum->last_ns = part->last_ns;
}

/* Room for one value of every possible CPU. */
static int alloc_values(size_t value_bytes, void **ret, size_t *ret_cpus)
{
	int cpus = libbpf_num_possible_cpus();

	if (cpus < 0)
		return cpus;
	*ret = calloc((size_t)cpus, value_bytes);
	*ret_cpus = (size_t)cpus;
	return *ret ? 0 : -ENOMEM;
}

/* What was counted in maps of another layout, when there is any; value has room for it, zeroed. */
static int read_carried(const struct loader *l, enum loader_counters which, uint32_t key,
			void *value)
{
	return l->carried[which] < 0 ? 0 : bpf_map_lookup_elem(l->carried[which], &key, value);
}

/* For one that is about to have a new owner: no packet counts there, nor has a reader any use for it. */
static int write_carried(const struct loader *l, enum loader_counters which, uint32_t key,
			 const void *value)
{
	return l->carried[which] < 0 ? 0
				     : bpf_map_update_elem(l->carried[which], &key, value, BPF_ANY);
}

int counters_rules(const struct loader *l, uint32_t slots, struct dp_rule_count *ret)
{
	_cleanup_free_ void *values = NULL;
	struct dp_rule_block before = {};
	const struct dp_rule_block *block;
	size_t cpus;
	int r;

	if (slots > DP_RULE_SLOTS)
		return -EINVAL;
	r = alloc_values(sizeof(*block), &values, &cpus);
	if (r)
		return r;
	block = values;
	memset(ret, 0, slots * sizeof(*ret));
	for (uint32_t slot = 0; slot < slots; slot++) {
		uint32_t key = slot / DP_RULE_BLOCK, in_block = slot % DP_RULE_BLOCK;

		if (!in_block)
			r = bpf_map_lookup_elem(l->rule_counters, &key, values);
		if (!r && !in_block)
			r = read_carried(l, LOADER_COUNTERS_RULES, key, &before);
		if (r)
			return r;
		add_rule(&ret[slot], &before.count[in_block]);
		for (size_t cpu = 0; cpu < cpus; cpu++)
			add_rule(&ret[slot], &block[cpu].count[in_block]);
	}
	return 0;
}

int counters_chain(const struct loader *l, uint32_t slot, struct dp_chain_counters *ret)
{
	_cleanup_free_ void *values = NULL;
	const struct dp_chain_counters *part;
	struct dp_chain_counters sum = {}; /* it begins with what was before */
	size_t cpus;
	int r;

	if (slot >= DP_CHAIN_SLOTS)
		return -EINVAL;
	r = alloc_values(sizeof(*part), &values, &cpus);
	if (r)
		return r;
	r = bpf_map_lookup_elem(l->chain_counters, &slot, values);
	if (!r)
		r = read_carried(l, LOADER_COUNTERS_CHAINS, slot, &sum);
	if (r)
		return r;
	part = values;
	for (size_t cpu = 0; cpu < cpus; cpu++) {
		add(&sum.received, &part[cpu].received);
		add(&sum.audit_truncated, &part[cpu].audit_truncated);
		for (size_t i = 0; i < DP_REASON_MAX; i++)
			add(&sum.reason[i], &part[cpu].reason[i]);
	}
	*ret = sum;
	return 0;
}

int counters_state(const struct loader *l, struct dp_state_counters *ret)
{
	_cleanup_free_ void *values = NULL;
	const struct dp_state_counters *part;
	struct dp_state_counters sum = {};
	uint32_t key = 0;
	size_t cpus;
	int r = alloc_values(sizeof(*part), &values, &cpus);

	if (r)
		return r;
	r = bpf_map_lookup_elem(l->state_counters, &key, values);
	if (!r)
		r = read_carried(l, LOADER_COUNTERS_STATE, key, &sum);
	if (r)
		return r;
	part = values;
	for (size_t cpu = 0; cpu < cpus; cpu++) {
		for (size_t i = 0; i < sizeof(sum.count) / sizeof(*sum.count); i++)
			sum.count[i] += part[cpu].count[i];
	}
	*ret = sum;
	return 0;
}

static int clear_carried_rule(const struct loader *l, uint32_t key, uint32_t in_block)
{
	struct dp_rule_block before = {};
	int r = read_carried(l, LOADER_COUNTERS_RULES, key, &before);

	before.count[in_block] = (struct dp_rule_count){};
	return r ? r : write_carried(l, LOADER_COUNTERS_RULES, key, &before);
}

int counters_clear_rule(const struct loader *l, uint32_t slot)
{
	uint32_t key = slot / DP_RULE_BLOCK, in_block = slot % DP_RULE_BLOCK;
	_cleanup_free_ void *values = NULL;
	struct dp_rule_block *block;
	bool dirty = false;
	size_t cpus;
	int r;

	if (slot >= DP_RULE_SLOTS)
		return -EINVAL;
	r = alloc_values(sizeof(*block), &values, &cpus);
	if (r)
		return r;
	r = bpf_map_lookup_elem(l->rule_counters, &key, values);
	if (r)
		return r;
	block = values;
	for (size_t cpu = 0; cpu < cpus; cpu++) {
		struct dp_rule_count *count = &block[cpu].count[in_block];

		dirty |= count->packets || count->bytes || count->first_ns || count->last_ns;
		*count = (struct dp_rule_count){};
	}
	r = dirty ? bpf_map_update_elem(l->rule_counters, &key, values, BPF_EXIST) : 0;
	return r ? r : clear_carried_rule(l, key, in_block);
}

int counters_clear_chain(const struct loader *l, uint32_t slot)
{
	_cleanup_free_ void *values = NULL;
	size_t cpus;
	int r;

	if (slot >= DP_CHAIN_SLOTS)
		return -EINVAL;
	r = alloc_values(sizeof(struct dp_chain_counters), &values, &cpus);
	if (r)
		return r;
	r = write_carried(l, LOADER_COUNTERS_CHAINS, slot, &(struct dp_chain_counters){});
	return r ? r : bpf_map_update_elem(l->chain_counters, &slot, values, BPF_EXIST);
}
