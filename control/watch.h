/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks every two seconds after what others can take away without an event: links and filters on devices, pins.
 * What is missing is put back and said.
 */
#pragma once

#include "cleanup.h"

struct daemon;
struct watch;

int watch_new(struct watch **ret, struct daemon *d) _must_check_;
void watch_free(struct watch **w); /* after the worker has ended */
