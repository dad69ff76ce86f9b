/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text to prefix and back. IPv4 is read by one strict loop without error handling, because a feed
 * has millions of lines; what that loop refuses is walked again to find out why.
 */
#include "addr.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "str.h"

#define IPV4_BITS   32
#define IPV6_BITS   128
#define IPV6_GROUPS 8

/* Texts up to this length are told apart; a longer one is no address whatever it holds. */
#define ADDRESS_TEXT_MAX 64

struct part {
	const char *at;
	size_t len;
};

_printf_(5, 6) static bool refuse(struct addr_error *error, const char *code, size_t at, size_t len,
				  const char *format, ...)
{
	va_list args;

	error->code = code;
	error->at = at;
	error->len = len ? len : 1;
	va_start(args, format);
	(void)vsnprintf(error->message, sizeof(error->message), format, args);
	va_end(args);
	return false;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t digits(struct part t, size_t from)
{
	size_t i = from;

	while (i < t.len && is_digit(t.at[i]))
		i++;
	return i - from;
}

static u128 ones(unsigned int bits)
{
	return bits >= IPV6_BITS ? ~(u128)0 : ((u128)1 << bits) - 1;
}

static unsigned int width(enum addr_family family)
{
	return family == ADDR_IPV4 ? IPV4_BITS : IPV6_BITS;
}

/* ---- IPv4 ------------------------------------------------------------------------------------ */

/* A decimal number of at most three digits, no leading zero. */
static inline bool decimal(const char **at, const char *end, uint32_t max, uint32_t *ret)
{
	const char *s = *at;
	uint32_t value;

	if (s == end || !is_digit(*s))
		return false;
	value = *s++ - '0';
	if (value && s < end && is_digit(*s)) {
		value = value * 10 + (*s++ - '0');
		if (s < end && is_digit(*s))
			value = value * 10 + (*s++ - '0');
	}
	*at = s;
	*ret = value;
	return value <= max;
}

static inline bool dotted_quad(const char **at, const char *end, uint32_t *ret)
{
	uint32_t addr = 0, part;

	for (int i = 0; i < 4; i++) {
		if (i && (*at == end || *(*at)++ != '.'))
			return false;
		if (!decimal(at, end, 255, &part))
			return false;
		addr = addr << 8 | part;
	}
	*ret = addr;
	return true;
}

static inline bool ipv4_read(const char *text, size_t len, struct prefix *ret)
{
	const char *at = text, *end = text + len;
	uint32_t addr, bits = IPV4_BITS;

	if (!dotted_quad(&at, end, &addr))
		return false;
	if (at < end) {
		if (*at++ != '/' || !decimal(&at, end, IPV4_BITS, &bits) || at < end)
			return false;
		if (bits < IPV4_BITS && addr << bits)
			return false;
	}
	*ret = (struct prefix){ .family = ADDR_IPV4, .len = bits, .addr = addr };
	return true;
}

/* The first part of a quad that is wrong, or of a text that is no quad at all. */
static bool quad_refuse(struct part t, size_t from, struct addr_error *error)
{
	size_t at = from;

	for (int part = 1; part <= 4; part++) {
		size_t n = digits(t, at);
		const char *end = t.at + t.len, *s = t.at + at;
		uint32_t value;

		if (!n || (at + n == t.len) != (part == 4) || (part < 4 && t.at[at + n] != '.'))
			break;
		if (n > 1 && *s == '0')
			return refuse(
				error, "leading-zero", at, n,
				"part %d of the address has a leading zero, which some programs read as octal; write it without",
				part);
		if (n > 3 || !decimal(&s, end, 255, &value))
			return refuse(error, "bad-address", at, n,
				      "part %d of the address is over 255", part);
		at += n + 1;
	}
	/* Leading zeros of a shorter text are the more useful thing to say of it. */
	if (digits(t, from) > 1 && t.at[from] == '0')
		return refuse(
			error, "leading-zero", from, digits(t, from),
			"part 1 of the address has a leading zero, which some programs read as octal; write four decimal parts without");
	return refuse(error, "bad-address", from, t.len - from,
		      "an IPv4 address is a dotted quad of four decimal parts, such as 192.0.2.1");
}

/* ---- both families --------------------------------------------------------------------------- */

static bool host_bits_refuse(struct part t, const struct prefix *p, struct addr_error *error)
{
	unsigned int bits = width(p->family);
	struct prefix net = *p, host = *p;
	char net_text[PREFIX_TEXT], host_text[PREFIX_TEXT];

	net.addr &= ~ones(bits - p->len);
	host.len = bits;
	prefix_format(&net, net_text);
	prefix_format(&host, host_text);
	return refuse(error, "host-bits", 0, t.len, "host bits are set; did you mean %s or %s/%u?",
		      net_text, host_text, bits);
}

/* All after the '/' at `slash`. */
static bool length_read(struct part t, size_t slash, enum addr_family family, uint8_t *ret,
			struct addr_error *error)
{
	size_t at = slash + 1, n = digits(t, at);
	unsigned int value = 0;

	for (size_t i = 0; i < n && i < 4; i++)
		value = value * 10 + (t.at[at + i] - '0');
	if (n && n <= 3 && at + n == t.len && value <= width(family) &&
	    (n == 1 || t.at[at] != '0')) {
		*ret = value;
		return true;
	}
	if (at == t.len)
		return refuse(error, "bad-prefix", slash, 1,
			      "the prefix length is missing; it must be between 0 and %u",
			      width(family));
	if (n > 1 && at + n == t.len && t.at[at] == '0')
		return refuse(error, "bad-prefix", at, n,
			      "prefix length must be between 0 and %u, without leading zeros",
			      width(family));
	return refuse(error, "bad-prefix", at, t.len - at,
		      "prefix length must be a decimal number between 0 and %u", width(family));
}

/* Called for what ipv4_read() refused. */
static bool ipv4_refuse(struct part t, struct addr_error *error)
{
	const char *slash = memchr(t.at, '/', t.len), *at = t.at;
	struct part host = { t.at, slash ? (size_t)(slash - t.at) : t.len };
	struct prefix p = { .family = ADDR_IPV4 };
	uint32_t addr;

	if (!host.len)
		return refuse(error, "bad-address", 0, 1,
			      "the address before the prefix length is missing");
	if (!dotted_quad(&at, host.at + host.len, &addr) || at != host.at + host.len)
		return quad_refuse(host, 0, error);
	p.addr = addr;
	if (!length_read(t, host.len, ADDR_IPV4, &p.len, error))
		return false;
	return host_bits_refuse(t, &p, error);
}

/* ---- IPv6 ------------------------------------------------------------------------------------ */

struct ipv6_reader {
	struct part t;
	size_t at;
	uint16_t group[IPV6_GROUPS];
	unsigned int count; /* of groups read */
	int gap;            /* groups before the '::', -1 without one */
	struct addr_error *error;
};

/* The last 32 bits written as a quad: RFC 4291, section 2.2, form 3. */
static bool ipv6_quad(struct ipv6_reader *r)
{
	const char *at = r->t.at + r->at, *end = r->t.at + r->t.len;
	uint32_t addr;

	if (!dotted_quad(&at, end, &addr) || at != end)
		return quad_refuse(r->t, r->at, r->error);
	if (r->count > IPV6_GROUPS - 2)
		return refuse(r->error, "bad-address", r->at, r->t.len - r->at,
			      "no room for an embedded IPv4 address after %u groups", r->count);
	r->group[r->count++] = addr >> 16;
	r->group[r->count++] = addr & 0xffff;
	r->at = r->t.len;
	return true;
}

static bool ipv6_group(struct ipv6_reader *r)
{
	size_t from = r->at, n = 0;
	uint16_t value = 0;

	while (from + n < r->t.len && hex_digit(r->t.at[from + n]) >= 0) {
		value = value << 4 | hex_digit(r->t.at[from + n]);
		n++;
	}
	if (n && from + n < r->t.len && r->t.at[from + n] == '.')
		return ipv6_quad(r);
	if (r->count == IPV6_GROUPS)
		return refuse(r->error, "bad-address", from, r->t.len - from,
			      "an IPv6 address has at most eight groups");
	if (n > 4)
		return refuse(r->error, "bad-address", from, n,
			      "group %u of the address has more than four hex digits",
			      r->count + 1);
	if (!n)
		return refuse(r->error, "bad-address", from, 1,
			      "group %u of the address must be one to four hex digits",
			      r->count + 1);
	r->group[r->count++] = value;
	r->at = from + n;
	return true;
}

/* What stands between groups. */
static bool ipv6_colons(struct ipv6_reader *r)
{
	struct part t = r->t;
	size_t at = r->at;

	if (t.at[at] != ':')
		return refuse(r->error, "bad-address", at, 1,
			      "group %u of the address must be one to four hex digits", r->count);
	if (at + 1 == t.len || (!r->count && t.at[at + 1] != ':'))
		return refuse(r->error, "bad-address", at, 1,
			      "a single ':' cannot begin or end an address");
	if (t.at[at + 1] != ':') {
		r->at = at + 1;
		return true;
	}
	if (r->gap >= 0)
		return refuse(r->error, "bad-address", at, 2,
			      "'::' may stand only once in an address");
	r->gap = r->count;
	r->at = at + 2;
	return true;
}

static bool ipv6_groups(struct ipv6_reader *r)
{
	bool colons = r->t.at[0] == ':';

	while (r->at < r->t.len) {
		if (!(colons ? ipv6_colons(r) : ipv6_group(r)))
			return false;
		colons = !colons;
	}
	if (r->gap < 0 && r->count < IPV6_GROUPS)
		return refuse(r->error, "bad-address", 0, r->t.len,
			      "the address has only %u of eight groups and no '::'", r->count);
	if (r->gap >= 0 && r->count == IPV6_GROUPS)
		return refuse(r->error, "bad-address", 0, r->t.len,
			      "'::' must stand for at least one group, and all eight are written");
	return true;
}

static u128 ipv6_value(const struct ipv6_reader *r)
{
	unsigned int zeros = IPV6_GROUPS - r->count;
	u128 value = 0;

	for (unsigned int i = 0; i < r->count; i++) {
		if ((int)i == r->gap)
			value <<= 16 * zeros;
		value = value << 16 | r->group[i];
	}
	/*
	 * A gap at the end; a shift by all 128 bits is not defined, and there is nothing to shift.
	 */
	if (r->gap == (int)r->count && r->count)
		value <<= 16 * zeros;
	return value;
}

/* ::ffff:0:0/96 is how sockets write IPv4; no packet carries it (RFC 4291, section 2.5.5.2). */
static bool mapped_refuse(struct part t, const struct prefix *p, struct addr_error *error)
{
	struct prefix v4 = { .family = ADDR_IPV4, .len = p->len - 96, .addr = (uint32_t)p->addr };
	char text[PREFIX_TEXT];

	v4.addr &= ~ones(IPV4_BITS - v4.len) & UINT32_MAX;
	prefix_format(&v4, text);
	return refuse(error, "mapped-address", 0, t.len,
		      "an IPv4-mapped address never appears on the wire; use %s", text);
}

static bool ipv6_read(struct part t, struct prefix *ret, struct addr_error *error)
{
	const char *slash = memchr(t.at, '/', t.len), *zone = memchr(t.at, '%', t.len);
	size_t host = slash ? (size_t)(slash - t.at) : t.len;
	struct ipv6_reader r = { .t = { t.at, host }, .gap = -1, .error = error };
	struct prefix p = { .family = ADDR_IPV6, .len = IPV6_BITS };

	if (zone)
		return refuse(
			error, "zone-not-allowed", zone - t.at, t.len - (zone - t.at),
			"a zone is not allowed here: rules match addresses, devices are named in 'attach'");
	if (!host)
		return refuse(error, "bad-address", 0, 1,
			      "the address before the prefix length is missing");
	if (!ipv6_groups(&r))
		return false;
	p.addr = ipv6_value(&r);
	if (slash && !length_read(t, host, ADDR_IPV6, &p.len, error))
		return false;
	if (p.addr >> 32 == 0xffff && p.len >= 96)
		return mapped_refuse(t, &p, error);
	if (p.addr & ones(IPV6_BITS - p.len))
		return host_bits_refuse(t, &p, error);
	*ret = p;
	return true;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* `a-b`: not part of the grammar; says so, and says it first when it is reversed as well. */
static bool range_refuse(struct part t, const char *dash, struct addr_error *error)
{
	struct addr_error unused;
	struct prefix first = {}, last = {};
	size_t before = dash - t.at;

	if (prefix_parse(t.at, before, &first, &unused) &&
	    prefix_parse(dash + 1, t.len - before - 1, &last, &unused) &&
	    first.family == last.family && first.addr > last.addr)
		return refuse(
			error, "bad-range", 0, t.len,
			"the range is reversed, and ranges of addresses are not accepted; write prefixes");
	return refuse(error, "bad-range", 0, t.len,
		      "ranges of addresses are not accepted; write prefixes such as 192.0.2.0/24");
}

static bool looks_like_address(struct part t)
{
	return t.len && (is_digit(t.at[0]) || t.at[0] == '.' || t.at[0] == '/' || t.at[0] == '-' ||
			 t.at[0] == '+');
}

bool prefix_parse(const char *text, size_t len, struct prefix *ret, struct addr_error *ret_error)
{
	struct part t = { text, len };
	const char *dash;

	if (ipv4_read(text, len, ret))
		return true;
	if (!len)
		return refuse(ret_error, "bad-address", 0, 1, "an address or a prefix is expected");
	if (len > ADDRESS_TEXT_MAX)
		return refuse(ret_error, "bad-address", 0, len,
			      "%zu bytes are too long for an address or a prefix", len);
	dash = memchr(text, '-', len);
	if (dash && dash > text && !memchr(text, '/', len))
		return range_refuse(t, dash, ret_error);
	if (memchr(text, ':', len))
		return ipv6_read(t, ret, ret_error);
	if (looks_like_address(t))
		return ipv4_refuse(t, ret_error);
	return refuse(ret_error, "bad-address", 0, len,
		      "an address or a prefix is expected, such as 192.0.2.1 or 2001:db8::/32");
}

/* ---- writing: RFC 5952 ----------------------------------------------------------------------- */

/* The longest run of at least two zero groups, the first of equals; length 0 when there is none. */
static unsigned int longest_zeros(const uint16_t group[static IPV6_GROUPS], unsigned int *ret_at)
{
	unsigned int best = 0, run = 0;

	for (unsigned int i = 0; i < IPV6_GROUPS; i++) {
		run = group[i] ? 0 : run + 1;
		if (run > best && run > 1) {
			best = run;
			*ret_at = i + 1 - run;
		}
	}
	return best;
}

static char *ipv6_format(u128 addr, char *to)
{
	uint16_t group[IPV6_GROUPS];
	unsigned int at = 0, zeros, i = 0;

	for (unsigned int g = 0; g < IPV6_GROUPS; g++)
		group[g] = addr >> (112 - 16 * g);
	zeros = longest_zeros(group, &at);
	while (i < IPV6_GROUPS) {
		if (zeros && i == at) {
			to += sprintf(to, i ? ":" : "::");
			i += zeros;
			continue;
		}
		to += sprintf(to, i + 1 < IPV6_GROUPS ? "%x:" : "%x", group[i]);
		i++;
	}
	return to;
}

void prefix_format(const struct prefix *p, char text[static PREFIX_TEXT])
{
	uint32_t v4 = p->addr;
	char *to = text;

	if (p->family == ADDR_IPV4)
		to += sprintf(to, "%u.%u.%u.%u", v4 >> 24, v4 >> 16 & 255, v4 >> 8 & 255, v4 & 255);
	else
		to = ipv6_format(p->addr, to);
	if (p->len < width(p->family))
		(void)sprintf(to, "/%u", p->len);
}
