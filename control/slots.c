/* SPDX-License-Identifier: Apache-2.0 */
/* See slots.h. Tables are sorted by name, so that two of them are compared in one pass. */
#include "slots.h"

#include <string.h>

#include <json-c/json.h>

#include "cleanup.h"

void slot_table_init(struct slot_table *t, uint32_t limit, bool clean)
{
	*t = (struct slot_table){ .limit = limit, .next = 1, .clean_from = clean ? 1 : limit };
}

void slot_table_done(struct slot_table *t)
{
	arena_done(&t->arena);
	vec_done(&t->owners);
}

static int compare_names(const struct slot_name *a, const struct slot_name *b)
{
	int r = strcmp(a->chain, b->chain);

	return r ? r : strcmp(a->id, b->id);
}

static int by_name(const void *a, const void *b)
{
	return compare_names(&((const struct slot_owner *)a)->name,
			     &((const struct slot_owner *)b)->name);
}

static int by_retirement(const void *pa, const void *pb)
{
	const struct slot_owner *a = pa, *b = pb;

	if (a->retired != b->retired)
		return a->retired < b->retired ? -1 : 1;
	return a->slot < b->slot ? -1 : a->slot > b->slot;
}

static void sort_by_name(struct slot_table *t)
{
	if (t->owners.count)
		qsort(t->owners.at, t->owners.count, sizeof(*t->owners.at), by_name);
}

static const struct slot_owner *find_owner(const struct slot_table *t, struct slot_name name)
{
	struct slot_owner key = { .name = name };

	if (!t->owners.count)
		return NULL;
	return bsearch(&key, t->owners.at, t->owners.count, sizeof(key), by_name);
}

uint32_t slot_table_find(const struct slot_table *t, const char *chain, const char *id)
{
	const struct slot_owner *found = find_owner(t, (struct slot_name){ chain, id });

	return found ? found->slot : 0;
}

size_t slot_table_need(const struct slot_table *old, const struct slot_names *wanted)
{
	size_t need = wanted->count;

	for (size_t i = 0; i < old->owners.count; i++)
		need += !old->owners.at[i].retired;
	for (size_t i = 0; i < wanted->count; i++) {
		const struct slot_owner *owner = find_owner(old, wanted->at[i]);

		need -= owner && !owner->retired;
	}
	return need;
}

static int add(struct slot_table *t, const struct slot_owner *owner)
{
	struct slot_owner copy = *owner;

	copy.name.chain = arena_strndup(&t->arena, owner->name.chain, strlen(owner->name.chain));
	copy.name.id = arena_strndup(&t->arena, owner->name.id, strlen(owner->name.id));
	if (!copy.name.chain || !copy.name.id)
		return -ENOMEM;
	return vec_push(&t->owners, copy);
}

static bool has_duplicates(const struct slot_table *t)
{
	for (size_t i = 1; i < t->owners.count; i++) {
		if (!compare_names(&t->owners.at[i - 1].name, &t->owners.at[i].name))
			return true;
	}
	return false;
}

/* The wanted names, with the slots they have already; slot 0 says that one is to be found. */
static int keep(const struct slot_table *old, const struct slot_names *wanted,
		struct slot_table *next)
{
	for (size_t i = 0; i < wanted->count; i++) {
		struct slot_owner o = { .name = wanted->at[i] };
		int r;

		o.slot = slot_table_find(old, o.name.chain, o.name.id);
		r = add(next, &o);
		if (r < 0)
			return r;
	}
	sort_by_name(next);
	return has_duplicates(next) ? -EEXIST : 0;
}

/* Those that were named before and are not now, the longest retired first. */
static int retire(const struct slot_table *old, const struct slot_table *next, uint64_t generation,
		  struct slot_owners *ret)
{
	for (size_t i = 0; i < old->owners.count; i++) {
		struct slot_owner o = old->owners.at[i];
		int r;

		if (slot_table_find(next, o.name.chain, o.name.id))
			continue;
		if (!o.retired)
			o.retired = generation;
		r = vec_push(ret, o);
		if (r < 0)
			return r;
	}
	if (ret->count)
		qsort(ret->at, ret->count, sizeof(*ret->at), by_retirement);
	return 0;
}

/*
 * Gives every wanted name a slot: a new one while there are any, then the longest retired owner's. Names
 * retired by this very generation still count in the active bank and keep theirs.
 */
static int hand_out(struct slot_table *t, const struct slot_owners *retired, uint64_t generation,
		    struct slot_list *clear, size_t *ret_taken)
{
	size_t taken = 0;

	for (size_t i = 0; i < t->owners.count; i++) {
		struct slot_owner *o = &t->owners.at[i];
		int r;

		if (o->slot)
			continue;
		if (t->next < t->limit)
			o->slot = t->next++;
		else if (taken < retired->count && retired->at[taken].retired < generation)
			o->slot = retired->at[taken++].slot;
		else
			return -ENOSPC;
		if (o->slot < t->clean_from) {
			r = vec_push(clear, o->slot);
			if (r < 0)
				return r;
		}
		if (t->clean_from == o->slot)
			t->clean_from++;
	}
	*ret_taken = taken;
	return 0;
}

int slot_table_next(const struct slot_table *old, const struct slot_names *wanted,
		    uint64_t generation, struct slot_table *ret, struct slot_list *ret_clear)
{
	struct slot_table next __attribute__((cleanup(slot_table_done))) = {
		.limit = old->limit, .next = old->next, .clean_from = old->clean_from
	};
	struct slot_owners retired = {};
	struct slot_list clear = {};
	size_t taken = 0;
	int r;

	r = keep(old, wanted, &next);
	if (!r)
		r = retire(old, &next, generation, &retired);
	if (!r)
		r = hand_out(&next, &retired, generation, &clear, &taken);
	for (size_t i = taken; !r && i < retired.count; i++)
		r = add(&next, &retired.at[i]);
	vec_done(&retired);
	if (r < 0) {
		vec_done(&clear);
		return r;
	}
	sort_by_name(&next);
	*ret = next;
	next = (struct slot_table){};
	*ret_clear = clear;
	return 0;
}

struct json_object *slot_table_to_json(const struct slot_table *t)
{
	struct json_object *json = json_object_new_object(), *owners = json_object_new_array();

	json_object_object_add(json, "limit", json_object_new_uint64(t->limit));
	json_object_object_add(json, "next", json_object_new_uint64(t->next));
	json_object_object_add(json, "clean_from", json_object_new_uint64(t->clean_from));
	for (size_t i = 0; i < t->owners.count; i++) {
		const struct slot_owner *o = &t->owners.at[i];
		struct json_object *row = json_object_new_array_ext(4);

		json_object_array_add(row, json_object_new_string(o->name.chain));
		json_object_array_add(row, json_object_new_string(o->name.id));
		json_object_array_add(row, json_object_new_uint64(o->slot));
		json_object_array_add(row, json_object_new_uint64(o->retired));
		json_object_array_add(owners, row);
	}
	json_object_object_add(json, "owners", owners);
	return json;
}

static uint32_t number(struct json_object *json, const char *key)
{
	uint64_t n = json_object_get_uint64(json_object_object_get(json, key));

	return n > UINT32_MAX ? 0 : (uint32_t)n;
}

static int owner_from_json(struct slot_table *t, struct json_object *row)
{
	struct slot_owner o = {};
	uint64_t slot;

	if (!json_object_is_type(row, json_type_array) || json_object_array_length(row) != 4)
		return -EBADMSG;
	o.name.chain = json_object_get_string(json_object_array_get_idx(row, 0));
	o.name.id = json_object_get_string(json_object_array_get_idx(row, 1));
	slot = json_object_get_uint64(json_object_array_get_idx(row, 2));
	o.retired = json_object_get_uint64(json_object_array_get_idx(row, 3));
	if (!o.name.chain || !o.name.id || !slot || slot >= t->next)
		return -EBADMSG;
	o.slot = (uint32_t)slot;
	return add(t, &o);
}

int slot_table_from_json(struct slot_table *ret, struct json_object *json)
{
	struct json_object *owners = json_object_object_get(json, "owners");
	int r;

	if (number(json, "limit") != ret->limit || !json_object_is_type(owners, json_type_array))
		return -EBADMSG;
	ret->next = number(json, "next");
	ret->clean_from = number(json, "clean_from");
	if (!ret->next || ret->next > ret->limit || !ret->clean_from ||
	    ret->clean_from > ret->limit)
		return -EBADMSG;
	for (size_t i = 0; i < json_object_array_length(owners); i++) {
		r = owner_from_json(ret, json_object_array_get_idx(owners, i));
		if (r < 0)
			return r;
	}
	sort_by_name(ret);
	return has_duplicates(ret) ? -EBADMSG : 0;
}
