/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts of the real programs. That passed = kept + recorded + unaccounted + elsewhere, in packets and bytes, every
 * test of every other file checks when it gives its rig back; here: whose packets they are, and each way out of the
 * cache. Rules out a cache that samples, one that counts a tuple for another, and losses that nobody counts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <cmocka.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <netinet/in.h>

#include "lib/rig.h"
#include "lib/rig_balance.h"
#include "tests/lib/rng.h"

#define TUPLES  600 /* many more than there are slots */
#define PACKETS 6000
#define PORT    1000

static const char policy[] =
	"version: 1\nattach:\n  wan: {dev: lo}\nfilter:\n"
	"  wan-in:\n    at: wan.ingress\n    default: pass\n    rules:\n"
	"      - {id: low, proto: udp, sport: 1-2000, do: pass}\n"
	"      - {id: bad, proto: udp, dport: 666, do: drop}\n"
	"      - {id: syn, proto: tcp, flags: {all-of: [syn], none-of: [ack]}, do: pass}\n"
	"  wan-out:\n    at: wan.egress\n    default: pass\n    rules: []\n";

struct datagram {
	uint8_t bytes[64];
	size_t len;
};

static void put16(uint8_t *at, uint16_t n)
{
	at[0] = (uint8_t)(n >> 8);
	at[1] = (uint8_t)n;
}

/* Of an IPv4 datagram from 10.0.x.y; so long that the length tells datagrams apart, too. */
static struct datagram make(uint8_t proto, uint16_t host, uint16_t sport, uint16_t dport,
			    uint8_t flags, size_t extra)
{
	size_t l4 = proto == IPPROTO_TCP ? 20 : 8;
	struct datagram f = { .bytes = { [12] = 8,
					 [14] = 0x45,
					 [22] = 64,
					 [23] = proto,
					 [26] = 10,
					 [30] = 192,
					 0,
					 2,
					 1 },
			      .len = 34 + l4 + extra };

	put16(&f.bytes[16], (uint16_t)(20 + l4 + extra));
	put16(&f.bytes[28], host);
	put16(&f.bytes[34], sport);
	put16(&f.bytes[36], dport);
	if (proto == IPPROTO_UDP)
		put16(&f.bytes[38], (uint16_t)(8 + extra));
	f.bytes[46] = proto == IPPROTO_TCP ? 0x50 : 0;
	f.bytes[47] = flags;
	return f;
}

static void offer(struct rig *rig, enum rig_hook hook, const struct datagram *f)
{
	(void)rig_verdict(rig, hook, f->bytes, f->len);
}

/* ---- who -------------------------------------------------------------------------------------------- */

static void take(struct dp_count *tuples, const struct dp_account *a)
{
	uint32_t host = a->src[0] & 0xffff;

	if (!(a->packets & DP_ACCOUNT_COUNT))
		return;
	assert_in_range(host, 0, TUPLES - 1);
	assert_int_equal(a->src[0] >> 16, 10 << 8);
	assert_int_equal(a->sport, PORT + host);
	assert_int_equal(a->bytes >> DP_ACCOUNT_PROTO_SHIFT, IPPROTO_UDP);
	tuples[host].packets += a->packets & DP_ACCOUNT_COUNT;
	tuples[host].bytes += a->bytes & DP_ACCOUNT_COUNT;
}

static void sum(const struct rig *rig, struct dp_count *tuples)
{
	for (uint32_t g = 0; g < rig_per_cpu(RIG_ACCOUNT_SLOTS / DP_ACCOUNT_WAYS); g++)
		for (unsigned int way = 0; way < DP_ACCOUNT_WAYS; way++)
			take(tuples, &rig->accounts[g].way[way]);
	for (size_t i = 0; i < rig->record_count; i++)
		take(tuples, &rig->records[i].account);
}

static void each_packet_is_of_its_tuple(void **state)
{
	static struct dp_count sent[TUPLES], found[TUPLES];
	struct rig *rig = rig_new(policy);
	struct rng rng = rng_seeded("accounts");

	(void)state;
	for (int i = 0; i < PACKETS; i++) {
		uint16_t host = (uint16_t)rng_below(&rng, TUPLES);
		size_t extra = rng_below(&rng, 20);
		struct datagram f = make(IPPROTO_UDP, host, PORT + host, 53, 0, extra);

		offer(rig, i % 2 ? RIG_XDP_INGRESS : RIG_TC_INGRESS, &f);
		sent[host].packets++;
		sent[host].bytes += f.len;
		if (i % 50 == 0)
			rig_balance(rig); /* reads the ring, too */
	}
	rig_balance(rig);
	assert_true(rig->record_count > TUPLES / 2); /* the cache was too small for them */
	assert_int_equal(rig_account_totals(rig).unaccounted.packets, 0);
	sum(rig, found);
	assert_memory_equal(found, sent, sizeof(sent));
	rig_free(&rig);
}

/* ---- ways out ---------------------------------------------------------------------------------------- */

/* Nobody reads the ring: slots stay, and what finds none is counted. */
static void a_full_ring_is_counted(void **state)
{
	struct rig *rig = rig_new(policy);
	struct dp_count kept = {};
	struct dp_account_totals t;

	(void)state;
	for (int i = 0; i < PACKETS; i++) {
		struct datagram f = make(IPPROTO_UDP, (uint16_t)(i % TUPLES), PORT, 53, 0, 0);

		offer(rig, RIG_XDP_INGRESS, &f);
	}
	t = rig_account_totals(rig);
	assert_true(t.unaccounted.packets > 0);
	assert_true(t.recorded.packets > 0);
	for (uint32_t g = 0; g < rig_per_cpu(RIG_ACCOUNT_SLOTS / DP_ACCOUNT_WAYS); g++)
		for (unsigned int way = 0; way < DP_ACCOUNT_WAYS; way++)
			kept.packets += rig->accounts[g].way[way].packets & DP_ACCOUNT_COUNT;
	assert_int_equal(t.passed.packets, PACKETS);
	assert_int_equal(kept.packets + t.recorded.packets + t.unaccounted.packets, PACKETS);
	rig_free(&rig);
}

static void dropped_tuples_fold(void **state)
{
	struct rig *rig = rig_new(policy);
	struct dp_account_totals t;

	(void)state;
	for (int i = 0; i < 2 * DP_DROPPED_SLOTS; i++) {
		struct datagram f = make(IPPROTO_UDP, (uint16_t)i, 5000, 666, 0, 0);

		offer(rig, RIG_TC_INGRESS, &f);
	}
	t = rig_account_totals(rig);
	assert_int_equal(t.dropped.packets, 2 * DP_DROPPED_SLOTS);
	assert_true(t.folded.packets > DP_DROPPED_SLOTS / 2);
	assert_int_equal(t.passed.packets, 0);
	rig_free(&rig);
}

static void unfold(struct rig *rig, uint64_t bytes)
{
	struct dp_account_totals *t = calloc(rig_per_cpu(1), sizeof(*t));
	int map = bpf_map__fd(rig->skel->maps.account_totals);
	const uint32_t zero = 0;

	assert_non_null(t);
	assert_int_equal(bpf_map_lookup_elem(map, &zero, t), 0);
	for (uint32_t cpu = 0; cpu < rig_per_cpu(1); cpu++)
		if (t[cpu].folded.bytes >= bytes)
			t[cpu].folded.bytes -= bytes;
	assert_int_equal(bpf_map_update_elem(map, &zero, t, 0), 0);
	free(t);
}

static struct dp_account *only_dropped(const struct rig *rig)
{
	struct dp_account *found = NULL;

	for (uint32_t i = 0; i < rig_per_cpu(DP_DROPPED_SLOTS); i++)
		if (rig->dropped[i].packets) {
			assert_null(found);
			found = &rig->dropped[i];
		}
	assert_non_null(found);
	return found;
}

/* Where no policy can be read, the device is still the packet's own. Rules out that of the packet before. */
static void a_packet_without_a_policy_is_of_its_device(void **state)
{
	uint32_t slot = if_nametoindex("lo") % DP_DEV_SLOTS;
	struct rig *rig = rig_new(policy);
	struct datagram f = make(IPPROTO_UDP, 1, PORT, 53, 0, 0);
	int devs = bpf_map__fd(rig->skel->maps.devs);
	struct dp_dev lo, none = {};

	(void)state;
	offer(rig, RIG_TC_INGRESS, &f);
	assert_int_equal(rig_account_totals(rig).passed.packets, 1);
	assert_int_equal(bpf_map_lookup_elem(devs, &slot, &lo), 0);
	assert_int_equal(bpf_map_update_elem(devs, &slot, &none, 0), 0);
	memset(rig->near, 0, DP_BANKS * sizeof(*rig->near));
	offer(rig, RIG_TC_INGRESS, &f);
	assert_int_equal(only_dropped(rig)->dev, DP_DEV_SLOTS);
	assert_int_equal(bpf_map_update_elem(devs, &slot, &lo, 0), 0);
	rig_free(&rig);
}

/* Hours of one tuple at the rate of a line. Rules out bytes that run into the protocol beside them. */
static void dropped_bytes_end_before_they_are_too_many(void **state)
{
	const uint64_t more = DP_ACCOUNT_COUNT - 100;
	struct rig *rig = rig_new(policy);
	struct datagram f = make(IPPROTO_UDP, 1, 5000, 666, 0, 0);
	struct dp_account *found;

	(void)state;
	offer(rig, RIG_TC_INGRESS, &f);
	found = only_dropped(rig);
	found->bytes += more;
	for (int i = 0; i < 3; i++)
		offer(rig, RIG_TC_INGRESS, &f);
	assert_int_equal(found->bytes >> DP_ACCOUNT_PROTO_SHIFT, IPPROTO_UDP);
	assert_int_equal((found->bytes & DP_ACCOUNT_COUNT) + rig_account_totals(rig).folded.bytes,
			 more + 4 * f.len);
	unfold(rig, more); /* the sums of the rig know nothing of it */
	rig_free(&rig);
}

/* A forwarded packet is accounted where it came in, not once more where it goes out. */
static void a_packet_is_accounted_once(void **state)
{
	struct dp_dev in = { .ifindex = 77, .ingress = 1 }, blind = { .ifindex = 78 };
	uint32_t slot_in = in.ifindex % DP_DEV_SLOTS, slot_blind = blind.ifindex % DP_DEV_SLOTS;
	struct rig *rig = rig_new(policy);
	struct datagram f = make(IPPROTO_UDP, 1, PORT, 53, 0, 0);
	struct __sk_buff skb = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f.bytes, .data_size_in = (uint32_t)f.len,
		    .ctx_in = &skb, .ctx_size_in = sizeof(skb));
	int devs = bpf_map__fd(rig->skel->maps.devs),
	    prog = bpf_program__fd(rig->skel->progs.tc_egress);

	(void)state;
	assert_int_equal(bpf_map_update_elem(devs, &slot_in, &in, 0), 0);
	assert_int_equal(bpf_map_update_elem(devs, &slot_blind, &blind, 0), 0);
	for (uint32_t from = 76; from <= 78; from++) {
		skb.ingress_ifindex = from;
		assert_int_equal(bpf_prog_test_run_opts(prog, &opts), 0);
	}
	assert_int_equal(rig_account_totals(rig).passed.packets, 3);
	assert_int_equal(rig_account_totals(rig).elsewhere.packets, 1);
	in = blind = (struct dp_dev){};
	assert_int_equal(bpf_map_update_elem(devs, &slot_in, &in, 0), 0);
	assert_int_equal(bpf_map_update_elem(devs, &slot_blind, &blind, 0), 0);
	rig_free(&rig);
}

/* ---- what is remembered ------------------------------------------------------------------------------- */

static const struct dp_account *only(const struct rig *rig, const struct dp_birth **ret_birth)
{
	const struct dp_account *found = NULL;

	for (uint32_t g = 0; g < rig_per_cpu(RIG_ACCOUNT_SLOTS / DP_ACCOUNT_WAYS); g++)
		for (unsigned int way = 0; way < DP_ACCOUNT_WAYS; way++)
			if (rig->accounts[g].way[way].packets) {
				assert_null(found);
				found = &rig->accounts[g].way[way];
				*ret_birth = &rig->accounts[g].birth[way];
			}
	assert_non_null(found);
	return found;
}

/* A handshake has exact times, and the rule that began a connection stays known beside the one that goes on. */
static void a_beginning_is_remembered(void **state)
{
	struct rig *rig = rig_new(policy);
	struct datagram syn = make(IPPROTO_TCP, 1, 4000, 80, 0x02, 0);
	struct datagram ack = make(IPPROTO_TCP, 1, 4000, 80, 0x10, 0);
	const struct dp_birth *b;
	const struct dp_account *a;

	(void)state;
	offer(rig, RIG_XDP_INGRESS, &syn);
	a = only(rig, &b);
	assert_int_equal(a->decided, DP_DECIDED(DP_REASON_RULE_PASS, 1, rig->rules_of[0] + 2));
	assert_int_equal(b->second_ns, 0);
	offer(rig, RIG_XDP_INGRESS, &ack);
	offer(rig, RIG_XDP_INGRESS, &ack);
	assert_int_equal(a->packets & DP_ACCOUNT_COUNT, 3);
	assert_int_equal(a->packets >> DP_ACCOUNT_FLAGS_SHIFT, 0x12);
	assert_int_equal(a->decided, DP_DECIDED(DP_REASON_DEFAULT_PASS, 1, rig->rules_of[0] + 3));
	assert_int_equal(b->decided_before,
			 DP_DECIDED(DP_REASON_RULE_PASS, 1, rig->rules_of[0] + 2));
	assert_int_equal(b->packets_before, 1);
	assert_true(b->second_ns > b->first_ns && b->second_ns - b->first_ns < 10000000000ull);
	offer(rig, RIG_XDP_INGRESS,
	      &syn); /* the second change ends the account: it is in the ring, whole */
	assert_int_equal(a->packets & DP_ACCOUNT_COUNT, 1);
	rig_balance(rig);
	assert_int_equal(rig->record_count, 1);
	assert_int_equal(rig->records[0].account.packets & DP_ACCOUNT_COUNT, 3);
	assert_int_equal(rig->records[0].birth.generation + 1, b->generation);
	rig_free(&rig);
}

/* Segments of one buffer are frames on the wire. */
static void segments_are_frames(void **state)
{
	struct rig *rig = rig_new(policy);
	struct datagram f = make(IPPROTO_TCP, 1, 4000, 80, 0x10, 10);
	const struct dp_birth *b;
	const struct dp_account *a;

	(void)state;
	rig_segments(5, 2);
	offer(rig, RIG_TC_INGRESS, &f);
	rig_segments(0, 0);
	a = only(rig, &b);
	assert_int_equal(a->packets & DP_ACCOUNT_COUNT, 5);
	assert_int_equal(a->bytes & DP_ACCOUNT_COUNT, 5 * 54 + 10);
	rig_free(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_packet_is_of_its_tuple),
		cmocka_unit_test(a_full_ring_is_counted),
		cmocka_unit_test(dropped_tuples_fold),
		cmocka_unit_test(a_packet_without_a_policy_is_of_its_device),
		cmocka_unit_test(dropped_bytes_end_before_they_are_too_many),
		cmocka_unit_test(a_packet_is_accounted_once),
		cmocka_unit_test(a_beginning_is_remembered),
		cmocka_unit_test(segments_are_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
