/* SPDX-License-Identifier: Apache-2.0 */
/* See history.h. */
#include "history.h"

#include <errno.h>
#include <string.h>

#include "generation.h"
#include "jsonobj.h"
#include "state.h"

static void entry_done(struct history_entry *e)
{
	free(e->file);
	free(e->dir);
	free(e->applied_at);
	sources_done(&e->sources);
	*e = (struct history_entry){};
}

void history_done(struct history *h)
{
	for (size_t i = 0; i < h->count; i++)
		entry_done(&h->at[i]);
	vec_done(h);
}

static struct history_entry *find(struct history *h, uint64_t number)
{
	for (size_t i = 0; i < h->count; i++) {
		if (h->at[i].number == number)
			return &h->at[i];
	}
	return NULL;
}

static void drop(struct history *h, size_t i)
{
	entry_done(&h->at[i]);
	memmove(&h->at[i], &h->at[i + 1], (--h->count - i) * sizeof(h->at[0]));
}

void history_forget(struct history *h, uint64_t number)
{
	struct history_entry *e = find(h, number);

	if (e)
		drop(h, (size_t)(e - h->at));
}

bool history_has(const struct history *h, uint64_t number)
{
	struct history copy = *h;

	return find(&copy, number);
}

static int copy_sources(const struct sources *from, struct sources *ret)
{
	_cleanup_json_ struct json_object *json = sources_to_json(from);

	return sources_from_json(ret, json);
}

/* Takes the entry over. */
static int push(struct history *h, struct history_entry *e)
{
	struct history_entry *have = find(h, e->number);
	int r = 0;

	if (!e->file || !e->dir || !e->applied_at)
		r = -ENOMEM;
	else if (have) {
		entry_done(have);
		*have = *e;
		return 0;
	}
	if (!r)
		r = vec_push(h, *e);
	if (r < 0) {
		entry_done(e);
		return r;
	}
	if (h->count > HISTORY_MAX)
		drop(h, 0);
	return 0;
}

int history_add(struct history *h, const struct generation *g, uid_t uid)
{
	struct history_entry e = { .number = g->number, .uid = uid };
	int r = copy_sources(&g->sources, &e.sources);

	if (r < 0)
		return r;
	memcpy(e.digest, g->digest, sizeof(e.digest));
	e.file = strdup(g->file);
	e.dir = strdup(g->dir);
	e.applied_at = strdup(g->applied_at);
	return push(h, &e);
}

void history_mark_undone(struct history *h, uint64_t number)
{
	struct history_entry *e = find(h, number);

	if (e)
		e->undone = true;
}

const struct history_entry *history_back(const struct history *h, const struct generation *running)
{
	for (size_t i = h->count; i-- > 0;) {
		const struct history_entry *e = &h->at[i];

		if (e->undone || !e->sources.number)
			continue;
		if (!running || (e->number < running->number &&
				 memcmp(e->digest, running->digest, sizeof(e->digest)) != 0))
			return e;
	}
	return NULL;
}

int history_sources(const struct history *h, struct source_numbers *ret)
{
	int r = 0;

	for (size_t i = 0; !r && i < h->count; i++)
		r = vec_push(ret, h->at[i].sources.number);
	return r;
}

/* ---- as JSON ----------------------------------------------------------------------------------------- */

static struct json_object *entry_to_json(const struct history_entry *e)
{
	struct json_object *row = json_object_new_object();
	char digest[DIGEST_TEXT];

	digest_format(e->digest, digest);
	json_add_u64(row, "generation", e->number);
	json_add_text(row, "digest", digest);
	json_add_text(row, "file", e->file);
	json_add_text(row, "dir", e->dir);
	json_add_text(row, "applied_at", e->applied_at);
	json_add_u64(row, "uid", e->uid);
	json_add(row, "undone", json_object_new_boolean(e->undone));
	return row;
}

struct json_object *history_report(const struct history *h)
{
	struct json_object *rows = json_object_new_array();

	for (size_t i = h->count; i-- > 0;)
		json_object_array_add(rows, entry_to_json(&h->at[i]));
	return rows;
}

struct json_object *history_to_json(const struct history *h)
{
	struct json_object *json = json_object_new_object(), *rows = json_object_new_array();

	for (size_t i = 0; i < h->count; i++) {
		struct json_object *row = entry_to_json(&h->at[i]);

		json_add(row, "sources", sources_to_json(&h->at[i].sources));
		json_object_array_add(rows, row);
	}
	json_add_u64(json, "schema", 1);
	json_add(json, "policies", rows);
	return json;
}

static char *copy_text(struct json_object *from, const char *key)
{
	const char *text = json_text(from, key);

	return text ? strdup(text) : NULL;
}

static int entry_from_json(struct history *h, struct json_object *row)
{
	const char *digest = json_text(row, "digest");
	struct history_entry e = {
		.number = json_object_get_uint64(json_object_object_get(row, "generation")),
		.uid = (uid_t)json_object_get_uint64(json_object_object_get(row, "uid")),
		.undone = json_object_get_boolean(json_object_object_get(row, "undone")),
	};
	int r;

	if (!digest_parse(digest, e.digest))
		return -EBADMSG;
	r = sources_from_json(&e.sources, json_object_object_get(row, "sources"));
	if (r < 0)
		return r;
	e.file = copy_text(row, "file");
	e.dir = copy_text(row, "dir");
	e.applied_at = copy_text(row, "applied_at");
	return push(h, &e);
}

int history_load(struct history *ret, struct state *state)
{
	_cleanup_(history_done) struct history h = {};
	_cleanup_json_ struct json_object *json = NULL;
	struct json_object *rows;
	int r = state_read(state, HISTORY_FILE, &json);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	rows = json_member(json, "policies", json_type_array);
	if (!rows)
		return -EBADMSG;
	for (size_t i = 0; !r && i < json_object_array_length(rows); i++)
		r = entry_from_json(&h, json_object_array_get_idx(rows, i));
	if (r < 0)
		return r;
	*ret = h;
	h = (struct history){};
	return 0;
}
