/* SPDX-License-Identifier: Apache-2.0 */
/* Canonical values and maps on one line; see format.h. */
#include "format.h"

#include <stdlib.h>
#include <string.h>

static bool plain_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("_/$.+-%", c));
}

/* Written without quotes: what no YAML reader takes for anything but these letters. */
static bool is_plain(const struct tree_node *scalar)
{
	const char *text = scalar->text;

	if (!scalar->len || !plain_byte(text[0]) || strchr("+-%", text[0]))
		return false;
	for (size_t i = 1; i < scalar->len; i++) {
		if (!plain_byte(text[i]))
			return false;
	}
	return strcmp(text, "...") != 0;
}

static void put_quoted(struct text *out, const struct tree_node *scalar)
{
	size_t bytes;

	text_puts(out, "\"");
	for (size_t at = 0; at < scalar->len; at += bytes) {
		uint32_t code;

		bytes = utf8_next(scalar->text + at, scalar->len - at, &code);
		if (!bytes)
			return; /* libyaml gives valid UTF-8 only */
		if (code == '"' || code == '\\')
			text_printf(out, "\\%c", (char)code);
		else if (code_is_visible(code))
			text_add(out, scalar->text + at, bytes);
		else if (code < 0x100)
			text_printf(out, "\\x%02x", code);
		else if (code < 0x10000)
			text_printf(out, "\\u%04x", code);
		else
			text_printf(out, "\\U%08x", code);
	}
	text_puts(out, "\"");
}

void format_scalar(struct text *out, const struct tree_node *scalar)
{
	if (is_plain(scalar))
		text_add(out, scalar->text, scalar->len);
	else
		put_quoted(out, scalar);
}

static struct format_shape shape_of(const struct schema_key *key)
{
	struct format_shape shape = {};

	if (!key || key->kind == SCHEMA_RESERVED)
		shape.free = true;
	else if (key->kind == SCHEMA_MAP || key->kind == SCHEMA_WORD_OR_MAP)
		shape.map = key->map;
	else if (key->kind == SCHEMA_NAMED || key->kind == SCHEMA_RECORDS)
		shape.of = key->map;
	else
		shape.single = schema_types[key->kind].shapes & 1u << TREE_SCALAR;
	return shape;
}

struct format_shape format_child_shape(struct format_shape shape, const struct tree_node *child)
{
	if (shape.map && child->key)
		return shape_of(schema_find(shape.map, child->key->text));
	if (shape.of)
		return (struct format_shape){ .map = shape.of };
	return (struct format_shape){ .free = true };
}

static const char *mirrored(const char *key)
{
	static const char *const pairs[][2] = { { "from", "to" },
						{ "not-from", "not-to" },
						{ "sport", "dport" } };

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		if (!strcmp(key, pairs[i][0]))
			return pairs[i][1];
		if (!strcmp(key, pairs[i][1]))
			return pairs[i][0];
	}
	return key;
}

static const struct schema_key *known_key(struct format_shape shape, const struct tree_node *child,
					  bool mirror)
{
	if (!shape.map || !child->key)
		return NULL;
	return schema_find(shape.map, mirror ? mirrored(child->key->text) : child->key->text);
}

/* Known keys in the schema's order, then the others as they stand. */
struct tree_node **format_order(const struct tree_node *map, struct format_shape shape, bool mirror)
{
	struct tree_node **children = calloc(map->count + 1, sizeof(*children));
	struct tree_node *known[SCHEMA_KEYS_MAX] = {};
	size_t count = 0;

	if (!children)
		return NULL;
	for (struct tree_node *child = map->first; child; child = child->next) {
		const struct schema_key *key = known_key(shape, child, mirror);

		if (shape.map && key)
			known[key - shape.map->keys] = child;
	}
	for (size_t i = 0; shape.map && i < shape.map->count; i++) {
		if (known[i])
			children[count++] = known[i];
	}
	for (struct tree_node *child = map->first; child && count < map->count;
	     child = child->next) {
		if (!known_key(shape, child, mirror))
			children[count++] = child;
	}
	return children;
}

static void put_map(struct text *out, const struct tree_node *node, struct format_shape shape,
		    bool mirror)
{
	_cleanup_free_ struct tree_node **children = format_order(node, shape, mirror);

	if (!children) {
		out->failed = true;
		return;
	}
	text_puts(out, "{");
	for (size_t i = 0; children[i]; i++) {
		text_puts(out, i ? ", " : "");
		if (mirror)
			text_puts(out, mirrored(children[i]->key->text));
		else
			format_scalar(out, children[i]->key);
		text_puts(out, ": ");
		format_flow(out, children[i], format_child_shape(shape, children[i]));
	}
	text_puts(out, "}");
}

const struct tree_node *format_single(const struct tree_node *node, struct format_shape shape)
{
	if (shape.single && node->kind == TREE_LIST && node->count == 1 &&
	    node->first->kind == TREE_SCALAR && !tree_is_empty(node->first))
		return node->first;
	return node;
}

static void put_list(struct text *out, const struct tree_node *node, struct format_shape shape)
{
	text_puts(out, "[");
	for (const struct tree_node *item = node->first; item; item = item->next) {
		text_puts(out, item == node->first ? "" : ", ");
		if (tree_is_empty(item))
			text_puts(out, "\"\"");
		else
			format_flow(out, item, format_child_shape(shape, item));
	}
	text_puts(out, "]");
}

void format_flow(struct text *out, const struct tree_node *node, struct format_shape shape)
{
	node = format_single(node, shape);
	switch (node->kind) {
	case TREE_SCALAR:
		if (!tree_is_empty(node))
			format_scalar(out, node);
		break;
	case TREE_MAP:
		put_map(out, node, shape, false);
		break;
	case TREE_LIST:
		put_list(out, node, shape);
		break;
	case TREE_KIND_COUNT:
		break;
	}
}

void format_line(struct text *out, const struct tree_node *node, const struct schema_map *map,
		 bool mirror)
{
	if (node->kind == TREE_MAP)
		put_map(out, node, (struct format_shape){ .map = map }, mirror);
}
