/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables of flows and fragments of another layout, carried into this build's. May be called again and again, while
 * packets read and write both: what is newer stays. Memory is the caller's.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "abi.h"

enum flows_table {
	FLOWS_TABLE_FLOWS,
	FLOWS_TABLE_PENDING,
	FLOWS_TABLE_FRAGMENTS,
	FLOWS_TABLE_COUNT,
};

struct flows_from {
	const struct dp_layout *layout;
	const uint8_t *at;
	size_t stride; /* bytes from one slot to the next */
};

struct flows_carried {
	uint64_t kept, lost; /* live ones; lost: another has taken the slot */
};

/* Slot by slot: both tables have `slots`, and names are hashed by the same keys. Adds to ret. */
void flows_carry(enum flows_table which, const struct flows_from *from, void *to, uint32_t slots,
		 uint32_t now, struct flows_carried *ret);
