/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plain first-match scan, written from the policy language's meaning and sharing nothing with the
 * compiler: it makes random rules, writes them as policy text, makes random packets, and says which rule
 * decides. Never shipped.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define ORACLE_RULES_MAX 96
#define ORACLE_LIST_MAX  4

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

struct oracle_policy {
	int count;
	struct oracle_rule rules[ORACLE_RULES_MAX];
	bool default_drop;
};

enum oracle_l3 {
	ORACLE_IPV4,
	ORACLE_IPV6,
	ORACLE_NOT_IP,
};

struct oracle_packet {
	enum oracle_l3 l3;
	uint8_t src[16], dst[16];
	uint8_t proto;
	uint16_t sport, dport;
	uint8_t flags;
	uint8_t type, code;
	int tags;      /* 0..3 */
	uint16_t vlan; /* of the outermost tag */
};

struct oracle_answer {
	int rule; /* -1: the default */
	bool drop;
	int audits;
};

struct oracle_random {
	uint64_t state;
};

uint32_t oracle_random(struct oracle_random *r, uint32_t below);

void oracle_make_policy(struct oracle_random *r, int rules, struct oracle_policy *ret);
void oracle_write_policy(const struct oracle_policy *p, FILE *to);

/* Half of the packets are made to fit a rule of the policy nearly, the others are free. */
void oracle_make_packet(struct oracle_random *r, const struct oracle_policy *p,
			struct oracle_packet *ret);
struct oracle_answer oracle_judge(const struct oracle_policy *p, const struct oracle_packet *pkt);
