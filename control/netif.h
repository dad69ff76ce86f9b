/* SPDX-License-Identifier: Apache-2.0 */
/* Network devices, by libnl: the only module that includes it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <net/if.h>

#include "cleanup.h"
#include "vec.h"

struct netif;
struct sd_event;

/* What a packet of a device begins with. */
enum netif_link {
	NETIF_ETHERNET,
	NETIF_RAW,   /* the network header: tunnels, PPP */
	NETIF_OTHER, /* a header that is not read */
};

struct netif_dev {
	uint32_t ifindex;
	char name[IF_NAMESIZE];
	char kind[32]; /* "veth", "bridge", …; "" for a physical device or loopback */
	bool loopback, up;
	enum netif_link link;
	uint32_t mtu;
	uint32_t peer;       /* interface number of a veth's other end, 0: none that can be seen */
	bool peer_elsewhere; /* it is in another network namespace */
};

VEC_NAMED(netif_devs, struct netif_dev);

/*
 * changed() is called on the loop after any number of link events, once a loop turn; resync says that
 * events were lost (ENOBUFS) and everything must be looked at again.
 */
int netif_new(struct netif **ret, struct sd_event *event, void (*changed)(void *ctx, bool resync),
	      void *ctx) _must_check_;
void netif_free(struct netif **n);

/* A full dump of the links of our network namespace. */
int netif_list(struct netif *n, struct netif_devs *ret) _must_check_;

/* What a device of our network namespace is called now. -ENODEV when there is none of this number. */
int netif_name(uint32_t ifindex, char ret[IF_NAMESIZE]) _must_check_;

/* The device by which packets to an address leave; addr is of 4 or 16 bytes, by family. -ENODEV: none. */
int netif_route_to(int family, const void *addr, uint32_t *ret_ifindex) _must_check_;
uint64_t netif_overruns(const struct netif *n);

/*
 * Whether a device has a clsact qdisc, and whether any filter hangs on it. They take no struct netif:
 * attach asks before it uses a qdisc of others, and before it takes one of its own away.
 */
int netif_has_clsact(uint32_t ifindex, bool *ret) _must_check_;
int netif_has_tc_filters(uint32_t ifindex, bool *ret) _must_check_;

/* A filter of a clsact qdisc. */
struct netif_filter {
	char kind[16]; /* "bpf", "flower", … */
	uint32_t priority;
	uint32_t prog; /* number of the program of a "bpf" one, else 0 */
};

VEC_NAMED(netif_filters, struct netif_filter);

/* In the order in which packets meet them. Appends to *ret. None, when the device has no clsact qdisc. */
int netif_list_filters(uint32_t ifindex, bool ingress, struct netif_filters *ret) _must_check_;

/* Numbers of the programs at a device's XDP hook; 0: none. */
struct netif_xdp {
	uint32_t ifindex, offload, native, generic;
};

VEC_NAMED(netif_xdps, struct netif_xdp);

/* Of all devices that have one, by one dump: asking for one device makes the kernel tell of all. Appends. */
int netif_list_xdp(struct netif_xdps *ret) _must_check_;

/* -errno for a result of libnl, which has error numbers of its own. */
int netif_errno(int nl);
