/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bench/drop prints. Beside each aim stands what it is on a machine as slow as this one:
 * stretched, never shrunk, by the empty program for hot frames, and by one random read-modify-write of
 * a line at the same working set for sets.
 */
#include <stdio.h>
#include <sys/utsname.h>

#include "bpf/bench.h"
#include "drop_rows.h"

#define DESIGN_EMPTY_NS 6.0

static const struct {
	const char *name;
	double design_ns; /* on the reference machine */
} references[REFERENCES] = {
	[REFERENCE_2_10] = { "2^10", 2 },
	[REFERENCE_2_16] = { "2^16", 23 },
	[REFERENCE_2_18] = { "2^18", 42 },
	[REFERENCE_2_20] = { "2^20", 122 },
};

static double stretch(double here, double there)
{
	return here > there ? here / there : 1;
}

static double memory_factor(const struct stage *s, unsigned int reference)
{
	return stretch(samples_median(&s->references[reference]), references[reference].design_ns);
}

static const struct live_row *live_floor(const struct stage *s, const struct live_row *row)
{
	bool listed = row->sources != BENCH_EVERYWHERE;

	for (size_t i = 0; i < s->live_count; i++)
		if (s->live[i].target == TARGET_DROP &&
		    (s->live[i].sources != BENCH_EVERYWHERE) == listed)
			return &s->live[i];
	return row;
}

static void print_verdict(double net, double aim, double factor)
{
	if (!aim) {
		putchar('\n');
		return;
	}
	printf("; aim %+.0f: %s", aim, net <= aim ? "met" : "missed");
	if (net > aim && factor > 1.005)
		printf(", at this machine's speed %+.0f: %s", aim * factor,
		       net <= aim * factor ? "met" : "missed");
	putchar('\n');
}

static void print_live(const struct stage *s)
{
	puts("\nLive frames of 64 bytes over veth, one CPU for sending and receiving; ns a packet\n"
	     "  median    min      net  xdp-drop%  row");
	for (size_t i = 0; i < s->live_count; i++) {
		const struct live_row *row = &s->live[i], *floor = live_floor(s, row);
		double median = samples_median(&row->samples);
		double base = samples_median(&floor->samples);

		if (row->absent)
			continue;
		printf("%8.1f %6.1f %+8.1f %9.0f%%  %s", median, samples_min(&row->samples),
		       median - base, median ? 100 * base / median : 0, row->name);
		print_verdict(median - base, row->aim_ns, memory_factor(s, row->memory));
	}
	puts("net: over XDP_DROP with sources drawn the same way. xdp-drop%: packets a second, of what\n"
	     "XDP_DROP takes; both with the generator, which a network card would be instead.");
	if (s->lost)
		printf("%lu samples were thrown away: not every frame was accounted for\n",
		       s->lost);
}

static void print_hot(const struct stage *s)
{
	double empty = samples_median(&s->hot[0].samples);

	puts("\nOne hot frame in the kernel's test run; ns a run\n"
	     "  median    min      net  row");
	for (size_t i = 0; i < s->hot_count; i++) {
		const struct hot_row *row = &s->hot[i];
		double median = samples_median(&row->samples);

		if (row->absent)
			continue;
		printf("%8.1f %6.1f %+8.1f  %s", median, samples_min(&row->samples), median - empty,
		       row->name);
		print_verdict(median - empty, row->aim_ns, stretch(empty, DESIGN_EMPTY_NS));
	}
}

static void print_machine(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/cpuinfo", "r");
	char line[256];
	struct utsname host;

	(void)uname(&host); /* fails for a bad pointer alone */
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "model name : %255[^\n]", line) == 1) {
			printf("%s, ", line);
			break;
		}
	printf("kernel %s, bpf_stats_enabled 0\n", host.release);
}

static void print_bank(const struct stage *s, enum policy_id policy, const char *what)
{
	if (s->filters[policy].skel)
		printf("Bank of %s: %.1f MiB, compiled in %.0f ms\n", what,
		       s->filters[policy].lines * (double)DP_LINE_BYTES / (1 << 20),
		       s->filters[policy].compile_ms);
}

void stage_print(const struct stage *s)
{
	print_machine();
	puts("One random read-modify-write of a 64-byte line, ns; in brackets the reference machine:");
	for (size_t i = 0; i < REFERENCES; i++)
		printf("  %s lines %.1f (%.0f)", references[i].name,
		       samples_median(&s->references[i]), references[i].design_ns);
	printf("  empty program %.1f (%.0f)\n", samples_median(&s->hot[0].samples),
	       DESIGN_EMPTY_NS);
	print_bank(s, POLICY_ADDRESSES, "128 k addresses");
	print_bank(s, POLICY_PREFIXES, "1 M prefixes");
	print_bank(s, POLICY_FEED, "the feed");
	print_live(s);
	print_hot(s);
}
