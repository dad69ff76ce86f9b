/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy language as one table: sections, keys, types, words, defaults, help. It drives unknown-key
 * errors, type checks and the canonical order, and the JSON Schema and the reference page are printed from
 * it. What a value means beyond its type is checked in check_*.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "diag.h"
#include "tree.h"

enum schema_kind {
	SCHEMA_RESERVED, /* a key that keeps its room: any value */
	SCHEMA_MAP,      /* a map with known keys */
	SCHEMA_NAMED,    /* a map from names to maps with known keys */
	SCHEMA_RECORDS,  /* a list of maps with known keys */
	SCHEMA_WORD,
	SCHEMA_WORD_OR_MAP,
	SCHEMA_VERSION,
	SCHEMA_NAME,
	SCHEMA_PLACE,
	SCHEMA_PATH,
	SCHEMA_TEXT,
	SCHEMA_NOTHING,
	SCHEMA_NUMBER,
	SCHEMA_DURATION,
	SCHEMA_RATE,
	SCHEMA_PERCENT,
	SCHEMA_DEVICES,
	SCHEMA_ITEMS,
	SCHEMA_OPERAND,
	SCHEMA_ADDRESS,
	SCHEMA_ADDRESSES,
	SCHEMA_PROTOCOLS,
	SCHEMA_PORT,
	SCHEMA_PORTS,
	SCHEMA_PORTS_OR_AUTO,
	SCHEMA_TCP_FLAGS,
	SCHEMA_ICMP_TYPE,
	SCHEMA_ICMP_CODE,
	SCHEMA_VLANS,
	SCHEMA_STATUSES,
	SCHEMA_KIND_COUNT,
};

/* What every key of a kind has in common. */
struct schema_type {
	unsigned int shapes; /* bit k: a node of enum tree_kind k is welcome */
	const char *expects; /* "a port, a range a-b or a list of them" */
	const char *json;    /* JSON Schema, NULL for the kinds that are made of others */
};

struct schema_word {
	const char *word;
	const char *help;
	bool later; /* known, not carried out yet */
};

enum schema_flag {
	SCHEMA_REQUIRED = 1 << 0,
	SCHEMA_LATER = 1 << 1, /* known, not carried out yet */
};

/* What `max` is where `ttl` alone is written. */
#define SCHEMA_RUNTIME_MAX      1000000
#define SCHEMA_RUNTIME_MAX_TEXT "1M"

struct schema_map;

struct schema_key {
	const char *name;
	enum schema_kind kind;
	unsigned int flags;
	const char *help;
	const char *preset; /* default as written, NULL for none */
	const struct schema_map *map;
	const struct schema_word *words;
	size_t word_count;
	uint64_t min, max; /* of numbers; durations in ms, rates by second */
};

/* Keys in canonical order: enum values below are indices. */
struct schema_map {
	const char *what; /* "rule", "set": as in messages */
	const char *help;
	bool block; /* its canonical form has a key a line */
	const struct schema_key *keys;
	size_t count;
};

enum top_key {
	TOP_VERSION,
	TOP_ATTACH,
	TOP_SAFETY,
	TOP_SETS,
	TOP_FILTER,
	TOP_SERVICES,
	TOP_TELEMETRY,
	TOP_LIMITS,
	TOP_FAULTS,
	TOP_TESTS,
	TOP_EXPORT,
	TOP_ANNOUNCE,
	TOP_SOURCE,
	TOP_INCLUDE,
	TOP_KEY_COUNT,
};

enum zone_key {
	ZONE_DEV,
	ZONE_HOOK,
	ZONE_KEY_COUNT,
};

enum safety_key {
	SAFETY_NEVER_DROP,
	SAFETY_CONFIRM,
	SAFETY_KEY_COUNT,
};

enum set_key {
	SET_ITEMS,
	SET_FILE,
	SET_MAX,
	SET_TTL,
	SET_REFRESH,
	SET_KEY_COUNT,
};

enum chain_key {
	CHAIN_AT,
	CHAIN_DEFAULT,
	CHAIN_FRAGMENTS,
	CHAIN_RULES,
	CHAIN_KEY_COUNT,
};

/* A never-drop rule has the keys from RULE_FAMILY to RULE_LENGTH alone. */
enum rule_key {
	RULE_ID,
	RULE_FAMILY,
	RULE_PROTO,
	RULE_SPORT,
	RULE_DPORT,
	RULE_FLAGS,
	RULE_TYPE,
	RULE_CODE,
	RULE_VLAN,
	RULE_STATE,
	RULE_FROM,
	RULE_TO,
	RULE_NOT_FROM,
	RULE_NOT_TO,
	RULE_DSCP,
	RULE_TTL,
	RULE_LENGTH,
	RULE_TO_ZONE,
	RULE_UNTIL,
	RULE_OWNER,
	RULE_LOG,
	RULE_DO,
	RULE_MODE,
	RULE_KEY_COUNT,
};

enum flags_key {
	FLAGS_ALL_OF,
	FLAGS_ANY_OF,
	FLAGS_NONE_OF,
	FLAGS_KEY_COUNT,
};

enum service_key {
	SERVICE_VIP,
	SERVICE_LISTEN,
	SERVICE_FORWARD,
	SERVICE_HASH,
	SERVICE_CHECK,
	SERVICE_BACKENDS,
	SERVICE_KEY_COUNT,
};

enum listen_key {
	LISTEN_TCP,
	LISTEN_UDP,
	LISTEN_KEY_COUNT,
};

enum health_key {
	HEALTH_HTTP,
	HEALTH_HTTPS,
	HEALTH_TCP,
	HEALTH_PORT,
	HEALTH_EVERY,
	HEALTH_TIMEOUT,
	HEALTH_FALL,
	HEALTH_RISE,
	HEALTH_PANIC_BELOW,
	HEALTH_STATUS,
	HEALTH_HOST,
	HEALTH_KEY_COUNT,
};

enum backend_key {
	BACKEND_NAME,
	BACKEND_ADDR,
	BACKEND_PORT,
	BACKEND_WEIGHT,
	BACKEND_ADMIN,
	BACKEND_KEY_COUNT,
};

enum telemetry_key {
	TELEMETRY_FLOWS,
	TELEMETRY_DROPS,
	TELEMETRY_HTTP,
	TELEMETRY_KEY_COUNT,
};

enum flows_key {
	FLOWS_SLOTS,
	FLOWS_IDLE,
	FLOWS_KEY_COUNT,
};

enum drops_key {
	DROPS_EVENTS,
	DROPS_SNAP,
	DROPS_KEY_COUNT,
};

enum http_key {
	HTTP_PORTS,
	HTTP_PATHS,
	HTTP_TIMEOUT,
	HTTP_KEY_COUNT,
};

/* No map has more. */
#define SCHEMA_KEYS_MAX 32

extern const struct schema_type schema_types[SCHEMA_KIND_COUNT];
extern const struct schema_map schema_top, schema_zone, schema_safety, schema_set, schema_chain,
	schema_rule, schema_never_drop, schema_flags, schema_service, schema_listen, schema_health,
	schema_backend, schema_telemetry, schema_flows, schema_drops, schema_http;

/* The key of a map, NULL when it has none of this name. */
const struct schema_key *schema_find(const struct schema_map *map, const char *name);

/*
 * Sorts the entries of node into slots[map->count] by key, NULL where none or one of the wrong shape, and
 * reports unknown, missing and not carried out keys. where: "rule 'web'", or NULL for the file's top.
 * False when a key is missing or misshapen, so that the map cannot be understood.
 */
bool schema_bind(struct diag_list *diags, const struct schema_map *map, const char *where,
		 struct tree_node *node, struct tree_node **slots);

/* True when node has a shape of the key's kind; reports otherwise. */
bool schema_check_shape(struct diag_list *diags, const struct schema_key *key,
			struct tree_node *node);
