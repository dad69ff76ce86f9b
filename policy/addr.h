/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses, prefixes and sets of them. Reading is strict: four decimal parts without leading zeros, no
 * host bits in a prefix, no zone, no IPv4-mapped IPv6; the reason for a refusal is a sentence.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "vec.h"

typedef unsigned __int128 u128; /* an IPv6 address as a number; the one typedef of the project */

enum addr_family {
	ADDR_IPV4 = 4,
	ADDR_IPV6 = 6,
};

struct prefix {
	enum addr_family family;
	uint8_t len;
	u128 addr; /* host order; IPv4 in the low 32 bits */
};

/* Inclusive ranges, host order. */
struct range4 {
	uint32_t first, last;
};

struct range6 {
	u128 first, last;
};

/*
 * A set of addresses of both families. Filled by prefix_set_add(), then prefix_set_seal() sorts and
 * merges it: disjoint, not adjacent, ascending.
 */
struct prefix_set {
	VEC(struct range4) v4;
	VEC(struct range6) v6;
	bool sealed;
	/* Counted by seal(): prefixes given, of them twice or more, of them inside a wider one. */
	uint64_t given, duplicates, covered;
};

/* Why a text is not an address: a sentence for a message, and the part of the text that is wrong. */
struct addr_error {
	const char *code;  /* "bad-address", "bad-prefix", "host-bits", "leading-zero", … */
	char message[160]; /* lower case, no full stop, says what is expected */
	uint32_t at, len;  /* bytes of the text that are wrong */
};

/*
 * Reads an address or a prefix, all of text. True on success; on failure *ret_error is filled.
 * Rules: RFC 4632, RFC 4291; ambiguous spellings are refused (CVE-2021-29921).
 */
bool prefix_parse(const char *text, size_t len, struct prefix *ret, struct addr_error *ret_error);

/* Canonical text (RFC 5952): "192.0.2.0/24", "2001:db8::1" without /128. Buffer of PREFIX_TEXT bytes. */
#define PREFIX_TEXT 64
void prefix_format(const struct prefix *p, char text[static PREFIX_TEXT]);

int prefix_set_add(struct prefix_set *set, const struct prefix *p) _must_check_;
int prefix_set_seal(struct prefix_set *set) _must_check_;
void prefix_set_done(struct prefix_set *set);

/* True when every address from first to last is in the sealed set. */
bool prefix_set_has(const struct prefix_set *set, enum addr_family family, u128 first, u128 last);

/* True when some address from first to last is in the sealed set. */
bool prefix_set_meets(const struct prefix_set *set, enum addr_family family, u128 first, u128 last);

/* Number of addresses is huge; members are the prefixes that remain: given - duplicates - covered. */
static inline uint64_t prefix_set_members(const struct prefix_set *set)
{
	return set->given - set->duplicates - set->covered;
}
