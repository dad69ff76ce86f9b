/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks every two seconds after what others can take away without an event: links and filters on devices, pins,
 * the state directory. What is missing is put back and said.
 */
#pragma once

#include "cleanup.h"

struct daemon;
struct watch;

int watch_new(struct watch **ret, struct daemon *d) _must_check_;
/* Why pins are missing and cannot be made again, by the last look; NULL: none is. Borrowed until the next. */
const char *watch_pins_lost(const struct watch *w);

void watch_free(struct watch **w); /* after the worker has ended */
