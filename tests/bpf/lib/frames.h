/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames for tests: a builder that appends layers, so that a case reads like the packet. Lengths and
 * checksums are right when frame_finish() is called, except where a case sets them wrong on purpose.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_MAX 4096

struct frame {
	uint8_t bytes[FRAME_MAX];
	size_t len;
	size_t l3, l4; /* offsets, 0 when there is none */
	bool ipv6;
	uint8_t proto;
};

void frame_eth(struct frame *f, uint16_t type);
void frame_tag(struct frame *f, uint16_t tpid, uint16_t vid); /* before frame_ipv4/6 */
void frame_ipv4(struct frame *f, const char *src, const char *dst, uint8_t proto);
void frame_ipv4_options(struct frame *f, const void *options, size_t len); /* len % 4 == 0 */
void frame_ipv6(struct frame *f, const char *src, const char *dst, uint8_t next);
/* Appends an extension header of 8 * (1 + len8) bytes; the one before must already name it. */
void frame_ext(struct frame *f, uint8_t next, uint8_t len8, const void *body, size_t body_len);
void frame_ports(struct frame *f, uint16_t sport, uint16_t dport, uint8_t flags); /* by f->proto */
void frame_icmp(struct frame *f, uint8_t type, uint8_t code);
void frame_pad(struct frame *f, size_t len);
void frame_arp(struct frame *f);

/* Fills IP total length, UDP length and the IPv4 checksum. */
void frame_finish(struct frame *f);

/* "tcp", "udp", "sctp" in one call: Ethernet, IPv4 or IPv6 by the addresses, ports. */
struct frame frame_flow(const char *src, const char *dst, uint8_t proto, uint16_t sport,
			uint16_t dport, uint8_t flags);
