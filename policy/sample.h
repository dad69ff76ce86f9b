/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets that the network needs, held against the rules of a model. Only for warnings: what a packet's verdict
 * is, the loaded program says (`penstock explain`). Part of a sample may be left open, so the answer may be
 * "maybe".
 */
#pragma once

#include "model.h"
#include "reach.h"

enum sample_peer {
	SAMPLE_ANY,      /* whatever address the rule wants */
	SAMPLE_STRANGER, /* one that no rule names */
	SAMPLE_ADDRESS,
};

struct sample_side {
	enum sample_peer peer;
	u128 address;
};

/* Not TCP. Tags and flows are left open. */
struct sample {
	enum reach_family family;
	uint8_t proto;
	uint16_t sport, dport;
	uint8_t type, code;
	struct sample_side from, to;
};

enum answer sample_matches(const struct model *model, const struct model_rule *rule,
			   const struct sample *sample);

/* Whether the rule's sources admit a peer; likewise for its destinations. */
enum answer sample_from(const struct model *model, const struct model_rule *rule,
			enum reach_family family, struct sample_side side);
enum answer sample_to(const struct model *model, const struct model_rule *rule,
		      enum reach_family family, struct sample_side side);
