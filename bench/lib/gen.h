/* SPDX-License-Identifier: Apache-2.0 */
/* The benchmark's own programs, loaded: the generator, the floors, the memory reference. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cleanup.h"
#include "pair.h"

struct bench;

struct gen {
	struct bench *skel;
	uint32_t *sources; /* BENCH_LISTS lists, mapped */
};

int gen_init(struct gen *g) _must_check_;
void gen_done(struct gen *g);

/* Fills list `list` with random members of addrs, in host order. */
void gen_fill(struct gen *g, unsigned int list, const uint32_t *addrs, size_t count);

/*
 * Sends `frames` from a list (or BENCH_EVERYWHERE) over the pair, or nowhere when it is NULL.
 * *ret_ns: nanoseconds a frame, sending and receiving; -EBADMSG when not every frame arrived.
 */
int gen_run(struct gen *g, const struct pair *pair, uint32_t list, uint64_t frames,
	    double *ret_ns) _must_check_;

/* One frame over and over: what it is and what the program must do with it. */
struct gen_hot {
	uint32_t saddr;
	uint8_t proto; /* UDP to port 53, or a TCP SYN to port 80 */
	uint32_t action;
};

/* Nanoseconds a run, the kernel's loop around it included; -EBADMSG for another action. */
int gen_test_run(int prog, const struct gen_hot *hot, double *ret_ns) _must_check_;

/* Nanoseconds of one random read-modify-write of a line out of `lines`, a power of two. */
int gen_reference(struct gen *g, uint32_t lines, double *ret_ns) _must_check_;
