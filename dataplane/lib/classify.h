/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which rule decides: for each dimension of the packet its class, for each class the vector of rules
 * that its value satisfies, and of the AND of the vectors the first rule. The scheme is the bit vectors
 * of Lakshman and Stiliadis (SIGCOMM 1998) over direct tables, so the cost does not depend on how large
 * a set is.
 */
#pragma once

#include <linux/in.h>

#include "bits.h"
#include "trie.h"

/* The class of a value by its direct table, 32 16-bit classes a line. */
static __always_inline __u32 direct_class(const struct view *v, __u32 ref, __u32 value)
{
	const struct dp_line *line;

	if (ref & DP_REF_CLASS)
		return ref & DP_CLASS_MASK;
	line = view_line(v, ref + value / DP_CLASSES_PER_LINE);
	if (!line)
		return 0;
	return ((const __u16 *)line)[value % DP_CLASSES_PER_LINE];
}

/* Keeps the candidates that the class admits. A bank that lacks the vector leaves none. */
static __always_inline void narrow(const struct view *v, struct candidates *c, enum dp_dim dim,
				   __u32 class)
{
	const struct dp_vector *vector = (const void *)view_line(v, v->chain->vector[dim] + class);

	if (dry_run) {
		explain.dims |= 1u << dim;
		explain.class[dim] = class;
	}
	if (!vector) {
		*c = (struct candidates){};
		return;
	}
	c->word[0] &= vector->word[0];
	if (likely(v->chain->words <= 1))
		return;
#pragma clang loop unroll(full)
	for (int w = 1; w < DP_VECTOR_WORDS; w++)
		c->word[w] &= vector->word[w];
}

/* What the chain does not ask for costs a test of one bit. */
static __always_inline bool asks(const struct view *v, enum dp_dim dim)
{
	return v->chain->dims & 1u << dim;
}

static __always_inline void direct(const struct view *v, struct candidates *c, enum dp_dim dim,
				   __u32 value)
{
	if (asks(v, dim))
		narrow(v, c, dim, direct_class(v, v->chain->table[dim], value));
}

static __always_inline void address4(const struct view *v, struct candidates *c, enum dp_dim dim,
				     __be32 addr)
{
	if (asks(v, dim))
		narrow(v, c, dim, trie_class4(v, v->chain->table[dim], host32(addr)));
}

static __always_inline void address6(const struct view *v, struct candidates *c, enum dp_dim dim,
				     const __be32 *addr)
{
	if (asks(v, dim))
		narrow(v, c, dim, trie_class6(v, v->chain->table[dim], addr));
}

static __always_inline __u32 proto_index(const struct key *k)
{
	return k->family == PKT_NOT_IP ? DP_PROTO_NOT_IP : DP_PROTO_INDEX(k->family, k->proto);
}

static __always_inline void match(const struct view *v, const struct key *k, struct candidates *c)
{
	direct(v, c, DP_DIM_PROTO, proto_index(k));
	direct(v, c, DP_DIM_VLAN, k->vlan);
	if (k->family == PKT_IPV4) {
		address4(v, c, DP_DIM_SRC4, k->src[0]);
		address4(v, c, DP_DIM_DST4, k->dst[0]);
	} else if (k->family == PKT_IPV6) {
		address6(v, c, DP_DIM_SRC6, k->src);
		address6(v, c, DP_DIM_DST6, k->dst);
	}
	if (k->has_ports) {
		direct(v, c, DP_DIM_SPORT, k->sport);
		direct(v, c, DP_DIM_DPORT, k->dport);
		if (k->proto == IPPROTO_TCP)
			direct(v, c, DP_DIM_FLAGS, k->flags);
	} else if (k->has_icmp) {
		if (k->family == PKT_IPV4)
			direct(v, c, DP_DIM_ICMP4, k->icmp);
		else
			direct(v, c, DP_DIM_ICMP6, k->icmp);
	}
}

static __always_inline const struct dp_rule *rule_record(const struct view *v, __u32 rule)
{
	const struct dp_line *line = view_line(v, v->chain->rules + rule / DP_RULES_PER_LINE);

	return line ? &((const struct dp_rule *)line)[rule % DP_RULES_PER_LINE] : NULL;
}

/* All ones when x is 0, else 0; without a branch, see node_entry(). */
static __always_inline __u64 none(__u64 x)
{
	x |= -x;
	asm volatile("" : "+r"(x));
	return (x >> 63) - 1;
}

/* Takes the audit rules out of the candidates, and notes those that come before the first other one. */
static __always_inline void set_audit_aside(const struct view *v, struct key *k,
					    struct candidates *c)
{
	const struct dp_vector *audit = (const void *)view_line(v, v->chain->audit);
	__u64 undecided = ~0ull, any = 0;

	if (!audit)
		return;
#pragma clang loop unroll(full)
	for (int w = 0; w < DP_VECTOR_WORDS; w++) {
		__u64 others = c->word[w] & ~audit->word[w];
		/* Bits below the lowest of the others: all of them when there is none. */
		__u64 hits = c->word[w] & audit->word[w] & (others ^ (others - 1)) & undecided;

		c->word[w] = others;
		undecided &= none(others);
		k->audit_hits[w] = hits;
		any |= hits;
	}
	k->has_audits = !!any;
}

/*
 * The deciding rule's reason. 1. The first enforcing rule that matches. 2. Neighbour discovery passes
 * unless a rule says otherwise. 3. The chain's default.
 */
static __always_inline enum dp_reason decide(const struct view *v, struct key *k)
{
	struct candidates *c = &k->candidates;
	const struct dp_rule *record;
	__u32 w = 0;

	*c = (struct candidates){};
	c->word[0] = v->chain->words ? ~0ull : 0;
	if (v->chain->words > 1)
#pragma clang loop unroll(full)
		for (int i = 1; i < DP_VECTOR_WORDS; i++)
			c->word[i] = ~0ull;
	match(v, k, c);
	if (v->chain->audit)
		set_audit_aside(v, k, c);
	while (w < DP_VECTOR_WORDS && !c->word[w])
		w++;
	if (w < DP_VECTOR_WORDS) {
		k->rule = w * 64 + first_bit(c->word[w]);
		record = rule_record(v, k->rule); /* 1. */
		if (!record)
			return DP_REASON_NO_BANK;
		k->rule_counter = record->counter;
		return record->reason;
	}
	if (k->nd)
		return DP_REASON_ND;                 /* 2. */
	k->rule_counter = v->chain->default_counter; /* 3. */
	return v->chain->default_reason;
}

static __always_inline enum dp_reason classify(struct key *k)
{
	struct view v = {};

	return view_of(k, &v) ? decide(&v, k) : DP_REASON_NO_BANK;
}
