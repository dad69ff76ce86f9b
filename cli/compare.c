/* SPDX-License-Identifier: Apache-2.0 */
/* See compare.h. */
#include "compare.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "str.h"

struct comparison {
	struct json_object *changes;
	bool failed;
};

/* from and to are taken. */
static void report(struct comparison *c, const char *kind, const char *change, const char *chain,
		   const char *name, struct json_object *from, struct json_object *to)
{
	struct json_object *row = json_object_new_object();

	if (!row || json_object_array_add(c->changes, row)) {
		json_object_put(row);
		json_object_put(from);
		json_object_put(to);
		c->failed = true;
		return;
	}
	json_set(row, "kind", json_object_new_string(kind));
	json_set(row, "change", json_object_new_string(change));
	if (chain)
		json_set(row, "chain", json_object_new_string(chain));
	json_set(row, "name", json_object_new_string(name));
	if (from)
		json_set(row, "from", from);
	if (to)
		json_set(row, "to", to);
}

/* ---- zones, sets and the heads of chains: compared by a description ---------------------------- */

static void describe_zone(struct text *t, struct json_object *zone)
{
	text_printf(t, "{dev: [");
	for (size_t i = 0; i < json_count(zone, "devs"); i++)
		text_printf(t, "%s%s", i ? ", " : "",
			    json_object_get_string(json_at(zone, "devs", i)));
	text_printf(t, "], hook: %s}", json_text(zone, "hook"));
}

static void describe_set(struct text *t, struct json_object *set)
{
	text_printf(t, "{members: %" PRIu64 ", digest: %s", json_number(set, "members"),
		    json_text(set, "digest"));
	if (json_number(set, "max"))
		text_printf(t, ", max: %" PRIu64, json_number(set, "max"));
	if (json_number(set, "ttl_ms"))
		text_printf(t, ", ttl: %" PRIu64 "ms", json_number(set, "ttl_ms"));
	if (json_object_get_boolean(json_member(set, "refresh")))
		text_puts(t, ", refresh: on-change");
	text_puts(t, "}");
}

static void describe_chain(struct text *t, struct json_object *chain)
{
	text_printf(t, "{at: %s.%s, default: %s", json_text(chain, "zone"), json_text(chain, "dir"),
		    json_text(chain, "default"));
	if (!strcmp(json_text(chain, "fragments"), "first-only"))
		text_puts(t, ", fragments: first-only");
	text_puts(t, "}");
}

struct kind {
	const char *name, *key;
	void (*describe)(struct text *t, struct json_object *object);
};

static struct json_object *find(struct json_object *manifest, const char *key, const char *name)
{
	for (size_t i = 0; i < json_count(manifest, key); i++)
		if (!strcmp(json_text(json_at(manifest, key, i), "name"), name))
			return json_at(manifest, key, i);
	return NULL;
}

static struct json_object *description(struct comparison *c, const struct kind *kind,
				       struct json_object *object)
{
	struct text t = {};
	_cleanup_free_ char *text = NULL;

	if (!object)
		return NULL;
	kind->describe(&t, object);
	text = text_take(&t);
	if (!text)
		c->failed = true;
	return text ? json_object_new_string(text) : NULL;
}

static void compare_one(struct comparison *c, const struct kind *kind, const char *name,
			struct json_object *old, struct json_object *fresh)
{
	struct json_object *from = description(c, kind, find(old, kind->key, name));
	struct json_object *to = description(c, kind, find(fresh, kind->key, name));

	if (from && to && !strcmp(json_object_get_string(from), json_object_get_string(to))) {
		json_object_put(from);
		json_object_put(to);
		return;
	}
	report(c, kind->name, !from ? "added" : !to ? "removed" : "changed", NULL, name, from, to);
}

static void compare_kind(struct comparison *c, const struct kind *kind, struct json_object *old,
			 struct json_object *fresh)
{
	for (size_t i = 0; i < json_count(fresh, kind->key); i++)
		compare_one(c, kind, json_text(json_at(fresh, kind->key, i), "name"), old, fresh);
	for (size_t i = 0; i < json_count(old, kind->key); i++) {
		const char *name = json_text(json_at(old, kind->key, i), "name");

		if (!find(fresh, kind->key, name))
			compare_one(c, kind, name, old, fresh);
	}
}

/* ---- rules -------------------------------------------------------------------------------------- */

/* Rule id -> its index in the chain. */
static struct json_object *index_rules(struct json_object *chain)
{
	struct json_object *index = json_object_new_object();

	for (size_t i = 0; index && i < json_count(chain, "rules"); i++)
		json_set(index, json_text(json_at(chain, "rules", i), "id"),
			 json_object_new_uint64(i));
	return index;
}

static struct json_object *rule_text(struct json_object *rule)
{
	return json_object_new_string(json_text(rule, "text"));
}

static bool same_rule(struct json_object *a, struct json_object *b)
{
	static const char *const keys[] = { "text", "do", "mode" };

	for (size_t i = 0; i < 3; i++)
		if (strcmp(json_text(a, keys[i]), json_text(b, keys[i])) != 0)
			return false;
	return true;
}

/*
 * Which rules moved: all but a longest run of rules that kept their order. was[i] is the old place of the
 * i-th common rule; a longest increasing subsequence by patience sorting.
 */
static int find_moved(const size_t *was, size_t count, bool *moved)
{
	_cleanup_free_ size_t *top = calloc(count + 1, sizeof(*top));
	_cleanup_free_ size_t *before = calloc(count + 1, sizeof(*before));
	size_t piles = 0, at;

	if (!top || !before)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		size_t low = 0, high = piles;

		while (low < high) {
			size_t middle = (low + high) / 2;

			if (was[top[middle]] < was[i])
				low = middle + 1;
			else
				high = middle;
		}
		top[low] = i;
		before[i] = low ? top[low - 1] : SIZE_MAX;
		piles += low == piles;
		moved[i] = true;
	}
	for (at = piles ? top[piles - 1] : SIZE_MAX; at != SIZE_MAX; at = before[at])
		moved[at] = false;
	return 0;
}

static void compare_order(struct comparison *c, const char *name, struct json_object *index,
			  struct json_object *fresh)
{
	size_t rules = json_count(fresh, "rules"), count = 0;
	_cleanup_free_ size_t *was = calloc(rules + 1, sizeof(*was));
	_cleanup_free_ size_t *is = calloc(rules + 1, sizeof(*is));
	_cleanup_free_ bool *moved = calloc(rules + 1, sizeof(*moved));

	for (size_t i = 0; was && is && i < rules; i++) {
		const char *id = json_text(json_at(fresh, "rules", i), "id");

		if (!json_member(index, id))
			continue;
		was[count] = json_number(index, id);
		is[count++] = i;
	}
	if (!was || !is || !moved || find_moved(was, count, moved)) {
		c->failed = true;
		return;
	}
	for (size_t i = 0; i < count; i++)
		if (moved[i])
			report(c, "rule", "moved", name,
			       json_text(json_at(fresh, "rules", is[i]), "id"),
			       json_object_new_uint64(was[i] + 1),
			       json_object_new_uint64(is[i] + 1));
}

static void compare_rules(struct comparison *c, const char *name, struct json_object *old,
			  struct json_object *fresh)
{
	_cleanup_json_ struct json_object *was = index_rules(old), *is = index_rules(fresh);

	if (!was || !is) {
		c->failed = true;
		return;
	}
	for (size_t i = 0; i < json_count(fresh, "rules"); i++) {
		struct json_object *rule = json_at(fresh, "rules", i);
		const char *id = json_text(rule, "id");
		struct json_object *before = json_at(old, "rules", json_number(was, id));

		if (!json_member(was, id))
			report(c, "rule", "added", name, id, NULL, rule_text(rule));
		else if (!same_rule(before, rule))
			report(c, "rule", "changed", name, id, rule_text(before), rule_text(rule));
	}
	for (size_t i = 0; i < json_count(old, "rules"); i++) {
		struct json_object *rule = json_at(old, "rules", i);
		const char *id = json_text(rule, "id");

		if (!json_member(is, id))
			report(c, "rule", "removed", name, id, rule_text(rule), NULL);
	}
	compare_order(c, name, was, fresh);
}

/* `safety.confirm`, which says nothing of packets but is content all the same. */
static struct json_object *confirm_text(struct json_object *manifest)
{
	char text[64];
	uint64_t ms = json_number(manifest, "confirm_ms");

	if (!json_member(manifest, "confirm_ms"))
		return NULL;
	(void)snprintf(text, sizeof(text), "%" PRIu64 "%s", ms % 1000 ? ms : ms / 1000,
		       ms % 1000 ? "ms" : "s"); /* always fits */
	return json_object_new_string(text);
}

static void compare_confirm(struct comparison *c, struct json_object *old,
			    struct json_object *fresh)
{
	struct json_object *was = confirm_text(old), *is = confirm_text(fresh);
	const char *change = !was ? "added" : !is ? "removed" : "changed";

	if (json_object_equal(was, is)) {
		json_object_put(was);
		json_object_put(is);
		return;
	}
	report(c, "safety", change, NULL, "confirm", was, is);
}

struct json_object *compare_manifests(struct json_object *old, struct json_object *fresh)
{
	static const struct kind kinds[] = {
		{ "zone", "zones", describe_zone },
		{ "set", "sets", describe_set },
		{ "chain", "chains", describe_chain },
	};
	struct comparison c = { .changes = json_object_new_array() };

	if (!c.changes)
		return NULL;
	compare_confirm(&c, old, fresh);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		compare_kind(&c, &kinds[i], old, fresh);
	for (size_t i = 0; i < json_count(fresh, "chains"); i++) {
		const char *name = json_text(json_at(fresh, "chains", i), "name");

		compare_rules(&c, name, find(old, "chains", name), json_at(fresh, "chains", i));
	}
	for (size_t i = 0; i < json_count(old, "chains"); i++) {
		const char *name = json_text(json_at(old, "chains", i), "name");

		if (!find(fresh, "chains", name))
			compare_rules(&c, name, json_at(old, "chains", i), NULL);
	}
	if (c.failed)
		json_putp(&c.changes);
	return c.changes;
}
