/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One frame, one line: what the real programs do with it under one policy, at XDP and at TC: verdict,
 * reason, rule, the frame unchanged, exactly one reason counted, and the bytes of the whole frame. It
 * rules out a parser of fixed offsets, a filter that passes what it cannot read, and counters that are
 * derived from each other.
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
#define ACK 0x10
#define FIN 0x01

static const char policy[] =
	"version: 1\n"
	"attach:\n"
	"  wan: {dev: lo}\n"
	"safety:\n"
	"  never-drop:\n"
	"    - {proto: tcp, dport: 22, from: 198.18.0.0/24}\n"
	"sets:\n"
	"  bad: {items: [203.0.113.66, 198.18.0.0/15, \"2001:db8:bad::/48\"]}\n"
	"  office: {items: [192.0.2.0/27, \"2001:db8:10::/48\"]}\n"
	"filter:\n"
	"  wan-in:\n"
	"    at: wan.ingress\n"
	"    default: drop\n"
	"    rules:\n"
	"      - {id: watch, proto: tcp, do: drop, mode: audit}\n"
	"      - {id: bad, from: $bad, do: drop}\n"
	"      - {id: null-scan, proto: tcp, flags: {none-of: [syn, ack, rst, fin]}, do: drop}\n"
	"      - {id: ssh, proto: tcp, dport: 22, from: $office, do: pass}\n"
	"      - {id: web, proto: tcp, dport: [80, 443, 8000-8099], do: pass}\n"
	"      - {id: dns, proto: udp, dport: 53, do: pass}\n"
	"      - {id: sig, proto: sctp, sport: 2905, do: pass}\n"
	"      - {id: pmtu, proto: icmp, type: dest-unreachable, code: frag-needed, do: pass}\n"
	"      - {id: pmtu6, proto: icmp6, type: packet-too-big, do: pass}\n"
	"      - {id: guest, vlan: 7, not-from: $office, proto: udp, do: pass}\n"
	"      - {id: no-na, proto: icmp6, type: 136, to: \"2001:db8::dead\", do: drop}\n"
	"      - {id: gre, proto: 47, do: pass}\n"
	"  wan-out:\n"
	"    at: wan.egress\n"
	"    default: pass\n"
	"    rules:\n"
	"      - {id: no-smtp, proto: tcp, dport: 25, do: drop}\n";

static const char src4[] = "198.51.100.7", dst4[] = "192.0.2.10";
static const char src6[] = "2001:db8:2::7", dst6[] = "2001:db8:1::10";

static struct frame tcp4(uint16_t dport)
{
	return frame_flow(src4, dst4, IPPROTO_TCP, 40000, dport, SYN);
}

static struct frame tagged(uint16_t tpid, int tags, uint16_t vid, uint8_t proto, uint16_t dport)
{
	struct frame f = {};

	frame_eth(&f, ETH_P_IP);
	for (int i = 0; i < tags; i++)
		frame_tag(&f, tpid, i ? 0 : vid);
	frame_ipv4(&f, src4, dst4, proto);
	frame_ports(&f, 40000, dport, SYN);
	frame_finish(&f);
	return f;
}

static struct frame icmp(bool ipv6, const char *dst, uint8_t type, uint8_t code, uint8_t hop_limit)
{
	struct frame f = {};

	frame_eth(&f, ipv6 ? ETH_P_IPV6 : ETH_P_IP);
	if (ipv6)
		frame_ipv6(&f, src6, dst, IPPROTO_ICMPV6);
	else
		frame_ipv4(&f, src4, dst, IPPROTO_ICMP);
	frame_icmp(&f, type, code);
	frame_finish(&f);
	if (ipv6)
		f.bytes[f.l3 + 7] = hop_limit;
	return f;
}

static struct frame options4(const char *options, size_t len, uint16_t dport)
{
	struct frame f = {};

	frame_eth(&f, ETH_P_IP);
	frame_ipv4(&f, src4, dst4, IPPROTO_TCP);
	frame_ipv4_options(&f, options, len);
	frame_ports(&f, 40000, dport, SYN);
	frame_finish(&f);
	return f;
}

/* `headers` extension headers of one type before TCP to a port. */
static struct frame ext6(uint8_t type, int headers, uint8_t len8, const char *body, uint16_t dport)
{
	struct frame f = {};

	frame_eth(&f, ETH_P_IPV6);
	frame_ipv6(&f, src6, dst6, headers ? type : IPPROTO_TCP);
	for (int i = 0; i < headers; i++)
		frame_ext(&f, i + 1 < headers ? type : IPPROTO_TCP, len8, body, body ? 6 : 0);
	f.proto = IPPROTO_TCP;
	frame_ports(&f, 40000, dport, SYN);
	frame_finish(&f);
	return f;
}

static struct frame patched(struct frame f, size_t at, uint8_t value)
{
	f.bytes[at] = value;
	return f;
}

static struct frame cut(struct frame f, size_t len)
{
	f.len = len;
	return f;
}

struct filter_case {
	const char *name;
	struct frame frame;
	enum dp_reason reason;
	const char *rule;
	uint32_t audits;
};

static void run_cases(enum rig_hook hook, const struct filter_case *cases, size_t count)
{
	struct rig *rig = rig_new(policy);

	for (size_t i = 0; i < count; i++) {
		const struct filter_case *c = &cases[i];
		struct rig_outcome o = rig_run(rig, hook, c->frame.bytes, c->frame.len);

		if (o.reason != c->reason || o.counted != 1 || !o.unchanged ||
		    o.bytes != c->frame.len || o.audits != c->audits ||
		    strcmp(o.rule ? o.rule : "-", c->rule ? c->rule : "-"))
			fail_msg(
				"hook %d, %s: expected %s by %s, got %s by %s; %u reasons, %u audits, %lu bytes",
				hook, c->name, rig_reason_text(c->reason), c->rule ? c->rule : "-",
				rig_reason_text(o.reason), o.rule ? o.rule : "-", o.counted,
				o.audits, (unsigned long)o.bytes);
	}
	print_message("%zu frames\n", count);
	rig_free(&rig);
}

#define PASSED     DP_REASON_RULE_PASS
#define DENIED     DP_REASON_RULE_DROP
#define BY_DEFAULT DP_REASON_DEFAULT_DROP
#define COUNT(a)   (sizeof(a) / sizeof((a)[0]))

static void rules_match_their_keys(enum rig_hook hook)
{
	const struct filter_case cases[] = {
		{ "an allowed port", tcp4(80), PASSED, "web", 1 },
		{ "the first of a range", tcp4(8000), PASSED, "web", 1 },
		{ "the last of a range", tcp4(8099), PASSED, "web", 1 },
		{ "one above a range", tcp4(8100), BY_DEFAULT, "default", 1 },
		{ "port 443 with bytes swapped", tcp4(0xbb01), BY_DEFAULT, "default", 1 },
		{ "IPv6", frame_flow(src6, dst6, IPPROTO_TCP, 1, 443, SYN), PASSED, "web", 1 },
		{ "UDP to a TCP port", frame_flow(src4, dst4, IPPROTO_UDP, 1, 80, 0), BY_DEFAULT,
		  "default" },
		{ "UDP", frame_flow(src4, dst4, IPPROTO_UDP, 1, 53, 0), PASSED, "dns" },
		{ "SCTP by source port", frame_flow(src6, dst6, IPPROTO_SCTP, 2905, 9, 0), PASSED,
		  "sig" },
		{ "a listed address, allowed port",
		  frame_flow("203.0.113.66", dst4, IPPROTO_TCP, 1, 80, SYN), DENIED, "bad", 1 },
		{ "one beside it", frame_flow("203.0.113.67", dst4, IPPROTO_TCP, 1, 80, SYN),
		  PASSED, "web", 1 },
		{ "a listed IPv6 prefix",
		  frame_flow("2001:db8:bad:1::1", dst6, IPPROTO_UDP, 1, 53, 0), DENIED, "bad" },
		{ "an IPv6 address that ends like a listed IPv4 one",
		  frame_flow("2001:db8::203.0.113.66", dst6, IPPROTO_UDP, 1, 53, 0), PASSED,
		  "dns" },
		{ "never-drop wins over the list",
		  frame_flow("198.18.0.5", dst4, IPPROTO_TCP, 1, 22, SYN), DP_REASON_NEVER_DROP,
		  "never-drop/1", 0 },
		{ "and for its port alone", frame_flow("198.18.0.5", dst4, IPPROTO_TCP, 1, 23, SYN),
		  DENIED, "bad", 1 },
		{ "from a set of both families",
		  frame_flow("2001:db8:10::1", dst6, IPPROTO_TCP, 1, 22, SYN), PASSED, "ssh", 1 },
		{ "no flags", frame_flow(src4, dst4, IPPROTO_TCP, 1, 80, 0), DENIED, "null-scan",
		  1 },
		{ "one of the flags", frame_flow(src4, dst4, IPPROTO_TCP, 1, 80, FIN), PASSED,
		  "web", 1 },
		{ "fragmentation needed", icmp(false, dst4, 3, 4, 64), PASSED, "pmtu" },
		{ "the same type, another code", icmp(false, dst4, 3, 3, 64), BY_DEFAULT,
		  "default" },
		{ "packet too big", icmp(true, dst6, 2, 0, 64), PASSED, "pmtu6" },
		{ "a protocol by number", patched(tcp4(80), 23, 47), PASSED, "gre", 0 },
	};

	run_cases(hook, cases, COUNT(cases));
}

static void link_layer(enum rig_hook hook)
{
	struct frame arp = {}, lldp = {};

	frame_arp(&arp);
	frame_eth(&lldp, ETH_P_LLDP);
	frame_pad(&lldp, 60);
	const struct filter_case cases[] = {
		{ "ARP", arp, DP_REASON_ARP, NULL },
		{ "ARP cut short", cut(arp, 41), DP_REASON_TRUNCATED, NULL },
		{ "not IP", lldp, BY_DEFAULT, "default" },
		{ "one tag", tagged(ETH_P_8021Q, 1, 5, IPPROTO_TCP, 80), PASSED, "web", 1 },
		{ "two tags with id 0 hide no denied port",
		  tagged(ETH_P_8021Q, 2, 0, IPPROTO_TCP, 23), BY_DEFAULT, "default", 1 },
		{ "eight tags", tagged(ETH_P_8021AD, 8, 0, IPPROTO_TCP, 80), PASSED, "web", 1 },
		{ "nine tags", tagged(ETH_P_8021AD, 9, 0, IPPROTO_TCP, 80),
		  DP_REASON_TOO_MANY_HEADERS, NULL },
		{ "tag type 0x9100", tagged(0x9100, 1, 0, IPPROTO_TCP, 80), PASSED, "web", 1 },
		{ "the outermost id", tagged(ETH_P_8021Q, 2, 7, IPPROTO_UDP, 99), PASSED, "guest" },
		{ "another id", tagged(ETH_P_8021Q, 2, 6, IPPROTO_UDP, 99), BY_DEFAULT, "default" },
		{ "a tag cut short", cut(tagged(ETH_P_8021Q, 1, 0, IPPROTO_TCP, 80), 16),
		  DP_REASON_TRUNCATED },
		{ "neighbour advertisement", icmp(true, dst6, 136, 0, 255), DP_REASON_ND, NULL },
		{ "with another hop limit", icmp(true, dst6, 136, 0, 64), BY_DEFAULT, "default" },
		{ "unless a rule says otherwise", icmp(true, "2001:db8::dead", 136, 0, 255), DENIED,
		  "no-na" },
		{ "a redirect is no neighbour discovery", icmp(true, dst6, 137, 0, 255), BY_DEFAULT,
		  "default" },
	};

	run_cases(hook, cases, COUNT(cases));
}

static void ipv4_headers(enum rig_hook hook)
{
	const struct frame f = tcp4(80);
	const size_t ip = 14, tcp = 34;
	const struct filter_case cases[] = {
		{ "no-operation options", options4("\1\1\1\1", 4, 80), PASSED, "web", 1 },
		{ "40 bytes of them",
		  options4("\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1"
			   "\1\1\1\1\1\1\1\1",
			   40, 80),
		  PASSED, "web", 1 },
		{ "options that look like port 80", options4("\0\0\0\x50\x9c\x40\0\x50", 8, 23),
		  BY_DEFAULT, "default", 1 },
		{ "loose source route", options4("\x83\7\x8\xa\x4d\0\x9\0", 8, 80),
		  DP_REASON_SOURCE_ROUTE },
		{ "strict source route behind padding", options4("\1\x89\7\x8\xa\x4d\0\x9", 8, 80),
		  DP_REASON_SOURCE_ROUTE },
		{ "record route", options4("\7\7\4\0\0\0\0\0", 8, 80), PASSED, "web", 1 },
		{ "an option of length 0", options4("\7\0\1\1", 4, 80), DP_REASON_BAD_OPTION },
		{ "an option past the header", options4("\7\5\0\0", 4, 80), DP_REASON_BAD_OPTION },
		{ "an option without a length", options4("\1\1\1\7", 4, 80), DP_REASON_BAD_OPTION },
		{ "end of options, then garbage", options4("\0\xff\xff\xff", 4, 80), PASSED, "web",
		  1 },
		{ "version 5", patched(f, ip, 0x55), DP_REASON_BAD_IPV4 },
		{ "header length 16", patched(f, ip, 0x44), DP_REASON_BAD_IPV4 },
		{ "header longer than the datagram", patched(f, ip, 0x4f), DP_REASON_BAD_IPV4 },
		{ "total length past the frame", patched(f, ip + 3, 200), DP_REASON_TRUNCATED },
		{ "total length inside TCP", patched(f, ip + 3, 30), DP_REASON_BAD_TCP },
		{ "total length before the ports", patched(f, ip + 3, 22), DP_REASON_BAD_TCP },
		{ "total length inside the header", patched(f, ip + 3, 19), DP_REASON_BAD_IPV4 },
		{ "TCP data offset 4", patched(f, tcp + 12, 0x40), DP_REASON_BAD_TCP },
		{ "TCP data offset 15", patched(f, tcp + 12, 0xf0), DP_REASON_BAD_TCP },
		{ "UDP length 7",
		  patched(frame_flow(src4, dst4, IPPROTO_UDP, 1, 53, 0), tcp + 5, 7),
		  DP_REASON_BAD_UDP },
		{ "UDP length past the datagram",
		  patched(frame_flow(src4, dst4, IPPROTO_UDP, 1, 53, 0), tcp + 4, 2),
		  DP_REASON_BAD_UDP },
		{ "first fragment", patched(f, ip + 6, 0x20), DP_REASON_FRAGMENT },
		{ "later fragment", patched(f, ip + 7, 1), DP_REASON_FRAGMENT },
		{ "don't fragment", patched(f, ip + 6, 0x40), PASSED, "web", 1 },
		{ "IPv6 in an IPv4 frame",
		  patched(patched(frame_flow(src6, dst6, IPPROTO_TCP, 1, 80, SYN), 12, 8), 13, 0),
		  DP_REASON_BAD_IPV4 },
	};

	run_cases(hook, cases, COUNT(cases));
}

static void ipv6_headers(enum rig_hook hook)
{
	const struct frame f = frame_flow(src6, dst6, IPPROTO_TCP, 1, 80, SYN);
	const size_t ip = 14;
	struct frame nothing = patched(f, ip + 6, 59);
	const struct filter_case cases[] = {
		{ "version 4", patched(f, ip, 0x40), DP_REASON_BAD_IPV6 },
		{ "payload length 0", patched(f, ip + 5, 0), DP_REASON_BAD_IPV6 },
		{ "payload length inside TCP", patched(f, ip + 5, 5), DP_REASON_BAD_TCP },
		{ "payload length past the frame", patched(f, ip + 4, 1), DP_REASON_TRUNCATED },
		{ "no next header, with bytes like TCP", nothing, BY_DEFAULT, "default" },
		{ "ESP with bytes like TCP", patched(f, ip + 6, 50), BY_DEFAULT, "default" },
		{ "hop-by-hop", ext6(0, 1, 0, "\1\4\0\0\0\0", 80), PASSED, "web", 1 },
		{ "hop-by-hop twice", ext6(0, 2, 0, "\1\4\0\0\0\0", 80), DP_REASON_BAD_EXT_HEADER },
		{ "eight destination options", ext6(60, 8, 0, NULL, 80), PASSED, "web", 1 },
		{ "and a denied port behind them", ext6(60, 8, 0, NULL, 23), BY_DEFAULT, "default",
		  1 },
		{ "nine", ext6(60, 9, 0, NULL, 80), DP_REASON_TOO_MANY_HEADERS },
		{ "an extension header of 256 bytes", ext6(60, 1, 31, NULL, 80), PASSED, "web", 1 },
		{ "longer than the packet", patched(ext6(60, 1, 0, NULL, 80), 55, 31),
		  DP_REASON_BAD_EXT_HEADER },
		{ "routing header type 4, used up", ext6(43, 1, 0, "\4\0\0\0\0\0", 80), PASSED,
		  "web", 1 },
		{ "routing header type 0", ext6(43, 1, 0, NULL, 80), DP_REASON_SOURCE_ROUTE },
		{ "routing header with a hop left", ext6(43, 1, 0, "\4\1\0\0\0\0", 80),
		  DP_REASON_SOURCE_ROUTE },
		{ "atomic fragment", ext6(44, 1, 0, NULL, 80), PASSED, "web", 1 },
		{ "two atomic fragment headers", ext6(44, 2, 0, NULL, 80),
		  DP_REASON_BAD_EXT_HEADER },
		{ "first fragment", ext6(44, 1, 0, "\0\1\0\0\0\0", 80), DP_REASON_FRAGMENT },
		{ "later fragment", ext6(44, 1, 0, "\0\x08\0\0\0\0", 80), DP_REASON_FRAGMENT },
	};

	run_cases(hook, cases, COUNT(cases));
}

/*
 * A frame cut anywhere must not pass: what an intact frame passes by is not there any more. At TC the
 * test run itself refuses frames without a whole IP header; those go over a real device in tests/netns.
 */
static void truncated_everywhere(enum rig_hook hook)
{
	const struct frame frames[] = { tcp4(80), frame_flow(src6, dst6, IPPROTO_UDP, 1, 53, 0),
					options4("\1\1\1\1", 4, 80), ext6(60, 2, 0, NULL, 80),
					tagged(ETH_P_8021Q, 3, 0, IPPROTO_TCP, 80) };
	struct rig *rig = rig_new(policy);

	for (size_t i = 0; i < COUNT(frames); i++) {
		size_t ip_bytes = frames[i].ipv6 ? 40 : 20;

		for (size_t len = hook == RIG_XDP_INGRESS ? ETH_HLEN + 1 : ETH_HLEN + ip_bytes;
		     len < frames[i].len; len++) {
			struct rig_outcome o = rig_run(rig, hook, frames[i].bytes, len);

			if (o.verdict != DP_DROP || o.reason != DP_REASON_TRUNCATED ||
			    o.counted != 1)
				fail_msg("hook %d, frame %zu cut to %zu bytes: %s", hook, i, len,
					 rig_reason_text(o.reason));
		}
	}
	rig_free(&rig);
}

#define LINEAR_BYTES \
	3520 /* at most, of a frame in a test run: a page less the headroom and the tailroom */

/*
 * A frame that goes on in other buffers is as long as all of them: the datagram ends where its header says, and all
 * bytes are counted. Rules out the length of the first buffer.
 */
static void frames_in_several_buffers(void **state)
{
	struct rig *rig = rig_new(policy);

	(void)state;
	for (size_t len = LINEAR_BYTES - 2; len <= FRAME_MAX; len += 17) {
		struct frame f = frame_flow(src4, dst4, IPPROTO_TCP, 40000, 80, SYN), cut;
		struct rig_outcome o;

		frame_pad(&f, len);
		frame_finish(&f);
		cut = f;
		cut.len--;
		o = rig_run(rig, RIG_XDP_INGRESS, f.bytes, f.len);
		assert_int_equal(o.reason, DP_REASON_RULE_PASS);
		assert_int_equal(o.bytes, len);
		o = rig_run(rig, RIG_XDP_INGRESS, cut.bytes, cut.len);
		assert_int_equal(o.reason, DP_REASON_TRUNCATED);
		assert_int_equal(o.bytes, len - 1);
	}
	rig_free(&rig);
}

static uint64_t segments_count(struct rig *rig, struct frame f)
{
	return rig_run(rig, RIG_TC_INGRESS, f.bytes, f.len).bytes;
}

/*
 * A buffer of segments counts what they are on the wire: each has all headers, and none the mark of a buffer that is
 * longer than its length field can say. Rules out headers that count once for some protocols.
 */
static void buffers_of_segments(void **state)
{
	struct rig *rig = rig_new(policy);
	struct frame f;

	(void)state;
	rig_segments(3, 400);
	f = tcp4(80);
	frame_pad(&f, 1254);
	frame_finish(&f);
	assert_int_equal(segments_count(rig, f), 1254 + 2 * (14 + 20 + 20));
	f.bytes[f.l3 + 2] = f.bytes[f.l3 + 3] = 0;
	assert_int_equal(segments_count(rig, f), 1254 + 2 * (14 + 20 + 20));
	f = frame_flow(src4, dst4, IPPROTO_SCTP, 1, 2, 0);
	frame_pad(&f, 1254);
	frame_finish(&f);
	assert_int_equal(segments_count(rig, f), 1254 + 2 * (14 + 20 + 12));
	f = frame_flow(src6, dst6, IPPROTO_UDP, 1, 53, 0);
	frame_pad(&f, 1254);
	frame_finish(&f);
	assert_int_equal(segments_count(rig, f), 1254 + 2 * (14 + 40 + 8));
	f = (struct frame){};
	frame_eth(&f, ETH_P_IPV6);
	frame_ipv6(&f, src6, dst6, IPPROTO_HOPOPTS);
	frame_ext(&f, IPPROTO_TCP, 0, "\xc2\4\0\1\0\0", 6);
	frame_ports(&f, 40000, 80, SYN);
	frame_pad(&f, 1254);
	assert_int_equal(segments_count(rig, f), 1254 - 8 + 2 * (14 + 40 + 20));
	rig_segments(0, 0);
	rig_free(&rig);
}

/* What the host drops by its IPv4 checksum begins no flow, though the rules pass it. */
static void a_wrong_checksum_begins_nothing(void **state)
{
	struct rig *rig = rig_new("version: 1\nattach:\n  wan: {dev: lo}\nfilter:\n  wan-in:\n"
				  "    at: wan.ingress\n    default: drop\n    rules:\n"
				  "      - {id: live, state: established, do: pass}\n"
				  "      - {id: dns, proto: udp, dport: 53, do: pass}\n");
	const struct frame good = frame_flow(src4, dst4, IPPROTO_UDP, 4000, 53, 0);

	(void)state;
	for (int hook = RIG_XDP_INGRESS; hook <= RIG_TC_INGRESS; hook++) {
		struct frame bad = patched(good, good.l3 + 10, good.bytes[good.l3 + 10] ^ 1);

		assert_string_equal(rig_run(rig, (enum rig_hook)hook, bad.bytes, bad.len).rule,
				    "dns");
		assert_int_equal(rig_state_counters(rig).count[DP_STATE_PENDING_NEW], 0);
	}
	(void)rig_run(rig, RIG_XDP_INGRESS, good.bytes, good.len);
	assert_int_equal(rig_state_counters(rig).count[DP_STATE_PENDING_NEW], 1);
	rig_free(&rig);
}

static void egress_has_its_own_chain(void **state)
{
	const struct filter_case cases[] = {
		{ "a denied port", tcp4(25), DENIED, "no-smtp" },
		{ "any other passes by default", tcp4(80), DP_REASON_DEFAULT_PASS, "default" },
		{ "the reply to a protected peer",
		  frame_flow(dst4, "198.18.0.9", IPPROTO_TCP, 22, 40000, ACK), DP_REASON_NEVER_DROP,
		  "never-drop/1" },
		{ "malformed frames drop here too", patched(tcp4(80), 14, 0x44), DP_REASON_BAD_IPV4,
		  NULL },
	};

	(void)state;
	run_cases(RIG_TC_EGRESS, cases, COUNT(cases));
}

/* More audit matches than are counted one by one: the verdict is unmoved, the rest is counted as such. */
static void audit_is_bounded(void **state)
{
	struct frame f = tcp4(80);
	char text[8192];
	int len = snprintf(text, sizeof(text),
			   "version: 1\nattach:\n  wan: {dev: lo}\nfilter:\n  wan-in:\n"
			   "    at: wan.ingress\n    default: drop\n    rules:\n");
	struct rig_outcome o;
	struct rig *rig;

	(void)state;
	for (int i = 0; i < 70; i++)
		len += snprintf(
			text + len, sizeof(text) - (size_t)len,
			"      - {id: a%d, proto: tcp, dport: %d-%d, do: drop, mode: audit}\n", i,
			80 - i % 7, 80 + i);
	(void)snprintf(
		text + len, sizeof(text) - (size_t)len,
		"      - {id: end, proto: tcp, do: pass}\n"
		"      - {id: after, dport: 80, proto: tcp, sport: 40000, do: drop, mode: audit}\n");
	rig = rig_new(text);
	o = rig_run(rig, RIG_XDP_INGRESS, f.bytes, f.len);
	assert_string_equal(o.rule, "end");
	assert_int_equal(o.verdict, DP_PASS);
	assert_int_equal(o.audits, DP_AUDIT_MAX);
	rig_free(&rig);
}

static void set_deadline(struct rig *rig, uint32_t tick)
{
	rig->ctl->active = (rig->ctl->active & DP_ACTIVE_BANK) | DP_ACTIVE_PENDING |
			   (uint64_t)tick << DP_ACTIVE_DEADLINE_SHIFT;
}

/* What waits to be confirmed is enforced until its tick, then the policy of before is, by the word alone. */
static void what_is_not_confirmed_is_undone(void **state)
{
	static const char other[] = "version: 1\nattach:\n  wan: {dev: lo}\nfilter:\n  wan-in:\n"
				    "    at: wan.ingress\n    default: pass\n    rules:\n"
				    "      - {id: shut, proto: tcp, dport: 80, do: drop}\n";
	struct frame f = tcp4(80);
	struct rig *rig = rig_new(policy);
	struct timespec t;
	uint32_t now;

	(void)state;
	assert_int_equal(rig_verdict(rig, RIG_XDP_INGRESS, f.bytes, f.len), DP_PASS);
	rig_apply(rig, other);
	assert_int_equal(clock_gettime(CLOCK_MONOTONIC_COARSE, &t), 0);
	now = (uint32_t)(((uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec) >> DP_TICK_SHIFT);
	for (int hook = RIG_XDP_INGRESS; hook <= RIG_TC_INGRESS; hook++) {
		set_deadline(rig, now + DP_TICKS(3600));
		assert_int_equal(rig_verdict(rig, hook, f.bytes, f.len), DP_DROP);
		assert_int_equal(rig_explain(rig, hook, f.bytes, f.len).reason,
				 DP_REASON_RULE_DROP);
		set_deadline(rig, now);
		assert_int_equal(rig_verdict(rig, hook, f.bytes, f.len), DP_PASS);
		assert_int_equal(rig_explain(rig, hook, f.bytes, f.len).reason,
				 DP_REASON_RULE_PASS);
	}
	rig_free(&rig);
}

#define AT_INGRESS(name)                     \
	static void name##_xdp(void **state) \
	{                                    \
		(void)state;                 \
		name(RIG_XDP_INGRESS);       \
	}                                    \
	static void name##_tc(void **state)  \
	{                                    \
		(void)state;                 \
		name(RIG_TC_INGRESS);        \
	}

AT_INGRESS(rules_match_their_keys)
AT_INGRESS(link_layer)
AT_INGRESS(ipv4_headers)
AT_INGRESS(ipv6_headers)
AT_INGRESS(truncated_everywhere)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_match_their_keys_xdp),
		cmocka_unit_test(rules_match_their_keys_tc),
		cmocka_unit_test(link_layer_xdp),
		cmocka_unit_test(link_layer_tc),
		cmocka_unit_test(ipv4_headers_xdp),
		cmocka_unit_test(ipv4_headers_tc),
		cmocka_unit_test(ipv6_headers_xdp),
		cmocka_unit_test(ipv6_headers_tc),
		cmocka_unit_test(truncated_everywhere_xdp),
		cmocka_unit_test(truncated_everywhere_tc),
		cmocka_unit_test(frames_in_several_buffers),
		cmocka_unit_test(buffers_of_segments),
		cmocka_unit_test(a_wrong_checksum_begins_nothing),
		cmocka_unit_test(egress_has_its_own_chain),
		cmocka_unit_test(audit_is_bounded),
		cmocka_unit_test(what_is_not_confirmed_is_undone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
