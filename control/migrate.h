/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A start over maps of another layout (loader_migrate.h), as the daemon goes about it:
 *   1. new programs and maps are loaded, beside those in force                       loader_new()
 *   2. where banks lie otherwise, the running policy is compiled anew, into them     migrate_begin()
 *   3. the new maps become the pinned ones, in one step                              migrate_begin()
 *   4. flows are carried over                                                        migrate_carry()
 *   5. the programs on devices are replaced, one by one: a packet meets old programs over old maps, or new ones
 *      over new maps                                                                 attach_reconcile()
 *   6. once the last packet has left the old ones, what they did meanwhile is carried over as well, and counters;
 *      the old maps go                                                               migrate_end()
 * Cut short before 3 nothing has happened. After it the next start, of whatever build, goes on at 4.
 */
#pragma once

#include "cleanup.h"

struct daemon;

/* d->running is known; it may be another generation of the same policy afterwards. */
int migrate_begin(struct daemon *d, char **ret_why) _must_check_;

/* These do nothing where nothing is left over. */
int migrate_carry(struct daemon *d, char **ret_why) _must_check_;
int migrate_end(struct daemon *d, char **ret_why) _must_check_;
