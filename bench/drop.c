/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a packet costs, of penstock and of others: live frames from a generator over a veth pair into what is
 * under test, all on one CPU, every frame accounted for; and one hot frame in the kernel's plain test
 * run. bench/run says what to measure and prints the answers.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "drop_rows.h"

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

int main(int argc, char *argv[])
{
	struct stage stage = {};
	int r;

	if (argc != 3) {
		fprintf(stderr,
			"usage: drop SPEC ANSWERS\n"
			"  SPEC     what to measure, see bench/lib/spec.h\n"
			"  ANSWERS  where the figures are written, see bench/drop_write.c\n");
		return 2;
	}
	libbpf_set_print(quiet);
	if (!stats_are_off())
		return 1;
	r = pair_enter_namespace();
	if (r) {
		fprintf(stderr, "drop: no network namespace: %s; run it as root\n", strerror(-r));
		return 1;
	}
	r = stage_init(&stage, argv[1]) ?: stage_run(&stage) ?: stage_write(&stage, argv[2]);
	stage_done(&stage);
	return r ? 1 : 0;
}
