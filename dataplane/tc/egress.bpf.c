/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* TC egress: the list of stages, over a socket buffer. */
#include "ctx_tc.h"

SEC("tc")
int tc_egress(struct __sk_buff *skb)
{
	return tc_judge(skb, DP_HOOK_TC_EGRESS, DP_EGRESS);
}
