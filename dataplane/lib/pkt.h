/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the stages know of a packet. The entry fills struct pkt from its hook; select_chain(), parse() and
 * classify() fill its key. Header fields stay in wire order where they are compared or indexed bytewise,
 * and say so in their type.
 */
#pragma once

#include "abi.h"
#include "bpf.h"

enum dp_hook {
	DP_HOOK_XDP_INGRESS,
	DP_HOOK_TC_INGRESS,
	DP_HOOK_TC_EGRESS,
	DP_HOOK_COUNT,
};

/* IPv6 is 1 so that the family is also the upper half of DP_PROTO_INDEX. */
enum pkt_family {
	PKT_IPV4,
	PKT_IPV6,
	PKT_NOT_IP,
};

/* The AND of the vectors so far, a bit for each rule. Words, not pointers to vectors: see decision 0003. */
struct candidates {
	__u64 word[DP_VECTOR_WORDS];
};

/*
 * What rules can ask for, and which one decided. It lies in a map, not on the stack: what the verifier
 * reads from a map is any number, so the stages behind the parser are checked once. From the stack it
 * would know each outcome of the parser and follow them all, ten times the instructions.
 */
struct key {
	__u32 bank_index;
	__u32 chain;           /* line of the chain in the bank */
	__be32 src[4], dst[4]; /* IPv4 in the first */
	__u16 sport, dport;    /* host order */
	__u16 icmp;            /* type << 8 | code */
	__u16 vlan;            /* outermost id, DP_VLAN_NONE when untagged */
	__u8 family;           /* enum pkt_family */
	__u8 proto;
	__u8 flags; /* TCP */
	__u8 nd;    /* a neighbour or router discovery message with hop limit 255 */
	__u8 has_ports, has_icmp;

	__u32 rule;                        /* index of the deciding rule, DP_EXPLAIN_NO_RULE */
	__u32 rule_counter;                /* slot to count it in, 0 for none */
	__u32 has_audits;                  /* any of audit_hits */
	__u32 forgotten;                   /* see forget() */
	__u64 audit_hits[DP_VECTOR_WORDS]; /* audit rules met before the deciding one */
	struct candidates candidates;
};

struct pkt {
	void *data, *end;
	__u32 ifindex;
	__u32 len;      /* bytes of the frame in this buffer, linear or not */
	__u32 packets;  /* frames on the wire that this buffer stands for */
	__u32 segment;  /* payload bytes of each of them; 0 when it stands for one */
	__u32 stripped; /* bytes of tags that the hook keeps in metadata */
	__u16 headers;  /* bytes before the payload of the transport, for `segment` */
	__u8 hop_limit;
	__u8 arp;
	__u32 chain_counter; /* slot in chain_counters */
	struct key *key;
};
