/* SPDX-License-Identifier: Apache-2.0 */
/* From libyaml's events to the tree of tree.h. Syntax errors are in tree_error.c. */
#include "tree.h"

#include <inttypes.h>
#include <string.h>
#include <yaml.h>

#include "str.h"
#include "tree_error.h"
#include "tree_text.h"

struct reader {
	struct diag_list *diags;
	struct tree_doc *doc;
	yaml_parser_t parser;
	struct tree_place place;
	unsigned int depth;
	size_t first_diag; /* reported by this reader */
};

/* Of `len` bytes from byte `at`, which lies in a line counted from 0. */
static struct span span_in_line(const struct tree_doc *doc, size_t line, size_t at, size_t len)
{
	size_t end = line + 1 < doc->lines.count ? doc->lines.at[line + 1] - 1 : doc->len;

	if (end > doc->lines.at[line] && doc->text[end - 1] == '\r')
		end--;
	if (at + len > end)
		len = end > at ? end - at : 1;
	return (struct span){
		.source = doc->source,
		.line = (uint32_t)line + 1,
		.col = (uint32_t)(at - doc->lines.at[line]) + 1,
		.len = len ? (uint32_t)len : 1,
	};
}

struct span tree_span(const struct tree_doc *doc, size_t at, size_t len)
{
	size_t low = 0, high = doc->lines.count;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (doc->lines.at[middle] <= at)
			low = middle;
		else
			high = middle;
	}
	return span_in_line(doc, low, at, len);
}

struct span tree_part(const struct tree_node *scalar, size_t at, size_t len)
{
	struct span span = scalar->span;
	size_t quotes = scalar->plain ? 0 : 1;

	if (scalar->end - scalar->at != scalar->len + 2 * quotes || at >= scalar->len)
		return span;
	if (len > scalar->len - at)
		len = scalar->len - at;
	span.col += (uint32_t)(at + quotes);
	span.len = len ? (uint32_t)len : 1;
	return span;
}

/*
 * libyaml counts columns in characters, spans are bytes. Marks mostly ascend, so the walk goes on where
 * the last one ended.
 */
size_t tree_mark_offset(struct tree_place *p, const struct tree_doc *doc, size_t line,
			size_t column)
{
	size_t at;

	if (line >= doc->lines.count)
		return doc->len;
	if (!doc->wide) {
		at = doc->lines.at[line] + column;
		return at < doc->len ? at : doc->len;
	}
	if (p->line != line || column < p->column || !p->known)
		*p = (struct tree_place){ .known = true, .line = line, .at = doc->lines.at[line] };
	at = p->at;
	for (; p->column < column && at < doc->len; p->column++) {
		do
			at++;
		while (at < doc->len && ((unsigned char)doc->text[at] & 0xc0) == 0x80);
	}
	p->at = at;
	return at;
}

static size_t offset(struct reader *r, yaml_mark_t mark)
{
	return tree_mark_offset(&r->place, r->doc, mark.line, mark.column);
}

/* Behind a syntax error nothing is certain, and what was reported before is often its consequence. */
static void forget_errors(struct reader *r)
{
	struct diag_list *list = r->diags;

	while (list->diags.count > r->first_diag) {
		struct diag *last = &list->diags.at[list->diags.count - 1];

		list->errors -= last->severity == DIAG_ERROR;
		list->warnings -= last->severity == DIAG_WARNING;
		vec_done(&last->notes);
		list->diags.count--;
	}
}

static int next_event(struct reader *r, yaml_event_t *event)
{
	if (yaml_parser_parse(&r->parser, event))
		return 0;
	if (r->parser.error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	forget_errors(r);
	tree_error_report(r->diags, r->doc, &r->parser);
	return -EINVAL;
}

static struct tree_node *new_node(struct reader *r, enum tree_kind kind, const yaml_event_t *event)
{
	struct tree_node *node = arena_alloc(&r->doc->arena, sizeof(*node));

	if (!node)
		return NULL;
	node->kind = kind;
	node->at = (uint32_t)offset(r, event->start_mark);
	node->end = (uint32_t)offset(r, event->end_mark);
	if (event->start_mark.line < r->doc->lines.count)
		node->span = span_in_line(r->doc, event->start_mark.line, node->at,
					  node->end - node->at);
	else
		node->span = tree_span(r->doc, node->at, node->end - node->at);
	return node;
}

static void refuse(struct reader *r, struct tree_node *node, const char *what)
{
	diag_error(r->diags, node->span, "yaml-subset", "%s", what);
	node->bad = true;
}

static const char *look_alike(uint32_t code, const char *where)
{
	if (code == 0xa0)
		return "; this is a no-break space, use a plain one";
	if (code >= 0x2018 && code <= 0x201f)
		return "; use plain quotes";
	return !strcmp(where, "value") ? "; quote the value if it is meant" : "";
}

/* Words of the language are ASCII; a letter that only looks like one must not pass for it. */
static void check_ascii(struct reader *r, struct tree_node *node, const char *where)
{
	size_t bytes;

	for (size_t at = 0; at < node->len && !node->bad; at += bytes) {
		uint32_t code;

		bytes = 1;
		if ((unsigned char)node->text[at] < 0x80)
			continue;
		bytes = utf8_next(node->text + at, node->len - at, &code);
		if (!bytes)
			return;
		diag_error(r->diags, tree_part(node, at, bytes), "bad-character",
			   "unexpected character U+%04X in %s%s", code, where,
			   look_alike(code, where));
		node->bad = true;
	}
}

static int read_scalar(struct reader *r, const yaml_event_t *event, struct tree_node **ret_node)
{
	yaml_scalar_style_t style = event->data.scalar.style;
	struct tree_node *node = new_node(r, TREE_SCALAR, event);

	if (!node)
		return -ENOMEM;
	node->plain = style == YAML_PLAIN_SCALAR_STYLE;
	node->len = (uint32_t)event->data.scalar.length;
	node->text =
		arena_strndup(&r->doc->arena, (const char *)event->data.scalar.value, node->len);
	if (!node->text)
		return -ENOMEM;
	if (event->data.scalar.anchor)
		refuse(r, node,
		       "anchors are not part of the policy language; quote a value that begins with '&'");
	else if (event->data.scalar.tag)
		refuse(r, node,
		       "tags are not part of the policy language; quote a value that begins with '!'");
	else if (style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE)
		refuse(r, node, "block scalars are not part of the policy language");
	else if (event->start_mark.line != event->end_mark.line)
		refuse(r, node, "value goes on over several lines; is a ':', ',' or '-' missing?");
	else if (memchr(node->text, 0, node->len))
		refuse(r, node, "a value cannot hold a NUL character");
	*ret_node = node;
	return 0;
}

static int read_alias(struct reader *r, const yaml_event_t *event, struct tree_node **ret_node)
{
	struct tree_node *node = new_node(r, TREE_SCALAR, event);

	if (!node)
		return -ENOMEM;
	node->plain = true;
	node->text = "";
	refuse(r, node,
	       "aliases are not part of the policy language; quote a value that begins with '*'");
	*ret_node = node;
	return 0;
}

static int read_node(struct reader *r, yaml_event_t *event, struct tree_node **ret_node);

static int compare_keys(const void *a, const void *b)
{
	const struct tree_node *x = (*(struct tree_node *const *)a)->key;
	const struct tree_node *y = (*(struct tree_node *const *)b)->key;
	int d = strcmp(x->text, y->text);

	if (d)
		return d;
	return x->at < y->at ? -1 : x->at > y->at;
}

/* Of few keys each is compared with all behind it. */
#define FEW_KEYS 16

static bool keys_differ(const struct tree_node *map)
{
	for (const struct tree_node *a = map->first; a; a = a->next) {
		for (const struct tree_node *b = a->next; b; b = b->next) {
			if (a->key->text[0] == b->key->text[0] &&
			    !strcmp(a->key->text, b->key->text))
				return false;
		}
	}
	return true;
}

static void unlink_bad(struct tree_node *map)
{
	for (struct tree_node **at = &map->first; *at;) {
		if ((*at)->key->bad) {
			*at = (*at)->next;
			map->count--;
		} else {
			at = &(*at)->next;
		}
	}
}

/* The first of several entries with one key counts; the others are reported and unlinked. */
static int drop_duplicates(struct reader *r, struct tree_node *map)
{
	_cleanup_free_ struct tree_node **order = NULL;
	size_t i = 0, first = 0;

	for (struct tree_node *child = map->first; child; child = child->next)
		map->incomplete |= child->key->bad;
	if (map->count <= FEW_KEYS && keys_differ(map)) {
		if (map->incomplete)
			unlink_bad(map);
		return 0;
	}
	order = calloc(map->count + 1, sizeof(*order));
	if (!order)
		return -ENOMEM;
	for (struct tree_node *child = map->first; child; child = child->next)
		order[i++] = child;
	qsort(order, map->count, sizeof(*order), compare_keys);
	for (i = 1; i < map->count; i++) {
		struct tree_node *key = order[i]->key;

		if (strcmp(key->text, order[first]->key->text) != 0) {
			first = i;
			continue;
		}
		diag_error(r->diags, key->span, "duplicate-key", "key '%s' is written twice",
			   diag_quote(r->diags, key->text, key->len));
		diag_note(r->diags, order[first]->key->span, "first written here");
		key->bad = true;
	}
	unlink_bad(map);
	return 0;
}

static int read_key(struct reader *r, yaml_event_t *event, struct tree_node **ret_key)
{
	struct tree_node *key;
	int err = read_node(r, event, &key);

	if (err)
		return err;
	if (key->kind != TREE_SCALAR) {
		refuse(r, key, "a key must be a single word");
	} else if (key->len > TREE_MAX_KEY_BYTES) {
		diag_error(r->diags, key->span, "bad-name",
			   "key of %" PRIu32 " bytes is over the limit of %d bytes", key->len,
			   TREE_MAX_KEY_BYTES);
		key->bad = true;
	} else {
		check_ascii(r, key, "key");
	}
	if (key->kind != TREE_SCALAR)
		key->text = "";
	*ret_key = key;
	return 0;
}

static int read_value(struct reader *r, yaml_event_t *event, struct tree_node *key,
		      struct tree_node **ret_value)
{
	struct tree_node *value;
	int err = read_node(r, event, &value);

	if (err)
		return err;
	if (value->kind == TREE_SCALAR && value->plain && !value->bad)
		check_ascii(r, value, "value");
	if (key && tree_is_empty(value) && !value->bad)
		value->span = key->span;
	value->key = key;
	*ret_value = value;
	return 0;
}

/* Reads entries up to the end event. A block collection ends where its last entry does. */
static int read_entries(struct reader *r, struct tree_node *node, yaml_event_type_t end)
{
	struct tree_node **tail = &node->first;

	for (;;) {
		struct tree_node *key = NULL, *value;
		yaml_event_t event;
		int err = next_event(r, &event);

		if (!err && event.type == end) {
			if (node->flow)
				node->end = (uint32_t)offset(r, event.end_mark);
			yaml_event_delete(&event);
			return 0;
		}
		if (!err && node->kind == TREE_MAP) {
			err = read_key(r, &event, &key);
			if (!err)
				err = next_event(r, &event);
		}
		if (!err)
			err = read_value(r, &event, key, &value);
		if (err)
			return err;
		if (!node->flow)
			node->end = value->end > value->at || !key ? value->end : key->end;
		*tail = value;
		tail = &value->next;
		node->count++;
	}
}

static int read_collection(struct reader *r, yaml_event_t *event, struct tree_node **ret_node)
{
	bool map = event->type == YAML_MAPPING_START_EVENT;
	struct tree_node *node = new_node(r, map ? TREE_MAP : TREE_LIST, event);
	int err;

	if (!node)
		return -ENOMEM;
	node->flow = map ? event->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE
			 : event->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
	if (map ? !!event->data.mapping_start.anchor : !!event->data.sequence_start.anchor)
		refuse(r, node, "anchors are not part of the policy language");
	else if (map ? !!event->data.mapping_start.tag : !!event->data.sequence_start.tag)
		refuse(r, node, "tags are not part of the policy language");
	if (++r->depth > TREE_MAX_DEPTH) {
		diag_error(r->diags, node->span, "too-large",
			   "nesting is over the limit of %d levels", TREE_MAX_DEPTH);
		return -EINVAL;
	}
	err = read_entries(r, node, map ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT);
	if (err)
		return err;
	r->depth--;
	node->span = tree_span(r->doc, node->at, node->end - node->at);
	*ret_node = node;
	return map ? drop_duplicates(r, node) : 0;
}

/* Consumes the event. */
static int read_node(struct reader *r, yaml_event_t *event, struct tree_node **ret_node)
{
	int err = -EINVAL;

	if (event->type == YAML_SCALAR_EVENT)
		err = read_scalar(r, event, ret_node);
	else if (event->type == YAML_ALIAS_EVENT)
		err = read_alias(r, event, ret_node);
	else if (event->type == YAML_MAPPING_START_EVENT ||
		 event->type == YAML_SEQUENCE_START_EVENT)
		err = read_collection(r, event, ret_node);
	yaml_event_delete(event);
	return err;
}

static void refuse_document(struct reader *r, const yaml_event_t *event, bool second)
{
	struct span span = tree_span(r->doc, offset(r, event->start_mark), 3);

	if (second)
		diag_error(r->diags, span, "yaml-subset",
			   "a policy is one document; a second one begins here");
	else if (event->data.document_start.version_directive ||
		 event->data.document_start.tag_directives.start !=
			 event->data.document_start.tag_directives.end)
		diag_error(r->diags, span, "yaml-subset",
			   "directives are not part of the policy language");
}

static int read_stream(struct reader *r)
{
	bool done = false, second = false;
	int err = 0;

	while (!err && !done && !second) {
		yaml_event_t event;

		err = next_event(r, &event);
		if (err)
			break;
		if (event.type == YAML_DOCUMENT_START_EVENT) {
			second = r->doc->root;
			refuse_document(r, &event, second);
		}
		done = event.type == YAML_STREAM_END_EVENT;
		if (event.type == YAML_STREAM_START_EVENT ||
		    event.type == YAML_DOCUMENT_START_EVENT ||
		    event.type == YAML_DOCUMENT_END_EVENT || done)
			yaml_event_delete(&event);
		else
			err = read_value(r, &event, NULL, &r->doc->root);
	}
	return err;
}

static int check_present(struct diag_list *diags, const struct tree_doc *doc)
{
	struct span whole = { .source = doc->source };
	size_t blank = strspn(doc->text ? doc->text : "", " \t\r\n");

	if (doc->root && !tree_is_empty(doc->root))
		return 0;
	if (doc->root && doc->root->bad)
		return -EINVAL;
	if (blank >= doc->len)
		diag_error(diags, whole, "empty-file",
			   "file is empty; a policy without rules is written 'version: 1'");
	else
		diag_error(
			diags, whole, "empty-file",
			"no policy found, only comments; a policy without rules is written 'version: 1'");
	return -EINVAL;
}

int tree_read(struct diag_list *diags, const char *name, const char *text, size_t len,
	      struct tree_doc *ret_doc)
{
	struct reader r = { .diags = diags, .doc = ret_doc };
	int err;

	*ret_doc = (struct tree_doc){ .text = text, .len = len };
	ret_doc->source = diag_add_source(diags, name, text, len);
	if (diags->out_of_memory)
		return -ENOMEM;
	err = tree_check_text(diags, ret_doc);
	if (err)
		return err;
	if (!yaml_parser_initialize(&r.parser))
		return -ENOMEM;
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)ret_doc->text, ret_doc->len);
	r.first_diag = diags->diags.count;
	err = read_stream(&r);
	yaml_parser_delete(&r.parser);
	if (!err)
		err = check_present(diags, ret_doc);
	return err;
}

void tree_done(struct tree_doc *doc)
{
	arena_done(&doc->arena);
	vec_done(&doc->lines);
	*doc = (struct tree_doc){};
}

struct tree_node *tree_entry(const struct tree_node *map, const char *key)
{
	struct tree_node *child = map && map->kind == TREE_MAP ? map->first : NULL;

	while (child && strcmp(child->key->text, key) != 0)
		child = child->next;
	return child;
}
