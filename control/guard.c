/* SPDX-License-Identifier: Apache-2.0 */
/* See guard.h. */
#include "guard.h"

#include <errno.h>
#include <string.h>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>

#include "daemon.h"
#include "fail.h"
#include "jsonobj.h"
#include "log.h"
#include "report.h"
#include "str.h"
#include "witness.h"

#define TTL 64

struct guard_frame {
	const char *what;
	enum dp_dir dir;
	uint8_t flags;
	bool fresh; /* from another port of the peer */
};

static const struct guard_frame frames[] = {
	{ "its next packet", DP_INGRESS, TH_ACK, false },
	{ "the reply to it", DP_EGRESS, TH_ACK, false },
	{ "a new connection from the same peer", DP_INGRESS, TH_SYN, true },
	{ "the reply to a new connection from the same peer", DP_EGRESS, TH_SYN | TH_ACK, true },
};

/* ---- the question -------------------------------------------------------------------------------------- */

static bool read_end(struct guard_end *ret, int family, const char *addr, struct json_object *port)
{
	int64_t n = json_object_get_int64(port);

	ret->port = (uint16_t)n;
	return addr && inet_pton(family, addr, &ret->addr) == 1 && n > 0 && n <= UINT16_MAX;
}

bool guard_read(struct guard *ret, struct json_object *json)
{
	const char *here = json_text(json, "here"), *there = json_text(json, "there");

	*ret = (struct guard){ .family = here && strchr(here, ':') ? AF_INET6 : AF_INET };
	return read_end(&ret->here, ret->family, here,
			json_member(json, "here_port", json_type_int)) &&
	       read_end(&ret->there, ret->family, there,
			json_member(json, "there_port", json_type_int));
}

void guard_aim(struct guard *g, struct daemon *d, const struct generation *next,
	       const struct overrides *overrides)
{
	_cleanup_free_ char *doubts = NULL;
	struct attach_wants wants = {};
	struct netif_devs devs = {};
	int r = netif_route_to(g->family, &g->there.addr, &g->ifindex);

	if (!r)
		r = netif_list(d->netif, &devs);
	if (!r)
		r = wants_compute(next, overrides, &devs, &wants, &doubts);
	for (size_t i = 0; i < wants.count; i++) {
		const struct attach_want *w = &wants.at[i];

		if (w->dev.ifindex == g->ifindex)
			g->zone = w->zone;
	}
	if (r < 0)
		log_warning(
			"apply: the device of who applies cannot be found: %s; his login is not "
			"looked at",
			strerrordesc_np(-r));
	vec_done(&wants);
	vec_done(&devs);
}

/* ---- frames -------------------------------------------------------------------------------------------- */

struct guard_packet {
	struct ethhdr eth;
	union {
		struct {
			struct iphdr ip;
			struct tcphdr tcp;
		} v4;
		struct {
			struct ip6_hdr ip;
			struct tcphdr tcp;
		} v6;
	};
} __attribute__((packed));

static struct tcphdr tcp_of(const struct guard_end *from, const struct guard_end *to,
			    const struct guard_frame *f)
{
	uint16_t other = f->fresh; /* one port of the peer for another */
	bool in = f->dir == DP_INGRESS;

	return (struct tcphdr){ .th_sport = htons(from->port ^ (in ? other : 0)),
				.th_dport = htons(to->port ^ (in ? 0 : other)),
				.th_off = sizeof(struct tcphdr) / 4,
				.th_flags = f->flags,
				.th_win = htons(UINT16_MAX) };
}

/* Its length. Checksums are nothing that a verdict depends on. */
static uint32_t make_packet(const struct guard *g, const struct guard_frame *f,
			    struct guard_packet *ret)
{
	const struct guard_end *from = f->dir == DP_INGRESS ? &g->there : &g->here;
	const struct guard_end *to = f->dir == DP_INGRESS ? &g->here : &g->there;

	*ret = (struct guard_packet){};
	if (g->family == AF_INET) {
		ret->eth.h_proto = htons(ETH_P_IP);
		ret->v4.ip = (struct iphdr){ .version = 4,
					     .ihl = sizeof(ret->v4.ip) / 4,
					     .tot_len = htons(sizeof(ret->v4)),
					     .ttl = TTL,
					     .protocol = IPPROTO_TCP,
					     .saddr = from->addr.ipv4.s_addr,
					     .daddr = to->addr.ipv4.s_addr };
		ret->v4.tcp = tcp_of(from, to, f);
		return sizeof(ret->eth) + sizeof(ret->v4);
	}
	ret->eth.h_proto = htons(ETH_P_IPV6);
	ret->v6.ip = (struct ip6_hdr){ .ip6_flow = htonl(6u << 28),
				       .ip6_plen = htons(sizeof(ret->v6.tcp)),
				       .ip6_nxt = IPPROTO_TCP,
				       .ip6_hlim = TTL,
				       .ip6_src = from->addr.ipv6,
				       .ip6_dst = to->addr.ipv6 };
	ret->v6.tcp = tcp_of(from, to, f);
	return sizeof(ret->eth) + sizeof(ret->v6);
}

/* ---- the answer ---------------------------------------------------------------------------------------- */

/* "rule 'ssh' of wan-in (edge.yaml:12)", "default of wan-in (edge.yaml:9)" */
static void name_cause(const struct generation_chain *c, const struct dp_explain *said, char *text,
		       size_t room)
{
	if (!c)
		(void)snprintf(text, room, "%s",
			       report_reason(said->reason)); /* cut when it is long */
	else if (said->reason == DP_REASON_NO_FLOW || said->rule >= c->rules.count)
		(void)snprintf(text, room, "%s of %s (%s)", report_reason(said->reason), c->name,
			       c->source);
	else
		(void)snprintf(text, room, "rule '%s' of %s (%s)", c->rules.at[said->rule].id,
			       c->name, c->rules.at[said->rule].source);
}

static int refuse(const struct guard *g, const struct guard_frame *f, const char *cause,
		  char **ret_why)
{
	char here[INET6_ADDRSTRLEN], there[INET6_ADDRSTRLEN];

	(void)inet_ntop(g->family, &g->here.addr, here, sizeof(here)); /* both fit */
	(void)inet_ntop(g->family, &g->there.addr, there, sizeof(there));
	return fail(
		ret_why, -EPERM,
		"it would lock you out: of your login from %s port %u to %s port %u, %s drops %s; "
		"'--force' applies it all the same",
		there, g->there.port, here, g->here.port, cause, f->what);
}

static int fail_unasked(int r, const char *what, char **ret_why)
{
	if (*ret_why)
		return r;
	return fail(ret_why, r,
		    "whether it %s cannot be told: %s; '--force' applies it all the same", what,
		    strerrordesc_np(-r));
}

#define CAUSE_BYTES 256

/* 1: it passes; 0: it drops, and why. */
static int ask(struct daemon *d, const struct generation *next, const struct explain_question *q,
	       char cause[static CAUSE_BYTES], char **ret_why)
{
	struct explain_answer answer;
	int r = d->explain ? 0 : explain_new(&d->explain, d->loader, ret_why);

	if (!r)
		r = explain_run(d->explain, q, &answer);
	if (r < 0)
		return r;
	if (strcmp(report_verdict(answer.said.reason), "drop"))
		return 1;
	name_cause(generation_chain(next, q->zone, q->dir), &answer.said, cause, CAUSE_BYTES);
	return 0;
}

static enum loader_prog prog_of(enum dp_dir dir)
{
	return dir == DP_EGRESS ? LOADER_TC_EGRESS : LOADER_XDP_INGRESS;
}

int guard_ask(const struct guard *g, struct daemon *d, const struct generation *next,
	      unsigned int bank, char **ret_why)
{
	int r = 1;

	for (size_t i = 0; r > 0 && g->zone && i < sizeof(frames) / sizeof(*frames); i++) {
		const struct guard_frame *f = &frames[i];
		struct guard_packet packet;
		const struct explain_question q = {
			.prog = prog_of(f->dir),
			.zone = g->zone,
			.dir = f->dir,
			.bank = bank + 1,
			.ifindex = g->ifindex,
			.frame = &packet,
			.len = make_packet(g, f, &packet),
		};
		char cause[CAUSE_BYTES];

		r = ask(d, next, &q, cause, ret_why);
		if (!r)
			return refuse(g, f, cause, ret_why);
	}
	return r < 0 ? fail_unasked(r, "locks you out", ret_why) : 0;
}

/* ---- what is never to be dropped ------------------------------------------------------------------------ */

/* The frames of one rule, as `frames` of the manifest. */
static int ask_frames(struct daemon *d, const struct generation *next, struct explain_question q,
		      const struct generation_rule *rule, char **ret_why)
{
	struct json_object *texts = rule->frames;

	for (size_t i = 0; i < (texts ? json_object_array_length(texts) : 0); i++) {
		const char *text = json_object_get_string(json_object_array_get_idx(texts, i));
		uint8_t frame[WITNESS_BYTES];
		ssize_t len = hex_read(text, frame, sizeof(frame));
		char cause[CAUSE_BYTES];
		int r;

		q.frame = frame;
		q.len = len < 0 ? 0 : (uint32_t)len;
		r = ask(d, next, &q, cause, ret_why);
		if (!r)
			return fail(
				ret_why, -EPERM,
				"it would drop what '%s' (%s) says is never dropped: %s drops the frame "
				"%s; '--force' applies it all the same",
				rule->id, rule->source, cause, text);
		if (r < 0)
			return r;
	}
	return 0;
}

int guard_never_drop(struct daemon *d, const struct generation *next, unsigned int bank,
		     char **ret_why)
{
	int r = 0;

	for (size_t i = 0; !r && i < next->chains.count; i++) {
		const struct generation_chain *c = &next->chains.at[i];
		const struct explain_question q = {
			.prog = prog_of(c->dir), .zone = c->zone, .dir = c->dir, .bank = bank + 1
		};

		for (size_t n = 0; !r && n < c->rules.count; n++)
			r = ask_frames(d, next, q, &c->rules.at[n], ret_why);
	}
	return r < 0 ? fail_unasked(r, "keeps to 'never-drop'", ret_why) : 0;
}
