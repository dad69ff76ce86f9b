/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From the rules that match to the one that decides. Which of several comes first is plain; whether the packet
 * belongs to a live flow is asked only when the answer can change the verdict or the rule named: settle() then
 * says DP_UNSETTLED, and is called again with the answer.
 */
#pragma once

#include "classify.h"
#include "socket.h"

#define DP_UNSETTLED DP_REASON_MAX /* no reason has this number */

static __always_inline const struct dp_rule *rule_record(const struct view *v, __u32 rule)
{
	const struct dp_line *line = view_line(v, v->chain->rules + rule / DP_RULES_PER_LINE);

	return line ? &((const struct dp_rule *)line)[rule % DP_RULES_PER_LINE] : NULL;
}

/* The number of the rule in a slot of the vectors. The compiler keeps them near, as it does `state` and `audit`. */
static __always_inline __u32 slot_rule(const struct view *v, __u32 slot)
{
	const struct dp_line *line =
		near_line(v->near, v->chain->slots + slot / DP_CLASSES_PER_LINE);

	if (!(v->chain->flags & DP_CHAIN_CUTS))
		return slot;
	return ((const __u16 *)line)[slot % DP_CLASSES_PER_LINE];
}

/*
 * Takes out of the candidates what comes behind the rule that the trees found. A global function: see decision
 * 0003.
 */
__noinline int before_cut_rule(struct key *k)
{
	struct view v = {};
	__u32 slot = 0;

	if (!k || k->cut_rule == DP_EXPLAIN_NO_RULE || !view_of(k, &v))
		return 0;
#pragma clang loop unroll(full) /* kernel 6.1, clang 14, else: "back-edge from insn" */
	for (__u32 step = DP_CHAIN_RULES / 2; step; step /= 2) {
		/* How many slots hold a lower rule: their numbers ascend. */
		__u32 rule = slot_rule(&v, (slot + step - 1) % DP_CHAIN_RULES);

		slot = forget(k, slot + step * less32(rule, k->cut_rule));
	}
	/* The steps add up to one less than there are slots. */
	slot = forget(k, slot + less32(slot_rule(&v, slot % DP_CHAIN_RULES), k->cut_rule));
	for (int w = 0; w < DP_VECTOR_WORDS; w++) {
		__s32 keep = (__s32)slot - w * 64;

		if (keep < 64)
			k->candidates.word[w] &= keep <= 0 ? 0 : (1ull << (keep & 63)) - 1;
	}
	return 0;
}

/* Of one word: rules that wait for the state and stand before all others but audit rules, which decide nothing. */
static __always_inline __u64 state_first(__u64 candidates, __u64 state, __u64 others)
{
	return candidates & state & (others ^ (others - 1));
}

/*
 * Whether a rule that waits for the state stands before all that do not: of the candidates the first that
 * enforces is one, or an audit rule before it is.
 */
static __always_inline bool state_matters(const struct view *v, const struct candidates *c)
{
	const struct dp_vector *state = (const void *)view_line(v, v->chain->state);
	const struct dp_vector *audit =
		(const void *)view_line(v, v->chain->audit ?: v->chain->state);
	__u64 undecided = ~0ull, any = 0;

	if (!state || !audit)
		return false;
#pragma clang loop unroll(full)
	for (int w = 0; w < DP_VECTOR_WORDS; w++) {
		/* Where there is no audit rule, those with a state stand in: they decide nothing yet either. */
		__u64 others = c->word[w] & ~audit->word[w] & ~state->word[w];

		any |= state_first(c->word[w], state->word[w], others) & undecided;
		undecided &= none(others);
	}
	return any;
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

/* The lowest rule among the candidates and what the trees found. */
static __always_inline __u32 first_rule(const struct view *v, struct key *k)
{
	const struct candidates *c = &k->candidates;
	__u32 w = 0, slot, rule;

	if (!c->word[0]) {
		if (likely(v->chain->words <= 1))
			return k->cut_rule;
		for (w = 1; w < DP_VECTOR_WORDS && !c->word[w]; w++)
			;
		if (w >= DP_VECTOR_WORDS)
			return k->cut_rule;
	}
	slot = w * 64 + first_bit(c->word[w]);
	if (likely(!(v->chain->flags & DP_CHAIN_CUTS)))
		return slot;
	rule = slot_rule(v, forget(k, slot));
	return pick(0u - less32(rule, k->cut_rule), rule, k->cut_rule);
}

/*
 * A rule of a chain that knows states passes TCP only to open a connection, or within one. Returns the reason,
 * or DP_UNSETTLED.
 */
static __always_inline __u32 opening(const struct key *k, const struct dp_rule *record,
				     enum live live)
{
	if (!(record->flags & DP_RULE_OPENS) || k->proto != IPPROTO_TCP || opens(k))
		return record->reason;
	if (live == LIVE_UNKNOWN)
		return DP_UNSETTLED;
	return live == LIVE_NO ? DP_REASON_NO_FLOW : record->reason;
}

/* Finds the rule; false when the state must be known first. */
static __always_inline bool choose(const struct view *v, struct key *k, enum live live)
{
	struct candidates *c = &k->candidates;

	if (v->chain->state) {
		if (live == LIVE_UNKNOWN && !(k->proto == IPPROTO_TCP && opens(k)) &&
		    state_matters(v, c))
			return false;
		if (live != LIVE_YES)
			without(v, c, v->chain->state);
	}
	if (v->chain->audit)
		set_audit_aside(v, k, c);
	k->rule = first_rule(v, k);
	return true;
}

/*
 * The reason that goes with k->rule, or DP_UNSETTLED. 1. The first enforcing rule that matches. 2. Neighbour
 * discovery passes unless a rule says otherwise. 3. The chain's default.
 */
static __always_inline __u32 reason_of(const struct view *v, struct key *k)
{
	const struct dp_rule *record;
	__u32 reason;

	if (k->rule != DP_EXPLAIN_NO_RULE) { /* 1. */
		record = rule_record(v, k->rule);
		if (!record)
			return DP_REASON_NO_BANK;
		reason = opening(k, record, k->live);
		k->rule_counter = reason == DP_UNSETTLED ? 0 : record->counter;
		return reason;
	}
	if (k->nd)
		return DP_REASON_ND;                 /* 2. */
	k->rule_counter = v->chain->default_counter; /* 3. */
	return v->chain->default_reason;
}

/*
 * For chains with states or audit rules; called again when k->live is known. A global function, or it
 * would stand in each program twice.
 */
__noinline __u32 settle_late(struct key *k)
{
	struct view v = {};

	if (!k || !view_of(k, &v))
		return DP_REASON_NO_BANK;
	/* Already chosen when only `opening` was waiting. */
	if (k->rule == DP_EXPLAIN_NO_RULE && !choose(&v, k, k->live))
		return DP_UNSETTLED;
	return reason_of(&v, k);
}

/* The common case of state_matters(), small enough to stand in each program: a call less for live flows. */
static __always_inline bool asks_at_once(const struct view *v, const struct key *k)
{
	const struct dp_vector *state = (const void *)near_line(v->near, v->chain->state);
	__u64 candidates = k->candidates.word[0];

	return v->chain->state && !v->chain->audit && v->chain->words <= 1 &&
	       !(k->proto == IPPROTO_TCP && opens(k)) &&
	       state_first(candidates, state->word[0], candidates & ~state->word[0]);
}

static __always_inline __u32 settle(const struct view *v, struct key *k)
{
	if (unlikely(v->chain->state | v->chain->audit)) {
		/* Not in settle_late(): three calls deep, clang 19's frames are more than the stack. */
		if (v->chain->flags & DP_CHAIN_CUTS)
			before_cut_rule(k);
		return asks_at_once(v, k) ? DP_UNSETTLED : settle_late(k);
	}
	k->rule = first_rule(v, k);
	return reason_of(v, k);
}
