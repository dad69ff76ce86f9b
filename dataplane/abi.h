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

/*
 * Of what every build must read of pins to know the rest: `meta`, `layouts`, the header of a bank. Pins of another
 * version are refused, by name. How the other maps lie is in struct dp_layout, map by map.
 */
#define DP_ABI_VERSION 3

/*
 * For tests alone, which need a second build whose flows, rule counters and banks lie differently: a word more at
 * the front, or in the midst, of each.
 */
#ifdef PENSTOCK_TEST_LAYOUT
#define DP_OTHER_WORDS      1
#define DP_OTHER_WORD(name) __u64 name
#else
#define DP_OTHER_WORDS 0
#define DP_OTHER_WORD(name)
#endif

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
	X(NO_BANK, DROP, "no-bank", "a policy table could not be read: an installer bug")          \
	X(FRAGMENT_FOLLOWS, PASS, "fragment-follows",                                              \
	  "a later fragment of a datagram whose first one passed")                                 \
	X(TINY_FRAGMENT, DROP, "tiny-fragment",                                                    \
	  "a first fragment without its whole transport header")                                   \
	X(NO_FLOW, DROP, "no-flow",                                                                \
	  "a rule passes it, but it neither opens a TCP connection nor belongs to a live one")

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
	__u32 sets; /* near line of struct dp_set_ordinals, 0 when no rule names a run-time set */
	__u32 pad[5];
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
	__u8 flags;
	__u8 pad[2];
};
#define DP_RULE_OPENS     0x1 /* passes TCP packets only when they may open a connection */
#define DP_RULES_PER_LINE 8
_Static_assert(sizeof(struct dp_rule) * DP_RULES_PER_LINE == DP_LINE_BYTES, "eight a line");

/*
 * A chain of more than DP_CHAIN_RULES rules keeps in vectors those that look at much of the space or at what
 * only vectors know; slot s of a vector is then rule slots[s], 32 numbers of 16 bits a line. They ascend; unused
 * ones are 0xffff. All others are boxes (one range for each field) in cut trees: a step looks at a few bits of one
 * field and picks the next reference, until a short list of boxes is left. Of all that match, the lowest rule
 * number decides.
 *
 * A packet's fields stand in words, in host order:
 *   0..3  source address, IPv4 in word 0        8  source port << 16 | destination port; ICMP: type << 8 | code
 *   4..7  destination address, likewise         9  protocol << 24 | TCP flags << 16 | VLAN id
 *
 * A reference of a tree is 64 bits, eight a line:
 *   inner  bits != 0: the next reference is number (word[`word`] >> shift) % 2^bits of those from line `line` on
 *   leaf   bits == 0: `count` boxes from line `line` on, in the order of rules; none when count is 0. All in
 *          one page: it is looked up once
 */
#define DP_CUT_WORDS      10
#define DP_CUT_WORD_SRC   0
#define DP_CUT_WORD_DST   4
#define DP_CUT_WORD_PORTS 8
#define DP_CUT_WORD_REST  9
#define DP_CUT_BITS_MAX   16
#define DP_CUT_STEPS      12 /* of the longest way to a leaf */
#define DP_CUT_BOXES      28 /* in a leaf */

struct dp_cut {
	__u32 line;
	__u8 word;
	__u8 shift;
	__u8 bits;
	__u8 count;
};
#define DP_CUTS_PER_LINE 8
_Static_assert(sizeof(struct dp_cut) * DP_CUTS_PER_LINE == DP_LINE_BYTES, "eight a line");

/* What kind of packet a box wants: the last two fields of word 8 mean something for some only. */
#define DP_BOX_PORTS 0x1 /* TCP, UDP, SCTP */
#define DP_BOX_ICMP  0x2
#define DP_BOX_OTHER 0x4

#define DP_BOX_ANY_PROTO 0x8
#define DP_BOX_ANY_VLAN  0xffff

/* What a box asks for besides addresses. */
struct dp_box_rest {
	__u16 sport[2], dport[2]; /* first, last; ICMP: dport of type << 8 | code */
	__u16 vlan;
	__u8 proto;
	__u8 kind;              /* DP_BOX_* bits */
	__u8 flags, flags_mask; /* TCP */
	__u8 src_shift,
		dst_shift; /* IPv4: bits of the address that do not count, 0..32; IPv6: 128 - length */
	__u32 rule;
};
_Static_assert(sizeof(struct dp_box_rest) == 20, "five words");

/* Two a line. */
struct dp_box4 {
	__u32 src, dst;
	struct dp_box_rest rest;
	__u32 pad;
};
_Static_assert(sizeof(struct dp_box4) * 2 == DP_LINE_BYTES, "two a line");

/* One a line. */
struct dp_box6 {
	__u32 src[4], dst[4];
	struct dp_box_rest rest;
	__u32 pad[3];
};
_Static_assert(sizeof(struct dp_box6) == DP_LINE_BYTES, "one a line");

/* Trees of a chain and family: by source, by destination, by ports; bits == count == 0: none. */
#define DP_CUT_TREES 3

/*
 * Rules that name run-time sets: for the set with ordinal o (its place among the run-time sets of the policy)
 * four vectors, near, from line `sets` + 4 * o of a chain on: the rules that a source in the set satisfies, those it
 * rules out, and both for the destination.
 */
enum dp_set_vector {
	DP_SET_FROM,
	DP_SET_NOT_FROM,
	DP_SET_TO,
	DP_SET_NOT_TO,
	DP_SET_VECTOR_COUNT,
};

#define DP_SETS           64 /* run-time sets at a time */
#define DP_SET_NO_ORDINAL 0xff

/* The ordinal of each set number; DP_SET_NO_ORDINAL in an image, set by the installer. */
struct dp_set_ordinals {
	__u8 ordinal[DP_SETS];
};
_Static_assert(sizeof(struct dp_set_ordinals) == DP_LINE_BYTES, "a line");

/* The chain of zone z and direction d is four lines from DP_CHAIN_LINE(z, d) on. Zone 0 is "none". */
#define DP_ZONE_MAX         255
#define DP_CHAIN_LINES      4
#define DP_CHAIN_LINE(z, d) (DP_CHAIN_LINES * (1 + 2 * (z) + (d)))

enum dp_chain_flag {
	DP_CHAIN_PRESENT = 1 << 0,
	DP_CHAIN_TRACKS = 1 << 1, /* what passes makes flows; also set on records without a chain */
	DP_CHAIN_FIRST_ONLY = 1 << 2, /* fragments: first-only */
	DP_CHAIN_SETS_FROM = 1 << 3,  /* some rule names a run-time set for the source */
	DP_CHAIN_SETS_TO = 1 << 4,
	DP_CHAIN_CUTS = 1 << 5, /* has trees; slots of vectors go through `slots` */
};

struct dp_chain {
	DP_OTHER_WORD(other);
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
	__u32 state; /* line of the vector of rules with `state: established`, 0 for none */
	__u32 sets;  /* line of the first vector of run-time sets, 0 for none */
	__u32 slots; /* near line of the rule numbers of slots, with DP_CHAIN_CUTS */
	__u32 rule_count;
	struct dp_cut cuts[2][DP_CUT_TREES]; /* by family: IPv4, IPv6 */
	/*
	 * For DP_DIM_SRC4 .. DP_DIM_DST6: line of class 0's vector of the rules that the class rules out although
	 * a run-time set may satisfy them (`from: $banned, not-from: 10.0.0.0/8`); 0 for none.
	 */
	__u32 barred[DP_DIM_SPORT - DP_DIM_SRC4];
	__u32 pad2[14 - 2 * DP_OTHER_WORDS];
};
_Static_assert(sizeof(struct dp_chain) == DP_CHAIN_LINES * DP_LINE_BYTES, "whole lines");

/* Audit rules counted for one packet, in order; more of them count as truncated. */
#define DP_AUDIT_MAX 16

/* ---- maps outside the banks --------------------------------------------------------------------- */

/*
 * Multilinear hashing of 32-bit words with secret keys: the upper half of the sum is strongly universal
 * (Lemire, Kaser: "Strongly universal string hashing is fast", 2014), so nobody outside can make keys that
 * collide. Both worlds compute it: h = key[0] + sum of key[i + 1] * word[i].
 */
#define DP_HASH_KEYS 12

static inline __u64 dp_hash_add(__u64 h, __u64 key, __u32 word)
{
	return h + key * word;
}

/*
 * Coarse time in the tables below: ticks of 2^27 ns (an eighth of a second) of CLOCK_MONOTONIC. 32 bits of
 * them last for 18 years.
 */
#define DP_TICK_SHIFT     27
#define DP_TICKS(seconds) ((__u32)(((seconds)*1000000000ull) >> DP_TICK_SHIFT))

/*
 * `ctl`, one entry, mapped by the daemon: a policy change is one store to `active`. While a change waits to be
 * confirmed the word also holds the tick from which on packets read the other bank again: what nobody confirms
 * is undone without the daemon.
 */
#define DP_ACTIVE_BANK           0x1ull
#define DP_ACTIVE_PENDING        0x2ull
#define DP_ACTIVE_DEADLINE_SHIFT 32 /* a tick; the bits between are zero */

/* The bank that packets read at a tick. */
static inline __u32 dp_active_bank(__u64 active, __u32 tick)
{
	__u64 undone = active & DP_ACTIVE_PENDING && tick >= active >> DP_ACTIVE_DEADLINE_SHIFT;

	return (active ^ undone) & DP_ACTIVE_BANK;
}

struct dp_ctl {
	__u64 active;
	/* Ticks until which packets in mid-stream may make a flow: for connections older than the policy. */
	__u32 adopt_until;
	__u16 has_flows; /* set with the first flow in `flows`; 0 spares packets the look */
	__u16 has_guests; /* set with the first connection of a socket that is not of this machine, see ctx_tc.h */
	/*
	 * Prefix lengths in use by run-time sets, a bit each; 0 spares packets the look. IPv6: length n is bit
	 * n % 64 of word n / 64.
	 */
	__u64 set_lengths4;
	__u64 set_lengths6[4]; /* the last is 0 */
	__u32 account_groups;  /* for each CPU, a power of two; 0: packets are not accounted */
	__u32 account_cpus;    /* that may be there */
	/* What the slots of cache maps of before held in the end; written by the daemon alone. */
	__u64 settled_packets, settled_bytes;
	/* Secret, of dp_hash(); drawn once, when the maps are made. */
	__u64 hash_key[DP_HASH_KEYS];
};
_Static_assert(sizeof(struct dp_ctl) % 8 == 0, "no hidden padding");

/*
 * `devs`: which zone a device belongs to, for either bank, so that a policy may move a device to another
 * zone with the same flip. Slot (ifindex + probe) % DP_DEV_SLOTS; a free slot has ifindex 0.
 */
#define DP_DEV_SLOTS  16384
#define DP_DEV_PROBES 4

struct dp_dev {
	__u32 ifindex;
	__u8 zone[DP_BANKS];
	__u8 raw;     /* its packets begin with the network header: a tunnel */
	__u8 ingress; /* a program sees what comes in there: the device's ingress is attached */
};
_Static_assert(sizeof(struct dp_dev) == 8, "a slot of devs");

struct dp_count {
	__u64 packets;
	__u64 bytes; /* frames from the Ethernet header on, without FCS, as on the wire */
};

/* Of a rule. The times are CLOCK_MONOTONIC, as coarse as the kernel's tick; 0: never. */
struct dp_rule_count {
	DP_OTHER_WORD(other);
	__u64 packets;
	__u64 bytes;
	__u64 first_ns, last_ns;
};

/* `rule_counters`, per CPU: slot s is entry s % 64 of value s / 64. Slot 0 belongs to no rule. */
#define DP_RULE_SLOTS  65536
#define DP_RULE_BLOCK  64
#define DP_RULE_BLOCKS (DP_RULE_SLOTS / DP_RULE_BLOCK)

struct dp_rule_block {
	struct dp_rule_count count[DP_RULE_BLOCK];
};

/* `chain_counters`, per CPU. Slot 0 takes what no chain owns: packets of a zone without a chain. */
#define DP_CHAIN_SLOTS 256

struct dp_chain_counters {
	struct dp_count received;
	struct dp_count audit_truncated; /* matches beyond DP_AUDIT_MAX, not frames; bytes stay 0 */
	struct dp_count reason[DP_REASON_MAX];
};
_Static_assert(sizeof(struct dp_chain_counters) == 1024, "value size of chain_counters");

/* ---- run-time sets ------------------------------------------------------------------------------ */

/*
 * Members that were added while the policy runs: prefixes of either family, each in one or several of the
 * run-time sets. A set has a number, 0..DP_SETS - 1, that it keeps across generations; a bank says which of
 * its chains look at which numbers (struct dp_chain, `sets`). A packet's address is looked up once for each
 * prefix length in use (ctl) and all sets together: first in the filter, whose answer is mostly "no".
 *
 * `set_filter`, one value: a blocked Bloom filter (Putze, Sanders, Singler 2007). Of the hash h of a member
 *   word  h >> 47           of DP_FILTER_WORDS
 *   bits  the four six-bit groups of h >> 8
 * A member's bits are set before it is linked; bits that no member needs any more may stay set.
 */
#define DP_FILTER_WORDS   131072
#define DP_FILTER_WORD(h) ((__u32)((h) >> 47))
#define DP_FILTER_BITS(h)                                                                \
	(1ull << ((h) >> 8 & 63) | 1ull << ((h) >> 14 & 63) | 1ull << ((h) >> 20 & 63) | \
	 1ull << ((h) >> 26 & 63))

struct dp_filter {
	__u64 word[DP_FILTER_WORDS];
};

/*
 * `set_table`, one slot: the members, as an inner map of pages like a bank's. Line 0 is the header; then the
 * heads, 16 a line: head (h >> 32) % heads is the number of the first member of its chain, 0 for none. Then the
 * members, two a line; member n stands in half n % 2 of line `members` + n / 2, member 0 is never used.
 *
 * One writer, the daemon; packets read while it writes. A member is filled in before a head or a member
 * points to it, with a release store; one that was unlinked is used again only after a grace period. A table
 * that has become too small is copied into a larger one and the slot of `set_table` changed.
 * Chains are at most DP_SET_CHAIN members long; the writer makes a larger table before one would be longer.
 */
#define DP_SET_MAGIC        0x73746573 /* "sets", little endian */
#define DP_SET_CHAIN        16
#define DP_HEADS_PER_LINE   16
#define DP_MEMBERS_PER_LINE 2

struct dp_set_header {
	__u32 magic;
	__u32 abi_version;
	__u32 heads;    /* power of two */
	__u32 head;     /* line of the first heads */
	__u32 members;  /* line of members 0 and 1 */
	__u32 capacity; /* members that have room, member 0 included */
	__u32 pad[10];
};
_Static_assert(sizeof(struct dp_set_header) == DP_LINE_BYTES, "line 0 of the table");

/*
 * The hash covers what names a member and not its set: for IPv4 key[0] and the words addr[0], `what`; for
 * IPv6 addr[0..3], `what`; each word with the key of its place (dp_member_hash).
 */
struct dp_member {
	__u32 addr[4]; /* host order, bits past the length are 0; IPv4 in the first */
	__u32 what;    /* DP_MEMBER(family, length) */
	__u32 next;    /* member number, 0 at the end */
	__u32 expires; /* tick from which on it counts no more, 0: never */
	__u32 set;     /* number */
};
_Static_assert(sizeof(struct dp_member) * DP_MEMBERS_PER_LINE == DP_LINE_BYTES, "two a line");

#define DP_MEMBER(ipv6, length) ((__u32)(ipv6) << 8 | (length))

static inline __u64 dp_member_hash4(const __u64 *key, __u32 addr, __u32 what)
{
	return dp_hash_add(dp_hash_add(key[0], key[1], addr), key[5], what);
}

static inline __u64 dp_member_hash6(const __u64 *key, const __u32 *addr, __u32 what)
{
	__u64 h = key[0];

	h = dp_hash_add(h, key[1], addr[0]);
	h = dp_hash_add(h, key[2], addr[1]);
	h = dp_hash_add(h, key[3], addr[2]);
	h = dp_hash_add(h, key[4], addr[3]);
	return dp_hash_add(h, key[5], what);
}

/* ---- flows -------------------------------------------------------------------------------------- */

/*
 * Live flows, for `state: established`. A packet that passed a chain whose replies some chain will ask about
 * makes a flow in `pending`; when its reply has come and its initiator has answered that, it moves to `flows`.
 * So a flood of packets that nobody answers, or answers without being answered, only displaces its like.
 * TCP connections and connected UDP sockets of this machine are not here: the kernel's socket table is the
 * truth for them.
 *
 * Both are arrays of slots of a cache line, open addressing: a flow lies in one of the DP_FLOW_PROBES slots from
 * its first on, and a search ends at a slot that was never used. A slot whose flow has been idle for too long is
 * as good as free. A writer takes a slot by exchanging its tag for DP_FLOW_BUSY and gives it its tag last;
 * a reader that compares a key while the slot changes hands can take one packet for the flow that was there.
 *
 * `flows`: first slot (h >> 32) % slots. Full: the flow stays pending, counted.
 * `pending`: a half for each direction a flow was born in, each of DP_PENDING_REGIONS regions. On the way out the
 * region is chosen by this machine's end, so that a socket that answers a flood fills only its own; on the way in
 * by the flow's hash (h >> 48), so that a flood must fill all. The slot in the region: (h >> 32) % its size.
 * Full: the flow that is idle longest gives way, counted when it was still live.
 */
#define DP_FLOW_SLOTS      262144 /* default of penstockd --flow-slots, a power of two */
#define DP_FLOW_PROBES     16
#define DP_PENDING_SLOTS   65536
#define DP_PENDING_REGIONS 64
#define DP_PENDING_PROBES  8
#define DP_PENDING_REGION  (DP_PENDING_SLOTS / DP_DIR_COUNT / DP_PENDING_REGIONS) /* slots */

/* The two ends, in ascending order of (addr, port), so that both directions have the same key. */
struct dp_flow_key {
	__u32 addr[2][4]; /* host order; IPv4 in the first word of each */
	__u16 port[2];    /* ICMP echo: the identifier for the end that asks, 0 for the other */
	__u8 ipv6;
	__u8 proto;
	__u16 pad;
};
_Static_assert(sizeof(struct dp_flow_key) == 40, "ten words");

#define DP_FLOW_FREE   0u
#define DP_FLOW_BUSY   1u
#define DP_FLOW_TAG(h) ((__u32)(h) | 2u) /* never FREE, never BUSY */

enum dp_flow_flag {
	DP_FLOW_INITIATOR = 1 << 0, /* the end that began it */
	DP_FLOW_REPLIED = 1 << 1,
	DP_FLOW_FIN0 = 1 << 2, /* the end has said that it will send no more */
	DP_FLOW_FIN1 = 1 << 3,
	DP_FLOW_RESET = 1 << 4, /* by a RST with a number that the other end had acknowledged */
	DP_FLOW_BELIEVED =
		1 << 5, /* begun in mid-stream, or the answer was acknowledged: not asked again */
};

struct dp_flow {
	__u32 tag;
	__u32 flags; /* enum dp_flow_flag */
	DP_OTHER_WORD(other);
	struct dp_flow_key key;
	__u32 seen;   /* tick of the last packet, or a few ticks before it */
	__u32 ack[2]; /* TCP: the last acknowledgement number from each end */
	__u32 pad;
};
_Static_assert(sizeof(struct dp_flow) == DP_LINE_BYTES + 8 * DP_OTHER_WORDS, "a flow is a line");

static inline __u64 dp_flow_hash(const __u64 *key, const struct dp_flow_key *flow)
{
	__u64 h = key[0];

	h = dp_hash_add(h, key[1], flow->addr[0][0]);
	h = dp_hash_add(h, key[2], flow->addr[1][0]);
	h = dp_hash_add(h, key[3], (__u32)flow->port[0] << 16 | flow->port[1]);
	h = dp_hash_add(h, key[4], (__u32)flow->ipv6 << 8 | flow->proto);
	if (!flow->ipv6)
		return h;
	h = dp_hash_add(h, key[5], flow->addr[0][1]);
	h = dp_hash_add(h, key[6], flow->addr[0][2]);
	h = dp_hash_add(h, key[7], flow->addr[0][3]);
	h = dp_hash_add(h, key[8], flow->addr[1][1]);
	h = dp_hash_add(h, key[9], flow->addr[1][2]);
	return dp_hash_add(h, key[10], flow->addr[1][3]);
}

/* Idle times. TCP as RFC 5382 asks for, UDP as RFC 4787. */
#define DP_IDLE_PENDING  DP_TICKS(30)
#define DP_IDLE_TCP      DP_TICKS(7440)
#define DP_IDLE_CLOSING  DP_TICKS(30)
#define DP_IDLE_UDP      DP_TICKS(300)
#define DP_IDLE_ICMP     DP_TICKS(30)
#define DP_IDLE_OTHER    DP_TICKS(600)
#define DP_IDLE_FRAGMENT DP_TICKS(30)

/*
 * `fragments`: datagrams whose first fragment has passed a chain with `fragments: first-only`. As `pending`:
 * DP_FRAGMENT_PROBES slots from the first on, the oldest gives way.
 */
#define DP_FRAGMENT_SLOTS  8192
#define DP_FRAGMENT_PROBES 4

struct dp_fragment {
	__u32 tag;
	__u32 seen;
	__u32 src[4], dst[4]; /* as in a packet's key */
	__u32 id;
	__u32 chain; /* its line */
	__u32 end;   /* byte past the first fragment's last, in the datagram */
	__u8 proto;  /* IPv4 */
	__u8 ipv6;
	__u16 vlan; /* as in a packet's key: pieces of one VLAN do not open the way for those of another */
	__u8 pad[8];
};
_Static_assert(sizeof(struct dp_fragment) == DP_LINE_BYTES, "a datagram is a line");

/* `state_counters`, per CPU, one value: what becomes of the tables above. Append only. */
#define DP_STATE_COUNTERS(X)                                                               \
	X(PENDING_NEW, "pending_new", "flows that began")                                  \
	X(PENDING_LOST, "pending_lost", "unanswered flows that gave way while still live") \
	X(FLOWS_NEW, "flows_new", "flows that became established")                         \
	X(FLOWS_FULL, "flows_full", "times a flow found no slot among the established")    \
	X(FLOWS_ADOPTED, "flows_adopted", "flows that began in mid-stream")                \
	X(FRAGMENTS_NEW, "fragments_new", "first fragments that were remembered")          \
	X(FRAGMENTS_LOST, "fragments_lost", "datagrams forgotten before their time")

#define DP_STATE_COUNTER_ENUM(name, text, help) DP_STATE_##name,
enum dp_state_counter {
	DP_STATE_COUNTERS(DP_STATE_COUNTER_ENUM) DP_STATE_COUNTER_COUNT,
};

struct dp_state_counters {
	__u64 count[16];
};
_Static_assert(DP_STATE_COUNTER_COUNT <= 16, "value size of state_counters");

/* Who sent how much to whom. */
#include "abi_accounts.h"

/* ---- what is pinned ----------------------------------------------------------------------------- */

/* `meta`, one entry: what the pinned maps were made by. */
struct dp_meta {
	__u32 abi_version;
	__u32 serial;   /* how many migrations led here, each from maps of one less */
	__u8 build[16]; /* digest of the embedded objects */
};
_Static_assert(sizeof(struct dp_meta) == 24, "the same for every build");

/*
 * `layouts`, one entry: how each map lies, so that another build, older or newer, can say of each whether it goes on
 * with it, carries over what it holds, or refuses. A map's version rises when what it holds comes to mean something
 * else; a field that merely moves is found by its number. Numbers are the places in the lists of
 * control/layouts.c: append only. A build without a field says 0 bytes.
 */
#define DP_LAYOUTS       32
#define DP_LAYOUT_FIELDS 16

struct dp_field {
	__u16 offset, bytes;
};

struct dp_layout {
	char map[16]; /* its name; empty: no more maps */
	__u32 version;
	__u32 value_bytes;
	__u16 entries,
		entry_bytes; /* of a value with fields: how many entries that have them; else 0 */
	__u32 pad;
	struct dp_field field[DP_LAYOUT_FIELDS];
};

struct dp_layouts {
	struct dp_layout at[DP_LAYOUTS];
};
_Static_assert(sizeof(struct dp_layouts) == DP_LAYOUTS * 96, "the same for every build");

/* ---- explain ------------------------------------------------------------------------------------ */

/*
 * A second load of the same object with `dry_run` set compiles every write to shared maps out, reads
 * its zone, direction and bank here instead of from the device, and says here how it came to its verdict.
 */
#define DP_EXPLAIN_NO_RULE 0xffffffffu

struct dp_explain {
	/* in */
	__u32 zone;
	__u32 dir;  /* enum dp_dir */
	__u32 bank; /* 0: the active one; n: bank n - 1 */
	__u32 pad;
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
	__u32 boxes;   /* in the leaves that were reached */
	__u64 sets[2]; /* numbers of the run-time sets that hold the source, the destination */
	__u64 matches[DP_VECTOR_WORDS]; /* slots of all rules in vectors that match */
	__u32 cut_rule; /* lowest rule of the trees that matches, DP_EXPLAIN_NO_RULE */
	__u8 live; /* 0 not asked, 1 no, 2 of a live flow, 3 ends a handshake by SYN cookie, 4 taken over */
	__u8 family; /* 0 IPv4, 1 IPv6, 2 neither */
	__u8 proto;
	__u8 flags;
	__u32 addr[8]; /* source, destination; host order, IPv4 in the first of four */
	__u16 sport, dport;
	__u16 icmp;
	__u16 vlan;
	__u16 l3, l4;  /* offsets */
	__u8 fragment; /* 0 whole, 1 first, 2 later */
	__u8 has_ports, has_icmp;
	__u8 judged; /* the rules were asked */
};
_Static_assert(sizeof(struct dp_explain) % 8 == 0, "no hidden padding");
