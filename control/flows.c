/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See flows.h. What is read here may change in the middle of it: a count is then off by a flow, and a slot
 * that a packet takes at the same moment is lost to it, because only one of them gets the tag.
 */
#include "flows.h"

#include <netinet/in.h>
#include <string.h>
#include <time.h>

#define NS_PER_S 1000000000ull

uint32_t flows_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &t); /* what packets go by; always there */
	return (uint32_t)(((uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec) >> DP_TICK_SHIFT);
}

uint32_t flows_at(uint64_t ms)
{
	uint64_t ns = ms * 1000000 + (1ull << DP_TICK_SHIFT) - 1;

	return flows_now() + 1 + (uint32_t)(ns >> DP_TICK_SHIFT);
}

static bool comes_after(const struct flows_end *a, const struct flows_end *b)
{
	for (int i = 0; i < 4; i++) {
		if (a->addr[i] != b->addr[i])
			return a->addr[i] > b->addr[i];
	}
	return a->port > b->port;
}

struct dp_flow_key flows_key(const struct flows_entry *e, uint32_t *ret_initiator)
{
	uint32_t swap = comes_after(&e->from, &e->to);
	const struct flows_end *first = swap ? &e->to : &e->from;
	const struct flows_end *second = swap ? &e->from : &e->to;
	struct dp_flow_key key = { .port = { first->port, second->port },
				   .ipv6 = e->ipv6,
				   .proto = e->proto };

	memcpy(key.addr[0], first->addr, sizeof(key.addr[0]));
	memcpy(key.addr[1], second->addr, sizeof(key.addr[1]));
	*ret_initiator = swap;
	return key;
}

/* Ticks since the last packet; a packet may be a tick ahead of us. */
static uint32_t idle_since(uint32_t seen, uint32_t now)
{
	return (int32_t)(now - seen) > 0 ? now - seen : 0;
}

static bool is_closing(const struct dp_flow *f)
{
	const uint32_t both = DP_FLOW_FIN0 | DP_FLOW_FIN1;

	return f->flags & DP_FLOW_RESET || (f->flags & both) == both;
}

static uint32_t idle_limit(const struct dp_flow *f)
{
	switch (f->key.proto) {
	case IPPROTO_TCP:
		return is_closing(f) ? DP_IDLE_CLOSING : DP_IDLE_TCP;
	case IPPROTO_UDP:
		return DP_IDLE_UDP;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return DP_IDLE_ICMP;
	default:
		return DP_IDLE_OTHER;
	}
}

static uint32_t tag_of(const struct dp_flow *f)
{
	return __atomic_load_n(&f->tag, __ATOMIC_ACQUIRE);
}

static bool is_live(const struct dp_flow *f, uint32_t now)
{
	return idle_since(f->seen, now) <= idle_limit(f);
}

bool flows_is_live(const struct dp_flow *f, uint32_t now)
{
	return tag_of(f) != DP_FLOW_FREE && is_live(f, now);
}

bool flows_is_pending(const struct dp_flow *f, uint32_t now)
{
	return tag_of(f) != DP_FLOW_FREE && idle_since(f->seen, now) <= DP_IDLE_PENDING;
}

bool flows_is_fragment(const struct dp_fragment *f, uint32_t now)
{
	return __atomic_load_n(&f->tag, __ATOMIC_RELAXED) != DP_FLOW_FREE &&
	       idle_since(f->seen, now) <= DP_IDLE_FRAGMENT;
}

/* ---- putting in ---------------------------------------------------------------------------------- */

static bool take(struct dp_flow *slot, uint32_t old_tag, const struct dp_flow *content)
{
	if (!__atomic_compare_exchange_n(&slot->tag, &old_tag, DP_FLOW_BUSY, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return false;
	slot->flags = content->flags;
	slot->key = content->key;
	slot->seen = content->seen;
	memcpy(slot->ack, content->ack, sizeof(slot->ack));
	__atomic_store_n(&slot->tag, content->tag, __ATOMIC_RELEASE);
	return true;
}

static bool is_known(const struct flows *f, uint64_t first, const struct dp_flow *flow)
{
	for (uint32_t probe = 0; probe < DP_FLOW_PROBES; probe++) {
		const struct dp_flow *slot = &f->at[(first + probe) & (f->slots - 1)];
		uint32_t tag = tag_of(slot);

		if (tag == DP_FLOW_FREE)
			return false;
		if (tag == flow->tag && !memcmp(&slot->key, &flow->key, sizeof(flow->key)))
			return is_live(slot, flow->seen);
	}
	return false;
}

enum flows_put flows_put(const struct flows *f, const struct flows_entry *e, uint32_t now)
{
	uint32_t initiator;
	struct dp_flow flow = { .key = flows_key(e, &initiator), .seen = now };
	uint64_t hash = dp_flow_hash(f->hash_key, &flow.key), first = hash >> 32;

	flow.tag = DP_FLOW_TAG(hash);
	flow.flags = DP_FLOW_REPLIED | (initiator ? DP_FLOW_INITIATOR : 0);
	if (is_known(f, first, &flow))
		return FLOWS_PUT_KNOWN;
	for (uint32_t probe = 0; probe < DP_FLOW_PROBES; probe++) {
		struct dp_flow *slot = &f->at[(first + probe) & (f->slots - 1)];
		uint32_t tag = tag_of(slot);

		if (tag == DP_FLOW_BUSY || (tag != DP_FLOW_FREE && is_live(slot, now)))
			continue;
		if (take(slot, tag, &flow))
			return FLOWS_PUT_NEW;
	}
	return FLOWS_PUT_FULL;
}

/* ---- counting ------------------------------------------------------------------------------------ */

static uint64_t *kind_of(const struct dp_flow *f, struct flows_use *use)
{
	switch (f->key.proto) {
	case IPPROTO_TCP:
		return is_closing(f) ? &use->closing : &use->tcp;
	case IPPROTO_UDP:
		return &use->udp;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return &use->icmp;
	default:
		return &use->other;
	}
}

void flows_count(const struct dp_flow *at, uint32_t count, uint32_t now, struct flows_use *ret)
{
	for (uint32_t i = 0; i < count; i++) {
		if (!flows_is_live(&at[i], now))
			continue;
		ret->used++;
		++*kind_of(&at[i], ret);
	}
}

uint64_t flows_count_pending(const struct dp_flow *at, uint32_t count, uint32_t now)
{
	uint64_t used = 0;

	for (uint32_t i = 0; i < count; i++)
		used += flows_is_pending(&at[i], now);
	return used;
}

uint64_t flows_count_fragments(const struct dp_fragment *at, uint32_t count, uint32_t now)
{
	uint64_t used = 0;

	for (uint32_t i = 0; i < count; i++)
		used += flows_is_fragment(&at[i], now);
	return used;
}
