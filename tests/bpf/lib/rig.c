/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"
#include "rig_balance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <cmocka.h>

#define LOOPBACK_IFINDEX 1
#define ZONE             1 /* of the loopback device, as in a bank */

static int no_files(void *ctx, const char *path, const char **ret_text, size_t *ret_len)
{
	(void)ctx;
	(void)path;
	(void)ret_text;
	(void)ret_len;
	return -ENOENT;
}

static const struct policy_files without_files = { .open = no_files };

static void load_policy(struct policy *policy, const char *text, const struct policy_files *files)
{
	if (policy_load(policy, "test.yaml", text, strlen(text), files)) {
		char *why = diag_render(&policy->diags, 0);

		(void)fprintf(stderr, "%s", why); /* longer than cmocka prints */
		free(why);
		fail_msg("the policy has errors");
	}
}

/* Counter slots as the daemon would hand them out: chain i in slot i + 1, rules one after another. */
static void assign_slots(struct rig *rig, struct dp_line *lines)
{
	const struct model *model = rig->policy.model;

	rig->slots = 1;
	for (size_t i = 0; i < model->chains.count; i++) {
		const struct model_chain *mc = &model->chains.at[i];
		struct dp_chain *chain = (void *)&lines[DP_CHAIN_LINE(mc->zone + 1, mc->dir)];
		struct dp_rule *rules = (void *)&lines[chain->rules];

		rig->rules_of[i] = rig->slots;
		for (size_t r = 0; r < mc->rules.count; r++)
			rules[r].counter = rig->slots++;
		chain->default_counter = rig->slots++;
		chain->counter = (uint32_t)i + 1;
	}
}

/* Set numbers as the daemon would hand them out, but never the ordinal's own. */
static void assign_sets(const struct rig *rig, struct dp_line *lines)
{
	const struct dp_bank_header *header = (const void *)lines;
	struct dp_set_ordinals *ordinals = (void *)&lines[header->sets];
	uint32_t ordinal = 0;

	if (!header->sets)
		return;
	for (size_t i = 0; i < rig->policy.model->sets.count; i++)
		if (rig->policy.model->sets.at[i].runtime) {
			ordinals->ordinal[rig_set_number(ordinal)] = (uint8_t)ordinal;
			ordinal++;
		}
}

static void install(struct rig *rig)
{
	const struct image *image = &rig->policy.image;
	uint32_t pages = (image->count + DP_PAGE_LINES - 1) / DP_PAGE_LINES;
	uint32_t target = !(rig->ctl->active & DP_ACTIVE_BANK);
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	int bank = bpf_map_create(BPF_MAP_TYPE_ARRAY, "bank", 4, DP_PAGE_BYTES, pages, &opts);
	uint32_t near = image->count < DP_NEAR_LINES ? image->count : DP_NEAR_LINES;
	struct dp_line *lines;

	assert_true(bank >= 0);
	lines = mmap(NULL, (size_t)pages * DP_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, bank,
		     0);
	assert_true(lines != MAP_FAILED);
	memcpy(lines, image->lines, (size_t)image->count * DP_LINE_BYTES);
	assign_slots(rig, lines);
	assign_sets(rig, lines);
	memcpy(rig->near[target].line, lines, (size_t)near * DP_LINE_BYTES); /* stand twice */
	(void)munmap(lines, (size_t)pages * DP_PAGE_BYTES);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(rig->skel->maps.banks), &target, &bank, 0),
			 0);
	rig->ctl->active = target;
	(void)close(bank);
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

static void enter_namespace(void)
{
	static bool entered;
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd;

	if (entered)
		return;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
	(void)close(fd);
	entered = true;
}

/* Sizes of values are rounded up to 8 bytes, whole maps to pages. */
static void *map_whole(const struct bpf_map *map)
{
	size_t bytes = (size_t)bpf_map__max_entries(map) * bpf_map__value_size(map);
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	assert_true(at != MAP_FAILED);
	return at;
}

static void unmap_whole(void *at, const struct bpf_map *map)
{
	(void)munmap(at, (size_t)bpf_map__max_entries(map) * bpf_map__value_size(map));
}

static struct penstock *open_programs(const struct rig *rig)
{
	struct penstock *skel = penstock__open();

	assert_non_null(skel);
	skel->rodata->flow_mask = rig->flow_slots - 1;
	assert_int_equal(bpf_map__set_max_entries(skel->maps.flows, rig->flow_slots), 0);
	assert_int_equal(
		bpf_map__set_max_entries(skel->maps.dropped, rig_per_cpu(DP_DROPPED_SLOTS)), 0);
	assert_int_equal(bpf_map__set_max_entries(skel->maps.records, RIG_RECORDS_BYTES), 0);
	return skel;
}

static void load_programs(struct rig *rig)
{
	struct dp_dev dev = { .ifindex = LOOPBACK_IFINDEX, .zone = { ZONE, ZONE } };
	uint32_t slot = LOOPBACK_IFINDEX;

	rig->skel = open_programs(rig);
	if (penstock__load(rig->skel))
		fail_msg("the kernel refuses the programs: %s", strerror(errno));
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(rig->skel->maps.devs), &slot, &dev, 0), 0);
	rig->ctl = map_whole(rig->skel->maps.ctl);
	rig->near = map_whole(rig->skel->maps.near);
	rig->flows = map_whole(rig->skel->maps.flows);
	rig->pending = map_whole(rig->skel->maps.pending);
	rig->fragments = map_whole(rig->skel->maps.fragments);
	rig->set_filter = map_whole(rig->skel->maps.set_filter);
	rig_account_maps_new(rig);
	rig->dropped = map_whole(rig->skel->maps.dropped);
}

/* ---- one after another ------------------------------------------------------------------------ */

/*
 * The last rig that was given back: loading the programs takes most of a case's time, the more so in an
 * emulated machine.
 */
static struct rig *spare;

static void clear_counters(const struct bpf_map *map)
{
	size_t bytes = bpf_map__value_size(map) * (size_t)libbpf_num_possible_cpus();
	void *zeros = calloc(1, bytes);

	assert_non_null(zeros);
	for (uint32_t key = 0; key < bpf_map__max_entries(map); key++)
		assert_int_equal(bpf_map_update_elem(bpf_map__fd(map), &key, zeros, 0), 0);
	free(zeros);
}

/* As after a load: whatever the last case has left in the maps is gone. */
static void clear(struct rig *rig)
{
	const uint32_t zero = 0;

	memset(rig->ctl, 0, sizeof(*rig->ctl));
	memset(rig->near, 0, DP_BANKS * sizeof(*rig->near));
	memset(rig->flows, 0, rig->flow_slots * sizeof(*rig->flows));
	memset(rig->pending, 0, DP_PENDING_SLOTS * sizeof(*rig->pending));
	memset(rig->fragments, 0, DP_FRAGMENT_SLOTS * sizeof(*rig->fragments));
	memset(rig->set_filter, 0, sizeof(*rig->set_filter));
	rig_account_maps_clear(rig);
	(void)bpf_map_delete_elem(bpf_map__fd(rig->skel->maps.set_table),
				  &zero); /* may have none */
	clear_counters(rig->skel->maps.rule_counters);
	clear_counters(rig->skel->maps.chain_counters);
	clear_counters(rig->skel->maps.state_counters);
	clear_counters(rig->skel->maps.account_totals);
}

static void draw_hash_key(struct rig *rig)
{
	assert_int_equal(getrandom(rig->ctl->hash_key, sizeof(rig->ctl->hash_key), 0),
			 sizeof(rig->ctl->hash_key));
}

static void destroy(struct rig *r)
{
	unmap_whole(r->ctl, r->skel->maps.ctl);
	unmap_whole(r->near, r->skel->maps.near);
	unmap_whole(r->flows, r->skel->maps.flows);
	unmap_whole(r->pending, r->skel->maps.pending);
	unmap_whole(r->fragments, r->skel->maps.fragments);
	unmap_whole(r->set_filter, r->skel->maps.set_filter);
	rig_account_maps_free(r);
	unmap_whole(r->dropped, r->skel->maps.dropped);
	penstock__destroy(r->dry);
	penstock__destroy(r->skel);
	free(r);
}

static struct rig *loaded(uint32_t flow_slots)
{
	struct rig *rig = spare;

	spare = NULL;
	if (rig && rig->flow_slots == flow_slots) {
		clear(rig);
		return rig;
	}
	if (rig)
		destroy(rig);
	rig = calloc(1, sizeof(*rig));
	assert_non_null(rig);
	rig->flow_slots = flow_slots;
	load_programs(rig);
	return rig;
}

static struct rig *make(const char *policy_text, const struct policy_files *files,
			uint32_t flow_slots)
{
	struct rig *rig;

	libbpf_set_print(quiet);
	enter_namespace();
	rig = loaded(flow_slots);
	draw_hash_key(rig);
	rig->ctl->account_cpus = rig_per_cpu(1);
	rig->ctl->account_groups = RIG_ACCOUNT_SLOTS / DP_ACCOUNT_WAYS;
	load_policy(&rig->policy, policy_text, files);
	install(rig);
	return rig;
}

struct rig *rig_new(const char *policy_text)
{
	return make(policy_text, &without_files, RIG_FLOW_SLOTS);
}

struct rig *rig_new_with(const char *policy_text, const struct policy_files *files)
{
	return make(policy_text, files, RIG_FLOW_SLOTS);
}

struct rig *rig_new_sized(const char *policy_text, uint32_t flow_slots)
{
	return make(policy_text, &without_files, flow_slots);
}

void rig_apply(struct rig *rig, const char *policy_text)
{
	policy_done(&rig->policy);
	memset(&rig->policy, 0, sizeof(rig->policy));
	load_policy(&rig->policy, policy_text, &without_files);
	install(rig);
}

void rig_free(struct rig **rig)
{
	struct rig *r = *rig;

	if (!r)
		return;
	rig_balance(r);
	policy_done(&r->policy);
	memset(&r->policy, 0, sizeof(r->policy));
	if (spare)
		destroy(spare);
	spare = r;
	*rig = NULL;
}

/* ---- one frame -------------------------------------------------------------------------------- */

static int program_of(const struct penstock *skel, enum rig_hook hook)
{
	const struct bpf_program *progs[RIG_HOOK_COUNT] = {
		[RIG_XDP_INGRESS] = skel->progs.xdp_ingress,
		[RIG_TC_INGRESS] = skel->progs.tc_ingress,
		[RIG_TC_EGRESS] = skel->progs.tc_egress,
	};

	return bpf_program__fd(progs[hook]);
}

static struct __sk_buff buffer; /* what the kernel says beside the bytes */

void rig_segments(uint32_t count, uint32_t bytes)
{
	buffer = (struct __sk_buff){ .gso_segs = count, .gso_size = bytes };
}

static enum dp_verdict run(const struct penstock *skel, enum rig_hook hook, const void *frame,
			   size_t len, bool *ret_unchanged)
{
	static uint8_t out[FRAME_MAX * 2];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)len,
		    .data_out = out, .data_size_out = sizeof(out));
	uint32_t drop = hook == RIG_XDP_INGRESS ? XDP_DROP : TC_ACT_SHOT;

	if (hook != RIG_XDP_INGRESS && buffer.gso_segs) {
		opts.ctx_in = &buffer;
		opts.ctx_size_in = sizeof(buffer);
	}
	if (bpf_prog_test_run_opts(program_of(skel, hook), &opts))
		fail_msg("test run of %zu bytes: %s", len, strerror(errno));
	*ret_unchanged = opts.data_size_out == len && !memcmp(frame, out, len);
	return opts.retval == drop ? DP_DROP : DP_PASS;
}

enum dp_verdict rig_verdict(struct rig *rig, enum rig_hook hook, const void *frame, size_t len)
{
	bool unchanged;
	enum dp_verdict verdict = run(rig->skel, hook, frame, len, &unchanged);

	if (!unchanged)
		fail_msg("the frame came out changed");
	return verdict;
}

static void load_dry(struct rig *rig)
{
	struct bpf_map *map, *mine;

	rig->dry = open_programs(rig);
	rig->dry->rodata->dry_run = 1;
	bpf_object__for_each_map(map, rig->dry->obj)
	{
		const char *name = bpf_map__name(map);

		/* Private to a load: keys, and what explain says. */
		if (!strcmp(name, "scratch") || bpf_map__is_internal(map))
			continue;
		mine = bpf_object__find_map_by_name(rig->skel->obj, name);
		assert_non_null(mine);
		assert_int_equal(bpf_map__reuse_fd(map, bpf_map__fd(mine)), 0);
	}
	if (penstock__load(rig->dry))
		fail_msg("the kernel refuses the dry run: %s", strerror(errno));
}

struct dp_explain rig_explain(struct rig *rig, enum rig_hook hook, const void *frame, size_t len)
{
	volatile struct dp_explain *word;
	bool unchanged;

	if (!rig->dry)
		load_dry(rig);
	word = &rig->dry->bss->explain;
	*word = (struct dp_explain){
		.zone = ZONE,
		.dir = hook == RIG_TC_EGRESS ? DP_EGRESS : DP_INGRESS,
		.rule = DP_EXPLAIN_NO_RULE,
		.cut_rule = DP_EXPLAIN_NO_RULE,
	};
	(void)run(rig->dry, hook, frame, len, &unchanged);
	return *word;
}

/* ---- counters --------------------------------------------------------------------------------- */

static void *all_cpus(const struct bpf_map *map, size_t bytes)
{
	void *values = calloc((size_t)libbpf_num_possible_cpus(), bytes);

	assert_non_null(values);
	assert_int_equal(bpf_map__value_size(map), bytes);
	return values;
}

/* Adds up values that are nothing but 64-bit counters. */
static void sum_cpus(const struct bpf_map *map, uint32_t key, uint64_t *ret_sum, size_t bytes)
{
	size_t words = bytes / sizeof(uint64_t);
	uint64_t *values = all_cpus(map, bytes);

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(map), &key, values), 0);
	for (size_t i = 0; i < words * (size_t)libbpf_num_possible_cpus(); i++)
		ret_sum[i % words] += values[i];
	free(values);
}

struct dp_chain_counters rig_chain_counters(const struct rig *rig, uint32_t chain)
{
	struct dp_chain_counters sum = {};

	sum_cpus(rig->skel->maps.chain_counters, chain, (void *)&sum, sizeof(sum));
	return sum;
}

struct dp_account_totals rig_account_totals(const struct rig *rig)
{
	struct dp_account_totals sum = {};

	sum_cpus(rig->skel->maps.account_totals, 0, (void *)&sum, sizeof(sum));
	return sum;
}

struct dp_state_counters rig_state_counters(const struct rig *rig)
{
	struct dp_state_counters sum = {};

	sum_cpus(rig->skel->maps.state_counters, 0, (void *)&sum, sizeof(sum));
	return sum;
}

static void add_count(struct dp_rule_count *sum, const struct dp_rule_count *part)
{
	sum->packets += part->packets;
	sum->bytes += part->bytes;
	if (part->first_ns && (!sum->first_ns || part->first_ns < sum->first_ns))
		sum->first_ns = part->first_ns;
	if (part->last_ns > sum->last_ns)
		sum->last_ns = part->last_ns;
}

void rig_rule_counts(const struct rig *rig, struct dp_rule_count *ret_counts)
{
	const struct bpf_map *map = rig->skel->maps.rule_counters;
	struct dp_rule_block *blocks = all_cpus(map, sizeof(*blocks));
	size_t cpus = (size_t)libbpf_num_possible_cpus();

	memset(ret_counts, 0, rig->slots * sizeof(*ret_counts));
	for (uint32_t slot = 0; slot < rig->slots; slot++) {
		uint32_t block = slot / DP_RULE_BLOCK;

		if (slot % DP_RULE_BLOCK == 0)
			assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(map), &block, blocks), 0);
		for (size_t c = 0; c < cpus; c++)
			add_count(&ret_counts[slot], &blocks[c].count[slot % DP_RULE_BLOCK]);
	}
	free(blocks);
}

#define REASON_PASSES(name, verdict, text, help) [DP_REASON_##name] = DP_##verdict == DP_PASS,
static const bool reason_passes[] = { DP_REASONS(REASON_PASSES) };
#define REASON_TEXT(name, verdict, text, help) [DP_REASON_##name] = text,
static const char *const reason_texts[] = { DP_REASONS(REASON_TEXT) };

bool rig_reason_passes(enum dp_reason reason)
{
	return reason < DP_REASON_COUNT && reason_passes[reason];
}

const char *rig_reason_text(enum dp_reason reason)
{
	return reason < DP_REASON_COUNT ? reason_texts[reason] : "(none)";
}

/* Whole before and after each frame. */
#define SNAPSHOT_CHAINS 16
#define SNAPSHOT_RULES  8192

struct snapshot {
	struct dp_chain_counters chain[SNAPSHOT_CHAINS];
	struct dp_rule_count rule[SNAPSHOT_RULES];
};

static void take_snapshot(const struct rig *rig, struct snapshot *s)
{
	assert_true(rig->policy.model->chains.count < SNAPSHOT_CHAINS);
	assert_true(rig->slots <= SNAPSHOT_RULES);
	for (uint32_t i = 0; i <= rig->policy.model->chains.count; i++)
		s->chain[i] = rig_chain_counters(rig, i);
	rig_rule_counts(rig, s->rule);
}

/* Which reason's counter moved. */
static void read_reason(const struct rig *rig, const struct snapshot *before,
			const struct snapshot *after, struct rig_outcome *o)
{
	const struct model *model = rig->policy.model;

	for (size_t i = 0; i <= model->chains.count; i++) {
		const struct dp_chain_counters *was = &before->chain[i], *is = &after->chain[i];

		for (int r = 0; r < DP_REASON_COUNT; r++) {
			if (is->reason[r].packets == was->reason[r].packets)
				continue;
			o->counted++;
			o->reason = (enum dp_reason)r;
			o->chain = i ? model->chains.at[i - 1].name : NULL;
			o->bytes = is->received.bytes - was->received.bytes;
			if (is->received.packets - was->received.packets != 1)
				o->counted = 99;
		}
	}
}

/* Which rules' did: the deciding one's, unless the reason has none, and those of audit rules. */
static void read_rules(const struct rig *rig, const struct snapshot *before,
		       const struct snapshot *after, struct rig_outcome *o)
{
	const struct model *model = rig->policy.model;

	for (size_t i = 0; i < model->chains.count; i++) {
		const struct model_chain *mc = &model->chains.at[i];

		for (size_t r = 0; r <= mc->rules.count; r++) {
			size_t slot = rig->rules_of[i] + r;

			if (after->rule[slot].packets == before->rule[slot].packets)
				continue;
			if (r < mc->rules.count && mc->rules.at[r].audit)
				o->audits++;
			else
				o->rule = r < mc->rules.count ? mc->rules.at[r].id : "default";
		}
	}
}

struct rig_outcome rig_run(struct rig *rig, enum rig_hook hook, const void *frame, size_t len)
{
	static struct snapshot before, after;
	struct rig_outcome o = { .reason = DP_REASON_COUNT };

	take_snapshot(rig, &before);
	o.verdict = run(rig->skel, hook, frame, len, &o.unchanged);
	take_snapshot(rig, &after);
	read_reason(rig, &before, &after, &o);
	read_rules(rig, &before, &after, &o);
	if (o.counted == 1)
		assert_int_equal(o.verdict == DP_PASS, rig_reason_passes(o.reason));
	return o;
}
