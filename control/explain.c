/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See explain.h. The second load shares every map that a verdict depends on; its constants and the word
 * in .bss through which question and answer go are its own. One question at a time.
 */
#include "explain.h"

#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <sys/mman.h>

#include "loader_log.h"
#include "penstock.skel.h"

/* Enough for a mean that a timer tick does not show in, few enough for a tenth of a millisecond. */
#define COST_RUNS 2000

#define NEAR_BYTES (DP_BANKS * sizeof(struct dp_near))

struct explain {
	struct penstock *skel;
	int prog[LOADER_PROG_COUNT];
	const struct dp_near *near; /* both banks, mapped */
};

void explain_free(struct explain **at)
{
	struct explain *e = *at;

	if (!e)
		return;
	if (e->skel)
		penstock__destroy(e->skel);
	if (e->near)
		(void)munmap((void *)e->near, NEAR_BYTES);
	free(e);
	*at = NULL;
}

static int check_build(const struct loader *l, char **ret_why)
{
	struct dp_meta meta;
	uint8_t build[16];
	uint32_t key = 0;
	int r;

	r = bpf_map_lookup_elem(l->meta, &key, &meta);
	if (r)
		return r;
	loader_build(build);
	if (!memcmp(build, meta.build, sizeof(build)))
		return 0;
	loader_say(ret_why,
		   "the attached programs are of another build than this penstockd; restart it");
	return -ESTALE;
}

static int share_maps(struct penstock *skel, const struct loader *l)
{
	const struct {
		struct bpf_map *map;
		int fd;
	} shared[] = {
		{ skel->maps.ctl, l->ctl },
		{ skel->maps.banks, l->banks },
		{ skel->maps.near, l->near },
		{ skel->maps.devs, l->devs },
		{ skel->maps.rule_counters, l->rule_counters },
		{ skel->maps.chain_counters, l->chain_counters },
		{ skel->maps.flows, l->flows },
		{ skel->maps.pending, l->pending },
		{ skel->maps.fragments, l->fragments },
		{ skel->maps.state_counters, l->state_counters },
		{ skel->maps.set_filter, l->set_filter },
		{ skel->maps.set_table, l->set_table },
		{ skel->maps.meta, l->meta },
		{ skel->maps.layouts, l->layouts },
		{ skel->maps.account_table, l->account_table },
		{ skel->maps.dropped, l->dropped },
		{ skel->maps.records, l->records },
		{ skel->maps.account_totals, l->account_totals },
	};
	int r = 0;

	for (size_t i = 0; !r && i < sizeof(shared) / sizeof(*shared); i++)
		r = bpf_map__reuse_fd(shared[i].map, shared[i].fd);
	return r;
}

int explain_new(struct explain **ret, const struct loader *l, char **ret_why)
{
	_cleanup_(explain_free) struct explain *e = calloc(1, sizeof(*e));
	void *near;
	int r;

	*ret_why = NULL;
	loader_log_begin();
	if (!e)
		return -ENOMEM;
	r = check_build(l, ret_why);
	if (r)
		return r;
	e->skel = penstock__open();
	if (!e->skel)
		return -errno;
	e->skel->rodata->dry_run = 1;
	e->skel->rodata->flow_mask = l->flow_slots - 1;
	r = share_maps(e->skel, l);
	if (!r)
		r = penstock__load(e->skel);
	if (r) {
		loader_say(ret_why, "the kernel refused the programs for explain: %s: %s",
			   strerror(-r), loader_log_tail());
		return r;
	}
	near = mmap(NULL, NEAR_BYTES, PROT_READ, MAP_SHARED, l->near, 0);
	if (near == MAP_FAILED)
		return -errno;
	e->near = near;
	e->prog[LOADER_XDP_INGRESS] = bpf_program__fd(e->skel->progs.xdp_ingress);
	e->prog[LOADER_TC_INGRESS] = bpf_program__fd(e->skel->progs.tc_ingress);
	e->prog[LOADER_TC_EGRESS] = bpf_program__fd(e->skel->progs.tc_egress);
	*ret = TAKE_PTR(e);
	return 0;
}

/* ---- one frame ----------------------------------------------------------------------------------------- */

/* As if the frame came, or went, by the question's device. */
static int run(int prog, bool xdp, const struct explain_question *q, int repeat,
	       uint32_t *ret_mean_ns)
{
	struct __sk_buff skb = { .ifindex = q->ifindex };
	struct xdp_md xdp_md = { .data_end = q->len, .ingress_ifindex = q->ifindex };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = q->frame, .data_size_in = q->len,
		    .repeat = repeat);
	int r;

	if (q->ifindex) {
		opts.ctx_in = xdp ? (void *)&xdp_md : (void *)&skb;
		opts.ctx_size_in = xdp ? sizeof(xdp_md) : sizeof(skb);
	}
	do {
		r = bpf_prog_test_run_opts(prog, &opts);
	} while (r == -EINTR);
	if (!r && ret_mean_ns)
		*ret_mean_ns = opts.duration;
	return r;
}

static int ask(struct explain *e, enum loader_prog prog, const struct explain_question *q,
	       struct explain_answer *answer)
{
	volatile struct dp_explain *word = &e->skel->bss->explain;
	bool xdp = prog == LOADER_XDP_INGRESS;
	int r;

	*answer = (struct explain_answer){ .prog = prog, .cost_error = -ENODATA };
	*word = (struct dp_explain){
		.zone = q->zone,
		.dir = q->dir,
		.bank = q->bank,
		.rule = DP_EXPLAIN_NO_RULE,
		.cut_rule = DP_EXPLAIN_NO_RULE,
	};
	r = run(e->prog[prog], xdp, q, 1, NULL);
	if (r)
		return r;
	answer->said = *word;
	if (q->measure)
		answer->cost_error = run(e->prog[prog], xdp, q, COST_RUNS, &answer->cost_ns);
	return 0;
}

/* ---- what numbers mean --------------------------------------------------------------------------------- */

static bool is_bank_of(const struct dp_near *near, uint64_t generation)
{
	const struct dp_bank_header *header = (const void *)near;

	return __atomic_load_n(&header->magic, __ATOMIC_ACQUIRE) == DP_BANK_MAGIC &&
	       __atomic_load_n(&header->generation, __ATOMIC_RELAXED) == generation;
}

static void add_candidate(struct explain_answer *a, uint32_t rule)
{
	if (a->candidate_count < EXPLAIN_CANDIDATES)
		a->candidates[a->candidate_count] = rule;
	a->candidate_count++;
}

static uint32_t slot_rule(const struct dp_near *near, const struct dp_chain *chain, uint32_t slot)
{
	uint32_t line = (chain->slots + slot / DP_CLASSES_PER_LINE) % DP_NEAR_LINES;

	if (!(chain->flags & DP_CHAIN_CUTS))
		return slot;
	return ((const uint16_t *)&near->line[line])[slot % DP_CLASSES_PER_LINE];
}

/* Slots ascend as their rules do; the rule of the trees is in none. */
static void find_candidates(const struct dp_near *near, const struct dp_chain *chain,
			    struct explain_answer *a)
{
	uint32_t cut_rule = a->said.cut_rule;

	for (uint32_t slot = 0; slot < DP_CHAIN_RULES; slot++) {
		uint32_t rule;

		if (!(a->said.matches[slot / 64] >> (slot % 64) & 1))
			continue;
		rule = slot_rule(near, chain, slot);
		if (cut_rule < rule) {
			add_candidate(a, cut_rule);
			cut_rule = DP_EXPLAIN_NO_RULE;
		}
		add_candidate(a, rule);
	}
	if (cut_rule != DP_EXPLAIN_NO_RULE)
		add_candidate(a, cut_rule);
}

/* The bank is the one that the program read, or -EAGAIN: it is written only when it is no longer active. */
static int look_up(const struct explain *e, const struct explain_question *q,
		   struct explain_answer *a)
{
	const struct dp_near *near = e->near;
	const struct dp_chain *chain;

	if (a->said.reason == DP_REASON_NO_BANK)
		return 0;
	if (!is_bank_of(near, a->said.generation))
		near++;
	if (!is_bank_of(near, a->said.generation))
		return -EAGAIN;
	chain = (const void *)&near->line[DP_CHAIN_LINE(q->zone, q->dir)];
	a->chain_flags = chain->flags;
	find_candidates(near, chain, a);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return is_bank_of(near, a->said.generation) ? 0 : -EAGAIN;
}

int explain_run(struct explain *e, const struct explain_question *q, struct explain_answer *ret)
{
	struct explain_question lone = *q;
	int r;

	if (q->len < ETH_HLEN) /* the kernel's test run takes no less than an Ethernet header */
		return -EINVAL;
	r = ask(e, q->prog, q, ret);
	if (r == -ENODEV) { /* it went away meanwhile */
		lone.ifindex = 0;
		r = ask(e, q->prog, &lone, ret);
	}
	/*
	 * The kernel's test run at TC refuses what a wire does bring there: frames that end inside the IP
	 * header or are longer than a page. The stages are the same at XDP, where they can be run.
	 */
	if (r == -EINVAL && q->prog != LOADER_XDP_INGRESS)
		r = ask(e, LOADER_XDP_INGRESS, &lone, ret);
	return r ? r : look_up(e, q, ret);
}
