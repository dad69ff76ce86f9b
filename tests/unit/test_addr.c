/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses and prefixes: what is read, what is refused and why and where, how it is written back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "addr.h"
#include "tests/lib/rng.h"

struct good {
	const char *text, *canonical; /* RFC 5952 */
};

static const struct good good_rows[] = {
	{ "0.0.0.0/0", "0.0.0.0/0" },
	{ "0.0.0.0", "0.0.0.0" },
	{ "255.255.255.255", "255.255.255.255" },
	{ "192.0.2.1/32", "192.0.2.1" },
	{ "192.0.2.0/24", "192.0.2.0/24" },
	{ "128.0.0.0/1", "128.0.0.0/1" },
	{ "10.0.100.9", "10.0.100.9" },
	{ "::", "::" },
	{ "::/0", "::/0" },
	{ "::1", "::1" },
	{ "1::", "1::" },
	{ "2001:db8::/32", "2001:db8::/32" },
	{ "2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1" }, /* the first of two runs */
	{ "2001:0db8:0:0:0:0:0:0001/128", "2001:db8::1" },
	{ "1:2:3:4:5:6:0:8", "1:2:3:4:5:6:0:8" }, /* one group is not shortened */
	{ "1:2:3:4:5:6::8", "1:2:3:4:5:6:0:8" },
	{ "1:0:0:4:0:0:0:8", "1:0:0:4::8" }, /* the longest run */
	{ "::1:0:0:0", "::1:0:0:0" },
	{ "64:ff9b::192.0.2.33", "64:ff9b::c000:221" },
	{ "::1.2.3.4", "::102:304" },
	{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
	{ "8000::/1", "8000::/1" },
};

static bool parse(const char *text, struct prefix *p, struct addr_error *error)
{
	return prefix_parse(text, strlen(text), p, error);
}

/*
 * Rules out readers that shorten a lone zero group, pick the last run, or lose a gap at either end.
 */
static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good_rows) / sizeof(*good_rows); i++) {
		struct addr_error error = {};
		struct prefix p, again;
		char text[PREFIX_TEXT];

		if (!parse(good_rows[i].text, &p, &error))
			fail_msg("%s: %s", good_rows[i].text, error.message);
		prefix_format(&p, text);
		assert_string_equal(text, good_rows[i].canonical);
		assert_true(parse(text, &again, &error));
		assert_true(p.family == again.family && p.len == again.len && p.addr == again.addr);
	}
}

static void test_values(void **state)
{
	struct addr_error error;
	struct prefix p;

	(void)state;
	assert_true(parse("1.2.3.4", &p, &error));
	assert_int_equal(p.family, ADDR_IPV4);
	assert_int_equal(p.len, 32);
	assert_true(p.addr == 0x01020304);
	assert_true(parse("2001:db8::/32", &p, &error));
	assert_int_equal(p.family, ADDR_IPV6);
	assert_int_equal(p.len, 32);
	assert_true(p.addr == (u128)0x20010db8 << 96);
	assert_true(parse("1:2:3:4:5:6:7:8", &p, &error));
	assert_true(p.addr == ((u128)0x0001000200030004 << 64 | 0x0005000600070008));
}

struct bad {
	const char *text, *code;
	uint32_t at, len;
	const char *says;
};

static const struct bad bad_rows[] = {
	/* host bits */
	{ "10.1.2.3/24", "host-bits", 0, 11, "did you mean 10.1.2.0/24 or 10.1.2.3/32?" },
	{ "1.0.0.0/0", "host-bits", 0, 9, "did you mean 0.0.0.0/0 or 1.0.0.0/32?" },
	{ "2001:db8::1/64", "host-bits", 0, 14, "2001:db8::/64 or 2001:db8::1/128?" },
	{ "::ffff:0:0/95", "host-bits", 0, 13, "::fffe:0:0/95 or" },
	/* leading zeros: octal elsewhere */
	{ "010.8.8.8", "leading-zero", 0, 3, "part 1" },
	{ "10.8.08.8", "leading-zero", 5, 2, "part 3" },
	{ "10.8.8.00", "leading-zero", 7, 2, "part 4" },
	{ "010.8", "leading-zero", 0, 3, "leading zero" },
	{ "::01.2.3.4", "leading-zero", 2, 2, "part 1" },
	/* not a quad */
	{ "10.1", "bad-address", 0, 4, "four decimal parts" },
	{ "0x7f.1", "bad-address", 0, 6, "four decimal parts" },
	{ "167772161", "bad-address", 0, 9, "four decimal parts" },
	{ "1.2.3.4.5", "bad-address", 0, 9, "four decimal parts" },
	{ "1.2.3.", "bad-address", 0, 6, "four decimal parts" },
	{ "1..3.4", "bad-address", 0, 6, "four decimal parts" },
	{ "1.2.3.4 ", "bad-address", 0, 8, "four decimal parts" },
	{ "256.1.1.1", "bad-address", 0, 3, "part 1 of the address is over 255" },
	{ "1.1.1.256", "bad-address", 6, 3, "part 4 of the address is over 255" },
	{ "1.4294967297.1.1", "bad-address", 2, 10, "part 2 of the address is over 255" },
	/* prefix lengths */
	{ "1.2.3.4/33", "bad-prefix", 8, 2, "between 0 and 32" },
	{ "1.2.3.4/-1", "bad-prefix", 8, 2, "between 0 and 32" },
	{ "1.2.3.4/+8", "bad-prefix", 8, 2, "between 0 and 32" },
	{ "1.2.3.4/08", "bad-prefix", 8, 2, "between 0 and 32" },
	{ "1.2.3.4/ 8", "bad-prefix", 8, 2, "between 0 and 32" },
	{ "1.2.3.4/", "bad-prefix", 7, 1, "between 0 and 32" },
	{ "1.2.3.4/24/5", "bad-prefix", 8, 4, "between 0 and 32" },
	{ "1.2.3.4/4294967328", "bad-prefix", 8, 10, "between 0 and 32" },
	{ "2001:db8::/129", "bad-prefix", 11, 3, "between 0 and 128" },
	{ "::/", "bad-prefix", 2, 1, "between 0 and 128" },
	{ "/8", "bad-address", 0, 1, "missing" },
	/* IPv6 */
	{ "2001::db8::1", "bad-address", 9, 2, "only once" },
	{ "1:2:3:4:5:6:7:8:9", "bad-address", 16, 1, "at most eight" },
	{ "1:2:3", "bad-address", 0, 5, "only 3 of eight" },
	{ "1:2:3:4:5:6:7::8", "bad-address", 0, 16, "at least one group" },
	{ "12345::", "bad-address", 0, 5, "more than four" },
	{ "::12345", "bad-address", 2, 5, "more than four" },
	{ ":1", "bad-address", 0, 1, "single ':'" },
	{ "1:", "bad-address", 1, 1, "single ':'" },
	{ "1:::2", "bad-address", 3, 1, "hex digits" },
	{ "g::1", "bad-address", 0, 1, "hex digits" },
	{ "1::g", "bad-address", 3, 1, "hex digits" },
	{ "1::2g", "bad-address", 4, 1, "hex digits" },
	{ "1:2:3:4:5:6:7:1.2.3.4", "bad-address", 14, 7, "no room" },
	{ "::1.2.3.256", "bad-address", 8, 3, "part 4" },
	{ "fe80::1%eth0", "zone-not-allowed", 7, 5, "zone is not allowed" },
	{ "::ffff:10.0.0.0/104", "mapped-address", 0, 19, "use 10.0.0.0/8" },
	{ "::ffff:1.2.3.4", "mapped-address", 0, 14, "use 1.2.3.4" },
	{ "::ffff:0:0/96", "mapped-address", 0, 13, "use 0.0.0.0/0" },
	/* something else */
	{ "10.0.0.9-10.0.0.1", "bad-range", 0, 17, "reversed" },
	{ "10.0.0.1-10.0.0.9", "bad-range", 0, 17, "not accepted" },
	{ "example.com", "bad-address", 0, 11, "address or a prefix is expected" },
	{ "", "bad-address", 0, 1, "is expected" },
};

/*
 * Rules out inet_aton() and strtoul(): both accept half of these, and neither says where it hurts.
 */
static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad_rows) / sizeof(*bad_rows); i++) {
		const struct bad *row = &bad_rows[i];
		struct addr_error error = {};
		struct prefix p;

		if (parse(row->text, &p, &error))
			fail_msg("'%s' is accepted", row->text);
		if (strcmp(error.code, row->code) || error.at != row->at || error.len != row->len ||
		    !strstr(error.message, row->says))
			fail_msg("'%s': %s at %u, %u bytes: %s", row->text, error.code, error.at,
				 error.len, error.message);
	}
}

static void test_long_text(void **state)
{
	char text[5000];
	struct addr_error error = {};
	struct prefix p;

	(void)state;
	memset(text, ':', sizeof(text));
	assert_false(prefix_parse(text, sizeof(text), &p, &error));
	assert_string_equal(error.code, "bad-address");
}

/* Rules out a writer that is right for the table above only: every prefix comes back as it went. */
static void test_round_trip(void **state)
{
	struct rng rng = rng_seeded("round trip");

	(void)state;
	for (int i = 0; i < 20000; i++) {
		bool v4 = rng_below(&rng, 2);
		unsigned int bits = v4 ? 32 : 128, len = rng_below(&rng, bits + 1);
		struct prefix p = { v4 ? ADDR_IPV4 : ADDR_IPV6, len, rng_u128(&rng) }, back;
		struct addr_error error = {};
		char text[PREFIX_TEXT];

		/* Groups of zeros, which random numbers don't have. */
		for (int g = 0; g < 8; g++)
			if (rng_below(&rng, 2))
				p.addr &= ~((u128)0xffff << 16 * g);
		if (v4)
			p.addr &= UINT32_MAX;
		p.addr = len ? p.addr >> (bits - len) << (bits - len) : 0;
		prefix_format(&p, text);
		if (!parse(text, &back, &error)) {
			assert_string_equal(error.code, "mapped-address");
			continue;
		}
		assert_true(p.family == back.family && p.len == back.len && p.addr == back.addr);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),       cmocka_unit_test(test_values),
		cmocka_unit_test(test_bad),        cmocka_unit_test(test_long_text),
		cmocka_unit_test(test_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
