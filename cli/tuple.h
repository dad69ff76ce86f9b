/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A packet in words, as `explain` takes it:
 *   PROTO ADDR[:PORT] > ADDR[:PORT] [FLAG…|none] [type T] [code C] [vlan N]
 * PROTO: tcp, udp, sctp, icmp, icmp6 or a number. The first three need ports; IPv6 with a port stands in
 * brackets. FLAG belongs to TCP, type and code to ICMP.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"

#define TUPLE_PROTO_ICMP  1
#define TUPLE_PROTO_TCP   6
#define TUPLE_PROTO_UDP   17
#define TUPLE_PROTO_ICMP6 58
#define TUPLE_PROTO_SCTP  132

struct tuple {
	enum addr_family family;
	uint8_t proto;
	u128 src, dst; /* host order, as in struct prefix */
	uint16_t sport, dport;
	uint8_t flags;      /* of TCP, as on the wire; syn when none is written */
	uint8_t type, code; /* of ICMP; an echo request when not written */
	bool tagged;
	uint16_t vlan;
};

#define TUPLE_ERROR 256

/* False: error says in a sentence what is wrong. It may hold raw user text. */
bool tuple_parse(const char *text, struct tuple *ret, char error[static TUPLE_ERROR]);
