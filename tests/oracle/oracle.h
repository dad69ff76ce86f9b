/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plain first-match scan, written from the policy language's meaning and sharing nothing with the
 * compiler: it makes random rules, writes them as policy text, makes random packets, reads frames, and says
 * which rule decides. Never shipped.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define ORACLE_RULES_MAX   3000
#define ORACLE_RULES_SMALL 96 /* of policies that all fit into vectors */
#define ORACLE_RULES_LARGE 600
#define ORACLE_LIST_MAX    4
#define ORACLE_AUDITS      16 /* counted one by one for a packet */

/* A prefix of either family; addr in network order, IPv4 in the first four bytes. */
struct oracle_prefix {
	bool ipv6;
	uint8_t addr[16];
	uint8_t len;
};

struct oracle_prefixes {
	bool written;
	bool as_set; /* written as $setN */
	int count;
	struct oracle_prefix at[ORACLE_LIST_MAX];
};

struct oracle_ports {
	bool written;
	int count;
	struct {
		uint16_t first, last;
	} at[ORACLE_LIST_MAX];
};

struct oracle_rule {
	int family; /* 0: not written, 4, 6 */
	int proto;  /* -1: not written */
	struct oracle_prefixes from, to, not_from, not_to;
	struct oracle_ports sport, dport;
	bool has_flags;
	uint8_t all, any, none;
	int type, code; /* -1: not written */
	int vlan;       /* -1 */
	bool drop, audit;
};

/* What the random rules of a policy are like. */
enum oracle_style {
	ORACLE_SMALL, /* few rules, that overlap much */
	ORACLE_AUDITS_MANY, /* half of them in audit mode, so that one packet meets more than are counted */
	ORACLE_LARGE, /* more rules than one vector has room for, most of them narrow in an address */
};

struct oracle_policy {
	enum oracle_style style;
	int count;
	struct oracle_rule rules[ORACLE_RULES_MAX];
	bool default_drop, first_only;
};

enum oracle_l3 {
	ORACLE_IPV4,
	ORACLE_IPV6,
	ORACLE_NOT_IP,
};

/* Of a datagram: where its bytes lie in the whole. */
struct oracle_piece {
	bool is, later; /* the first one has the transport header */
	uint32_t id, at, end;
};

struct oracle_packet {
	enum oracle_l3 l3;
	uint8_t src[16], dst[16];
	uint8_t proto;
	uint16_t sport, dport;
	uint8_t flags;
	uint8_t type, code;
	int tags;
	uint16_t vlan; /* of the outermost tag */
	bool nd;       /* neighbour or router discovery with hop limit 255 */
	struct oracle_piece piece;
};

struct oracle_answer {
	int rule; /* -1: none, the default unless nd */
	bool drop;
	bool nd; /* it passes because no rule says otherwise */
	int audits;
	int audit[ORACLE_AUDITS]; /* the first of them */
};

struct oracle_random {
	uint64_t state; /* not 0 */
};

/* Seeds that follow each other give streams that have nothing in common. */
struct oracle_random oracle_seed(uint64_t seed);
uint32_t oracle_random(struct oracle_random *r, uint32_t below);

void oracle_make_policy(struct oracle_random *r, enum oracle_style style,
			struct oracle_policy *ret);
void oracle_write_policy(const struct oracle_policy *p, FILE *to);

/* Half of the packets are made to fit a rule of the policy nearly, the others are free. */
void oracle_make_packet(struct oracle_random *r, const struct oracle_policy *p,
			struct oracle_packet *ret);

/*
 * Reads a frame. The reason that becomes of it whatever the rules say, a word of penstock-packets(7), or NULL when
 * they are asked, or when it is a later piece, of which what became of the first one says what becomes.
 */
const char *oracle_read(const uint8_t *frame, size_t len, bool first_only,
			struct oracle_packet *ret);

/* Not for later pieces. */
struct oracle_answer oracle_judge(const struct oracle_policy *p, const struct oracle_packet *pkt);
