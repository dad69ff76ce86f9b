/* SPDX-License-Identifier: Apache-2.0 */
/* Cut trees as lines: a node's references in a row, and what they lead to behind them, depth first. */
#include <string.h>

#include "cuts.h"

struct writer {
	const struct cut_tree *tree;
	const struct box_vec *boxes;
	bool wide;
	struct lines *lines;
	struct dp_cut *written; /* by node: the reference to it, once `done` */
	bool *done;
};

static struct dp_box4 box4(const struct box *box)
{
	return (struct dp_box4){ .src = box->src[0], .dst = box->dst[0], .rest = box->rest };
}

static struct dp_box6 box6(const struct box *box)
{
	struct dp_box6 ret = { .rest = box->rest };

	memcpy(ret.src, box->src, sizeof(ret.src));
	memcpy(ret.dst, box->dst, sizeof(ret.dst));
	return ret;
}

/* In one page, as a reader takes it: where too little is left of one, that stays empty. */
static int leaf_room(struct lines *lines, size_t count, uint32_t *ret_first)
{
	size_t left = DP_PAGE_LINES - lines->vec.count % DP_PAGE_LINES;
	uint32_t skipped;
	int r = count > left ? lines_add(lines, left, &skipped) : 0;

	return r ?: lines_add(lines, count, ret_first);
}

static int leaf_write(struct writer *w, const struct cut_node *node, struct dp_cut *ret)
{
	size_t size = w->wide ? sizeof(struct dp_box6) : sizeof(struct dp_box4);
	char *at;
	int r;

	ret->count = node->count;
	r = leaf_room(w->lines, lines_for(node->count * size, DP_LINE_BYTES), &ret->line);
	if (r)
		return r;
	at = (char *)&w->lines->vec.at[ret->line];
	for (unsigned int i = 0; i < node->count; i++, at += size) {
		const struct box *box = &w->boxes->at[w->tree->leaf_boxes.at[node->at + i]];

		if (w->wide)
			*(struct dp_box6 *)at = box6(box);
		else
			*(struct dp_box4 *)at = box4(box);
	}
	return 0;
}

static int node_write(struct writer *w, uint32_t number);

static int inner_write(struct writer *w, const struct cut_node *node, struct dp_cut *ret)
{
	size_t children = (size_t)1 << node->bits;
	const uint32_t *refs = w->tree->refs.at + node->at;
	int r = lines_add(w->lines, lines_for(children, DP_CUTS_PER_LINE), &ret->line);

	for (size_t i = 0; !r && i < children; i++) {
		r = node_write(w, refs[i]);
		if (!r)
			((struct dp_cut *)&w->lines->vec.at[ret->line])[i] = w->written[refs[i]];
	}
	ret->word = node->word;
	ret->shift = node->shift;
	ret->bits = node->bits;
	return r;
}

static int node_write(struct writer *w, uint32_t number)
{
	const struct cut_node *node = &w->tree->nodes.at[number];
	struct dp_cut cut = {};
	int r = 0;

	if (w->done[number])
		return 0;
	if (node->bits)
		r = inner_write(w, node, &cut);
	else if (node->count)
		r = leaf_write(w, node, &cut);
	w->written[number] = cut;
	w->done[number] = true;
	return r;
}

static void writer_done(struct writer *w)
{
	free(w->written);
	free(w->done);
}

int cut_tree_write(const struct cut_tree *tree, const struct box_vec *boxes, unsigned int family,
		   struct lines *lines, struct dp_cut *ret_root)
{
	_cleanup_(writer_done) struct writer w = {
		.tree = tree,
		.boxes = boxes,
		.wide = family,
		.lines = lines,
		.written = calloc(tree->nodes.count + 1, sizeof(*w.written)),
		.done = calloc(tree->nodes.count + 1, sizeof(*w.done)),
	};
	int r;

	if (!w.written || !w.done)
		return -ENOMEM;
	if (!tree->nodes.count)
		return 0;
	r = node_write(&w, tree->root);
	if (!r)
		*ret_root = w.written[tree->root];
	return r;
}
