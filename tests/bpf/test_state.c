/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `state: established` in the real programs, packet by packet, with the tables of flows in sight: when a flow
 * begins, is established, ends, gives way, and what never makes one. Sockets of the machine are not here: the
 * namespace has none; and a test run's packets at egress look like a socket's, so TCP begins at ingress.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <linux/if_ether.h>
#include <netinet/in.h>

#include <bpf/bpf.h>
#include <cmocka.h>

#include "lib/rig.h"
#include "tests/lib/rng.h"

#define FIN      0x01
#define SYN      0x02
#define RST      0x04
#define PSH      0x08
#define ACK      0x10
#define COUNT(a) (sizeof(a) / sizeof(*(a)))
static const char policy[] =
	"version: 1\nattach:\n  wan: {dev: lo}\nfilter:\n"
	"  wan-in:\n    at: wan.ingress\n    default: drop\n    rules:\n"
	"      - {id: watch, state: established, do: drop, mode: audit}\n"
	"      - {id: early, proto: udp, sport: 9999, do: pass}\n"
	"      - {id: live, state: established, do: pass}\n"
	"      - {id: web, proto: tcp, dport: 80, do: pass}\n"
	"      - {id: acks, proto: tcp, dport: 81, flags: {all-of: [ack]}, do: pass}\n"
	"      - {id: dns, proto: udp, dport: 53, do: pass}\n"
	"  wan-out:\n    at: wan.egress\n    default: drop\n    rules:\n"
	"      - {id: live, state: established, do: pass}\n"
	"      - {id: udp, proto: udp, do: pass}\n"
	"      - {id: ping, proto: icmp, type: echo-request, do: pass}\n"
	"      - {id: ping6, proto: icmp6, type: 128, do: pass}\n"
	"      - {id: gre, proto: 47, do: pass}\n";

static const char *const hosts[] = { "192.0.2.10", "2001:db8:1::10" };
static const char *const peers[] = { "198.51.100.7", "2001:db8:2::7" };

/* ---- packets and tables ----------------------------------------------------------------------- */

static uint32_t now_tick(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint32_t)(((uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec) >> DP_TICK_SHIFT);
}

static void put32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* Where a connection's numbers stand: the peer begins at 1000, the host at 5000. */
#define PEER_NEXT 1001
#define HOST_NEXT 5001

static struct frame numbered(struct frame f, uint32_t seq, uint32_t ack)
{
	put32(f.bytes + f.l4 + 4, seq);
	put32(f.bytes + f.l4 + 8, ack);
	return f;
}

/* From the peer to the host, or back. */
static struct frame packet(bool in, bool ipv6, uint8_t proto, uint16_t sport, uint16_t dport,
			   uint8_t flags)
{
	struct frame f = frame_flow(in ? peers[ipv6] : hosts[ipv6], in ? hosts[ipv6] : peers[ipv6],
				    proto, sport, dport, flags);
	uint32_t seq = (in ? PEER_NEXT : HOST_NEXT) - !!(flags & SYN);

	if (proto != IPPROTO_TCP)
		return f;
	return numbered(f, seq, flags & ACK ? (in ? HOST_NEXT : PEER_NEXT) : 0);
}

static struct frame echo(bool in, bool ipv6, bool request, uint16_t id)
{
	struct frame f = {};

	frame_eth(&f, ipv6 ? ETH_P_IPV6 : ETH_P_IP);
	if (ipv6)
		frame_ipv6(&f, in ? peers[1] : hosts[1], in ? hosts[1] : peers[1], IPPROTO_ICMPV6);
	else
		frame_ipv4(&f, in ? peers[0] : hosts[0], in ? hosts[0] : peers[0], IPPROTO_ICMP);
	frame_icmp(&f, ipv6 ? (request ? 128 : 129) : (request ? 8 : 0), 0);
	f.bytes[f.l4 + 4] = (uint8_t)(id >> 8);
	f.bytes[f.l4 + 5] = (uint8_t)id;
	frame_finish(&f);
	return f;
}

static struct frame gre(bool in, bool ipv6)
{
	struct frame f = {};

	frame_eth(&f, ipv6 ? ETH_P_IPV6 : ETH_P_IP);
	if (ipv6)
		frame_ipv6(&f, in ? peers[1] : hosts[1], in ? hosts[1] : peers[1], IPPROTO_GRE);
	else
		frame_ipv4(&f, in ? peers[0] : hosts[0], in ? hosts[0] : peers[0], IPPROTO_GRE);
	frame_pad(&f, f.len + 8);
	frame_finish(&f);
	return f;
}

static struct rig_outcome run_at(struct rig *rig, enum rig_hook hook, const struct frame *f)
{
	struct rig_outcome o = rig_run(rig, hook, f->bytes, f->len);

	assert_int_equal(o.counted, 1);
	assert_true(o.unchanged);
	return o;
}

/* The rule that decides, or the reason's text where none does. */
static void expect(struct rig *rig, enum rig_hook hook, struct frame f, const char *what)
{
	struct rig_outcome o = run_at(rig, hook, &f);
	const char *got = o.reason == DP_REASON_RULE_PASS || o.reason == DP_REASON_RULE_DROP
				  ? o.rule
				  : rig_reason_text(o.reason);

	if (strcmp(got, what))
		fail_msg("hook %d: %s, expected %s", hook, got, what);
}

#define IN  RIG_TC_INGRESS
#define XDP RIG_XDP_INGRESS
#define OUT RIG_TC_EGRESS

/* Slots that hold a flow with one of its ports, or with any when 0; NULL, and how many there are. */
static struct dp_flow *find_flow(struct dp_flow *table, uint32_t slots, uint16_t port,
				 uint32_t *ret_count)
{
	struct dp_flow *found = NULL;

	*ret_count = 0;
	for (uint32_t i = 0; i < slots; i++) {
		const struct dp_flow_key *key = &table[i].key;

		if (table[i].tag == DP_FLOW_FREE ||
		    (port && key->port[0] != port && key->port[1] != port))
			continue;
		found = &table[i];
		++*ret_count;
	}
	return found;
}

static struct dp_flow *established(const struct rig *rig, uint16_t port)
{
	uint32_t count;

	return find_flow(rig->flows, rig->flow_slots, port, &count);
}

static uint32_t pending_count(const struct rig *rig, enum dp_dir born)
{
	uint32_t half = DP_PENDING_SLOTS / DP_DIR_COUNT, count;

	(void)find_flow(rig->pending + (born == DP_EGRESS ? half : 0), half, 0, &count);
	return count;
}

static uint64_t state_count(const struct rig *rig, enum dp_state_counter counter)
{
	return rig_state_counters(rig).count[counter];
}

/* A connection of the peer to port 80, established. */
static struct dp_flow *connect_tcp(struct rig *rig, bool ipv6, uint16_t port)
{
	struct dp_flow *flow;

	expect(rig, IN, packet(true, ipv6, IPPROTO_TCP, port, 80, SYN), "web");
	expect(rig, OUT, packet(false, ipv6, IPPROTO_TCP, 80, port, SYN | ACK), "live");
	expect(rig, IN, packet(true, ipv6, IPPROTO_TCP, port, 80, ACK), "live");
	flow = established(rig, port);
	assert_non_null(flow);
	return flow;
}

/* The host asks the peer from a port, is answered, and asks again. */
static struct dp_flow *talk_udp(struct rig *rig, bool ipv6, uint16_t port, uint16_t to)
{
	struct frame ask = packet(false, ipv6, IPPROTO_UDP, port, to, 0);
	struct frame answer = packet(true, ipv6, IPPROTO_UDP, to, port, 0);

	(void)rig_verdict(rig, OUT, ask.bytes, ask.len);
	assert_int_equal(rig_verdict(rig, IN, answer.bytes, answer.len), DP_PASS);
	assert_int_equal(rig_verdict(rig, OUT, ask.bytes, ask.len), DP_PASS);
	return established(rig, port);
}

/* ---- how a flow begins ------------------------------------------------------------------------ */

/*
 * SYN, SYN-ACK, ACK, each at its hook: only the third packet establishes. Rules out a table that a SYN or its
 * answer alone can fill, and one that takes the port for the connection.
 */
static void tcp_begins_in_three_steps(void **state)
{
	struct rig *rig = rig_new(policy);

	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		expect(rig, XDP, packet(true, v6, IPPROTO_TCP, 4000, 80, ACK), "no-flow");
		expect(rig, XDP, packet(true, v6, IPPROTO_TCP, 4000, 80, SYN), "web");
		expect(rig, XDP, packet(true, v6, IPPROTO_TCP, 4000, 80, SYN), "web"); /* again */
		assert_int_equal(pending_count(rig, DP_INGRESS), 1 + v6);
		/* The initiator alone gets no further. */
		expect(rig, XDP, packet(true, v6, IPPROTO_TCP, 4000, 80, ACK), "no-flow");
		expect(rig, OUT, packet(false, v6, IPPROTO_TCP, 80, 4000, SYN | ACK), "live");
		expect(rig, OUT, packet(false, v6, IPPROTO_TCP, 80, 4000, SYN | ACK), "live");
		assert_int_equal(state_count(rig, DP_STATE_FLOWS_NEW), v6);
		assert_int_equal(rig->ctl->has_flows, v6);
		expect(rig, IN, packet(true, v6, IPPROTO_TCP, 4000, 80, ACK), "live");
		assert_int_equal(state_count(rig, DP_STATE_FLOWS_NEW), 1 + v6);
		assert_int_equal(rig->ctl->has_flows, 1);
		expect(rig, XDP, packet(true, v6, IPPROTO_TCP, 4000, 80, ACK | PSH), "live");
		expect(rig, OUT, packet(false, v6, IPPROTO_TCP, 80, 4000, ACK), "live");
		expect(rig, XDP, packet(true, v6, IPPROTO_TCP, 4001, 80, ACK), "no-flow");
		expect(rig, OUT, packet(false, v6, IPPROTO_TCP, 80, 4001, ACK), "default");
	}
	assert_int_equal(state_count(rig, DP_STATE_PENDING_NEW), 2);
	rig_free(&rig);
}

/*
 * Who forged the SYN has not seen the answer and cannot acknowledge it. Rules out a table that three forged
 * packets and the host's honest answer fill.
 */
static void an_answer_must_be_seen(void **state)
{
	struct rig *rig = rig_new(policy);
	struct frame blind = packet(true, false, IPPROTO_TCP, 4050, 80, ACK);

	(void)state;
	expect(rig, XDP, packet(true, false, IPPROTO_TCP, 4050, 80, SYN), "web");
	expect(rig, OUT, packet(false, false, IPPROTO_TCP, 80, 4050, SYN | ACK), "live");
	expect(rig, XDP, numbered(blind, PEER_NEXT, HOST_NEXT - 1), "no-flow");
	expect(rig, IN, numbered(blind, PEER_NEXT, HOST_NEXT + (1u << 30)), "no-flow");
	expect(rig, IN, numbered(blind, PEER_NEXT, 0), "no-flow");
	assert_int_equal(state_count(rig, DP_STATE_FLOWS_NEW), 0);
	expect(rig, XDP, blind, "live");
	assert_int_equal(state_count(rig, DP_STATE_FLOWS_NEW), 1);
	rig_free(&rig);
}

/* Datagrams, echoes and other protocols that the host begins; what is no answer does not pass as one. */
static void others_begin_with_a_question(void **state)
{
	struct rig *rig = rig_new(policy);
	const struct {
		const char *rule[2];
		struct frame ask[2], answer[2], other[2];
	} cases[] = {
		{ { "udp", "udp" },
		  { packet(false, false, IPPROTO_UDP, 5000, 53, 0),
		    packet(false, true, IPPROTO_UDP, 5000, 53, 0) },
		  { packet(true, false, IPPROTO_UDP, 53, 5000, 0),
		    packet(true, true, IPPROTO_UDP, 53, 5000, 0) },
		  { packet(true, false, IPPROTO_UDP, 54, 5000, 0),
		    packet(true, true, IPPROTO_UDP, 53, 5001, 0) } },
		{ { "ping", "ping6" },
		  { echo(false, false, true, 77), echo(false, true, true, 77) },
		  { echo(true, false, false, 77), echo(true, true, false, 77) },
		  /* Another identifier, and a question in the other direction. */
		  { echo(true, false, false, 78), echo(true, true, true, 77) } },
		{ { "gre", "gre" },
		  { gre(false, false), gre(false, true) },
		  { gre(true, false), gre(true, true) },
		  { packet(true, false, IPPROTO_SCTP, 1, 2, 0),
		    packet(true, true, IPPROTO_SCTP, 1, 2, 0) } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		for (int v6 = 0; v6 < 2; v6++) {
			uint64_t before = state_count(rig, DP_STATE_FLOWS_NEW);

			expect(rig, XDP, cases[i].answer[v6], "default");
			expect(rig, OUT, cases[i].ask[v6], cases[i].rule[v6]);
			expect(rig, XDP, cases[i].answer[v6], "live");
			expect(rig, IN, cases[i].other[v6], "default");
			assert_int_equal(state_count(rig, DP_STATE_FLOWS_NEW), before);
			expect(rig, OUT, cases[i].ask[v6], "live");
			assert_int_equal(state_count(rig, DP_STATE_FLOWS_NEW), before + 1);
			expect(rig, IN, cases[i].answer[v6], "live");
			expect(rig, IN, cases[i].other[v6], "default");
		}
	rig_free(&rig);
}

/* An echo with identifier 0 has no port that tells its ends apart: the peer's own question is no answer. */
static void an_echo_without_identifier_has_a_direction(void **state)
{
	struct rig *rig = rig_new(policy);

	(void)state;
	expect(rig, OUT, echo(false, false, true, 0), "ping");
	expect(rig, XDP, echo(true, false, true, 0), "default");
	expect(rig, XDP, echo(true, false, false, 0), "live");
	expect(rig, OUT, echo(false, false, true, 0), "live");
	expect(rig, XDP, echo(true, false, true, 0), "default");
	rig_free(&rig);
}

/*
 * Of TCP a rule without flags lets in what may open a connection and nothing else; a rule with flags keeps
 * its word. Rules out "any packet without ACK opens".
 */
static void only_a_syn_opens(void **state)
{
	static const uint8_t stray[] = { ACK,       SYN | ACK, FIN | ACK, FIN,       RST,
					 RST | ACK, SYN | FIN, SYN | RST, PSH | ACK, 0 };
	struct rig *rig = rig_new(policy);

	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		for (size_t i = 0; i < COUNT(stray); i++)
			expect(rig, i % 2 ? XDP : IN,
			       packet(true, v6, IPPROTO_TCP, 4100, 80, stray[i]), "no-flow");
		expect(rig, XDP, packet(true, v6, IPPROTO_TCP, 4100, 80, SYN | PSH), "web");
		expect(rig, XDP, packet(true, v6, IPPROTO_TCP, 4100, 81, ACK), "acks");
		expect(rig, XDP, packet(true, v6, IPPROTO_TCP, 4100, 81, SYN), "default");
	}
	assert_int_equal(state_count(rig, DP_STATE_PENDING_NEW), 2);
	rig_free(&rig);
}

/* A chain of which no other asks makes no flows, whatever passes. */
static void without_state_there_are_no_flows(void **state)
{
	struct rig *rig = rig_new("version: 1\nattach:\n  wan: {dev: lo}\nfilter:\n"
				  "  wan-in:\n    at: wan.ingress\n    default: pass\n"
				  "  wan-out:\n    at: wan.egress\n    default: pass\n");

	(void)state;
	expect(rig, XDP, packet(true, false, IPPROTO_TCP, 4000, 80, SYN), "default");
	expect(rig, XDP, packet(true, false, IPPROTO_TCP, 4000, 80, ACK), "default");
	expect(rig, OUT, packet(false, false, IPPROTO_UDP, 5000, 53, 0), "default");
	assert_int_equal(pending_count(rig, DP_INGRESS) + pending_count(rig, DP_EGRESS), 0);
	rig_free(&rig);
}

/* ---- where it is asked ------------------------------------------------------------------------ */

/* A SYN is judged by the other rules also inside a live flow, and nothing is looked up for it. */
static void a_syn_never_asks(void **state)
{
	struct rig *rig = rig_new(policy);
	struct frame syn = packet(true, false, IPPROTO_TCP, 4200, 80, SYN);
	struct frame ack = packet(true, false, IPPROTO_TCP, 4200, 80, ACK);

	(void)state;
	(void)connect_tcp(rig, false, 4200);
	assert_int_equal(rig_explain(rig, XDP, ack.bytes, ack.len).live, 2);
	assert_int_equal(rig_explain(rig, XDP, syn.bytes, syn.len).live, 0);
	expect(rig, XDP, syn, "web");
	rig_free(&rig);
}

/* A live flow whose packets a rule before `established` passes: that rule counts, and the flow lives on. */
static void an_earlier_rule_keeps_a_flow_alive(void **state)
{
	struct rig *rig = rig_new(policy);
	struct dp_flow *flow = talk_udp(rig, false, 5100, 9999);
	uint32_t old = now_tick() - 1000;

	(void)state;
	assert_non_null(flow);
	flow->seen = old;
	expect(rig, XDP, packet(true, false, IPPROTO_UDP, 9999, 5100, 0), "early");
	assert_int_not_equal(flow->seen, old);
	expect(rig, OUT, packet(false, false, IPPROTO_UDP, 5100, 9999, 0), "live");
	rig_free(&rig);
}

/* A rule with a state in audit mode counts what is live, and decides nothing. */
static void state_in_audit_mode(void **state)
{
	struct rig *rig = rig_new(policy);
	struct frame in = packet(true, false, IPPROTO_TCP, 4300, 80, ACK);
	struct frame early = packet(true, false, IPPROTO_UDP, 9999, 4300, 0);
	struct frame syn = packet(true, false, IPPROTO_TCP, 4300, 80, SYN);

	(void)state;
	assert_int_equal(run_at(rig, XDP, &in).audits, 0);
	assert_int_equal(run_at(rig, XDP, &early).audits, 0);
	(void)connect_tcp(rig, false, 4300);
	(void)talk_udp(rig, false, 4300, 9999);
	assert_int_equal(run_at(rig, XDP, &in).audits, 1);
	assert_int_equal(run_at(rig, IN, &early).audits, 1);
	assert_int_equal(run_at(rig, IN, &syn).audits, 0);
	rig_free(&rig);
}

/* ---- ICMP errors ------------------------------------------------------------------------------ */

enum quote {
	QUOTE_WHOLE,
	QUOTE_CUT,    /* no ports */
	QUOTE_FORGED, /* to someone else than the sender of what it quotes */
	QUOTE_TURNED, /* of the peer's own packet */
	QUOTE_REDIRECT,
};

/* From a router, about what the host has sent from a port. */
static struct frame error_about(bool ipv6, enum quote kind, uint16_t sport, uint16_t dport)
{
	static const char *const routers[] = { "203.0.113.1", "2001:db8:ff::1" };
	static const char *const others[] = { "192.0.2.99", "2001:db8:1::99" };
	struct frame quoted = packet(kind == QUOTE_TURNED, ipv6, IPPROTO_UDP, sport, dport, 0);
	const char *to = kind == QUOTE_FORGED ? others[ipv6] : hosts[ipv6];
	size_t bytes = (kind == QUOTE_CUT ? quoted.l4 : quoted.len) - quoted.l3;
	uint8_t type = ipv6 ? 1 : 3;
	struct frame f = {};

	if (kind == QUOTE_REDIRECT)
		type = ipv6 ? 137 : 5;
	frame_eth(&f, ipv6 ? ETH_P_IPV6 : ETH_P_IP);
	if (ipv6)
		frame_ipv6(&f, routers[1], to, IPPROTO_ICMPV6);
	else
		frame_ipv4(&f, routers[0], to, IPPROTO_ICMP);
	frame_icmp(&f, type, 1);
	frame_pad(&f, f.len + bytes);
	memcpy(f.bytes + f.len - bytes, quoted.bytes + quoted.l3, bytes);
	frame_finish(&f);
	return f;
}

/* Rules out "errors pass" as well as "errors drop". */
static void errors_belong_to_what_they_quote(void **state)
{
	struct rig *rig = rig_new(policy);

	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		expect(rig, XDP, error_about(v6, QUOTE_WHOLE, 5200, 53), "default");
		expect(rig, OUT, packet(false, v6, IPPROTO_UDP, 5200, 53, 0), "udp");
		for (int step = 0; step < 2; step++) { /* pending, then established */
			enum rig_hook hook = step ? IN : XDP;

			expect(rig, hook, error_about(v6, QUOTE_WHOLE, 5200, 53), "live");
			expect(rig, hook, error_about(v6, QUOTE_WHOLE, 5201, 53), "default");
			expect(rig, hook, error_about(v6, QUOTE_CUT, 5200, 53), "default");
			expect(rig, hook, error_about(v6, QUOTE_FORGED, 5200, 53), "default");
			expect(rig, hook, error_about(v6, QUOTE_TURNED, 53, 5200), "default");
			expect(rig, hook, error_about(v6, QUOTE_REDIRECT, 5200, 53), "default");
			assert_non_null(talk_udp(rig, v6, 5200, 53));
		}
	}
	rig_free(&rig);
}

/* What lies in the frame behind the datagram is no quote. */
static void padding_is_no_quote(void **state)
{
	struct rig *rig = rig_new(policy);
	struct frame f = error_about(false, QUOTE_WHOLE, 5200, 53);

	(void)state;
	expect(rig, OUT, packet(false, false, IPPROTO_UDP, 5200, 53, 0), "udp");
	f.bytes[f.l3 + 3] =
		(uint8_t)(f.l4 + 8 - f.l3); /* the datagram ends behind the error's header */
	expect(rig, XDP, f, "default");
	rig_free(&rig);
}

/* ---- how a flow ends -------------------------------------------------------------------------- */

/*
 * Both FINs, or a RST that the other end may expect, end a connection; one FIN or a RST from nowhere do not.
 * Rules out a filter in which anybody ends a stranger's connection.
 */
static void tcp_ends(void **state)
{
	struct rig *rig = rig_new(policy);
	struct dp_flow *flow = connect_tcp(rig, false, 4400);
	uint32_t flags = flow->flags;

	(void)state;
	expect(rig, OUT, packet(false, false, IPPROTO_TCP, 80, 4400, ACK), "live");
	/* The host has acknowledged 1001. */
	expect(rig, XDP, numbered(packet(true, false, IPPROTO_TCP, 4400, 80, RST), 900, 0), "live");
	expect(rig, XDP, numbered(packet(true, false, IPPROTO_TCP, 4400, 80, RST), 1001 + 65536, 0),
	       "live");
	assert_int_equal(flow->flags, flags);
	expect(rig, XDP, numbered(packet(true, false, IPPROTO_TCP, 4400, 80, RST), 1001, 0),
	       "live");
	assert_int_equal(flow->flags, flags | DP_FLOW_RESET);
	/* The ends go on: it was not for them. */
	expect(rig, OUT, packet(false, false, IPPROTO_TCP, 80, 4400, ACK), "live");
	assert_int_equal(flow->flags, flags);
	expect(rig, XDP, packet(true, false, IPPROTO_TCP, 4400, 80, FIN | ACK), "live");
	flow->seen = now_tick() - DP_IDLE_CLOSING - 2;
	expect(rig, OUT, packet(false, false, IPPROTO_TCP, 80, 4400, ACK), "live");
	expect(rig, OUT, packet(false, false, IPPROTO_TCP, 80, 4400, FIN | ACK), "live");
	assert_int_equal(flow->flags, flags | DP_FLOW_FIN0 | DP_FLOW_FIN1);
	expect(rig, XDP, packet(true, false, IPPROTO_TCP, 4400, 80, ACK), "live");
	flow->seen = now_tick() - DP_IDLE_CLOSING - 2;
	expect(rig, XDP, packet(true, false, IPPROTO_TCP, 4400, 80, ACK), "no-flow");
	rig_free(&rig);
}

/* The ends may use their ports again at once, not only when the old connection is forgotten. */
static void tcp_begins_again(void **state)
{
	struct rig *rig = rig_new(policy);
	uint64_t begun;

	(void)state;
	(void)connect_tcp(rig, false, 4500);
	expect(rig, XDP, packet(true, false, IPPROTO_TCP, 4500, 80, FIN | ACK), "live");
	expect(rig, OUT, packet(false, false, IPPROTO_TCP, 80, 4500, FIN | ACK), "live");
	begun = state_count(rig, DP_STATE_FLOWS_NEW);
	(void)connect_tcp(rig, false, 4500);
	assert_int_equal(state_count(rig, DP_STATE_FLOWS_NEW), begun + 1);
	rig_free(&rig);
}

/* A question that nobody answered in time may be asked again, and answered, from the same socket. */
static void a_question_can_be_repeated(void **state)
{
	struct rig *rig = rig_new(policy);
	uint32_t count;

	(void)state;
	expect(rig, OUT, packet(false, false, IPPROTO_UDP, 5300, 53, 0), "udp");
	find_flow(rig->pending, DP_PENDING_SLOTS, 5300, &count)->seen =
		now_tick() - DP_IDLE_PENDING - 8;
	expect(rig, XDP, packet(true, false, IPPROTO_UDP, 53, 5300, 0), "default");
	expect(rig, OUT, packet(false, false, IPPROTO_UDP, 5300, 53, 0), "udp");
	expect(rig, XDP, packet(true, false, IPPROTO_UDP, 53, 5300, 0), "live");
	rig_free(&rig);
}

static void idle_flows_expire(void **state)
{
	struct rig *rig = rig_new(policy);
	struct dp_flow *tcp = connect_tcp(rig, false, 4600), *udp = talk_udp(rig, true, 4700, 53);
	struct dp_flow *ask;
	uint32_t count;

	(void)state;
	assert_non_null(udp);
	tcp->seen = now_tick() - DP_IDLE_TCP + 8;
	udp->seen = now_tick() - DP_IDLE_UDP + 8;
	expect(rig, XDP, packet(true, false, IPPROTO_TCP, 4600, 80, ACK), "live");
	expect(rig, XDP, packet(true, true, IPPROTO_UDP, 53, 4700, 0), "live");
	tcp->seen = now_tick() - DP_IDLE_TCP - 1;
	udp->seen = now_tick() - DP_IDLE_UDP - 1;
	expect(rig, XDP, packet(true, false, IPPROTO_TCP, 4600, 80, ACK), "no-flow");
	expect(rig, XDP, packet(true, true, IPPROTO_UDP, 53, 4700, 0), "default");
	expect(rig, OUT, packet(false, false, IPPROTO_UDP, 4800, 53, 0), "udp");
	ask = find_flow(rig->pending, DP_PENDING_SLOTS, 4800, &count);
	assert_int_equal(count, 1);
	ask->seen = now_tick() - DP_IDLE_PENDING - 1;
	expect(rig, XDP, packet(true, false, IPPROTO_UDP, 53, 4800, 0), "default");
	rig_free(&rig);
}

/* ---- pressure --------------------------------------------------------------------------------- */

/*
 * A flood of SYNs from everywhere displaces others like it, never the host's own questions nor what is
 * established; a socket that sends to everybody fills only its own region.
 */
static void floods_displace_their_like(void **state)
{
	const uint32_t half = DP_PENDING_SLOTS / DP_DIR_COUNT;
	struct rig *rig = rig_new(policy);
	struct frame syn = packet(true, false, IPPROTO_TCP, 1, 80, SYN);
	struct frame spray = packet(false, false, IPPROTO_UDP, 6000, 53, 0);
	struct rng rng = { 1 };

	(void)state;
	/* Always the same: one drawn key in sixty-four gives both sockets one region. */
	for (int i = 0; i < DP_HASH_KEYS; i++)
		rig->ctl->hash_key[i] = rng_next(&rng);
	(void)connect_tcp(rig, false, 4900);
	expect(rig, OUT, packet(false, true, IPPROTO_UDP, 6001, 53, 0), "udp");
	for (uint32_t i = 0; i < 3 * half; i++) {
		put32(syn.bytes + syn.l3 + 12, 0x0b000000 + i * 2654435761u % 0x1000000);
		frame_finish(&syn);
		(void)rig_verdict(rig, XDP, syn.bytes, syn.len);
	}
	assert_in_range(pending_count(rig, DP_INGRESS), half * 9 / 10, half);
	assert_int_equal(pending_count(rig, DP_EGRESS), 1);
	assert_true(state_count(rig, DP_STATE_PENDING_LOST) > half);
	for (uint32_t i = 0; i < 20 * DP_PENDING_REGION; i++) {
		put32(spray.bytes + spray.l3 + 16, 0x0b000000 + i);
		frame_finish(&spray);
		(void)rig_verdict(rig, OUT, spray.bytes, spray.len);
	}
	assert_in_range(pending_count(rig, DP_EGRESS), DP_PENDING_REGION / 2,
			DP_PENDING_REGION + 1);
	expect(rig, IN, packet(true, true, IPPROTO_UDP, 53, 6001, 0), "live");
	expect(rig, IN, packet(true, false, IPPROTO_TCP, 4900, 80, ACK), "live");
	rig_free(&rig);
}

/* No room among the established: counted, and the flow goes on pending, also with ACKs that come late. */
static void a_full_table_loses_nobody(void **state)
{
	struct rig *rig = rig_new_sized(policy, DP_FLOW_PROBES);
	struct frame ack = packet(true, false, IPPROTO_TCP, 4900, 80, ACK);

	(void)state;
	for (uint16_t i = 0; i < DP_FLOW_PROBES; i++)
		assert_non_null(talk_udp(rig, false, 7000 + i, 53));
	assert_int_equal(state_count(rig, DP_STATE_FLOWS_FULL), 0);
	assert_null(talk_udp(rig, false, 7100, 53));
	assert_int_equal(state_count(rig, DP_STATE_FLOWS_FULL), 1);
	expect(rig, XDP, packet(true, false, IPPROTO_UDP, 53, 7100, 0), "live");
	expect(rig, OUT, packet(false, false, IPPROTO_UDP, 7100, 53, 0), "live");
	expect(rig, IN, packet(true, false, IPPROTO_TCP, 4900, 80, SYN), "web");
	expect(rig, OUT, packet(false, false, IPPROTO_TCP, 80, 4900, SYN | ACK), "live");
	expect(rig, IN, ack, "live");
	expect(rig, OUT, numbered(packet(0, 0, IPPROTO_TCP, 80, 4900, ACK), 9999, 0), "live");
	expect(rig, XDP, ack, "live");
	rig->flows[3].seen = now_tick() - DP_IDLE_UDP - 1;
	expect(rig, OUT, packet(false, false, IPPROTO_UDP, 7100, 53, 0), "live");
	assert_non_null(established(rig, 7100));
	assert_int_equal(state_count(rig, DP_STATE_FLOWS_NEW), DP_FLOW_PROBES + 1);
	rig_free(&rig);
}

/* For connections older than the policy, for a while. */
static void midstream_is_adopted_for_a_while(void **state)
{
	struct rig *rig = rig_new(policy);

	(void)state;
	expect(rig, XDP, packet(true, false, IPPROTO_TCP, 4000, 81, ACK), "acks");
	assert_int_equal(pending_count(rig, DP_INGRESS), 0);
	rig->ctl->adopt_until = now_tick() + DP_TICKS(3600);
	expect(rig, XDP, packet(true, false, IPPROTO_TCP, 4000, 81, ACK | RST), "acks");
	expect(rig, XDP, packet(true, false, IPPROTO_TCP, 4000, 81, ACK | SYN), "acks");
	assert_int_equal(pending_count(rig, DP_INGRESS), 0);
	expect(rig, XDP, packet(true, false, IPPROTO_TCP, 4000, 81, ACK), "acks");
	assert_int_equal(state_count(rig, DP_STATE_FLOWS_ADOPTED), 1);
	expect(rig, OUT, packet(false, false, IPPROTO_TCP, 81, 4000, ACK), "live");
	expect(rig, XDP, packet(true, false, IPPROTO_TCP, 4000, 81, ACK), "live");
	assert_non_null(established(rig, 4000));
	rig->ctl->adopt_until = now_tick();
	expect(rig, XDP, packet(true, false, IPPROTO_TCP, 4001, 81, ACK), "acks");
	assert_int_equal(state_count(rig, DP_STATE_FLOWS_ADOPTED), 1);
	rig_free(&rig);
}

/* ---- what is counted, and what explain leaves alone ------------------------------------------- */

static uint64_t coarse_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Rules out a first hit that every packet writes, and a last hit that only the first one does. */
static void first_and_last_hit(void **state)
{
	struct rig *rig = rig_new(policy);
	struct frame syn = packet(true, false, IPPROTO_TCP, 4000, 80, SYN);
	uint32_t web = rig->rules_of[0] + 3;
	struct dp_rule_count *counts = calloc(rig->slots, sizeof(*counts)), first;
	uint64_t before = coarse_ns();

	(void)state;
	assert_non_null(counts);
	(void)rig_verdict(rig, XDP, syn.bytes, syn.len);
	rig_rule_counts(rig, counts);
	first = counts[web];
	assert_int_equal(first.packets, 1);
	assert_int_equal(first.first_ns, first.last_ns);
	assert_in_range(first.first_ns, before, coarse_ns());
	while (coarse_ns() == first.last_ns) /* the clock moves at the kernel's next tick */
		;
	(void)rig_verdict(rig, IN, syn.bytes, syn.len);
	rig_rule_counts(rig, counts);
	assert_int_equal(counts[web].first_ns, first.first_ns);
	assert_in_range(counts[web].last_ns, first.last_ns + 1, coarse_ns());
	for (uint32_t i = 0; i < rig->slots; i++)
		assert_int_equal(!counts[i].first_ns, i != web);
	free(counts);
	rig_free(&rig);
}

/* Everything that both loads share. */
struct shared {
	struct dp_ctl ctl;
	struct dp_chain_counters chains[4];
	struct dp_rule_count rules[64];
	struct dp_state_counters state;
	struct dp_flow flows[RIG_FLOW_SLOTS], pending[DP_PENDING_SLOTS];
	struct dp_fragment fragments[DP_FRAGMENT_SLOTS];
};

static struct shared *copy_shared(const struct rig *rig)
{
	struct shared *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->ctl = *rig->ctl;
	for (uint32_t i = 0; i < COUNT(s->chains); i++)
		s->chains[i] = rig_chain_counters(rig, i);
	rig_rule_counts(rig, s->rules);
	s->state = rig_state_counters(rig);
	memcpy(s->flows, rig->flows, sizeof(s->flows));
	memcpy(s->pending, rig->pending, sizeof(s->pending));
	memcpy(s->fragments, rig->fragments, sizeof(s->fragments));
	return s;
}

/* Frames that would begin, answer, establish, refresh and end flows: asked about, they do nothing. */
static void explain_changes_nothing(void **state)
{
	struct rig *rig = rig_new(policy);
	const struct {
		enum rig_hook hook;
		struct frame frame;
		uint32_t reason;
		uint8_t live;
	} cases[] = {
		{ XDP, packet(true, false, IPPROTO_TCP, 4001, 80, SYN), DP_REASON_RULE_PASS, 0 },
		{ IN, packet(true, false, IPPROTO_TCP, 4002, 80, ACK), DP_REASON_NO_FLOW, 1 },
		{ OUT, packet(false, false, IPPROTO_UDP, 5001, 53, 0), DP_REASON_RULE_PASS, 1 },
		{ XDP, packet(true, false, IPPROTO_UDP, 53, 5000, 0), DP_REASON_RULE_PASS, 2 },
		{ OUT, packet(false, false, IPPROTO_UDP, 5002, 53, 0), DP_REASON_RULE_PASS, 2 },
		{ XDP, packet(true, false, IPPROTO_TCP, 4000, 80, FIN | ACK), DP_REASON_RULE_PASS,
		  2 },
		{ IN, packet(true, false, IPPROTO_TCP, 4000, 80, RST), DP_REASON_RULE_PASS, 2 },
		{ XDP, error_about(false, QUOTE_WHOLE, 5000, 53), DP_REASON_RULE_PASS, 2 },
	};
	struct dp_flow *flow = connect_tcp(rig, false, 4000);
	struct shared *before, *after;

	(void)state;
	flow->seen -= 1000;
	expect(rig, OUT, packet(false, false, IPPROTO_UDP, 5000, 53, 0), "udp");
	expect(rig, OUT, packet(false, false, IPPROTO_UDP, 5002, 53, 0), "udp");
	expect(rig, XDP, packet(true, false, IPPROTO_UDP, 53, 5002, 0), "live");
	before = copy_shared(rig);
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct frame *f = &cases[i].frame;
		struct dp_explain said = rig_explain(rig, cases[i].hook, f->bytes, f->len);

		if (said.reason != cases[i].reason || said.live != cases[i].live)
			fail_msg("case %zu: %s, live %u", i, rig_reason_text(said.reason),
				 said.live);
	}
	after = copy_shared(rig);
	assert_memory_equal(before, after, sizeof(*before));
	free(before);
	free(after);
	rig_free(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcp_begins_in_three_steps),
		cmocka_unit_test(an_answer_must_be_seen),
		cmocka_unit_test(others_begin_with_a_question),
		cmocka_unit_test(an_echo_without_identifier_has_a_direction),
		cmocka_unit_test(only_a_syn_opens),
		cmocka_unit_test(without_state_there_are_no_flows),
		cmocka_unit_test(a_syn_never_asks),
		cmocka_unit_test(an_earlier_rule_keeps_a_flow_alive),
		cmocka_unit_test(state_in_audit_mode),
		cmocka_unit_test(errors_belong_to_what_they_quote),
		cmocka_unit_test(padding_is_no_quote),
		cmocka_unit_test(tcp_ends),
		cmocka_unit_test(tcp_begins_again),
		cmocka_unit_test(a_question_can_be_repeated),
		cmocka_unit_test(idle_flows_expire),
		cmocka_unit_test(floods_displace_their_like),
		cmocka_unit_test(a_full_table_loses_nobody),
		cmocka_unit_test(midstream_is_adopted_for_a_while),
		cmocka_unit_test(first_and_last_hit),
		cmocka_unit_test(explain_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
