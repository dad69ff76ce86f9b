/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's connections, put in by hand, become flows; and status says how many there are. */
#include "lib/lab.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <json-c/json.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netfilter/ct.h>
#include <netlink/netlink.h>
#include <systemd/sd-event.h>

#include "conntrack.h"
#include "flows.h"
#include "flows_import.h"
#include "flows_watch.h"

#define STATUS_UP (IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED)

/* A connection as the kernel keeps it: each direction has ends of its own. */
struct connection {
	const char *src[2], *dst[2];
	uint16_t sport,
		dport; /* of the original direction; the reply has them the other way round */
	uint8_t proto, tcp_state;
	uint32_t status;
};

static struct nl_sock *kernel;
static struct loader *l;

static int enter(void **state)
{
	int r = lab_enter(state);

	lab_run("ip link add near0 type veth peer name far0");
	lab_run("ip addr add 192.0.2.1/24 dev near0");
	if (access("/proc/sys/net/netfilter/nf_conntrack_count", R_OK) < 0) {
		printf("# skipped: the kernel's connection tracking is not loaded\n");
		exit(77);
	}
	kernel = nl_socket_alloc();
	if (r || nl_connect(kernel, NETLINK_NETFILTER))
		return -1;
	l = lab_load();
	return 0;
}

static int leave(void **state)
{
	(void)state;
	nl_socket_free(kernel);
	loader_free(&l);
	lab_wipe();
	return 0;
}

static void set_addresses(struct nfnl_ct *ct, int dir, const char *src, const char *dst)
{
	struct nl_addr *from, *to;

	assert_int_equal(nl_addr_parse(src, AF_UNSPEC, &from), 0);
	assert_int_equal(nl_addr_parse(dst, AF_UNSPEC, &to), 0);
	nfnl_ct_set_family(ct, (uint8_t)nl_addr_get_family(from));
	assert_int_equal(nfnl_ct_set_src(ct, dir, from), 0);
	assert_int_equal(nfnl_ct_set_dst(ct, dir, to), 0);
	nl_addr_put(from);
	nl_addr_put(to);
}

/* libnl tells the state of TCP, but does not set it. */
static int add(const struct nfnl_ct *ct, uint8_t tcp_state)
{
	struct nlattr *info, *tcp;
	struct nl_msg *message;
	int r = nfnl_ct_build_add_request(ct, NLM_F_CREATE | NLM_F_EXCL, &message);

	assert_int_equal(r, 0);
	if (tcp_state) {
		info = nla_nest_start(message, CTA_PROTOINFO);
		tcp = nla_nest_start(message, CTA_PROTOINFO_TCP);
		assert_int_equal(nla_put_u8(message, CTA_PROTOINFO_TCP_STATE, tcp_state), 0);
		nla_nest_end(message, tcp);
		nla_nest_end(message, info);
	}
	r = nl_send_auto(kernel, message);
	nlmsg_free(message);
	return r < 0 ? r : nl_wait_for_ack(kernel);
}

static void track(const struct connection *c)
{
	struct nfnl_ct *ct = nfnl_ct_alloc();
	int r;

	assert_non_null(ct);
	nfnl_ct_set_proto(ct, c->proto);
	for (int dir = 0; dir < 2; dir++) {
		set_addresses(ct, dir, c->src[dir], c->dst[dir]);
		if (c->proto == IPPROTO_ICMP) {
			nfnl_ct_set_icmp_id(ct, dir, c->sport);
			nfnl_ct_set_icmp_type(ct, dir, dir ? 0 : 8);
			nfnl_ct_set_icmp_code(ct, dir, 0);
			continue;
		}
		nfnl_ct_set_src_port(ct, dir, dir ? c->dport : c->sport);
		nfnl_ct_set_dst_port(ct, dir, dir ? c->sport : c->dport);
	}
	nfnl_ct_set_status(ct, c->status);
	nfnl_ct_set_timeout(ct, 300);
	r = add(ct, c->tcp_state);
	if (r < 0)
		fail_msg("the kernel takes no connection %s > %s: %s", c->src[0], c->dst[0],
			 nl_geterror(r));
	nfnl_ct_put(ct);
}

static const struct connection connections[] = {
	/* forwarded, and past the handshake: to be found */
	{ { "10.1.0.5", "10.2.0.9" },
	  { "10.2.0.9", "10.1.0.5" },
	  40000,
	  80,
	  IPPROTO_TCP,
	  TCP_CONNTRACK_ESTABLISHED,
	  STATUS_UP },
	{ { "10.1.0.5", "10.2.0.9" },
	  { "10.2.0.9", "10.1.0.5" },
	  40001,
	  80,
	  IPPROTO_TCP,
	  TCP_CONNTRACK_CLOSE_WAIT,
	  STATUS_UP },
	{ { "2001:db8::5", "2001:db8:1::9" },
	  { "2001:db8:1::9", "2001:db8::5" },
	  40002,
	  443,
	  IPPROTO_TCP,
	  TCP_CONNTRACK_ESTABLISHED,
	  STATUS_UP },
	{ { "10.1.0.5", "10.2.0.9" },
	  { "10.2.0.9", "10.1.0.5" },
	  5000,
	  53,
	  IPPROTO_UDP,
	  0,
	  STATUS_UP },
	{ { "10.1.0.5", "10.2.0.9" },
	  { "10.2.0.9", "10.1.0.5" },
	  77,
	  0,
	  IPPROTO_ICMP,
	  0,
	  STATUS_UP },
	/* masqueraded behind this machine's address: two names */
	{ { "10.1.0.6", "198.51.100.7" },
	  { "198.51.100.7", "192.0.2.1" },
	  41000,
	  443,
	  IPPROTO_TCP,
	  TCP_CONNTRACK_ESTABLISHED,
	  STATUS_UP },
	/* a datagram to this machine's own socket */
	{ { "192.0.2.9", "192.0.2.1" },
	  { "192.0.2.1", "192.0.2.9" },
	  5001,
	  53,
	  IPPROTO_UDP,
	  0,
	  STATUS_UP },
	/* not to be found: unanswered, in its handshake, over, and of this machine's own sockets */
	{ { "10.1.0.5", "10.2.0.9" },
	  { "10.2.0.9", "10.1.0.5" },
	  6000,
	  53,
	  IPPROTO_UDP,
	  0,
	  IPS_CONFIRMED },
	{ { "10.1.0.5", "10.2.0.9" },
	  { "10.2.0.9", "10.1.0.5" },
	  6001,
	  80,
	  IPPROTO_TCP,
	  TCP_CONNTRACK_SYN_RECV,
	  IPS_CONFIRMED | IPS_SEEN_REPLY },
	{ { "10.1.0.5", "10.2.0.9" },
	  { "10.2.0.9", "10.1.0.5" },
	  6002,
	  80,
	  IPPROTO_TCP,
	  TCP_CONNTRACK_TIME_WAIT,
	  STATUS_UP },
	{ { "192.0.2.1", "10.2.0.9" },
	  { "10.2.0.9", "192.0.2.1" },
	  6003,
	  80,
	  IPPROTO_TCP,
	  TCP_CONNTRACK_ESTABLISHED,
	  STATUS_UP },
	{ { "10.2.0.9", "192.0.2.1" },
	  { "192.0.2.1", "10.2.0.9" },
	  6004,
	  22,
	  IPPROTO_TCP,
	  TCP_CONNTRACK_ESTABLISHED,
	  STATUS_UP },
};

#define FOUND 8

static struct flows_end end4(const char *address, uint16_t port)
{
	struct flows_end end = { .port = port };
	struct in_addr in;

	assert_int_equal(inet_pton(AF_INET, address, &in), 1);
	end.addr[0] = ntohl(in.s_addr);
	return end;
}

static bool is_put(const struct flows *f, const struct flows_entry *e)
{
	uint32_t initiator;
	struct dp_flow_key key = flows_key(e, &initiator);

	for (uint32_t i = 0; i < f->slots; i++) {
		if (f->at[i].tag && !memcmp(&f->at[i].key, &key, sizeof(key)))
			return (f->at[i].flags & DP_FLOW_INITIATOR) == initiator;
	}
	return false;
}

/* Rules out an import of all that is tracked, one of a translated connection by one of its names alone, and an
 * echo whose identifier is at both ends. */
static void tracked_connections_become_flows(void **state)
{
	size_t bytes = LAB_FLOW_SLOTS * sizeof(struct dp_flow);
	struct flows f = { .slots = LAB_FLOW_SLOTS };
	struct flows_import first = {}, again = {};
	const struct flows_entry masqueraded[2] = {
		{ end4("10.1.0.6", 41000), end4("198.51.100.7", 443), 0, IPPROTO_TCP },
		{ end4("192.0.2.1", 41000), end4("198.51.100.7", 443), 0, IPPROTO_TCP },
	};
	const struct flows_entry echo = { end4("10.1.0.5", 77), end4("10.2.0.9", 0), 0,
					  IPPROTO_ICMP };

	(void)state;
	flows_import(&first, l);
	assert_false(first.tracked); /* the kernel tracks nothing here */
	assert_int_equal(l->ctl_page->has_flows, 0);
	for (size_t i = 0; i < sizeof(connections) / sizeof(*connections); i++)
		track(&connections[i]);
	assert_int_equal(conntrack_count(), sizeof(connections) / sizeof(*connections));
	flows_import(&first, l);
	assert_true(first.tracked);
	assert_int_equal(first.put, FOUND);
	assert_int_equal(first.full, 0);
	assert_int_equal(l->ctl_page->has_flows, 1); /* else packets spare themselves the look */
	flows_import(&again, l);
	assert_int_equal(again.put, 0);
	f.at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, l->flows, 0);
	assert_ptr_not_equal(f.at, MAP_FAILED);
	assert_true(is_put(&f, &masqueraded[0]));
	assert_true(is_put(&f, &masqueraded[1]));
	assert_true(is_put(&f, &echo));
	assert_int_equal(munmap(f.at, bytes), 0);
}

/* ---- status -------------------------------------------------------------------------------------- */

static struct json_object *report(const struct flows_watch *w)
{
	struct json_object *json;
	int error = 0;

	json = flows_watch_report(w, &error);
	assert_int_equal(error, 0);
	assert_non_null(json);
	return json;
}

static uint64_t number(struct json_object *json, const char *table, const char *key)
{
	return json_object_get_uint64(
		json_object_object_get(json_object_object_get(json, table), key));
}

static bool counted(struct json_object *json)
{
	return json_object_object_get(json, "counted_at") != NULL;
}

/* Runs the loop until the tables have been counted, at most some seconds. */
static struct json_object *counted_report(struct sd_event *event, const struct flows_watch *w)
{
	struct json_object *json = NULL;

	for (time_t end = time(NULL) + 5; time(NULL) < end; json_object_put(json)) {
		assert_true(sd_event_run(event, 100 * 1000) >= 0);
		json = report(w);
		if (counted(json))
			return json;
	}
	fail_msg("the tables were not counted");
	return NULL;
}

static size_t warnings(struct json_object *json)
{
	return json_object_array_length(json_object_object_get(json, "warnings"));
}

static void lose_flows(uint64_t count)
{
	size_t cpus = (size_t)sysconf(_SC_NPROCESSORS_CONF);
	struct dp_state_counters *values = calloc(cpus, sizeof(*values));
	uint32_t key = 0;

	assert_non_null(values);
	values[cpus - 1].count[DP_STATE_PENDING_LOST] = count;
	assert_int_equal(bpf_map_update_elem(l->state_counters, &key, values, BPF_ANY), 0);
	free(values);
}

/* Rules out counts that are only taken at the start, and a warning that old losses keep up for ever. */
static void status_says_how_full_the_tables_are(void **state)
{
	_cleanup_(flows_watch_free) struct flows_watch *w = NULL;
	struct sd_event *event = NULL;
	struct json_object *json;

	(void)state;
	lose_flows(5);
	assert_true(sd_event_new(&event) >= 0);
	assert_int_equal(flows_watch_new(&w, event, l), 0);
	json = report(w);
	assert_false(counted(json));
	assert_null(json_object_object_get(json_object_object_get(json, "flows"), "used"));
	assert_int_equal(number(json, "flows", "slots"), LAB_FLOW_SLOTS);
	json_object_put(json);
	assert_true(flows_watch_run(w, true) >= 0);
	json = counted_report(event, w);
	assert_int_equal(number(json, "flows", "used"), FOUND);
	assert_int_equal(number(json, "flows", "tcp"), 5);
	assert_int_equal(number(json, "flows", "udp"), 2);
	assert_int_equal(number(json, "flows", "icmp"), 1);
	assert_int_equal(number(json, "pending", "lost_count"), 5);
	assert_int_equal(warnings(json), 0);
	json_object_put(json);
	lose_flows(6);
	json = report(w);
	assert_int_equal(warnings(json), 1);
	json_object_put(json);
	assert_true(flows_watch_run(w, false) >= 0);
	json = report(w);
	assert_false(counted(json));
	json_object_put(json);
	flows_watch_free(&w);
	sd_event_unref(event);
}

static void a_crowded_table_is_a_warning(void **state)
{
	_cleanup_(flows_watch_free) struct flows_watch *w = NULL;
	struct sd_event *event = NULL;
	size_t bytes = LAB_FLOW_SLOTS * sizeof(struct dp_flow);
	struct dp_flow *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, l->flows, 0);
	struct json_object *json;

	(void)state;
	assert_ptr_not_equal(at, MAP_FAILED);
	for (uint32_t i = 0; i < LAB_FLOW_SLOTS * 4 / 5; i++)
		at[i] = (struct dp_flow){ .tag = 2,
					  .key = { .proto = IPPROTO_UDP },
					  .seen = flows_now() };
	assert_true(sd_event_new(&event) >= 0);
	assert_int_equal(flows_watch_new(&w, event, l), 0);
	assert_true(flows_watch_run(w, true) >= 0);
	json = counted_report(event, w);
	assert_int_equal(warnings(json), 1);
	assert_non_null(strstr(json_object_to_json_string(json), "--flow-slots"));
	json_object_put(json);
	assert_int_equal(munmap(at, bytes), 0);
	flows_watch_free(&w);
	sd_event_unref(event);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tracked_connections_become_flows),
		cmocka_unit_test(status_says_how_full_the_tables_are),
		cmocka_unit_test(a_crowded_table_is_a_warning),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
