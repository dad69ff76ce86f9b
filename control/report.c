/* SPDX-License-Identifier: Apache-2.0 */
/* See report.h. Counters are read once for an answer, so that its rows belong together. */
#include "report.h"

#include <errno.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "confirm.h"
#include "counters.h"
#include "daemon.h"
#include "feeds.h"
#include "image.h"
#include "jsonobj.h"
#include "log.h"
#include "options.h"
#include "state.h"
#include "watch.h"

#define NS_PER_S  1000000000ull
#define NS_PER_MS 1000000ull

static const char *verdict_name(enum dp_verdict v)
{
	return v == DP_PASS ? "pass" : "drop";
}

struct reason {
	const char *text;
	enum dp_verdict verdict;
};

#define REASON_ROW(name, verdict, text, help) [DP_REASON_##name] = { text, DP_##verdict },
static const struct reason reasons[DP_REASON_COUNT] = { DP_REASONS(REASON_ROW) };

const char *report_reason(unsigned int reason)
{
	return reason < DP_REASON_COUNT ? reasons[reason].text : "unknown";
}

const char *report_verdict(unsigned int reason)
{
	return reason < DP_REASON_COUNT ? verdict_name(reasons[reason].verdict) : "drop";
}

/* ---- counters -------------------------------------------------------------------------------------- */

/* All rule counters up to the last slot in use; indexed by slot. */
static struct dp_rule_count *read_rules(const struct daemon *d, int *ret_error)
{
	uint32_t slots = d->running ? d->running->rules_table.next : 1;
	struct dp_rule_count *counts = calloc(slots, sizeof(*counts));
	int r = counts ? counters_rules(d->loader, slots, counts) : -ENOMEM;

	if (r < 0) {
		free(counts);
		*ret_error = r;
		return NULL;
	}
	return counts;
}

static void add_count(struct json_object *to, uint64_t packets, uint64_t bytes)
{
	json_add_u64(to, "packets", packets);
	json_add_u64(to, "bytes", bytes);
}

/* What a rule's counter says, at a moment: the kernel's clock and the wall's. */
struct reading {
	const struct dp_rule_count *counts; /* by slot */
	uint64_t now_ns;                    /* CLOCK_MONOTONIC */
	uint64_t wall_ns;
};

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t); /* both clocks are always there */
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* "2026-11-21T07:39:46.001Z", null for never. */
static void add_hit(struct json_object *to, const char *key, const struct reading *now,
		    uint64_t hit_ns)
{
	uint64_t wall_ns = now->wall_ns - now->now_ns + hit_ns;
	time_t seconds = (time_t)(wall_ns / NS_PER_S);
	char day[32], text[64];
	struct tm utc;

	if (!hit_ns || !gmtime_r(&seconds, &utc) ||
	    !strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &utc)) {
		json_add(to, key, NULL);
		return;
	}
	(void)snprintf(text, sizeof(text), "%s.%03uZ", day,
		       (unsigned int)(wall_ns % NS_PER_S / NS_PER_MS)); /* always fits */
	json_add_text(to, key, text);
}

static void add_age(struct json_object *to, const struct reading *now, uint64_t hit_ns)
{
	if (!hit_ns)
		json_add(to, "last_hit_age_ms", NULL);
	else /* a packet may have come since the clock was read */
		json_add_u64(to, "last_hit_age_ms",
			     hit_ns < now->now_ns ? (now->now_ns - hit_ns) / NS_PER_MS : 0);
}

static struct json_object *rule_row(const struct generation_chain *c,
				    const struct generation_rule *rule, const struct reading *now)
{
	const struct dp_rule_count *count = &now->counts[rule->slot];
	struct json_object *row = json_object_new_object();

	json_add_text(row, "chain", c->name);
	json_add_text(row, "id", rule->id);
	json_add_text(row, "source", rule->source);
	json_add_text(row, "do", verdict_name(rule->verdict));
	json_add_text(row, "mode", rule->audit ? "audit" : "enforce");
	add_count(row, count->packets, count->bytes);
	add_hit(row, "first_hit", now, count->first_ns);
	add_hit(row, "last_hit", now, count->last_ns);
	add_age(row, now, count->last_ns);
	return row;
}

static void add_rule_rows(struct json_object *rows, const struct generation_chain *c,
			  const struct reading *now)
{
	const struct generation_rule by_default = {
		.id = "default", .source = c->source, .verdict = c->verdict, .slot = c->default_slot
	};

	for (size_t i = 0; i < c->rules.count; i++)
		json_object_array_add(rows, rule_row(c, &c->rules.at[i], now));
	json_object_array_add(rows, rule_row(c, &by_default, now));
}

struct json_object *report_rules(const struct daemon *d, int *ret_error)
{
	_cleanup_free_ struct dp_rule_count *counts = read_rules(d, ret_error);
	struct reading now = { counts, clock_ns(CLOCK_MONOTONIC), clock_ns(CLOCK_REALTIME) };
	struct json_object *json, *rows;

	if (!counts)
		return NULL;
	json = json_object_new_object();
	rows = json_object_new_array();
	for (size_t i = 0; d->running && i < d->running->chains.count; i++)
		add_rule_rows(rows, &d->running->chains.at[i], &now);
	json_add(json, "rules", rows);
	return json;
}

static void add_drop(struct json_object *rows, enum dp_reason reason, const char *chain,
		     const char *rule, struct dp_count count)
{
	struct json_object *row;

	if (!count.packets)
		return;
	row = json_object_new_object();
	json_add_text(row, "reason", reasons[reason].text);
	json_add_text(row, "chain", chain);
	json_add_text(row, "rule", rule);
	add_count(row, count.packets, count.bytes);
	json_object_array_add(rows, row);
}

static struct dp_count subtract(struct dp_count a, struct dp_count b)
{
	if (b.packets > a.packets || b.bytes > a.bytes)
		return (struct dp_count){};
	return (struct dp_count){ a.packets - b.packets, a.bytes - b.bytes };
}

/*
 * Drops by rules are told apart by rule; all others are the chain's. What the chain's rules have dropped and none of them
 * has counted was dropped by rules that it no longer has. The chain is read first: what comes in between is of its rules.
 */
static void add_drop_rows(struct json_object *rows, const struct generation_chain *c,
			  const struct dp_chain_counters *chain, const struct dp_rule_count *counts)
{
	struct dp_count others = chain->reason[DP_REASON_RULE_DROP];

	for (size_t i = 0; i < c->rules.count; i++) {
		const struct generation_rule *rule = &c->rules.at[i];
		struct dp_count count = { counts[rule->slot].packets, counts[rule->slot].bytes };

		if (rule->verdict != DP_DROP || rule->audit)
			continue;
		add_drop(rows, DP_REASON_RULE_DROP, c->name, rule->id, count);
		others = subtract(others, count);
	}
	add_drop(rows, DP_REASON_RULE_DROP, c->name, NULL, others);
	for (int i = 0; i < DP_REASON_COUNT; i++) {
		if (reasons[i].verdict == DP_DROP && i != DP_REASON_RULE_DROP)
			add_drop(rows, i, c->name, i == DP_REASON_DEFAULT_DROP ? "default" : NULL,
				 chain->reason[i]);
	}
}

struct json_object *report_drops(const struct daemon *d, int *ret_error)
{
	size_t count = d->running ? d->running->chains.count : 0;
	_cleanup_free_ struct dp_chain_counters *chains = calloc(count + 1, sizeof(*chains));
	_cleanup_free_ struct dp_rule_count *counts = NULL;
	struct json_object *json, *rows;
	int r = chains ? 0 : -ENOMEM;

	for (size_t i = 0; !r && i < count; i++)
		r = counters_chain(d->loader, d->running->chains.at[i].slot, &chains[i]);
	*ret_error = r;
	if (!r)
		counts = read_rules(d, ret_error);
	if (!counts)
		return NULL;
	json = json_object_new_object();
	rows = json_object_new_array();
	for (size_t i = 0; i < count; i++)
		add_drop_rows(rows, &d->running->chains.at[i], &chains[i], counts);
	json_add(json, "drops", rows);
	return json;
}

/* ---- status ------------------------------------------------------------------------------------------ */

struct json_object *report_generation(const struct generation *g)
{
	struct json_object *row = json_object_new_object();
	char digest[DIGEST_TEXT];

	digest_format(g->digest, digest);
	json_add_text(row, "file", g->nameless ? NULL : g->file);
	json_add_text(row, "dir", g->nameless ? NULL : g->dir);
	json_add_text(row, "digest", digest);
	json_add_u64(row, "generation", g->number);
	json_add_text(row, "applied_at", g->nameless ? NULL : g->applied_at);
	return row;
}

static const char *zone_name(const struct daemon *d, uint8_t number)
{
	if (!d->running || !number || number > d->running->zones.count)
		return NULL;
	return d->running->zones.at[number - 1].name;
}

/* What the program is there for: a chain, to see the flows that a chain of the zone asks about, or to account. */
static const char *role_of(const struct daemon *d, const struct attach_state *s)
{
	if (!d->running || d->running->nameless)
		return NULL;
	if (generation_chain(d->running, s->zone, s->dir))
		return "filter";
	if (!s->zone || s->zone > d->running->zones.count)
		return NULL;
	return d->running->zones.at[s->zone - 1].tracks[s->dir] ? "state" : "accounts";
}

static struct json_object *state_row(const struct daemon *d, const struct attach_state *s)
{
	static const char *const modes[] = { [ATTACH_XDP_NATIVE] = "native",
					     [ATTACH_XDP_GENERIC] = "generic",
					     [ATTACH_TCX] = "tcx",
					     [ATTACH_CLSACT] = "clsact" };
	bool xdp = s->mode == ATTACH_XDP_NATIVE || s->mode == ATTACH_XDP_GENERIC;
	struct json_object *row = json_object_new_object();

	json_add_text(row, "dev", s->dev.name);
	json_add_u64(row, "ifindex", s->dev.ifindex);
	json_add_text(row, "zone", zone_name(d, s->zone));
	json_add_text(row, "dir", s->dir == DP_INGRESS ? "ingress" : "egress");
	json_add_text(row, "role", role_of(d, s));
	if (!s->failed) {
		json_add_text(row, "hook", xdp ? "xdp" : "tc");
		json_add_text(row, "mode", modes[s->mode]);
	}
	if (s->why)
		json_add_text(row, "why", s->why);
	return row;
}

static struct json_object *states(const struct daemon *d, bool failed)
{
	const struct attach_states *all = attach_states(d->attach);
	struct json_object *rows = json_object_new_array();

	for (size_t i = 0; i < all->count; i++) {
		if (all->at[i].failed == failed)
			json_object_array_add(rows, state_row(d, &all->at[i]));
	}
	return rows;
}

struct json_object *report_attached(const struct daemon *d)
{
	struct json_object *json = json_object_new_object();

	json_add(json, "attached", states(d, false));
	json_add(json, "failed", states(d, true));
	return json;
}

static struct json_object *use_row(uint64_t used, uint64_t limit)
{
	struct json_object *row = json_object_new_object();

	json_add_u64(row, "used", used);
	json_add_u64(row, "limit", limit);
	return row;
}

static struct json_object *capacity(const struct daemon *d)
{
	const struct generation *g = d->running;
	struct json_object *json = json_object_new_object();

	json_add(json, "image_lines", use_row(g ? g->lines : 0, IMAGE_MAX_LINES));
	json_add(json, "zones", use_row(g ? g->zones.count : 0, DP_ZONE_MAX));
	json_add(json, "chain_counters",
		 use_row(g ? g->chains_table.owners.count : 0, DP_CHAIN_SLOTS - 1));
	json_add(json, "rule_counters",
		 use_row(g ? g->rules_table.owners.count : 0, DP_RULE_SLOTS - 1));
	json_add(json, "devices", use_row(attach_states(d->attach)->count, DP_DEV_SLOTS));
	return json;
}

static void add_sum(struct json_object *row, const char *verb, const struct dp_count *c)
{
	char key[32];

	(void)snprintf(key, sizeof(key), "%s_packets", verb); /* always fits */
	json_add_u64(row, key, c->packets);
	(void)snprintf(key, sizeof(key), "%s_bytes", verb);
	json_add_u64(row, key, c->bytes);
}

static struct json_object *chain_row(const struct generation_chain *c,
				     const struct dp_chain_counters *counters)
{
	struct json_object *row = json_object_new_object();
	struct dp_count by_verdict[DP_VERDICT_COUNT] = {};

	for (int i = 0; i < DP_REASON_COUNT; i++) {
		by_verdict[reasons[i].verdict].packets += counters->reason[i].packets;
		by_verdict[reasons[i].verdict].bytes += counters->reason[i].bytes;
	}
	json_add_text(row, "chain", c->name);
	json_add_text(row, "zone", c->zone_name);
	json_add_text(row, "dir", c->dir == DP_INGRESS ? "ingress" : "egress");
	json_add_text(row, "source", c->source);
	add_sum(row, "received", &counters->received);
	add_sum(row, "passed", &by_verdict[DP_PASS]);
	add_sum(row, "dropped", &by_verdict[DP_DROP]);
	json_add_u64(row, "audit_truncated", counters->audit_truncated.packets);
	return row;
}

static struct json_object *chains(const struct daemon *d, int *ret_error)
{
	struct json_object *rows = json_object_new_array();

	for (size_t i = 0; d->running && i < d->running->chains.count; i++) {
		struct dp_chain_counters counters;
		int r = counters_chain(d->loader, d->running->chains.at[i].slot, &counters);

		if (r < 0) {
			json_put(&rows);
			*ret_error = r;
			return NULL;
		}
		json_object_array_add(rows, chain_row(&d->running->chains.at[i], &counters));
	}
	return rows;
}

static void add_devices(const struct daemon *d, struct json_object *json)
{
	struct netif_devs devs = {};

	json_add(json, "attached", states(d, false));
	json_add(json, "failed", states(d, true));
	if (netif_list(d->netif, &devs) == 0)
		json_add(json, "pending", wants_pending(d->running, &d->overrides, &devs));
	else
		json_add(json, "pending", NULL); /* nobody knows */
	vec_done(&devs);
}

static struct json_object *feeds(const struct daemon *d)
{
	struct json_object *rows = json_object_new_array();

	for (size_t i = 0; d->running && i < d->running->sets.count; i++) {
		const struct generation_set *set = &d->running->sets.at[i];
		struct json_object *row = set->refresh ? feeds_report(d->feeds, set->file) : NULL;

		if (!row)
			continue;
		json_add_text(row, "set", set->name);
		json_add_text(row, "file", set->file);
		json_object_array_add(rows, row);
	}
	return rows;
}

/* What this start found pinned, and what became of it. */
static struct json_object *start_row(const struct daemon *d)
{
	static const char *const how[] = { [LOADER_FRESH] = "fresh",
					   [LOADER_ADOPTED] = "adopted",
					   [LOADER_UPGRADED] = "upgraded",
					   [LOADER_MIGRATED] = "migrated" };
	struct json_object *row = json_object_new_object();

	json_add_text(row, "how", how[d->loader->start]);
	json_add_text(row, "maps", d->loader->changes);
	return row;
}

/* One sentence about each thing that is not as it should be while packets are judged as they should. */
static struct json_object *degraded(const struct daemon *d)
{
	struct json_object *rows = json_object_new_array();
	int unsaved = state_error(d->state);

	if (unsaved)
		json_append_text(
			rows,
			"the state directory %s cannot be written: %s; changes are refused "
			"until it can",
			d->options->state_dir, strerrordesc_np(-unsaved));
	if (d->running && d->running->nameless)
		json_append_text(rows,
				 "the saved names of the policy are missing or damaged; it is "
				 "enforced, its rules have no names until the next apply");
	if (d->policy_refused)
		json_append_text(rows, "%s was refused; %s", d->options->policy,
				 d->running ? "the policy that ran before is enforced"
					    : "nothing is enforced");
	if (watch_pins_lost(d->watch))
		json_append_text(rows,
				 "pins below %s are missing: %s; what is enforced ends with this "
				 "daemon",
				 d->loader->pin_name, watch_pins_lost(d->watch));
	return rows;
}

struct json_object *report_status(const struct daemon *d, int *ret_error)
{
	_cleanup_json_ struct json_object *rows = chains(d, ret_error), *state = NULL;
	struct json_object *json, *zones;

	if (rows)
		state = flows_watch_report(d->flows, ret_error);
	if (!rows || !state)
		return NULL;
	json = json_object_new_object();
	json_add(json, "policy", d->running ? report_generation(d->running) : NULL);
	json_add_text(json, "refused", d->policy_refused ? d->options->policy : NULL);
	json_add(json, "confirm", confirm_report(d));
	json_add(json, "degraded", degraded(d));
	add_devices(d, json);
	zones = d->running ? json_member(d->running->manifest, "zones", json_type_array) : NULL;
	json_add(json, "zones", zones ? json_object_get(zones) : json_object_new_array());
	json_add(json, "capacity", capacity(d));
	json_add(json, "chains", TAKE_PTR(rows));
	json_add(json, "state", TAKE_PTR(state));
	json_add(json, "accounting", json_object_new_boolean(d->running && d->running->flow_slots));
	json_add(json, "feeds", feeds(d));
	json_add(json, "start", start_row(d));
	json_add_u64(json, "memory_bytes", loader_memory_bytes(d->loader));
	json_add(json, "applying", json_object_new_boolean(d->changing));
	json_add_u64(json, "netlink_overruns", netif_overruns(d->netif));
	json_add_u64(json, "log_lines_lost", log_lost());
	return json;
}

/* ---- the rest ------------------------------------------------------------------------------------------ */

struct json_object *report_version(const struct daemon *d)
{
	struct json_object *json = json_object_new_object();
	char text[DIGEST_TEXT];
	uint8_t build[16];
	struct utsname u;

	(void)d;
	loader_build(build);
	digest_format(build, text);
	json_add_text(json, "version", PENSTOCK_VERSION);
	json_add_u64(json, "abi", DP_ABI_VERSION);
	json_add_text(json, "build", text);
	json_add_text(json, "kernel", uname(&u) < 0 ? NULL : u.release);
	return json;
}

struct json_object *report_policy(const struct daemon *d)
{
	struct json_object *json = json_object_new_object();
	char digest[DIGEST_TEXT];

	if (!d->running || d->running->nameless) {
		json_add(json, "policy", d->running ? report_generation(d->running) : NULL);
		return json;
	}
	json_object_object_foreach(d->running->manifest, key, value)
		json_add(json, key, json_object_get(value));
	digest_format(d->running->digest, digest);
	json_add_text(json, "digest", digest);
	json_add_u64(json, "generation", d->running->number);
	return json;
}
