/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From slots and records to rows: each packet once, whichever way it is read. A plain sum of what was counted is the
 * reference. Rules out a ledger that counts a slot again when its record comes, one that misses a tuple that came and went
 * between two looks, and a row that goes while a slot is of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <netinet/in.h>

#include "telemetry/ledger.h"
#include "tests/lib/rng.h"

#define GROUPS 4
#define SLOTS  (GROUPS * DP_ACCOUNT_WAYS)
#define HOSTS  64
#define EPOCH  7
#define STEPS  20000
#define TICK   (1ull << DP_TICK_SHIFT)

static struct dp_account_group groups[GROUPS];
static struct dp_record ring[STEPS];
static size_t ring_head, ring_tail;
static struct dp_count truth[HOSTS];
static uint32_t tick;

static struct dp_account *slot_at(uint32_t slot)
{
	return &groups[slot / DP_ACCOUNT_WAYS].way[slot % DP_ACCOUNT_WAYS];
}

static struct dp_birth *birth_at(uint32_t slot)
{
	return &groups[slot / DP_ACCOUNT_WAYS].birth[slot % DP_ACCOUNT_WAYS];
}

static struct dp_account tuple(uint32_t host, bool back, uint8_t proto, uint8_t flags)
{
	struct dp_account a = { .src = { 10 }, .dst = { 20 }, .seen = tick };
	uint32_t port = 1000 + host;

	if (back) {
		a.src[0] = 20;
		a.dst[0] = 10;
	}
	a.sport = (uint16_t)(back ? 80 : port);
	a.dport = (uint16_t)(back ? port : 80);
	a.decided = DP_DECIDED(DP_REASON_RULE_PASS, 1, 1);
	a.packets = (uint64_t)flags << DP_ACCOUNT_FLAGS_SHIFT;
	a.bytes = (uint64_t)proto << DP_ACCOUNT_PROTO_SHIFT;
	return a;
}

static bool same(const struct dp_account *a, const struct dp_account *b)
{
	return !memcmp(a->src, b->src, 32) && a->sport == b->sport && a->dport == b->dport;
}

/* As the program does it: into its slot, which it takes from another tuple, whose record goes to the ring. */
static void packet(uint32_t slot, uint32_t host, bool back, uint32_t bytes)
{
	struct dp_account *a = slot_at(slot), t = tuple(host, back, IPPROTO_UDP, 0);
	struct dp_birth *b = birth_at(slot);

	if (!a->packets || !same(a, &t)) {
		if (a->packets)
			ring[ring_head++] = (struct dp_record){ *a, *b, slot, 0 };
		*a = t;
		b->generation++;
		b->first_ns = tick * TICK;
	}
	a->packets += 1;
	a->bytes += bytes;
	a->seen = tick;
	truth[host].packets++;
	truth[host].bytes += bytes;
}

static void read_ring(struct ledger *l, struct store *s, size_t most)
{
	while (ring_tail < ring_head && most--)
		assert_true(ledger_record(l, s, &ring[ring_tail++]));
}

static void compare(const struct store *s)
{
	struct dp_count found[HOSTS] = {};

	for (const struct store_flow *f = NULL; (f = store_next(s, f));) {
		uint16_t port = f->from.port == 80 ? f->to.port : f->from.port;

		for (int d = 0; d < STORE_DIRECTIONS; d++) {
			found[port - 1000].packets += f->way[d].packets;
			found[port - 1000].bytes += f->way[d].bytes;
		}
	}
	assert_memory_equal(found, truth, sizeof(truth));
}

static void begin(void)
{
	memset(groups, 0, sizeof(groups));
	memset(truth, 0, sizeof(truth));
	ring_head = ring_tail = 0;
	tick = 1000;
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		birth_at(slot)->epoch = EPOCH;
}

/* The ring is read late and in pieces, slots are looked at now and then, in any order. */
static void each_packet_is_counted_once(void **state)
{
	struct rng rng = rng_seeded("store");
	struct store *s = NULL;
	struct ledger *l = NULL;
	struct ledger_totals t;

	(void)state;
	begin();
	assert_int_equal(store_new(&s, HOSTS), 0);
	assert_int_equal(ledger_new(&l, groups, GROUPS, EPOCH), 0);
	for (int i = 0; i < STEPS; i++) {
		uint32_t host = (uint32_t)rng_below(&rng, HOSTS);

		tick += !rng_below(&rng, 20);
		packet((uint32_t)rng_below(&rng, SLOTS), host, rng_below(&rng, 2),
		       60 + (uint32_t)rng_below(&rng, 1400));
		if (!rng_below(&rng, 7))
			ledger_scan(l, s, (uint32_t)rng_below(&rng, SLOTS),
				    (uint32_t)rng_below(&rng, SLOTS));
		if (!rng_below(&rng, 5))
			read_ring(l, s, rng_below(&rng, 8));
	}
	read_ring(l, s, STEPS);
	ledger_scan(l, s, 0, SLOTS);
	compare(s);
	t = ledger_totals(l);
	assert_int_equal(t.cached.packets + t.recorded.packets, STEPS);
	assert_int_equal(t.used, SLOTS);
	assert_int_equal(store_totals(s).rows, HOSTS);
	assert_int_equal(store_totals(s).kept.packets, STEPS);
	ledger_free(&l, s);
	store_free(&s);
}

/* Few rows: those without a slot give way, oldest first, into a sum; none that a slot is of. */
static void rows_give_way(void **state)
{
	struct store *s = NULL;
	struct ledger *l = NULL;
	struct store_totals t;

	(void)state;
	begin();
	assert_int_equal(store_new(&s, 4), 0);
	assert_int_equal(ledger_new(&l, groups, GROUPS, EPOCH), 0);
	for (uint32_t host = 0; host < HOSTS; host++) {
		tick++;
		packet(host % 2, host, false, 100);
		ledger_scan(l, s, 0, SLOTS);
		read_ring(l, s, 1);
		ledger_scan(l, s, 0, SLOTS);
	}
	t = store_totals(s);
	assert_in_range(t.rows, 2, 4);
	assert_int_equal(t.forgotten, HOSTS - t.rows);
	assert_int_equal(t.kept.packets + t.gone.packets, HOSTS);
	assert_int_equal(t.kept.bytes + t.gone.bytes, HOSTS * 100);
	ledger_free(&l, s);
	store_resize(s, 1);
	assert_int_equal(store_totals(s).rows, 1);
	store_free(&s);
}

static void other_maps_are_not_ours(void **state)
{
	struct dp_record r = { .birth = { .epoch = EPOCH + 1 } };
	struct store *s = NULL;
	struct ledger *l = NULL;

	(void)state;
	begin();
	assert_int_equal(store_new(&s, 4), 0);
	assert_int_equal(ledger_new(&l, groups, GROUPS, EPOCH), 0);
	assert_false(ledger_record(l, s, &r));
	r.birth.epoch = EPOCH;
	r.slot = SLOTS;
	assert_false(ledger_record(l, s, &r));
	ledger_free(&l, s);
	store_free(&s);
}

/* ---- who began ---------------------------------------------------------------------------------------- */

static struct store_flow *counted(struct store *s, struct dp_account a, uint64_t first_ns,
				  uint64_t second_ns)
{
	const struct dp_birth b = { .first_ns = first_ns, .second_ns = second_ns };
	struct store_flow *f = store_count(s, &a, &b, 1, 60);

	store_release(s, f);
	return f;
}

/* The answer may be read first: who sent the SYN began, else who was first. */
static void who_began_is_known(void **state)
{
	struct store *s = NULL;
	struct store_flow *f;

	(void)state;
	assert_int_equal(store_new(&s, 16), 0);
	f = counted(s, tuple(1, true, IPPROTO_TCP, 0x12), 5000, 0); /* SYN and ACK */
	assert_int_equal(f->from.port, 80);
	f = counted(s, tuple(1, false, IPPROTO_TCP, 0x12), 4000, 9000); /* a SYN, then ACKs */
	assert_int_equal(f->from.port, 1001);
	assert_int_equal(f->way[STORE_FORTH].packets, 1);
	assert_int_equal(store_handshake_ns(f), 5000);
	f = counted(s, tuple(2, true, IPPROTO_UDP, 0), 5000, 0);
	f = counted(s, tuple(2, false, IPPROTO_UDP, 0), 6000, 0);
	assert_int_equal(f->from.port, 80);
	assert_int_equal(store_handshake_ns(f), 0);
	store_free(&s);
}

static void the_newest_come_first(void **state)
{
	struct rng rng = rng_seeded("newest");
	const struct store_flow *rows[HOSTS];
	struct store *s = NULL;

	(void)state;
	assert_int_equal(store_new(&s, HOSTS), 0);
	for (uint32_t host = 0; host < HOSTS; host++) {
		tick = 1 + (uint32_t)rng_below(&rng, 1000);
		(void)counted(s, tuple(host, false, IPPROTO_UDP, 0), 1, 0);
	}
	for (size_t most = 0; most <= HOSTS; most++) {
		uint64_t newer = 0;

		assert_int_equal(store_newest(s, rows, most), most);
		for (size_t i = 1; i < most; i++)
			assert_true(rows[i]->last_ns <= rows[i - 1]->last_ns);
		for (const struct store_flow *f = NULL; most && (f = store_next(s, f));)
			newer += f->last_ns > rows[most - 1]->last_ns;
		assert_true(newer < most || !most);
	}
	store_free(&s);
}

/* A row is looked for in about one place, however many there may be. Rules out buckets for the first size alone. */
static void buckets_follow_the_size(void **state)
{
	static const size_t sizes[] = { 1, 1 << 20, 5000 };
	struct store_flow *rows[HOSTS];
	struct store *s = NULL;

	(void)state;
	assert_int_equal(store_new(&s, HOSTS), 0);
	for (uint32_t host = 0; host < HOSTS; host++) {
		const struct dp_account a = tuple(host, false, IPPROTO_UDP, 0);
		const struct dp_birth b = { .first_ns = 1 };

		rows[host] = store_count(s, &a, &b, 1, 60); /* held: none gives way */
	}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		store_resize(s, sizes[i]);
		assert_in_range(store_totals(s).bytes, sizes[i] * sizeof(void *),
				2 * sizes[i] * sizeof(void *) + 65536);
		for (uint32_t host = 0; host < HOSTS; host++)
			assert_ptr_equal(counted(s, tuple(host, true, IPPROTO_UDP, 0), 2, 0),
					 rows[host]);
	}
	for (uint32_t host = 0; host < HOSTS; host++)
		store_release(s, rows[host]);
	store_resize(s, 1);
	assert_int_equal(store_totals(s).rows, 1);
	assert_int_equal(store_totals(s).gone.packets, 4 * (HOSTS - 1));
	store_free(&s);
}

/* Pages of each size together have every row once, though packets come between them. Rules out places in a list. */
static void a_walk_meets_each_row_once(void **state)
{
	struct store_flow page[HOSTS];
	struct store *s = NULL;

	(void)state;
	assert_int_equal(store_new(&s, HOSTS), 0);
	for (uint32_t host = 0; host < HOSTS; host++)
		(void)counted(s, tuple(host, false, IPPROTO_UDP, 0), 1, 0);
	for (size_t most = 1; most <= HOSTS; most++) {
		uint64_t met = 0, at = 0;

		do {
			size_t count = store_walk(s, &at, page, most);

			for (size_t i = 0; i < count; i++) {
				assert_false(met >> (page[i].from.port - 1000) & 1);
				met |= 1ull << (page[i].from.port - 1000);
			}
			(void)counted(s, tuple(most % HOSTS, false, IPPROTO_UDP, 0), 1, 0);
		} while (at);
		assert_int_equal(met, UINT64_MAX);
	}
	for (uint64_t at = UINT64_MAX - 1; at; at >>= 1) {
		uint64_t place = at;

		assert_in_range(store_walk(s, &place, page, 3), 0, 3);
	}
	store_free(&s);
}

/* An echo and its answer are one row, two askers with one identifier are two. */
static void an_echo_is_a_conversation(void **state)
{
	struct dp_account ask = {
		.src = { 10 }, .dst = { 20 }, .sport = 77, .dport = 8 << 8, .seen = 5
	};
	struct dp_account answer = {
		.src = { 20 }, .dst = { 10 }, .sport = 77, .dport = 0, .seen = 6
	};
	struct store *s = NULL;
	struct store_flow *f;

	(void)state;
	ask.bytes = answer.bytes = (uint64_t)IPPROTO_ICMP << DP_ACCOUNT_PROTO_SHIFT;
	assert_int_equal(store_new(&s, 16), 0);
	f = counted(s, ask, 10, 0);
	assert_ptr_equal(counted(s, answer, 20, 0), f);
	assert_int_equal(f->from.addr[0], 10);
	ask.src[0] = 11;
	assert_ptr_not_equal(counted(s, ask, 30, 0), f);
	store_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_packet_is_counted_once),
		cmocka_unit_test(rows_give_way),
		cmocka_unit_test(other_maps_are_not_ours),
		cmocka_unit_test(who_began_is_known),
		cmocka_unit_test(the_newest_come_first),
		cmocka_unit_test(a_walk_meets_each_row_once),
		cmocka_unit_test(buckets_follow_the_size),
		cmocka_unit_test(an_echo_is_a_conversation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
