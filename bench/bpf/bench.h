/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the benchmark's programs and its user space say to each other, in .bss and in map sizes. */
#pragma once

#include <linux/types.h>

#define BENCH_FRAME_BYTES 64         /* without FCS: Ethernet, IPv4 and 30 bytes */
#define BENCH_REF_LINES   (1u << 20) /* of 64 bytes: 64 MiB */
#define BENCH_REF_TURNS   64         /* chained operations in one run of the reference */

/* What makes one frame differ from another. */
struct bench_header {
	__be32 src, dst;
	__be32 first; /* the first word behind the IP header: ports, or ICMP's type and code */
	__u8 proto;
	__u8 flags; /* TCP */
	__u8 pad[2];
};
_Static_assert(sizeof(struct bench_header) == 16, "value size of headers");

/*
 * What stands behind the IP header of every frame: good as TCP and as UDP. In UDP the flags are payload, in
 * TCP the length is a part of the sequence number.
 */
struct bench_l4 {
	__be32 first;
	__be16 udp_len;
	__be16 udp_check; /* 0: none */
	__be32 ack;
	__u8 tcp_offset;
	__u8 flags;
	__be16 window;
};
#define BENCH_TCP_OFFSET (5 << 4)

struct bench_gen {
	/* in */
	__u32 to;    /* ifindex to redirect to; 0: the frame is dropped at once */
	__u32 first; /* of a list in `headers` */
	__u32 count; /* of its headers; 0: UDP from all of IPv4 */
	__u32 pad;
	__u64 total;
	__u64 warm; /* frames before the clock starts */
	/* in and out */
	__u32 at; /* the next header of the list, which begins again at its end */
	__u32 pad2;
	__u64 sent;
	__u64 random; /* not 0 */
	/* out */
	__u64 first_ns, last_ns;
};
