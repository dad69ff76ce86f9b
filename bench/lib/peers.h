/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people use instead, in the distribution's build: xdp-filter from xdp-tools, whose objects are loaded
 * without libxdp's dispatcher (this kernel refuses freplace), and nftables' sets at netdev ingress.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"

struct bpf_object;

struct xdp_filter {
	struct bpf_object *object;
	int prog;
};

enum xdp_filter_mode {
	XDP_FILTER_DENY,  /* the listed are dropped, the rest passes */
	XDP_FILTER_ALLOW, /* the listed pass, the rest is dropped */
	XDP_FILTER_PORTS, /* one UDP port is dropped, no addresses */
};

/* -ENOENT when xdp-tools is not installed. addrs in host order. */
int xdp_filter_new(struct xdp_filter *x, enum xdp_filter_mode mode, const uint32_t *addrs,
		   size_t count) _must_check_;
void xdp_filter_done(struct xdp_filter *x);
int xdp_filter_attach(struct xdp_filter *x, unsigned int ifindex) _must_check_;
uint64_t xdp_filter_dropped(const struct xdp_filter *x);

/* A set of addresses, as a hash or of intervals; what it does not hold is dropped by a second rule. */
struct nft_set {
	const char *dev;
	bool intervals;
};

int nft_set_new(const struct nft_set *set, const uint32_t *addrs, size_t count) _must_check_;
