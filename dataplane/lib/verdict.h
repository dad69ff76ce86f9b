/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The one way out: counts the reason, says it to explain, and gives the verdict that belongs to it. */
#pragma once

#include "audit.h"

#define DP_REASON_BIT_PASS(name)                 (1ull << DP_REASON_##name)
#define DP_REASON_BIT_DROP(name)                 0ull
#define DP_REASON_BIT(name, verdict, text, help) | DP_REASON_BIT_##verdict(name)
#define DP_PASS_REASONS                          (0ull DP_REASONS(DP_REASON_BIT))

_Static_assert(DP_REASON_COUNT <= DP_REASON_MAX,
	       "reasons have outgrown their counters and their word");

static __always_inline void say(const struct pkt *pkt, enum dp_reason reason)
{
	__u32 bank_index = pkt->key->bank_index;
	const struct dp_near *lines = bpf_map_lookup_elem(&near, &bank_index);
	const struct dp_bank_header *header = (const void *)lines;

	explain.reason = reason;
	explain.rule = pkt->key->rule;
	explain.generation = header ? header->generation : 0;
	explain.packets = pkt->packets;
	explain.bytes = wire_bytes(pkt);
	explain.family = pkt->key->family;
	explain.proto = pkt->key->proto;
	explain.flags = pkt->key->flags;
	__builtin_memcpy(explain.addr, pkt->key->word, sizeof(explain.addr));
	explain.sport = pkt->key->sport;
	explain.dport = pkt->key->dport;
	explain.icmp = pkt->key->icmp;
	explain.vlan = pkt->key->vlan;
	explain.l3 = pkt->key->l3;
	explain.l4 = pkt->key->l4;
	explain.fragment = pkt->key->fragment;
	explain.has_ports = pkt->key->has_ports;
	explain.has_icmp = pkt->key->has_icmp;
}

static __always_inline enum dp_verdict verdict(struct pkt *pkt, enum dp_reason reason)
{
	audit(pkt);
	add_rule(pkt->key, pkt->key->rule_counter, pkt->packets, wire_bytes(pkt));
	count_chain(pkt, reason);
	if (dry_run)
		say(pkt, reason);
	return DP_PASS_REASONS >> (reason & 63) & 1 ? DP_PASS : DP_DROP;
}
