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

struct rig {
	struct penstock *skel;
	struct policy policy;
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
 * The zone of the loopback device, under which a test run's frames arrive, is the first of the policy.
 * Fails the running cmocka test when the policy has errors or the kernel refuses.
 */
struct rig *rig_new(const char *policy_text);
/* The same for a policy that names set files. */
struct rig *rig_new_with(const char *policy_text, const struct policy_files *files);
void rig_free(struct rig **rig);

/* Puts another policy into the other bank and flips. */
void rig_apply(struct rig *rig, const char *policy_text);

struct rig_outcome rig_run(struct rig *rig, enum rig_hook hook, const void *frame, size_t len);

const char *rig_reason_text(enum dp_reason reason);
