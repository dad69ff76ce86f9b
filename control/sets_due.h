/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which member of the run-time sets expires next: a heap of member numbers by tick that knows where each of
 * them stands, so that a member is in it once and can be moved or taken out. Private to the writer.
 */
#pragma once

#include <stdint.h>

#include "cleanup.h"

struct sets_due_entry {
	uint32_t tick, member;
};

struct sets_due {
	struct sets_due_entry *heap;
	uint32_t *place; /* by member: index in the heap, plus one; 0: not in it */
	uint32_t count, members;
};

/* Room for member numbers below `members`, which never becomes less. -ENOMEM: nothing has changed. */
int sets_due_reserve(struct sets_due *d, uint32_t members) _must_check_;
void sets_due_done(struct sets_due *d);

/* The member expires at this tick, whatever was said of it before. There must be room for its number. */
void sets_due_put(struct sets_due *d, uint32_t member, uint32_t tick);

/* The member does not expire any more. Nothing happens when it would not have. */
void sets_due_drop(struct sets_due *d, uint32_t member);

/* The earliest; NULL when there is none. Borrowed until the next change. */
const struct sets_due_entry *sets_due_first(const struct sets_due *d);
