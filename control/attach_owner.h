/* SPDX-License-Identifier: Apache-2.0 */
/* Who else has a device's XDP hook, for the sentence that says why we are not there. Never an error of its own. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct inspect;

/* Says the first that applies: there is no such interface; whose program is at its XDP hook, when `busy`. */
void attach_owner_say(struct inspect *inspect, uint32_t ifindex, bool busy, char **ret_why);
