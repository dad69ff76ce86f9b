/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* XDP: from struct xdp_md to struct pkt, from a verdict to an action. One frame is one packet. */
#pragma once

#include <linux/version.h>

#include "stages.h"

/* The kernel's own record of the frame, as far as it is read here; the loader finds the member. */
struct xdp_buff {
	__u32 flags;
} __attribute__((preserve_access_index));

#define DP_XDP_HAS_FRAGS 0x1 /* XDP_FLAGS_HAS_FRAGS: the frame goes on in other buffers */

/* Turned into a move by the verifier; kernel 6.1 has no such function. */
extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak;

extern int LINUX_KERNEL_VERSION __kconfig;

/* Bytes of the frame. The helper is asked only when it knows more: a call, on some processors 9 ns. */
static __always_inline __u32 xdp_len(struct xdp_md *ctx)
{
	if (LINUX_KERNEL_VERSION >= KERNEL_VERSION(6, 2, 0)) {
		const struct xdp_buff *xdp = bpf_cast_to_kern_ctx(ctx);

		if (likely(!(xdp->flags & DP_XDP_HAS_FRAGS)))
			return ctx->data_end - ctx->data;
	}
	return bpf_xdp_get_buff_len(ctx);
}

static __always_inline void pkt_from_xdp(struct pkt *pkt, struct xdp_md *ctx)
{
	pkt->data = (void *)(long)ctx->data;
	pkt->end = (void *)(long)ctx->data_end;
	pkt->ifindex = ctx->ingress_ifindex;
	pkt->len = pkt->key->len = xdp_len(ctx);
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
