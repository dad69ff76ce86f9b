/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See layouts.h. Whoever changes what a map holds raises its version here, unless only fields of a list have moved,
 * come or gone.
 */
#include "layouts.h"

#include <stdbool.h>
#include <string.h>

/* One for both: chains and rules, vectors, tries, trees. */
#define BANK_VERSION (1 + DP_OTHER_WORDS)

#define FIELD(type, member)                                         \
	{                                                           \
		offsetof(type, member), sizeof(((type *)0)->member) \
	}

#define FLOW_FIELDS                                                                \
	.field = {                                                                 \
		FIELD(struct dp_flow, tag),      FIELD(struct dp_flow, flags),     \
		FIELD(struct dp_flow, key.addr), FIELD(struct dp_flow, key.port),  \
		FIELD(struct dp_flow, key.ipv6), FIELD(struct dp_flow, key.proto), \
		FIELD(struct dp_flow, seen),     FIELD(struct dp_flow, ack),       \
	}

#define ONE(type) .value_bytes = sizeof(type), .entries = 1, .entry_bytes = sizeof(type)
#define MANY(type, of) \
	.value_bytes = sizeof(type), .entries = sizeof(type) / sizeof(of), .entry_bytes = sizeof(of)

/* Counters of a chain are one list: received, audit_truncated, then the reasons. */
_Static_assert(sizeof(struct dp_chain_counters) % sizeof(struct dp_count) == 0, "nothing else");

const struct dp_layouts layouts_own = { {
	{ "meta", 1, sizeof(struct dp_meta) },
	{ "layouts", 1, sizeof(struct dp_layouts) },
	{ "ctl", 1, sizeof(struct dp_ctl) },
	{ "banks", BANK_VERSION, sizeof(__u32) },
	{ "near", BANK_VERSION, sizeof(struct dp_near) },
	{ "devs", 1, sizeof(struct dp_dev) },
	{ "rule_counters", 1, MANY(struct dp_rule_block, struct dp_rule_count),
	  .field = { FIELD(struct dp_rule_count, packets), FIELD(struct dp_rule_count, bytes),
		     FIELD(struct dp_rule_count, first_ns),
		     FIELD(struct dp_rule_count, last_ns) } },
	{ "chain_counters", 1, MANY(struct dp_chain_counters, struct dp_count),
	  .field = { FIELD(struct dp_count, packets), FIELD(struct dp_count, bytes) } },
	{ "state_counters", 1, MANY(struct dp_state_counters, __u64), .field = { { 0, 8 } } },
	{ "flows", 1, ONE(struct dp_flow), FLOW_FIELDS },
	{ "pending", 1, ONE(struct dp_flow), FLOW_FIELDS },
	{ "fragments", 1, ONE(struct dp_fragment),
	  .field = { FIELD(struct dp_fragment, tag), FIELD(struct dp_fragment, seen),
		     FIELD(struct dp_fragment, src), FIELD(struct dp_fragment, dst),
		     FIELD(struct dp_fragment, id), FIELD(struct dp_fragment, chain),
		     FIELD(struct dp_fragment, end), FIELD(struct dp_fragment, proto),
		     FIELD(struct dp_fragment, ipv6), FIELD(struct dp_fragment, vlan) } },
	{ "set_filter", 1, sizeof(struct dp_filter) },
	{ "set_table", 1, sizeof(__u32) },
	{ "account_table", 1, sizeof(__u32) },
	{ "dropped", 1, sizeof(struct dp_account) },
	{ "records", 1, 0 },
	{ "account_totals", 1, sizeof(struct dp_account_totals) },
} };

const struct dp_layout *layouts_find(const struct dp_layouts *all, const char *map)
{
	for (size_t i = 0; i < DP_LAYOUTS && all->at[i].map[0]; i++) {
		if (!strncmp(all->at[i].map, map, sizeof(all->at[i].map)))
			return &all->at[i];
	}
	return NULL;
}

static bool is_bank(const char *map)
{
	return !strcmp(map, "banks") || !strcmp(map, "near");
}

static bool is_within(const struct dp_layout *l, const struct dp_field *f)
{
	return (uint32_t)f->offset + f->bytes <= l->entry_bytes;
}

static bool fields_agree(const struct dp_layout *found, const struct dp_layout *own)
{
	if ((uint64_t)found->entries * found->entry_bytes > found->value_bytes)
		return false;
	for (size_t i = 0; i < DP_LAYOUT_FIELDS; i++) {
		const struct dp_field *theirs = &found->field[i], *ours = &own->field[i];

		if (!is_within(found, theirs) ||
		    (theirs->bytes && ours->bytes && theirs->bytes != ours->bytes))
			return false;
	}
	return true;
}

enum layouts_fate layouts_judge(const struct dp_layout *found, const char *map,
				const char **ret_why)
{
	const struct dp_layout *own = layouts_find(&layouts_own, map);

	if (!found)
		return LAYOUTS_NEW;
	if (!memcmp(found, own, sizeof(*own)))
		return LAYOUTS_KEPT;
	if (is_bank(map))
		return LAYOUTS_COMPILED;
	*ret_why = "nothing of it can be carried over";
	if (!own->entries)
		return LAYOUTS_REFUSED;
	*ret_why = "what it holds means something else";
	if (found->version != own->version || found->entries != own->entries)
		return LAYOUTS_REFUSED;
	*ret_why = "a field of it has another size";
	return fields_agree(found, own) ? LAYOUTS_CARRIED : LAYOUTS_REFUSED;
}

void layouts_convert(const struct dp_layout *from, const void *entry, const struct dp_layout *to,
		     void *ret)
{
	memset(ret, 0, to->entry_bytes);
	for (size_t i = 0; i < DP_LAYOUT_FIELDS; i++) {
		if (from->field[i].bytes && to->field[i].bytes)
			memcpy((char *)ret + to->field[i].offset,
			       (const char *)entry + from->field[i].offset, to->field[i].bytes);
	}
}
