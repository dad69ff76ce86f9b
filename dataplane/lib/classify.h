/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which rules match: for each dimension of the packet its class, for each class the vector of rules
 * that its value satisfies, and of those the AND. The scheme is the bit vectors of Lakshman and Stiliadis
 * (SIGCOMM 1998) over direct tables, so the cost does not depend on how large a set is. Chains of many rules
 * keep most of them in trees (cuts.h).
 */
#pragma once

#include <linux/in.h>

#include "bits.h"
#include "cuts.h"
#include "sets.h"
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

/* Takes the rules of a vector out of the candidates. */
static __always_inline void without(const struct view *v, struct candidates *c, __u32 line)
{
	const struct dp_vector *vector = (const void *)view_line(v, line);

	if (!vector)
		return;
#pragma clang loop unroll(full)
	for (int w = 0; w < DP_VECTOR_WORDS; w++)
		c->word[w] &= ~vector->word[w];
}

#define BARRED_DIMS (DP_DIM_SPORT - DP_DIM_SRC4)

/*
 * Keeps the candidates that an address admits by its class or by the run-time sets it is in. A global function:
 * see decision 0003.
 */
__noinline int narrow_by_sets(struct key *k, __u32 dim, __u32 class)
{
	const struct dp_vector *vector;
	struct view v = {};
	__u32 barred;

	if (!k || dim >= DP_DIM_COUNT || !view_of(k, &v))
		return 0;
	if (dry_run) {
		explain.dims |= 1u << dim;
		explain.class[dim] = class;
	}
	vector = (const void *)view_line(&v, forget(k, v.chain->vector[dim] + class));
	if (!vector)
		return 0;
	barred = v.chain->barred[(dim - DP_DIM_SRC4) % BARRED_DIMS];
	if (barred)
		without(&v, &k->set_in, forget(k, barred + class));
	for (int w = 0; w < DP_VECTOR_WORDS; w++)
		k->candidates.word[w] &=
			(vector->word[w] | k->set_in.word[w]) & ~k->set_out.word[w];
	return 0;
}

static __always_inline void address(const struct view *v, struct key *k, enum dp_dim dim,
				    __u32 first, enum dp_chain_flag sets)
{
	const __u32 *addr = &k->word[first];
	__u32 class;

	if (!asks(v, dim))
		return;
	if (dim == DP_DIM_SRC4 || dim == DP_DIM_DST4)
		class = trie_class4(v, v->chain->table[dim], addr[0]);
	else
		class = trie_class6(v, v->chain->table[dim], addr);
	if (unlikely(v->chain->flags & sets) && sets_look(k, first))
		narrow_by_sets(k, dim, class);
	else
		narrow(v, &k->candidates, dim, class);
}

static __always_inline __u32 proto_index(const struct key *k)
{
	return k->family == PKT_NOT_IP ? DP_PROTO_NOT_IP : DP_PROTO_INDEX(k->family, k->proto);
}

static __always_inline void match(const struct view *v, struct key *k, struct candidates *c)
{
	direct(v, c, DP_DIM_PROTO, proto_index(k));
	direct(v, c, DP_DIM_VLAN, k->vlan);
	if (k->family == PKT_IPV4) {
		address(v, k, DP_DIM_SRC4, DP_CUT_WORD_SRC, DP_CHAIN_SETS_FROM);
		address(v, k, DP_DIM_DST4, DP_CUT_WORD_DST, DP_CHAIN_SETS_TO);
	} else if (k->family == PKT_IPV6) {
		address(v, k, DP_DIM_SRC6, DP_CUT_WORD_SRC, DP_CHAIN_SETS_FROM);
		address(v, k, DP_DIM_DST6, DP_CUT_WORD_DST, DP_CHAIN_SETS_TO);
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

/* Leaves in the key the slots of the vectors and the rule of the trees that match. */
static __always_inline void classify(const struct view *v, struct key *k)
{
	struct candidates *c = &k->candidates;

	c->word[0] = v->chain->words ? ~0ull : 0;
	if (unlikely(v->chain->words > 1 || v->chain->state | v->chain->audit) || dry_run)
#pragma clang loop unroll(full)
		for (int i = 1; i < DP_VECTOR_WORDS; i++)
			c->word[i] = v->chain->words > 1 ? ~0ull : 0;
	if (v->chain->words)
		match(v, k, c);
	if (unlikely(v->chain->flags & DP_CHAIN_CUTS))
		cut_rule(k);
	if (dry_run) {
		__builtin_memcpy(explain.matches, c->word, sizeof(explain.matches));
		explain.cut_rule = k->cut_rule;
		explain.judged = 1;
	}
}
