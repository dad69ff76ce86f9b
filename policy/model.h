/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy that has been checked: names resolved, values in range, nothing left to refuse but capacity.
 * All of it lives in the model's arena, except prefix sets. Every object keeps the span it came from.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi.h"
#include "addr.h"
#include "diag.h"

#define MODEL_NAME_MAX 63

/* What is written in `from`, `to`, …: any of these. Literals are sealed. */
struct model_operand {
	struct span span;
	struct prefix_set literals;
	VEC(uint32_t) sets; /* indices in model.sets, ascending, no duplicates */
};

struct model_range {
	uint16_t first, last;
};

enum model_family {
	MODEL_FAMILY_ANY,
	MODEL_FAMILY_IPV4,
	MODEL_FAMILY_IPV6,
};

/* Bits: the key was written. What is not written matches everything. */
enum model_key {
	MODEL_KEY_FAMILY = 1 << 0,
	MODEL_KEY_PROTO = 1 << 1,
	MODEL_KEY_FROM = 1 << 2,
	MODEL_KEY_TO = 1 << 3,
	MODEL_KEY_NOT_FROM = 1 << 4,
	MODEL_KEY_NOT_TO = 1 << 5,
	MODEL_KEY_SPORT = 1 << 6,
	MODEL_KEY_DPORT = 1 << 7,
	MODEL_KEY_FLAGS = 1 << 8,
	MODEL_KEY_TYPE = 1 << 9,
	MODEL_KEY_CODE = 1 << 10,
	MODEL_KEY_VLAN = 1 << 11,
	MODEL_KEY_STATE = 1 << 12, /* `established`, the one word there is */
};

struct model_rule {
	struct span span; /* of the whole rule */
	struct span id_span;
	const char *id;
	uint32_t keys; /* enum model_key bits */
	enum model_family family;
	uint64_t protos[4]; /* bit p % 64 of word p / 64: IANA protocol p */
	struct model_operand from, to, not_from, not_to;
	VEC(struct model_range) sport, dport;     /* ascending, disjoint */
	uint8_t flags_all, flags_any, flags_none; /* TCP: bits as on the wire, fin 1 … cwr 128 */
	VEC(struct model_range) type, code;       /* 0..255 */
	VEC(uint16_t) vlan;
	enum dp_verdict verdict;
	bool audit;
	bool never_drop;  /* from safety.never-drop; id is "never-drop/N", N from 1 */
	const char *text; /* canonical one-line form, as `penstock fmt` prints it */
};

struct model_chain {
	struct span span;
	const char *name;
	uint32_t zone; /* index in model.zones */
	enum dp_dir dir;
	enum dp_verdict default_verdict;
	struct span default_span;
	bool first_only; /* `fragments: first-only` */
	bool stateful;   /* a rule has MODEL_KEY_STATE */
	/* Never-drop first, mirrored on egress; then the chain's own. */
	VEC(struct model_rule) rules;
};

enum model_hook {
	MODEL_HOOK_AUTO,
	MODEL_HOOK_XDP,
	MODEL_HOOK_XDP_GENERIC,
	MODEL_HOOK_TC,
};

struct model_zone {
	struct span span;
	const char *name;
	enum model_hook hook;
	VEC(const char *) devs; /* names or glob patterns (fnmatch) */
};

struct model_set {
	struct span span;
	const char *name;
	const char *file; /* as written, NULL for an inline set */
	struct prefix_set
		prefixes; /* sealed; of a set with `runtime` only what the policy gives it */
	uint64_t listed;  /* prefixes that the file gives, before any are merged */
	uint64_t max;     /* prefixes, those added at run time included; 0: no limit */
	uint64_t ttl_ns;  /* members added at run time leave after this; 0: they stay */
	bool runtime;     /* members come and go at run time; max is not 0 */
	bool refresh;     /* `refresh: on-change`: the file is read again */
	bool unread;      /* its file has an error of its own: nothing is known of its content */
};

/* Where `telemetry.flows` says nothing else. */
#define MODEL_FLOW_SLOTS   65536
#define MODEL_FLOW_IDLE_MS 60000

struct model {
	struct arena arena;
	bool says_confirm; /* `safety.confirm` is written, maybe as 0 */
	uint64_t confirm_ms;
	uint64_t
		flow_slots; /* `telemetry.flows`: tuples a CPU keeps, 0: packets are not accounted */
	uint64_t flow_idle_ms;
	VEC(struct model_zone) zones;
	VEC(struct model_set) sets;
	VEC(struct model_chain) chains;
};

void model_free(struct model **model);
