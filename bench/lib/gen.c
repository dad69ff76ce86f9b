/* SPDX-License-Identifier: Apache-2.0 */
#include "gen.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
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

int gen_init(struct gen *g)
{
	size_t bytes = sizeof(uint32_t) * BENCH_LIST * BENCH_LISTS;
	void *sources;

	g->skel = bench__open_and_load();
	if (!g->skel)
		return -errno;
	sources = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		       bpf_map__fd(g->skel->maps.sources), 0);
	if (sources == MAP_FAILED)
		return -errno;
	g->sources = sources;
	return 0;
}

void gen_done(struct gen *g)
{
	if (g->sources)
		(void)munmap(g->sources, sizeof(uint32_t) * BENCH_LIST * BENCH_LISTS);
	bench__destroy(g->skel);
	*g = (struct gen){};
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

void gen_fill(struct gen *g, unsigned int list, const uint32_t *addrs, size_t count)
{
	uint64_t state = 0x9e3779b97f4a7c15ull + list;

	for (size_t i = 0; i < BENCH_LIST; i++)
		g->sources[(size_t)list * BENCH_LIST + i] =
			htonl(addrs[(next_random(&state) >> 16) % count]);
}

static void fill_frame(uint8_t frame[static BENCH_FRAME_BYTES], uint32_t saddr, uint8_t proto)
{
	struct ether_header eth = {
		.ether_dhost = PAIR_RX_MAC,
		.ether_shost = { 0x02, 0, 0, 0, 0, 0x01 },
		.ether_type = htons(ETHERTYPE_IP),
	};
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tot_len = htons(BENCH_FRAME_BYTES - sizeof(eth)),
		.ttl = 64,
		.protocol = proto,
		.saddr = htonl(saddr),
		.daddr = htonl(0xc0000201), /* 192.0.2.1 */
	};
	struct udphdr udp = {
		.source = htons(40000),
		.dest = htons(53),
		.len = htons(BENCH_FRAME_BYTES - sizeof(eth) - sizeof(ip)),
	};
	struct tcphdr tcp = { .source = htons(40000), .dest = htons(80), .doff = 5, .syn = 1 };

	memset(frame, 0, BENCH_FRAME_BYTES);
	memcpy(frame, &eth, sizeof(eth));
	memcpy(frame + sizeof(eth), &ip, sizeof(ip));
	if (proto == IPPROTO_TCP)
		memcpy(frame + sizeof(eth) + sizeof(ip), &tcp, sizeof(tcp));
	else
		memcpy(frame + sizeof(eth) + sizeof(ip), &udp, sizeof(udp));
}

/* The last batch may still be in the ring when the test run ends. */
static bool all_arrived(const struct pair *pair, uint64_t expected)
{
	const struct timespec wait = { .tv_nsec = ARRIVE_WAIT_NS };

	for (int i = 0; i < ARRIVE_TRIES; i++) {
		uint64_t received = pair_received(pair);

		if (received >= expected)
			return received == expected;
		(void)nanosleep(&wait, NULL);
	}
	return false;
}

int gen_run(struct gen *g, const struct pair *pair, uint32_t list, uint64_t frames, double *ret_ns)
{
	uint64_t before = pair ? pair_received(pair) : 0;
	struct bench_gen *state = &g->skel->bss->gen;
	uint8_t frame[BENCH_FRAME_BYTES];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = (int)frames, .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
		    .batch_size = LIVE_BATCH);

	fill_frame(frame, 0, IPPROTO_UDP);
	*state = (struct bench_gen){
		.to = pair ? pair->tx : 0,
		.list = list,
		.total = frames,
		.warm = frames / 4,
		.random = state->random ?: 88172645463325252ull,
	};
	if (bpf_prog_test_run_opts(bpf_program__fd(g->skel->progs.generate), &opts))
		return -errno;
	if (state->sent != frames || (pair && !all_arrived(pair, before + frames)))
		return -EBADMSG;
	*ret_ns = (double)(state->last_ns - state->first_ns) /
		  (double)(state->total - 1 - state->warm);
	return 0;
}

static int run_plain(int prog, const struct gen_hot *hot, uint32_t repeat, double *ret_ns)
{
	uint8_t frame[BENCH_FRAME_BYTES];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = (int)repeat);
	double start;

	fill_frame(frame, hot->saddr, hot->proto);
	start = sample_cpu_ns();
	if (bpf_prog_test_run_opts(prog, &opts))
		return -errno;
	*ret_ns = (sample_cpu_ns() - start) / repeat;
	return opts.retval == hot->action ? 0 : -EBADMSG;
}

int gen_test_run(int prog, const struct gen_hot *hot, double *ret_ns)
{
	return run_plain(prog, hot, TEST_RUNS, ret_ns);
}

int gen_reference(struct gen *g, uint32_t lines, double *ret_ns)
{
	const struct gen_hot any = { .proto = IPPROTO_UDP, .action = XDP_DROP };
	double base, ns;
	int r;

	g->skel->bss->ref_mask = lines - 1;
	r = run_plain(bpf_program__fd(g->skel->progs.reference), &any, REFERENCE_RUNS, &ns)
		    ?: run_plain(bpf_program__fd(g->skel->progs.reference_base), &any,
				 REFERENCE_RUNS, &base);
	if (!r)
		*ret_ns = (ns - base) / BENCH_REF_TURNS;
	return r;
}
