/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Most boxes could stand in either tree of addresses. The more of them are in one, the shorter is the way
 * through the other. Which one it should be cannot be told from the boxes: unless the way is short with one,
 * trees are built both ways, and those that packets get through sooner stay.
 */
#include "cuts_forest.h"

#include <stdlib.h>
#include <string.h>

#include "u128map.h"

/* A prefix of this length is narrow. */
#define NARROW_IPV4 8u
#define NARROW_IPV6 16u

/* A prefix of this length parts boxes well enough for the tree that has most of them. */
#define PARTING_IPV4 16u
#define PARTING_IPV6 40u

/* Packets whose ways are compared, and how many references and boxes one may meet for a way to be short. */
#define PACKETS   512u
#define SHORT_WAY 8u

static unsigned int source_length(const struct box *box, unsigned int family)
{
	return (family ? 128 : 32) - box->rest.src_shift;
}

static unsigned int destination_length(const struct box *box, unsigned int family)
{
	return (family ? 128 : 32) - box->rest.dst_shift;
}

bool cut_forest_is_wide(const struct box *box, unsigned int family)
{
	unsigned int narrow = family ? NARROW_IPV6 : NARROW_IPV4;

	return source_length(box, family) < narrow && destination_length(box, family) < narrow;
}

/* most: the tree of all that it parts well. */
static enum cut_by tree_of(const struct box *box, unsigned int family, enum cut_by most)
{
	unsigned int src = source_length(box, family), dst = destination_length(box, family);
	unsigned int parting = family ? PARTING_IPV6 : PARTING_IPV4;

	if (cut_forest_is_wide(box, family))
		return CUT_BY_PORTS;
	if (most == CUT_BY_DESTINATION)
		return dst >= parting || dst > src ? CUT_BY_DESTINATION : CUT_BY_SOURCE;
	return src >= parting || src >= dst ? CUT_BY_SOURCE : CUT_BY_DESTINATION;
}

/* Puts boxes where they belong. */
static int plant(struct cut_forest *forest, const struct box_vec *boxes, unsigned int family,
		 enum cut_by most)
{
	int r = 0;

	for (size_t i = 0; !r && i < boxes->count; i++) {
		enum cut_by by = tree_of(&boxes->at[i], family, most);

		r = vec_push(&forest->boxes[by], boxes->at[i]);
	}
	return r;
}

static int grow(struct cut_forest *forest, unsigned int family, struct spilled *spilled)
{
	int r = 0;

	for (unsigned int t = 0; !r && t < DP_CUT_TREES; t++) {
		struct cut_tree *tree = &forest->trees[t];

		cut_tree_done(tree);
		r = cut_tree_build(tree, &forest->boxes[t], family, spilled);
		forest->overfull = tree->overfull;
	}
	return r;
}

/* ---- which tree has most ---------------------------------------------------------------------------------- */

/* A packet, in the words that trees look at. */
struct packet {
	uint32_t word[DP_CUT_WORDS];
};

/* Bits of word w of an address that do not count; the address has `words` words. */
static uint32_t open_bits(unsigned int shift, unsigned int words, unsigned int w)
{
	unsigned int below = 32 * (words - 1 - w), open = shift > below ? shift - below : 0;

	return open >= 32 ? ~0u : (1u << open) - 1;
}

static uint16_t pick_port(const uint16_t range[static 2], uint16_t random)
{
	return range[0] + random % (range[1] - range[0] + 1);
}

/* A packet that a box has, always the same for the n-th. */
static struct packet packet_of(const struct box *box, unsigned int words, size_t n)
{
	const struct dp_box_rest *rest = &box->rest;
	u128 src = u128map_signature(3 * n), dst = u128map_signature(3 * n + 1);
	uint64_t random = u128map_signature(3 * n + 2);
	uint16_t vlan = rest->vlan == DP_BOX_ANY_VLAN ? DP_VLAN_NONE : rest->vlan;
	struct packet p = {};

	for (unsigned int w = 0; w < words; w++) {
		p.word[DP_CUT_WORD_SRC + w] =
			box->src[w] |
			(uint32_t)(src >> 32 * w & open_bits(rest->src_shift, words, w));
		p.word[DP_CUT_WORD_DST + w] =
			box->dst[w] |
			(uint32_t)(dst >> 32 * w & open_bits(rest->dst_shift, words, w));
	}
	p.word[DP_CUT_WORD_PORTS] = (uint32_t)pick_port(rest->sport, random) << 16 |
				    pick_port(rest->dport, random >> 16);
	p.word[DP_CUT_WORD_REST] = (uint32_t)rest->proto << 24 | (uint32_t)rest->flags << 16 | vlan;
	return p;
}

/* The box has the packet, as far as addresses and ports tell. */
static bool box_has(const struct box *box, unsigned int words, const struct packet *p)
{
	const struct dp_box_rest *rest = &box->rest;
	uint32_t ports = p->word[DP_CUT_WORD_PORTS], differ = 0;

	for (unsigned int w = 0; w < words; w++) {
		differ |= (box->src[w] ^ p->word[DP_CUT_WORD_SRC + w]) &
			  ~open_bits(rest->src_shift, words, w);
		differ |= (box->dst[w] ^ p->word[DP_CUT_WORD_DST + w]) &
			  ~open_bits(rest->dst_shift, words, w);
	}
	return !differ && ports >> 16 >= rest->sport[0] && ports >> 16 <= rest->sport[1] &&
	       (ports & 0xffff) >= rest->dport[0] && (ports & 0xffff) <= rest->dport[1];
}

/* References and boxes that a packet meets in a tree; *best: the lowest rule so far that has it. */
static size_t way_of(const struct cut_tree *tree, const struct box_vec *boxes, unsigned int words,
		     const struct packet *p, uint32_t *best)
{
	const struct cut_node *node = &tree->nodes.at[tree->root];
	size_t way = 0;

	for (; node->bits; way++) {
		uint32_t child = p->word[node->word] >> node->shift & ((1u << node->bits) - 1);

		node = &tree->nodes.at[tree->refs.at[node->at + child]];
	}
	for (unsigned int i = 0; i < node->count; i++, way++) {
		const struct box *box = &boxes->at[tree->leaf_boxes.at[node->at + i]];

		if (box->rest.rule >= *best)
			break;
		if (box_has(box, words, p))
			*best = box->rest.rule;
	}
	return way;
}

/* What a packet meets on average, in hundredths. */
static size_t average_way(const struct cut_forest *forest, const struct box_vec *boxes,
			  unsigned int family)
{
	size_t step = 1 + boxes->count / PACKETS, sum = 0, packets = 0;
	unsigned int words = family ? 4 : 1;

	for (size_t i = 0; i < boxes->count; i += step, packets++) {
		const struct packet p = packet_of(&boxes->at[i], words, i);
		uint32_t best = UINT32_MAX;

		for (unsigned int t = 0; t < DP_CUT_TREES; t++)
			sum += way_of(&forest->trees[t], &forest->boxes[t], words, &p, &best);
	}
	return packets ? 100 * sum / packets : 0;
}

struct attempt {
	struct cut_forest forest;
	struct spilled spilled; /* rule: a copy, owned */
	size_t way;             /* average_way(); SIZE_MAX when the boxes do not fit */
};

static void attempt_done(struct attempt *a)
{
	cut_forest_done(&a->forest);
	free(a->spilled.rule);
	*a = (struct attempt){};
}

/* 0 or -ENOMEM. */
static int attempt_make(struct attempt *a, const struct box_vec *boxes, unsigned int family,
			enum cut_by most, const struct spilled *spilled)
{
	int r;

	a->spilled = *spilled;
	a->spilled.rule = malloc(spilled->rules);
	if (!a->spilled.rule)
		return -ENOMEM;
	memcpy(a->spilled.rule, spilled->rule, spilled->rules);
	r = plant(&a->forest, boxes, family, most);
	if (!r)
		r = grow(&a->forest, family, &a->spilled);
	/* Once more without the rules that were taken out on the way: some boxes are in parts built before. */
	if (!r && a->spilled.count > spilled->count)
		r = grow(&a->forest, family, &a->spilled);
	a->way = r ? SIZE_MAX : average_way(&a->forest, boxes, family);
	return r == -E2BIG ? 0 : r;
}

/* The two ways to plant the boxes are one. */
static bool no_choice(const struct box_vec *boxes, unsigned int family)
{
	for (size_t i = 0; i < boxes->count; i++)
		if (tree_of(&boxes->at[i], family, CUT_BY_SOURCE) !=
		    tree_of(&boxes->at[i], family, CUT_BY_DESTINATION))
			return false;
	return true;
}

int cut_forest_build(struct cut_forest *forest, const struct box_vec *boxes, unsigned int family,
		     struct spilled *spilled)
{
	_cleanup_(attempt_done) struct attempt best = {}, other = {};
	int r = attempt_make(&best, boxes, family, CUT_BY_SOURCE, spilled);

	*forest = (struct cut_forest){};
	if (!r && best.way > 100 * SHORT_WAY && !no_choice(boxes, family))
		r = attempt_make(&other, boxes, family, CUT_BY_DESTINATION, spilled);
	if (r)
		return r;
	if (other.spilled.rule && other.way < best.way) {
		struct attempt swap = best;

		best = other;
		other = swap;
	}
	*forest = best.forest;
	best.forest = (struct cut_forest){};
	if (best.way == SIZE_MAX)
		return -E2BIG;
	free(spilled->rule);
	*spilled = best.spilled;
	best.spilled.rule = NULL;
	return 0;
}

void cut_forest_done(struct cut_forest *forest)
{
	for (unsigned int t = 0; t < DP_CUT_TREES; t++) {
		vec_done(&forest->boxes[t]);
		cut_tree_done(&forest->trees[t]);
	}
}
