/* SPDX-License-Identifier: Apache-2.0 */
#include "filter.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/vec.h"
#include "control/sets_table.h"

#define LOOPBACK 1
#define ZONE     1
#define SLOT     1

static int read_file(const char *path, char **ret_text, size_t *ret_len)
{
	_cleanup_fclose_ FILE *f = fopen(path, "r");
	_cleanup_free_ char *text = NULL;
	long len;

	if (!f || fseek(f, 0, SEEK_END))
		return -errno;
	len = ftell(f);
	if (len < 0)
		return -errno;
	rewind(f);
	text = malloc((size_t)len + 1);
	if (!text)
		return -ENOMEM;
	*ret_len = fread(text, 1, (size_t)len, f);
	text[*ret_len] = '\0';
	*ret_text = TAKE_PTR(text);
	return 0;
}

struct set_files {
	const char *policy; /* its path */
	VEC(char *) texts;
};

/* Paths are relative to the policy. */
static int open_set(void *ctx, const char *path, const char **ret_text, size_t *ret_len)
{
	struct set_files *files = ctx;
	const char *slash = strrchr(files->policy, '/');
	_cleanup_free_ char *whole = NULL;
	char *text = NULL;
	int r;

	if (asprintf(&whole, "%.*s%s", slash ? (int)(slash + 1 - files->policy) : 0, files->policy,
		     path) < 0)
		return -ENOMEM;
	r = read_file(whole, &text, ret_len) ?: vec_push(&files->texts, text);
	if (!r)
		*ret_text = text;
	return r;
}

static void set_files_done(struct set_files *files)
{
	for (size_t i = 0; i < files->texts.count; i++)
		free(files->texts.at[i]);
	vec_done(&files->texts);
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

/* The number of a run-time set is its place among those of the policy. */
static void assign_sets(struct dp_line *lines)
{
	const struct dp_bank_header *header = (const void *)lines;
	struct dp_set_ordinals *ordinals = (void *)&lines[header->sets];

	for (uint32_t i = 0; header->sets && i < DP_SETS; i++)
		ordinals->ordinal[i] = (__u8)i;
}

/* An inner map with the lines; the descriptor, or -errno. */
static int make_bank(const struct image *image, const struct model *model)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	uint32_t pages = (image->count + DP_PAGE_LINES - 1) / DP_PAGE_LINES;
	size_t bytes = (size_t)pages * DP_PAGE_BYTES;
	_cleanup_close_ int bank = -1;
	struct dp_line *lines;

	bank = bpf_map_create(BPF_MAP_TYPE_ARRAY, "bank", 4, DP_PAGE_BYTES, pages, &opts);
	if (bank < 0)
		return -errno;
	lines = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bank, 0);
	if (lines == MAP_FAILED)
		return -errno;
	memcpy(lines, image->lines, (size_t)image->count * DP_LINE_BYTES);
	assign_slots(lines, model);
	assign_sets(lines);
	(void)munmap(lines, bytes);
	return TAKE_FD(bank);
}

int filter_set_dev(struct filter *f, unsigned int ifindex)
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

/* Any key will do here; the daemon draws a secret one. */
static int set_hash_key(struct filter *f)
{
	struct dp_ctl ctl = {};
	uint32_t zero = 0;

	for (unsigned int i = 0; i < DP_HASH_KEYS; i++)
		ctl.hash_key[i] = 0x9e3779b97f4a7c15ull * (2 * i + 1);
	return bpf_map_update_elem(bpf_map__fd(f->skel->maps.ctl), &zero, &ctl, 0) ? -errno : 0;
}

int filter_init(struct filter *f, uint32_t flow_slots)
{
	f->skel = penstock__open();
	if (!f->skel)
		return -errno;
	f->skel->rodata->flow_mask = flow_slots - 1;
	if (bpf_map__set_max_entries(f->skel->maps.flows, flow_slots) || penstock__load(f->skel))
		return -errno;
	return set_hash_key(f) ?: filter_set_dev(f, LOOPBACK);
}

void filter_done(struct filter *f)
{
	penstock__destroy(f->skel);
	*f = (struct filter){};
}

int filter_policy_new(struct filter_policy *p, const char *path)
{
	_cleanup_(set_files_done) struct set_files sets = { .policy = path };
	const struct policy_files files = { .ctx = &sets, .open = open_set };
	_cleanup_(policy_done) struct policy policy = {};
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	double start;
	int r = read_file(path, &text, &len);

	if (r)
		return r;
	start = now_ms();
	r = policy_load(&policy, path, text, len, &files);
	if (r) {
		p->why = diag_render(&policy.diags, 1);
		return r;
	}
	p->compile_ms = now_ms() - start;
	p->lines = policy.image.count;
	p->bank = make_bank(&policy.image, policy.model);
	return p->bank < 0 ? p->bank : 0;
}

void filter_policy_done(struct filter_policy *p)
{
	closep(&p->bank);
	free(p->why);
	*p = (struct filter_policy){ .bank = -1 };
}

/* The first lines stand in `near` too. */
static int write_near(struct filter *f, const struct filter_policy *p)
{
	size_t lines = p->lines < DP_NEAR_LINES ? p->lines : DP_NEAR_LINES;
	size_t near_bytes = DP_BANKS * sizeof(struct dp_near);
	size_t bytes = (lines + DP_PAGE_LINES - 1) / DP_PAGE_LINES * DP_PAGE_BYTES;
	struct dp_near *near;
	void *bank;

	bank = mmap(NULL, bytes, PROT_READ, MAP_SHARED, p->bank, 0);
	if (bank == MAP_FAILED)
		return -errno;
	near = mmap(NULL, near_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		    bpf_map__fd(f->skel->maps.near), 0);
	if (near != MAP_FAILED) {
		memcpy(near[0].line, bank, lines * DP_LINE_BYTES);
		(void)munmap(near, near_bytes);
	}
	(void)munmap(bank, bytes);
	return near == MAP_FAILED ? -ENOMEM : 0;
}

int filter_use(struct filter *f, const struct filter_policy *p)
{
	uint32_t zero = 0;
	int r = write_near(f, p);

	if (!r && bpf_map_update_elem(bpf_map__fd(f->skel->maps.banks), &zero, &p->bank, 0))
		r = -errno;
	return r;
}

/* As name_flow() of the dataplane: the ends in ascending order, the sender began it. */
static struct dp_flow flow_of(const struct bench_header *h, uint32_t now)
{
	uint32_t addr[2] = { ntohl(h->src), ntohl(h->dst) }, ports = ntohl(h->first);
	uint16_t port[2] = { (uint16_t)(ports >> 16), (uint16_t)ports };
	bool swap = addr[0] > addr[1] || (addr[0] == addr[1] && port[0] > port[1]);
	struct dp_flow flow = {
		.flags = DP_FLOW_REPLIED | (swap ? DP_FLOW_INITIATOR : 0),
		.key = { .proto = h->proto },
		.seen = now,
	};

	for (unsigned int i = 0; i < 2; i++) {
		flow.key.addr[i][0] = addr[i ^ swap];
		flow.key.port[i] = port[i ^ swap];
	}
	return flow;
}

static int flow_put(struct dp_flow *flows, uint32_t mask, struct dp_flow flow, uint64_t hash)
{
	flow.tag = DP_FLOW_TAG(hash);
	for (uint32_t probe = 0; probe < DP_FLOW_PROBES; probe++) {
		struct dp_flow *slot = &flows[((hash >> 32) + probe) & mask];

		if (slot->tag == DP_FLOW_FREE) {
			*slot = flow;
			return 0;
		}
	}
	return -ENOSPC;
}

int filter_set_flows(struct filter *f, const struct headers *headers)
{
	uint32_t mask = f->skel->rodata->flow_mask, zero = 0;
	size_t bytes = ((size_t)mask + 1) * sizeof(struct dp_flow);
	uint32_t now = (uint32_t)((uint64_t)(now_ms() * 1e6) >> DP_TICK_SHIFT);
	struct dp_flow *flows;
	struct dp_ctl ctl;
	int r = 0;

	if (bpf_map_lookup_elem(bpf_map__fd(f->skel->maps.ctl), &zero, &ctl))
		return -errno;
	flows = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		     bpf_map__fd(f->skel->maps.flows), 0);
	if (flows == MAP_FAILED)
		return -errno;
	memset(flows, 0, bytes);
	for (uint32_t i = 0; i < headers->count && !r; i++) {
		struct dp_flow flow = flow_of(&headers->at[i], now);

		r = flow_put(flows, mask, flow, dp_flow_hash(ctl.hash_key, &flow.key));
	}
	(void)munmap(flows, bytes);
	ctl.has_flows = 1;
	if (!r && bpf_map_update_elem(bpf_map__fd(f->skel->maps.ctl), &zero, &ctl, 0))
		r = -errno;
	return r;
}

static int add_sources(struct sets_table *t, const struct headers *headers)
{
	int r = 0;

	for (uint32_t i = 0; r >= 0 && i < headers->count; i++) {
		const struct sets_key key = { .addr = { ntohl(headers->at[i].src) },
					      .what = DP_MEMBER(0, 32) };

		r = sets_table_add(t, &key, 0, 0);
	}
	return r < 0 ? r : 0;
}

/* The table that packets read from then on, with room for the members. */
static int make_members(struct filter *f, struct dp_line *lines, uint32_t capacity,
			const struct headers *headers)
{
	int ctl_fd = bpf_map__fd(f->skel->maps.ctl);
	int filter_fd = bpf_map__fd(f->skel->maps.set_filter);
	struct dp_ctl *ctl =
		mmap(NULL, sizeof(*ctl), PROT_READ | PROT_WRITE, MAP_SHARED, ctl_fd, 0);
	struct dp_filter *filter =
		mmap(NULL, sizeof(*filter), PROT_READ | PROT_WRITE, MAP_SHARED, filter_fd, 0);
	struct sets_table table = {};
	int r = ctl == MAP_FAILED || filter == MAP_FAILED ? -ENOMEM : 0;

	if (!r) {
		sets_table_init(&table, ctl, filter);
		sets_table_copy(&table, lines, capacity);
		r = sets_table_reserve(&table, capacity);
	}
	if (!r) {
		sets_table_move(&table, lines, capacity);
		r = add_sources(&table, headers);
	}
	sets_table_done(&table);
	if (ctl != MAP_FAILED)
		(void)munmap(ctl, sizeof(*ctl));
	if (filter != MAP_FAILED)
		(void)munmap(filter, sizeof(*filter));
	return r;
}

int filter_set_banned(struct filter *f, const struct headers *headers)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	/* Twice the room, as a table that has grown has on average: chains are short. */
	uint32_t capacity = sets_table_capacity(2ull * headers->count), zero = 0;
	uint32_t pages = (sets_table_lines(capacity) + DP_PAGE_LINES - 1) / DP_PAGE_LINES;
	size_t bytes = (size_t)pages * DP_PAGE_BYTES;
	_cleanup_close_ int map = -1;
	struct dp_line *lines;
	int r;

	if (f->banned)
		return f->banned == headers ? 0 : -EBUSY;
	map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "members", 4, DP_PAGE_BYTES, pages, &opts);
	if (map < 0)
		return -errno;
	lines = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
	if (lines == MAP_FAILED)
		return -errno;
	r = make_members(f, lines, capacity, headers);
	(void)munmap(lines, bytes);
	if (!r && bpf_map_update_elem(bpf_map__fd(f->skel->maps.set_table), &zero, &map, 0))
		r = -errno;
	if (!r)
		f->banned = headers;
	return r;
}

int filter_prog(const struct filter *f, bool at_tc)
{
	return bpf_program__fd(at_tc ? f->skel->progs.tc_ingress : f->skel->progs.xdp_ingress);
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

uint64_t filter_rule_counted(const struct filter *f, uint32_t rule)
{
	_cleanup_free_ struct dp_rule_block *cpu = NULL;
	int cpus = libbpf_num_possible_cpus();
	uint32_t slot = SLOT + rule, block = slot / DP_RULE_BLOCK;
	uint64_t sum = 0;

	cpu = calloc((size_t)cpus, sizeof(*cpu));
	if (!cpu || bpf_map_lookup_elem(bpf_map__fd(f->skel->maps.rule_counters), &block, cpu))
		return 0;
	for (int c = 0; c < cpus; c++)
		sum += cpu[c].count[slot % DP_RULE_BLOCK].packets;
	return sum;
}
