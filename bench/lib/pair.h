/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A veth pair in a network namespace of the process's own. It has no name: whatever happens to the process,
 * the kernel removes it and everything in it.
 */
#pragma once

#include <stdint.h>

#include "cleanup.h"

struct pair {
	unsigned int tx, rx; /* ifindex: frames redirected to tx arrive at rx */
};

#define PAIR_TX "tx0"
#define PAIR_RX "rx0"
#define PAIR_RX_MAC                    \
	{                              \
		0x02, 0, 0, 0, 0, 0x02 \
	}

/* Leaves the namespace of the caller; once. */
int pair_enter_namespace(void) _must_check_;

/* Up, without addresses; rx polls (GRO) so that redirected frames arrive without XDP too. */
int pair_new(struct pair *pair) _must_check_;

/* Frames that rx has taken in since it was made, dropped ones included. */
uint64_t pair_received(void);

/* Runs a command and returns its exit status, or -errno. */
int pair_run(const char *const argv[]) _must_check_;
