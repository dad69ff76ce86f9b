/* SPDX-License-Identifier: Apache-2.0 */
/* penstock's real object with a policy in its bank, without the daemon. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi.h" /* before the skeleton, which needs it */
#include "cleanup.h"
#include "penstock.skel.h"
#include "policy.h"

struct filter {
	struct penstock *skel;
	uint32_t lines; /* of the bank */
	double compile_ms;
};

/* What the policy calls `listed.txt`; borrowed. */
struct filter_list {
	const char *text;
	size_t len;
};

/* Says on stderr why not. Frames of the loopback device, a test run's, are of the first zone. */
int filter_new(struct filter *f, const char *policy, const struct filter_list *list) _must_check_;
void filter_done(struct filter *f);

/* Puts a device into the first zone, with the program at XDP in the driver, or at TC ingress. */
int filter_attach(struct filter *f, unsigned int ifindex, bool at_tc) _must_check_;

/* Packets counted under a reason by the first chain, on all CPUs. */
uint64_t filter_counted(const struct filter *f, enum dp_reason reason);
