/* SPDX-License-Identifier: Apache-2.0 */
/* Who else is on a device: programs and filters in the order in which packets meet them. */
#pragma once

#include "attach.h"

struct attach_program {
	enum dp_dir dir;
	enum attach_mode mode;
	bool ours;
	uint32_t prog;     /* its number; 0 for a filter that is no program */
	uint32_t priority; /* of a filter */
	char kind[16];     /* likewise: "bpf", "flower", … */
};

VEC_NAMED(attach_programs, struct attach_program);

/*
 * Appends those of both directions, ingress first. xdps: of all devices. What cannot be asked of the device is left
 * out; -ENOMEM.
 */
int attach_list_programs(const struct loader *l, const struct netif_xdps *xdps, uint32_t ifindex,
			 struct attach_programs *ret);

/* TCX came with Linux 6.6; the headers of Debian 12 are of 6.1. The numbers are the kernel's. */
static inline int attach_tcx_type(enum dp_dir dir)
{
	return dir == DP_INGRESS ? 46 : 47;
}

/* Numbers of the programs at TCX, in order; how many. Of more than that nobody asks. */
#define ATTACH_TCX_SEEN 64
uint32_t attach_tcx_programs(uint32_t ifindex, enum dp_dir dir,
			     uint32_t ret[static ATTACH_TCX_SEEN]);

/* Of a descriptor; 0: nothing can be said of it. */
uint32_t attach_prog_id(int fd);
