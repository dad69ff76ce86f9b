/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which policy a packet meets: the active bank, read once, and in it the chain of its device's zone.
 * select_chain() returns 0, the reason for which no chain judges the packet, or a negative reason.
 */
#pragma once

#include "clock.h"
#include "cursor.h"

/*
 * Line n, behind the near ones. The number is hidden from the compiler once the page is known to be there:
 * clang 14 else adds first and checks afterwards ("pointer arithmetic on map_value_or_null prohibited").
 */
static __always_inline struct dp_line *far_line(__u32 bank_index, __u32 n)
{
	void *bank = bpf_map_lookup_elem(&banks, &bank_index);
	__u32 key = n / DP_PAGE_LINES;
	struct dp_page *page;
	__u64 i = n;

	if (!bank)
		return NULL;
	page = bpf_map_lookup_elem(bank, &key);
	if (!page)
		return NULL;
	asm volatile("" : "+r"(i));
	return &page->line[i % DP_PAGE_LINES];
}

/* A line that is never anywhere but near. */
static __always_inline const struct dp_line *near_line(const struct dp_near *lines, __u32 n)
{
	return &lines->line[n % DP_NEAR_LINES];
}

/* The page that line n is in, for tables that never leave one; NULL only when an image lacks it. */
static __always_inline const struct dp_page *bank_page(const struct dp_near *lines,
						       __u32 bank_index, __u32 n)
{
	__u64 i = n;

	if (unlikely(n >= DP_NEAR_LINES)) {
		const struct dp_line *line = far_line(bank_index, n & ~(DP_PAGE_LINES - 1u));

		return (const void *)line;
	}
	asm volatile("" : "+r"(i)); /* likewise */
	return (const void *)&lines->line[i % DP_NEAR_LINES & ~(DP_PAGE_LINES - 1u)];
}

/* Line n of a bank; NULL only when an image names a line it does not have. */
static __always_inline struct dp_line *bank_line(struct dp_near *lines, __u32 bank_index, __u32 n)
{
	__u64 i = n;

	if (unlikely(n >= DP_NEAR_LINES))
		return far_line(bank_index, n);
	asm volatile("" : "+r"(i)); /* likewise */
	return &lines->line[i % DP_NEAR_LINES];
}

/* Of a packet that goes out, whether a hook saw it come in. */
static __always_inline __u32 came_in(__u32 ifindex)
{
	if (likely(!ifindex))
		return 0;
	for (__u32 probe = 0; probe < DP_DEV_PROBES; probe++) {
		__u32 slot = (ifindex + probe) % DP_DEV_SLOTS;
		const struct dp_dev *dev = bpf_map_lookup_elem(&devs, &slot);

		if (dev && dev->ifindex == ifindex)
			return dev->ingress;
	}
	return 0;
}

/* Also notes whether the device's packets have an Ethernet header. */
static __always_inline __u32 device_zone(const struct pkt *pkt)
{
	pkt->key->dev = DP_DEV_SLOTS;
	for (__u32 probe = 0; probe < DP_DEV_PROBES; probe++) {
		__u32 slot = (pkt->ifindex + probe) % DP_DEV_SLOTS;
		const struct dp_dev *dev = bpf_map_lookup_elem(&devs, &slot);

		if (dev && dev->ifindex == pkt->ifindex) {
			pkt->key->raw = dev->raw;
			pkt->key->dev = slot;
			return dev->zone[pkt->key->bank_index % DP_BANKS];
		}
	}
	return 0;
}

/* A chain by its line. All chains are near: there are 256 zones. */
static __always_inline const struct dp_chain *bank_chain(const struct dp_near *lines, __u32 n)
{
	return (const void *)&lines->line[n % DP_NEAR_LINES & ~(DP_CHAIN_LINES - 1)];
}

/* The word is read once; the clock only while a change waits to be confirmed. */
static __always_inline __u32 active_bank(const struct dp_ctl *c, struct key *k)
{
	__u64 active = *(const volatile __u64 *)&c->active;

	if (dry_run && explain.bank)
		return (explain.bank - 1) & DP_ACTIVE_BANK;
	if (likely(!(active & DP_ACTIVE_PENDING)))
		return active & DP_ACTIVE_BANK;
	return dp_active_bank(active, now_tick(k));
}

static __always_inline int select_chain(struct pkt *pkt, enum dp_dir dir)
{
	__u32 zero = 0, zone;
	const struct dp_ctl *c = bpf_map_lookup_elem(&ctl, &zero);
	const struct dp_chain *chain;
	const struct dp_near *lines;

	if (!c)
		return -DP_REASON_NO_BANK;
	pkt->key->bank_index = active_bank(c, pkt->key);
	pkt->key->groups = *(const volatile __u32 *)&c->account_groups;
	zone = device_zone(pkt);
	if (dry_run) {
		zone = explain.zone;
		dir = explain.dir;
	}
	pkt->key->dir = dir;
	pkt->key->ifindex = pkt->ifindex;
	lines = bpf_map_lookup_elem(&near, &pkt->key->bank_index);
	if (!lines || lines->line[0].word[0] != DP_BANK_MAGIC)
		return -DP_REASON_NO_BANK;
	pkt->key->chain = DP_CHAIN_LINE(zone, dir);
	chain = bank_chain(lines, pkt->key->chain);
	/* Where nothing is judged, a first fragment still shows whose flow it is. */
	pkt->key->first_only =
		!(chain->flags & DP_CHAIN_PRESENT) || chain->flags & DP_CHAIN_FIRST_ONLY;
	if (!(chain->flags & (DP_CHAIN_PRESENT | DP_CHAIN_TRACKS)) && !pkt->key->groups)
		return DP_REASON_NO_CHAIN;
	pkt->unjudged = !(chain->flags & DP_CHAIN_PRESENT);
	pkt->key->tracks = !!(chain->flags & DP_CHAIN_TRACKS);
	pkt->key->stateful = pkt->key->tracks | chain->state;
	pkt->chain_counter = chain->counter;
	return 0;
}

/* The policy that a packet meets, found anew by each global function. */
struct view {
	struct dp_near *near;
	const struct dp_chain *chain;
	__u32 bank_index;
};

static __always_inline bool view_of(const struct key *k, struct view *v)
{
	v->bank_index = k->bank_index;
	v->near = bpf_map_lookup_elem(&near, &v->bank_index);
	if (!v->near)
		return false;
	v->chain = bank_chain(v->near, k->chain);
	return true;
}

static __always_inline struct dp_line *view_line(const struct view *v, __u32 n)
{
	return bank_line(v->near, v->bank_index, n);
}
