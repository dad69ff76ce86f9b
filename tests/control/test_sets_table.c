/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of run-time members on plain memory: against a list that is searched from end to end, under a
 * reader that follows it as packets do, and after writers that were killed. Rules out a writer that links before
 * it has filled in, hands a number out while a reader stands on it, loses bits when it builds the filter anew,
 * or takes an older prefix for a newer one of another length.
 */
#include "lib/sets_reader.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/sets_table.h"
#include "tests/lib/rng.h"

#define SETS_USED 5

static struct dp_ctl *ctl;
static struct dp_filter *filter;
static struct dp_line *lines; /* the slot of set_table */

static const struct sets_reader *reader(void)
{
	static struct sets_reader r;

	r = (struct sets_reader){ ctl, filter, &lines };
	return &r;
}

static void *shared(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(at, MAP_FAILED);
	return at;
}

static size_t bytes_of(uint32_t capacity)
{
	return (size_t)sets_table_lines(capacity) * sizeof(struct dp_line);
}

static int make_maps(void **state)
{
	struct rng rng = { 7 };

	(void)state;
	ctl = shared(sizeof(*ctl));
	filter = shared(sizeof(*filter));
	for (int i = 0; i < DP_HASH_KEYS; i++)
		ctl->hash_key[i] = rng_next(&rng);
	return 0;
}

static int drop_maps(void **state)
{
	(void)state;
	if (lines)
		(void)munmap(lines, bytes_of(((struct dp_set_header *)lines)->capacity));
	(void)munmap(ctl, sizeof(*ctl));
	(void)munmap(filter, sizeof(*filter));
	lines = NULL;
	return 0;
}

/* As the daemon grows: a copy, the slot, and nobody reads the old one when it goes. */
static void grow(struct sets_table *t, uint32_t capacity, void (*wait)(void))
{
	struct dp_line *old = lines, *to = shared(bytes_of(capacity));
	uint32_t had = t->capacity;

	assert_int_equal(sets_table_reserve(t, capacity), 0);
	sets_table_copy(t, to, capacity);
	__atomic_store_n(&lines, to, __ATOMIC_RELEASE);
	wait();
	sets_table_move(t, to, capacity);
	if (old)
		assert_int_equal(munmap(old, bytes_of(had)), 0);
}

static void nobody(void)
{
}

static struct sets_table fresh(uint32_t capacity)
{
	struct sets_table t;

	sets_table_init(&t, ctl, filter);
	grow(&t, capacity, nobody);
	return t;
}

/* What a new daemon does. The number of cuts. */
static uint32_t adopt(struct sets_table *t)
{
	uint32_t cut = 0,
		 count = lines ? sets_table_lines(((struct dp_set_header *)lines)->capacity) : 0;

	sets_table_init(t, ctl, filter);
	assert_int_equal(sets_table_adopt(t, lines, count, &cut), 0);
	return cut;
}

/* ---- a list of members, and random prefixes that nest ---------------------------------------------- */

struct model_member {
	struct prefix prefix;
	uint8_t set;
	uint32_t expires;
};

#define MODEL_MOST 3000

struct list {
	struct model_member at[MODEL_MOST];
	uint32_t count, tick;
};

static struct prefix random_prefix(struct rng *rng)
{
	static const uint8_t lengths4[] = { 0, 8, 24, 31, 32, 32, 32, 32 };
	static const uint8_t lengths6[] = { 0, 32, 63, 64, 65, 127, 128, 128 };
	struct prefix p = { .family = rng_below(rng, 2) ? ADDR_IPV4 : ADDR_IPV6 };
	bool v6 = p.family == ADDR_IPV6;
	/* Addresses that differ in few bits, so that prefixes cover one another. */
	u128 addr = (u128)rng_below(rng, 64) << (v6 ? 100 : 24) | rng_below(rng, 16) << 8 |
		    rng_below(rng, 8);

	p.len = v6 ? lengths6[rng_below(rng, 8)] : lengths4[rng_below(rng, 8)];
	p.addr = sets_reader_mask(addr, v6 ? 128 : 32, p.len);
	return p;
}

static struct model_member *list_find(struct list *l, const struct prefix *p, uint8_t set)
{
	for (uint32_t i = 0; i < l->count; i++) {
		const struct prefix *have = &l->at[i].prefix;

		if (l->at[i].set == set && have->family == p->family && have->len == p->len &&
		    have->addr == p->addr)
			return &l->at[i];
	}
	return NULL;
}

static bool covers(const struct prefix *p, enum addr_family family, u128 addr)
{
	unsigned int bits = family == ADDR_IPV6 ? 128 : 32;

	return p->family == family && sets_reader_mask(addr, bits, p->len) == p->addr;
}

static uint64_t list_ask(const struct list *l, enum addr_family family, u128 addr)
{
	uint64_t sets = 0;

	for (uint32_t i = 0; i < l->count; i++) {
		const struct model_member *m = &l->at[i];

		if ((!m->expires || l->tick < m->expires) && covers(&m->prefix, family, addr))
			sets |= 1ull << m->set;
	}
	return sets;
}

static void list_drop(struct list *l, struct model_member *m)
{
	*m = l->at[--l->count];
}

static void list_expire(struct list *l)
{
	for (uint32_t i = 0; i < l->count; i++) {
		if (l->at[i].expires && l->at[i].expires <= l->tick)
			list_drop(l, &l->at[i--]);
	}
}

static void list_purge(struct list *l, uint8_t set)
{
	for (uint32_t i = 0; i < l->count; i++) {
		if (l->at[i].set == set)
			list_drop(l, &l->at[i--]);
	}
}

/* ---- the same steps for both ------------------------------------------------------------------------ */

static void add_both(struct sets_table *t, struct list *l, struct rng *rng)
{
	struct prefix p = random_prefix(rng);
	uint8_t set = (uint8_t)rng_below(rng, SETS_USED);
	uint32_t expires = rng_below(rng, 3) ? l->tick + 1 + (uint32_t)rng_below(rng, 40) : 0;
	struct model_member *m = list_find(l, &p, set);
	struct sets_key key = sets_key_of(&p);
	int r = sets_table_add(t, &key, set, expires);

	if (r == -ENOSPC || r == -E2BIG) {
		if (sets_table_rest(t))
			sets_table_settle(t);
		if (r == -E2BIG || !sets_table_room(t))
			grow(t, t->capacity * 2, nobody);
		r = sets_table_add(t, &key, set, expires);
	}
	assert_int_equal(r, m ? SETS_REFRESHED : SETS_ADDED);
	if (m) {
		m->expires = expires;
		return;
	}
	assert_true(l->count < MODEL_MOST);
	l->at[l->count++] = (struct model_member){ p, set, expires };
}

static void del_both(struct sets_table *t, struct list *l, struct rng *rng)
{
	struct prefix p = random_prefix(rng);
	uint8_t set = (uint8_t)rng_below(rng, SETS_USED);
	struct model_member *m = list_find(l, &p, set);
	struct sets_key key = sets_key_of(&p);

	assert_int_equal(sets_table_find(t, &key, set) != 0, m != NULL);
	assert_int_equal(sets_table_del(t, &key, set), m != NULL);
	if (m)
		list_drop(l, m);
}

static void expire_both(struct sets_table *t, struct list *l)
{
	while (sets_table_expire(t, l->tick, 7) == 7)
		continue;
	list_expire(l);
}

static void purge_both(struct sets_table *t, struct list *l, uint8_t set)
{
	uint32_t at = 1;

	while (at < t->used)
		sets_table_purge(t, 1ull << set, 10, &at);
	list_purge(l, set);
}

static void compare(const struct sets_table *t, struct list *l, struct rng *rng)
{
	uint32_t count[DP_SETS] = {};

	for (uint32_t i = 0; i < l->count; i++)
		count[l->at[i].set]++;
	assert_int_equal(t->live, l->count);
	assert_memory_equal(t->count, count, sizeof(count));
	for (int i = 0; i < 200; i++) {
		struct prefix p = random_prefix(rng);
		bool v6 = p.family == ADDR_IPV6;
		uint64_t want = list_ask(l, p.family, p.addr);

		if (sets_reader_ask(reader(), v6, p.addr, l->tick) != want)
			fail_msg("IPv%d, length %d: %" PRIx64 " instead of %" PRIx64, v6 ? 6 : 4,
				 p.len, sets_reader_ask(reader(), v6, p.addr, l->tick), want);
	}
}

static void agrees_with_a_list(void **state)
{
	struct rng rng = rng_seeded("agrees_with_a_list");
	struct sets_table t = fresh(SETS_MEMBERS_MIN);
	static struct list l;

	(void)state;
	l = (struct list){ .tick = 1000 };
	for (int round = 0; round < 400; round++) {
		for (int i = 0; i < 100; i++) {
			if (rng_below(&rng, 3))
				add_both(&t, &l, &rng);
			else
				del_both(&t, &l, &rng);
		}
		l.tick += (uint32_t)rng_below(&rng, 20);
		compare(&t, &l, &rng); /* what has expired counts no more, unlinked or not */
		if (rng_below(&rng, 2))
			expire_both(&t, &l);
		if (!rng_below(&rng, 10))
			purge_both(&t, &l, (uint8_t)rng_below(&rng, SETS_USED));
		if (!rng_below(&rng, 5))
			while (!sets_table_refilter(&t, 50))
				add_both(&t, &l, &rng);
		if (!rng_below(&rng, 20)) {
			sets_table_done(&t);
			assert_int_equal(adopt(&t), 0);
		}
		compare(&t, &l, &rng);
	}
	sets_table_done(&t);
}

/* ---- a reader that never stops ---------------------------------------------------------------------- */

#define STABLE 2000 /* members that are there all the time */
#define CHURN  2000 /* others, which come and go */

static atomic_bool over;
static atomic_uint looked; /* complete looks of the reader */

static struct prefix numbered_prefix(uint32_t n, bool stable)
{
	if (n % 3)
		return (struct prefix){ ADDR_IPV4, 32, (stable ? 0x0a000000 : 0x0b000000) + n };
	return (struct prefix){ ADDR_IPV6, 64,
				(u128)((stable ? 0x20010db8ull : 0x20010db9ull) << 32 | n) << 64 };
}

static void *read_on(void *ctx)
{
	(void)ctx;
	while (!over) {
		for (uint32_t n = 0; n < STABLE; n += 1 + n % 7) {
			struct prefix p = numbered_prefix(n, true);

			if (sets_reader_ask(reader(), p.family == ADDR_IPV6, p.addr | (p.len == 64),
					    1) != 1)
				fail_msg("member %u is not there", n);
			p = numbered_prefix(n % CHURN, false);
			/* There or not, but never in a set it was not put into. */
			if (sets_reader_ask(reader(), p.family == ADDR_IPV6, p.addr, 1) &
			    ~(2ull << n % 3))
				fail_msg("member %u is in a foreign set", n);
		}
		looked++;
	}
	return NULL;
}

/* Whoever looks now will have finished. */
static void grace(void)
{
	unsigned int from = looked;

	while (looked < from + 2)
		sched_yield();
}

static void churn(struct sets_table *t, struct rng *rng)
{
	uint32_t n = (uint32_t)rng_below(rng, CHURN);
	struct prefix p = numbered_prefix(n, false);
	struct sets_key key = sets_key_of(&p);
	int r;

	if (sets_table_del(t, &key, 1 + n % 3))
		return;
	r = sets_table_add(t, &key, 1 + n % 3, 0);
	if (r == -ENOSPC) {
		assert_true(sets_table_rest(t));
		grace();
		sets_table_settle(t);
		r = sets_table_add(t, &key, 1 + n % 3, 0);
	}
	assert_int_equal(r, SETS_ADDED);
}

static void readers_lose_nothing(void **state)
{
	struct rng rng = rng_seeded("readers_lose_nothing");
	struct sets_table t = fresh(4096);
	pthread_t thread;

	(void)state;
	over = false;
	for (uint32_t n = 0; n < STABLE; n++) {
		struct prefix p = numbered_prefix(n, true);
		struct sets_key key = sets_key_of(&p);

		assert_int_equal(sets_table_add(&t, &key, 0, 0), SETS_ADDED);
	}
	assert_int_equal(pthread_create(&thread, NULL, read_on, NULL), 0);
	for (int round = 0; round < 60; round++) {
		for (int i = 0; i < 3000; i++)
			churn(&t, &rng);
		while (!sets_table_refilter(&t, 100))
			churn(&t, &rng);
		if (round % 20 == 10)
			grow(&t, t.capacity * 2, grace);
	}
	over = true;
	pthread_join(thread, NULL);
	sets_table_done(&t);
}

/* ---- writers that are killed ------------------------------------------------------------------------ */

struct step {
	struct prefix prefix;
	uint8_t set;
	bool add;
};

static struct step next_step(struct rng *rng)
{
	struct step s = { .prefix = random_prefix(rng),
			  .set = (uint8_t)rng_below(rng, SETS_USED),
			  .add = rng_below(rng, 2) };

	return s;
}

#define KILL_STEPS 1900 /* as many as surely fit */

/* Until it is killed; *done counts the steps that are over. */
static void write_on(struct rng rng, _Atomic uint32_t *done)
{
	struct sets_table t;
	uint32_t cut;

	sets_table_init(&t, ctl, filter);
	if (sets_table_adopt(&t, lines, UINT32_MAX, &cut) || cut)
		_exit(1);
	for (;;) {
		struct step s = next_step(&rng);
		struct sets_key key = sets_key_of(&s.prefix);

		if (!s.add)
			(void)sets_table_del(&t, &key, s.set);
		else if (sets_table_add(&t, &key, s.set, 0) < 0)
			_exit(2);
		if (sets_table_rest(&t))
			sets_table_settle(&t); /* nobody reads here */
		if (++*done == KILL_STEPS)
			(void)pause();
	}
}

static void replay(struct list *l, struct rng rng, uint32_t steps)
{
	for (uint32_t i = 0; i < steps; i++) {
		struct step s = next_step(&rng);
		struct model_member *m = list_find(l, &s.prefix, s.set);

		if (s.add && !m)
			l->at[l->count++] = (struct model_member){ s.prefix, s.set, 0 };
		else if (!s.add && m)
			list_drop(l, m);
	}
}

/* All that was finished is there; of what was not, all or nothing. */
static void check_survivor(const struct list *before, struct rng rng, uint32_t done)
{
	static struct list l;
	struct sets_table t;
	struct step s;
	bool half;

	l = *before;
	assert_int_equal(adopt(&t), 0);
	replay(&l, rng, done);
	for (uint32_t i = 0; i < done; i++)
		(void)next_step(&rng);
	s = next_step(&rng);
	half = t.live != l.count;
	if (half)
		assert_int_equal((int)t.live - (int)l.count, s.add ? 1 : -1);
	if (half && s.add)
		l.at[l.count++] = (struct model_member){ s.prefix, s.set, 0 };
	else if (half)
		list_drop(&l, list_find(&l, &s.prefix, s.set));
	compare(&t, &l, &rng);
	sets_table_done(&t);
}

static void killed_writers_leave_a_whole_table(void **state)
{
	struct rng rng = rng_seeded("killed_writers_leave_a_whole_table");
	_Atomic uint32_t *done = shared(sizeof(*done));
	static struct list l;
	struct sets_table t = fresh(2 * SETS_MEMBERS_MIN);

	(void)state;
	sets_table_done(&t);
	for (int round = 0; round < 60; round++) {
		struct rng theirs = { rng_next(&rng) };
		uint32_t most = (uint32_t)rng_below(&rng, KILL_STEPS);
		int status;
		pid_t pid;

		l.count = 0;
		adopt(&t);
		for (uint32_t set = 0; set < SETS_USED; set++)
			purge_both(&t, &l, (uint8_t)set);
		sets_table_done(&t);
		*done = 0;
		pid = fork();
		if (!pid)
			write_on(theirs, done);
		while (*done < most)
			sched_yield();
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		check_survivor(&l, theirs, *done);
	}
	(void)munmap((void *)done, sizeof(*done));
}

/* ---- damage and limits ------------------------------------------------------------------------------ */

static struct sets_key address(uint32_t n)
{
	struct prefix p = { ADDR_IPV4, 32, 0xc0000000 + n };

	return sets_key_of(&p);
}

static struct dp_member *raw(const struct sets_table *t, uint32_t number)
{
	return (struct dp_member *)sets_table_member(t, number);
}

static void self_loop(struct dp_member *m, uint32_t number)
{
	m->next = number;
}

static void far_number(struct dp_member *m, uint32_t number)
{
	(void)number;
	m->next = SETS_MEMBERS_MIN;
}

static void foreign_set(struct dp_member *m, uint32_t number)
{
	(void)number;
	m->set = DP_SETS;
}

static void host_bits(struct dp_member *m, uint32_t number)
{
	(void)number;
	m->what = DP_MEMBER(0, 8);
}

static void wrong_chain(struct dp_member *m, uint32_t number)
{
	(void)number;
	m->addr[0] ^= 1;
}

static void no_family(struct dp_member *m, uint32_t number)
{
	(void)number;
	m->what = 2 << 8 | 32;
}

/* What cannot be a member is cut off, with what hangs on it; all else stays. */
static void damage_is_cut_out(void **state)
{
	static void (*const damages[])(struct dp_member *, uint32_t) = {
		self_loop, far_number, foreign_set, host_bits, wrong_chain, no_family,
	};
	struct sets_key key;

	(void)state;
	for (size_t i = 0; i < sizeof(damages) / sizeof(*damages); i++) {
		struct sets_table t = fresh(SETS_MEMBERS_MIN);
		uint32_t number, kept;

		for (uint32_t n = 0; n < 100; n++) {
			key = address(n);
			assert_int_equal(sets_table_add(&t, &key, 3, 0), SETS_ADDED);
		}
		key = address(42);
		number = sets_table_find(&t, &key, 3);
		damages[i](raw(&t, number), number);
		sets_table_done(&t);
		assert_int_equal(adopt(&t), 1);
		kept = t.live;
		assert_in_range(kept, 100 - DP_SET_CHAIN, 100);
		sets_table_done(&t);
		assert_int_equal(adopt(&t), 0);
		assert_int_equal(t.live, kept);
		sets_table_done(&t);
	}
}

static void strange_tables_are_refused(void **state)
{
	struct sets_table t = fresh(SETS_MEMBERS_MIN);
	uint32_t cut, count = sets_table_lines(SETS_MEMBERS_MIN);

	(void)state;
	sets_table_done(&t);
	sets_table_init(&t, ctl, filter);
	assert_int_equal(sets_table_adopt(&t, lines, count - 1, &cut), -EBADMSG);
	for (uint32_t word = 0; word < DP_LINE_WORDS; word++) {
		lines[0].word[word] ^= 1u << 20;
		assert_int_equal(sets_table_adopt(&t, lines, count, &cut), -EBADMSG);
		lines[0].word[word] ^= 1u << 20;
	}
	sets_table_done(&t);
}

static void a_full_table_says_so(void **state)
{
	struct sets_table t = fresh(SETS_MEMBERS_MIN);
	struct sets_key key;

	(void)state;
	for (uint32_t n = 0; n < SETS_MEMBERS_MIN - 1; n++) {
		key = address(n);
		assert_int_equal(sets_table_add(&t, &key, 0, 0), SETS_ADDED);
	}
	key = address(SETS_MEMBERS_MIN);
	assert_int_equal(sets_table_room(&t), 0);
	assert_int_equal(sets_table_add(&t, &key, 0, 0), -ENOSPC);
	key = address(5);
	assert_int_equal(sets_table_add(&t, &key, 0, 9), SETS_REFRESHED);
	assert_true(sets_table_del(&t, &key, 0));
	/* It rests: a reader may still stand on it. */
	assert_int_equal(sets_table_add(&t, &key, 0, 0), -ENOSPC);
	assert_true(sets_table_rest(&t));
	assert_int_equal(sets_table_add(&t, &key, 0, 0), -ENOSPC);
	sets_table_settle(&t);
	assert_int_equal(sets_table_add(&t, &key, 0, 0), SETS_ADDED);
	assert_int_equal(sets_table_capacity(SETS_MEMBERS_MIN - 1), SETS_MEMBERS_MIN);
	assert_int_equal(sets_table_capacity(SETS_MEMBERS_MIN), 2 * SETS_MEMBERS_MIN);
	assert_int_equal(sets_table_capacity(SETS_MEMBERS_MAX - 1), SETS_MEMBERS_MAX);
	assert_int_equal(sets_table_capacity(SETS_MEMBERS_MAX), 0);
	sets_table_done(&t);
}

/* Equal hashes: a larger table cannot part them, so their number is bounded before the chain is full. */
static void a_prefix_is_in_a_bounded_number_of_sets(void **state)
{
	struct sets_table t = fresh(SETS_MEMBERS_MIN);
	struct sets_key key = address(1);

	(void)state;
	for (uint8_t set = 0; set < SETS_PER_PREFIX; set++)
		assert_int_equal(sets_table_add(&t, &key, set, 0), SETS_ADDED);
	assert_int_equal(sets_table_add(&t, &key, DP_SETS - 1, 0), -EMLINK);
	assert_int_equal(sets_reader_ask(reader(), false, key.addr[0], 1),
			 (1 << SETS_PER_PREFIX) - 1);
	assert_true(sets_table_del(&t, &key, 3));
	assert_int_equal(sets_table_add(&t, &key, DP_SETS - 1, 0), SETS_ADDED);
	sets_table_done(&t);
}

/* Strangers in one chain: refused at its limit, room in a larger table. */
static void a_full_chain_asks_for_a_larger_table(void **state)
{
	struct sets_table t = fresh(SETS_MEMBERS_MIN);
	uint32_t in_chain = 0, n = 0;
	struct sets_key key;
	int r = SETS_ADDED;

	(void)state;
	for (; in_chain <= DP_SET_CHAIN; n++) {
		key = address(n);
		if ((dp_member_hash4(ctl->hash_key, key.addr[0], key.what) >> 32) % t.heads)
			continue;
		r = sets_table_add(&t, &key, 0, 0);
		in_chain++;
	}
	assert_int_equal(r, -E2BIG);
	assert_int_equal(t.live, DP_SET_CHAIN);
	grow(&t, 2 * t.capacity, nobody);
	assert_int_equal(sets_table_add(&t, &key, 0, 0), SETS_ADDED);
	assert_int_equal(sets_reader_ask(reader(), false, key.addr[0], 1), 1);
	sets_table_done(&t);
}

/* The filter forgets those that are gone, or every packet would look into the table in the end. */
static void the_filter_is_kept_sparse(void **state)
{
	struct sets_table t = fresh(SETS_MEMBERS_MIN);
	struct sets_key key;
	uint32_t bits = 0;

	(void)state;
	for (uint32_t n = 0; n < 400000; n++) {
		key = address(n);
		assert_int_equal(sets_table_add(&t, &key, 0, 0), SETS_ADDED);
		if (n >= 10) {
			key = address(n - 10);
			assert_true(sets_table_del(&t, &key, 0));
		}
		if (sets_table_rest(&t))
			sets_table_settle(&t);
		if (sets_table_filter_is_stale(&t))
			assert_true(sets_table_refilter(&t, UINT32_MAX));
	}
	for (uint32_t i = 0; i < DP_FILTER_WORDS; i++)
		bits += (uint32_t)__builtin_popcountll(filter->word[i]);
	assert_in_range(bits, 10, 4 * 4 * SETS_MEMBERS_MIN);
	sets_table_done(&t);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_maps, drop_maps)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(agrees_with_a_list),
		CASE(readers_lose_nothing),
		CASE(killed_writers_leave_a_whole_table),
		CASE(damage_is_cut_out),
		CASE(strange_tables_are_refused),
		CASE(a_full_table_says_so),
		CASE(a_prefix_is_in_a_bounded_number_of_sets),
		CASE(a_full_chain_asks_for_a_larger_table),
		CASE(the_filter_is_kept_sparse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
