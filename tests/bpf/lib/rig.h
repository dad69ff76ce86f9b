/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real programs with a real policy, without a daemon or a device: compiles a policy text, loads the
 * embedded object, installs the image into a bank and runs frames through the kernel's test run.
 */
#pragma once

#include <stdint.h>

#include "abi.h"
#include "frames.h"
#include "penstock.skel.h"
#include "policy.h"

enum rig_hook {
	RIG_XDP_INGRESS,
	RIG_TC_INGRESS,
	RIG_TC_EGRESS,
	RIG_HOOK_COUNT,
};

/* How many flows can be established at a time, unless a test asks for another number. */
#define RIG_FLOW_SLOTS 4096

/* Accounts of each CPU: few, so that tuples give way. */
#define RIG_ACCOUNT_SLOTS 64
#define RIG_RECORDS_BYTES 32768 /* a few hundred records */

struct rig {
	struct penstock *skel;
	struct penstock *dry; /* the second load, for rig_explain(); NULL before the first */
	struct policy policy;
	uint32_t flow_slots;
	/* The programs' own maps, as the daemon has them mapped. */
	struct dp_ctl *ctl;
	struct dp_near *near;
	struct dp_flow *flows, *pending;
	struct dp_fragment *fragments;
	struct dp_filter *set_filter;
	struct dp_account_group *accounts;
	struct dp_account *dropped;
	struct ring_buffer *ring;
	struct dp_count recorded; /* read from the ring */
	struct dp_record *records;
	size_t record_count;
	/* First counter slot of chain i's rules; its default follows. */
	uint32_t rules_of[DP_CHAIN_SLOTS];
	uint32_t slots;
};

/* What one frame did: the verdict of the hook, and what the counters say. */
struct rig_outcome {
	enum dp_verdict verdict;
	enum dp_reason reason;
	const char *rule;  /* id that decided, "default", or NULL */
	const char *chain; /* NULL when no chain owns it */
	uint32_t audits;   /* audit rules that counted */
	uint64_t bytes;    /* as counted */
	uint32_t counted;  /* reasons that moved: must be 1 */
	bool unchanged;    /* the whole frame came out as it went in */
};

/*
 * Enters a network namespace of its own, once, so that no socket of the machine answers for a test's packets.
 * The zone of the loopback device, under which a test run's frames arrive, is the first of the policy.
 * Fails the running cmocka test when the policy has errors or the kernel refuses.
 */
struct rig *rig_new(const char *policy_text);
/* The same for a policy that names set files. */
struct rig *rig_new_with(const char *policy_text, const struct policy_files *files);
/* The same with so many slots for established flows, a power of two. */
struct rig *rig_new_sized(const char *policy_text, uint32_t flow_slots);
/*
 * What passed is what the accounts hold, or held, or could not; what was dropped likewise, in packets and in bytes.
 * rig_free() asks for that, too, so every test does.
 */
void rig_balance(struct rig *rig);
struct dp_account_totals rig_account_totals(const struct rig *rig);
/* Keeps the loaded programs for the next rig of the process, which finds their maps empty. */
void rig_free(struct rig **rig);

/* Puts another policy into the other bank and flips. */
void rig_apply(struct rig *rig, const char *policy_text);

/* The number of the run-time set with an ordinal: never the ordinal itself. */
static inline uint32_t rig_set_number(uint32_t ordinal)
{
	return DP_SETS - 1 - ordinal;
}

struct rig_outcome rig_run(struct rig *rig, enum rig_hook hook, const void *frame, size_t len);

/* At TC frames stand for so many segments with so many bytes of payload each, until told again; 0: for themselves. */
void rig_segments(uint32_t count, uint32_t bytes);

/* The verdict alone, for many frames; fails the test when the frame comes out changed. */
enum dp_verdict rig_verdict(struct rig *rig, enum rig_hook hook, const void *frame, size_t len);

/* What the load that writes nothing says of the frame. */
struct dp_explain rig_explain(struct rig *rig, enum rig_hook hook, const void *frame, size_t len);

/* Whether packets with the reason pass. */
bool rig_reason_passes(enum dp_reason reason);
const char *rig_reason_text(enum dp_reason reason);

/* Sums over all CPUs. Of rules from slot 0 to rig->slots - 1; of the earliest first hit and the latest last. */
struct dp_chain_counters rig_chain_counters(const struct rig *rig, uint32_t chain);
void rig_rule_counts(const struct rig *rig, struct dp_rule_count *ret_counts);
struct dp_state_counters rig_state_counters(const struct rig *rig);
