/* SPDX-License-Identifier: Apache-2.0 */
/* See conntrack.h. The dump is read message by message: a table of millions is never held as a whole. */
#include "conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <netlink/addr.h>
#include <netlink/errno.h>
#include <netlink/netfilter/ct.h>
#include <netlink/netlink.h>

#include "flows.h"
#include "netif.h"
#include "vec.h"

#define COUNT_FILE "/proc/sys/net/netfilter/nf_conntrack_count"

/* A dump that the table's resizing has spoilt is begun again. */
#define DUMP_TRIES 3

/* Directions of a connection, as libnl calls them. */
enum {
	ORIGINAL,
	REPLY
};

struct address {
	uint32_t addr[4]; /* as in struct flows_end */
	uint8_t ipv6;
};

struct dump {
	VEC(struct address) local; /* addresses of this machine */
	void (*each)(void *ctx, const struct flows_entry *e);
	void *ctx;
};

uint64_t conntrack_count(void)
{
	_cleanup_fclose_ FILE *f = fopen(COUNT_FILE, "re");
	uint64_t count;

	return f && fscanf(f, "%" SCNu64, &count) == 1 ? count : 0;
}

static void read_address(uint32_t ret[4], const void *bytes, bool ipv6)
{
	uint32_t words[4] = {};

	memcpy(words, bytes, ipv6 ? sizeof(words) : sizeof(*words));
	for (int i = 0; i < 4; i++)
		ret[i] = ntohl(words[i]);
}

static int add_local(struct dump *d, const struct sockaddr *sa)
{
	struct address a = { .ipv6 = sa->sa_family == AF_INET6 };

	if (a.ipv6)
		read_address(a.addr, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr,
			     true);
	else if (sa->sa_family == AF_INET)
		read_address(a.addr, &((const struct sockaddr_in *)(const void *)sa)->sin_addr,
			     false);
	else
		return 0;
	return vec_push(&d->local, a);
}

static int list_local(struct dump *d)
{
	struct ifaddrs *all;
	int r = 0;

	if (getifaddrs(&all) < 0)
		return -errno;
	for (const struct ifaddrs *one = all; one && !r; one = one->ifa_next)
		r = one->ifa_addr ? add_local(d, one->ifa_addr) : 0;
	freeifaddrs(all);
	return r;
}

static bool is_local(const struct dump *d, const struct flows_end *end, uint8_t ipv6)
{
	for (size_t i = 0; i < d->local.count; i++) {
		if (d->local.at[i].ipv6 == ipv6 &&
		    !memcmp(d->local.at[i].addr, end->addr, sizeof(end->addr)))
			return true;
	}
	return false;
}

/* ---- one connection ------------------------------------------------------------------------------ */

static bool is_established(const struct nfnl_ct *ct)
{
	uint8_t state;

	if (!(nfnl_ct_get_status(ct) & IPS_SEEN_REPLY))
		return false;
	if (nfnl_ct_get_proto(ct) != IPPROTO_TCP)
		return true;
	state = nfnl_ct_get_tcp_state(ct);
	return state == TCP_CONNTRACK_ESTABLISHED || state == TCP_CONNTRACK_FIN_WAIT ||
	       state == TCP_CONNTRACK_CLOSE_WAIT;
}

static bool read_end(const struct nl_addr *from, uint8_t ipv6, struct flows_end *ret)
{
	if (!from || nl_addr_get_len(from) != (ipv6 ? 16u : 4u))
		return false;
	read_address(ret->addr, nl_addr_get_binary_addr(from), ipv6);
	return true;
}

/* The packets of one direction: from its source to its destination. */
static bool read_tuple(const struct nfnl_ct *ct, int dir, struct flows_entry *ret)
{
	*ret = (struct flows_entry){ .ipv6 = nfnl_ct_get_family(ct) == AF_INET6,
				     .proto = nfnl_ct_get_proto(ct) };
	if (!read_end(nfnl_ct_get_src(ct, dir), ret->ipv6, &ret->from) ||
	    !read_end(nfnl_ct_get_dst(ct, dir), ret->ipv6, &ret->to))
		return false;
	if (ret->proto == IPPROTO_ICMP) {
		struct flows_end *asks = dir == ORIGINAL ? &ret->from : &ret->to;

		asks->port = nfnl_ct_get_icmp_id(ct, dir);
		return nfnl_ct_test_icmp_id(ct, dir);
	}
	ret->from.port = nfnl_ct_get_src_port(ct, dir);
	ret->to.port = nfnl_ct_get_dst_port(ct, dir);
	return (ret->proto == IPPROTO_TCP || ret->proto == IPPROTO_UDP) &&
	       nfnl_ct_test_src_port(ct, dir) && nfnl_ct_test_dst_port(ct, dir);
}

static bool same_end(const struct flows_end *a, const struct flows_end *b)
{
	return a->port == b->port && !memcmp(a->addr, b->addr, sizeof(a->addr));
}

static void tell(const struct dump *d, const struct nfnl_ct *ct)
{
	struct flows_entry asked, answered;

	if (!is_established(ct) || !read_tuple(ct, ORIGINAL, &asked) ||
	    !read_tuple(ct, REPLY, &answered))
		return;
	if (asked.proto == IPPROTO_TCP &&
	    (is_local(d, &asked.from, asked.ipv6) || is_local(d, &answered.from, answered.ipv6)))
		return;
	d->each(d->ctx, &asked);
	if (same_end(&asked.from, &answered.to) && same_end(&asked.to, &answered.from))
		return;
	const struct flows_entry translated = {
		.from = answered.to, .to = answered.from, .ipv6 = asked.ipv6, .proto = asked.proto
	};

	d->each(d->ctx, &translated);
}

/* ---- the dump ------------------------------------------------------------------------------------ */

static int on_message(struct nl_msg *message, void *ctx)
{
	struct nfnl_ct *ct = NULL;

	if (nfnlmsg_ct_parse(nlmsg_hdr(message), &ct) < 0)
		return NL_OK; /* a kind that libnl does not know */
	tell(ctx, ct);
	nfnl_ct_put(ct);
	return NL_OK;
}

static int run(struct nl_sock *s, struct dump *d)
{
	int nl = nl_connect(s, NETLINK_NETFILTER), tries = 0;

	if (!nl)
		nl = nl_socket_modify_cb(s, NL_CB_VALID, NL_CB_CUSTOM, on_message, d);
	if (nl)
		return netif_errno(nl);
	do {
		nl = nfnl_ct_dump_request(s);
		if (nl >= 0)
			nl = nl_recvmsgs_default(s);
	} while (nl == -NLE_DUMP_INTR && ++tries < DUMP_TRIES);
	return netif_errno(nl < 0 ? nl : 0);
}

int conntrack_each(void (*each)(void *ctx, const struct flows_entry *e), void *ctx)
{
	struct dump d = { .each = each, .ctx = ctx };
	struct nl_sock *s = nl_socket_alloc();
	int r = s ? list_local(&d) : -ENOMEM;

	if (!r)
		r = run(s, &d);
	nl_socket_free(s);
	vec_done(&d.local);
	return r;
}
