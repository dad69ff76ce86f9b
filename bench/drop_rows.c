/* SPDX-License-Identifier: Apache-2.0 */
#include "drop_rows.h"

#include <errno.h>
#include <linux/if_link.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include <bpf/bpf.h>

#include "bpf/bench.h" /* before the skeleton, which needs it */

#include "bench.skel.h"

#define ADDRESSES (128u * 1024)
#define PREFIXES  1000000u

#define HEAD                "version: 1\nattach:\n  bench: {dev: none}\n"
#define CHAIN(dir, verdict) "filter:\n  in:\n    at: bench." dir "\n    default: " verdict "\n"
#define RULE(text)          CHAIN("ingress", "pass") "    rules:\n      - {id: r, " text ", do: drop}\n"
#define LISTED                                              \
	HEAD "sets:\n  listed: {file: listed.txt}\n" CHAIN( \
		"ingress", "drop") "    rules:\n      - {id: listed, from: $listed, do: drop}\n"

static const struct {
	const char *text;
	int list; /* enum list_id, -1: none */
} policies[] = {
	[POLICY_NO_CHAIN] = { HEAD CHAIN("egress", "pass") "    rules: []\n", -1 },
	[POLICY_DEFAULT] = { HEAD CHAIN("ingress", "drop") "    rules: []\n", -1 },
	[POLICY_TCP_PORT] = { HEAD RULE("proto: tcp, dport: 80"), -1 },
	[POLICY_UDP_PORT] = { HEAD RULE("proto: udp, dport: 53"), -1 },
	[POLICY_ADDRESSES] = { LISTED, LIST_ADDRESSES },
	[POLICY_PREFIXES] = { LISTED, LIST_PREFIXES },
	[POLICY_FEED] = { LISTED, LIST_FEED },
};

#define EVERYWHERE BENCH_EVERYWHERE

static const struct live_row live_rows[] = {
	{ "generator alone", TARGET_NOWHERE, EVERYWHERE },
	{ "XDP_DROP", TARGET_DROP, EVERYWHERE },
	{ "XDP_DROP, sources from a list", TARGET_DROP, LIST_ADDRESSES },
	{ "penstock, 1 rule, no sets", TARGET_PENSTOCK, EVERYWHERE, POLICY_UDP_PORT },
	{ "penstock, 128 k addresses, members", TARGET_PENSTOCK, LIST_ADDRESSES, POLICY_ADDRESSES,
	  .aim_ns = 40, .memory = REFERENCE_2_16 },
	{ "penstock, 128 k addresses, all IPv4", TARGET_PENSTOCK, EVERYWHERE, POLICY_ADDRESSES,
	  .aim_ns = 40, .memory = REFERENCE_2_16 },
	{ "penstock, 1 M prefixes, members", TARGET_PENSTOCK, LIST_PREFIXES, POLICY_PREFIXES,
	  .aim_ns = 60, .memory = REFERENCE_2_18 },
	{ "penstock, 1 M prefixes, all IPv4", TARGET_PENSTOCK, EVERYWHERE, POLICY_PREFIXES,
	  .aim_ns = 60, .memory = REFERENCE_2_18 },
	{ "penstock, feed, members", TARGET_PENSTOCK, LIST_FEED, POLICY_FEED, .aim_ns = 40,
	  .memory = REFERENCE_2_16 },
	{ "penstock, feed, all IPv4", TARGET_PENSTOCK, EVERYWHERE, POLICY_FEED, .aim_ns = 40,
	  .memory = REFERENCE_2_16 },
	{ "xdp-filter, 128 k deny, members", TARGET_XDP_FILTER, LIST_ADDRESSES, XDP_FILTER_DENY },
	{ "xdp-filter, 128 k allow, all IPv4", TARGET_XDP_FILTER, EVERYWHERE, XDP_FILTER_ALLOW },
	{ "TC drop", TARGET_TC_DROP, LIST_ADDRESSES, .slowness = 2 },
	{ "penstock at TC, 128 k addresses, members", TARGET_PENSTOCK_TC, LIST_ADDRESSES,
	  POLICY_ADDRESSES, .slowness = 2 },
	{ "nft set of 128 k, members", TARGET_NFT, LIST_ADDRESSES, false, .slowness = 4 },
	{ "nft set of 128 k, all IPv4", TARGET_NFT, EVERYWHERE, false, .slowness = 4 },
	{ "nft interval set of 128 k, members", TARGET_NFT, LIST_ADDRESSES, true, .slowness = 8 },
};

#define TO_DROP  .hot = { .proto = IPPROTO_UDP, .action = XDP_DROP }
#define TO_PASS  .hot = { .proto = IPPROTO_UDP, .action = XDP_PASS }
#define SYN_DROP .hot = { .proto = IPPROTO_TCP, .action = XDP_DROP }

static const struct hot_row hot_rows[] = {
	{ "empty program", TARGET_DROP, TO_DROP },
	{ "penstock, no chain for the device", TARGET_PENSTOCK, POLICY_NO_CHAIN, TO_PASS },
	{ "penstock, chain without rules", TARGET_PENSTOCK, POLICY_DEFAULT, TO_DROP },
	{ "penstock, 1 rule (TCP port), matches", TARGET_PENSTOCK, POLICY_TCP_PORT, SYN_DROP,
	  .aim_ns = 8 },
	{ "penstock, 1 rule (TCP port), UDP frame", TARGET_PENSTOCK, POLICY_TCP_PORT, TO_PASS,
	  .aim_ns = 8 },
	{ "penstock, 128 k addresses, member", TARGET_PENSTOCK, POLICY_ADDRESSES, TO_DROP,
	  .member = true },
	{ "penstock, 128 k addresses, other", TARGET_PENSTOCK, POLICY_ADDRESSES, TO_DROP },
	{ "xdp-filter, 1 UDP port, matches", TARGET_XDP_FILTER, XDP_FILTER_PORTS, TO_DROP },
	{ "xdp-filter, 128 k deny, member", TARGET_XDP_FILTER, XDP_FILTER_DENY, TO_DROP,
	  .member = true },
	{ "xdp-filter, 128 k deny, other", TARGET_XDP_FILTER, XDP_FILTER_DENY, TO_PASS },
};

static const uint32_t reference_lines[REFERENCES] = {
	[REFERENCE_2_10] = 1u << 10,
	[REFERENCE_2_16] = 1u << 16,
	[REFERENCE_2_18] = 1u << 18,
	[REFERENCE_2_20] = 1u << 20,
};

static int failed(const char *what, int r)
{
	fprintf(stderr, "drop: %s: %s\n", what, strerror(-r));
	return r;
}

static int make_lists(struct stage *s, const struct options *o)
{
	int r = list_addresses(&s->lists[LIST_ADDRESSES], ADDRESSES)
			?: list_prefixes(&s->lists[LIST_PREFIXES], PREFIXES);

	if (!r && o->feed)
		r = list_read(&s->lists[LIST_FEED], o->feed);
	if (r)
		return failed("the lists", r);
	for (unsigned int i = 0; i < LIST_ID_COUNT; i++)
		if (s->lists[i].count)
			gen_fill(&s->gen, i, s->lists[i].members, s->lists[i].count);
	return 0;
}

static int make_filters(struct stage *s)
{
	for (unsigned int i = 0; i < POLICY_ID_COUNT; i++) {
		const struct list *list = policies[i].list < 0 ? NULL : &s->lists[policies[i].list];
		struct filter_list text = {};
		int r;

		if (list && !list->count)
			continue;
		if (list)
			text = (struct filter_list){ list->text, list->len };
		r = filter_new(&s->filters[i], policies[i].text, &text);
		if (r)
			return failed("penstock", r);
	}
	return 0;
}

/* Without xdp-tools the run goes on without its rows. */
static void make_peers(struct stage *s)
{
	const struct list *list = &s->lists[LIST_ADDRESSES];

	for (unsigned int i = 0; i <= XDP_FILTER_PORTS; i++) {
		int r = xdp_filter_new(&s->peers[i], i, list->members, list->count);

		if (r) {
			(void)failed("xdp-filter, left out", r);
			xdp_filter_done(&s->peers[i]);
		}
	}
}

static int attach_tc_drop(struct stage *s, unsigned int ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = bpf_program__fd(s->gen.skel->progs.tc_drop));

	return bpf_tc_hook_create(&hook) ?: bpf_tc_attach(&hook, &opts);
}

/* -ENODEV: what the row measures is not there. */
static int attach(struct stage *s, struct live_row *row)
{
	const struct list *list = &s->lists[LIST_ADDRESSES];
	struct nft_set set = { .dev = row->pair.rx_name, .intervals = row->which };
	unsigned int rx = row->pair.rx;

	switch (row->target) {
	case TARGET_DROP:
		return bpf_xdp_attach((int)rx, bpf_program__fd(s->gen.skel->progs.drop),
				      XDP_FLAGS_DRV_MODE, NULL);
	case TARGET_TC_DROP:
		return attach_tc_drop(s, rx);
	case TARGET_PENSTOCK:
	case TARGET_PENSTOCK_TC:
		if (!s->filters[row->which].skel)
			return -ENODEV;
		return filter_attach(&s->filters[row->which], rx,
				     row->target == TARGET_PENSTOCK_TC);
	case TARGET_XDP_FILTER:
		if (!s->peers[row->which].object)
			return -ENODEV;
		return xdp_filter_attach(&s->peers[row->which], rx);
	case TARGET_NFT:
		return nft_set_new(&set, list->members, list->count) == -ENOENT ? -ENODEV : 0;
	case TARGET_NOWHERE:
	case TARGET_COUNT:
		break;
	}
	return 0;
}

static bool wanted(const struct options *o, enum target target, const char *name)
{
	return !o->only || target == TARGET_DROP || strstr(name, o->only);
}

static int make_rows(struct stage *s, const struct options *o)
{
	s->live_count = sizeof(live_rows) / sizeof(*live_rows);
	s->hot_count = sizeof(hot_rows) / sizeof(*hot_rows);
	memcpy(s->live, live_rows, sizeof(live_rows));
	memcpy(s->hot, hot_rows, sizeof(hot_rows));
	for (size_t i = 0; i < s->live_count; i++) {
		struct live_row *row = &s->live[i];
		int r;

		row->absent = !wanted(o, row->target, row->name);
		if (row->absent)
			continue;
		r = pair_new(&row->pair, (unsigned int)i);
		if (r)
			return failed("veth", r);
		r = attach(s, row);
		row->absent = r == -ENODEV;
		if (r && !row->absent)
			return failed(row->name, r);
	}
	for (size_t i = 0; i < s->hot_count; i++) {
		struct hot_row *row = &s->hot[i];

		row->absent = !wanted(o, row->target, row->name) ||
			      (row->target == TARGET_XDP_FILTER && !s->peers[row->which].object);
		row->hot.saddr = row->member ? s->lists[LIST_ADDRESSES].members[0] : 0x0a000001;
	}
	return 0;
}

int stage_init(struct stage *s, const struct options *o)
{
	int r = gen_init(&s->gen);

	if (r)
		return failed("the generator", r);
	r = make_lists(s, o) ?: make_filters(s);
	if (r)
		return r;
	make_peers(s);
	r = make_rows(s, o);
	sample_pin(o->cpu);
	return r;
}

/*
 * What the program itself counted as dropped; false when it counts nothing, or when it lets some pass: a
 * few sources of all IPv4 are on the list of xdp-filter's allow row.
 */
static bool count_dropped(const struct stage *s, const struct live_row *row, uint64_t *ret)
{
	if (row->target == TARGET_PENSTOCK || row->target == TARGET_PENSTOCK_TC) {
		*ret = filter_counted(&s->filters[row->which], DP_REASON_RULE_DROP);
		if (row->sources == EVERYWHERE)
			*ret += filter_counted(&s->filters[row->which], DP_REASON_DEFAULT_DROP);
		return true;
	}
	if (row->target == TARGET_XDP_FILTER && row->which == XDP_FILTER_DENY) {
		*ret = xdp_filter_dropped(&s->peers[row->which]);
		return true;
	}
	return false;
}

static int run_live(struct stage *s, struct live_row *row, const struct options *o)
{
	uint64_t frames = o->frames / (row->slowness ?: 1), before = 0, after = 0;
	bool counts = count_dropped(s, row, &before);
	double ns;
	int r;

	r = gen_run(&s->gen, row->target == TARGET_NOWHERE ? NULL : &row->pair, row->sources,
		    frames, &ns);
	if (!r && counts && count_dropped(s, row, &after) && after - before != frames)
		r = -EBADMSG;
	if (r == -EBADMSG) {
		s->lost++;
		return 0;
	}
	if (r)
		return failed(row->name, r);
	samples_add(&row->samples, ns);
	return 0;
}

static int hot_prog(const struct stage *s, const struct hot_row *row)
{
	if (row->target == TARGET_PENSTOCK)
		return bpf_program__fd(s->filters[row->which].skel->progs.xdp_ingress);
	if (row->target == TARGET_XDP_FILTER)
		return s->peers[row->which].prog;
	return bpf_program__fd(s->gen.skel->progs.drop);
}

static int run_hot(struct stage *s, struct hot_row *row)
{
	double ns;
	int r = gen_test_run(hot_prog(s, row), &row->hot, &ns);

	if (r)
		return failed(row->name, r);
	samples_add(&row->samples, ns);
	return 0;
}

static int run_round(struct stage *s, const struct options *o)
{
	double ns;
	int r = 0;

	for (size_t i = 0; i < s->live_count && !r; i++)
		if (!s->live[i].absent)
			r = run_live(s, &s->live[i], o);
	for (size_t i = 0; i < s->hot_count && !r; i++)
		if (!s->hot[i].absent)
			r = run_hot(s, &s->hot[i]);
	for (size_t i = 0; i < REFERENCES && !r; i++) {
		r = gen_reference(&s->gen, reference_lines[i], &ns);
		if (!r)
			samples_add(&s->references[i], ns);
	}
	return r;
}

int stage_run(struct stage *s, const struct options *o)
{
	int r = 0;

	for (unsigned long i = 0; i < o->rounds && !r; i++) {
		r = run_round(s, o);
		fprintf(stderr, "\rround %lu of %lu", i + 1, o->rounds);
	}
	fputc('\n', stderr);
	return r;
}

void stage_done(struct stage *s)
{
	for (size_t i = 0; i < POLICY_ID_COUNT; i++)
		filter_done(&s->filters[i]);
	for (size_t i = 0; i <= XDP_FILTER_PORTS; i++)
		xdp_filter_done(&s->peers[i]);
	for (size_t i = 0; i < LIST_ID_COUNT; i++)
		list_done(&s->lists[i]);
	gen_done(&s->gen);
}
