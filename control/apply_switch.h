/* SPDX-License-Identifier: Apache-2.0 */
/* Step 5 of an apply: devices and the flip. Runs on the loop, at once, so that no event comes between. */
#pragma once

#include "generation.h"
#include "wants.h"

struct daemon;

/* What the word will say, see install_flip(). */
struct apply_to {
	unsigned int bank;
	uint32_t deadline;
};

/*
 * Attaches what `next` wants beside what is attached, and makes its bank the active one. On failure the
 * devices are as before and nothing was flipped.
 */
int apply_switch(struct daemon *d, const struct generation *next, const struct overrides *overrides,
		 const struct apply_to *to, char **ret_why) _must_check_;

/* After the flip, with the new policy as the running one: what it does not want is detached. */
void apply_detach_rest(struct daemon *d);
