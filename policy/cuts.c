/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building cut trees. A list of boxes is cut where that parts it best, each child's list likewise, until it is
 * short or nothing parts it. Children with the same list are built once.
 */
#include "cuts.h"

#include <string.h>
#include <xxhash.h>

#include "cuts_choose.h"
#include "u128map.h"

/* A list this short is not cut further. */
#define LEAF_AIM 8

/*
 * A list this short is searched for boxes that can never win; so is one that is too long for a leaf, unless
 * even more of it are left.
 */
#define PRUNE_MAX  64
#define PRUNE_LEFT 1024

#define EMPTY_LEAF 0

static const struct cut_field fields4[] = {
	{ DP_CUT_WORD_SRC, 0, 32 },   { DP_CUT_WORD_DST, 0, 32 },  { DP_CUT_WORD_PORTS, 16, 16 },
	{ DP_CUT_WORD_PORTS, 0, 16 }, { DP_CUT_WORD_REST, 24, 8 }, { DP_CUT_WORD_REST, 0, 16 },
};

static const struct cut_field fields6[] = {
	{ DP_CUT_WORD_SRC, 0, 32 },     { DP_CUT_WORD_SRC + 1, 0, 32 },
	{ DP_CUT_WORD_SRC + 2, 0, 32 }, { DP_CUT_WORD_SRC + 3, 0, 32 },
	{ DP_CUT_WORD_DST, 0, 32 },     { DP_CUT_WORD_DST + 1, 0, 32 },
	{ DP_CUT_WORD_DST + 2, 0, 32 }, { DP_CUT_WORD_DST + 3, 0, 32 },
	{ DP_CUT_WORD_PORTS, 16, 16 },  { DP_CUT_WORD_PORTS, 0, 16 },
	{ DP_CUT_WORD_REST, 24, 8 },    { DP_CUT_WORD_REST, 0, 16 },
};

_Static_assert(sizeof(fields6) / sizeof(fields6[0]) == CUT_FIELDS_MAX, "room for all fields");

/* What the way to a place in the tree says of a packet there: the known bits of each field. */
struct region {
	uint32_t known[CUT_FIELDS_MAX], value[CUT_FIELDS_MAX];
};

struct builder {
	struct cut_tree *tree;
	const struct box_vec *boxes;
	struct spilled *spilled;
	struct cut_space space;
	unsigned int boxes_per_line;
	struct number_vec lists; /* a stack: those of children above their parents' */
	struct u128map known;    /* what a node is made of -> node */
};

/* ---- ranges ---------------------------------------------------------------------------------- */

static struct range4 address_range(const uint32_t *addr, unsigned int word, unsigned int shift)
{
	/* Bits of this word that do not count. */
	unsigned int below = shift > 96 - 32 * word ? shift - (96 - 32 * word) : 0;
	uint32_t open = below >= 32 ? ~0u : (1u << below) - 1;

	return (struct range4){ addr[word] & ~open, addr[word] | open };
}

static struct range4 box_range(const struct box *box, struct cut_field field, bool wide)
{
	const struct dp_box_rest *rest = &box->rest;
	/* An IPv4 address is the first word alone. */
	unsigned int more = wide ? 0 : 96;

	switch (field.word) {
	case DP_CUT_WORD_PORTS:
		if (field.shift)
			return (struct range4){ rest->sport[0], rest->sport[1] };
		return (struct range4){ rest->dport[0], rest->dport[1] };
	case DP_CUT_WORD_REST:
		if (!field.shift)
			return rest->vlan == DP_BOX_ANY_VLAN
				       ? (struct range4){ 0, UINT16_MAX }
				       : (struct range4){ rest->vlan, rest->vlan };
		return rest->kind & DP_BOX_ANY_PROTO ? (struct range4){ 0, UINT8_MAX }
						     : (struct range4){ rest->proto, rest->proto };
	default:
		if (field.word < DP_CUT_WORD_DST)
			return address_range(box->src, field.word, rest->src_shift + more);
		return address_range(box->dst, field.word - DP_CUT_WORD_DST,
				     rest->dst_shift + more);
	}
}

static int space_init(struct cut_space *space, const struct box_vec *boxes, unsigned int family)
{
	space->fields = family ? fields6 : fields4;
	space->field_count = family ? sizeof(fields6) / sizeof(fields6[0])
				    : sizeof(fields4) / sizeof(fields4[0]);
	for (unsigned int f = 0; f < space->field_count; f++) {
		struct range4 *ranges = reallocarray(NULL, boxes->count + 1, sizeof(*ranges));

		if (!ranges)
			return -ENOMEM;
		space->ranges[f] = ranges;
		for (size_t i = 0; i < boxes->count; i++)
			ranges[i] = box_range(&boxes->at[i], space->fields[f], family);
	}
	return 0;
}

static void hull_of(const struct cut_space *space, const struct region *region,
		    struct cut_hull *ret)
{
	for (unsigned int f = 0; f < space->field_count; f++) {
		uint32_t open = ~region->known[f] & ~0u >> (32 - space->fields[f].bits);

		ret->range[f] = (struct range4){ region->value[f], region->value[f] | open };
	}
}

/* ---- boxes that can never win ---------------------------------------------------------------- */

/* Every packet in the hull that the later box has, the earlier one has too. */
static bool covers(const struct builder *b, const struct cut_hull *hull, uint32_t earlier,
		   uint32_t later)
{
	const struct dp_box_rest *e = &b->boxes->at[earlier].rest, *l = &b->boxes->at[later].rest;

	for (unsigned int f = 0; f < b->space.field_count; f++) {
		struct range4 wide = b->space.ranges[f][earlier];
		struct range4 narrow = cut_clip(b->space.ranges[f][later], hull->range[f]);

		if (wide.first > narrow.first || wide.last < narrow.last)
			return false;
	}
	return !(l->kind & ~e->kind & ~DP_BOX_ANY_PROTO) && !(e->flags_mask & ~l->flags_mask) &&
	       !((e->flags ^ l->flags) & e->flags_mask);
}

/* Takes out of list [first, first + count) what an earlier box of it covers. Returns how many are left. */
static size_t prune(struct builder *b, const struct cut_hull *hull, size_t first, size_t count)
{
	uint32_t *list = b->lists.at + first;
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		bool covered = false;

		for (size_t k = 0; k < kept && kept <= PRUNE_LEFT && !covered; k++)
			covered = covers(b, hull, list[k], list[i]);
		if (!covered)
			list[kept++] = list[i];
	}
	return kept;
}

/* ---- rules that go elsewhere ----------------------------------------------------------------- */

static size_t drop_spilled(struct builder *b, size_t first, size_t count)
{
	uint32_t *list = b->lists.at + first;
	size_t kept = 0;

	if (!b->spilled->count)
		return count;
	for (size_t i = 0; i < count; i++)
		if (!b->spilled->rule[b->boxes->at[list[i]].rest.rule])
			list[kept++] = list[i];
	return kept;
}

/* The sum of the logarithms of a box's sides, rounded up. */
static unsigned int volume(const struct builder *b, uint32_t box)
{
	unsigned int sum = 0;

	for (unsigned int f = 0; f < b->space.field_count; f++) {
		struct range4 r = b->space.ranges[f][box];

		if (r.last != r.first)
			sum += 32 - __builtin_clz(r.last - r.first);
	}
	return sum;
}

/* Takes the widest rules out until `goal` boxes are left, as long as there is room elsewhere. */
static size_t spill(struct builder *b, size_t first, size_t count, size_t goal)
{
	while (count > goal && b->spilled->room) {
		const uint32_t *list = b->lists.at + first;
		uint32_t widest = list[0];

		for (size_t i = 1; i < count; i++)
			if (volume(b, list[i]) > volume(b, widest))
				widest = list[i];
		b->spilled->rule[b->boxes->at[widest].rest.rule] = 1;
		b->spilled->count++;
		b->spilled->room--;
		count = drop_spilled(b, first, count);
	}
	return count;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static u128 hash_numbers(const uint32_t *numbers, size_t count, uint64_t seed)
{
	XXH128_hash_t h = XXH3_128bits_withSeed(numbers, count * sizeof(*numbers), seed);

	return (u128)h.high64 << 64 | h.low64;
}

static int node_add(struct builder *b, struct cut_node node, u128 hash, size_t lines,
		    uint32_t *ret_node)
{
	int r;

	*ret_node = b->tree->nodes.count;
	b->tree->lines += lines;
	if (b->tree->lines > CUT_TREE_LINES_MAX)
		return -E2BIG;
	r = vec_push(&b->tree->nodes, node);
	return r ?: u128map_add(&b->known, hash, *ret_node);
}

static int numbers_add(struct number_vec *to, const uint32_t *numbers, size_t count)
{
	int r = vec_reserve(to, count);

	if (r)
		return r;
	memcpy(to->at + to->count, numbers, count * sizeof(*numbers));
	to->count += count;
	return 0;
}

static int leaf_add(struct builder *b, size_t first, size_t count, uint32_t *ret_node)
{
	struct cut_tree *tree = b->tree;
	const uint32_t *list = b->lists.at + first;
	struct cut_node node = { .at = tree->leaf_boxes.count };
	u128 hash;
	int r;

	count = spill(b, first, count, DP_CUT_BOXES);
	if (count > DP_CUT_BOXES) {
		tree->overfull = count;
		return -E2BIG;
	}
	hash = hash_numbers(list, count, 0);
	*ret_node = count ? u128map_get(&b->known, hash) : EMPTY_LEAF;
	if (*ret_node != U128MAP_NONE)
		return 0;
	if (count > tree->largest_leaf)
		tree->largest_leaf = count;
	node.count = count;
	r = numbers_add(&tree->leaf_boxes, list, count);
	return r ?: node_add(b, node, hash, lines_for(count, b->boxes_per_line), ret_node);
}

static int inner_add(struct builder *b, struct cut_choice choice, const uint32_t *refs,
		     uint32_t *ret_node)
{
	struct cut_field field = b->space.fields[choice.field];
	size_t children = (size_t)1 << choice.bits;
	struct cut_node node = {
		.at = b->tree->refs.count,
		.word = field.word,
		.shift = field.shift + choice.shift,
		.bits = choice.bits,
	};
	u128 hash = hash_numbers(refs, children,
				 (uint64_t)node.word << 16 | node.shift << 8 | node.bits);
	int r;

	*ret_node = u128map_get(&b->known, hash);
	if (*ret_node != U128MAP_NONE)
		return 0;
	r = numbers_add(&b->tree->refs, refs, children);
	return r ?: node_add(b, node, hash, lines_for(children, DP_CUTS_PER_LINE), ret_node);
}

/* ---- the tree -------------------------------------------------------------------------------- */

/* The lists of a cut's children: child c's is lists[at[c]] .. lists[at[c + 1] - 1]. */
struct children {
	struct cut_choice choice;
	size_t *at;
	uint32_t *first; /* the first child with the same list */
	bool *shared;    /* of such a first child: there are others */
	uint32_t *refs;
};

static void children_done(struct children *c)
{
	free(c->at);
	free(c->first);
	free(c->shared);
	free(c->refs);
}

static int children_init(struct children *c, struct cut_choice choice)
{
	size_t count = (size_t)1 << choice.bits;

	c->choice = choice;
	c->at = calloc(count + 2, sizeof(*c->at));
	c->first = calloc(count, sizeof(*c->first));
	c->shared = calloc(count, sizeof(*c->shared));
	c->refs = calloc(count, sizeof(*c->refs));
	return c->at && c->first && c->shared && c->refs ? 0 : -ENOMEM;
}

static struct cut_reach reach_of(const struct builder *b, const struct cut_hull *hull,
				 struct cut_choice choice, uint32_t box)
{
	return cut_reach(cut_clip(b->space.ranges[choice.field][box], hull->range[choice.field]),
			 choice.shift, choice.bits);
}

/* Copies list [first, first + count) to the children that its boxes reach, on top of the stack. */
static int distribute(struct builder *b, const struct cut_hull *hull, size_t first, size_t count,
		      struct children *c)
{
	size_t children = (size_t)1 << c->choice.bits, mask = children - 1, *at = c->at;
	int r;

	/* Counted two places on, summed one place on: filling then leaves each start where it belongs. */
	for (size_t i = first; i < first + count; i++) {
		struct cut_reach reach = reach_of(b, hull, c->choice, b->lists.at[i]);

		for (size_t k = 0; k < reach.count; k++)
			at[((reach.first + k) & mask) + 2]++;
	}
	at[0] = at[1] = b->lists.count;
	for (size_t k = 1; k <= children; k++)
		at[k + 1] += at[k];
	r = vec_reserve(&b->lists, at[children + 1] - b->lists.count);
	if (r)
		return r;
	b->lists.count = at[children + 1];
	for (size_t i = first; i < first + count; i++) {
		struct cut_reach reach = reach_of(b, hull, c->choice, b->lists.at[i]);

		for (size_t k = 0; k < reach.count; k++)
			b->lists.at[at[((reach.first + k) & mask) + 1]++] = b->lists.at[i];
	}
	return 0;
}

/* Finds children with the same list. */
static int compare_children(const struct builder *b, struct children *c)
{
	_cleanup_(u128map_done) struct u128map known = {};

	for (uint32_t k = 0; k < 1u << c->choice.bits; k++) {
		const uint32_t *list = b->lists.at + c->at[k];
		u128 hash = hash_numbers(list, c->at[k + 1] - c->at[k], 0);
		uint32_t first = u128map_get(&known, hash);

		c->first[k] = first == U128MAP_NONE ? k : first;
		if (first != U128MAP_NONE)
			c->shared[first] = true;
		else if (u128map_add(&known, hash, k))
			return -ENOMEM;
	}
	return 0;
}

static int build(struct builder *b, size_t first, size_t count, unsigned int depth,
		 const struct region *region, uint32_t *ret_node);

/* Builds the subtrees; what several children share is built for all packets that come to the parent. */
static int build_children(struct builder *b, unsigned int depth, const struct region *region,
			  struct children *c)
{
	struct region inside = *region;
	uint32_t mask = ((1u << c->choice.bits) - 1) << c->choice.shift;
	unsigned int f = c->choice.field;
	int r = 0;

	for (uint32_t k = 0; !r && k < 1u << c->choice.bits; k++) {
		if (c->first[k] != k) {
			c->refs[k] = c->refs[c->first[k]];
			continue;
		}
		inside.known[f] = region->known[f] | mask;
		inside.value[f] = (region->value[f] & ~mask) | k << c->choice.shift;
		r = build(b, c->at[k], c->at[k + 1] - c->at[k], depth + 1,
			  c->shared[k] ? region : &inside, &c->refs[k]);
	}
	return r;
}

/* Builds the tree of list [first, first + count). */
static int build(struct builder *b, size_t first, size_t count, unsigned int depth,
		 const struct region *region, uint32_t *ret_node)
{
	_cleanup_(children_done) struct children children = {};
	struct cut_choice choice;
	struct cut_hull hull;
	size_t top = b->lists.count;
	int r;

	if (depth > b->tree->depth)
		b->tree->depth = depth;
	hull_of(&b->space, region, &hull);
	count = drop_spilled(b, first, count);
	if (count <= PRUNE_MAX)
		count = prune(b, &hull, first, count);
	if (count <= LEAF_AIM || depth == DP_CUT_STEPS ||
	    !cut_choose(&b->space, &hull, b->lists.at + first, count, &choice)) {
		if (count > PRUNE_MAX)
			count = prune(b, &hull, first, count);
		return leaf_add(b, first, count, ret_node);
	}
	r = children_init(&children, choice);
	if (!r)
		r = distribute(b, &hull, first, count, &children);
	if (!r)
		r = compare_children(b, &children);
	if (!r)
		r = build_children(b, depth, region, &children);
	b->lists.count = top;
	return r ?: inner_add(b, choice, children.refs, ret_node);
}

static void builder_done(struct builder *b)
{
	for (unsigned int f = 0; f < b->space.field_count; f++)
		free(b->space.ranges[f]);
	vec_done(&b->lists);
	u128map_done(&b->known);
}

int cut_tree_build(struct cut_tree *tree, const struct box_vec *boxes, unsigned int family,
		   struct spilled *spilled)
{
	_cleanup_(builder_done) struct builder b = {
		.tree = tree,
		.boxes = boxes,
		.spilled = spilled,
		.boxes_per_line =
			DP_LINE_BYTES / (family ? sizeof(struct dp_box6) : sizeof(struct dp_box4)),
	};
	const struct region everywhere = {};
	int r;

	*tree = (struct cut_tree){};
	r = vec_push(&tree->nodes, (struct cut_node){}); /* EMPTY_LEAF */
	if (r || !boxes->count)
		return r;
	r = space_init(&b.space, boxes, family);
	if (!r)
		r = vec_reserve(&b.lists, boxes->count);
	for (uint32_t i = 0; !r && i < boxes->count; i++)
		b.lists.at[b.lists.count++] = i;
	return r ?: build(&b, 0, boxes->count, 0, &everywhere, &tree->root);
}

void cut_tree_done(struct cut_tree *tree)
{
	vec_done(&tree->nodes);
	vec_done(&tree->refs);
	vec_done(&tree->leaf_boxes);
}
