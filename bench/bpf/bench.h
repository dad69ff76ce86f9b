/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the benchmark's programs and its user space say to each other, in .bss and in map sizes. */
#pragma once

#include <linux/types.h>

#define BENCH_FRAME_BYTES 64         /* without FCS: Ethernet, IPv4, UDP and 22 bytes of nothing */
#define BENCH_LIST        (1u << 20) /* sources in a list, drawn with replacement, in random order */
#define BENCH_LISTS       3
#define BENCH_LINE        16 /* sources in a value of the map: values take at least 8 bytes */
#define BENCH_REF_LINES   (1u << 20) /* of 64 bytes: 64 MiB */
#define BENCH_REF_TURNS   64         /* chained operations in one run of the reference */

/* No list: sources drawn from all of IPv4. */
#define BENCH_EVERYWHERE 0xffffffffu

struct bench_line {
	__be32 addr[BENCH_LINE];
};

struct bench_gen {
	/* in */
	__u32 to;   /* ifindex to redirect to; 0: the frame is dropped at once */
	__u32 list; /* which list of `sources`, or BENCH_EVERYWHERE */
	__u64 total;
	__u64 warm; /* frames before the clock starts */
	/* in and out */
	__u64 sent;
	__u64 random; /* not 0 */
	/* out */
	__u64 first_ns, last_ns;
};
