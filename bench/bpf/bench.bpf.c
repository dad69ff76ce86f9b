/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The benchmark's own programs: the packet generator, which runs as a test run of live frames; the floors
 * to compare with; and the memory reference, a random read-modify-write of a cache line.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bench.h"

/* Of frames from all of IPv4. */
#define ANY_DST   0xc0000201 /* 192.0.2.1 */
#define ANY_PORTS (40000u << 16 | 53)

/* All lists, one behind the other; sized by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bench_header);
} headers SEC(".maps");

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

static __always_inline bool next_header(struct bench_header *h)
{
	const struct bench_header *listed;
	__u32 key = gen.first + gen.at;

	if (!gen.count) {
		gen.random = xorshift(gen.random);
		*h = (struct bench_header){
			.src = gen.random >> 32,
			.dst = bpf_htonl(ANY_DST),
			.first = bpf_htonl(ANY_PORTS),
			.proto = IPPROTO_UDP,
		};
		return true;
	}
	gen.at = gen.at + 1 < gen.count ? gen.at + 1 : 0;
	listed = bpf_map_lookup_elem(&headers, &key);
	if (listed)
		*h = *listed;
	return listed;
}

/* Of a header without options; RFC 1071. Sums of half words have no byte order. */
static __always_inline __u16 ip_checksum(const struct iphdr *ip)
{
	const __u16 *half = (const void *)ip;
	__u32 sum = 0;

	for (unsigned int i = 0; i < sizeof(*ip) / sizeof(*half); i++)
		sum += half[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return ~((sum & 0xffff) + (sum >> 16));
}

static __always_inline void write_frame(struct iphdr *ip, struct bench_l4 *l4,
					const struct bench_header *h)
{
	*ip = (struct iphdr){
		.version = 4,
		.ihl = 5,
		.tot_len = bpf_htons(BENCH_FRAME_BYTES - sizeof(struct ethhdr)),
		.ttl = 64,
		.protocol = h->proto,
		.saddr = h->src,
		.daddr = h->dst,
	};
	ip->check = ip_checksum(ip);
	*l4 = (struct bench_l4){
		.first = h->first,
		.udp_len = bpf_htons(BENCH_FRAME_BYTES - sizeof(struct ethhdr) - sizeof(*ip)),
		.tcp_offset = BENCH_TCP_OFFSET,
		.flags = h->flags,
	};
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct iphdr *ip = (void *)(eth + 1);
	struct bench_l4 *l4 = (void *)(ip + 1);
	struct bench_header h;
	__u64 n = gen.sent++;

	if ((void *)(l4 + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	if (n == gen.warm)
		gen.first_ns = bpf_ktime_get_ns();
	if (n == gen.total - 1)
		gen.last_ns = bpf_ktime_get_ns();
	if (!next_header(&h))
		return XDP_ABORTED;
	write_frame(ip, l4, &h);
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
