/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a packet does to its flow, and whether it belongs to a live one. Nothing here answers for TCP
 * connections and connected UDP sockets of this machine: socket.h does.
 */
#pragma once

#include <linux/icmpv6.h>
#include <linux/in.h>

#include "flow.h"

/* Of ICMP, RFC 792; the kernel's header for them needs the C library. */
enum icmp4_type {
	ICMP4_ECHO_REPLY = 0,
	ICMP4_UNREACHABLE = 3,
	ICMP4_ECHO_REQUEST = 8,
	ICMP4_TIME_EXCEEDED = 11,
	ICMP4_PARAMETER_PROBLEM = 12,
};

#define DP_TCP_FIN 0x01
#define DP_TCP_SYN 0x02
#define DP_TCP_RST 0x04
#define DP_TCP_ACK 0x10

/* A RST counts when its number is one that the other end may expect next (RFC 5961 asks for exactly that). */
#define DP_RST_WINDOW 65536

/* A FIN may be behind much that is still on its way; a forged one misses, and takes one for each end. */
#define DP_FIN_WINDOW (1u << 20)

/* How much more than the SYN an acknowledgement may cover: data that came with it or right behind it. */
#define DP_ACK_WINDOW 65536

/* `seen` is written at most once in so many ticks: an idle flow's line stays clean in the caches. */
#define DP_SEEN_TICKS 8

enum flow_sight {
	FLOW_NONE,
	FLOW_UNANSWERED, /* begun, and this packet is of the end that began it */
	FLOW_LIVE,
};

static __always_inline __u8 icmp_type(const struct key *k)
{
	return k->icmp >> 8;
}

static __always_inline bool asks_echo(const struct key *k)
{
	return icmp_type(k) == (k->family == PKT_IPV6 ? ICMPV6_ECHO_REQUEST : ICMP4_ECHO_REQUEST);
}

static __always_inline bool answers_echo(const struct key *k)
{
	return icmp_type(k) == (k->family == PKT_IPV6 ? ICMPV6_ECHO_REPLY : ICMP4_ECHO_REPLY);
}

/* An ICMP error about a packet that it quotes. A redirect is not: it changes routes. */
static __always_inline bool is_icmp_error(const struct key *k)
{
	__u8 type = icmp_type(k);

	if (!k->has_icmp)
		return false;
	if (k->family == PKT_IPV6)
		return type >= ICMPV6_DEST_UNREACH && type <= ICMPV6_PARAMPROB;
	return type == ICMP4_UNREACHABLE || type == ICMP4_TIME_EXCEEDED ||
	       type == ICMP4_PARAMETER_PROBLEM;
}

/* Sets k->ends. False for packets that cannot be of a flow: ICMP other than echo. */
static __always_inline bool ends_of(struct key *k)
{
	struct ends *e = &k->ends;
	bool ipv6 = k->family == PKT_IPV6;

	if (k->family == PKT_NOT_IP || (k->has_icmp && !asks_echo(k) && !answers_echo(k)))
		return false;
#pragma clang loop unroll(full)
	for (int i = 0; i < 4; i++) {
		e->src[i] = i && !ipv6 ? 0 : k->word[DP_CUT_WORD_SRC + i];
		e->dst[i] = i && !ipv6 ? 0 : k->word[DP_CUT_WORD_DST + i];
	}
	e->sport = k->sport;
	e->dport = k->dport;
	if (k->has_icmp) {
		e->sport = asks_echo(k) ? k->echo : 0;
		e->dport = asks_echo(k) ? 0 : k->echo;
	}
	e->ipv6 = ipv6;
	e->proto = k->proto;
	return true;
}

/* Whether TCP may begin a connection with it. */
static __always_inline bool opens(const struct key *k)
{
	return (k->flags & (DP_TCP_SYN | DP_TCP_ACK | DP_TCP_RST | DP_TCP_FIN)) == DP_TCP_SYN;
}

static __always_inline bool may_begin(const struct key *k, const struct dp_ctl *c, __u32 now)
{
	if (k->has_icmp)
		return asks_echo(k);
	if (k->proto != IPPROTO_TCP || opens(k))
		return true;
	return now < *(const volatile __u32 *)&c->adopt_until &&
	       (k->flags & (DP_TCP_SYN | DP_TCP_ACK | DP_TCP_RST)) == DP_TCP_ACK;
}

/* Goes on with a conversation: not a SYN, not a RST. */
static __always_inline bool goes_on(const struct key *k)
{
	return k->proto != IPPROTO_TCP ||
	       (k->flags & (DP_TCP_SYN | DP_TCP_ACK | DP_TCP_RST)) == DP_TCP_ACK;
}

static __always_inline bool answers(const struct key *k)
{
	return k->proto != IPPROTO_TCP || (k->flags & (DP_TCP_ACK | DP_TCP_RST)) == DP_TCP_ACK;
}

static __always_inline bool is_initiator(const struct dp_flow *f, const struct flow_name *name)
{
	return (f->flags & DP_FLOW_INITIATOR) == name->from;
}

/* A request comes from the end that asks, an answer from the other: with identifier 0 their ports do not tell. */
static __always_inline bool is_turned(const struct dp_flow *f, const struct key *k)
{
	return k->has_icmp && asks_echo(k) != is_initiator(f, &k->name);
}

/*
 * Whether who began a flow acknowledges what was answered: one who forged the beginning has not seen the answer.
 * In mid-stream the last answer may be far ahead of what is acknowledged, so nothing is asked there, nor of a flow that
 * has done so and found no slot.
 */
static __always_inline bool acknowledges(const struct key *k, const struct dp_flow *f)
{
	return k->proto != IPPROTO_TCP || f->flags & DP_FLOW_BELIEVED ||
	       k->ack - f->ack[k->name.from & 1] < DP_ACK_WINDOW;
}

/* A packet of an established flow: when the flow will end, and that it is alive. */
static __always_inline void flow_track(struct dp_flow *f, const struct key *k, __u32 now)
{
	__u32 flags = f->flags, from = k->name.from & 1;

	if (dry_run)
		return;
	if (k->proto == IPPROTO_TCP) {
		if (k->flags & DP_TCP_RST) {
			if (k->seq - f->ack[from ^ 1] >= DP_RST_WINDOW)
				return;
			flags |= DP_FLOW_RESET;
		} else {
			if (!(k->flags & DP_TCP_FIN))
				flags &= ~DP_FLOW_RESET;
			else if (k->seq - f->ack[from ^ 1] < DP_FIN_WINDOW)
				flags |= DP_FLOW_FIN0 << from;
			if (k->flags & DP_TCP_ACK)
				f->ack[from] = k->ack;
		}
		if (flags != f->flags)
			f->flags = flags;
	}
	if (now - f->seen >= DP_SEEN_TICKS)
		f->seen = now;
}

/* A pending flow whose initiator has answered the answer becomes established. */
static __always_inline void flow_promote(struct key *k, struct dp_ctl *c, struct dp_flow *f,
					 __u32 now)
{
	struct dp_flow *content = &k->content;

	if (dry_run)
		return;
	content->key = k->name.key;
	content->flags = f->flags;
	content->seen = now;
	content->ack[0] = f->ack[0];
	content->ack[1] = f->ack[1];
	content->ack[k->name.from & 1] = k->ack;
	if (!c->has_flows)
		c->has_flows = 1;
	if (!flow_insert(k, now)) {
		count_state(DP_STATE_FLOWS_FULL);
		f->flags |= DP_FLOW_BELIEVED; /* it stays pending, alive */
		f->seen = now;
		return;
	}
	count_state(DP_STATE_FLOWS_NEW);
	f->seen = now - DP_IDLE_PENDING - 1;
}

static __always_inline void flow_begin(struct key *k, const struct dp_ctl *c, __u32 now)
{
	struct dp_flow *content = &k->content;

	if (dry_run || !may_begin(k, c, now))
		return;
	content->key = k->name.key;
	content->flags = k->name.from & DP_FLOW_INITIATOR;
	content->seen = now;
	content->ack[0] = content->ack[1] = 0;
	content->ack[k->name.from & 1] = k->ack;
	if (k->proto == IPPROTO_TCP && !opens(k)) {
		content->flags |= DP_FLOW_BELIEVED;
		count_state(DP_STATE_FLOWS_ADOPTED);
	}
	pending_insert(k, now);
}

/* Among the pending flows: 1. as the answer to one, 2. as the next packet of its initiator. */
static __always_inline enum flow_sight pending_see(struct key *k, struct dp_ctl *c, __u32 now)
{
	struct dp_flow *f = pending_find(k, pending_first(k, k->dir ^ 1), now);

	if (f && !is_initiator(f, &k->name) && !is_turned(f, k)) { /* 1. */
		if (!dry_run && answers(k)) {
			f->flags |= DP_FLOW_REPLIED;
			f->ack[k->name.from & 1] = k->ack;
			/* What its initiator will acknowledge, if it has seen this. */
			f->ack[~k->name.from & 1] = k->seq + !!(k->flags & DP_TCP_SYN);
			f->seen = now;
		}
		return FLOW_LIVE;
	}
	if (!k->tracks)
		return FLOW_NONE;
	f = pending_find(k, pending_first(k, k->dir), now);
	if (!f || !is_initiator(f, &k->name))
		return FLOW_NONE;
	if (!(f->flags & DP_FLOW_REPLIED) || !goes_on(k) || !acknowledges(k, f)) { /* 2. */
		if (!dry_run)
			f->seen = now;
		return FLOW_UNANSWERED;
	}
	flow_promote(k, c, f, now);
	return FLOW_LIVE;
}

/*
 * What is known of the packet's flow, which thereby learns of the packet. With `begin` an unknown flow is
 * begun. A global function: see decision 0003.
 */
__noinline int flow_see(struct key *k, __u32 begin)
{
	enum flow_sight sight;
	__u32 zero = 0, now;
	struct dp_ctl *c = bpf_map_lookup_elem(&ctl, &zero);
	struct dp_flow *f;

	if (!k || !c || !ends_of(k))
		return FLOW_NONE;
	name_flow(&k->name, &k->ends, k->dir & 1, c->hash_key);
	now = now_tick(k);
	f = c->has_flows ? flow_find(k, now) : NULL;
	if (f && !is_turned(f, k)) {
		bool ending = k->proto == IPPROTO_TCP && idle_limit(f) == DP_IDLE_CLOSING;

		if (!begin || !ending || !opens(k)) {
			flow_track(f, k, now);
			return FLOW_LIVE;
		}
		if (!dry_run) /* the ends use their ports anew */
			f->seen = now - DP_IDLE_TCP - 1;
	}
	sight = pending_see(k, c, now);
	if (begin && sight == FLOW_NONE)
		flow_begin(k, c, now);
	return sight;
}

/* Nobody can have seen, and report on, an answer that was never given. */
static __always_inline bool quoted_pending(struct key *k, __u32 born, __u32 now)
{
	const struct dp_flow *f = pending_find(k, pending_first(k, born), now);

	return f && (is_initiator(f, &k->name) || f->flags & DP_FLOW_REPLIED);
}

/* Whether the packet that an ICMP error quotes, k->ends, is of a live flow. It went the other way. */
__noinline int flow_quoted(struct key *k)
{
	__u32 zero = 0, now;
	struct dp_ctl *c = bpf_map_lookup_elem(&ctl, &zero);

	if (!k || !c)
		return 0;
	name_flow(&k->name, &k->ends, ~k->dir & 1, c->hash_key);
	now = now_tick(k);
	if (c->has_flows && flow_find(k, now))
		return 1;
	return quoted_pending(k, DP_INGRESS, now) || quoted_pending(k, DP_EGRESS, now);
}
