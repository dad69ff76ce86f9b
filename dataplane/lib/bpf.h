/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Basics of every program: the helpers, and conversions between host and wire order that keep their type.
 * libbpf's own conversions return plain integers, so a lint that knows byte order cannot follow them.
 */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#ifdef __CHECKER__
#define dp_force __attribute__((force))
#else
#define dp_force
#endif

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

static __always_inline __be16 be16(__u16 host)
{
	return (dp_force __be16)bpf_htons(host);
}

static __always_inline __be32 be32(__u32 host)
{
	return (dp_force __be32)bpf_htonl(host);
}

static __always_inline __u16 host16(__be16 wire)
{
	return bpf_ntohs((dp_force __u16)wire);
}

static __always_inline __u32 host32(__be32 wire)
{
	return bpf_ntohl((dp_force __u32)wire);
}
