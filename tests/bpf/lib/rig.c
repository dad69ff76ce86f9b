/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>
#include <sys/mman.h>

#include <cmocka.h>

#define LOOPBACK_IFINDEX 1

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

		(void)fprintf(stderr, "%s%s", text, why); /* longer than cmocka prints */
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

/* The first lines stand twice. */
static void write_near(struct rig *rig, uint32_t bank, const struct dp_line *lines, uint32_t count)
{
	struct dp_near *near = mmap(NULL, DP_BANKS * sizeof(*near), PROT_READ | PROT_WRITE,
				    MAP_SHARED, bpf_map__fd(rig->skel->maps.near), 0);

	assert_true(near != MAP_FAILED);
	memcpy(near[bank].line, lines,
	       (size_t)(count < DP_NEAR_LINES ? count : DP_NEAR_LINES) * DP_LINE_BYTES);
	(void)munmap(near, DP_BANKS * sizeof(*near));
}

static void install(struct rig *rig)
{
	const struct image *image = &rig->policy.image;
	uint32_t pages = (image->count + DP_PAGE_LINES - 1) / DP_PAGE_LINES, zero = 0;
	struct dp_ctl ctl = {};
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	int bank = bpf_map_create(BPF_MAP_TYPE_ARRAY, "bank", 4, DP_PAGE_BYTES, pages, &opts);
	uint32_t target;
	struct dp_line *lines;

	assert_true(bank >= 0);
	lines = mmap(NULL, (size_t)pages * DP_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, bank,
		     0);
	assert_true(lines != MAP_FAILED);
	memcpy(lines, image->lines, (size_t)image->count * DP_LINE_BYTES);
	assign_slots(rig, lines);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(rig->skel->maps.ctl), &zero, &ctl), 0);
	target = !(ctl.active & DP_ACTIVE_BANK);
	write_near(rig, target, lines, image->count);
	(void)munmap(lines, (size_t)pages * DP_PAGE_BYTES);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(rig->skel->maps.banks), &target, &bank, 0),
			 0);
	ctl.active = target;
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(rig->skel->maps.ctl), &zero, &ctl, 0), 0);
	(void)close(bank);
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

struct rig *rig_new(const char *policy_text)
{
	return rig_new_with(policy_text, &without_files);
}

struct rig *rig_new_with(const char *policy_text, const struct policy_files *files)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct dp_dev dev = { .ifindex = LOOPBACK_IFINDEX, .zone = { 1, 1 } };
	uint32_t slot = LOOPBACK_IFINDEX;

	assert_non_null(rig);
	libbpf_set_print(quiet);
	load_policy(&rig->policy, policy_text, files);
	rig->skel = penstock__open_and_load();
	if (!rig->skel)
		fail_msg("the kernel refuses the programs: %s", strerror(errno));
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(rig->skel->maps.devs), &slot, &dev, 0), 0);
	install(rig);
	return rig;
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
	if (!*rig)
		return;
	penstock__destroy((*rig)->skel);
	policy_done(&(*rig)->policy);
	free(*rig);
	*rig = NULL;
}

/* Sums of all CPUs, of all chains and rule slots: small enough to read whole before and after. */
struct snapshot {
	struct dp_chain_counters chain[8];
	struct dp_count rule[DP_RULE_BLOCK * 16];
};

static void add_counts(struct dp_count *sum, const struct dp_count *part, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		sum[i].packets += part[i].packets;
		sum[i].bytes += part[i].bytes;
	}
}

static void take_snapshot(const struct rig *rig, struct snapshot *s)
{
	size_t cpus = (size_t)libbpf_num_possible_cpus();
	struct dp_chain_counters *chain = calloc(cpus, sizeof(*chain));
	struct dp_rule_block *block = calloc(cpus, sizeof(*block));

	memset(s, 0, sizeof(*s));
	assert_true(chain && block);
	for (uint32_t i = 0; i <= rig->policy.model->chains.count && i < 8; i++) {
		assert_int_equal(
			bpf_map_lookup_elem(bpf_map__fd(rig->skel->maps.chain_counters), &i, chain),
			0);
		for (size_t c = 0; c < cpus; c++)
			add_counts((void *)&s->chain[i], (void *)&chain[c],
				   sizeof(*chain) / sizeof(struct dp_count));
	}
	for (uint32_t i = 0; i <= rig->slots / DP_RULE_BLOCK && i < 16; i++) {
		assert_int_equal(
			bpf_map_lookup_elem(bpf_map__fd(rig->skel->maps.rule_counters), &i, block),
			0);
		for (size_t c = 0; c < cpus; c++)
			add_counts(&s->rule[i * DP_RULE_BLOCK], block[c].count, DP_RULE_BLOCK);
	}
	free(chain);
	free(block);
}

#define REASON_VERDICT(name, verdict, text, help) [DP_REASON_##name] = #verdict,
static const char *const reason_verdicts[] = { DP_REASONS(REASON_VERDICT) };
#define REASON_TEXT(name, verdict, text, help) [DP_REASON_##name] = text,
static const char *const reason_texts[] = { DP_REASONS(REASON_TEXT) };

const char *rig_reason_text(enum dp_reason reason)
{
	return reason < DP_REASON_COUNT ? reason_texts[reason] : "(none)";
}

/* Which counters moved. The deciding rule's moved too, unless the reason has none. */
static void read_outcome(const struct rig *rig, const struct snapshot *before,
			 const struct snapshot *after, struct rig_outcome *o)
{
	const struct model *model = rig->policy.model;

	for (size_t i = 0; i <= model->chains.count; i++) {
		for (int r = 0; r < DP_REASON_COUNT; r++) {
			if (after->chain[i].reason[r].packets == before->chain[i].reason[r].packets)
				continue;
			o->counted++;
			o->reason = (enum dp_reason)r;
			o->chain = i ? model->chains.at[i - 1].name : NULL;
			o->bytes = after->chain[i].received.bytes - before->chain[i].received.bytes;
			if (after->chain[i].received.packets - before->chain[i].received.packets !=
			    1)
				o->counted = 99;
		}
	}
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
	struct bpf_program *progs[RIG_HOOK_COUNT] = {
		[RIG_XDP_INGRESS] = rig->skel->progs.xdp_ingress,
		[RIG_TC_INGRESS] = rig->skel->progs.tc_ingress,
		[RIG_TC_EGRESS] = rig->skel->progs.tc_egress,
	};
	static uint8_t out[FRAME_MAX * 2];
	static struct snapshot before, after;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)len,
		    .data_out = out, .data_size_out = sizeof(out));
	struct rig_outcome o = { .reason = DP_REASON_COUNT };
	bool dropped;

	take_snapshot(rig, &before);
	if (bpf_prog_test_run_opts(bpf_program__fd(progs[hook]), &opts))
		fail_msg("test run of %zu bytes: %s", len, strerror(errno));
	take_snapshot(rig, &after);
	dropped = hook == RIG_XDP_INGRESS ? opts.retval == XDP_DROP : opts.retval == TC_ACT_SHOT;
	o.verdict = dropped ? DP_DROP : DP_PASS;
	o.unchanged = opts.data_size_out == len && !memcmp(frame, out, len);
	read_outcome(rig, &before, &after, &o);
	if (o.counted == 1)
		assert_int_equal(o.verdict == DP_PASS, !strcmp(reason_verdicts[o.reason], "PASS"));
	return o;
}
