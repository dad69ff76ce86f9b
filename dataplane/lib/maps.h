/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every map and load-time constant, once. */
#pragma once

#include "abi.h"
#include "bpf.h"
#include "pkt.h"

/*
 * Pages (struct dp_page). max_entries is a template: BPF_F_INNER_MAP lets every bank have its own size.
 * Sizes, not types: clang 14 emits only a forward declaration of a struct that an inner map alone names,
 * and libbpf then "can't determine value size".
 */
struct dp_bank_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, DP_PAGE_BYTES);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, DP_BANKS);
	__type(key, __u32);
	__array(values, struct dp_bank_map);
} banks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, DP_BANKS);
	__type(key, __u32);
	__type(value, struct dp_near);
} near SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dp_ctl);
} ctl SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DP_DEV_SLOTS);
	__type(key, __u32);
	__type(value, struct dp_dev);
} devs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DP_RULE_BLOCKS);
	__type(key, __u32);
	__type(value, struct dp_rule_block);
} rule_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DP_CHAIN_SLOTS);
	__type(key, __u32);
	__type(value, struct dp_chain_counters);
} chain_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dp_filter);
} set_filter SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct dp_bank_map);
} set_table SEC(".maps");

/* max_entries is set before the load, to a power of two. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, DP_FLOW_SLOTS);
	__type(key, __u32);
	__type(value, struct dp_flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, DP_PENDING_SLOTS);
	__type(key, __u32);
	__type(value, struct dp_flow);
} pending SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, DP_FRAGMENT_SLOTS);
	__type(key, __u32);
	__type(value, struct dp_fragment);
} fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dp_state_counters);
} state_counters SEC(".maps");

/* Groups (struct dp_account_group). */
struct dp_group_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, 2 * DP_ACCOUNT_WAYS * DP_LINE_BYTES);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct dp_group_map);
} account_table SEC(".maps");

/* max_entries is set before the load: so many for each CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, DP_DROPPED_SLOTS);
	__type(key, __u32);
	__type(value, struct dp_account);
} dropped SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, DP_RECORDS_BYTES);
} records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dp_account_totals);
} account_totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dp_meta);
} meta SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dp_layouts);
} layouts SEC(".maps");

/* A key for each hook: one may be interrupted by another, never by itself. Private to a load. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DP_HOOK_COUNT);
	__type(key, __u32);
	__type(value, struct key);
} scratch SEC(".maps");

/* Set for the second load that `explain` runs: the verifier then removes every write to a shared map. */
const volatile __u8 dry_run = 0;

/* Slots of `flows`, minus one. */
const volatile __u32 flow_mask = DP_FLOW_SLOTS - 1;

struct dp_explain explain = {};
