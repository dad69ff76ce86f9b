/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A change that waits to be confirmed. The kernel goes back by itself (abi.h, `ctl`); here is what the word cannot
 * carry: names, counters, devices, zones. Until the change is confirmed or undone, both policies keep their devices,
 * their slots and the members of their sets, and no other change begins.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "generation.h"
#include "wants.h"

struct api_request;
struct confirm;
struct daemon;
struct json_object;

/* Why a change is undone: for the log. */
enum confirm_end {
	CONFIRM_TIMEOUT,
	CONFIRM_ROLLBACK,
	CONFIRM_END_COUNT,
};

/*
 * The running policy waits until the tick, which is the word's. Takes over what ran before it, NULL for nothing,
 * and the overrides of then.
 */
int confirm_begin(struct daemon *d, struct generation **previous, struct overrides *overrides,
		  uint32_t deadline) _must_check_;

/* NULL when nothing waits. */
const struct generation *confirm_previous(const struct daemon *d);
const struct overrides *confirm_overrides(const struct daemon *d);

/* {left_ms, previous: {...}, previous is null for nothing}, NULL when nothing waits. */
struct json_object *confirm_report(const struct daemon *d);

/* For good. -ENOENT, or -ETIME when it is too late. */
int confirm_accept(struct daemon *d) _must_check_;

/* Done when on_done() is called, on the loop; r < 0: the names of before could not be saved. */
typedef void confirm_done_fn(void *ctx, int r);
int confirm_undo(struct daemon *d, enum confirm_end why, confirm_done_fn *on_done,
		 void *ctx) _must_check_;

/*
 * At a start: finds what the word of the one before us waits for, or that the kernel went back since. d->running is
 * what is enforced now.
 */
int confirm_adopt(struct daemon *d, char **ret_why) _must_check_;

void confirm_free(struct confirm **c);
