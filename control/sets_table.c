/* SPDX-License-Identifier: Apache-2.0 */
/* See sets_table.h. What packets read is stored to atomically; private memory is not. */
#include "sets_table.h"

#include <errno.h>
#include <string.h>

#define BITS 64

static uint64_t hash(const struct dp_ctl *ctl, const uint32_t addr[static 4], uint32_t what)
{
	if (sets_key_is_ipv6(what))
		return dp_member_hash6(ctl->hash_key, addr, what);
	return dp_member_hash4(ctl->hash_key, addr[0], what);
}

/* ---- the layout ---------------------------------------------------------------------------------- */

static struct dp_set_header header_of(uint32_t capacity)
{
	uint32_t heads = capacity * FOOTPRINT_HEADS_PER_MEMBER;

	return (struct dp_set_header){
		.magic = DP_SET_MAGIC,
		.abi_version = DP_ABI_VERSION,
		.heads = heads,
		.head = 1,
		.members = 1 + heads / DP_HEADS_PER_LINE,
		.capacity = capacity,
	};
}

uint32_t sets_table_capacity(uint64_t members)
{
	return footprint_member_capacity(members);
}

uint32_t sets_table_lines(uint32_t capacity)
{
	return footprint_member_lines(capacity);
}

static struct dp_member *member_in(struct dp_line *lines, uint32_t members, uint32_t number)
{
	return (struct dp_member *)&lines[members] + number;
}

static struct dp_member *member_at(const struct sets_table *t, uint32_t number)
{
	return member_in(t->lines, t->members, number);
}

static uint32_t *head_for(const struct sets_table *t, uint64_t h)
{
	return (uint32_t *)&t->lines[t->head] + ((h >> 32) & (t->heads - 1));
}

/* ---- queues of numbers, and the bits of those that are linked -------------------------------------- */

static void queue_put(struct sets_table *t, struct sets_queue *q, uint32_t number)
{
	t->next[number] = 0;
	if (q->last)
		t->next[q->last] = number;
	else
		q->first = number;
	q->last = number;
	q->count++;
}

static uint32_t queue_take(struct sets_table *t, struct sets_queue *q)
{
	uint32_t number = q->first;

	if (!number)
		return 0;
	q->first = t->next[number];
	if (!q->first)
		q->last = 0;
	q->count--;
	return number;
}

/* All of `from` goes behind `to`. */
static void queue_move(struct sets_table *t, struct sets_queue *to, struct sets_queue *from)
{
	if (!from->first)
		return;
	if (to->last)
		t->next[to->last] = from->first;
	else
		to->first = from->first;
	to->last = from->last;
	to->count += from->count;
	*from = (struct sets_queue){};
}

static bool is_linked(const struct sets_table *t, uint32_t number)
{
	return t->linked[number / BITS] >> (number % BITS) & 1;
}

static void mark_linked(struct sets_table *t, uint32_t number, bool linked)
{
	uint64_t bit = 1ull << (number % BITS);

	if (linked)
		t->linked[number / BITS] |= bit;
	else
		t->linked[number / BITS] &= ~bit;
}

/* ---- filter and lengths -------------------------------------------------------------------------- */

/* One writer: what is loaded cannot change before it is stored. */
static void filter_add(struct dp_filter *filter, uint64_t h)
{
	__u64 *word = &filter->word[DP_FILTER_WORD(h)];

	__atomic_store_n(word, *word | DP_FILTER_BITS(h), __ATOMIC_RELAXED);
}

static __u64 *length_word(const struct sets_table *t, uint32_t what, uint64_t *ret_bit)
{
	uint32_t len = sets_key_length(what);

	*ret_bit = 1ull << (len % BITS);
	return sets_key_is_ipv6(what) ? &t->ctl->set_lengths6[len / BITS] : &t->ctl->set_lengths4;
}

static void length_add(struct sets_table *t, uint32_t what)
{
	uint64_t bit;
	__u64 *word = length_word(t, what, &bit);

	if (!t->lengths[sets_key_is_ipv6(what)][sets_key_length(what)]++)
		__atomic_store_n(word, *word | bit, __ATOMIC_RELAXED);
}

static void length_drop(struct sets_table *t, uint32_t what)
{
	uint64_t bit;
	__u64 *word = length_word(t, what, &bit);

	if (!--t->lengths[sets_key_is_ipv6(what)][sets_key_length(what)])
		__atomic_store_n(word, *word & ~bit, __ATOMIC_RELAXED);
}

/* ---- members ------------------------------------------------------------------------------------- */

void sets_table_init(struct sets_table *t, struct dp_ctl *ctl, struct dp_filter *filter)
{
	*t = (struct sets_table){ .ctl = ctl, .filter = filter, .used = 1 };
}

void sets_table_done(struct sets_table *t)
{
	free(t->linked);
	free(t->next);
	free(t->fresh);
	sets_due_done(&t->due);
	*t = (struct sets_table){};
}

static bool is_same(const struct dp_member *m, const struct sets_key *key)
{
	return m->what == key->what && !memcmp(m->addr, key->addr, sizeof(key->addr));
}

/* What a search met: where the member is linked from, or what stands in the way of a new one. */
struct found {
	uint32_t *link; /* NULL: no such member */
	uint32_t steps, same;
};

static struct found search(const struct sets_table *t, const struct sets_key *key, uint8_t set)
{
	uint32_t *link = head_for(t, hash(t->ctl, key->addr, key->what));
	struct found f = {};

	while (*link) {
		struct dp_member *m = member_at(t, *link);

		f.steps++;
		if (is_same(m, key)) {
			f.same++;
			if (m->set == set) {
				f.link = link;
				return f;
			}
		}
		link = &m->next;
	}
	return f;
}

static void set_expiry(struct sets_table *t, uint32_t number, uint32_t expires)
{
	__atomic_store_n(&member_at(t, number)->expires, expires, __ATOMIC_RELAXED);
	if (expires)
		sets_due_put(&t->due, number, expires);
	else
		sets_due_drop(&t->due, number);
}

/* New members go first: a reader's way through a chain never becomes longer while it is on it. */
static void link_member(struct sets_table *t, uint32_t number, const struct sets_key *key,
			uint8_t set, uint32_t expires)
{
	uint64_t h = hash(t->ctl, key->addr, key->what);
	struct dp_member *m = member_at(t, number);
	uint32_t *head = head_for(t, h);

	*m = (struct dp_member){ .what = key->what, .next = *head, .set = set };
	memcpy(m->addr, key->addr, sizeof(m->addr));
	set_expiry(t, number, expires);
	filter_add(t->filter, h);
	if (t->fresh)
		filter_add(t->fresh, h);
	length_add(t, key->what);
	__atomic_store_n(head, number, __ATOMIC_RELEASE);
	mark_linked(t, number, true);
	t->count[set]++;
	t->live++;
}

static int judge(const struct found *f)
{
	if (f->link)
		return SETS_REFRESHED;
	if (f->same >= SETS_PER_PREFIX)
		return -EMLINK;
	return f->steps >= DP_SET_CHAIN ? -E2BIG : SETS_ADDED;
}

int sets_table_probe(const struct sets_table *t, const struct sets_key *key, uint8_t set)
{
	struct found f = {};

	if (t->lines)
		f = search(t, key, set);
	return judge(&f);
}

int sets_table_add(struct sets_table *t, const struct sets_key *key, uint8_t set, uint32_t expires)
{
	struct found f;
	uint32_t number;
	int r;

	if (!t->lines)
		return -ENOSPC;
	f = search(t, key, set);
	r = judge(&f);
	if (r == SETS_REFRESHED) {
		set_expiry(t, *f.link, expires);
		return SETS_REFRESHED;
	}
	if (r != SETS_ADDED)
		return r;
	number = queue_take(t, &t->free);
	if (!number && t->used < t->capacity)
		number = t->used++;
	if (!number)
		return -ENOSPC;
	link_member(t, number, key, set, expires);
	return SETS_ADDED;
}

/* The member keeps what it says: a reader that stands on it goes on from there. */
static void unlink_member(struct sets_table *t, uint32_t *link)
{
	uint32_t number = *link;
	const struct dp_member *m = member_at(t, number);

	__atomic_store_n(link, m->next, __ATOMIC_RELEASE);
	mark_linked(t, number, false);
	sets_due_drop(&t->due, number);
	length_drop(t, m->what);
	queue_put(t, &t->resting, number);
	t->count[m->set]--;
	t->live--;
	t->stale++;
}

bool sets_table_del(struct sets_table *t, const struct sets_key *key, uint8_t set)
{
	struct found f = {};

	if (t->lines)
		f = search(t, key, set);
	if (f.link)
		unlink_member(t, f.link);
	return f.link;
}

uint32_t sets_table_find(const struct sets_table *t, const struct sets_key *key, uint8_t set)
{
	struct found f = {};

	if (t->lines)
		f = search(t, key, set);
	return f.link ? *f.link : 0;
}

uint32_t sets_table_next(const struct sets_table *t, uint32_t from, uint32_t to)
{
	if (to > t->used)
		to = t->used;
	for (uint32_t n = from; n < to; n++) {
		uint64_t rest = t->linked[n / BITS] >> (n % BITS);

		if (rest & 1)
			return n;
		if (!rest)
			n |= BITS - 1;
	}
	return 0;
}

const struct dp_member *sets_table_member(const struct sets_table *t, uint32_t number)
{
	return member_at(t, number);
}

struct sets_key sets_table_key(const struct sets_table *t, uint32_t number)
{
	const struct dp_member *m = member_at(t, number);
	struct sets_key key = { .what = m->what };

	memcpy(key.addr, m->addr, sizeof(key.addr));
	return key;
}

static void remove_number(struct sets_table *t, uint32_t number)
{
	struct sets_key key = sets_table_key(t, number);

	(void)sets_table_del(t, &key, (uint8_t)member_at(t, number)->set); /* it is linked */
}

uint32_t sets_table_expire(struct sets_table *t, uint32_t tick, uint32_t most)
{
	const struct sets_due_entry *first = sets_due_first(&t->due);
	uint32_t done = 0;

	for (; first && first->tick <= tick && done < most; done++) {
		remove_number(t, first->member);
		first = sets_due_first(&t->due);
	}
	return done;
}

void sets_table_purge(struct sets_table *t, uint64_t sets, uint32_t most, uint32_t *at)
{
	uint32_t end = t->used - *at > most ? *at + most : t->used;

	for (uint32_t n = *at; (n = sets_table_next(t, n, end)); n++) {
		if (sets >> member_at(t, n)->set & 1)
			remove_number(t, n);
	}
	*at = end;
}

uint32_t sets_table_room(const struct sets_table *t)
{
	return t->free.count + (t->capacity > t->used ? t->capacity - t->used : 0);
}

bool sets_table_rest(struct sets_table *t)
{
	queue_move(t, &t->waiting, &t->resting);
	return t->waiting.count;
}

void sets_table_settle(struct sets_table *t)
{
	queue_move(t, &t->free, &t->waiting);
}

/* ---- tables -------------------------------------------------------------------------------------- */

void sets_table_copy(const struct sets_table *t, struct dp_line *to, uint32_t capacity)
{
	struct dp_set_header header = header_of(capacity);
	uint32_t *heads = (uint32_t *)&to[header.head];

	memcpy(&to[0], &header, sizeof(header));
	for (uint32_t n = 1; (n = sets_table_next(t, n, t->used)); n++) {
		struct dp_member *m = member_in(to, header.members, n);
		uint32_t *head;

		*m = *member_at(t, n);
		head = &heads[(hash(t->ctl, m->addr, m->what) >> 32) & (header.heads - 1)];
		m->next = *head;
		*head = n;
	}
}

int sets_table_reserve(struct sets_table *t, uint32_t capacity)
{
	size_t old_words = t->linked ? t->capacity / BITS : 0, words = capacity / BITS;
	uint64_t *linked;
	uint32_t *next;

	linked = calloc(words, sizeof(*linked));
	if (!linked)
		return -ENOMEM;
	if (old_words)
		memcpy(linked, t->linked, old_words * sizeof(*linked));
	free(t->linked);
	t->linked = linked;
	next = reallocarray(t->next, capacity, sizeof(*next));
	if (!next)
		return -ENOMEM;
	t->next = next;
	return sets_due_reserve(&t->due, capacity);
}

static void use(struct sets_table *t, struct dp_line *lines, uint32_t capacity)
{
	struct dp_set_header header = header_of(capacity);

	t->lines = lines;
	t->heads = header.heads;
	t->head = header.head;
	t->members = header.members;
	t->capacity = capacity;
}

void sets_table_move(struct sets_table *t, struct dp_line *lines, uint32_t capacity)
{
	use(t, lines, capacity);
	(void)sets_table_rest(t); /* readers of the copy have met nothing that rests */
	sets_table_settle(t);
}

/* May the chain of this head go on with this number? */
static bool is_sound(const struct sets_table *t, uint32_t number, const uint32_t *head)
{
	const struct dp_member *m;

	if (number >= t->capacity || is_linked(t, number))
		return false;
	m = member_at(t, number);
	return m->set < DP_SETS && sets_key_is_valid(m->addr, m->what) &&
	       head_for(t, hash(t->ctl, m->addr, m->what)) == head;
}

static void adopt_member(struct sets_table *t, uint32_t number)
{
	const struct dp_member *m = member_at(t, number);

	mark_linked(t, number, true);
	if (number >= t->used)
		t->used = number + 1;
	if (m->expires)
		sets_due_put(&t->due, number, m->expires);
	t->lengths[sets_key_is_ipv6(m->what)][sets_key_length(m->what)]++;
	t->count[m->set]++;
	t->live++;
}

static uint32_t adopt_chains(struct sets_table *t)
{
	uint32_t *heads = (uint32_t *)&t->lines[t->head], cut = 0;

	for (uint32_t i = 0; i < t->heads; i++) {
		uint32_t *link = &heads[i], steps = 0;

		while (*link && steps++ < DP_SET_CHAIN && is_sound(t, *link, &heads[i])) {
			adopt_member(t, *link);
			link = &member_at(t, *link)->next;
		}
		if (*link) {
			__atomic_store_n(link, 0, __ATOMIC_RELEASE);
			cut++;
		}
	}
	return cut;
}

static void publish_lengths(struct sets_table *t)
{
	uint64_t words[2][3] = {};

	for (uint32_t v6 = 0; v6 < 2; v6++) {
		for (uint32_t len = 0; len <= 128; len++)
			words[v6][len / BITS] |= (uint64_t) !!t->lengths[v6][len] << (len % BITS);
	}
	__atomic_store_n(&t->ctl->set_lengths4, words[0][0], __ATOMIC_RELAXED);
	for (uint32_t i = 0; i < 3; i++)
		__atomic_store_n(&t->ctl->set_lengths6[i], words[1][i], __ATOMIC_RELAXED);
}

void sets_table_forget(struct sets_table *t)
{
	publish_lengths(t); /* nothing has been counted */
}

int sets_table_adopt(struct sets_table *t, struct dp_line *lines, uint32_t line_count,
		     uint32_t *ret_cut)
{
	struct dp_set_header found, header;
	int r;

	memcpy(&found, &lines[0], sizeof(found));
	if (found.capacity < SETS_MEMBERS_MIN || found.capacity > SETS_MEMBERS_MAX ||
	    found.capacity & (found.capacity - 1) || sets_table_lines(found.capacity) > line_count)
		return -EBADMSG;
	header = header_of(found.capacity);
	if (memcmp(&found, &header, sizeof(header)) != 0)
		return -EBADMSG;
	r = sets_table_reserve(t, found.capacity);
	if (r < 0)
		return r;
	use(t, lines, found.capacity);
	*ret_cut = adopt_chains(t);
	for (uint32_t n = 1; n < t->used; n++) {
		if (!is_linked(t, n))
			queue_put(t, &t->free, n);
	}
	publish_lengths(t);
	t->stale = 1; /* or more: nobody counted */
	return sets_table_refilter(t, UINT32_MAX) && !t->stale ? 0 : -ENOMEM;
}

/* ---- the filter ---------------------------------------------------------------------------------- */

bool sets_table_filter_is_stale(const struct sets_table *t)
{
	return t->stale > t->live + SETS_MEMBERS_MIN;
}

/*
 * A member's bits are all in one word, and the new word holds those of every member: a reader that meets
 * the old word or the new one finds each of them.
 */
static void publish_filter(struct sets_table *t)
{
	for (uint32_t i = 0; i < DP_FILTER_WORDS; i++) {
		if (t->filter->word[i] != t->fresh->word[i])
			__atomic_store_n(&t->filter->word[i], t->fresh->word[i], __ATOMIC_RELAXED);
	}
}

bool sets_table_refilter(struct sets_table *t, uint32_t most)
{
	uint32_t end;

	if (!t->fresh) {
		t->fresh = calloc(1, sizeof(*t->fresh));
		t->fresh_at = 1;
		if (!t->fresh)
			return true;
		t->stale = 0; /* what is unlinked from here on may leave bits in the new one, too */
	}
	end = t->used - t->fresh_at > most ? t->fresh_at + most : t->used;
	for (uint32_t n = t->fresh_at; (n = sets_table_next(t, n, end)); n++) {
		const struct dp_member *m = member_at(t, n);

		filter_add(t->fresh, hash(t->ctl, m->addr, m->what));
	}
	t->fresh_at = end;
	if (end < t->used)
		return false;
	publish_filter(t);
	free(t->fresh);
	t->fresh = NULL;
	return true;
}
