/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table of chains, and two lists in the order in which rows were counted in last: rows that slots of the cache
 * hold, and those that none does. Only the second gives way, so a slot never points to a row that is gone.
 */
#include "store.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#define TCP_SYN 0x02
#define TCP_ACK 0x10

#define BUCKETS_MIN 1024

struct list {
	struct store_flow *newest, *oldest;
};

struct store {
	struct store_flow **buckets;
	size_t bucket_count; /* a power of two */
	size_t most;
	struct list lists[2]; /* held, and not */
	struct store_totals totals;
};

/* ---- lists ---------------------------------------------------------------------------------------- */

static struct list *list_of(struct store *s, const struct store_flow *f)
{
	return &s->lists[f->held ? 0 : 1];
}

static void unlink_flow(struct list *list, struct store_flow *f)
{
	*(f->newer ? &f->newer->older : &list->newest) = f->older;
	*(f->older ? &f->older->newer : &list->oldest) = f->newer;
}

static void link_flow(struct list *list, struct store_flow *f)
{
	f->newer = NULL;
	f->older = list->newest;
	*(list->newest ? &list->newest->newer : &list->oldest) = f;
	list->newest = f;
}

/* ---- rows ----------------------------------------------------------------------------------------- */

/* Both directions have the same name: the lower end first. */
struct name {
	struct store_end end[2];
	uint8_t proto, kind;
};

static int compare_ends(const struct store_end *a, const struct store_end *b)
{
	int r = memcmp(a->addr, b->addr, sizeof(a->addr));

	return r ? r : (int)a->port - (int)b->port;
}

static void set_name(struct name *n, const struct store_end *a, const struct store_end *b,
		     uint8_t proto, uint8_t kind)
{
	bool swap = compare_ends(a, b) > 0;

	memset(n, 0, sizeof(*n)); /* it is hashed with its padding */
	memcpy(n->end[0].addr, (swap ? b : a)->addr, sizeof(a->addr));
	memcpy(n->end[1].addr, (swap ? a : b)->addr, sizeof(a->addr));
	n->end[0].port = (swap ? b : a)->port;
	n->end[1].port = (swap ? a : b)->port;
	n->proto = proto;
	n->kind = kind;
}

static struct store_flow **bucket_of(const struct store *s, const struct name *n)
{
	return &s->buckets[XXH3_64bits(n, sizeof(*n)) & (s->bucket_count - 1)];
}

static bool is_named(const struct store_flow *f, const struct name *n)
{
	struct name mine;

	set_name(&mine, &f->from, &f->to, f->proto, f->kind);
	return !memcmp(&mine, n, sizeof(mine));
}

static void forget(struct store *s, struct store_flow *f)
{
	struct store_flow **at;
	struct name n;

	set_name(&n, &f->from, &f->to, f->proto, f->kind);
	for (at = bucket_of(s, &n); *at != f; at = &(*at)->chain)
		;
	*at = f->chain;
	unlink_flow(list_of(s, f), f);
	for (int d = 0; d < STORE_DIRECTIONS; d++) {
		s->totals.kept.packets -= f->way[d].packets;
		s->totals.kept.bytes -= f->way[d].bytes;
		s->totals.gone.packets += f->way[d].packets;
		s->totals.gone.bytes += f->way[d].bytes;
	}
	s->totals.rows--;
	s->totals.forgotten++;
	free(f);
}

static void make_room(struct store *s, size_t most)
{
	while (s->totals.rows > most && s->lists[1].oldest)
		forget(s, s->lists[1].oldest);
}

static uint8_t proto_of(const struct dp_account *a)
{
	return (uint8_t)(a->bytes >> DP_ACCOUNT_PROTO_SHIFT);
}

/* The identifier of an echo stands for the end that asks, so that its answer is of the same row. */
static void read_ends(const struct dp_account *a, struct store_end *from, struct store_end *to)
{
	uint8_t proto = proto_of(a), type = a->dport >> 8;

	memcpy(from->addr, a->src, sizeof(from->addr));
	memcpy(to->addr, a->dst, sizeof(to->addr));
	from->port = a->sport;
	to->port = a->dport;
	if (proto != IPPROTO_ICMP && proto != IPPROTO_ICMPV6)
		return;
	if (type == (proto == IPPROTO_ICMP ? ICMP_ECHO : ICMP6_ECHO_REQUEST)) {
		to->port = 0;
	} else if (type == (proto == IPPROTO_ICMP ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY)) {
		from->port = 0;
		to->port = a->sport;
	}
}

static uint8_t kind_of(const struct dp_account *a)
{
	return (a->packets >> DP_ACCOUNT_KIND_SHIFT & 0xff) & ~DP_ACCOUNT_EGRESS;
}

static uint8_t flags_of(const struct dp_account *a)
{
	return (uint8_t)(a->packets >> DP_ACCOUNT_FLAGS_SHIFT);
}

static struct store_flow *find(const struct store *s, const struct name *n)
{
	struct store_flow *f = *bucket_of(s, n);

	while (f && !is_named(f, n))
		f = f->chain;
	return f;
}

static struct store_flow *add(struct store *s, const struct name *n, const struct dp_account *a)
{
	struct store_flow **bucket = bucket_of(s, n), *f;

	make_room(s, s->most - 1);
	f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	read_ends(a, &f->from, &f->to);
	f->proto = n->proto;
	f->kind = n->kind;
	f->chain = *bucket;
	*bucket = f;
	link_flow(&s->lists[1], f);
	s->totals.rows++;
	return f;
}

/* ---- counting -------------------------------------------------------------------------------------- */

static bool is_from(const struct store_flow *f, const struct dp_account *a)
{
	struct store_end from, to;

	read_ends(a, &from, &to);
	return !compare_ends(&f->from, &from);
}

static void swap_ends(struct store_flow *f)
{
	struct store_end end = f->from;
	struct store_way way = f->way[STORE_FORTH];

	f->from = f->to;
	f->to = end;
	f->way[STORE_FORTH] = f->way[STORE_BACK];
	f->way[STORE_BACK] = way;
}

/* Who began is who sent the SYN; where none was seen, who was seen first. */
static bool began_back(const struct store_flow *f)
{
	const struct store_way *forth = &f->way[STORE_FORTH], *back = &f->way[STORE_BACK];
	bool syn = f->proto == IPPROTO_TCP && (forth->flags | back->flags) & TCP_SYN;

	if (!back->packets)
		return false;
	if (syn && (forth->flags ^ back->flags) & TCP_SYN)
		return back->flags & TCP_SYN;
	return back->first_ns < forth->first_ns;
}

/* The next after the first, when a SYN was the first; the two may have been seen by different CPUs. */
static uint64_t next_after(uint64_t first, uint64_t a, uint64_t b)
{
	if (a <= first)
		return b > first ? b : 0;
	return b > first && b < a ? b : a;
}

static void count_times(struct store_way *w, const struct dp_birth *b)
{
	uint64_t other = w->packets ? w->first_ns : 0;

	if (!w->packets || b->first_ns < w->first_ns)
		w->first_ns = b->first_ns;
	else
		other = b->first_ns;
	w->second_ns =
		next_after(w->first_ns, next_after(w->first_ns, w->second_ns, b->second_ns), other);
}

static void count_way(struct store_way *w, const struct dp_account *a, const struct dp_birth *b,
		      uint64_t packets, uint64_t bytes)
{
	bool older = !w->packets || b->first_ns < w->first_ns;

	count_times(w, b);
	if (b->decided_before) {
		w->decided_before = b->decided_before;
		w->packets_before = b->packets_before;
	} else if (w->decided && w->decided != a->decided && !older) {
		w->decided_before = w->decided;
		w->packets_before = w->packets;
	}
	w->packets += packets;
	w->bytes += bytes;
	w->decided = a->decided;
	w->ifindex = b->ifindex;
	w->vlan = a->vlan;
	w->egress = !!(a->packets >> DP_ACCOUNT_KIND_SHIFT & DP_ACCOUNT_EGRESS);
	w->flags |= flags_of(a);
}

struct store_flow *store_count(struct store *s, const struct dp_account *a,
			       const struct dp_birth *b, uint64_t packets, uint64_t bytes)
{
	uint64_t seen_ns = (uint64_t)a->seen << DP_TICK_SHIFT;
	struct store_end from, to;
	struct store_flow *f;
	struct name n;

	read_ends(a, &from, &to);
	set_name(&n, &from, &to, proto_of(a), kind_of(a));
	f = find(s, &n);
	if (!f)
		f = add(s, &n, a);
	if (!f) {
		s->totals.gone.packets += packets;
		s->totals.gone.bytes += bytes;
		return NULL;
	}
	s->totals.kept.packets += packets;
	s->totals.kept.bytes += bytes;
	count_way(&f->way[is_from(f, a) ? STORE_FORTH : STORE_BACK], a, b, packets, bytes);
	if (began_back(f))
		swap_ends(f);
	unlink_flow(list_of(s, f), f);
	if (seen_ns > f->last_ns)
		f->last_ns = seen_ns;
	f->held++;
	link_flow(list_of(s, f), f);
	return f;
}

void store_release(struct store *s, struct store_flow *f)
{
	unlink_flow(list_of(s, f), f);
	f->held--;
	link_flow(list_of(s, f), f);
	make_room(s, s->most);
}

/* ---- the whole -------------------------------------------------------------------------------------- */

static size_t buckets_for(size_t most)
{
	size_t count = BUCKETS_MIN;

	while (count < most)
		count *= 2;
	return count;
}

int store_new(struct store **ret, size_t most)
{
	_cleanup_(store_free) struct store *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->most = most ? most : 1;
	s->bucket_count = buckets_for(most);
	s->buckets = calloc(s->bucket_count, sizeof(*s->buckets));
	if (!s->buckets)
		return -ENOMEM;
	*ret = TAKE_PTR(s);
	return 0;
}

void store_free(struct store **at)
{
	struct store *s = *at;

	if (!s)
		return;
	for (int i = 0; i < 2; i++)
		while (s->lists[i].newest) {
			struct store_flow *f = s->lists[i].newest;

			s->lists[i].newest = f->older;
			free(f);
		}
	free(s->buckets);
	free(s);
	*at = NULL;
}

/* Chains stay short. Without memory they get longer, and hold the same. */
static void follow_size(struct store *s)
{
	size_t count = buckets_for(s->most), before = s->bucket_count;
	struct store_flow **made = count == before ? NULL : calloc(count, sizeof(*made));
	struct store_flow **old = s->buckets;

	if (!made)
		return;
	s->buckets = made;
	s->bucket_count = count;
	for (size_t i = 0; i < before; i++)
		while (old[i]) {
			struct store_flow *f = old[i], **bucket;
			struct name n;

			old[i] = f->chain;
			set_name(&n, &f->from, &f->to, f->proto, f->kind);
			bucket = bucket_of(s, &n);
			f->chain = *bucket;
			*bucket = f;
		}
	free(old);
}

void store_resize(struct store *s, size_t most)
{
	s->most = most ? most : 1;
	make_room(s, s->most);
	follow_size(s);
}

struct store_totals store_totals(const struct store *s)
{
	struct store_totals t = s->totals;

	t.bytes = sizeof(*s) + s->bucket_count * sizeof(*s->buckets) +
		  t.rows * sizeof(struct store_flow);
	return t;
}

/* The two lists as one. */
const struct store_flow *store_next(const struct store *s, const struct store_flow *f)
{
	if (!f)
		return s->lists[0].newest ? s->lists[0].newest : s->lists[1].newest;
	if (f->older)
		return f->older;
	return f->held ? s->lists[1].newest : NULL;
}

#define PLACE_BITS 20 /* of a place: its row in the chain; the bucket is above */

size_t store_walk(const struct store *s, uint64_t *at, struct store_flow *ret, size_t most)
{
	uint64_t bucket = *at >> PLACE_BITS, place = *at & ((1 << PLACE_BITS) - 1);
	size_t count = 0;

	for (; bucket < s->bucket_count; bucket++, place = 0) {
		const struct store_flow *f = s->buckets[bucket];

		for (uint64_t i = 0; f; f = f->chain, i++) {
			if (i < place)
				continue;
			if (count == most) {
				*at = bucket << PLACE_BITS | i;
				return count;
			}
			ret[count++] = *f;
		}
	}
	*at = 0;
	return count;
}

/* ---- the newest ------------------------------------------------------------------------------------- */

/* A heap: each row's packet is older than those of rows 2n + 1 and 2n + 2. */
static void sink(const struct store_flow **heap, size_t count, size_t n)
{
	for (;;) {
		size_t child = 2 * n + 1;
		const struct store_flow *f = heap[n];

		if (child + 1 < count && heap[child + 1]->last_ns < heap[child]->last_ns)
			child++;
		if (child >= count || f->last_ns <= heap[child]->last_ns)
			return;
		heap[n] = heap[child];
		heap[child] = f;
		n = child;
	}
}

static int newest_first(const void *a, const void *b)
{
	uint64_t x = (*(const struct store_flow *const *)a)->last_ns;
	uint64_t y = (*(const struct store_flow *const *)b)->last_ns;

	return (x < y) - (x > y);
}

size_t store_newest(const struct store *s, const struct store_flow **ret, size_t most)
{
	size_t count = 0;

	for (const struct store_flow *f = NULL; most && (f = store_next(s, f));) {
		if (count < most) {
			ret[count++] = f;
			for (size_t n = count / 2; count == most && n-- > 0;)
				sink(ret, count, n);
		} else if (f->last_ns > ret[0]->last_ns) {
			ret[0] = f;
			sink(ret, count, 0);
		}
	}
	qsort(ret, count, sizeof(*ret), newest_first);
	return count;
}

uint64_t store_handshake_ns(const struct store_flow *f)
{
	const struct store_way *w = &f->way[STORE_FORTH];

	if (f->proto != IPPROTO_TCP || !(w->flags & TCP_SYN) || !w->second_ns ||
	    w->second_ns < w->first_ns)
		return 0;
	return w->second_ns - w->first_ns;
}
