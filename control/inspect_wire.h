/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What penstockd asks penstock-inspect, and what it is told: one message each, of a fixed size, on a socket that
 * keeps messages apart. Neither side believes the other: both look at what came before they use it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"

/* The socket's descriptor in penstock-inspect; standard input and output are /dev/null. */
#define INSPECT_SOCKET_FD 3

/* Changes with the structs below: the two programs are of one build, and say so. */
#define INSPECT_MAGIC 0x31736e69 /* "ins1" */

enum inspect_kind {
	INSPECT_READY = 1, /* only told, once: rights are given up */
	INSPECT_PROGRAM,   /* what is the BPF program of this number */
};

struct inspect_request {
	uint32_t magic, kind;
	uint64_t number; /* comes back with the answer */
	uint32_t id;
	uint32_t pad;
};
_Static_assert(sizeof(struct inspect_request) == 24, "no holes");

#define INSPECT_NAME 16 /* as long as the kernel's */

struct inspect_answer {
	uint32_t magic, kind;
	uint64_t number;
	int32_t error; /* 0, or -errno; then nothing below counts. -EINVAL: no such request */
	uint32_t id;
	uint32_t uid; /* who loaded it */
	uint32_t pad;
	char name[INSPECT_NAME]; /* "" for a program without one */
};
_Static_assert(sizeof(struct inspect_answer) == 48, "no holes");

/* -EINVAL for all but a request that is whole, and of a kind that is answered. */
int inspect_read_request(const void *bytes, size_t len, struct inspect_request *ret) _must_check_;

/* The same for answers. The name ends, and has no characters but those that the kernel allows in it. */
int inspect_read_answer(const void *bytes, size_t len, struct inspect_answer *ret) _must_check_;
