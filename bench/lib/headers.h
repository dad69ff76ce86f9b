/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of headers to send: traces in ClassBench's format, see bench/classbench/rules.py. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "bpf/bench.h"
#include "cleanup.h"

struct headers {
	const char *name; /* borrowed */
	struct bench_header *at;
	uint32_t count;
	uint32_t first; /* in the generator's map */
};

/*
 * Reads a trace; draw != 0: that many of its headers, at random, with replacement, the same in every run.
 * -EINVAL, said on stderr with the line, when one is not a header, or when there is none. *ret is to be
 * released in every case.
 */
int headers_read(struct headers *ret, const char *name, const char *path,
		 uint32_t draw) _must_check_;
void headers_done(struct headers *headers);
