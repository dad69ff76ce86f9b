/* SPDX-License-Identifier: Apache-2.0 */
/* A map of the tree against a map of the schema: which key is which, and what is wrong with their shape. */
#include <string.h>

#include "schema.h"

const struct schema_key *schema_find(const struct schema_map *map, const char *name)
{
	for (size_t i = 0; i < map->count; i++) {
		/* Most differ in the first letter. */
		if (map->keys[i].name[0] == name[0] && !strcmp(map->keys[i].name, name))
			return &map->keys[i];
	}
	return NULL;
}

/* Returns the key that was probably meant, NULL for none. */
static const struct schema_key *report_unknown(struct diag_list *diags,
					       const struct schema_map *map, const char *where,
					       const struct tree_node *key)
{
	const char *names[SCHEMA_KEYS_MAX], *near, *quoted = diag_quote(diags, key->text, key->len);
	const char *in = where ? " in " : "";
	size_t count = map->count;

	where = where ? where : "";
	for (size_t i = 0; i < count; i++)
		names[i] = map->keys[i].name;
	near = diag_nearest(key->text, names, count);
	if (near)
		diag_error(diags, key->span, "unknown-key",
			   "unknown key '%s'%s%s; did you mean '%s'?", quoted, in, where, near);
	else
		diag_error(diags, key->span, "unknown-key", "unknown key '%s'%s%s", quoted, in,
			   where);
	return near ? schema_find(map, near) : NULL;
}

static const char *describe(const struct tree_node *node)
{
	static const char *const kinds[TREE_KIND_COUNT] = {
		[TREE_SCALAR] = "a plain value",
		[TREE_MAP] = "a map",
		[TREE_LIST] = "a list",
	};

	return tree_is_empty(node) ? "nothing" : kinds[node->kind];
}

bool schema_check_shape(struct diag_list *diags, const struct schema_key *key,
			struct tree_node *node)
{
	const struct schema_type *type = &schema_types[key->kind];

	if (node->bad)
		return false;
	if (key->kind == SCHEMA_RESERVED || (key->kind == SCHEMA_NOTHING && tree_is_empty(node)))
		return true;
	if ((type->shapes & 1u << node->kind) && !tree_is_empty(node))
		return true;
	diag_error(diags, node->span, "wrong-type", "'%s' must be %s, not %s", key->name,
		   type->expects, describe(node));
	return false;
}

static bool report_missing(struct diag_list *diags, const struct schema_map *map, const char *where,
			   const struct tree_node *node, struct tree_node *const *seen)
{
	bool complete = true;

	for (size_t i = 0; i < map->count; i++) {
		if (!(map->keys[i].flags & SCHEMA_REQUIRED) || seen[i])
			continue;
		diag_error(diags, node->key ? node->key->span : node->span, "missing-key",
			   "%s has no '%s'", where ? where : "policy", map->keys[i].name);
		complete = false;
	}
	return complete;
}

bool schema_bind(struct diag_list *diags, const struct schema_map *map, const char *where,
		 struct tree_node *node, struct tree_node **slots)
{
	struct tree_node *seen[SCHEMA_KEYS_MAX] = {};
	bool whole = !node->incomplete;

	memset(slots, 0, map->count * sizeof(*slots));
	if (node->bad)
		return false;
	if (node->kind != TREE_MAP) {
		diag_error(diags, node->span, "wrong-type", "%s must be a map of keys, not %s",
			   where ? where : "a policy", describe(node));
		return false;
	}
	for (struct tree_node *child = node->first; child; child = child->next) {
		const struct schema_key *key = schema_find(map, child->key->text);

		if (!key) {
			key = report_unknown(diags, map, where, child->key);
			node->incomplete |= !!key;
			if (key && !seen[key - map->keys])
				seen[key - map->keys] = child;
			continue;
		}
		seen[key - map->keys] = child;
		if (key->flags & SCHEMA_LATER)
			diag_error(diags, child->key->span, "not-carried-out",
				   "'%s' is not carried out yet by this version", key->name);
		if (schema_check_shape(diags, key, child))
			slots[key - map->keys] = child;
		else
			node->incomplete = true;
	}
	if (whole && !report_missing(diags, map, where, node, seen))
		return false;
	return !node->incomplete;
}
