/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people use instead, in the distribution's build: xdp-filter from xdp-tools, whose objects are loaded
 * without libxdp's dispatcher (some kernels refuse freplace), and whatever is set up by commands.
 */
#pragma once

#include <stdint.h>

#include "cleanup.h"
#include "headers.h"

struct bpf_object;
struct json_object;

struct xdp_filter {
	struct bpf_object *object;
	int prog;
};

enum xdp_filter_mode {
	XDP_FILTER_DENY,  /* the listed are dropped, the rest passes */
	XDP_FILTER_ALLOW, /* the listed pass, the rest is dropped */
	XDP_FILTER_PORT,  /* UDP to port 53 is dropped, no addresses */
};

/* With the sources of a list. -ENOENT when xdp-tools is not installed; release it in every case. */
int xdp_filter_new(struct xdp_filter *x, enum xdp_filter_mode mode,
		   const struct headers *members) _must_check_;
void xdp_filter_done(struct xdp_filter *x);
uint64_t xdp_filter_dropped(const struct xdp_filter *x);

/* Runs them one after the other until one fails: its exit status, or -errno. NULL: none. */
int commands_run(struct json_object *commands) _must_check_;
