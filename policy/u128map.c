/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open addressing, linear probing, at most half full. Keys are mixed already: their low bits are
 * the hash.
 */
#include "u128map.h"

static size_t find(const struct u128map *map, u128 key)
{
	size_t i = (size_t)key & (map->room - 1);

	while (map->slots[i].value && map->slots[i].key != key)
		i = (i + 1) & (map->room - 1);
	return i;
}

uint32_t u128map_get(const struct u128map *map, u128 key)
{
	const struct u128map_slot *slot;

	if (!map->room)
		return U128MAP_NONE;
	slot = &map->slots[find(map, key)];
	return slot->value ? slot->value - 1 : U128MAP_NONE;
}

static int grow(struct u128map *map)
{
	struct u128map wider = { .count = map->count, .room = map->room ? map->room * 2 : 64 };

	wider.slots = calloc(wider.room, sizeof(*wider.slots));
	if (!wider.slots)
		return -ENOMEM;
	for (size_t i = 0; i < map->room; i++)
		if (map->slots[i].value)
			wider.slots[find(&wider, map->slots[i].key)] = map->slots[i];
	free(map->slots);
	*map = wider;
	return 0;
}

int u128map_add(struct u128map *map, u128 key, uint32_t value)
{
	int r = 2 * map->count >= map->room ? grow(map) : 0;

	if (r)
		return r;
	map->slots[find(map, key)] = (struct u128map_slot){ key, value + 1 };
	map->count++;
	return 0;
}

void u128map_done(struct u128map *map)
{
	free(map->slots);
	*map = (struct u128map){};
}

/* splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014. */
static uint64_t splitmix64(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

u128 u128map_signature(uint64_t n)
{
	uint64_t high = splitmix64(n);

	return (u128)high << 64 | splitmix64(high ^ 0x70656e73746f636b);
}
