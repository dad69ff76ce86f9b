/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See flows_carry.h. Also a flow that is no longer live takes its slot along when that is free: a search ends at a
 * slot that was never used, and others may stand behind it.
 */
#include "flows_carry.h"

#include <stdbool.h>
#include <string.h>

#include "flows.h"
#include "layouts.h"

/* One slot of either kind: a tag comes first in both. */
union slot {
	uint32_t tag;
	struct dp_flow flow;
	struct dp_fragment fragment;
};

static const char *const maps[FLOWS_TABLE_COUNT] = {
	[FLOWS_TABLE_FLOWS] = "flows",
	[FLOWS_TABLE_PENDING] = "pending",
	[FLOWS_TABLE_FRAGMENTS] = "fragments",
};

_Static_assert(offsetof(struct dp_flow, tag) == 0, "see union slot");
_Static_assert(offsetof(struct dp_fragment, tag) == 0, "see union slot");

static bool is_live(enum flows_table which, const union slot *s, uint32_t now)
{
	if (which == FLOWS_TABLE_FRAGMENTS)
		return flows_is_fragment(&s->fragment, now);
	return which == FLOWS_TABLE_FLOWS ? flows_is_live(&s->flow, now)
					  : flows_is_pending(&s->flow, now);
}

static uint32_t tag_of(const void *slot)
{
	return __atomic_load_n((const uint32_t *)slot, __ATOMIC_ACQUIRE);
}

static bool is_later(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}

/* A copy that no packet wrote to meanwhile; false when one does, or when the slot is free. */
static bool read_slot(const struct flows_from *from, const struct dp_layout *own, uint32_t slot,
		      union slot *ret)
{
	const uint8_t *at = from->at + (size_t)slot * from->stride;
	const uint32_t *tag = (const void *)(at + from->layout->field[0].offset);
	uint32_t before = tag_of(tag);

	if (before == DP_FLOW_FREE || before == DP_FLOW_BUSY)
		return false;
	layouts_convert(from->layout, at, own, ret);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return ret->tag == before && tag_of(tag) == before;
}

/* Everything but the tag, as packets do it: readers see the old one, DP_FLOW_BUSY or the new one whole. */
static bool take(union slot *to, uint32_t old_tag, const union slot *content, size_t bytes)
{
	if (old_tag == DP_FLOW_BUSY ||
	    !__atomic_compare_exchange_n(&to->tag, &old_tag, DP_FLOW_BUSY, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_RELAXED))
		return false;
	memcpy((char *)to + sizeof(to->tag), (const char *)content + sizeof(to->tag),
	       bytes - sizeof(to->tag));
	__atomic_store_n(&to->tag, content->tag, __ATOMIC_RELEASE);
	return true;
}

static bool is_same(enum flows_table which, const union slot *a, const union slot *b)
{
	if (a->tag != b->tag)
		return false;
	if (which != FLOWS_TABLE_FRAGMENTS)
		return !memcmp(&a->flow.key, &b->flow.key, sizeof(a->flow.key));
	return a->fragment.id == b->fragment.id &&
	       !memcmp(a->fragment.src, b->fragment.src, sizeof(a->fragment.src)) &&
	       !memcmp(a->fragment.dst, b->fragment.dst, sizeof(a->fragment.dst));
}

/*
 * Both know the flow. Packets of the other program come last in `from`: it is the later one until the switch, and
 * may know an answer or an end that this one has not seen after it.
 */
static void join_flow(struct dp_flow *to, const struct dp_flow *from)
{
	const uint32_t ends = DP_FLOW_REPLIED | DP_FLOW_FIN0 | DP_FLOW_FIN1 | DP_FLOW_BELIEVED;

	if (is_later(from->seen, to->seen)) {
		to->flags = from->flags;
		to->ack[0] = from->ack[0];
		to->ack[1] = from->ack[1];
		to->seen = from->seen;
		return;
	}
	if (from->flags & ends & ~to->flags)
		to->flags |= from->flags & ends;
	for (int i = 0; i < 2; i++) {
		if (is_later(from->ack[i], to->ack[i]))
			to->ack[i] = from->ack[i];
	}
}

static void join(enum flows_table which, union slot *to, const union slot *from)
{
	if (which != FLOWS_TABLE_FRAGMENTS)
		join_flow(&to->flow, &from->flow);
	else if (is_later(from->fragment.seen, to->fragment.seen))
		to->fragment.seen = from->fragment.seen;
}

void flows_carry(enum flows_table which, const struct flows_from *from, void *to, uint32_t slots,
		 uint32_t now, struct flows_carried *ret)
{
	const struct dp_layout *own = layouts_find(&layouts_own, maps[which]);

	for (uint32_t i = 0; i < slots; i++) {
		union slot *mine = (void *)((char *)to + (size_t)i * own->entry_bytes), content;
		uint32_t tag;
		bool live, there;

		if (!read_slot(from, own, i, &content))
			continue;
		tag = tag_of(mine);
		live = is_live(which, &content, now);
		there = is_same(which, mine, &content);
		if (there)
			join(which, mine, &content);
		else if (live ? !is_live(which, mine, now) : tag == DP_FLOW_FREE)
			there = take(mine, tag, &content, own->entry_bytes);
		ret->kept += live && there;
		ret->lost += live && !there;
	}
}
