/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The tables of flows (abi.h): names, search, and taking a slot. What a packet does to a flow is in state.h. */
#pragma once

#include "bits.h"
#include "count.h"

/* 1 when (a, pa) comes after (b, pb). */
static __always_inline __u32 ends_swap(const __u32 *a, __u16 pa, const __u32 *b, __u16 pb)
{
	__u32 swap = less32(pb, pa);

#pragma clang loop unroll(full)
	for (int i = 3; i >= 0; i--)
		swap = less32(b[i], a[i]) | (is_zero(a[i] ^ b[i]) & swap);
	return swap;
}

/*
 * Of a packet from src to dst; the same name, but for `from`, as of one from dst to src. The near end, on this
 * machine's side of the hook, chooses the region of flows that are born on the way out.
 */
static __always_inline void name_flow(struct flow_name *name, const struct ends *e,
				      __u32 near_is_src, const __u64 *secret)
{
	__u32 near_mask = 0u - near_is_src, swap;
	__u64 h;

	name->from = ends_swap(e->src, e->sport, e->dst, e->dport);
	swap = 0u - name->from;
#pragma clang loop unroll(full)
	for (int i = 0; i < 4; i++) {
		name->key.addr[0][i] = pick(swap, e->dst[i], e->src[i]);
		name->key.addr[1][i] = pick(swap, e->src[i], e->dst[i]);
	}
	name->key.port[0] = pick(swap, e->dport, e->sport);
	name->key.port[1] = pick(swap, e->sport, e->dport);
	name->key.ipv6 = e->ipv6;
	name->key.proto = e->proto;
	name->key.pad = 0;
	name->hash = dp_flow_hash(secret, &name->key);
	h = dp_hash_add(secret[0], secret[11], pick(near_mask, e->src[0], e->dst[0]));
	h = dp_hash_add(h, secret[10], pick(near_mask, e->src[3], e->dst[3]));
	h = dp_hash_add(h, secret[9], pick(near_mask, e->sport, e->dport));
	name->region = h >> 32;
}

static __always_inline bool same_flow(const struct dp_flow *f, const struct flow_name *name)
{
	const __u64 *a = (const void *)&f->key, *b = (const void *)&name->key;
	__u64 differs = 0;

#pragma clang loop unroll(full)
	for (__u32 i = 0; i < sizeof(name->key) / sizeof(*a); i++)
		differs |= a[i] ^ b[i];
	return !differs;
}

static __always_inline __u32 idle_limit(const struct dp_flow *f)
{
	__u32 flags = f->flags;

	if (f->key.proto == IPPROTO_TCP) {
		if (flags & DP_FLOW_RESET || (flags & DP_FLOW_FIN0 && flags & DP_FLOW_FIN1))
			return DP_IDLE_CLOSING;
		return DP_IDLE_TCP;
	}
	if (f->key.proto == IPPROTO_UDP)
		return DP_IDLE_UDP;
	if (f->key.proto == IPPROTO_ICMP || f->key.proto == IPPROTO_ICMPV6)
		return DP_IDLE_ICMP;
	return DP_IDLE_OTHER;
}

/* Ticks without a packet. A CPU whose clock lags sees one that is yet to come: that is none. */
static __always_inline __u32 idle_ticks(__u32 seen, __u32 now)
{
	return clamp((__s32)(now - seen), 0x7fffffff);
}

static __always_inline bool flow_dead(const struct dp_flow *f, __u32 now)
{
	return f->tag == DP_FLOW_FREE || idle_ticks(f->seen, now) > idle_limit(f);
}

/* The live flow among the established ones, or NULL. */
static __always_inline struct dp_flow *flow_find(struct key *k, __u32 now)
{
	const struct flow_name *name = &k->name;

	for (__u32 probe = 0; probe < DP_FLOW_PROBES; probe++) {
		__u32 slot = forget(k, (name->hash >> 32) + probe) & flow_mask;
		struct dp_flow *f = bpf_map_lookup_elem(&flows, &slot);

		if (!f || f->tag == DP_FLOW_FREE)
			return NULL;
		if (f->tag == DP_FLOW_TAG(name->hash) && same_flow(f, name))
			return flow_dead(f, now) ? NULL : f;
	}
	return NULL;
}

/* First slot of the region of a flow that was born in a direction. */
static __always_inline __u32 pending_first(const struct key *k, __u32 born)
{
	__u32 region = born == DP_EGRESS ? k->name.region : k->name.hash >> 48;

	return ((born & 1) * DP_PENDING_REGIONS + region % DP_PENDING_REGIONS) * DP_PENDING_REGION;
}

static __always_inline struct dp_flow *pending_slot(struct key *k, __u32 first, __u32 i)
{
	__u32 slot = forget(k, first + i % DP_PENDING_REGION) % DP_PENDING_SLOTS;

	return bpf_map_lookup_elem(&pending, &slot);
}

/* The live flow that is not established yet, or NULL. */
static __always_inline struct dp_flow *pending_find(struct key *k, __u32 first, __u32 now)
{
	const struct flow_name *name = &k->name;

	for (__u32 probe = 0; probe < DP_PENDING_PROBES; probe++) {
		struct dp_flow *f = pending_slot(k, first, (name->hash >> 32) + probe);

		if (!f || f->tag == DP_FLOW_FREE)
			return NULL;
		if (f->tag == DP_FLOW_TAG(name->hash) && same_flow(f, name))
			return idle_ticks(f->seen, now) > DP_IDLE_PENDING ? NULL : f;
	}
	return NULL;
}

/*
 * Takes a slot and fills it with k->content; false when another CPU was faster. A reader sees the old tag,
 * DP_FLOW_BUSY or the new flow whole.
 */
static __always_inline bool flow_write(struct key *k, struct dp_flow *f, __u32 old_tag)
{
	if (old_tag == DP_FLOW_BUSY ||
	    __sync_val_compare_and_swap(&f->tag, old_tag, DP_FLOW_BUSY) != old_tag)
		return false;
	f->flags = k->content.flags;
	f->key = k->content.key;
	f->seen = k->content.seen;
	f->ack[0] = k->content.ack[0];
	f->ack[1] = k->content.ack[1];
	__sync_lock_test_and_set(&f->tag, DP_FLOW_TAG(k->name.hash));
	return true;
}

/* Puts k->content among the established flows; false when there is no room. */
static __always_inline bool flow_insert(struct key *k, __u32 now)
{
	for (__u32 probe = 0; probe < DP_FLOW_PROBES; probe++) {
		__u32 slot = forget(k, (k->name.hash >> 32) + probe) & flow_mask, tag;
		struct dp_flow *f = bpf_map_lookup_elem(&flows, &slot);

		if (!f)
			return false;
		tag = *(const volatile __u32 *)&f->tag;
		if (flow_dead(f, now) && flow_write(k, f, tag))
			return true;
	}
	return false;
}

/* Puts k->content among the pending flows, where need be in the place of the one that is idle longest. */
static __always_inline void pending_insert(struct key *k, __u32 now)
{
	__u32 first = pending_first(k, k->dir), best = 0, oldest = 0;
	struct dp_flow *f;

	for (__u32 probe = 0; probe < DP_PENDING_PROBES; probe++) {
		__u32 idle;

		f = pending_slot(k, first, (k->name.hash >> 32) + probe);
		if (!f)
			return;
		/* Its own slot of before is as good as free: a search would end there. */
		idle = f->tag == DP_FLOW_FREE || f->tag == DP_FLOW_TAG(k->name.hash)
			       ? ~0u
			       : idle_ticks(f->seen, now);
		if (probe && idle <= oldest)
			continue;
		best = forget(k, probe);
		oldest = idle;
	}
	f = pending_slot(k, first, (k->name.hash >> 32) + best);
	if (!f || !flow_write(k, f, *(const volatile __u32 *)&f->tag))
		return;
	count_state(DP_STATE_PENDING_NEW);
	if (oldest <= DP_IDLE_PENDING)
		count_state(DP_STATE_PENDING_LOST);
}
