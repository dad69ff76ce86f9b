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
#include <linux/if_ether.h>

#include "loader_log.h"
#include "penstock.skel.h"

/* Enough for a mean that a timer tick does not show in, few enough for a tenth of a millisecond. */
#define COST_RUNS 2000

struct explain {
	struct penstock *skel;
	int prog[LOADER_PROG_COUNT];
};

void explain_free(struct explain **at)
{
	struct explain *e = *at;

	if (!e)
		return;
	if (e->skel)
		penstock__destroy(e->skel);
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
		{ skel->maps.meta, l->meta },
	};
	int r = 0;

	for (size_t i = 0; !r && i < sizeof(shared) / sizeof(*shared); i++)
		r = bpf_map__reuse_fd(shared[i].map, shared[i].fd);
	return r;
}

int explain_new(struct explain **ret, const struct loader *l, char **ret_why)
{
	_cleanup_(explain_free) struct explain *e = calloc(1, sizeof(*e));
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
	r = share_maps(e->skel, l);
	if (!r)
		r = penstock__load(e->skel);
	if (r) {
		loader_say(ret_why, "the kernel refused the programs for explain: %s: %s",
			   strerror(-r), loader_log_tail());
		return r;
	}
	e->prog[LOADER_XDP_INGRESS] = bpf_program__fd(e->skel->progs.xdp_ingress);
	e->prog[LOADER_TC_INGRESS] = bpf_program__fd(e->skel->progs.tc_ingress);
	e->prog[LOADER_TC_EGRESS] = bpf_program__fd(e->skel->progs.tc_egress);
	*ret = TAKE_PTR(e);
	return 0;
}

static int run(int prog, const void *frame, uint32_t len, int repeat, uint32_t *ret_mean_ns)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = len,
		    .repeat = repeat);
	int r;

	do {
		r = bpf_prog_test_run_opts(prog, &opts);
	} while (r == -EINTR);
	if (!r && ret_mean_ns)
		*ret_mean_ns = opts.duration;
	return r;
}

static int ask(struct explain *e, enum loader_prog prog, struct dp_explain *answer,
	       const void *frame, uint32_t len, uint32_t *ret_cost_ns)
{
	const struct dp_explain question = *answer;
	struct dp_explain *word = &e->skel->bss->explain;
	int r;

	*word = question;
	r = run(e->prog[prog], frame, len, 1, NULL);
	if (r)
		return r;
	*answer = *word;
	return ret_cost_ns ? run(e->prog[prog], frame, len, COST_RUNS, ret_cost_ns) : 0;
}

int explain_run(struct explain *e, enum loader_prog prog, uint8_t zone, enum dp_dir dir,
		const void *frame, uint32_t len, struct dp_explain *ret, uint32_t *ret_cost_ns)
{
	struct dp_explain answer = { .zone = zone, .dir = dir };
	int r;

	if (len < ETH_HLEN) /* the kernel's test run takes no less than an Ethernet header */
		return -EINVAL;
	r = ask(e, prog, &answer, frame, len, ret_cost_ns);
	/*
	 * The kernel's test run at TC refuses what a wire does bring there: frames that end inside the IP
	 * header or are longer than a page. The stages are the same at XDP, where they can be run.
	 */
	if (r == -EINVAL && prog != LOADER_XDP_INGRESS)
		r = ask(e, LOADER_XDP_INGRESS, &answer, frame, len, ret_cost_ns);
	if (!r)
		*ret = answer;
	return r;
}
