/* SPDX-License-Identifier: Apache-2.0 */
/* See tuple.h. */
#include "tuple.h"

#include <stdio.h>
#include <string.h>

#include "names.h"

#define WORDS_MAX 32
#define WORD_MAX  64

struct words {
	char at[WORDS_MAX][WORD_MAX];
	size_t count, next;
	char *error;
};

#define fail(w, ...) (snprintf((w)->error, TUPLE_ERROR, __VA_ARGS__), false)

/* '>' is a word of its own, with or without spaces. */
static bool split(struct words *w, const char *text)
{
	while (*(text += strspn(text, " \t\n"))) {
		size_t len = *text == '>' ? 1 : strcspn(text, " \t\n>");

		if (w->count == WORDS_MAX || len >= WORD_MAX)
			return fail(w, "the packet's description is too long");
		memcpy(w->at[w->count], text, len);
		w->at[w->count++][len] = '\0';
		text += len;
	}
	return true;
}

static const char *take(struct words *w)
{
	return w->next < w->count ? w->at[w->next++] : NULL;
}

/* Decimal digits alone. */
static bool read_number(const char *text, uint32_t most, uint32_t *ret)
{
	uint32_t n = 0;

	if (!*text || strlen(text) > 5 || strspn(text, "0123456789") != strlen(text))
		return false;
	for (; *text; text++)
		n = n * 10 + (uint32_t)(*text - '0');
	*ret = n;
	return n <= most;
}

static bool has_ports(uint8_t proto)
{
	return proto == TUPLE_PROTO_TCP || proto == TUPLE_PROTO_UDP || proto == TUPLE_PROTO_SCTP;
}

static bool read_proto(struct words *w, struct tuple *t)
{
	const char *word = take(w), *nearest;
	uint32_t number;
	int named;

	if (!word)
		return fail(w, "the packet is missing: PROTO ADDR[:PORT] > ADDR[:PORT]");
	named = names_find(&names_protocols, word);
	if (named >= 0)
		number = (uint32_t)named;
	else if (!read_number(word, 255, &number)) {
		nearest = names_nearest(&names_protocols, word);
		return fail(w, "'%s' is no protocol%s%s%s", word, nearest ? "; did you mean '" : "",
			    nearest ?: ": tcp, udp, sctp, icmp, icmp6 or a number to 255",
			    nearest ? "'?" : "");
	}
	t->proto = (uint8_t)number;
	return true;
}

/* The address part of an end of the packet and the text after it; word is changed. */
static bool split_end(struct words *w, char *word, bool ports, char **ret_addr, char **ret_rest)
{
	char *close = strchr(word, ']'), *first = strchr(word, ':');

	if (word[0] == '[') {
		if (!close)
			return fail(w, "'%s' has no closing bracket", word);
		*close = '\0';
		*ret_addr = word + 1;
		*ret_rest = close + 1;
		return true;
	}
	*ret_addr = word;
	*ret_rest = word + strlen(word);
	if (first && first == strrchr(word, ':')) {
		*ret_rest = first;
	} else if (first && ports) {
		return fail(w, "an IPv6 address with a port stands in brackets: '[%s]:PORT'", word);
	}
	return true;
}

static bool read_end(struct words *w, struct tuple *t, const char *which, u128 *ret_addr,
		     uint16_t *ret_port, enum addr_family *ret_family)
{
	char word[WORD_MAX], address[WORD_MAX], *addr, *rest;
	const char *taken = take(w);
	struct addr_error why = {};
	struct prefix prefix;
	uint32_t port = 0;

	if (!taken)
		return fail(w, "the %s address is missing", which);
	snprintf(word, sizeof(word), "%s", taken);
	if (!split_end(w, word, has_ports(t->proto), &addr, &rest))
		return false;
	snprintf(address, sizeof(address), "%.*s", (int)(rest > addr ? rest - addr : 0), addr);
	if (!prefix_parse(address, strlen(address), &prefix, &why))
		return fail(w, "'%s': %s", address, why.message);
	if (prefix.len != (prefix.family == ADDR_IPV4 ? 32 : 128))
		return fail(w, "'%s' is a prefix; a packet has one address", address);
	if (has_ports(t->proto) && *rest != ':')
		return fail(w, "the %s port is missing after '%s'", which, taken);
	if (!has_ports(t->proto) && *rest)
		return fail(w, "'%s': this protocol has no ports", taken);
	if (*rest && !read_number(rest + 1, 65535, &port))
		return fail(w, "'%s' is no port", rest + 1);
	*ret_addr = prefix.addr;
	*ret_port = (uint16_t)port;
	*ret_family = prefix.family;
	return true;
}

static bool read_ends(struct words *w, struct tuple *t)
{
	enum addr_family other;
	const char *arrow;

	if (!read_end(w, t, "source", &t->src, &t->sport, &t->family))
		return false;
	arrow = take(w);
	if (!arrow || strcmp(arrow, ">") != 0)
		return fail(w, "'>' is missing between source and destination");
	if (!read_end(w, t, "destination", &t->dst, &t->dport, &other))
		return false;
	if (t->family != other)
		return fail(w, "source and destination are of different families");
	if (t->proto == TUPLE_PROTO_ICMP && t->family == ADDR_IPV6)
		return fail(w, "icmp belongs to IPv4; write icmp6");
	if (t->proto == TUPLE_PROTO_ICMP6 && t->family == ADDR_IPV4)
		return fail(w, "icmp6 belongs to IPv6; write icmp");
	return true;
}

static bool read_icmp(struct words *w, const struct tuple *t, const struct name_table *names,
		      const char *what, uint8_t *ret)
{
	const char *word = take(w);
	uint32_t number;
	int named;

	if (t->proto != TUPLE_PROTO_ICMP && t->proto != TUPLE_PROTO_ICMP6)
		return fail(w, "'%s' belongs to icmp and icmp6", what);
	if (!word)
		return fail(w, "'%s' needs a value", what);
	named = names_find(names, word);
	if (named >= 0)
		number = (uint32_t)named;
	else if (!read_number(word, 255, &number))
		return fail(w, "'%s' is no ICMP %s", word, what);
	*ret = (uint8_t)number;
	return true;
}

static bool read_vlan(struct words *w, struct tuple *t)
{
	const char *word = take(w);
	uint32_t number;

	if (!word || !read_number(word, 4094, &number))
		return fail(w, "'vlan' needs a number to 4094");
	t->tagged = true;
	t->vlan = (uint16_t)number;
	return true;
}

static bool read_more(struct words *w, struct tuple *t, const char *word, bool *flags)
{
	enum name_family family = t->family == ADDR_IPV4 ? NAME_ICMP4 : NAME_ICMP6;
	struct name_table codes = names_icmp_codes(family, t->type);
	int flag = names_find(&names_flags, word);

	if (!strcmp(word, "vlan"))
		return read_vlan(w, t);
	if (!strcmp(word, "type"))
		return read_icmp(w, t, &names_icmp_types[family], word, &t->type);
	if (!strcmp(word, "code"))
		return read_icmp(w, t, &codes, word, &t->code);
	if (flag < 0 && strcmp(word, "none") != 0)
		return fail(w, "'%s' is not understood: a TCP flag, type, code or vlan", word);
	if (t->proto != TUPLE_PROTO_TCP)
		return fail(w, "'%s' belongs to tcp", word);
	if (!*flags)
		t->flags = 0;
	*flags = true;
	t->flags |= flag < 0 ? 0 : (uint8_t)flag;
	return true;
}

bool tuple_parse(const char *text, struct tuple *ret, char error[static TUPLE_ERROR])
{
	struct words w = { .error = error };
	struct tuple t = { .flags = 0x02 }; /* syn */
	const char *word;
	bool flags = false;

	if (!split(&w, text) || !read_proto(&w, &t) || !read_ends(&w, &t))
		return false;
	t.type = t.proto == TUPLE_PROTO_ICMP6 ? 128 : 8;
	while ((word = take(&w)))
		if (!read_more(&w, &t, word, &flags))
			return false;
	*ret = t;
	return true;
}
