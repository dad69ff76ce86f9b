/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who sent how much to whom (abi_accounts.h). Nothing here changes a verdict, and what cannot be kept is
 * counted.
 */
#pragma once

#include "state.h"

/* The packet's tuple, as a slot has it; the counts are those of this packet alone. */
static __always_inline void account_of(struct key *k, struct dp_account *a)
{
	bool ipv6 = k->family == PKT_IPV6, ip = !k->unread && k->family != PKT_NOT_IP;
	bool later = k->fragment == PKT_LATER;
	__u64 kind = k->unread ? DP_ACCOUNT_UNREAD
		     : k->family == PKT_NOT_IP
			     ? DP_ACCOUNT_NOT_IP
			     : ipv6 * DP_ACCOUNT_IPV6 | later * DP_ACCOUNT_FRAGMENT;

	kind |= (k->dir == DP_EGRESS) * DP_ACCOUNT_EGRESS;
#pragma clang loop unroll(full)
	for (int i = 0; i < 4; i++) {
		a->src[i] = ip && (!i || ipv6) ? k->word[DP_CUT_WORD_SRC + i] : 0;
		a->dst[i] = ip && (!i || ipv6) ? k->word[DP_CUT_WORD_DST + i] : 0;
	}
	a->sport = !ip ? 0 : k->has_icmp ? k->echo : k->sport;
	a->dport = !ip ? 0 : k->has_icmp ? k->icmp : k->dport;
	a->dev = k->dev;
	a->vlan = k->vlan;
	a->decided = k->decided;
	a->packets = k->frames | kind << DP_ACCOUNT_KIND_SHIFT |
		     (__u64)(ip ? k->flags : 0) << DP_ACCOUNT_FLAGS_SHIFT;
	a->bytes = k->bytes | (__u64)(ip ? k->proto : 0) << DP_ACCOUNT_PROTO_SHIFT;
}

static __always_inline __u64 account_hash(const struct dp_account *a, const __u64 *secret)
{
	const __u32 *where = (const void *)&a->sport;
	__u64 h = dp_hash_add(secret[0], secret[1], a->src[0]);

	h = dp_hash_add(h, secret[2], a->dst[0]);
	h = dp_hash_add(h, secret[3], where[0]);
	h = dp_hash_add(h, secret[4], where[1]);
	h = dp_hash_add(h, secret[5],
			(__u32)(a->bytes >> DP_ACCOUNT_PROTO_SHIFT) << 8 |
				(__u8)(a->packets >> DP_ACCOUNT_KIND_SHIFT));
	if (!(a->packets >> DP_ACCOUNT_KIND_SHIFT & DP_ACCOUNT_IPV6))
		return h;
#pragma clang loop unroll(full)
	for (int i = 1; i < 4; i++) {
		h = dp_hash_add(h, secret[5 + i], a->src[i]);
		h = dp_hash_add(h, secret[8 + i], a->dst[i]);
	}
	return h;
}

static __always_inline bool same_account(const struct dp_account *a, const struct dp_account *b)
{
	const __u64 *x = (const void *)a, *y = (const void *)b;
	__u64 differs = ((a->packets ^ b->packets) >> DP_ACCOUNT_KIND_SHIFT & 0xff) |
			((a->bytes ^ b->bytes) >> DP_ACCOUNT_PROTO_SHIFT);

#pragma clang loop unroll(full)
	for (int i = 0; i < 5; i++) /* up to vlan */
		differs |= x[i] ^ y[i];
	return !differs;
}

static __always_inline struct dp_account_totals *totals_of_accounts(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&account_totals, &zero);
}

/* ---- what passed ------------------------------------------------------------------------------- */

/* Sends a slot that is to be taken by another tuple; false when there is no room. */
static __always_inline bool account_send(const struct dp_account *a, const struct dp_birth *b,
					 __u32 slot)
{
	struct dp_record *r = bpf_ringbuf_reserve(&records, sizeof(*r), 0);
	struct dp_account_totals *t = totals_of_accounts();

	if (!r)
		return false;
	r->account = *a;
	r->birth = *b;
	r->slot = slot;
	r->pad = 0;
	if (t)
		add(&t->recorded, a->packets & DP_ACCOUNT_COUNT, a->bytes & DP_ACCOUNT_COUNT);
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return true;
}

static __always_inline void account_unaccounted(const struct key *k)
{
	struct dp_account_totals *t = totals_of_accounts();

	if (t)
		add(&t->unaccounted, k->frames, k->bytes);
}

static __always_inline struct dp_account_group *account_group(__u32 group)
{
	__u32 zero = 0;
	void *map = bpf_map_lookup_elem(&account_table, &zero);

	return map ? bpf_map_lookup_elem(map, &group) : NULL;
}

/* Begins an account in a slot that is free, or whose tuple gives way. A global function: few packets come here. */
__noinline int account_begin(struct key *k, __u32 slot)
{
	struct dp_account_group *g = account_group(slot / DP_ACCOUNT_WAYS);
	struct dp_account *a;
	struct dp_birth *b;

	if (!k)
		return 0;
	if (!g) {
		account_unaccounted(k);
		return 0;
	}
	a = &g->way[slot % DP_ACCOUNT_WAYS];
	b = &g->birth[slot % DP_ACCOUNT_WAYS];
	if (a->packets && !account_send(a, b, slot)) {
		account_unaccounted(k);
		return 0;
	}
	a->packets = 0; /* a reader that sees the rest change sees this */
	asm volatile("" ::: "memory");
	b->generation++;
	b->first_ns = bpf_ktime_get_ns();
	b->second_ns = 0;
	b->decided_before = 0;
	b->ifindex = k->ifindex;
	b->packets_before = b->bytes_before = 0;
	__builtin_memcpy(a->src, k->account.src, sizeof(a->src));
	__builtin_memcpy(a->dst, k->account.dst, sizeof(a->dst));
	a->sport = k->account.sport;
	a->dport = k->account.dport;
	a->dev = k->account.dev;
	a->vlan = k->account.vlan;
	a->decided = k->account.decided;
	a->seen = now_tick(k);
	a->bytes = k->account.bytes;
	asm volatile("" ::: "memory");
	a->packets = k->account.packets;
	return 0;
}

/* A rule or a reason other than the one of before. False: it is the second change, which ends the account. */
static __always_inline bool account_decided(struct dp_account *a, struct dp_birth *b, __u32 decided)
{
	if (a->decided == decided)
		return true;
	if (b->decided_before)
		return false;
	b->decided_before = a->decided;
	b->packets_before = a->packets & DP_ACCOUNT_COUNT;
	b->bytes_before = a->bytes & DP_ACCOUNT_COUNT;
	a->decided = decided;
	return true;
}

/*
 * What is rare of a tuple that is known: the second packet of a connection, another rule, a count that is full. The
 * counts are those of before the packet. 1: the account ends here.
 */
__noinline int account_turn(struct key *k, __u32 slot)
{
	struct dp_account_group *g = account_group(slot / DP_ACCOUNT_WAYS);
	struct dp_account *a;
	struct dp_birth *b;

	if (!k || !g)
		return 0;
	a = &g->way[slot % DP_ACCOUNT_WAYS];
	b = &g->birth[slot % DP_ACCOUNT_WAYS];
	if ((a->packets & DP_ACCOUNT_COUNT) == 1 &&
	    a->packets >> DP_ACCOUNT_FLAGS_SHIFT & DP_TCP_SYN)
		b->second_ns = bpf_ktime_get_ns();
	return (a->packets | a->bytes) & DP_ACCOUNT_MOST || !account_decided(a, b, k->decided);
}

static __always_inline bool account_turns(const struct key *k, const struct dp_account *a)
{
	return a->decided != k->decided || (a->packets | a->bytes) & DP_ACCOUNT_MOST ||
	       ((a->packets & DP_ACCOUNT_COUNT) == 1 &&
		a->packets >> DP_ACCOUNT_FLAGS_SHIFT & DP_TCP_SYN);
}

static __always_inline void account_add(const struct key *k, struct dp_account *a, __u32 now)
{
	a->seen = now;
	a->bytes += k->bytes;
	a->packets =
		(a->packets + k->frames) | (k->account.packets & 0xffull << DP_ACCOUNT_FLAGS_SHIFT);
}

/* The slot of the tuple is found, or the one that gives way: a free one, or the one that is idle longest. */
__noinline int account_passed(struct key *k)
{
	__u32 zero = 0, group, victim = 0, idlest = 0, now;
	struct dp_account_group *g;
	const struct dp_ctl *c;

	if (!k)
		return 0;
	c = bpf_map_lookup_elem(&ctl, &zero);
	if (!c)
		return 0;
	now = now_tick(k);
	account_of(k, &k->account);
	group = (account_hash(&k->account, c->hash_key) >> 32) & (k->groups - 1);
	group = group * c->account_cpus + bpf_get_smp_processor_id();
	g = account_group(group);
	if (!g) {
		account_unaccounted(k);
		return 0;
	}
	for (__u32 way = 0; way < DP_ACCOUNT_WAYS; way++) {
		struct dp_account *a = &g->way[way];
		__u32 slot = group * DP_ACCOUNT_WAYS + way, idle;

		if (likely(same_account(a, &k->account))) {
			if (unlikely(account_turns(k, a)) && account_turn(k, slot))
				return account_begin(k, slot);
			account_add(k, a, now);
			return 0;
		}
		idle = a->packets ? idle_ticks(a->seen, now) + 1 : ~0u;
		if (idle > idlest) {
			idlest = idle;
			victim = slot;
		}
	}
	return account_begin(k, victim);
}

/* ---- what was dropped -------------------------------------------------------------------------- */

__noinline int account_dropped(struct key *k)
{
	const struct dp_ctl *c;
	struct dp_account_totals *t;
	struct dp_account *a;
	__u32 zero = 0, slot;

	if (!k)
		return 0;
	c = bpf_map_lookup_elem(&ctl, &zero);
	if (!c)
		return 0;
	account_of(k, &k->account);
	slot = (account_hash(&k->account, c->hash_key) >> 32) % DP_DROPPED_SLOTS +
	       bpf_get_smp_processor_id() * DP_DROPPED_SLOTS;
	a = bpf_map_lookup_elem(&dropped, &slot);
	if (!a)
		return 0;
	k->account.seen = now_tick(k);
	if (same_account(a, &k->account) && a->decided == k->decided &&
	    !((a->packets | a->bytes) & DP_ACCOUNT_MOST)) {
		account_add(k, a, k->account.seen);
		return 0;
	}
	t = totals_of_accounts();
	if (t && a->packets)
		add(&t->folded, a->packets & DP_ACCOUNT_COUNT, a->bytes & DP_ACCOUNT_COUNT);
	*a = k->account;
	return 0;
}

/* 8 */
static __always_inline void account(struct pkt *pkt, int result, enum dp_verdict v,
				    enum dp_reason reason)
{
	struct dp_account_totals *t;
	struct key *k = pkt->key;

	if (dry_run || !k->groups)
		return;
	k->frames = pkt->packets;
	k->bytes = wire_bytes(pkt);
	k->decided = DP_DECIDED(reason, pkt->chain_counter & 0xff, k->rule_counter & 0xffff);
	k->unread = forget(k, !!result);
	t = totals_of_accounts();
	if (!t)
		return;
	add(v == DP_DROP ? &t->dropped : &t->passed, k->frames, k->bytes);
	if (v == DP_DROP)
		account_dropped(k);
	else if (unlikely(k->elsewhere))
		add(&t->elsewhere, k->frames, k->bytes);
	else
		account_passed(k);
}
