/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One sweep over the borders of all sources in order. Between two borders the sources around a
 * value don't change; their signatures XORed name the combination, so that a border costs one XOR
 * and one hash lookup however many groups a source is in. Groups are only looked at when a
 * combination is new.
 */
#include "classes.h"

#include <string.h>
#include <xxhash.h>

#include "u128map.h"

#define NOWHERE UINT32_MAX

/* Lists of groups of all classes together: 256 MiB. */
#define MEMBERS_MAX (64u * 1024 * 1024)

/* The next border of a source. */
struct cursor {
	u128 at;
	uint32_t source;
	bool inside; /* the border is the end of range i */
	size_t i;
};

VEC_NAMED(u32_vec, uint32_t);

struct sweep {
	const struct class_space *space;
	struct classes *ret;
	VEC(struct cursor) heap;     /* least border first */
	struct u32_vec active;       /* sources around the present value */
	uint32_t *place;             /* of a source in active, NOWHERE */
	u128 signature;              /* of active */
	struct u128map combinations; /* signature of sources -> class */
	struct u128map lists;        /* hash of a list of groups -> class */
	struct u32_vec groups;       /* scratch: groups of the present value */
	size_t *first_of;            /* source s is in groups group_of[first_of[s]] .. */
	uint32_t *group_of;
	struct u32_vec members; /* lists of groups, class by class */
	VEC(size_t) ends;       /* where the list of a class ends in members */
};

/* ---- borders in order ------------------------------------------------------------------------ */

static u128 range_first(const struct class_space *space, const struct class_source *s, size_t i)
{
	return space->wide ? s->v6[i].first : s->v4[i].first;
}

static u128 range_last(const struct class_space *space, const struct class_source *s, size_t i)
{
	return space->wide ? s->v6[i].last : s->v4[i].last;
}

/* Moves on to the source's next border; false when it has none. */
static bool advance(const struct class_space *space, struct cursor *c)
{
	const struct class_source *s = &space->sources[c->source];

	if (!c->inside) {
		u128 last = range_last(space, s, c->i);

		c->inside = true;
		c->at = last + 1;
		return last < space->last;
	}
	c->inside = false;
	if (++c->i == s->count)
		return false;
	c->at = range_first(space, s, c->i);
	return true;
}

static void sift_down(struct sweep *w, size_t i)
{
	struct cursor moving = w->heap.at[i];

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= w->heap.count)
			break;
		if (child + 1 < w->heap.count && w->heap.at[child + 1].at < w->heap.at[child].at)
			child++;
		if (w->heap.at[child].at >= moving.at)
			break;
		w->heap.at[i] = w->heap.at[child];
		i = child;
	}
	w->heap.at[i] = moving;
}

static int heap_fill(struct sweep *w)
{
	int r = vec_reserve(&w->heap, w->space->source_count);

	if (r)
		return r;
	for (uint32_t s = 0; s < w->space->source_count; s++) {
		const struct class_source *source = &w->space->sources[s];

		if (source->count)
			w->heap.at[w->heap.count++] = (struct cursor){
				.at = range_first(w->space, source, 0),
				.source = s,
			};
	}
	for (size_t i = w->heap.count / 2; i-- > 0;)
		sift_down(w, i);
	return 0;
}

static int toggle(struct sweep *w, uint32_t source)
{
	uint32_t place = w->place[source], moved;

	w->signature ^= u128map_signature(source);
	if (place == NOWHERE) {
		w->place[source] = w->active.count;
		return vec_push(&w->active, source);
	}
	moved = w->active.at[--w->active.count];
	w->active.at[place] = moved;
	w->place[moved] = place;
	w->place[source] = NOWHERE;
	return 0;
}

/* Crosses all borders at `at`. */
static int cross(struct sweep *w, u128 at)
{
	while (w->heap.count && w->heap.at[0].at == at) {
		int r = toggle(w, w->heap.at[0].source);

		if (r)
			return r;
		if (!advance(w->space, &w->heap.at[0]))
			w->heap.at[0] = w->heap.at[--w->heap.count];
		if (w->heap.count)
			sift_down(w, 0);
	}
	return 0;
}

/* ---- classes of combinations ----------------------------------------------------------------- */

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The groups that hold the present value: ascending, each once. */
static int list_groups(struct sweep *w)
{
	size_t kept = 0;

	w->groups.count = 0;
	for (size_t i = 0; i < w->active.count; i++) {
		uint32_t s = w->active.at[i];
		size_t n = w->first_of[s + 1] - w->first_of[s];
		int r = vec_reserve(&w->groups, n);

		if (r)
			return r;
		if (n)
			memcpy(&w->groups.at[w->groups.count], &w->group_of[w->first_of[s]],
			       n * sizeof(uint32_t));
		w->groups.count += n;
	}
	if (w->groups.count > 1)
		qsort(w->groups.at, w->groups.count, sizeof(uint32_t), compare_u32);
	for (size_t i = 0; i < w->groups.count; i++)
		if (!kept || w->groups.at[kept - 1] != w->groups.at[i])
			w->groups.at[kept++] = w->groups.at[i];
	w->groups.count = kept;
	return 0;
}

static u128 groups_hash(const struct sweep *w)
{
	XXH128_hash_t h = XXH3_128bits(w->groups.at, w->groups.count * sizeof(uint32_t));

	return (u128)h.high64 << 64 | h.low64;
}

static int members_add(struct sweep *w)
{
	int r = vec_reserve(&w->members, w->groups.count);

	if (r)
		return r;
	if (w->members.count + w->groups.count > MEMBERS_MAX)
		return -E2BIG;
	if (w->groups.count)
		memcpy(&w->members.at[w->members.count], w->groups.at,
		       w->groups.count * sizeof(uint32_t));
	w->members.count += w->groups.count;
	return vec_push(&w->ends, w->members.count);
}

static int class_of_groups(struct sweep *w, uint32_t *ret_class)
{
	u128 hash;
	int r = list_groups(w);

	if (r)
		return r;
	*ret_class = 0;
	if (!w->groups.count && !w->space->negated)
		return 0;
	hash = groups_hash(w);
	*ret_class = u128map_get(&w->lists, hash);
	if (*ret_class != U128MAP_NONE)
		return 0;
	*ret_class = w->ret->count++;
	/*
	 * Past the limit the policy is refused; what is still wanted is how many classes it needs.
	 */
	r = *ret_class <= CLASSES_MAX ? members_add(w) : 0;
	return r ?: u128map_add(&w->lists, hash, *ret_class);
}

static int class_of_present(struct sweep *w, uint32_t *ret_class)
{
	int r;

	*ret_class = u128map_get(&w->combinations, w->signature);
	if (*ret_class != U128MAP_NONE)
		return 0;
	r = class_of_groups(w, ret_class);
	return r ?: u128map_add(&w->combinations, w->signature, *ret_class);
}

/* ---- the sweep ------------------------------------------------------------------------------- */

static int segment_add(struct segments *s, u128 first, uint16_t class)
{
	int r;

	if (s->class_of.count && s->class_of.at[s->class_of.count - 1] == class)
		return 0;
	r = s->wide ? vec_push(&s->first6, first) : vec_push(&s->first4, (uint32_t)first);
	return r ?: vec_push(&s->class_of, class);
}

static int sweep(struct sweep *w)
{
	u128 at = 0;

	for (;;) {
		uint32_t class;
		int r = cross(w, at);

		if (!r)
			r = class_of_present(w, &class);
		if (!r)
			r = segment_add(&w->ret->segments, at, class);
		if (r)
			return r;
		if (!w->heap.count)
			return 0;
		at = w->heap.at[0].at;
	}
}

/* Turns "group -> its sources" round. */
static int index_groups(struct sweep *w)
{
	const struct class_space *space = w->space;
	size_t total = 0;

	w->first_of = calloc(space->source_count + 2, sizeof(*w->first_of));
	for (size_t g = 0; g < space->group_count; g++)
		total += space->groups[g].count;
	w->group_of = reallocarray(NULL, total + 1, sizeof(*w->group_of));
	if (!w->first_of || !w->group_of)
		return -ENOMEM;
	/*
	 * Counted two places on, summed one place on: filling then leaves each start where it
	 * belongs.
	 */
	for (size_t g = 0; g < space->group_count; g++)
		for (size_t i = 0; i < space->groups[g].count; i++)
			w->first_of[space->groups[g].sources[i] + 2]++;
	for (size_t s = 1; s <= space->source_count; s++)
		w->first_of[s + 1] += w->first_of[s];
	for (size_t g = 0; g < space->group_count; g++)
		for (size_t i = 0; i < space->groups[g].count; i++)
			w->group_of[w->first_of[space->groups[g].sources[i] + 1]++] = g;
	return 0;
}

/* Turns "class -> its groups" round: rules ask by group. */
static int index_classes(struct sweep *w)
{
	struct classes *c = w->ret;
	size_t groups = w->space->group_count, at = 0;

	if (vec_reserve(&c->from, groups + 2) || vec_reserve(&c->class_of, w->members.count + 1))
		return -ENOMEM;
	c->from.count = groups + 1;
	c->class_of.count = w->members.count;
	memset(c->from.at, 0, (groups + 2) * sizeof(*c->from.at));
	for (size_t i = 0; i < w->members.count; i++)
		c->from.at[w->members.at[i] + 2]++;
	for (size_t g = 1; g <= groups; g++)
		c->from.at[g + 1] += c->from.at[g];
	for (size_t class = 0; class < w->ends.count; class ++)
		for (; at < w->ends.at[class]; at++)
			c->class_of.at[c->from.at[w->members.at[at] + 1]++] = class;
	return 0;
}

static void sweep_done(struct sweep *w)
{
	vec_done(&w->heap);
	vec_done(&w->active);
	vec_done(&w->groups);
	vec_done(&w->members);
	vec_done(&w->ends);
	free(w->place);
	free(w->first_of);
	free(w->group_of);
	u128map_done(&w->combinations);
	u128map_done(&w->lists);
}

static int sweep_init(struct sweep *w)
{
	int r;

	w->place = reallocarray(NULL, w->space->source_count + 1, sizeof(*w->place));
	if (!w->place)
		return -ENOMEM;
	for (size_t s = 0; s < w->space->source_count; s++)
		w->place[s] = NOWHERE;
	r = index_groups(w);
	if (!r)
		r = heap_fill(w);
	return r ?: vec_push(&w->ends, 0); /* class 0 is in no group */
}

int classes_init(struct classes *classes, const struct class_space *space)
{
	_cleanup_(sweep_done) struct sweep w = { .space = space, .ret = classes };
	int r;

	*classes = (struct classes){ .segments.wide = space->wide, .count = 1 };
	r = sweep_init(&w);
	if (!r)
		r = sweep(&w);
	return r ?: index_classes(&w);
}

void segments_done(struct segments *s)
{
	vec_done(&s->first4);
	vec_done(&s->first6);
	vec_done(&s->class_of);
}

void classes_done(struct classes *classes)
{
	segments_done(&classes->segments);
	vec_done(&classes->from);
	vec_done(&classes->class_of);
}
