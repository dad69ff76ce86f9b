/* SPDX-License-Identifier: Apache-2.0 */
#include "filter.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define LOOPBACK 1
#define ZONE     1
#define SLOT     1

static int open_list(void *ctx, const char *path, const char **ret_text, size_t *ret_len)
{
	const struct filter_list *list = ctx;

	if (!list || strcmp(path, "listed.txt") != 0)
		return -ENOENT;
	*ret_text = list->text;
	*ret_len = list->len;
	return 0;
}

/* Counter slots as the daemon would hand them out to the only chain. */
static void assign_slots(struct dp_line *lines, const struct model *model)
{
	uint32_t slot = SLOT;

	for (size_t i = 0; i < model->chains.count; i++) {
		const struct model_chain *mc = &model->chains.at[i];
		struct dp_chain *chain = (void *)&lines[DP_CHAIN_LINE(mc->zone + 1, mc->dir)];
		struct dp_rule *rules = (void *)&lines[chain->rules];

		for (size_t r = 0; r < mc->rules.count; r++)
			rules[r].counter = slot++;
		chain->default_counter = slot++;
		chain->counter = (uint32_t)i + SLOT;
	}
}

/* The first lines stand twice. */
static int write_near(struct filter *f, const struct dp_line *lines, uint32_t count)
{
	size_t bytes = DP_BANKS * sizeof(struct dp_near);
	struct dp_near *near = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
				    bpf_map__fd(f->skel->maps.near), 0);

	if (near == MAP_FAILED)
		return -errno;
	memcpy(near[0].line, lines,
	       (size_t)(count < DP_NEAR_LINES ? count : DP_NEAR_LINES) * DP_LINE_BYTES);
	(void)munmap(near, bytes);
	return 0;
}

static int install(struct filter *f, const struct policy *policy)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	uint32_t pages = (policy->image.count + DP_PAGE_LINES - 1) / DP_PAGE_LINES, zero = 0;
	size_t bytes = (size_t)pages * DP_PAGE_BYTES;
	_cleanup_close_ int bank = -1;
	struct dp_line *lines;
	int r;

	bank = bpf_map_create(BPF_MAP_TYPE_ARRAY, "bank", 4, DP_PAGE_BYTES, pages, &opts);
	if (bank < 0)
		return -errno;
	lines = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bank, 0);
	if (lines == MAP_FAILED)
		return -errno;
	memcpy(lines, policy->image.lines, (size_t)policy->image.count * DP_LINE_BYTES);
	assign_slots(lines, policy->model);
	r = write_near(f, lines, policy->image.count);
	(void)munmap(lines, bytes);
	if (r)
		return r;
	f->lines = policy->image.count;
	if (bpf_map_update_elem(bpf_map__fd(f->skel->maps.banks), &zero, &bank, 0))
		return -errno;
	return 0;
}

static int set_zone(struct filter *f, uint32_t ifindex)
{
	struct dp_dev dev = { .ifindex = ifindex, .zone = { ZONE, ZONE } };
	uint32_t slot = ifindex % DP_DEV_SLOTS;

	return bpf_map_update_elem(bpf_map__fd(f->skel->maps.devs), &slot, &dev, 0) ? -errno : 0;
}

static double now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock */
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

int filter_new(struct filter *f, const char *text, const struct filter_list *list)
{
	const struct policy_files files = { .ctx = (void *)list, .open = open_list };
	_cleanup_(policy_done) struct policy policy = {};
	double start = now_ms();
	int r;

	r = policy_load(&policy, "bench.yaml", text, strlen(text), &files);
	if (r) {
		_cleanup_free_ char *why = diag_render(&policy.diags, 3);

		fprintf(stderr, "%s", why ?: "out of memory\n");
		return r;
	}
	f->compile_ms = now_ms() - start;
	f->skel = penstock__open_and_load();
	if (!f->skel)
		return -errno;
	return install(f, &policy) ?: set_zone(f, LOOPBACK);
}

void filter_done(struct filter *f)
{
	penstock__destroy(f->skel);
	*f = (struct filter){};
}

int filter_attach(struct filter *f, unsigned int ifindex, bool at_tc)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = bpf_program__fd(f->skel->progs.tc_ingress));
	int r = set_zone(f, ifindex);

	if (r)
		return r;
	if (at_tc)
		return bpf_tc_hook_create(&hook) ?: bpf_tc_attach(&hook, &opts);
	return bpf_xdp_attach((int)ifindex, bpf_program__fd(f->skel->progs.xdp_ingress),
			      XDP_FLAGS_DRV_MODE, NULL);
}

uint64_t filter_counted(const struct filter *f, enum dp_reason reason)
{
	_cleanup_free_ struct dp_chain_counters *cpu = NULL;
	int cpus = libbpf_num_possible_cpus();
	uint32_t slot = SLOT;
	uint64_t sum = 0;

	cpu = calloc((size_t)cpus, sizeof(*cpu));
	if (!cpu || bpf_map_lookup_elem(bpf_map__fd(f->skel->maps.chain_counters), &slot, cpu))
		return 0;
	for (int c = 0; c < cpus; c++)
		sum += cpu[c].reason[reason].packets;
	return sum;
}
