/* SPDX-License-Identifier: Apache-2.0 */
/* See footprint.h. The kernel's own header of a map is smaller than a page and left out. */
#include "footprint.h"

/* A value for each CPU, and a pointer to them. */
static uint64_t per_cpu(uint64_t entries, uint64_t value_bytes, unsigned int cpus)
{
	return entries * (cpus * value_bytes + sizeof(uint64_t));
}

static void add_members(struct footprint *f, const struct model *model)
{
	uint32_t capacity;

	for (size_t i = 0; i < model->sets.count; i++) {
		const struct model_set *set = &model->sets.at[i];
		uint64_t given = prefix_set_members(&set->prefixes);

		if (set->runtime && set->max > given)
			f->members += set->max - given;
	}
	if (!f->members)
		return;
	/* Beyond its limit the table refuses members, whatever `max` says. */
	capacity = footprint_member_capacity(f->members) ?: FOOTPRINT_MEMBERS_MAX;
	f->member_bytes =
		(uint64_t)((footprint_member_lines(capacity) + DP_PAGE_LINES - 1) / DP_PAGE_LINES) *
		DP_PAGE_BYTES;
}

struct footprint footprint_of(const struct model *model, const struct image *image,
			      unsigned int cpus, uint64_t flow_slots)
{
	struct footprint f = {
		.maps = {
			{ "near", DP_BANKS * sizeof(struct dp_near) },
			{ "flows", flow_slots * sizeof(struct dp_flow) },
			{ "pending", DP_PENDING_SLOTS * sizeof(struct dp_flow) },
			{ "fragments", DP_FRAGMENT_SLOTS * sizeof(struct dp_fragment) },
			{ "set_filter", sizeof(struct dp_filter) },
			{ "rule_counters",
			  per_cpu(DP_RULE_BLOCKS, sizeof(struct dp_rule_block), cpus) },
			{ "chain_counters",
			  per_cpu(DP_CHAIN_SLOTS, sizeof(struct dp_chain_counters), cpus) },
			{ "devs", DP_DEV_SLOTS * sizeof(struct dp_dev) },
			{ "ctl", DP_PAGE_BYTES },
			{ "dropped", (uint64_t)cpus * DP_DROPPED_SLOTS * sizeof(struct dp_account) },
			{ "records", DP_RECORDS_BYTES },
			{ "accounts",
			  (uint64_t)cpus * footprint_account_groups(model->flow_slots, cpus) *
				  sizeof(struct dp_account_group) },
		},
		.bank_bytes = (uint64_t)footprint_bank_pages(image->count) * DP_PAGE_BYTES,
	};

	for (size_t i = 0; i < FOOTPRINT_MAPS; i++)
		f.fixed_bytes += f.maps[i].bytes;
	add_members(&f, model);
	return f;
}
