/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two sockets: one is asked, one is told. An event says only that something changed; what is there is
 * always read by a full dump, so a lost event costs a dump and nothing else.
 */
#include "netif.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/classifier.h>
#include <netlink/route/link.h>
#include <netlink/route/qdisc.h>
#include <systemd/sd-event.h>

/* Room for the events of thousands of devices that come at once. */
#define EVENT_BUFFER_BYTES (8 * 1024 * 1024)

/* Then others on the loop have their turn. */
#define READS_A_TURN 256

struct netif {
	struct nl_sock *ask, *events;
	sd_event_source *io, *turn;
	void (*changed)(void *ctx, bool resync);
	void *ctx;
	bool resync;
	uint64_t overruns;
};

int netif_errno(int nl)
{
	switch (nl < 0 ? -nl : nl) {
	case 0:
		return 0;
	case NLE_NOMEM:
		return -ENOMEM;
	case NLE_AGAIN:
		return -EAGAIN;
	case NLE_INTR:
		return -EINTR;
	case NLE_PERM:
	case NLE_NOACCESS:
		return -EPERM;
	case NLE_NODEV:
	case NLE_OBJ_NOTFOUND:
		return -ENODEV;
	case NLE_OPNOTSUPP:
	case NLE_PROTO_MISMATCH:
		return -EOPNOTSUPP;
	default:
		return -EIO;
	}
}

static void sockp(struct nl_sock **s)
{
	if (*s)
		nl_socket_free(*s);
	*s = NULL;
}

static void cachep(struct nl_cache **c)
{
	if (*c)
		nl_cache_free(*c);
	*c = NULL;
}

static int open_socket(struct nl_sock **ret)
{
	_cleanup_(sockp) struct nl_sock *s = nl_socket_alloc();
	int r;

	if (!s)
		return -ENOMEM;
	r = nl_connect(s, NETLINK_ROUTE);
	if (r < 0)
		return netif_errno(r);
	*ret = TAKE_PTR(s);
	return 0;
}

/* ---- events -------------------------------------------------------------------------------------- */

static int on_message(struct nl_msg *msg, void *ctx)
{
	const struct nlmsghdr *header = nlmsg_hdr(msg);
	struct netif *n = ctx;

	switch (header->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
	case RTM_DELQDISC: /* with clsact goes our filter */
	case RTM_DELTFILTER:
		(void)sd_event_source_set_enabled(
			n->turn, SD_EVENT_ONESHOT); /* a live source: cannot fail */
	}
	return NL_OK;
}

static void lost_something(struct netif *n)
{
	n->resync = true;
	(void)sd_event_source_set_enabled(n->turn, SD_EVENT_ONESHOT); /* as above */
}

/*
 * libnl says NLE_NOMEM for ENOBUFS: the kernel had more to tell than fitted. What it cannot parse is as
 * good as lost. The source never fails: sd-event would turn it off, and we would be deaf.
 */
static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct netif *n = ctx;

	(void)source;
	(void)fd;
	(void)revents; /* errors of a socket come out of the read */
	for (int i = 0; i < READS_A_TURN; i++) {
		int r = nl_recvmsgs_default(n->events);

		if (r == -NLE_AGAIN)
			return 0;
		if (r >= 0 || r == -NLE_INTR)
			continue;
		n->overruns += r == -NLE_NOMEM;
		lost_something(n);
	}
	return 0;
}

static int on_turn(sd_event_source *source, void *ctx)
{
	struct netif *n = ctx;
	bool resync = n->resync;

	(void)source;
	n->resync = false;
	n->changed(n->ctx, resync);
	return 0;
}

static int open_events(struct netif *n)
{
	int bytes = EVENT_BUFFER_BYTES, r;

	r = open_socket(&n->events);
	if (r)
		return r;
	nl_socket_disable_seq_check(n->events);
	r = nl_socket_modify_cb(n->events, NL_CB_VALID, NL_CB_CUSTOM, on_message, n);
	if (r >= 0)
		r = nl_socket_set_nonblocking(n->events);
	if (r >= 0)
		r = nl_socket_add_memberships(n->events, RTNLGRP_LINK, RTNLGRP_TC, 0);
	if (r < 0)
		return netif_errno(r);
	/* Beyond the system's limit only with the privilege; what is granted is enough to go on with. */
	if (setsockopt(nl_socket_get_fd(n->events), SOL_SOCKET, SO_RCVBUFFORCE, &bytes,
		       sizeof(bytes)) < 0)
		(void)setsockopt(nl_socket_get_fd(n->events), SOL_SOCKET, SO_RCVBUF, &bytes,
				 sizeof(bytes));
	return 0;
}

/* The second source becomes ready when the first has read all there was: one call covers all events. */
static int watch(struct netif *n, struct sd_event *event)
{
	int r;

	r = sd_event_add_io(event, &n->io, nl_socket_get_fd(n->events), EPOLLIN, on_readable, n);
	if (r < 0)
		return r;
	r = sd_event_add_defer(event, &n->turn, on_turn, n);
	if (r < 0)
		return r;
	r = sd_event_source_set_enabled(n->turn, SD_EVENT_OFF);
	return r < 0 ? r : 0;
}

int netif_new(struct netif **ret, struct sd_event *event, void (*changed)(void *ctx, bool resync),
	      void *ctx)
{
	_cleanup_(netif_free) struct netif *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return -ENOMEM;
	n->changed = changed;
	n->ctx = ctx;
	r = open_socket(&n->ask);
	if (!r)
		r = open_events(n);
	if (!r)
		r = watch(n, event);
	if (r)
		return r;
	*ret = TAKE_PTR(n);
	return 0;
}

void netif_free(struct netif **at)
{
	struct netif *n = *at;

	if (!n)
		return;
	(void)sd_event_source_disable_unref(n->io);   /* always NULL */
	(void)sd_event_source_disable_unref(n->turn); /* likewise */
	sockp(&n->ask);
	sockp(&n->events);
	free(n);
	*at = NULL;
}

uint64_t netif_overruns(const struct netif *n)
{
	return n->overruns;
}

/* ---- dumps --------------------------------------------------------------------------------------- */

static enum netif_link link_of(unsigned int arptype)
{
	switch (arptype) {
	case ARPHRD_ETHER:
	case ARPHRD_LOOPBACK:
		return NETIF_ETHERNET;
	case ARPHRD_NONE:
	case ARPHRD_RAWIP:
	case ARPHRD_PPP:
	case ARPHRD_TUNNEL:
	case ARPHRD_TUNNEL6:
	case ARPHRD_SIT:
	case ARPHRD_IPGRE:
	case ARPHRD_IP6GRE:
		return NETIF_RAW;
	}
	return NETIF_OTHER;
}

/* The kernel tells a namespace's own number only of what is in another one. */
static void find_peer(struct rtnl_link *link, struct netif_dev *dev)
{
	int32_t elsewhere;

	if (strcmp(dev->kind, "veth") != 0)
		return;
	dev->peer_elsewhere = !rtnl_link_get_link_netnsid(link, &elsewhere);
	if (!dev->peer_elsewhere)
		dev->peer = (uint32_t)rtnl_link_get_link(link);
}

static struct netif_dev dev_of(struct rtnl_link *link)
{
	const char *name = rtnl_link_get_name(link), *kind = rtnl_link_get_type(link);
	unsigned int flags = rtnl_link_get_flags(link);
	struct netif_dev dev = {
		.ifindex = (uint32_t)rtnl_link_get_ifindex(link),
		.loopback = flags & IFF_LOOPBACK,
		.up = flags & IFF_UP,
		.link = link_of(rtnl_link_get_arptype(link)),
		.mtu = rtnl_link_get_mtu(link),
	};

	(void)snprintf(dev.name, sizeof(dev.name), "%s", name ? name : "");
	(void)snprintf(dev.kind, sizeof(dev.kind), "%s", kind ? kind : "");
	find_peer(link, &dev);
	return dev;
}

int netif_list(struct netif *n, struct netif_devs *ret)
{
	_cleanup_(cachep) struct nl_cache *links = NULL;
	struct netif_devs devs = {};
	int r;

	r = rtnl_link_alloc_cache(n->ask, AF_UNSPEC, &links);
	if (r < 0)
		return netif_errno(r);
	for (struct nl_object *o = nl_cache_get_first(links); o; o = nl_cache_get_next(o)) {
		r = vec_push(&devs, dev_of((struct rtnl_link *)o));
		if (r) {
			vec_done(&devs);
			return r;
		}
	}
	vec_done(ret);
	*ret = devs;
	return 0;
}

static void linkp(struct rtnl_link **link)
{
	rtnl_link_put(*link);
}

int netif_name(uint32_t ifindex, char ret[IF_NAMESIZE])
{
	_cleanup_(linkp) struct rtnl_link *link = NULL;
	_cleanup_(sockp) struct nl_sock *s = NULL;
	int r = open_socket(&s);

	if (!r)
		r = rtnl_link_get_kernel(s, (int)ifindex, NULL, &link);
	if (r < 0)
		return s ? netif_errno(r) : r;
	(void)snprintf(ret, IF_NAMESIZE, "%s", rtnl_link_get_name(link)); /* always fits */
	return 0;
}

static int read_oif(struct nl_msg *msg, void *ctx)
{
	struct nlattr *attributes[RTA_MAX + 1];
	uint32_t *ifindex = ctx;

	if (nlmsg_hdr(msg)->nlmsg_type == RTM_NEWROUTE &&
	    nlmsg_parse(nlmsg_hdr(msg), sizeof(struct rtmsg), attributes, RTA_MAX, NULL) >= 0 &&
	    attributes[RTA_OIF])
		*ifindex = nla_get_u32(attributes[RTA_OIF]);
	return NL_OK;
}

static void msgp(struct nl_msg **msg)
{
	nlmsg_free(*msg);
}

int netif_route_to(int family, const void *addr, uint32_t *ret_ifindex)
{
	int bytes = family == AF_INET ? 4 : 16, r;
	struct rtmsg route = { .rtm_family = (unsigned char)family,
			       .rtm_dst_len = (unsigned char)(bytes * 8) };
	_cleanup_(msgp) struct nl_msg *msg = nlmsg_alloc_simple(RTM_GETROUTE, 0);
	_cleanup_(sockp) struct nl_sock *s = NULL;
	uint32_t ifindex = 0;

	if (!msg || nlmsg_append(msg, &route, sizeof(route), NLMSG_ALIGNTO) < 0 ||
	    nla_put(msg, RTA_DST, bytes, addr) < 0)
		return -ENOMEM;
	r = open_socket(&s);
	if (r < 0)
		return r;
	nl_socket_disable_auto_ack(s);
	r = nl_socket_modify_cb(s, NL_CB_VALID, NL_CB_CUSTOM, read_oif, &ifindex);
	if (r >= 0)
		r = nl_send_auto(s, msg);
	if (r >= 0)
		r = nl_recvmsgs_default(s);
	if (r < 0)
		return netif_errno(r);
	*ret_ifindex = ifindex;
	return ifindex ? 0 : -ENODEV;
}

int netif_has_clsact(uint32_t ifindex, bool *ret)
{
	_cleanup_(cachep) struct nl_cache *qdiscs = NULL;
	_cleanup_(sockp) struct nl_sock *s = NULL;
	bool found = false;
	int r;

	r = open_socket(&s);
	if (r)
		return r;
	r = rtnl_qdisc_alloc_cache(s, &qdiscs);
	if (r < 0)
		return netif_errno(r);
	for (struct nl_object *o = nl_cache_get_first(qdiscs); o; o = nl_cache_get_next(o)) {
		struct rtnl_tc *tc = (struct rtnl_tc *)o;

		found |= rtnl_tc_get_ifindex(tc) == (int)ifindex &&
			 !strcmp(rtnl_tc_get_kind(tc), "clsact");
	}
	*ret = found;
	return 0;
}

int netif_has_tc_filters(uint32_t ifindex, bool *ret)
{
	static const uint32_t hooks[] = { TC_H_MIN_INGRESS, TC_H_MIN_EGRESS };
	_cleanup_(sockp) struct nl_sock *s = NULL;
	bool any = false;
	int r;

	r = open_socket(&s);
	if (r)
		return r;
	for (size_t i = 0; i < sizeof(hooks) / sizeof(*hooks); i++) {
		_cleanup_(cachep) struct nl_cache *filters = NULL;

		r = rtnl_cls_alloc_cache(s, (int)ifindex, TC_H_MAKE(TC_H_CLSACT, hooks[i]),
					 &filters);
		if (r < 0)
			return netif_errno(r);
		any |= nl_cache_nitems(filters) > 0;
	}
	*ret = any;
	return 0;
}

/* ---- dumps that libnl has no objects for -------------------------------------------------------------- */

struct dump {
	void *list;
	int r;
};

/* Sends the request, which it frees, and calls read() with every message of the answer. */
static int dump(struct nl_msg **at, int (*read)(struct nl_msg *msg, void *ctx), struct dump *ctx)
{
	_cleanup_(msgp) struct nl_msg *msg = TAKE_PTR(*at);
	_cleanup_(sockp) struct nl_sock *s = NULL;
	int r = open_socket(&s);

	if (r < 0)
		return r;
	r = nl_socket_modify_cb(s, NL_CB_VALID, NL_CB_CUSTOM, read, ctx);
	if (r >= 0)
		r = nl_send_auto(s, msg);
	if (r >= 0)
		r = nl_recvmsgs_default(s);
	return r < 0 ? netif_errno(r) : ctx->r;
}

/* Of a filter's two messages the one that has options is the filter; the other says that its priority is in use. */
static int read_filter(struct nl_msg *msg, void *ctx)
{
	const struct tcmsg *tc = nlmsg_data(nlmsg_hdr(msg));
	struct nlattr *attributes[TCA_MAX + 1], *options[TCA_BPF_MAX + 1];
	struct netif_filter filter = {};
	struct dump *d = ctx;
	struct netif_filters *all = d->list;

	if (nlmsg_hdr(msg)->nlmsg_type != RTM_NEWTFILTER ||
	    nlmsg_parse(nlmsg_hdr(msg), sizeof(*tc), attributes, TCA_MAX, NULL) < 0 ||
	    !attributes[TCA_KIND] || !attributes[TCA_OPTIONS])
		return NL_OK;
	filter.priority = TC_H_MAJ(tc->tcm_info) >> 16;
	(void)nla_strlcpy(filter.kind, attributes[TCA_KIND],
			  sizeof(filter.kind)); /* cut at worst */
	if (!strcmp(filter.kind, "bpf") &&
	    nla_parse_nested(options, TCA_BPF_MAX, attributes[TCA_OPTIONS], NULL) >= 0 &&
	    options[TCA_BPF_ID])
		filter.prog = nla_get_u32(options[TCA_BPF_ID]);
	if (!d->r)
		d->r = vec_push(all, filter);
	return NL_OK;
}

int netif_list_filters(uint32_t ifindex, bool ingress, struct netif_filters *ret)
{
	struct tcmsg tc = { .tcm_family = AF_UNSPEC,
			    .tcm_ifindex = (int)ifindex,
			    .tcm_parent = TC_H_MAKE(TC_H_CLSACT,
						    ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS) };
	_cleanup_(msgp) struct nl_msg *msg = nlmsg_alloc_simple(RTM_GETTFILTER, NLM_F_DUMP);

	if (!msg || nlmsg_append(msg, &tc, sizeof(tc), NLMSG_ALIGNTO) < 0)
		return -ENOMEM;
	return dump(&msg, read_filter, &(struct dump){ .list = ret });
}

static uint32_t get_u32(struct nlattr *attribute)
{
	return attribute ? nla_get_u32(attribute) : 0;
}

static int read_xdp(struct nl_msg *msg, void *ctx)
{
	const struct ifinfomsg *info = nlmsg_data(nlmsg_hdr(msg));
	struct nlattr *attributes[IFLA_MAX + 1], *xdp[IFLA_XDP_MAX + 1];
	struct dump *d = ctx;
	struct netif_xdps *all = d->list;
	struct netif_xdp found;

	if (nlmsg_hdr(msg)->nlmsg_type != RTM_NEWLINK ||
	    nlmsg_parse(nlmsg_hdr(msg), sizeof(*info), attributes, IFLA_MAX, NULL) < 0 ||
	    !attributes[IFLA_XDP] ||
	    nla_parse_nested(xdp, IFLA_XDP_MAX, attributes[IFLA_XDP], NULL) < 0)
		return NL_OK;
	found = (struct netif_xdp){ .ifindex = (uint32_t)info->ifi_index,
				    .offload = get_u32(xdp[IFLA_XDP_HW_PROG_ID]),
				    .native = get_u32(xdp[IFLA_XDP_DRV_PROG_ID]),
				    .generic = get_u32(xdp[IFLA_XDP_SKB_PROG_ID]) };
	if (!d->r && (found.offload || found.native || found.generic))
		d->r = vec_push(all, found);
	return NL_OK;
}

int netif_list_xdp(struct netif_xdps *ret)
{
	struct ifinfomsg info = { .ifi_family = AF_UNSPEC };
	_cleanup_(msgp) struct nl_msg *msg = nlmsg_alloc_simple(RTM_GETLINK, NLM_F_DUMP);

	if (!msg || nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO) < 0)
		return -ENOMEM;
	return dump(&msg, read_xdp, &(struct dump){ .list = ret });
}
