/* SPDX-License-Identifier: Apache-2.0 */
#include "drop_rows.h"

#include <errno.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>

#include "bpf/bench.h" /* before the skeleton, which needs it */

#include "bench.skel.h"

#define LARGE_FLOW_SLOTS (1u << 22)
#define FLOW_ROOM        4   /* slots for each flow: more, and some would find none */
#define FIRST_FRAMES     512 /* of a row, and the least */

const uint32_t stage_reference_lines[REFERENCES] = { 1u << 10, 1u << 16, 1u << 18, 1u << 20 };

static int failed(const char *what, int r)
{
	fprintf(stderr, "drop: %s: %s\n", what, r < 0 ? strerror(-r) : "a command failed");
	return r;
}

static double now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock */
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static bool is_penstock(const struct row *row)
{
	return row->target == TARGET_PENSTOCK || row->target == TARGET_PENSTOCK_TC;
}

static enum filter_id filter_id(const struct stage *s, const struct row *row)
{
	bool large =
		row->flows != SPEC_NONE && s->lists[row->flows].count > DP_FLOW_SLOTS / FLOW_ROOM;

	return large ? FILTER_LARGE : FILTER_DEFAULT;
}

/* ---- once ---------------------------------------------------------------------------------------- */

static int read_lists(struct stage *s)
{
	int r = 0;

	s->lists = calloc(s->spec.header_count ?: 1, sizeof(*s->lists));
	if (!s->lists)
		return -ENOMEM;
	for (size_t i = 0; i < s->spec.header_count && !r; i++)
		r = headers_read(&s->lists[i], s->spec.headers[i].name, s->spec.headers[i].path,
				 s->spec.headers[i].draw);
	return r;
}

/* A policy that the compiler refuses leaves out its rows alone. */
static int compile_policies(struct stage *s)
{
	s->policies = calloc(s->spec.policy_count ?: 1, sizeof(*s->policies));
	if (!s->policies)
		return -ENOMEM;
	for (size_t i = 0; i < s->spec.policy_count; i++)
		s->policies[i].bank = -1;
	for (size_t i = 0; i < s->spec.policy_count; i++) {
		int r = filter_policy_new(&s->policies[i], s->spec.policies[i].path);

		if (r && !s->policies[i].why)
			return failed(s->spec.policies[i].path, r);
	}
	return 0;
}

static int load_xdp_filter(struct stage *s, struct row *row)
{
	static const enum xdp_filter_mode modes[] = {
		[TARGET_XDP_FILTER_DENY] = XDP_FILTER_DENY,
		[TARGET_XDP_FILTER_ALLOW] = XDP_FILTER_ALLOW,
		[TARGET_XDP_FILTER_PORT] = XDP_FILTER_PORT,
	};
	const struct headers *members = row->members == SPEC_NONE ? NULL : &s->lists[row->members];

	return xdp_filter_new(&s->peers[row - s->spec.rows], modes[row->target], members);
}

static int set_up(struct stage *s, struct row *row)
{
	double start = now_ms();
	const char *why = NULL;
	int r = 0;

	switch (row->target) {
	case TARGET_PENSTOCK:
	case TARGET_PENSTOCK_TC:
		why = s->policies[row->policy].why;
		break;
	case TARGET_XDP_FILTER_DENY:
	case TARGET_XDP_FILTER_ALLOW:
	case TARGET_XDP_FILTER_PORT:
		r = load_xdp_filter(s, row);
		break;
	case TARGET_COMMANDS:
		r = commands_run(row->setup);
		row->setup_ms = now_ms() - start;
		break;
	case TARGET_NOWHERE:
	case TARGET_XDP_DROP:
	case TARGET_TC_DROP:
	case TARGET_COUNT:
		break;
	}
	if (r)
		why = r < 0 ? strerror(-r) : "its set-up failed";
	if (why)
		row->absent = strdup(why);
	return why && !row->absent ? -ENOMEM : 0;
}

static int load_filters(struct stage *s)
{
	static const uint32_t flow_slots[] = {
		[FILTER_DEFAULT] = DP_FLOW_SLOTS,
		[FILTER_LARGE] = LARGE_FLOW_SLOTS,
	};
	bool wanted[FILTERS] = {};
	int r = 0;

	for (size_t i = 0; i < s->spec.row_count; i++)
		wanted[filter_id(s, &s->spec.rows[i])] |= is_penstock(&s->spec.rows[i]);
	for (unsigned int i = 0; i < FILTERS && !r; i++)
		if (wanted[i])
			r = filter_init(&s->filters[i], flow_slots[i])
				    ?: filter_set_dev(&s->filters[i], s->pair.rx);
	return r;
}

int stage_init(struct stage *s, const char *spec)
{
	int r = spec_read(&s->spec, spec) ?: read_lists(s) ?: compile_policies(s);

	if (r)
		return r;
	r = gen_init(&s->gen, s->lists, s->spec.header_count) ?: pair_new(&s->pair);
	if (r)
		return failed("the generator", r);
	r = load_filters(s);
	if (r)
		return failed("penstock", r);
	s->peers = calloc(s->spec.row_count, sizeof(*s->peers));
	if (!s->peers)
		return -ENOMEM;
	for (size_t i = 0; i < s->spec.row_count && !r; i++)
		r = set_up(s, &s->spec.rows[i]);
	sample_pin(s->spec.cpu);
	return r;
}

/* ---- a row's turn -------------------------------------------------------------------------------- */

static int program(const struct stage *s, const struct row *row)
{
	switch (row->target) {
	case TARGET_PENSTOCK:
	case TARGET_PENSTOCK_TC:
		return filter_prog(&s->filters[filter_id(s, row)],
				   row->target == TARGET_PENSTOCK_TC);
	case TARGET_XDP_FILTER_DENY:
	case TARGET_XDP_FILTER_ALLOW:
	case TARGET_XDP_FILTER_PORT:
		return s->peers[row - s->spec.rows].prog;
	case TARGET_TC_DROP:
		return bpf_program__fd(s->gen.skel->progs.tc_drop);
	case TARGET_XDP_DROP:
	case TARGET_NOWHERE:
	case TARGET_COMMANDS:
	case TARGET_COUNT:
		break;
	}
	return bpf_program__fd(s->gen.skel->progs.drop);
}

static bool is_at_tc(const struct row *row)
{
	return row->target == TARGET_TC_DROP || row->target == TARGET_PENSTOCK_TC;
}

/* The queueing discipline goes with the row: an empty one would be a step on the way of others. */
static int attach(const struct stage *s, const struct row *row)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)s->pair.rx, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = program(s, row));

	if (row->target == TARGET_NOWHERE)
		return 0;
	if (row->target == TARGET_COMMANDS)
		return commands_run(row->on);
	if (is_at_tc(row))
		return bpf_tc_hook_create(&hook) ?: bpf_tc_attach(&hook, &opts);
	return bpf_xdp_attach((int)s->pair.rx, program(s, row), XDP_FLAGS_DRV_MODE, NULL);
}

static int detach(const struct stage *s, const struct row *row)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)s->pair.rx,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);

	if (row->target == TARGET_NOWHERE)
		return 0;
	if (row->target == TARGET_COMMANDS)
		return commands_run(row->off);
	if (is_at_tc(row))
		return bpf_tc_hook_destroy(&hook);
	return bpf_xdp_detach((int)s->pair.rx, XDP_FLAGS_DRV_MODE, NULL);
}

/* What the program itself counted, of what it does with every frame of the row. */
static uint64_t counted(const struct stage *s, const struct row *row)
{
	const struct filter *filter = &s->filters[filter_id(s, row)];
	uint64_t count = 0;

	if (row->target == TARGET_XDP_FILTER_DENY)
		return xdp_filter_dropped(&s->peers[row - s->spec.rows]);
	if (!is_penstock(row))
		return 0;
	if (row->last_rule)
		return filter_rule_counted(filter, row->last_rule - 1);
	count = filter_counted(filter, DP_REASON_RULE_DROP);
	if (!row->by_rule)
		count += filter_counted(filter, DP_REASON_DEFAULT_DROP);
	return count;
}

/* -EBADMSG: a frame is not accounted for, on the way or by the program. */
static int measure(struct stage *s, struct row *row, uint64_t frames, double *ret_ns)
{
	bool counts = is_penstock(row) || row->target == TARGET_XDP_FILTER_DENY;
	const struct headers *list = row->headers == SPEC_NONE ? NULL : &s->lists[row->headers];
	uint64_t before = counted(s, row);
	int r = gen_run(&s->gen, row->target == TARGET_NOWHERE ? NULL : &s->pair, list, frames,
			ret_ns);

	return !r && counts && counted(s, row) - before != frames ? -EBADMSG : r;
}

static void choose_frames(const struct stage *s, struct row *row, double ns)
{
	double frames = s->spec.sample_ms * 1e6 / ns;

	row->frames = frames > (double)s->spec.frames ? s->spec.frames : (uint64_t)frames;
	if (row->frames < FIRST_FRAMES)
		row->frames = FIRST_FRAMES;
}

/* What the last sample took says how long the next one is; before the first, a few cold frames do. */
static int take_sample(struct stage *s, struct row *row, double *ret_ns)
{
	int r = 0;

	if (!row->frames) {
		r = measure(s, row, FIRST_FRAMES, ret_ns);
		if (!r)
			choose_frames(s, row, *ret_ns);
	}
	if (!r)
		r = measure(s, row, row->frames, ret_ns);
	if (!r)
		choose_frames(s, row, *ret_ns);
	return r;
}

/* A row may stand on what another one set up: where that could not be, this turns out only now. */
static int leave_out(struct row *row, int r)
{
	row->absent = strdup(r < 0 ? strerror(-r) : "its turn could not begin");
	return row->absent ? 0 : -ENOMEM;
}

static int run_live(struct stage *s, struct row *row)
{
	int r, off;
	double ns;

	r = attach(s, row);
	if (r)
		return row->target == TARGET_COMMANDS ? leave_out(row, r) : r;
	r = take_sample(s, row, &ns);
	off = detach(s, row);
	if (!r)
		samples_add(&row->samples, ns);
	if (r == -EBADMSG) {
		row->lost++;
		r = 0;
	}
	return r ?: off;
}

static int run_hot(struct stage *s, struct row *row)
{
	double ns;
	int r = gen_test_run(program(s, row), s->lists[row->headers].at,
			     row->passes ? XDP_PASS : XDP_DROP, &ns);

	if (!r)
		samples_add(&row->samples, ns);
	return r;
}

static int prepare(struct stage *s, const struct row *row)
{
	struct filter *filter = &s->filters[filter_id(s, row)];
	int r;

	if (!is_penstock(row))
		return 0;
	r = filter_use(filter, &s->policies[row->policy]);
	if (!r && row->flows != SPEC_NONE)
		r = filter_set_flows(filter, &s->lists[row->flows]);
	if (!r && row->banned != SPEC_NONE)
		r = filter_set_banned(filter, &s->lists[row->banned]);
	return r;
}

static int run_row(struct stage *s, struct row *row)
{
	int r;

	if (row->absent)
		return 0;
	r = prepare(s, row);
	if (!r)
		r = row->hot ? run_hot(s, row) : run_live(s, row);
	return r ? failed(row->name, r) : 0;
}

static int run_references(struct stage *s)
{
	double ns;
	int r = 0;

	for (size_t i = 0; i < REFERENCES && !r; i++) {
		r = gen_reference(&s->gen, stage_reference_lines[i], &ns);
		if (!r)
			samples_add(&s->references[i], ns);
	}
	return r;
}

int stage_run(struct stage *s)
{
	int r = 0;

	for (unsigned long i = 0; i < s->spec.rounds && !r; i++) {
		for (size_t n = 0; n < s->spec.row_count && !r; n++)
			r = run_row(s, &s->spec.rows[n]);
		if (!r)
			r = run_references(s);
		fprintf(stderr, "\rround %lu of %lu", i + 1, s->spec.rounds);
	}
	fputc('\n', stderr);
	return r;
}

void stage_done(struct stage *s)
{
	for (size_t i = 0; s->peers && i < s->spec.row_count; i++)
		xdp_filter_done(&s->peers[i]);
	for (size_t i = 0; s->policies && i < s->spec.policy_count; i++)
		filter_policy_done(&s->policies[i]);
	for (size_t i = 0; s->lists && i < s->spec.header_count; i++)
		headers_done(&s->lists[i]);
	free(s->peers);
	free(s->policies);
	free(s->lists);
	for (unsigned int i = 0; i < FILTERS; i++)
		filter_done(&s->filters[i]);
	gen_done(&s->gen);
	spec_done(&s->spec);
}
