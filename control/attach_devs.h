/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map `devs`, with a copy of it in memory: only this module writes the map, so the copy is exact.
 * Slots as in abi.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi.h"
#include "cleanup.h"

struct attach_devs {
	int map; /* borrowed */
	struct dp_dev at[DP_DEV_SLOTS];
};

int devs_init(struct attach_devs *d, int map) _must_check_;

struct attach_want;

/* Makes an entry with the device's zone for a bank and none for the other; the zones of an entry that is there stay. */
int devs_ensure(struct attach_devs *d, const struct attach_want *want,
		unsigned int bank) _must_check_;

/* Sets the zone for a bank. -ENOSPC when every slot that the program would look at is taken. */
int devs_set(struct attach_devs *d, const struct attach_want *want, unsigned int bank) _must_check_;

/* Frees the slot of every entry that gone() says it of. */
int devs_clear_if(struct attach_devs *d, bool (*gone)(void *ctx, uint32_t ifindex),
		  void *ctx) _must_check_;

/* Zone 0 in this bank for every entry that gone() says it of. */
int devs_unzone_if(struct attach_devs *d, unsigned int bank,
		   bool (*gone)(void *ctx, uint32_t ifindex), void *ctx) _must_check_;
