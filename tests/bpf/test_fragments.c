/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pieces of datagrams under both answers of a chain: `drop` refuses them all, `first-only` lets those follow whose
 * first piece came first and passed. Rules out fragments that pass because they have no ports, and a table that
 * remembers what nobody has judged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <linux/if_ether.h>
#include <netinet/in.h>

#include <cmocka.h>

#include "lib/rig.h"

#define SYN 0x02

#define RULES                                                  \
	"    rules:\n"                                         \
	"      - {id: web, proto: tcp, dport: 80, do: pass}\n" \
	"      - {id: dns, proto: udp, dport: 53, do: pass}\n"
static const char follows[] =
	"version: 1\nattach:\n  wan: {dev: lo}\nfilter:\n"
	"  wan-in:\n    at: wan.ingress\n    default: drop\n"
	"    fragments: first-only\n" RULES "  wan-out:\n    at: wan.egress\n    default: drop\n"
	"    fragments: first-only\n" RULES;
static const char drops[] = "version: 1\nattach:\n  wan: {dev: lo}\nfilter:\n"
			    "  wan-in:\n    at: wan.ingress\n    default: drop\n"
			    "    fragments: drop\n" RULES;

static const char *const hosts[] = { "192.0.2.10", "2001:db8:1::10" };
static const char *const peers[] = { "198.51.100.7", "2001:db8:2::7" };

#define XDP RIG_XDP_INGRESS
#define IN  RIG_TC_INGRESS
#define OUT RIG_TC_EGRESS

/* A piece of a datagram: `at` and `bytes` of its payload; `more` follow. */
struct piece {
	uint32_t id;
	uint16_t at, bytes, dport;
	uint8_t proto;
	bool ipv6, more;
	bool hidden; /* the protocol's header is not in the piece */
};

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static struct frame frame_of(struct piece p)
{
	uint8_t body[6] = {};
	struct frame f = {};
	size_t start;

	frame_eth(&f, p.ipv6 ? ETH_P_IPV6 : ETH_P_IP);
	if (p.ipv6) {
		frame_ipv6(&f, peers[1], hosts[1], IPPROTO_FRAGMENT);
		put16(body, (uint16_t)(p.at | p.more));
		body[2] = (uint8_t)(p.id >> 24);
		body[3] = (uint8_t)(p.id >> 16);
		put16(body + 4, (uint16_t)p.id);
		frame_ext(&f, p.proto, 0, body, sizeof(body));
	} else {
		frame_ipv4(&f, peers[0], hosts[0], p.proto);
		put16(f.bytes + f.l3 + 4, (uint16_t)p.id);
		put16(f.bytes + f.l3 + 6, (uint16_t)(p.at / 8 | p.more << 13));
	}
	start = f.len;
	if (!p.at && !p.hidden)
		frame_ports(&f, 4000, p.dport, SYN);
	if (f.len < start + p.bytes)
		frame_pad(&f, start + p.bytes);
	f.len = start + p.bytes;
	frame_finish(&f);
	/* Of the whole datagram, of which this is a part. */
	if (!p.at && p.proto == IPPROTO_UDP && p.bytes >= 8)
		put16(f.bytes + start + 4, 1400);
	return f;
}

static struct frame piece(bool ipv6, uint32_t id, uint16_t at, uint16_t bytes, bool more)
{
	return frame_of((struct piece){ .id = id,
					.at = at,
					.bytes = bytes,
					.dport = 53,
					.proto = IPPROTO_UDP,
					.ipv6 = ipv6,
					.more = more });
}

/* The rule that decides, or the reason's text where none does. */
static void expect(struct rig *rig, enum rig_hook hook, struct frame f, const char *what)
{
	struct rig_outcome o = rig_run(rig, hook, f.bytes, f.len);
	const char *got = o.reason == DP_REASON_RULE_PASS ? o.rule : rig_reason_text(o.reason);

	assert_int_equal(o.counted, 1);
	assert_true(o.unchanged);
	if (strcmp(got, what))
		fail_msg("hook %d: %s, expected %s", hook, got, what);
}

static uint32_t remembered(const struct rig *rig)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < DP_FRAGMENT_SLOTS; i++)
		count += rig->fragments[i].tag != DP_FLOW_FREE;
	return count;
}

/* First pieces too, whatever their ports; and an IPv6 datagram in one piece is whole. */
static void a_chain_that_drops_them(void **state)
{
	struct rig *rig = rig_new(drops);

	(void)state;
	for (int v6 = 0; v6 < 2; v6++)
		for (int hook = XDP; hook <= IN; hook++) {
			expect(rig, hook, piece(v6, 1, 0, 64, true), "fragment");
			expect(rig, hook, piece(v6, 1, 64, 64, true), "fragment");
			expect(rig, hook, piece(v6, 1, 128, 64, false), "fragment");
		}
	expect(rig, XDP,
	       frame_of((struct piece){
		       .id = 1, .bytes = 20, .dport = 80, .proto = IPPROTO_TCP, .ipv6 = true }),
	       "web");
	assert_int_equal(remembered(rig), 0);
	rig_free(&rig);
}

/* In any order behind the first, at both hooks; not without it, not of another datagram, not out of the other chain. */
static void later_pieces_follow_the_first(void **state)
{
	struct rig *rig = rig_new(follows);

	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		expect(rig, XDP, piece(v6, 7, 64, 64, true), "fragment");
		expect(rig, XDP, piece(v6, 7, 0, 64, true), "dns");
		expect(rig, IN, piece(v6, 7, 128, 64, false), "fragment-follows");
		expect(rig, XDP, piece(v6, 7, 64, 64, true), "fragment-follows");
		expect(rig, XDP, piece(v6, 8, 64, 64, true), "fragment");
		expect(rig, OUT, piece(v6, 7, 64, 64, true), "fragment");
		assert_int_equal(remembered(rig), 1 + v6);
	}
	rig_free(&rig);
}

/* A datagram whose first piece a rule drops; and one that passed before is forgotten when another such drops. */
static void what_was_dropped_leads_nobody(void **state)
{
	struct rig *rig = rig_new(follows);
	struct piece bad = {
		.id = 9, .bytes = 64, .dport = 54, .proto = IPPROTO_UDP, .more = true
	};

	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		bad.ipv6 = v6;
		expect(rig, XDP, frame_of(bad), "default");
		expect(rig, XDP, piece(v6, 9, 64, 64, false), "fragment");
		expect(rig, XDP, piece(v6, 9, 0, 64, true), "dns");
		expect(rig, XDP, piece(v6, 9, 64, 64, false), "fragment-follows");
		expect(rig, XDP, frame_of(bad), "default");
		expect(rig, XDP, piece(v6, 9, 64, 64, false), "fragment");
	}
	rig_free(&rig);
}

/* Over what was judged nothing is written. */
static void a_piece_that_overlaps_the_first(void **state)
{
	struct rig *rig = rig_new(follows);

	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		expect(rig, XDP, piece(v6, 3, 0, 64, true), "dns");
		expect(rig, XDP, piece(v6, 3, 8, 64, false), "fragment");
		expect(rig, IN, piece(v6, 3, 56, 64, false), "fragment");
		expect(rig, IN, piece(v6, 3, 64, 64, false), "fragment-follows");
	}
	rig_free(&rig);
}

/* A second first piece does not give free what the longer one before it has written. */
static void a_shorter_first_piece(void **state)
{
	struct rig *rig = rig_new(follows);

	(void)state;
	for (int ipv6 = 0; ipv6 < 2; ipv6++) {
		expect(rig, XDP, piece(ipv6, 60, 0, 64, true), "dns");
		expect(rig, XDP, piece(ipv6, 60, 0, 8, true), "dns");
		expect(rig, XDP, piece(ipv6, 60, 8, 80, false), "fragment");
		expect(rig, XDP, piece(ipv6, 60, 64, 80, false), "fragment-follows");
	}
	rig_free(&rig);
}

static struct frame in_vlan(struct frame f, uint16_t vid)
{
	static const uint8_t type[] = { 0x81, 0 };

	memmove(f.bytes + 16, f.bytes + 12, f.len - 12);
	memcpy(f.bytes + 12, type, sizeof(type));
	put16(f.bytes + 14, vid);
	f.len += 4;
	return f;
}

/* What one VLAN may send opens nothing to another. */
static void a_datagram_of_another_vlan(void **state)
{
	struct rig *rig = rig_new(follows);

	(void)state;
	for (int hook = XDP; hook <= IN; hook++) {
		expect(rig, hook, in_vlan(piece(false, 70 + hook, 0, 64, true), 5), "dns");
		expect(rig, hook, in_vlan(piece(false, 70 + hook, 64, 80, false), 6), "fragment");
		expect(rig, hook, piece(false, 70 + hook, 64, 80, false), "fragment");
		expect(rig, hook, in_vlan(piece(false, 70 + hook, 64, 80, false), 5),
		       "fragment-follows");
	}
	rig_free(&rig);
}

/* A first piece holds its whole transport header (RFC 1858); and no datagram is longer than one can be. */
static void tiny_and_endless_pieces(void **state)
{
	struct rig *rig = rig_new(follows);
	struct piece tcp = { .id = 4, .dport = 80, .proto = IPPROTO_TCP, .more = true };

	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		tcp.ipv6 = v6;
		for (uint16_t bytes = 8; bytes < 20; bytes += 4) {
			tcp.bytes = bytes;
			expect(rig, bytes % 8 ? XDP : IN, frame_of(tcp), "tiny-fragment");
		}
		expect(rig, XDP, piece(v6, 4, 0, 4, true), "tiny-fragment");
		tcp.bytes = 24;
		expect(rig, XDP, frame_of(tcp), "web");
		expect(rig, XDP, piece(v6, 5, 0, 64, true), "dns");
		expect(rig, XDP, piece(v6, 5, 65520, 64, false), "fragment");
	}
	rig_free(&rig);
}

/* Neighbour discovery is never cut, not even into one piece (RFC 6980). */
static void neighbour_discovery_is_whole(void **state)
{
	static const uint8_t types[] = { 133, 134, 135, 136 };
	struct rig *rig = rig_new(follows);

	(void)state;
	for (size_t i = 0; i < sizeof(types); i++)
		for (int more = 0; more < 2; more++) {
			struct frame f = {};
			uint8_t body[6] = { 0, (uint8_t)more };

			frame_eth(&f, ETH_P_IPV6);
			frame_ipv6(&f, peers[1], hosts[1], IPPROTO_FRAGMENT);
			frame_ext(&f, IPPROTO_ICMPV6, 0, body, sizeof(body));
			frame_icmp(&f, types[i], 0);
			frame_pad(&f, f.len + 16);
			frame_finish(&f);
			f.bytes[f.l3 + 7] = 255;
			expect(rig, XDP, f, "fragment");
			expect(rig, IN, f, "fragment");
			f.bytes[f.l3 + 7] = 64; /* not from the link: like any other */
			expect(rig, XDP, f, "default");
		}
	assert_int_equal(remembered(rig), 0);
	rig_free(&rig);
}

/* IPv4 tells datagrams apart by their protocol too; IPv6 names it in the first piece alone. */
static void the_protocol_of_a_datagram(void **state)
{
	struct rig *rig = rig_new(follows);
	struct piece later = { .id = 6, .at = 64, .bytes = 64, .proto = IPPROTO_TCP };

	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		later.ipv6 = v6;
		expect(rig, XDP, piece(v6, 6, 0, 64, true), "dns");
		expect(rig, XDP, frame_of(later), v6 ? "fragment-follows" : "fragment");
		expect(rig, XDP, piece(v6, 6, 64, 64, false), "fragment-follows");
	}
	rig_free(&rig);
}

static void datagrams_are_forgotten(void **state)
{
	struct rig *rig = rig_new(follows);

	(void)state;
	expect(rig, XDP, piece(false, 10, 0, 64, true), "dns");
	for (uint32_t i = 0; i < DP_FRAGMENT_SLOTS; i++)
		rig->fragments[i].seen -= DP_IDLE_FRAGMENT - 8;
	expect(rig, XDP, piece(false, 10, 64, 64, true), "fragment-follows");
	for (uint32_t i = 0; i < DP_FRAGMENT_SLOTS; i++)
		rig->fragments[i].seen -= 16;
	expect(rig, XDP, piece(false, 10, 64, 64, true), "fragment");
	expect(rig, XDP, piece(false, 10, 0, 64, true), "dns");
	expect(rig, XDP, piece(false, 10, 64, 64, true), "fragment-follows");
	rig_free(&rig);
}

/* More datagrams than there is room for: those that came last are known, and what gave way is counted. */
static void the_table_is_bounded(void **state)
{
	const uint32_t datagrams = 4 * DP_FRAGMENT_SLOTS;
	struct rig *rig = rig_new(follows);
	struct dp_state_counters counters;
	struct frame f = {};

	(void)state;
	for (uint32_t i = 0; i < datagrams; i++) {
		f = piece(true, i, 0, 64, true);
		assert_int_equal(rig_verdict(rig, XDP, f.bytes, f.len), DP_PASS);
	}
	counters = rig_state_counters(rig);
	assert_int_equal(counters.count[DP_STATE_FRAGMENTS_NEW], datagrams);
	assert_int_equal(counters.count[DP_STATE_FRAGMENTS_LOST], datagrams - remembered(rig));
	f = piece(true, datagrams - 1, 64, 64, false);
	assert_int_equal(rig_verdict(rig, XDP, f.bytes, f.len), DP_PASS);
	rig_free(&rig);
}

/* Asked about, first and later pieces leave the table as it is. */
static void explain_remembers_nothing(void **state)
{
	struct rig *rig = rig_new(follows);
	struct frame first = piece(false, 11, 0, 64, true), later = piece(false, 11, 64, 64, false);
	struct dp_explain said = rig_explain(rig, XDP, first.bytes, first.len);

	(void)state;
	assert_int_equal(said.reason, DP_REASON_RULE_PASS);
	assert_int_equal(said.fragment, 1);
	assert_int_equal(remembered(rig), 0);
	said = rig_explain(rig, XDP, later.bytes, later.len);
	assert_int_equal(said.reason, DP_REASON_FRAGMENT);
	expect(rig, XDP, first, "dns");
	said = rig_explain(rig, IN, later.bytes, later.len);
	assert_int_equal(said.reason, DP_REASON_FRAGMENT_FOLLOWS);
	assert_int_equal(said.fragment, 2);
	rig_free(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_chain_that_drops_them),
		cmocka_unit_test(later_pieces_follow_the_first),
		cmocka_unit_test(what_was_dropped_leads_nobody),
		cmocka_unit_test(a_piece_that_overlaps_the_first),
		cmocka_unit_test(a_shorter_first_piece),
		cmocka_unit_test(a_datagram_of_another_vlan),
		cmocka_unit_test(tiny_and_endless_pieces),
		cmocka_unit_test(neighbour_discovery_is_whole),
		cmocka_unit_test(the_protocol_of_a_datagram),
		cmocka_unit_test(datagrams_are_forgotten),
		cmocka_unit_test(the_table_is_bounded),
		cmocka_unit_test(explain_remembers_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
