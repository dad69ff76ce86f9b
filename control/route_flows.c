/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/accounting and POST /v1/flows: what the accounting's thread gives, with the names that people know. */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <string.h>

#include <arpa/inet.h>

#include "accounting.h"
#include "daemon.h"
#include "jsonobj.h"
#include "netif.h"
#include "report.h"
#include "routes.h"

#define PAGE_ROWS 250 /* the loop writes a row in 20 us */
#define NS_PER_MS 1000000ull

struct asked {
	struct daemon *d;
	struct api_request *r;
	union {
		struct accounting_sums sums;
		struct accounting_page page;
	};
};

static void not_asked(struct api_request *r, int error)
{
	if (error == -ESHUTDOWN)
		api_error(r, 503, "stopping", "the daemon is stopping");
	else
		api_error(r, 500, "failed", "the accounts cannot be read: %s",
			  strerrordesc_np(-error));
}

/* ---- sums ------------------------------------------------------------------------------------------------- */

static void add_count(struct json_object *to, const char *key, struct dp_count n)
{
	struct json_object *json = json_object_new_object();

	json_add(json, "packets",
		 json_object_new_int64((int64_t)n.packets)); /* a rest may be below 0 */
	json_add(json, "bytes", json_object_new_int64((int64_t)n.bytes));
	json_add(to, key, json);
}

static void take(struct dp_count *from, struct dp_count n)
{
	from->packets -= n.packets;
	from->bytes -= n.bytes;
}

static void give_sums(void *ctx, int error)
{
	struct asked *asked = ctx;
	const struct accounting_sums *s = &asked->sums;
	struct json_object *json = json_object_new_object();
	struct dp_count rest = s->passed, dropped_rest = s->dropped;

	if (error < 0) {
		json_put(&json);
		not_asked(asked->r, error);
		free(asked);
		return;
	}
	take(&rest, s->cached);
	take(&rest, s->settled);
	take(&rest, s->recorded);
	take(&rest, s->unaccounted);
	take(&rest, s->elsewhere);
	take(&dropped_rest, s->kept);
	take(&dropped_rest, s->folded);
	json_add(json, "on", json_object_new_boolean(s->on));
	json_add_u64(json, "flows_wanted", s->flows_wanted);
	json_add_u64(json, "idle_ms", s->idle_ms);
	json_add_u64(json, "slots", s->slots);
	json_add_u64(json, "slots_used", s->used);
	json_add_u64(json, "cache_bytes", (uint64_t)s->slots * 2 * DP_LINE_BYTES);
	json_add_u64(json, "rows", s->store.rows);
	json_add_u64(json, "rows_forgotten", s->store.forgotten);
	json_add_u64(json, "rows_bytes", s->store.bytes);
	add_count(json, "passed", s->passed);
	add_count(json, "cached", s->cached);
	add_count(json, "settled", s->settled);
	add_count(json, "recorded", s->recorded);
	add_count(json, "recorded_unread", s->unread);
	add_count(json, "unaccounted", s->unaccounted);
	add_count(json, "elsewhere", s->elsewhere);
	add_count(json, "remainder", rest);
	add_count(json, "dropped", s->dropped);
	add_count(json, "dropped_kept", s->kept);
	add_count(json, "dropped_folded", s->folded);
	add_count(json, "dropped_remainder", dropped_rest);
	json_add_text(json, "why", *s->why ? s->why : NULL);
	api_answer(asked->r, 200, json);
	free(asked);
}

void route_accounting(void *ctx, struct api_request *r)
{
	struct asked *asked = calloc(1, sizeof(*asked));
	struct daemon *d = ctx;
	int error = -ENOMEM;

	if (asked) {
		*asked = (struct asked){ .d = d, .r = r };
		error = accounting_ask_sums(d->accounting, &asked->sums, give_sums, asked);
	}
	if (error >= 0)
		return;
	free(asked);
	not_asked(r, error);
}

/* ---- rows ------------------------------------------------------------------------------------------------- */

static void add_address(struct json_object *to, const char *key, const struct store_end *end,
			uint8_t kind)
{
	char text[INET6_ADDRSTRLEN];
	uint32_t wire[4];

	for (int i = 0; i < 4; i++)
		wire[i] = htonl(end->addr[i]);
	if (kind & (DP_ACCOUNT_NOT_IP | DP_ACCOUNT_UNREAD)) {
		json_add(to, key, NULL);
		return;
	}
	(void)inet_ntop(kind & DP_ACCOUNT_IPV6 ? AF_INET6 : AF_INET, wire, text,
			sizeof(text)); /* it fits */
	json_add_text(to, key, text);
}

static bool has_ports(const struct store_flow *f)
{
	return !(f->kind & (DP_ACCOUNT_NOT_IP | DP_ACCOUNT_UNREAD | DP_ACCOUNT_FRAGMENT)) &&
	       (f->proto == IPPROTO_TCP || f->proto == IPPROTO_UDP || f->proto == IPPROTO_SCTP);
}

static const char *proto_name(const struct store_flow *f, char room[static 8])
{
	if (f->kind & DP_ACCOUNT_UNREAD)
		return "unread";
	if (f->kind & DP_ACCOUNT_NOT_IP)
		return "not-ip";
	switch (f->proto) {
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_SCTP:
		return "sctp";
	case IPPROTO_ICMP:
		return "icmp";
	case IPPROTO_ICMPV6:
		return "icmp6";
	}
	(void)snprintf(room, 8, "%u", f->proto); /* always fits */
	return room;
}

static const struct generation_chain *chain_of(const struct generation *g, uint32_t slot)
{
	for (size_t i = 0; g && slot && i < g->chains.count; i++) {
		if (g->chains.at[i].slot == slot)
			return &g->chains.at[i];
	}
	return NULL;
}

static const char *rule_of(const struct generation_chain *c, uint32_t slot)
{
	for (size_t i = 0; c && slot && i < c->rules.count; i++) {
		if (c->rules.at[i].slot == slot)
			return c->rules.at[i].id;
	}
	return c && slot && c->default_slot == slot ? "default" : NULL;
}

/* What decided. A rule that the policy no longer has keeps its counter, but has no name. */
static void add_decided(struct json_object *to, const struct generation *g, uint32_t decided)
{
	const struct generation_chain *c = chain_of(g, DP_DECIDED_CHAIN(decided));
	unsigned int reason = DP_DECIDED_REASON(decided);

	json_add_text(to, "verdict", report_verdict(reason));
	json_add_text(to, "reason", report_reason(reason));
	json_add_text(to, "chain", c ? c->name : NULL);
	json_add_text(to, "rule", rule_of(c, DP_DECIDED_RULE(decided)));
}

static void add_flags(struct json_object *to, const char *key, const struct store_flow *f,
		      uint8_t flags)
{
	static const char *const names[] = {
		"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"
	};
	struct json_object *list;

	if (f->proto != IPPROTO_TCP || !has_ports(f))
		return;
	list = json_object_new_array();
	for (int i = 0; i < 8; i++)
		if (flags >> i & 1)
			json_object_array_add(list, json_object_new_string(names[i]));
	json_add(to, key, list);
}

/* NULL when nothing of ours is on it any more. */
static const char *device_of(const struct daemon *d, uint32_t ifindex)
{
	const struct attach_states *states = attach_states(d->attach);

	for (size_t i = 0; i < states->count; i++) {
		if (states->at[i].dev.ifindex == ifindex)
			return states->at[i].dev.name;
	}
	return NULL;
}

static uint64_t age_ms(uint64_t now, uint64_t then)
{
	return then && then < now ? (now - then) / NS_PER_MS : 0;
}

/* Of one direction, under names that begin with prefix: "" or "reply_". */
static void add_way(struct json_object *to, const struct daemon *d, const char *prefix,
		    const struct store_flow *f, const struct store_way *w)
{
	char key[32];

#define KEY(name) ((void)snprintf(key, sizeof(key), "%s%s", prefix, name), key) /* always fits */
	json_add_u64(to, KEY("packets"), w->packets);
	json_add_u64(to, KEY("bytes"), w->bytes);
	add_flags(to, KEY("flags"), f, w->flags);
	if (!w->packets)
		return;
	json_add_text(to, KEY("dev"), device_of(d, w->ifindex));
	json_add_text(to, KEY("dir"), w->egress ? "egress" : "ingress");
	if (w->vlan != DP_VLAN_NONE)
		json_add_u64(to, KEY("vlan"), w->vlan);
#undef KEY
}

static struct json_object *decided_object(const struct generation *g, uint32_t decided)
{
	struct json_object *json = json_object_new_object();

	add_decided(json, g, decided);
	return json;
}

static struct json_object *row_of(const struct daemon *d, const struct accounting_page *p,
				  const struct store_flow *f)
{
	const struct store_way *forth = &f->way[STORE_FORTH], *back = &f->way[STORE_BACK];
	const struct store_way *first = forth->packets ? forth : back;
	struct json_object *row = json_object_new_object();
	uint64_t handshake = store_handshake_ns(f), idle = age_ms(p->now_ns, f->last_ns);
	char room[8];

	json_add_text(row, "proto", proto_name(f, room));
	add_address(row, "src", &f->from, f->kind);
	add_address(row, "dst", &f->to, f->kind);
	if (has_ports(f)) {
		json_add_u64(row, "sport", f->from.port);
		json_add_u64(row, "dport", f->to.port);
	}
	if (f->kind & DP_ACCOUNT_FRAGMENT)
		json_add(row, "fragment", json_object_new_boolean(true));
	add_decided(row, d->running, first->decided);
	if (first->decided_before) {
		json_add(row, "decided_before", decided_object(d->running, first->decided_before));
		json_add_u64(row, "packets_before", first->packets_before);
	}
	add_way(row, d, "", f, forth);
	add_way(row, d, "reply_", f, back);
	if (back->packets && forth->packets)
		json_add(row, "reply_decided", decided_object(d->running, back->decided));
	json_add(row, "live", json_object_new_boolean(!p->dropped && idle < p->idle_ms));
	json_add_u64(row, "age_ms", age_ms(p->now_ns, first->first_ns));
	json_add_u64(row, "idle_ms", idle);
	if (handshake)
		json_add(row, "handshake_us", json_object_new_double((double)handshake / 1000));
	return row;
}

static void give_page(void *ctx, int error)
{
	struct asked *asked = ctx;
	struct accounting_page *p = &asked->page;
	struct json_object *json, *rows;

	if (error < 0) {
		not_asked(asked->r, error);
	} else {
		json = json_object_new_object();
		rows = json_object_new_array();
		for (size_t i = 0; i < p->count; i++)
			json_object_array_add(rows, row_of(asked->d, p, &p->rows[i]));
		json_add(json, "flows", rows);
		json_add_u64(json, "rows_total", p->total);
		if (p->next)
			json_add_u64(json, "next", p->next);
		api_answer(asked->r, 200, json);
	}
	free(p->rows);
	free(asked);
}

void route_flows(void *ctx, struct api_request *r)
{
	_cleanup_json_ struct json_object *json = api_json(r);
	struct daemon *d = ctx;
	struct asked *asked;
	uint64_t limit;
	int error = -ENOMEM;

	if (!json)
		return;
	limit = json_object_get_uint64(json_member(json, "limit", json_type_int));
	asked = calloc(1, sizeof(*asked));
	if (asked) {
		*asked = (struct asked){ .d = d, .r = r };
		asked->page.from = json_object_get_uint64(json_member(json, "from", json_type_int));
		asked->page.asked = limit ? limit : PAGE_ROWS;
		asked->page.most = limit && limit < PAGE_ROWS ? limit : PAGE_ROWS;
		asked->page.dropped =
			json_object_get_boolean(json_member(json, "dropped", json_type_boolean));
		error = accounting_ask_page(d->accounting, &asked->page, give_page, asked);
	}
	if (error >= 0)
		return;
	free(asked);
	not_asked(r, error);
}
