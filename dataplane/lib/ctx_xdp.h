/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* XDP: from struct xdp_md to struct pkt, from a verdict to an action. One frame is one packet. */
#pragma once

#include "stages.h"

static __always_inline void pkt_from_xdp(struct pkt *pkt, struct xdp_md *ctx)
{
	pkt->data = (void *)(long)ctx->data;
	pkt->end = (void *)(long)ctx->data_end;
	pkt->ifindex = ctx->ingress_ifindex;
	pkt->len = pkt->key->len = bpf_xdp_get_buff_len(ctx);
	pkt->packets = 1;
	pkt->key->vlan = DP_VLAN_NONE;
}

static __always_inline long xdp_load(void *ctx, __u32 off, void *to, __u32 bytes)
{
	return bpf_xdp_load_bytes(ctx, off, to, bytes);
}

static __always_inline void xdp_linear(void *ctx, void **ret_data, void **ret_end)
{
	struct xdp_md *xdp = ctx;

	asm volatile("" ::: "memory"); /* not what was read before */
	*ret_data = (void *)(long)xdp->data;
	*ret_end = (void *)(long)xdp->data_end;
}

static __always_inline int xdp_action(enum dp_verdict v)
{
	return v == DP_PASS ? XDP_PASS : XDP_DROP;
}
