/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a packet costs, of penstock and of others, in one run: live frames from a generator over a veth pair
 * into the program under test, all on one CPU, every frame accounted for; and one hot frame in the kernel's
 * plain test run. Rows take turns, so that a neighbour's load meets all of them alike.
 */
#include <errno.h>
#include <getopt.h>
#include <linux/if_link.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/bench.h"
#include "drop_rows.h"

static int usage(FILE *to, int status)
{
	fprintf(to, "usage: drop [--rounds N] [--frames N] [--cpu N] [--only TEXT] [--feed FILE]\n"
		    "  --rounds N   times every row is measured (7)\n"
		    "  --frames N   live frames of a fast row and round (1000000)\n"
		    "  --cpu N      where everything runs (the last one)\n"
		    "  --only TEXT  rows whose name has it, and those they are compared with\n"
		    "  --feed FILE  a set file of IPv4 prefixes, for rows of its own\n");
	return status;
}

/* With statistics on, every program run reads the clock twice: 36 to 50 ns that are not the program's. */
static bool stats_are_off(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/sys/kernel/bpf_stats_enabled", "r");
	int on = 1;

	if (!f || fscanf(f, "%d", &on) != 1 || on) {
		fprintf(stderr,
			"drop: kernel.bpf_stats_enabled is not 0; no figure would be right\n");
		return false;
	}
	return true;
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

static bool read_options(struct options *o, int argc, char *argv[], int *ret_status)
{
	static const struct option options[] = {
		{ "rounds", required_argument, NULL, 'r' },
		{ "frames", required_argument, NULL, 'f' },
		{ "cpu", required_argument, NULL, 'c' },
		{ "feed", required_argument, NULL, 'F' },
		{ "only", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'r')
			o->rounds = strtoul(optarg, NULL, 10);
		else if (c == 'f')
			o->frames = strtoul(optarg, NULL, 10);
		else if (c == 'c')
			o->cpu = (int)strtol(optarg, NULL, 10);
		else if (c == 'F')
			o->feed = optarg;
		else if (c == 'o')
			o->only = optarg;
		else {
			*ret_status = usage(c == 'h' ? stdout : stderr, c == 'h' ? 0 : 2);
			return false;
		}
	}
	if (optind < argc || !o->rounds || o->rounds > SAMPLES_MAX || o->frames < 100000) {
		*ret_status = usage(stderr, 2);
		return false;
	}
	return true;
}

int main(int argc, char *argv[])
{
	struct options options = {
		.rounds = 7,
		.frames = 1000000,
		.cpu = libbpf_num_possible_cpus() - 1,
	};
	static struct stage stage; /* sets and samples of many rows */
	int r, status = 0;

	if (!read_options(&options, argc, argv, &status))
		return status;
	libbpf_set_print(quiet);
	if (!stats_are_off())
		return 1;
	r = pair_enter_namespace();
	if (r) {
		fprintf(stderr, "drop: no network namespace: %s; run it as root\n", strerror(-r));
		return 1;
	}
	r = stage_init(&stage, &options) ?: stage_run(&stage, &options);
	if (!r)
		stage_print(&stage);
	stage_done(&stage);
	return r ? 1 : 0;
}
