/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The contract between the programs in the kernel and user space: every key, value and number that
 * crosses a map is declared here, once. Both compilers read this file, so it includes nothing but
 * fixed-width types.
 *
 * The heart is the bank: everything a packet's verdict depends on, as one array of cache lines. The
 * policy compiler writes it, the installer copies it into the inactive bank's map, and one word (struct
 * dp_ctl) says which bank packets read. Line numbers are relative to the bank, so an image is position
 * independent and the same policy always gives the same bytes.
 */
#pragma once

#include <linux/types.h>

/* Rises with every change of a layout below; pinned maps of another version are refused, by name. */
#define DP_ABI_VERSION 1

/* ---- verdicts and reasons ---------------------------------------------------------------------- */

enum dp_verdict {
	DP_PASS,
	DP_DROP,
	DP_VERDICT_COUNT,
};

/*
 * Every packet ends with exactly one reason, and a reason belongs to exactly one verdict, so a chain's
 * counters add up: received = sum of the pass reasons + sum of the drop reasons.
 * Append only: the numbers are in pinned maps and on dashboards.
 */
#define DP_REASONS(X)                                                                              \
	X(RULE_PASS, PASS, "rule", "a rule of the chain passes it")                                \
	X(DEFAULT_PASS, PASS, "default", "no rule matches, the chain passes by default")           \
	X(NEVER_DROP, PASS, "never-drop", "safety.never-drop protects it")                         \
	X(ARP, PASS, "arp", "ARP always passes")                                                   \
	X(ND, PASS, "neighbour-discovery", "IPv6 neighbour or router discovery, hop limit 255")    \
	X(NO_CHAIN, PASS, "no-chain", "the device's zone has no chain in this direction")          \
	X(RULE_DROP, DROP, "rule", "a rule of the chain drops it")                                 \
	X(DEFAULT_DROP, DROP, "default", "no rule matches, the chain drops by default")            \
	X(TRUNCATED, DROP, "truncated", "the frame ends inside a header")                          \
	X(BAD_IPV4, DROP, "bad-ipv4-header",                                                       \
	  "IPv4 version, header length or total length is wrong")                                  \
	X(BAD_IPV6, DROP, "bad-ipv6-header", "IPv6 version or payload length is wrong")            \
	X(BAD_OPTION, DROP, "bad-ip-option", "an IPv4 option runs past the header")                \
	X(SOURCE_ROUTE, DROP, "source-route",                                                      \
	  "IPv4 source route, or an IPv6 routing header that "                                     \
	  "is deprecated or not yet used up")                                                      \
	X(BAD_EXT_HEADER, DROP, "bad-extension-header",                                            \
	  "IPv6 extension headers in a forbidden order "                                           \
	  "or past the packet")                                                                    \
	X(TOO_MANY_HEADERS, DROP, "too-many-headers",                                              \
	  "more tags or extension headers than are read")                                          \
	X(BAD_TCP, DROP, "bad-tcp-header", "TCP data offset is wrong")                             \
	X(BAD_UDP, DROP, "bad-udp-header", "UDP length is wrong")                                  \
	X(FRAGMENT, DROP, "fragment", "an IP fragment, and the chain says 'fragments: drop'")      \
	X(NOT_LINEAR, DROP, "headers-not-linear", "the driver split the frame inside its headers") \
	X(NO_BANK, DROP, "no-bank", "a policy table could not be read: an installer bug")

#define DP_REASON_ENUM(name, verdict, text, help) DP_REASON_##name,
enum dp_reason {
	DP_REASONS(DP_REASON_ENUM) DP_REASON_COUNT,
};

/* Room for reasons to come without a change of the counters' layout. */
#define DP_REASON_MAX 62

/* ---- the bank ----------------------------------------------------------------------------------- */

/*
 * A bank is an inner map of `banks`: an array of pages of 64 cache lines of 64 bytes. A table never
 * names bytes, only lines: line n is page n / 64. Vectors, trie nodes and records are line-sized, so one
 * step of a lookup touches one cache line.
 */
#define DP_LINE_BYTES 64
#define DP_LINE_WORDS 16
#define DP_PAGE_LINES 64
#define DP_PAGE_BYTES (DP_PAGE_LINES * DP_LINE_BYTES)
#define DP_BANKS      2

/*
 * The first lines of both banks also stand in `near`, a plain array whose size never changes, so that the
 * JIT inlines its lookups; those of a bank's own map, which has its own size, are calls. Chains, vectors,
 * rules and all of a policy of up to 4 MiB are near; only what lies behind costs a call a line.
 */
#define DP_NEAR_LINES 65536

struct dp_line {
	__u32 word[DP_LINE_WORDS];
};
_Static_assert(sizeof(struct dp_line) == DP_LINE_BYTES, "a line is a cache line");

struct dp_page {
	struct dp_line line[DP_PAGE_LINES];
};
_Static_assert(sizeof(struct dp_page) == DP_PAGE_BYTES, "value size of a bank's map");

struct dp_near {
	struct dp_line line[DP_NEAR_LINES];
};
_Static_assert(sizeof(struct dp_near) == 4 * 1024 * 1024, "value size of near");

#define DP_BANK_MAGIC 0x6b6e6162 /* "bank", little endian */

/* Line 0 of a bank. */
struct dp_bank_header {
	__u32 magic;
	__u32 abi_version;
	__u64 generation; /* 0 in an image; set by the installer */
	__u8 digest[16];  /* of the policy, see policy/image.h */
	__u32 lines;      /* used lines of the bank, this one included */
	__u32 zones;      /* chain records that follow: two for each zone, zone 0 included */
	__u32 pad[6];
};
_Static_assert(sizeof(struct dp_bank_header) == DP_LINE_BYTES, "line 0 of a bank");

enum dp_dir {
	DP_INGRESS,
	DP_EGRESS,
	DP_DIR_COUNT,
};

/*
 * What a rule may look at. For each dimension a table gives the class of the packet's value, and the
 * class gives the vector of rules that this value satisfies; the AND of the vectors is the set of rules
 * that match. Class 0 is "the packet has no such value": only rules that don't ask for it. Of
 * the dimensions that exist for each family only those of the packet's own are looked at.
 */
enum dp_dim {
	DP_DIM_PROTO, /* index: DP_PROTO_INDEX below */
	DP_DIM_SRC4,
	DP_DIM_SRC6,
	DP_DIM_DST4,
	DP_DIM_DST6,
	DP_DIM_SPORT,
	DP_DIM_DPORT,
	DP_DIM_ICMP4, /* index: type << 8 | code */
	DP_DIM_ICMP6,
	DP_DIM_FLAGS, /* index: the TCP flags byte */
	DP_DIM_VLAN,  /* index: outermost VLAN id, DP_VLAN_NONE when untagged */
	DP_DIM_COUNT,
};

#define DP_VLAN_NONE    4096
#define DP_PROTO_NOT_IP 512
#define DP_PROTO_INDEX(f, p) \
	((f) << 8 | (p)) /* f: 0 for IPv4, 1 for IPv6; p: IANA protocol number */

/*
 * A reference: a class, or the line where the search goes on. Chain tables and the first level of a
 * trie hold references. A chain's reference for a dimension is one of
 *   DP_REF_CLASS | class   every value has this class
 *   line                   addresses: 4096 lines of 65536 references, indexed by the first 16 bits
 *   line                   all others: 16-bit classes indexed by the value, 32 a line
 */
#define DP_REF_CLASS  0x80000000u
#define DP_CLASS_MASK 0xffffu

/*
 * A reference in the first level of an IPv4 trie also says how many of the next bits pick one of the lines
 * that stand there in a row, so that a crowded /16 costs one line like any other, not a walk of two:
 * bits << 24 | line.
 */
#define DP_REF_LINE_MASK  0xffffffu
#define DP_REF_BITS_SHIFT 24
#define DP_REF_BITS_MAX   8

#define DP_TRIE_FIRST_LINES 4096 /* of the first level of an address trie */
#define DP_CLASSES_PER_LINE 32

/*
 * A line of an address trie: what becomes of the next 16 bits of the address. Below the first level the
 * values of 16 bits are cut into ranges. Entry i holds (first value of the range << 16 | content); entries
 * ascend, the first starts at 0, unused ones repeat the last. The content of entry i is a class, or, when
 * bit i of `child` is set, the number of a child line counted from `base`. With DP_NODE_INNER the child
 * searches the same 16 bits again (more ranges than fit in one line), otherwise the next 16.
 */
#define DP_NODE_ENTRIES 14
#define DP_NODE_INNER   0x80000000u

/* Steps of the longest walk: 7 levels below the first, each a tree of at most 5 lines. */
#define DP_NODE_STEPS_IPV4 5
#define DP_NODE_STEPS_IPV6 35

struct dp_node {
	__u32 base;
	__u32 child; /* bits 0..13, and DP_NODE_INNER */
	__u32 entry[DP_NODE_ENTRIES];
};
_Static_assert(sizeof(struct dp_node) == DP_LINE_BYTES, "a node is a line");

/*
 * A line of an IPv6 trie that ends the walk, whatever bits are left: a block with at most three borders.
 * The class is class[number of borders at or below the address]; unused borders and classes repeat the
 * last. A lone host needs one such line instead of one for each 16 bits on the way to it.
 */
#define DP_NODE_WIDE    0x40000000u
#define DP_WIDE_BORDERS 3

struct dp_border {
	__u64 high, low; /* an address */
};

struct dp_node_wide {
	__u32 pad;
	__u32 child; /* DP_NODE_WIDE; at its place in struct dp_node */
	struct dp_border border[DP_WIDE_BORDERS];
	__u16 class[DP_WIDE_BORDERS + 1];
};
_Static_assert(sizeof(struct dp_node_wide) == DP_LINE_BYTES, "a node is a line");

/* A vector of rules: bit r % 64 of word r / 64 stands for rule r of the chain. */
#define DP_VECTOR_WORDS 8
#define DP_CHAIN_RULES  (DP_VECTOR_WORDS * 64)

struct dp_vector {
	__u64 word[DP_VECTOR_WORDS];
};
_Static_assert(sizeof(struct dp_vector) == DP_LINE_BYTES, "a vector is a line");

/* A rule's record, eight a line, in the order of precedence. */
struct dp_rule {
	__u32 counter; /* slot in rule_counters; 0 in an image, set by the installer */
	__u8 reason;   /* enum dp_reason of the packets it decides */
	__u8 pad[3];
};
#define DP_RULES_PER_LINE 8
_Static_assert(sizeof(struct dp_rule) * DP_RULES_PER_LINE == DP_LINE_BYTES, "eight a line");

/* The chain of zone z and direction d is the pair of lines at DP_CHAIN_LINE(z, d). Zone 0 is "none". */
#define DP_ZONE_MAX         255
#define DP_CHAIN_LINE(z, d) (2 + 4 * (z) + 2 * (d))

#define DP_CHAIN_PRESENT 0x1u

struct dp_chain {
	__u32 flags;
	__u32 dims;    /* bit d: some rule looks at dimension d; not 0 where there are rules */
	__u32 words;   /* of the vectors in use, 0 for a chain without rules */
	__u32 rules;   /* line of the first rule record */
	__u32 audit;   /* line of the vector of audit rules, 0 for none */
	__u32 counter; /* slot in chain_counters; 0 in an image, set by the installer */
	__u32 default_counter; /* slot in rule_counters of the default; likewise */
	__u8 default_reason;
	__u8 pad[3];
	__u32 table[DP_DIM_COUNT];  /* references */
	__u32 vector[DP_DIM_COUNT]; /* line of class 0's vector; class c's is c lines on */
	__u32 pad2[2];
};
_Static_assert(sizeof(struct dp_chain) == 2 * DP_LINE_BYTES, "two lines");

/* Audit rules counted for one packet, in order; more of them count as truncated. */
#define DP_AUDIT_MAX 16

/* ---- maps outside the banks --------------------------------------------------------------------- */

/* `ctl`, one entry, mapped by the daemon: a policy change is one store to `active`. */
#define DP_ACTIVE_BANK 0x1ull /* the other bits are zero and stay free for a pending confirm */

struct dp_ctl {
	__u64 active;
};

/*
 * `devs`: which zone a device belongs to, for either bank, so that a policy may move a device to another
 * zone with the same flip. Slot (ifindex + probe) % DP_DEV_SLOTS; a free slot has ifindex 0.
 */
#define DP_DEV_SLOTS  16384
#define DP_DEV_PROBES 4

struct dp_dev {
	__u32 ifindex;
	__u8 zone[DP_BANKS];
	__u8 pad[2];
};
_Static_assert(sizeof(struct dp_dev) == 8, "a slot of devs");

struct dp_count {
	__u64 packets;
	__u64 bytes; /* frames from the Ethernet header on, without FCS, as on the wire */
};

/* `rule_counters`, per CPU: slot s is entry s % 64 of value s / 64. Slot 0 belongs to no rule. */
#define DP_RULE_SLOTS  65536
#define DP_RULE_BLOCK  64
#define DP_RULE_BLOCKS (DP_RULE_SLOTS / DP_RULE_BLOCK)

struct dp_rule_block {
	struct dp_count count[DP_RULE_BLOCK];
};

/* `chain_counters`, per CPU. Slot 0 takes what no chain owns: packets of a zone without a chain. */
#define DP_CHAIN_SLOTS 256

struct dp_chain_counters {
	struct dp_count received;
	struct dp_count audit_truncated; /* matches beyond DP_AUDIT_MAX, not frames; bytes stay 0 */
	struct dp_count reason[DP_REASON_MAX];
};
_Static_assert(sizeof(struct dp_chain_counters) == 1024, "value size of chain_counters");

/* `meta`, one entry: what the pinned maps were made by. */
struct dp_meta {
	__u32 abi_version;
	__u32 pad;
	__u8 build[16]; /* digest of the embedded objects */
};

/* ---- explain ------------------------------------------------------------------------------------ */

/*
 * A second load of the same object with `dry_run` set compiles every write to shared maps out, reads
 * its zone and direction here instead of from the device, and says here how it came to its verdict.
 */
#define DP_EXPLAIN_NO_RULE 0xffffffffu

struct dp_explain {
	/* in */
	__u32 zone;
	__u32 dir; /* enum dp_dir */
	/* out */
	__u32 reason;
	__u32 rule; /* index in the chain, DP_EXPLAIN_NO_RULE when none decided */
	__u64 generation;
	__u32 dims; /* dimensions looked at */
	__u32 audit_count;
	__u32 class[DP_DIM_COUNT];
	__u32 audit[DP_AUDIT_MAX]; /* rule indices */
	__u32 packets;             /* as accounted: GSO segments */
	__u32 bytes;
	__u32 pad;
};
_Static_assert(sizeof(struct dp_explain) % 8 == 0, "no hidden padding");
