/* SPDX-License-Identifier: Apache-2.0 */
/* The benchmark's own programs, loaded: the generator, the floors, the memory reference. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cleanup.h"
#include "headers.h"
#include "pair.h"

struct bench;

struct gen {
	struct bench *skel;
};

/* Takes the lists over into the kernel, and says in each where. */
int gen_init(struct gen *g, struct headers *lists, size_t count) _must_check_;
void gen_done(struct gen *g);

/*
 * Sends `frames` of a list (NULL: from all of IPv4) over the pair, or nowhere when it is NULL. *ret_ns:
 * nanoseconds a frame, sending and receiving, of the last three quarters; -EBADMSG when not every
 * frame arrived.
 */
int gen_run(struct gen *g, const struct pair *pair, const struct headers *list, uint64_t frames,
	    double *ret_ns) _must_check_;

/*
 * Nanoseconds a run over one frame, the kernel's loop around it included; -EBADMSG for another answer than
 * `action`.
 */
int gen_test_run(int prog, const struct bench_header *header, uint32_t action,
		 double *ret_ns) _must_check_;

/* Nanoseconds of one random read-modify-write of a line out of `lines`, a power of two. */
int gen_reference(struct gen *g, uint32_t lines, double *ret_ns) _must_check_;
