/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/set/list and GET /v1/sets. A list is given page by page, so that no answer takes long: first the
 * members of the table, by number, then what the policy gives. A member that stays is on exactly one page.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "addr.h"
#include "daemon.h"
#include "feeds.h"
#include "jsonobj.h"
#include "route_set.h"
#include "routes.h"

#define PAGE_ROWS    2000
#define PAGE_NUMBERS 262144 /* of the table, looked at for one page */
#define NS_PER_S     1000000000ull
#define NS_PER_MS    1000000ull

/* Where the next page begins: "m7" is a member number, "p7" an index of what the policy gives. */
#define CURSOR_BYTES 24

struct page {
	struct api_request *r;
	struct json_object *json, *rows;
	size_t most;
	uint64_t at; /* the first that the policy gives */
};

static void add_row(struct page *page, const struct sets_key *key, struct json_object *expires,
		    bool is_static)
{
	struct json_object *row = json_object_new_object();
	struct prefix p = sets_prefix_of(key);
	char text[PREFIX_TEXT];

	prefix_format(&p, text);
	json_add_text(row, "prefix", text);
	json_add(row, "expires_in_ms", expires);
	json_add(row, "static", json_object_new_boolean(is_static));
	json_object_array_add(page->rows, row);
}

static size_t row_count(const struct page *page)
{
	return json_object_array_length(page->rows);
}

static void finish(struct page *page, char kind, uint64_t next)
{
	char cursor[CURSOR_BYTES];

	(void)snprintf(cursor, sizeof(cursor), "%c%" PRIu64, kind, next); /* always fits */
	json_add_text(page->json, "next", kind ? cursor : NULL);
	json_add(page->json, "members", page->rows);
	api_answer(page->r, 200, page->json);
}

/* ---- members of the table --------------------------------------------------------------------------------- */

static struct json_object *expires_in(uint32_t tick)
{
	uint64_t at_ns = (uint64_t)tick << DP_TICK_SHIFT, now_ns;
	struct timespec t;

	if (!tick)
		return NULL;
	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* always there */
	now_ns = (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
	return json_object_new_uint64(at_ns > now_ns ? (at_ns - now_ns) / NS_PER_MS : 0);
}

/* The number where the next page goes on, 0 when there are no more. */
static uint32_t add_members(struct page *page, const struct sets_table *t, uint8_t set,
			    uint64_t from)
{
	uint32_t end, n, now = sets_now();

	if (from >= t->used)
		return 0;
	end = t->used - from > PAGE_NUMBERS ? (uint32_t)from + PAGE_NUMBERS : t->used;
	for (n = (uint32_t)from; (n = sets_table_next(t, n, end)); n++) {
		const struct dp_member *m = sets_table_member(t, n);
		struct sets_key key;

		if (m->set != set || (m->expires && m->expires <= now))
			continue;
		if (row_count(page) >= page->most)
			return n;
		key = sets_table_key(t, n);
		add_row(page, &key, expires_in(m->expires), false);
	}
	return end < t->used ? end : 0;
}

/* ---- what the policy gives ----------------------------------------------------------------------------------- */

static void on_given(void *ctx, const struct sets_keys *keys, int error)
{
	struct page *page = ctx;
	uint64_t i = page->at;

	if (!keys) {
		json_put(&page->json);
		json_put(&page->rows);
		api_error(
			page->r, error == -ESHUTDOWN ? 503 : 500,
			error == -ESHUTDOWN ? "stopping" : "failed",
			"what the policy gives to the set cannot be read again: %s; apply it anew",
			strerrordesc_np(-error));
		free(page);
		return;
	}
	for (; i < keys->count && row_count(page) < page->most; i++)
		add_row(page, &keys->at[i], NULL, true);
	finish(page, i < keys->count ? 'p' : 0, i);
	free(page);
}

/* ---- a page ---------------------------------------------------------------------------------------------------- */

/* False when it is no cursor of ours. "" is the beginning. */
static bool read_cursor(const char *text, bool runtime, char *ret_kind, uint64_t *ret_at)
{
	char end;

	*ret_kind = runtime ? 'm' : 'p';
	*ret_at = runtime ? 1 : 0;
	if (!text)
		return true;
	return sscanf(text, "%c%" SCNu64 "%c", ret_kind, ret_at, &end) == 2 &&
	       (*ret_kind == 'p' || (*ret_kind == 'm' && runtime && *ret_at));
}

static void describe(const struct daemon *d, const struct generation_set *set,
		     struct json_object *json)
{
	json_add_text(json, "set", set->name);
	json_add(json, "runtime", json_object_new_boolean(set->runtime));
	json_add_u64(json, "static_members", set->members);
	json_add_u64(json, "runtime_members",
		     set->runtime ? sets_table(d->sets)->count[set->number] : 0);
	json_add(json, "max", set->max ? json_object_new_uint64(set->max) : NULL);
	json_add(json, "ttl_ms", set->ttl_ms ? json_object_new_uint64(set->ttl_ms) : NULL);
}

static void give_page(struct daemon *d, struct api_request *r, const struct generation_set *set,
		      struct json_object *request)
{
	uint64_t limit = json_object_get_uint64(json_object_object_get(request, "limit"));
	struct page *page = calloc(1, sizeof(*page));
	uint32_t next;
	char kind;

	if (!page) {
		route_set_error(r, -ENOMEM, NULL);
		return;
	}
	page->r = r;
	page->most = limit && limit < PAGE_ROWS ? limit : PAGE_ROWS;
	if (!read_cursor(json_text(request, "after"), set->runtime, &kind, &page->at)) {
		api_error(r, 400, "bad-request",
			  "'after' is not what an earlier answer had as 'next'");
		free(page);
		return;
	}
	page->json = json_object_new_object();
	page->rows = json_object_new_array();
	describe(d, set, page->json);
	next = kind == 'm' ? add_members(page, sets_table(d->sets), set->number, page->at) : 0;
	if (kind == 'm')
		page->at = 0;
	if (next) {
		finish(page, 'm', next);
	} else if (set->members && row_count(page) < page->most) {
		sets_given_ask(d->given, set->name, on_given, page);
		return;
	} else {
		finish(page, set->members ? 'p' : 0, page->at);
	}
	free(page);
}

void route_set_list(void *ctx, struct api_request *r)
{
	_cleanup_json_ struct json_object *json = api_json(r);
	const char *name = json ? route_set_name(r, json) : NULL;
	struct daemon *d = ctx;
	const struct generation_set *set;
	_cleanup_free_ char *why = NULL;
	int error = 0;

	if (!name)
		return;
	set = generation_set(d->running, name);
	if (set) {
		give_page(d, r, set, json);
		return;
	}
	(void)sets_find(d->sets, name, &error, &why); /* for its sentence */
	route_set_error(r, error, why);
}

/* ---- all sets --------------------------------------------------------------------------------------------------- */

struct json_object *route_sets_report(const struct daemon *d)
{
	struct json_object *json = json_object_new_object(), *rows = json_object_new_array();
	struct json_object *table = json_object_new_object(), *manifest = NULL;

	if (d->running)
		manifest = json_member(d->running->manifest, "sets", json_type_array);
	for (size_t i = 0; d->running && i < d->running->sets.count; i++) {
		const struct generation_set *set = &d->running->sets.at[i];
		struct json_object *row = json_object_new_object();

		json_object_object_foreach(json_object_array_get_idx(manifest, i), key, value)
			json_add(row, key, json_object_get(value));
		json_add_u64(row, "runtime_members",
			     set->runtime ? sets_table(d->sets)->count[set->number] : 0);
		if (set->refresh)
			json_add(row, "feed", feeds_report(d->feeds, set->file));
		json_object_array_add(rows, row);
	}
	json_add_u64(table, "members", sets_table(d->sets)->live);
	json_add_u64(table, "limit", SETS_MEMBERS_MAX - 1);
	json_add_u64(table, "memory_bytes", sets_memory_bytes(d->sets));
	json_add(json, "sets", rows);
	json_add(json, "table", table);
	return json;
}

void route_sets(void *ctx, struct api_request *r)
{
	api_answer(r, 200, route_sets_report(ctx));
}
