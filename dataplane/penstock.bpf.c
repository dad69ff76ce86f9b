/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The object that the daemon embeds: every entry program in one unit, so that they share each map. */
#include "tc/egress.bpf.c"
#include "tc/ingress.bpf.c"
#include "xdp/ingress.bpf.c"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
