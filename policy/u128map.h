/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A map from 128-bit signatures to small numbers. The signatures stand for what they were made of:
 * two different things with one signature are taken for the same, which for well mixed 128 bits
 * does not happen before 2^64 of them.
 */
#pragma once

#include <stdint.h>

#include "addr.h"
#include "vec.h"

struct u128map_slot {
	u128 key;
	uint32_t value; /* plus one; 0 marks a free slot */
};

struct u128map {
	struct u128map_slot *slots;
	size_t count, room; /* room: a power of two, or 0 */
};

#define U128MAP_NONE UINT32_MAX

/* The value of a key, U128MAP_NONE when the map has none. */
uint32_t u128map_get(const struct u128map *map, u128 key);

/* Adds a key that the map does not have; value below U128MAP_NONE. */
int u128map_add(struct u128map *map, u128 key, uint32_t value) _must_check_;

void u128map_done(struct u128map *map);

/* Well mixed and always the same: a signature for element `n` of a numbered collection. */
u128 u128map_signature(uint64_t n);
