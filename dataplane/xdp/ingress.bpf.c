/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* XDP ingress: the list of stages. */
#include "ctx_xdp.h"

SEC("xdp.frags")
int xdp_ingress(struct xdp_md *ctx)
{
	const struct reader reader = { .ctx = ctx, .load = xdp_load, .linear = xdp_linear };
	struct pkt pkt = {};
	int r;

	if (!pkt_init(&pkt, DP_HOOK_XDP_INGRESS))
		return XDP_DROP;
	pkt_from_xdp(&pkt, ctx);
	r = select_chain(&pkt, DP_INGRESS);
	if (!r)
		r = parse(&pkt);
	return xdp_action(process(&pkt, r, &reader));
}
