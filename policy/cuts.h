/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cut trees of boxes (abi.h), in memory: which bits of which field a step looks at, and which boxes are left
 * at its end. After HiCuts (Gupta, McKeown 1999), with one difference: a step may look at any run of bits of a
 * field, not only at those that come next, so that what all boxes have in common costs no step.
 */
#pragma once

#include <stdint.h>

#include "boxes.h"
#include "lines.h"

/* Rules that are taken out of trees because too many of them meet in one place; they go to vectors. */
struct spilled {
	uint8_t *rule; /* by number: taken out; owned */
	size_t rules;
	size_t count;
	size_t room; /* how many more there may be */
};

VEC_NAMED(number_vec, uint32_t);

/* Lists of boxes that are the same are one leaf, and parts of a tree that are the same one part. */
struct cut_node {
	uint32_t
		at; /* inner: first of its references in refs; leaf: first of its boxes in leaf_boxes */
	uint8_t word; /* inner: struct dp_cut; field bits == 0: a leaf */
	uint8_t shift;
	uint8_t bits;
	uint8_t count; /* leaf: boxes */
};

struct cut_tree {
	VEC(struct cut_node) nodes;
	struct number_vec refs;       /* of nodes */
	struct number_vec leaf_boxes; /* numbers of boxes, in the order of rules */
	uint32_t root;
	size_t lines;              /* in an image */
	unsigned int depth;        /* references on the longest way to a leaf */
	unsigned int largest_leaf; /* boxes */
	size_t overfull; /* with -E2BIG: boxes that meet in one place and go nowhere; 0: too many lines */
};

/* Lines that the trees of one chain and family may take: 64 MiB. */
#define CUT_TREE_LINES_MAX (1024u * 1024)

/*
 * Builds a tree of boxes of one family (the bit number of asks_families()), which stand in the order of rules.
 * Boxes of rules that are spilled are passed over, and more rules are spilled where they must. 0 or -ENOMEM;
 * -E2BIG when no tree within the limits is found. The caller releases the tree in every case.
 */
int cut_tree_build(struct cut_tree *tree, const struct box_vec *boxes, unsigned int family,
		   struct spilled *spilled) _must_check_;

/* Writes a tree; *ret_root is zero for one without boxes. 0, -ENOMEM, -E2BIG. */
int cut_tree_write(const struct cut_tree *tree, const struct box_vec *boxes, unsigned int family,
		   struct lines *lines, struct dp_cut *ret_root) _must_check_;

void cut_tree_done(struct cut_tree *tree);
