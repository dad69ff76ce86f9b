/* SPDX-License-Identifier: Apache-2.0 */
/* Tuples and the frames built from them. The expected frames were made by scapy 2.5. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/frame.h"
#include "str.h"

static const struct {
	const char *tuple, *frame;
} frames[] = {
	{ "tcp 198.51.100.7:40000 > 192.0.2.10:80 syn",
	  "0200000000020200000000010800450000280001400040064e8ac6336407c000020a9c4000500000000100000000"
	  "5002ffff270c0000000000000000" },
	{ "udp [2001:db8::1]:40000>[2001:db8::53]:53",
	  "02000000000202000000000186dd6000000000081140"
	  "20010db800000000000000000000000120010db8000000000000000000000053"
	  "9c400035000807a3" },
	{ "icmp 198.51.100.7 > 192.0.2.10 type echo-request",
	  "02000000000202000000000108004500001c0001400040014e9bc6336407c000020a0800f7ff00000000"
	  "000000000000000000000000000000000000" },
	{ "tcp [2001:db8::1]:1 > [2001:db8::53]:2 syn ack vlan 100",
	  "0200000000020200000000018100006486dd6000000000140640"
	  "20010db800000000000000000000000120010db8000000000000000000000053"
	  "000100020000000100000001"
	  "5012ffff54080000" },
	{ "icmp6 fe80::1 > ff02::1:ff00:2 type neighbour-solicitation",
	  "02000000000202000000000186dd6000000000183aff"
	  "fe800000000000000000000000000001ff0200000000000000000001ff000002"
	  "87007e1d00000000ff0200000000000000000001ff000002" },
	{ "sctp 198.51.100.7:40000 > 192.0.2.10:9",
	  "0200000000020200000000010800450000340001400040844e00c6336407c000020a9c40000900000000a0114f4e"
	  "0100001400000001000100000001000100000001" },
	{ "udp 198.51.100.7:1 > 192.0.2.10:2",
	  "02000000000202000000000108004500001c0001400040114e8bc6336407c000020a0001000200081396"
	  "000000000000000000000000000000000000" },
};

static void builds_what_scapy_builds(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
		char error[TUPLE_ERROR] = "", hex[2 * FRAME_MAX + 1];
		uint8_t frame[FRAME_MAX];
		struct tuple tuple;

		assert_true(tuple_parse(frames[i].tuple, &tuple, error));
		hex_write(frame, frame_build(&tuple, frame), hex);
		assert_string_equal(hex, frames[i].frame);
	}
}

static void reads_tuples(void **state)
{
	char error[TUPLE_ERROR];
	struct tuple t;

	(void)state;
	assert_true(tuple_parse("tcp 192.0.2.1:1 > 192.0.2.2:2", &t, error));
	assert_int_equal(t.flags, 0x02);
	assert_true(tuple_parse("tcp 192.0.2.1:1 > 192.0.2.2:2 none", &t, error));
	assert_int_equal(t.flags, 0);
	assert_true(tuple_parse("6 192.0.2.1:1 > 192.0.2.2:2 fin ack", &t, error));
	assert_int_equal(t.flags, 0x11);
	assert_true(tuple_parse("icmp 192.0.2.1 > 192.0.2.2 type 3 code frag-needed", &t, error));
	assert_int_equal(t.type, 3);
	assert_int_equal(t.code, 4);
	assert_true(
		tuple_parse("icmp6 [2001:db8::1] > 2001:db8::2 type packet-too-big", &t, error));
	assert_int_equal(t.type, 2);
	assert_true(tuple_parse("47 192.0.2.1 > 192.0.2.2 vlan 7", &t, error));
	assert_true(t.tagged);
	assert_int_equal(t.vlan, 7);
}

static void refuses_with_a_sentence(void **state)
{
	static const struct {
		const char *tuple, *error;
	} bad[] = {
		{ "", "the packet is missing: PROTO ADDR[:PORT] > ADDR[:PORT]" },
		{ "tpc 192.0.2.1:1 > 192.0.2.2:2", "'tpc' is no protocol; did you mean 'tcp'?" },
		{ "tcp 192.0.2.1 > 192.0.2.2:2", "the source port is missing after '192.0.2.1'" },
		{ "tcp 192.0.2.1:1 192.0.2.2:2", "'>' is missing between source and destination" },
		{ "tcp 192.0.2.1:1 >", "the destination address is missing" },
		{ "tcp 192.0.2.1:70000 > 192.0.2.2:2", "'70000' is no port" },
		{ "tcp 192.0.2.1:1 > [2001:db8::1]:2",
		  "source and destination are of different families" },
		{ "tcp 2001:db8::1 > [2001:db8::1]:2",
		  "an IPv6 address with a port stands in brackets: '[2001:db8::1]:PORT'" },
		{ "tcp [2001:db8::1 > [2001:db8::1]:2", "'[2001:db8::1' has no closing bracket" },
		{ "udp 192.0.2.0/24:1 > 192.0.2.2:2",
		  "'192.0.2.0/24' is a prefix; a packet has one address" },
		{ "icmp 192.0.2.1:1 > 192.0.2.2", "'192.0.2.1:1': this protocol has no ports" },
		{ "icmp 2001:db8::1 > 2001:db8::2", "icmp belongs to IPv4; write icmp6" },
		{ "udp 192.0.2.1:1 > 192.0.2.2:2 syn", "'syn' belongs to tcp" },
		{ "tcp 192.0.2.1:1 > 192.0.2.2:2 type 3", "'type' belongs to icmp and icmp6" },
		{ "tcp 192.0.2.1:1 > 192.0.2.2:2 vlan 4095", "'vlan' needs a number to 4094" },
		{ "icmp 192.0.2.1 > 192.0.2.2 type ping", "'ping' is no ICMP type" },
		{ "tcp 192.0.2.1:1 > 192.0.2.2:2 sin",
		  "'sin' is not understood: a TCP flag, type, code or vlan" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char error[TUPLE_ERROR] = "";
		struct tuple tuple;

		assert_false(tuple_parse(bad[i].tuple, &tuple, error));
		assert_string_equal(error, bad[i].error);
	}
}

static void reads_hexadecimal(void **state)
{
	uint8_t frame[4];
	size_t len;

	(void)state;
	assert_int_equal(frame_from_hex("00:1B ff", frame, sizeof(frame), &len), 0);
	assert_int_equal(len, 3);
	assert_memory_equal(frame, "\x00\x1b\xff", 3);
	assert_int_equal(frame_from_hex("0", frame, sizeof(frame), &len), -EINVAL);
	assert_int_equal(frame_from_hex("0g", frame, sizeof(frame), &len), -EINVAL);
	assert_int_equal(frame_from_hex("0011223344", frame, sizeof(frame), &len), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(builds_what_scapy_builds),
		cmocka_unit_test(reads_tuples),
		cmocka_unit_test(refuses_with_a_sentence),
		cmocka_unit_test(reads_hexadecimal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
