/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The address sets of a generation. A run-time set has a number, by which the members in the kernel know it; it
 * belongs to the set's name: the next generation that has the name gives it the same number. Saved with the
 * generation, so before its flip.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi.h"
#include "cleanup.h"
#include "vec.h"

struct generation;
struct json_object;

struct generation_set {
	const char *name, *source; /* source: "edge.yaml:12" */
	const char *file;          /* as written in the policy, NULL for none */
	bool runtime, refresh;
	uint64_t max;     /* members of both kinds, 0 for no limit; not 0 with runtime */
	uint64_t ttl_ms;  /* of members added at run time, 0: they stay */
	uint64_t members; /* that the policy gives it */
	uint64_t listed;  /* prefixes in its file */
	uint8_t number;   /* with runtime: below DP_SETS */
};

VEC_NAMED(generation_sets, struct generation_set);

/* From the manifest, which is there. -EBADMSG when it is not as policy/image.h says. */
int generation_sets_read(struct generation *g) _must_check_;

/* NULL when there is none of the name; g may be NULL. */
const struct generation_set *generation_set(const struct generation *g, const char *name);

/* A bit for each number that a set of the generation has; g may be NULL. */
uint64_t generation_set_numbers(const struct generation *g);

/*
 * Numbers the run-time sets, those that `last` (NULL: nothing ran) has too as there. `taken`: numbers that nobody
 * new may have, because members are still known by them. -ENOSPC with a sentence when none is left.
 */
int generation_sets_assign(struct generation *g, const struct generation *last, uint64_t taken,
			   char **ret_why) _must_check_;

/* Says in a bank which number is which of its run-time sets. */
void generation_sets_patch(const struct generation *g, struct dp_set_ordinals *ordinals);

/* {name: number}, and back: -EBADMSG when it does not number the run-time sets, each and once. */
struct json_object *generation_sets_to_json(const struct generation *g);
int generation_sets_from_json(struct generation *g, struct json_object *json) _must_check_;
