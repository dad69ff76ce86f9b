/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "Which rule would decide this frame": a kernel test run of a second load of the same object, with
 * every write compiled out, on the active bank. Never a second matcher.
 */
#pragma once

#include "loader.h"

struct explain;

/* -ESTALE when the attached programs are of another build than the embedded object. */
int explain_new(struct explain **ret, const struct loader *l, char **ret_why) _must_check_;
void explain_free(struct explain **e);

/*
 * Runs one frame through the entry of that hook. zone: number as in the bank. cost_ns: mean of a
 * repeated run, NULL when nobody asks: at XDP the kernel waits for every CPU before and after it, for
 * 20 to 100 ms in all. The answer is in ret's out members. -EINVAL: a frame shorter than an Ethernet header, or
 * longer than the kernel's test run takes.
 */
int explain_run(struct explain *e, enum loader_prog prog, uint8_t zone, enum dp_dir dir,
		const void *frame, uint32_t len, struct dp_explain *ret,
		uint32_t *ret_cost_ns) _must_check_;
