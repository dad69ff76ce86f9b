/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The canonical form of nodes: keys in the schema's order, quotes only where they are needed. Values keep
 * their spelling, but a list of one is written as its value where the schema takes either.
 */
#pragma once

#include "schema.h"
#include "str.h"
#include "tree.h"

/* What the schema knows of a node: its own keys, or those of its entries, or nothing. */
struct format_shape {
	const struct schema_map *map;
	const struct schema_map *of;
	bool single; /* a value or a list of values */
	bool free;   /* unknown to the schema: its style is kept */
};

struct format_shape format_child_shape(struct format_shape shape, const struct tree_node *child);

void format_scalar(struct text *out, const struct tree_node *scalar);

/* A node on one line. */
void format_flow(struct text *out, const struct tree_node *node, struct format_shape shape);

/* A map in flow style on one line. mirror: sources and destinations change places. */
void format_line(struct text *out, const struct tree_node *node, const struct schema_map *map,
		 bool mirror);

/* The entries in canonical order, malloc()ed; NULL when out of memory. */
struct tree_node **format_order(const struct tree_node *map, struct format_shape shape,
				bool mirror);

/* The value of a list of one where that is the same, otherwise node itself. */
const struct tree_node *format_single(const struct tree_node *node, struct format_shape shape);
