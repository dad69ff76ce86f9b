/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ClassBench rule sets as models, for tests and benchmarks of the compiler; bench/classbench/rules.py says what
 * the columns mean. A line that is none aborts.
 */
#pragma once

#include "tests/lib/model_kit.h"

#define CLASSBENCH_LINE 256

/* What a rule says of a side: prefix and ports. */
struct classbench_side {
	unsigned int addr[4], len, ports[2];
};

static inline void classbench_operand(struct model_rule *rule, enum model_key key,
				      struct model_operand *o, const struct classbench_side *side)
{
	struct prefix p = { ADDR_IPV4, side->len, 0 };

	for (int i = 0; i < 4; i++)
		p.addr = p.addr << 8 | side->addr[i];
	if (!side->len)
		return;
	p.addr = p.addr >> (32 - side->len) << (32 - side->len);
	rule->keys |= key;
	kit_must(!prefix_set_add(&o->literals, &p) && !prefix_set_seal(&o->literals), "no memory");
}

static inline void classbench_ports(struct model_rule *rule, enum model_key key,
				    const struct classbench_side *side)
{
	if (side->ports[0] || side->ports[1] != UINT16_MAX)
		kit_range(rule, key, side->ports[0], side->ports[1]);
}

/* The last column: in its upper byte TCP flags, or the ICMP type. */
static inline void classbench_word(struct model_rule *rule, unsigned int proto, unsigned int value,
				   unsigned int mask)
{
	if (!(mask >> 8))
		return;
	if (proto == 1) {
		kit_range(rule, MODEL_KEY_TYPE, value >> 8, value >> 8);
		return;
	}
	kit_must(proto == 6, "flags without TCP");
	rule->keys |= MODEL_KEY_FLAGS;
	rule->flags_all = (value & mask) >> 8;
	rule->flags_none = (mask & ~value) >> 8;
}

static inline void classbench_rule(struct kit *k, uint32_t chain, const char *line)
{
	struct classbench_side src = {}, dst = {};
	unsigned int proto, proto_mask, value, mask;
	struct model_rule *rule;

	kit_must(sscanf(line, "@%u.%u.%u.%u/%u %u.%u.%u.%u/%u %u : %u %u : %u 0x%x/0x%x 0x%x/0x%x",
			&src.addr[0], &src.addr[1], &src.addr[2], &src.addr[3], &src.len,
			&dst.addr[0], &dst.addr[1], &dst.addr[2], &dst.addr[3], &dst.len,
			&src.ports[0], &src.ports[1], &dst.ports[0], &dst.ports[1], &proto,
			&proto_mask, &value, &mask) == 18,
		 line);
	rule = kit_rule(k, chain, k->model.chains.at[chain].rules.count % DP_VERDICT_COUNT);
	rule->keys |= MODEL_KEY_FAMILY;
	rule->family = MODEL_FAMILY_IPV4;
	classbench_operand(rule, MODEL_KEY_FROM, &rule->from, &src);
	classbench_operand(rule, MODEL_KEY_TO, &rule->to, &dst);
	classbench_ports(rule, MODEL_KEY_SPORT, &src);
	classbench_ports(rule, MODEL_KEY_DPORT, &dst);
	if (proto_mask)
		kit_proto(rule, proto);
	classbench_word(rule, proto_mask ? proto : 0, value, mask);
}

/* Adds the rules that a command prints to a chain; returns how many. */
static inline size_t classbench_rules(struct kit *k, uint32_t chain, const char *command)
{
	FILE *f = popen(command, "r");
	char line[CLASSBENCH_LINE];
	size_t count = 0;

	kit_must(f, command);
	for (; fgets(line, sizeof(line), f); count++)
		classbench_rule(k, chain, line);
	kit_must(!pclose(f) && count, command);
	return count;
}
