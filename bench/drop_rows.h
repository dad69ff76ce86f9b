/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of bench/drop: what is measured, in turns, and what is printed of it. */
#pragma once

#include <stdbool.h>

#include "lib/filter.h"
#include "lib/gen.h"
#include "lib/lists.h"
#include "lib/peers.h"
#include "lib/sample.h"

struct options {
	unsigned long rounds, frames;
	int cpu;
	const char *feed; /* NULL: no rows of it */
	const char *only; /* NULL: all rows */
};

enum policy_id {
	POLICY_NO_CHAIN,
	POLICY_DEFAULT,
	POLICY_TCP_PORT,
	POLICY_UDP_PORT,
	POLICY_ADDRESSES,
	POLICY_PREFIXES,
	POLICY_FEED,
	POLICY_ID_COUNT,
};

/* Also the number of the generator's list of sources drawn from it. */
enum list_id {
	LIST_ADDRESSES,
	LIST_PREFIXES,
	LIST_FEED,
	LIST_ID_COUNT,
};

enum target {
	TARGET_NOWHERE, /* the generator alone */
	TARGET_DROP,    /* a program that drops and does nothing else */
	TARGET_TC_DROP,
	TARGET_PENSTOCK,
	TARGET_PENSTOCK_TC,
	TARGET_XDP_FILTER,
	TARGET_NFT,
	TARGET_COUNT,
};

#define ROWS_MAX 24
#define HOT_MAX  16

/* Random accesses to 2^10, 2^16, 2^18 and 2^20 lines. */
enum reference {
	REFERENCE_2_10,
	REFERENCE_2_16,
	REFERENCE_2_18,
	REFERENCE_2_20,
	REFERENCES,
};

struct live_row {
	const char *name;
	enum target target;
	uint32_t sources; /* enum list_id or BENCH_EVERYWHERE */
	unsigned int
		which; /* enum policy_id, enum xdp_filter_mode, or whether nft uses intervals */
	unsigned int slowness; /* frames are divided by it */
	double aim_ns;         /* over plain XDP_DROP; 0: none */
	unsigned int memory;   /* which reference has its working set, for the aim */
	struct pair pair;
	struct samples samples;
	bool absent;
};

struct hot_row {
	const char *name;
	enum target target;
	unsigned int which;
	struct gen_hot hot;
	bool member;   /* the source is one of LIST_ADDRESSES */
	double aim_ns; /* over the empty program */
	struct samples samples;
	bool absent;
};

struct stage {
	struct gen gen;
	struct list lists[LIST_ID_COUNT];
	struct filter filters[POLICY_ID_COUNT];
	struct xdp_filter peers[XDP_FILTER_PORTS + 1];
	struct live_row live[ROWS_MAX];
	struct hot_row hot[HOT_MAX];
	size_t live_count, hot_count;
	struct samples references[REFERENCES];
	unsigned long lost; /* samples thrown away because a frame was not accounted for */
};

int stage_init(struct stage *s, const struct options *o) _must_check_;
int stage_run(struct stage *s, const struct options *o) _must_check_;
void stage_print(const struct stage *s);
void stage_done(struct stage *s);
