/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of bench/drop: each in turn is put on the same veth, measured, and taken off again, so that all
 * of them see the same device and a neighbour's load meets all of them alike.
 */
#pragma once

#include "lib/filter.h"
#include "lib/gen.h"
#include "lib/peers.h"
#include "lib/spec.h"

/* A table of flows has its size when it is made. */
enum filter_id {
	FILTER_DEFAULT,
	FILTER_LARGE, /* of rows with more flows than the other takes at ease */
	FILTERS,
};

#define REFERENCES 4 /* random accesses to as many lines, stage_reference_lines[] */

struct stage {
	struct spec spec;
	struct gen gen;
	struct pair pair;
	struct headers *lists; /* as in spec.headers */
	struct filter filters[FILTERS];
	struct filter_policy *policies; /* as in spec.policies */
	struct xdp_filter *peers;       /* as in spec.rows */
	struct samples references[REFERENCES];
};

extern const uint32_t stage_reference_lines[REFERENCES];

/* Reads, compiles, loads and sets up everything. A row that cannot be is absent, and says why. */
int stage_init(struct stage *s, const char *spec) _must_check_;
int stage_run(struct stage *s) _must_check_;
void stage_done(struct stage *s);

/* Medians and all that led to them, as JSON; README.md says what is in it. */
int stage_write(const struct stage *s, const char *path) _must_check_;
