/* SPDX-License-Identifier: Apache-2.0 */
/* Flows that the daemon puts among those of packets: their names, their slots, and who counts as live. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/flows.h"

#define SLOTS 1024u
#define NOW   1000000u

static const __u64 odd_keys[DP_HASH_KEYS] = {
	0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb, 0xd6e8feb86659fd93,
	0xa0761d6478bd642f, 0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3, 0x589965cc75374cc3,
	0x1d8e4e27c47d124f, 0xeb44accab455d165, 0x9fb21c651e98df25, 0x2545f4914f6cdd1d,
};
static const __u64 no_keys[DP_HASH_KEYS]; /* every flow begins at slot 0 */

static struct dp_flow table[SLOTS];

static int clear(void **state)
{
	(void)state;
	memset(table, 0, sizeof(table));
	return 0;
}

static struct flows_entry tcp4(uint32_t from, uint16_t sport, uint32_t to, uint16_t dport)
{
	return (struct flows_entry){ .from = { { from }, sport },
				     .to = { { to }, dport },
				     .proto = IPPROTO_TCP };
}

static struct flows_entry turned(const struct flows_entry *e)
{
	return (struct flows_entry){ e->to, e->from, e->ipv6, e->proto };
}

/* Rules out an order by address alone, and one that swaps addresses but not ports. */
static void both_directions_have_one_name(void **state)
{
	const struct flows_entry all[] = {
		tcp4(0x0a000001, 40000, 0x0a000002, 80),
		tcp4(0x0a000002, 80, 0x0a000001, 40000),
		tcp4(0x7f000001, 80, 0x7f000001, 40000),
		{ { { 1, 0, 0, 9 }, 5 }, { { 1, 0, 0, 7 }, 6 }, 1, IPPROTO_UDP },
		{ { { 1, 0, 0, 7 }, 9 }, { { 1, 2, 0, 0 }, 6 }, 1, IPPROTO_UDP },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		const struct flows_entry back = turned(&all[i]);
		uint32_t began, answered;
		struct dp_flow_key key = flows_key(&all[i], &began);
		struct dp_flow_key other = flows_key(&back, &answered);

		assert_memory_equal(&key, &other, sizeof(key));
		assert_int_equal(began + answered, 1);
		assert_int_equal(key.port[began], all[i].from.port);
		assert_memory_equal(key.addr[began], all[i].from.addr, sizeof(key.addr[0]));
		assert_int_equal(key.port[answered], all[i].to.port);
		assert_true(memcmp(key.addr[0], key.addr[1], sizeof(key.addr[0])) ||
			    key.port[0] <= key.port[1]);
	}
}

/* The multilinear sum, written down once more: words in the order of the contract, a key for each. */
static uint64_t hash_again(const struct dp_flow_key *k)
{
	const uint32_t words[] = { k->addr[0][0],
				   k->addr[1][0],
				   (uint32_t)k->port[0] * 65536 + k->port[1],
				   k->ipv6 * 256u + k->proto,
				   k->addr[0][1],
				   k->addr[0][2],
				   k->addr[0][3],
				   k->addr[1][1],
				   k->addr[1][2],
				   k->addr[1][3] };
	uint64_t h = odd_keys[0];

	for (int i = 0; i < (k->ipv6 ? 10 : 4); i++)
		h += odd_keys[i + 1] * words[i];
	return h;
}

/* A packet must find what the daemon put in. Rules out another hash, another slot and another tag. */
static void a_flow_lies_where_packets_look(void **state)
{
	const struct flows f = { table, SLOTS, odd_keys };
	struct flows_entry six = {
		{ { 0x20010db8, 1, 2, 3 }, 1234 }, { { 0x20010db8, 1, 2, 2 }, 443 }, 1, IPPROTO_UDP
	};
	struct flows_entry four = tcp4(0xc0000205, 4711, 0xc0000201, 22);

	(void)state;
	for (const struct flows_entry *e = &six; e; e = e == &six ? &four : NULL) {
		const struct flows_entry back = turned(e);
		uint32_t initiator;
		struct dp_flow_key key = flows_key(e, &initiator);
		uint64_t h = hash_again(&key);
		const struct dp_flow *slot = &table[(h >> 32) % SLOTS];

		assert_int_equal(dp_flow_hash(odd_keys, &key), h);
		assert_int_equal(flows_put(&f, e, NOW), FLOWS_PUT_NEW);
		assert_int_equal(slot->tag, (uint32_t)h | 2);
		assert_memory_equal(&slot->key, &key, sizeof(key));
		assert_int_equal(slot->flags, DP_FLOW_INITIATOR * initiator | DP_FLOW_REPLIED);
		assert_int_equal(slot->seen, NOW);
		assert_int_equal(flows_put(&f, e, NOW + 1), FLOWS_PUT_KNOWN);
		assert_int_equal(flows_put(&f, &back, NOW + 1), FLOWS_PUT_KNOWN);
		assert_int_equal(slot->seen, NOW);
	}
}

/* Packets look at DP_FLOW_PROBES slots: a flow beyond them is lost, so the table is full before it is. */
static void a_full_stretch_is_full(void **state)
{
	const struct flows f = { table, SLOTS, no_keys };
	struct flows_entry late = tcp4(99, 99, 1, 80);

	(void)state;
	for (uint32_t i = 0; i < DP_FLOW_PROBES; i++) {
		struct flows_entry e = tcp4(100 + i, 40000, 1, 80);

		assert_int_equal(flows_put(&f, &e, NOW), FLOWS_PUT_NEW);
		assert_int_equal(table[i].key.addr[1][0], 100 + i);
	}
	assert_int_equal(flows_put(&f, &late, NOW), FLOWS_PUT_FULL);
	assert_int_equal(table[DP_FLOW_PROBES].tag, DP_FLOW_FREE);
	assert_int_equal(flows_put(&f, &late, NOW + DP_IDLE_TCP), FLOWS_PUT_FULL);
	table[5].tag = DP_FLOW_BUSY; /* a packet is taking it */
	table[7].seen = NOW - DP_IDLE_TCP - 1;
	assert_int_equal(flows_put(&f, &late, NOW), FLOWS_PUT_NEW);
	assert_int_equal(table[7].key.addr[1][0], 99);
	assert_int_equal(table[5].tag, DP_FLOW_BUSY);
}

static void put_flow(uint32_t slot, uint8_t proto, uint32_t flags, uint32_t idle)
{
	table[slot] = (struct dp_flow){
		.tag = 2, .flags = flags, .key = { .proto = proto }, .seen = NOW - idle
	};
}

/* Rules out a count of tags, one limit for all, and a flow seen a tick ahead of the clock taken for dead. */
static void counts_what_is_live(void **state)
{
	const uint32_t both = DP_FLOW_FIN0 | DP_FLOW_FIN1;
	struct flows_use use = {};

	(void)state;
	put_flow(0, IPPROTO_TCP, 0, DP_IDLE_TCP);
	put_flow(1, IPPROTO_TCP, 0, DP_IDLE_TCP + 1);
	put_flow(2, IPPROTO_TCP, DP_FLOW_FIN1, DP_IDLE_CLOSING + 1);
	put_flow(3, IPPROTO_TCP, both, DP_IDLE_CLOSING);
	put_flow(4, IPPROTO_TCP, both, DP_IDLE_CLOSING + 1);
	put_flow(5, IPPROTO_TCP, DP_FLOW_RESET, 0);
	put_flow(6, IPPROTO_UDP, 0, DP_IDLE_UDP);
	put_flow(7, IPPROTO_UDP, 0, DP_IDLE_UDP + 1);
	put_flow(8, IPPROTO_ICMP, 0, 0);
	put_flow(9, IPPROTO_ICMPV6, 0, DP_IDLE_ICMP);
	put_flow(10, IPPROTO_SCTP, 0, DP_IDLE_OTHER);
	put_flow(11, IPPROTO_UDP, 0, (uint32_t)-1);
	flows_count(table, 6, NOW, &use);
	flows_count(table + 6, SLOTS - 6, NOW, &use);
	assert_int_equal(use.tcp, 2);
	assert_int_equal(use.closing, 2);
	assert_int_equal(use.udp, 2);
	assert_int_equal(use.icmp, 2);
	assert_int_equal(use.other, 1);
	assert_int_equal(use.used, 9);
	assert_int_equal(flows_count_pending(table, SLOTS, NOW), 5); /* one limit, whatever it is */
}

static void counts_datagrams(void **state)
{
	struct dp_fragment datagrams[4] = { { .tag = 2, .seen = NOW - DP_IDLE_FRAGMENT },
					    { .tag = 2, .seen = NOW - DP_IDLE_FRAGMENT - 1 },
					    { .tag = DP_FLOW_FREE, .seen = NOW },
					    { .tag = 2, .seen = NOW + 1 } };

	(void)state;
	assert_int_equal(flows_count_fragments(datagrams, 4, NOW), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(both_directions_have_one_name, clear),
		cmocka_unit_test_setup(a_flow_lies_where_packets_look, clear),
		cmocka_unit_test_setup(a_full_stretch_is_full, clear),
		cmocka_unit_test_setup(counts_what_is_live, clear),
		cmocka_unit_test_setup(counts_datagrams, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
