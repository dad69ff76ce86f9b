/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The benchmark's own programs: the packet generator, which runs as a test run of live frames; the floors
 * to compare with; and the memory reference, a random read-modify-write of a cache line.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "bench.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, BENCH_LIST / BENCH_LINE * BENCH_LISTS);
	__type(key, __u32);
	__type(value, struct bench_line);
} sources SEC(".maps");

struct line {
	__u64 word[8];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BENCH_REF_LINES);
	__type(key, __u32);
	__type(value, struct line);
} ref_lines SEC(".maps");

struct bench_gen gen = {};
__u32 ref_mask = 0;
__u64 ref_state = 88172645463325252ull;

static __always_inline __u64 xorshift(__u64 x)
{
	x ^= x << 13;
	x ^= x >> 7;
	return x ^ x << 17;
}

static __always_inline __u32 next_source(__u64 n)
{
	__u32 key = gen.list * (BENCH_LIST / BENCH_LINE) + (n & (BENCH_LIST - 1)) / BENCH_LINE;
	const struct bench_line *listed;

	if (gen.list == BENCH_EVERYWHERE) {
		gen.random = xorshift(gen.random);
		return gen.random >> 32;
	}
	listed = bpf_map_lookup_elem(&sources, &key);
	return listed ? listed->addr[n % BENCH_LINE] : 0;
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct iphdr *ip = (void *)(eth + 1);
	__u64 n = gen.sent++;

	if ((void *)(ip + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	if (n == gen.warm)
		gen.first_ns = bpf_ktime_get_ns();
	if (n == gen.total - 1)
		gen.last_ns = bpf_ktime_get_ns();
	ip->saddr = next_source(n);
	return gen.to ? bpf_redirect(gen.to, 0) : XDP_DROP;
}

/* frags, as penstock: the driver treats both alike then. */
SEC("xdp.frags")
int drop(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_DROP;
}

SEC("tc")
int tc_drop(struct __sk_buff *skb)
{
	(void)skb;
	return TC_ACT_SHOT;
}

/* Where the next line is depends on what the last one held, as a table walk does. */
SEC("xdp")
int reference(struct xdp_md *ctx)
{
	__u64 state = ref_state;

	(void)ctx;
	for (int i = 0; i < BENCH_REF_TURNS; i++) {
		__u32 key;
		struct line *l;

		state = xorshift(state);
		key = state >> 20 & ref_mask;
		l = bpf_map_lookup_elem(&ref_lines, &key);
		if (!l)
			break;
		state += l->word[1]; /* always 0, which the CPU does not know */
		l->word[0]++;
	}
	ref_state = state;
	return XDP_DROP;
}

SEC("xdp")
int reference_base(struct xdp_md *ctx)
{
	__u64 state = ref_state;

	(void)ctx;
	for (int i = 0; i < BENCH_REF_TURNS; i++) {
		state = xorshift(state);
		asm volatile("" : "+r"(state));
	}
	ref_state = state;
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
