/* SPDX-License-Identifier: Apache-2.0 */
#include "gen.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "bpf/bench.h" /* before the skeleton, which needs it */
#include "sample.h"

#include "bench.skel.h"

#define LIVE_BATCH     64 /* frames a turn; the receiver's ring has 256 */
#define TEST_RUNS      2000000u
#define REFERENCE_RUNS 20000u
#define ARRIVE_TRIES   100
#define ARRIVE_WAIT_NS 1000000

int gen_init(struct gen *g, struct headers *lists, size_t count)
{
	struct bench_header *at;
	uint32_t all = 0;
	size_t bytes;

	for (size_t i = 0; i < count; i++) {
		lists[i].first = all;
		all += lists[i].count;
	}
	bytes = all * sizeof(*at);
	g->skel = bench__open();
	if (!g->skel || (all && bpf_map__set_max_entries(g->skel->maps.headers, all)) ||
	    bench__load(g->skel))
		return -errno;
	if (!all)
		return 0;
	at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		  bpf_map__fd(g->skel->maps.headers), 0);
	if (at == MAP_FAILED)
		return -errno;
	for (size_t i = 0; i < count; i++)
		memcpy(&at[lists[i].first], lists[i].at, lists[i].count * sizeof(*at));
	(void)munmap(at, bytes);
	return 0;
}

void gen_done(struct gen *g)
{
	bench__destroy(g->skel);
	*g = (struct gen){};
}

/* The generator keeps the Ethernet header and writes the rest alike. */
static void fill_frame(uint8_t frame[static BENCH_FRAME_BYTES], const struct bench_header *h)
{
	const struct ether_header eth = {
		.ether_dhost = PAIR_RX_MAC,
		.ether_shost = { 0x02, 0, 0, 0, 0, 0x01 },
		.ether_type = htons(ETHERTYPE_IP),
	};
	const struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tot_len = htons(BENCH_FRAME_BYTES - sizeof(eth)),
		.ttl = 64,
		.protocol = h->proto,
		.saddr = h->src,
		.daddr = h->dst,
	};
	const struct bench_l4 l4 = {
		.first = h->first,
		.udp_len = htons(BENCH_FRAME_BYTES - sizeof(eth) - sizeof(ip)),
		.tcp_offset = BENCH_TCP_OFFSET,
		.flags = h->flags,
	};

	memset(frame, 0, BENCH_FRAME_BYTES);
	memcpy(frame, &eth, sizeof(eth));
	memcpy(frame + sizeof(eth), &ip, sizeof(ip));
	memcpy(frame + sizeof(eth) + sizeof(ip), &l4, sizeof(l4));
}

/* The last batch may still be in the ring when the test run ends. */
static bool all_arrived(uint64_t expected)
{
	const struct timespec wait = { .tv_nsec = ARRIVE_WAIT_NS };

	for (int i = 0; i < ARRIVE_TRIES; i++) {
		uint64_t received = pair_received();

		if (received >= expected)
			return received == expected;
		(void)nanosleep(&wait, NULL);
	}
	return false;
}

int gen_run(struct gen *g, const struct pair *pair, const struct headers *list, uint64_t frames,
	    double *ret_ns)
{
	uint64_t before = pair ? pair_received() : 0;
	struct bench_gen *state = &g->skel->bss->gen;
	uint8_t frame[BENCH_FRAME_BYTES];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = (int)frames, .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
		    .batch_size = LIVE_BATCH);

	fill_frame(frame, &(struct bench_header){});
	*state = (struct bench_gen){
		.to = pair ? pair->tx : 0,
		.first = list ? list->first : 0,
		.count = list ? list->count : 0,
		.total = frames,
		.warm = frames / 4,
		.random = state->random ?: 88172645463325252ull,
	};
	if (bpf_prog_test_run_opts(bpf_program__fd(g->skel->progs.generate), &opts))
		return -errno;
	if (state->sent != frames || (pair && !all_arrived(before + frames)))
		return -EBADMSG;
	*ret_ns = (double)(state->last_ns - state->first_ns) /
		  (double)(state->total - 1 - state->warm);
	return 0;
}

static int run_plain(int prog, const struct bench_header *header, uint32_t action, uint32_t repeat,
		     double *ret_ns)
{
	uint8_t frame[BENCH_FRAME_BYTES];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = (int)repeat);
	double start;

	fill_frame(frame, header);
	start = sample_cpu_ns();
	if (bpf_prog_test_run_opts(prog, &opts))
		return -errno;
	*ret_ns = (sample_cpu_ns() - start) / repeat;
	return opts.retval == action ? 0 : -EBADMSG;
}

int gen_test_run(int prog, const struct bench_header *header, uint32_t action, double *ret_ns)
{
	return run_plain(prog, header, action, TEST_RUNS, ret_ns);
}

int gen_reference(struct gen *g, uint32_t lines, double *ret_ns)
{
	const struct bench_header any = { .proto = IPPROTO_UDP };
	double base = 0, ns = 0;
	int r;

	g->skel->bss->ref_mask = lines - 1;
	r = run_plain(bpf_program__fd(g->skel->progs.reference), &any, XDP_DROP, REFERENCE_RUNS,
		      &ns)
		    ?: run_plain(bpf_program__fd(g->skel->progs.reference_base), &any, XDP_DROP,
				 REFERENCE_RUNS, &base);
	if (!r)
		*ret_ns = (ns - base) / BENCH_REF_TURNS;
	return r;
}
