/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who sent how much to whom: a cache of tuples as packets show them, one direction each. A tuple lies in one of the
 * slots of group ((h >> 32) & (groups - 1)) * CPUs + CPU. Only the program writes, each CPU its own groups; a slot
 * grows until another tuple takes it, and is then sent to the ring `records` as it was. No room in the ring: the slot
 * stays, and the packet counts as unaccounted.
 *
 * A slot is two lines, and a group has those first that a packet touches which finds its slot. Groups are in the inner map
 * of `account_table`; how many of them packets look at is in `ctl`. Another size is another map: a larger one is put
 * into place before `ctl` says so, a smaller one after. What the map of before holds is its own for ever; its epoch
 * tells records of it from others.
 *
 * Dropped packets make no accounts: `dropped`, DP_DROPPED_SLOTS a CPU, has the tuples of the last ones. One that
 * gives way is added to the totals: what it was dropped by is in the counters of rules and reasons.
 *
 * A packet is accounted at the first hook that sees it.
 */
#pragma once

#include "abi.h"

#define DP_ACCOUNT_WAYS  4
#define DP_DROPPED_SLOTS 4096 /* 256 KiB a CPU */

enum dp_account_kind {
	DP_ACCOUNT_IPV6 = 1 << 0,
	DP_ACCOUNT_NOT_IP = 1 << 1,
	DP_ACCOUNT_UNREAD = 1 << 2, /* malformed, or nobody's: nothing but its device is known */
	DP_ACCOUNT_EGRESS = 1 << 3,
	DP_ACCOUNT_FRAGMENT = 1 << 4, /* a later one: it has no ports */
};

/* What decided: counter slots of the chain and of the rule, 0 for none, and the reason. */
#define DP_DECIDED(reason, chain, rule) ((__u32)(reason) << 24 | (__u32)(chain) << 16 | (rule))
#define DP_DECIDED_REASON(decided)      ((decided) >> 24)
#define DP_DECIDED_CHAIN(decided)       ((decided) >> 16 & 0xff)
#define DP_DECIDED_RULE(decided)        ((decided)&0xffff)
_Static_assert(DP_RULE_SLOTS <= 65536 && DP_CHAIN_SLOTS <= 256, "they fit");

/* In the upper bits of the counts. A count that has come near them ends the slot. */
#define DP_ACCOUNT_COUNT       ((1ull << 48) - 1)
#define DP_ACCOUNT_MOST        (1ull << 47)
#define DP_ACCOUNT_KIND_SHIFT  48 /* packets: enum dp_account_kind */
#define DP_ACCOUNT_FLAGS_SHIFT 56 /* packets: TCP flags seen */
#define DP_ACCOUNT_PROTO_SHIFT 48 /* bytes */

struct dp_account {
	__u32 src[4], dst[4]; /* host order; IPv4 in the first, the others 0 */
	__u16 sport, dport;   /* ICMP: the identifier of an echo, type << 8 | code */
	__u16 dev;            /* slot in `devs` */
	__u16 vlan;           /* outermost id, or DP_VLAN_NONE */
	__u32 decided;        /* DP_DECIDED, of the last packet */
	__u32 seen;           /* tick of the last packet */
	__u64 packets, bytes; /* frames on the wire; 0: a free slot */
};
_Static_assert(sizeof(struct dp_account) == DP_LINE_BYTES, "a packet touches one line");

static inline struct dp_count dp_account_count(const struct dp_account *a)
{
	return (struct dp_count){ a->packets & DP_ACCOUNT_COUNT, a->bytes & DP_ACCOUNT_COUNT };
}

struct dp_birth {
	__u32 epoch;          /* of the map: written before packets see it */
	__u32 generation;     /* how often the slot was taken */
	__u64 first_ns;       /* CLOCK_MONOTONIC, exact: which end began is read from it */
	__u64 second_ns;      /* of the second packet, when a SYN began it; else 0 */
	__u32 decided_before; /* until its first change, 0: there was none */
	__u32 ifindex;
	__u64 packets_before, bytes_before; /* the change */
	__u64 pad[2];
};
_Static_assert(sizeof(struct dp_birth) == DP_LINE_BYTES, "the other line");

struct dp_account_group {
	struct dp_account way[DP_ACCOUNT_WAYS];
	struct dp_birth birth[DP_ACCOUNT_WAYS];
};

/* In `records`. */
struct dp_record {
	struct dp_account account;
	struct dp_birth birth;
	__u32 slot; /* group * DP_ACCOUNT_WAYS + way */
	__u32 pad;
};

#define DP_RECORDS_BYTES (4u * 1024 * 1024) /* 27 000: read fifty times a second */

/*
 * `account_totals`, per CPU, one value. While packets are accounted:
 *   passed  = in slots + settled (ctl) + recorded + unaccounted + elsewhere
 *   dropped = in slots of `dropped` + folded
 */
struct dp_account_totals {
	struct dp_count passed, dropped;
	struct dp_count unaccounted; /* passed, but the ring was full */
	struct dp_count elsewhere;   /* passed, and accounted at the hook that saw them first */
	struct dp_count folded;      /* dropped, and their tuples are not kept */
	struct dp_count recorded;    /* sent to the ring */
};
