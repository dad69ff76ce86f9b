/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The YAML subset of policies as a tree with places. libyaml scans; what the subset leaves out (anchors,
 * aliases, tags, several documents, values over several lines, duplicate keys) is refused here, and so is
 * what is no text at all. Values keep their spelling: what `on` or 012 means is for the schema to say.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "diag.h"
#include "vec.h"

#define TREE_MAX_BYTES      (64u * 1024 * 1024)
#define TREE_MAX_LINE_BYTES (1024u * 1024)
#define TREE_MAX_KEY_BYTES  128
#define TREE_MAX_DEPTH      32

struct format_plan;

enum tree_kind {
	TREE_SCALAR,
	TREE_MAP,
	TREE_LIST,
	TREE_KIND_COUNT,
};

struct tree_node {
	enum tree_kind kind;
	bool plain;            /* scalar without quotes */
	bool flow;             /* list or map in brackets */
	bool bad;              /* an error was reported for it: nobody else need complain */
	bool incomplete;       /* a map: a key was refused, so nothing can be said to be missing */
	struct span span;      /* a collection: of its first line */
	uint32_t at, end;      /* bytes of the text, end exclusive */
	uint32_t len;          /* of a scalar's value */
	uint32_t count;        /* of a collection */
	const char *text;      /* scalar: its value, NUL-terminated; "" for a value left out */
	struct tree_node *key; /* in a map: the scalar before the colon */
	struct tree_node *first;  /* of a collection */
	struct tree_node *next;   /* in a collection */
	struct format_plan *plan; /* for format.c alone */
};

struct tree_doc {
	struct arena arena;
	const char *text; /* borrowed, without a byte order mark */
	size_t len;
	uint32_t source;        /* in the list of diagnostics */
	VEC(size_t) lines;      /* where each line begins */
	bool wide;              /* some character takes more than a byte */
	struct tree_node *root; /* NULL when there is none */
};

/*
 * Reads a text and adds it to the sources of diags. 0 also when values were refused: their nodes are
 * `bad`, the rest can be checked. -EINVAL when there is no tree to check; -ENOMEM.
 */
int tree_read(struct diag_list *diags, const char *name, const char *text, size_t len,
	      struct tree_doc *ret_doc) _must_check_;
void tree_done(struct tree_doc *doc);

/* The place of `len` bytes from byte `at` of the text, cut at the end of the line. */
struct span tree_span(const struct tree_doc *doc, size_t at, size_t len);

/* The place of a part of a scalar's value; of all of it where escapes hide what stands where. */
struct span tree_part(const struct tree_node *scalar, size_t at, size_t len);

/* The value of a key; NULL when there is none, or no map. */
struct tree_node *tree_entry(const struct tree_node *map, const char *key);

/* True for a scalar that was left out: `key:` with nothing behind. */
static inline bool tree_is_empty(const struct tree_node *node)
{
	return node->kind == TREE_SCALAR && node->plain && !node->len;
}
