/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the stages know of a packet. The entry fills struct pkt from its hook; select_chain(), parse() and
 * classify() fill its key. Header fields stay in wire order where they are compared or indexed bytewise,
 * and say so in their type.
 */
#pragma once

#include <linux/ip.h>
#include <linux/ipv6.h>

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

/* Whether the packet is a piece of a datagram. */
enum pkt_fragment {
	PKT_WHOLE,
	PKT_FIRST, /* with its whole transport header */
	PKT_LATER,
};

/* Who sends to whom, host order; IPv4 in the first word, the others 0. */
struct ends {
	__u32 src[4], dst[4];
	__u16 sport, dport;
	__u8 ipv6, proto;
};

/* A packet's flow, seen from the packet. */
struct flow_name {
	struct dp_flow_key key;
	__u64 hash;
	__u32 from;   /* the end that sent it, 0 or 1 */
	__u32 region; /* of pending */
};

#define DP_FRESH_WORDS 4

/*
 * What rules can ask for, and which one decided. It lies in a map, not on the stack: what the verifier
 * reads from a map is any number, so the stages behind the parser are checked once. From the stack it
 * would know each outcome of the parser and follow them all, ten times the instructions.
 */
struct key {
	/* As cut trees read them (abi.h): 0..3 source, 4..7 destination; 8 and 9 only for chains with trees. */
	__u32 word[DP_CUT_WORDS];
	__u32 bank_index;
	__u32 chain; /* line of the chain in the bank */
	__u32 ifindex;
	__u16 vlan;      /* outermost id, DP_VLAN_NONE when untagged */
	__u8 family;     /* enum pkt_family */
	__u8 dir;        /* enum dp_dir */
	__u8 first_only; /* of the chain: fragments are followed, not dropped */
	__u8 raw;        /* of the device: packets have no Ethernet header */
	__be16 type;     /* of a raw packet, as the kernel says; an Ethernet type */

	/* What begins as 0 for each packet; in one place, so that this takes DP_FRESH_WORDS stores. */
	union {
		struct {
			__u16 sport, dport; /* host order */
			__u16 icmp;         /* type << 8 | code */
			__u16 echo;         /* identifier of an ICMP echo */
			__u8 proto;
			__u8 flags; /* TCP */
			__u8 nd;    /* a neighbour or router discovery message with hop limit 255 */
			__u8 has_ports, has_icmp;
			__u8 fragment;   /* enum pkt_fragment */
			__u8 fragmented; /* also a whole datagram behind a fragment header */
			__u8 local; /* at TC egress: from a socket of this machine; of TCP the kernel
				       knows the state */
			__s16 headers; /* bytes before the payload of the transport, for a buffer of
					  segments */
			__u16 pad;
			__u32 live;         /* enum live */
			__u32 rule_counter; /* slot to count it in, 0 for none */
			__u32 has_audits;   /* any of audit_hits */
		};
		__u64 fresh[DP_FRESH_WORDS];
	};
	__u32 len; /* as in struct pkt, but not what the parser's checks make the verifier know of it */
	__u32 fragment_id; /* host order */
	__u32 fragment_at; /* first and last byte, past the end, in its datagram */
	__u32 fragment_end;
	__u32 seq, ack; /* TCP */
	__u32 l3, l4;   /* offsets of the network and transport headers in the frame */
	__u32 end;      /* of the datagram */
	__u32 tracks;   /* what passes makes flows */
	__u32 stateful; /* makes flows, or asks for them */
	__u32 kind;     /* DP_BOX_*, for cut trees */
	__u64 left;     /* boxes of it that the addresses fit, a bit each */
	struct dp_cut cuts[DP_CUT_TREES]; /* leaves */
	struct ends ends; /* of the packet, or of the one that an ICMP error quotes */
	struct flow_name name;
	struct bpf_sock_tuple tuple; /* of the socket to look for */
	union {                      /* of a quoted packet: its network header, then its ports */
		struct iphdr ipv4;
		struct ipv6hdr ipv6;
		__be16 ports[4];
	} quote;
	struct dp_flow content; /* of a flow to be written */

	__u32 rule;      /* number of the deciding rule, DP_EXPLAIN_NO_RULE */
	__u32 cut_rule;  /* lowest that matches in the trees, DP_EXPLAIN_NO_RULE */
	__u32 forgotten; /* see forget() */
	__u64 audit_hits[DP_VECTOR_WORDS]; /* audit rules met before the deciding one, by slot */
	struct candidates candidates;

	/* For the accounts: frames and bytes on the wire, DP_DECIDED, the device's slot in `devs`. */
	__u64 frames, bytes;
	__u32 decided;
	__u32 dev;
	__u32 groups;    /* of accounts for each CPU; 0: it is not accounted */
	__u32 elsewhere; /* a hook before this one has accounted it */
	__u32 unread;    /* what is known of it is of another packet */
	struct dp_account account;

	/* The coarse clock of this CPU and hook: read once a tick of the kernel, see now(). */
	__u64 clock_jiffies, clock_ns;
	/* Vectors of the run-time sets that the address at hand is in: rules satisfied, rules ruled out. */
	struct candidates set_in, set_out;
	__u64 sets;    /* their numbers */
	__u64 lengths; /* of prefixes to look for */
};

struct pkt {
	void *data, *end;
	__u32 ifindex;
	__u32 len;      /* bytes of the frame in this buffer, linear or not */
	__u32 packets;  /* frames on the wire that this buffer stands for */
	__u32 segment;  /* payload bytes of each of them; 0 when it stands for one */
	__u32 stripped; /* bytes of tags that the hook keeps in metadata */
	__u8 hop_limit;
	__u8 arp;
	__u8 unjudged;       /* no chain, but what passes makes flows */
	__u32 chain_counter; /* slot in chain_counters */
	struct key *key;
};
