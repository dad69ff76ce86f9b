/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "Which rule would decide this frame, and how does the program come to that": a kernel test run of a second
 * load of the same object, with every write compiled out, on the active bank or a given one. Never a second matcher: what
 * the bank is asked afterwards is only which rule a number stands for.
 */
#pragma once

#include "loader.h"

struct explain;

/* Rules that an answer names; of more it says how many there are. */
#define EXPLAIN_CANDIDATES 20

struct explain_question {
	enum loader_prog prog;
	uint8_t zone; /* number as in the bank */
	enum dp_dir dir;
	uint32_t bank; /* 0: the active one; n: bank n - 1, which nobody may write to meanwhile */
	uint32_t ifindex; /* the frame's device: sockets may be bound to one. 0: none */
	bool measure;
	const void *frame;
	uint32_t len;
};

struct explain_answer {
	struct dp_explain said;
	enum loader_prog
		prog; /* that was run: XDP for frames that the kernel's test run refuses at TC */
	uint32_t chain_flags; /* enum dp_chain_flag; of a place without a chain, too */
	/* Numbers of the rules that match, ascending; of those in the trees the lowest alone. */
	uint32_t candidates[EXPLAIN_CANDIDATES];
	uint32_t candidate_count; /* of all, also of those that are not named */
	uint32_t cost_ns;         /* mean of a repeated run, with measure */
	int cost_error;           /* 0 when cost_ns is one, else -errno of that run */
};

/* -ESTALE when the attached programs are of another build than the embedded object. */
int explain_new(struct explain **ret, const struct loader *l, char **ret_why) _must_check_;
void explain_free(struct explain **e);

/*
 * Runs one frame through the entry of that hook. Measuring takes long: at XDP the kernel waits for every CPU
 * before and after it, for 20 to 100 ms in all. -EINVAL: a frame shorter than an Ethernet header, or longer than
 * the kernel's test run takes. -EAGAIN: the policy was changed meanwhile, ask again.
 */
int explain_run(struct explain *e, const struct explain_question *question,
		struct explain_answer *ret) _must_check_;
