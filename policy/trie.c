/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing class tables. A trie level looks at 16 bits: the first is an array of references, below
 * it the values of 16 bits are cut into ranges, and the ranges are put into lines of
 * DP_NODE_ENTRIES, in trees of lines where they are more. A block of addresses that is all one
 * class ends its path.
 */
#include "trie.h"

#include <string.h>

#define STRIDE        16
#define STRIDE_VALUES (1u << STRIDE)

/* A range of the values of one stride, to the next entry's key. */
struct entry {
	uint32_t key;
	uint16_t class; /* when it is no child */
	bool child;
	size_t low, high; /* a child's segments: the one around its start, and one past the last */
};

struct trie {
	struct lines *lines;
	const struct segments *segments;
	VEC(struct entry)
	entries; /* a stack: those of a block above those of the blocks around it */
};

static unsigned int low_bits(const struct trie *t, unsigned int level)
{
	return (t->segments->wide ? 128 : 32) - STRIDE * (level + 1);
}

static uint32_t key_of(const struct trie *t, size_t segment, unsigned int shift)
{
	return (uint32_t)(segments_first(t->segments, segment) >> shift) & (STRIDE_VALUES - 1);
}

/* Entries come in order of keys; a second one for a key is the better informed. */
static int entry_add(struct trie *t, size_t base, struct entry entry)
{
	size_t n = t->entries.count;

	if (n > base && t->entries.at[n - 1].key == entry.key) {
		t->entries.at[n - 1] = entry;
		return 0;
	}
	return vec_push(&t->entries, entry);
}

/* One value of the stride, with segments [i, next) beginning in it. */
static int value_add(struct trie *t, size_t base, unsigned int shift, size_t i, size_t next)
{
	const uint16_t *class_of = t->segments->class_of.at;
	uint32_t key = key_of(t, i, shift);
	bool at_start = !(segments_first(t->segments, i) & (((u128)1 << shift) - 1));
	int r;

	if (at_start && next == i + 1)
		return entry_add(t, base, (struct entry){ .key = key, .class = class_of[i] });
	r = entry_add(
		t, base,
		(struct entry){
			.key = key, .child = true, .low = at_start ? i : i - 1, .high = next });
	if (r || key + 1 == STRIDE_VALUES)
		return r;
	return entry_add(t, base, (struct entry){ .key = key + 1, .class = class_of[next - 1] });
}

/* Cuts the block that segments [low, high) cover into ranges, on top of the stack. */
static int entries_push(struct trie *t, unsigned int level, size_t low, size_t high)
{
	unsigned int shift = low_bits(t, level);
	size_t base = t->entries.count, next;
	int r = vec_push(&t->entries, (struct entry){ .class = t->segments->class_of.at[low] });

	for (size_t i = low + 1; !r && i < high; i = next) {
		uint32_t key = key_of(t, i, shift);

		for (next = i + 1; next < high && key_of(t, next, shift) == key;)
			next++;
		r = value_add(t, base, shift, i, next);
	}
	return r;
}

static int block_write(struct trie *t, unsigned int level, size_t low, size_t high, uint32_t line);

/* Writes the blocks below entries [from, from + count) to consecutive lines from `line` on. */
static int children_write(struct trie *t, unsigned int level, size_t from, size_t count,
			  uint32_t line)
{
	int r = 0;

	for (size_t i = from; !r && i < from + count; i++) {
		struct entry e = t->entries.at[i];

		if (e.child)
			r = block_write(t, level + 1, e.low, e.high, line++);
	}
	return r;
}

static size_t children_of(const struct trie *t, size_t from, size_t count)
{
	size_t n = 0;

	for (size_t i = from; i < from + count; i++)
		n += t->entries.at[i].child;
	return n;
}

/* At most DP_NODE_ENTRIES entries, to one line. */
static int leaf_write(struct trie *t, unsigned int level, size_t from, size_t count, uint32_t line)
{
	size_t children = children_of(t, from, count);
	struct dp_node node = {};
	uint32_t child = 0;
	int r = children ? lines_add(t->lines, children, &node.base) : 0;

	if (r)
		return r;
	for (unsigned int i = 0; i < DP_NODE_ENTRIES; i++) {
		const struct entry *e = &t->entries.at[from + (i < count ? i : count - 1)];

		if (e->child) {
			node.child |= 1u << i;
			child += i < count; /* its number plus one; copies at the end don't count */
		}
		node.entry[i] = (i ? e->key : 0) << STRIDE | (e->child ? child - 1 : e->class);
	}
	memcpy(&t->lines->vec.at[line], &node, sizeof(node));
	return children_write(t, level, from, count, node.base);
}

/* Any number of entries, to the line and as many below it as they need. */
static int entries_write(struct trie *t, unsigned int level, size_t from, size_t count,
			 uint32_t line)
{
	struct dp_node node = { .child = DP_NODE_INNER };
	size_t below = DP_NODE_ENTRIES, children, share;
	int r;

	if (count <= DP_NODE_ENTRIES)
		return leaf_write(t, level, from, count, line);
	while (below * DP_NODE_ENTRIES < count)
		below *= DP_NODE_ENTRIES;
	children = lines_for(count, below);
	share = lines_for(count, children);
	r = lines_add(t->lines, children, &node.base);
	if (r)
		return r;
	for (unsigned int i = 0; i < DP_NODE_ENTRIES; i++) {
		uint32_t child = i < children ? i : children - 1;

		node.child |= 1u << i;
		node.entry[i] = (i ? t->entries.at[from + child * share].key : 0) << STRIDE | child;
	}
	memcpy(&t->lines->vec.at[line], &node, sizeof(node));
	for (size_t i = 0; !r && i < children; i++) {
		size_t n = i + 1 < children ? share : count - i * share;

		r = entries_write(t, level, from + i * share, n, node.base + i);
	}
	return r;
}

/* An IPv6 block with few borders, to a line that ends the walk. */
static void wide_write(const struct trie *t, size_t low, size_t high, uint32_t line)
{
	struct dp_node_wide node = { .child = DP_NODE_WIDE };

	for (size_t i = 0; i <= DP_WIDE_BORDERS; i++) {
		size_t segment = low + i < high ? low + i : high - 1;
		u128 border = t->segments->first6.at[segment];

		node.class[i] = t->segments->class_of.at[segment];
		if (i)
			node.border[i - 1] = (struct dp_border){ border >> 64, (uint64_t)border };
	}
	memcpy(&t->lines->vec.at[line], &node, sizeof(node));
}

static int block_write(struct trie *t, unsigned int level, size_t low, size_t high, uint32_t line)
{
	size_t base = t->entries.count;
	int r;

	if (t->segments->wide && high - low <= DP_WIDE_BORDERS + 1) {
		wide_write(t, low, high, line);
		return 0;
	}
	r = entries_push(t, level, low, high);
	if (!r)
		r = entries_write(t, level, base, t->entries.count - base, line);
	t->entries.count = base;
	return r;
}

/* Entries that decide the values from first to last, of [from, from + count). Returns the first. */
static size_t entries_of(const struct trie *t, size_t from, size_t count, uint32_t first,
			 uint32_t last, size_t *ret_count)
{
	size_t at = from, end;

	while (at + 1 < from + count && t->entries.at[at + 1].key <= first)
		at++;
	end = at + 1;
	while (end < from + count && t->entries.at[end].key <= last)
		end++;
	*ret_count = end - at;
	return at;
}

static bool fits(const struct trie *t, size_t from, size_t count, unsigned int bits)
{
	uint32_t size = STRIDE_VALUES >> bits;
	size_t end = from + count, n;

	for (uint32_t first = 0; first < STRIDE_VALUES; first += size) {
		from = entries_of(t, from, end - from, first, first + size - 1, &n);
		if (n > DP_NODE_ENTRIES)
			return false;
	}
	return true;
}

/*
 * Bits that cut a block into parts of one line each: the fewest, when that takes no more than about
 * twice the lines of a tree; 0 for a tree.
 */
static unsigned int choose_bits(const struct trie *t, size_t from, size_t count)
{
	if (t->segments->wide || count <= DP_NODE_ENTRIES)
		return 0;
	for (unsigned int bits = 1; bits <= DP_REF_BITS_MAX && 1u << bits <= 4 + count / 4; bits++)
		if (fits(t, from, count, bits))
			return bits;
	return 0;
}

/* A /16 that is not all one class. */
static int second_level_write(struct trie *t, const struct entry *child, uint32_t *ret_ref)
{
	size_t low = child->low, high = child->high, base = t->entries.count, count, n;
	unsigned int bits;
	uint32_t line, size;
	int r;

	if (t->segments->wide) {
		r = lines_add(t->lines, 1, ret_ref);
		return r ? r : block_write(t, 1, low, high, *ret_ref);
	}
	r = entries_push(t, 1, low, high);
	if (r)
		return r;
	count = t->entries.count - base;
	bits = choose_bits(t, base, count);
	size = STRIDE_VALUES >> bits;
	r = lines_add(t->lines, 1u << bits, &line);
	for (uint32_t i = 0; !r && i < 1u << bits; i++) {
		size_t from = entries_of(t, base, count, i * size, (i + 1) * size - 1, &n);

		r = entries_write(t, 1, from, n, line + i);
	}
	t->entries.count = base;
	*ret_ref = bits << DP_REF_BITS_SHIFT | line;
	return r;
}

/* The array of references that the first 16 bits index. */
static int first_level_write(struct trie *t, uint32_t line)
{
	int r = entries_push(t, 0, 0, t->segments->class_of.count);
	size_t count = t->entries.count;

	for (size_t i = 0; !r && i < count; i++) {
		struct entry e = t->entries.at[i]; /* the stack moves */
		uint32_t end = i + 1 < count ? t->entries.at[i + 1].key : STRIDE_VALUES;
		uint32_t ref = DP_REF_CLASS | e.class, *refs;

		if (e.child)
			r = second_level_write(t, &e, &ref);
		refs = (uint32_t *)&t->lines->vec.at[line];
		for (uint32_t key = e.key; key < end; key++)
			refs[key] = ref;
	}
	return r;
}

int trie_write(struct lines *lines, const struct segments *segments, uint32_t *ret_ref)
{
	struct trie t = { .lines = lines, .segments = segments };
	int r;

	if (segments->class_of.count == 1) {
		*ret_ref = DP_REF_CLASS | segments->class_of.at[0];
		return 0;
	}
	r = lines_add(lines, DP_TRIE_FIRST_LINES, ret_ref);
	if (!r)
		r = first_level_write(&t, *ret_ref);
	vec_done(&t.entries);
	return r;
}

int array_write(struct lines *lines, const struct segments *segments, uint32_t count,
		uint32_t *ret_ref)
{
	size_t n = segments->class_of.count;
	uint16_t *classes;
	int r;

	if (n == 1) {
		*ret_ref = DP_REF_CLASS | segments->class_of.at[0];
		return 0;
	}
	r = lines_add(lines, lines_for(count, DP_CLASSES_PER_LINE), ret_ref);
	if (r)
		return r;
	classes = (uint16_t *)&lines->vec.at[*ret_ref];
	for (size_t i = 0; i < n; i++) {
		uint32_t end = i + 1 < n ? segments->first4.at[i + 1] : count;

		for (uint32_t value = segments->first4.at[i]; value < end; value++)
			classes[value] = segments->class_of.at[i];
	}
	return 0;
}
