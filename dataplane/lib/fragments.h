/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * `fragments: first-only`: a later fragment has no ports to judge it by, so it follows the first one of its
 * datagram, if that came first and passed. One that would write over what was judged does not (RFC 1858,
 * RFC 5722). Nothing is kept of datagrams whose first fragment has not come: an attacker cannot fill the table
 * with what no rule passes.
 */
#pragma once

#include "flow.h"

static __always_inline __u64 fragment_hash(const struct key *k)
{
	const struct dp_ctl *c;
	__u32 zero = 0;
	__u64 h;

	c = bpf_map_lookup_elem(&ctl, &zero);
	if (!c)
		return 0;
	h = dp_hash_add(c->hash_key[0], c->hash_key[9], k->fragment_id);
	h = dp_hash_add(h, c->hash_key[10], k->chain);
#pragma clang loop unroll(full)
	for (int i = 0; i < 8; i++)
		h = dp_hash_add(h, c->hash_key[1 + i], k->word[i]);
	return h;
}

/* IPv6 names the protocol in the first fragment alone (RFC 8200, 4.5). */
static __always_inline __u8 fragment_proto(const struct key *k)
{
	return k->family == PKT_IPV6 ? 0 : k->proto;
}

static __always_inline bool same_datagram(const struct dp_fragment *f, const struct key *k)
{
	__u32 differs = f->id ^ k->fragment_id;

	differs |= (f->chain ^ k->chain) | (f->vlan ^ k->vlan);
	differs |= f->proto ^ fragment_proto(k);
	differs |= f->ipv6 ^ (k->family == PKT_IPV6);
#pragma clang loop unroll(full)
	for (int i = 0; i < 4; i++)
		differs |= (f->src[i] ^ k->word[i]) | (f->dst[i] ^ k->word[4 + i]);
	return !differs;
}

/* The slot of the packet's datagram; NULL when it is not there, and then *ret_free is the one to use. */
static __always_inline struct dp_fragment *fragment_find(struct key *k, __u64 h, __u32 now,
							 struct dp_fragment **ret_free)
{
	__u32 oldest = 0, tag = DP_FLOW_TAG(h);

	*ret_free = NULL;
	for (__u32 probe = 0; probe < DP_FRAGMENT_PROBES; probe++) {
		__u32 slot = ((h >> 32) + probe) % DP_FRAGMENT_SLOTS;
		struct dp_fragment *f = bpf_map_lookup_elem(&fragments, &slot);
		__u32 idle;

		if (!f)
			return NULL;
		idle = f->tag == DP_FLOW_FREE ? ~0u : idle_ticks(f->seen, now);
		if (f->tag == tag && idle <= DP_IDLE_FRAGMENT && same_datagram(f, k))
			return f;
		if (!*ret_free || idle > oldest) {
			*ret_free = f;
			oldest = idle;
		}
	}
	return NULL;
}

/* A later fragment: whether it follows. */
__noinline int fragment_follows(struct key *k)
{
	struct dp_fragment *f, *unused;

	if (!k)
		return 0;
	f = fragment_find(k, fragment_hash(k), now_tick(k), &unused);
	return f && k->fragment_at >= f->end;
}

/* A first fragment that was judged: remembered when it passed, forgotten when it did not. */
__noinline int fragment_remember(struct key *k, __u32 passed)
{
	struct dp_fragment *f, *slot;
	__u32 now, end;
	__u64 h;

	if (!k || dry_run)
		return 0;
	now = now_tick(k);
	h = fragment_hash(k);
	f = fragment_find(k, h, now, &slot);
	if (!passed) {
		if (f)
			f->seen = now - DP_IDLE_FRAGMENT - 1;
		return 0;
	}
	end = k->fragment_end;
	if (f) { /* again: what any of them has written is judged */
		end = end > f->end ? end : f->end;
	} else {
		f = slot;
		if (!f)
			return 0;
		count_state(DP_STATE_FRAGMENTS_NEW);
		if (f->tag != DP_FLOW_FREE && idle_ticks(f->seen, now) <= DP_IDLE_FRAGMENT)
			count_state(DP_STATE_FRAGMENTS_LOST);
	}
	f->tag = DP_FLOW_BUSY;
	f->id = k->fragment_id;
	f->chain = k->chain;
	f->vlan = k->vlan;
	f->proto = fragment_proto(k);
	f->ipv6 = k->family == PKT_IPV6;
	__builtin_memcpy(f->src, &k->word[DP_CUT_WORD_SRC], sizeof(f->src));
	__builtin_memcpy(f->dst, &k->word[DP_CUT_WORD_DST], sizeof(f->dst));
	f->end = end;
	f->seen = now;
	__sync_lock_test_and_set(&f->tag, DP_FLOW_TAG(h));
	return 0;
}
