/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers that come again with the same seed; splitmix64. A test prints the seed it used. */
#pragma once

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "addr.h"

struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *rng)
{
	uint64_t x = rng->state += 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

/* 0 .. n - 1; the bias for small n does not matter to a test. */
static inline uint64_t rng_below(struct rng *rng, uint64_t n)
{
	return rng_next(rng) % n;
}

static inline u128 rng_u128(struct rng *rng)
{
	u128 high = rng_next(rng);

	return high << 64 | rng_next(rng);
}

/* From SEED in the environment, else from the clock; printed so that a failure can be repeated. */
static inline struct rng rng_seeded(const char *what)
{
	const char *given = getenv("SEED");
	struct rng rng = { given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) };

	printf("%s: SEED=%" PRIu64 "\n", what, rng.state);
	return rng;
}
