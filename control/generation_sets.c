/* SPDX-License-Identifier: Apache-2.0 */
/* See generation_sets.h. */
#include "generation_sets.h"

#include <errno.h>
#include <string.h>

#include "fail.h"
#include "generation.h"
#include "jsonobj.h"

static bool read_flag(struct json_object *row, const char *key)
{
	return json_object_get_boolean(json_object_object_get(row, key));
}

static uint64_t read_number(struct json_object *row, const char *key)
{
	return json_object_get_uint64(json_object_object_get(row, key));
}

static int read_set(struct generation *g, struct json_object *row)
{
	const char *name = json_text(row, "name"), *file = json_text(row, "file");
	const char *source = json_text(row, "source");
	struct generation_set set = {
		.runtime = read_flag(row, "runtime"),
		.refresh = read_flag(row, "refresh"),
		.max = read_number(row, "max"),
		.ttl_ms = read_number(row, "ttl_ms"),
		.members = read_number(row, "members"),
		.listed = read_number(row, "listed"),
	};

	if (!name || !source || (set.runtime && !set.max) || (set.refresh && !file))
		return -EBADMSG;
	set.name = arena_strndup(&g->arena, name, strlen(name));
	set.source = arena_strndup(&g->arena, source, strlen(source));
	set.file = file ? arena_strndup(&g->arena, file, strlen(file)) : NULL;
	if (!set.name || !set.source || (file && !set.file))
		return -ENOMEM;
	return vec_push(&g->sets, set);
}

int generation_sets_read(struct generation *g)
{
	struct json_object *rows = json_member(g->manifest, "sets", json_type_array);
	int r = rows ? 0 : -EBADMSG;

	for (size_t i = 0; !r && i < json_object_array_length(rows); i++)
		r = read_set(g, json_object_array_get_idx(rows, i));
	return r;
}

const struct generation_set *generation_set(const struct generation *g, const char *name)
{
	for (size_t i = 0; g && i < g->sets.count; i++) {
		if (!strcmp(g->sets.at[i].name, name))
			return &g->sets.at[i];
	}
	return NULL;
}

uint64_t generation_set_numbers(const struct generation *g)
{
	uint64_t numbers = 0;

	for (size_t i = 0; g && i < g->sets.count; i++) {
		if (g->sets.at[i].runtime)
			numbers |= 1ull << g->sets.at[i].number;
	}
	return numbers;
}

/* The number that the name has; -ENOENT when it has none. */
static int number_of(const struct generation *last, const char *name)
{
	const struct generation_set *set = generation_set(last, name);

	return set && set->runtime ? set->number : -ENOENT;
}

int generation_sets_assign(struct generation *g, const struct generation *last, uint64_t taken,
			   char **ret_why)
{
	taken |= generation_set_numbers(last);
	for (size_t i = 0; i < g->sets.count; i++) {
		struct generation_set *set = &g->sets.at[i];
		int number = number_of(last, set->name);

		if (!set->runtime)
			continue;
		if (number < 0 && taken == UINT64_MAX)
			return fail(ret_why, -ENOSPC,
				    "sets: no number for '%s': the running and the new policy "
				    "together have more than %d run-time sets; apply a smaller one "
				    "first",
				    set->name, DP_SETS);
		if (number < 0)
			number = __builtin_ctzll(~taken);
		taken |= 1ull << number;
		set->number = (uint8_t)number;
	}
	return 0;
}

void generation_sets_patch(const struct generation *g, struct dp_set_ordinals *ordinals)
{
	uint8_t ordinal = 0;

	memset(ordinals->ordinal, DP_SET_NO_ORDINAL, sizeof(ordinals->ordinal));
	for (size_t i = 0; i < g->sets.count; i++) {
		if (g->sets.at[i].runtime)
			ordinals->ordinal[g->sets.at[i].number] = ordinal++;
	}
}

struct json_object *generation_sets_to_json(const struct generation *g)
{
	struct json_object *json = json_object_new_object();

	for (size_t i = 0; i < g->sets.count; i++) {
		if (g->sets.at[i].runtime)
			json_add_u64(json, g->sets.at[i].name, g->sets.at[i].number);
	}
	return json;
}

int generation_sets_from_json(struct generation *g, struct json_object *json)
{
	uint64_t taken = 0;

	for (size_t i = 0; i < g->sets.count; i++) {
		struct generation_set *set = &g->sets.at[i];
		struct json_object *number = json_member(json, set->name, json_type_int);
		uint64_t n = number ? json_object_get_uint64(number) : DP_SETS;

		if (!set->runtime)
			continue;
		if (n >= DP_SETS || taken >> n & 1)
			return -EBADMSG;
		taken |= 1ull << n;
		set->number = (uint8_t)n;
	}
	return 0;
}
