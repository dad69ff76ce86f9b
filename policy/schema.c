/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of schema.h. The order of keys is the canonical one. */
#include "schema.h"

#define SCALAR                 (1u << TREE_SCALAR)
#define LIST                   (1u << TREE_LIST)
#define MAP                    (1u << TREE_MAP)
#define MINUTE                 60000
#define HOUR                   (60ull * MINUTE)
#define DAY                    (24 * HOUR)
#define JSON_ONE_OR_LIST(item) "{\"anyOf\": [" item ", {\"type\": \"array\", \"items\": " item "}]}"
#define JSON_TEXT              "{\"type\": \"string\"}"
#define JSON_NUMBER_OR_TEXT    "{\"type\": [\"integer\", \"string\"]}"
#define JSON_NAME              "{\"type\": \"string\", \"pattern\": \"^[A-Za-z0-9_.][A-Za-z0-9_.-]{0,62}$\"}"
#define JSON_DURATION \
	"{\"anyOf\": [{\"const\": 0}, {\"type\": \"string\", \"pattern\": \"^([0-9]+(ms|s|m|h)|0)$\"}]}"
#define JSON_AMOUNT \
	"{\"anyOf\": [{\"type\": \"integer\", \"minimum\": 0}, {\"type\": \"string\", \"pattern\": \"^[0-9]+[kM]?$\"}]}"
#define JSON_PORT "{\"type\": \"integer\", \"minimum\": 0, \"maximum\": 65535}"
#define JSON_PORTS \
	"{\"anyOf\": [" JSON_PORT ", {\"type\": \"string\", \"pattern\": \"^[0-9]+(-[0-9]+)?$\"}]}"

const struct schema_type schema_types[SCHEMA_KIND_COUNT] = {
	[SCHEMA_RESERVED] = { SCALAR | LIST | MAP, "any value", "{}" },
	[SCHEMA_MAP] = { MAP, "a map of keys", NULL },
	[SCHEMA_NAMED] = { MAP, "a map of names", NULL },
	[SCHEMA_RECORDS] = { LIST, "a list", NULL },
	[SCHEMA_WORD] = { SCALAR, "a word", NULL },
	[SCHEMA_WORD_OR_MAP] = { SCALAR | MAP, "a word or a map of keys", NULL },
	[SCHEMA_VERSION] = { SCALAR, "a number", "{\"const\": 1}" },
	[SCHEMA_NAME] = { SCALAR, "a name", JSON_NAME },
	[SCHEMA_PLACE] = { SCALAR, "ZONE.ingress or ZONE.egress",
			   "{\"type\": \"string\", \"pattern\": \"\\\\.(ingress|egress)$\"}" },
	[SCHEMA_PATH] = { SCALAR, "a path", JSON_TEXT },
	[SCHEMA_TEXT] = { SCALAR, "a text", JSON_TEXT },
	[SCHEMA_NOTHING] = { SCALAR, "no value", "{\"type\": \"null\"}" },
	[SCHEMA_NUMBER] = { SCALAR, "a number", JSON_AMOUNT },
	[SCHEMA_DURATION] = { SCALAR, "a duration", JSON_DURATION },
	[SCHEMA_RATE] = { SCALAR, "a rate",
			  "{\"type\": \"string\", \"pattern\": \"^[0-9]+[kM]?/[smh]$\"}" },
	[SCHEMA_PERCENT] = { SCALAR, "a percentage",
			     "{\"type\": \"string\", \"pattern\": \"^[0-9]+%$\"}" },
	[SCHEMA_DEVICES] = { SCALAR | LIST, "a device name, a glob pattern or a list of them",
			     JSON_ONE_OR_LIST(JSON_TEXT) },
	[SCHEMA_ITEMS] = { LIST, "a list of addresses and prefixes",
			   "{\"type\": \"array\", \"items\": " JSON_TEXT "}" },
	[SCHEMA_OPERAND] = { SCALAR | LIST, "an address, a prefix, a $set or a list of them",
			     JSON_ONE_OR_LIST(JSON_TEXT) },
	[SCHEMA_ADDRESS] = { SCALAR, "an address", JSON_TEXT },
	[SCHEMA_ADDRESSES] = { SCALAR | LIST, "an address or a list of addresses",
			       JSON_ONE_OR_LIST(JSON_TEXT) },
	[SCHEMA_PROTOCOLS] = { SCALAR | LIST, "a protocol or a list of protocols",
			       JSON_ONE_OR_LIST(JSON_NUMBER_OR_TEXT) },
	[SCHEMA_PORT] = { SCALAR, "a port", JSON_PORT },
	[SCHEMA_PORTS] = { SCALAR | LIST, "a port, a range a-b or a list of them",
			   JSON_ONE_OR_LIST(JSON_PORTS) },
	[SCHEMA_PORTS_OR_AUTO] = { SCALAR | LIST, "auto, a port, a range a-b or a list of them",
				   "{\"anyOf\": [{\"const\": \"auto\"}, " JSON_ONE_OR_LIST(
					   JSON_PORTS) "]}" },
	[SCHEMA_TCP_FLAGS] = { SCALAR | LIST, "a TCP flag or a list of flags",
			       JSON_ONE_OR_LIST(
				       "{\"enum\": [\"syn\", \"ack\", \"fin\", \"rst\", \"psh\", "
				       "\"urg\", \"ece\", \"cwr\"]}") },
	[SCHEMA_ICMP_TYPE] = { SCALAR | LIST, "an ICMP type or a list of types",
			       JSON_ONE_OR_LIST(JSON_NUMBER_OR_TEXT) },
	[SCHEMA_ICMP_CODE] = { SCALAR | LIST, "an ICMP code or a list of codes",
			       JSON_ONE_OR_LIST(JSON_NUMBER_OR_TEXT) },
	[SCHEMA_VLANS] = { SCALAR | LIST, "a VLAN id or a list of ids",
			   JSON_ONE_OR_LIST(
				   "{\"type\": \"integer\", \"minimum\": 0, \"maximum\": 4094}") },
	[SCHEMA_STATUSES] = { SCALAR | LIST, "an HTTP status, a range a-b or a list of them",
			      JSON_ONE_OR_LIST(JSON_NUMBER_OR_TEXT) },
};

/* clang-format off: macros of tables */
#define WORDS(...)                                            \
	.words = (const struct schema_word[]){ __VA_ARGS__ }, \
	.word_count =                                         \
		sizeof((const struct schema_word[]){ __VA_ARGS__ }) / sizeof(struct schema_word)
#define WORD(w, h)                       \
	{                                \
		.word = (w), .help = (h) \
	}
#define LATER(w, h)                                     \
	{                                               \
		.word = (w), .help = (h), .later = true \
	}
#define KEYS(table) .keys = (table), .count = sizeof(table) / sizeof((table)[0])
/* clang-format on */

static const struct schema_key rule_keys[] = {
	[RULE_ID] = { "id", SCHEMA_NAME, SCHEMA_REQUIRED,
		      .help = "name of the rule, unique in its chain; it owns the rule's counter across reloads" },
	[RULE_FAMILY] = { "family", SCHEMA_WORD, .help = "address family of the packet",
			  WORDS(WORD("ipv4", "IPv4 packets"), WORD("ipv6", "IPv6 packets")) },
	[RULE_PROTO] = { "proto", SCHEMA_PROTOCOLS,
			 .help = "tcp, udp, icmp, icmp6, sctp or a number from 0 to 255" },
	[RULE_SPORT] = { "sport", SCHEMA_PORTS, .help = "source port, with tcp, udp or sctp" },
	[RULE_DPORT] = { "dport", SCHEMA_PORTS, .help = "destination port, with tcp, udp or sctp" },
	[RULE_FLAGS] = { "flags", SCHEMA_MAP, .map = &schema_flags, .help = "TCP flags" },
	[RULE_TYPE] = { "type", SCHEMA_ICMP_TYPE,
			.help = "ICMP type, name or number, with icmp or icmp6" },
	[RULE_CODE] = { "code", SCHEMA_ICMP_CODE,
			.help = "ICMP code, name or number, with 'type'" },
	[RULE_VLAN] = { "vlan", SCHEMA_VLANS, .help = "VLAN id of the outermost tag" },
	[RULE_STATE] = { "state", SCHEMA_WORD,
			 .help = "what is known of the packet's flow; not in 'never-drop'",
			 WORDS(WORD("established",
				    "packets of flows that passed before, their replies, and ICMP "
				    "errors about them")) },
	[RULE_FROM] = { "from", SCHEMA_OPERAND, .help = "source address" },
	[RULE_TO] = { "to", SCHEMA_OPERAND, .help = "destination address" },
	[RULE_NOT_FROM] = { "not-from", SCHEMA_OPERAND, .help = "any source address but these" },
	[RULE_NOT_TO] = { "not-to", SCHEMA_OPERAND, .help = "any destination address but these" },
	[RULE_DSCP] = { "dscp", SCHEMA_RESERVED, SCHEMA_LATER,
			.help = "differentiated services code point" },
	[RULE_TTL] = { "ttl", SCHEMA_RESERVED, SCHEMA_LATER, .help = "time to live or hop limit" },
	[RULE_LENGTH] = { "length", SCHEMA_RESERVED, SCHEMA_LATER, .help = "length of the packet" },
	[RULE_TO_ZONE] = { "to-zone", SCHEMA_RESERVED, SCHEMA_LATER,
			   .help = "zone the packet is routed to" },
	[RULE_UNTIL] = { "until", SCHEMA_RESERVED, SCHEMA_LATER, .help = "when the rule ends" },
	[RULE_OWNER] = { "owner", SCHEMA_RESERVED, SCHEMA_LATER,
			 .help = "who answers for the rule" },
	[RULE_LOG] = { "log", SCHEMA_RESERVED, SCHEMA_LATER, .help = "record matching packets" },
	[RULE_DO] = { "do", SCHEMA_WORD, SCHEMA_REQUIRED, .help = "verdict",
		      WORDS(WORD("pass", "let the packet through"), WORD("drop", "discard it"),
			    LATER("reject", "discard it and tell the sender"),
			    LATER("log", "record it")) },
	[RULE_MODE] = { "mode", SCHEMA_WORD, .help = "whether the verdict counts",
			.preset = "enforce",
			WORDS(WORD("enforce", "the rule decides"),
			      WORD("audit", "the rule is counted and evaluation goes on")) },
};

static const struct schema_key flags_keys[] = {
	[FLAGS_ALL_OF] = { "all-of", SCHEMA_TCP_FLAGS, .help = "all of them are set" },
	[FLAGS_ANY_OF] = { "any-of", SCHEMA_TCP_FLAGS, .help = "at least one of them is set" },
	[FLAGS_NONE_OF] = { "none-of", SCHEMA_TCP_FLAGS, .help = "none of them is set" },
};

static const struct schema_key chain_keys[] = {
	[CHAIN_AT] = { "at", SCHEMA_PLACE, SCHEMA_REQUIRED,
		       .help = "zone and direction: ZONE.ingress or ZONE.egress; one chain for each" },
	[CHAIN_DEFAULT] = { "default", SCHEMA_WORD, SCHEMA_REQUIRED,
			    .help = "verdict when no rule matches",
			    WORDS(WORD("pass", "let the packet through"),
				  WORD("drop", "discard it")) },
	[CHAIN_FRAGMENTS] = { "fragments", SCHEMA_WORD, .preset = "drop",
			      .help = "what becomes of IP fragments",
			      WORDS(WORD("drop", "they are discarded"),
				    WORD("first-only",
					 "a first fragment meets the rules, those behind it follow "
					 "it")) },
	[CHAIN_RULES] = { "rules", SCHEMA_RECORDS, .map = &schema_rule,
			  .help = "rules in order; the first that matches decides" },
};

static const struct schema_key zone_keys[] = {
	[ZONE_DEV] = { "dev", SCHEMA_DEVICES, SCHEMA_REQUIRED,
		       .help = "network devices of the zone: names or glob patterns; one that is absent is attached when it appears" },
	[ZONE_HOOK] = { "hook", SCHEMA_WORD, .preset = "auto",
			.help = "where ingress packets are met",
			WORDS(WORD("auto", "XDP on physical devices, TC on virtual ones"),
			      WORD("xdp", "in the driver, before the stack"),
			      WORD("xdp-generic", "XDP in the stack, for drivers without it"),
			      WORD("tc", "at TC ingress")) },
};

static const struct schema_key safety_keys[] = {
	[SAFETY_NEVER_DROP] = { "never-drop", SCHEMA_RECORDS, .map = &schema_never_drop,
				.help = "packets that pass whatever the rules say: first in every ingress chain, mirrored in every egress chain" },
	[SAFETY_CONFIRM] = { "confirm", SCHEMA_DURATION,
			     .help = "an apply is undone unless it is confirmed within this time; 0 is off",
			     .max = DAY },
};

static const struct schema_key set_keys[] = {
	[SET_ITEMS] = { "items", SCHEMA_ITEMS, .help = "addresses and prefixes" },
	[SET_FILE] = { "file", SCHEMA_PATH,
		       .help = "file with an address or prefix a line, relative to the policy" },
	[SET_MAX] = { "max", SCHEMA_NUMBER, .min = 1, .max = 100000000,
		      .help = "most prefixes the set may have, those added at run time included; a set with 'max' or 'ttl' can be changed at run time (with 'ttl' alone: at most " SCHEMA_RUNTIME_MAX_TEXT
			      " prefixes)" },
	[SET_TTL] = { "ttl", SCHEMA_DURATION,
		      .help = "members added at run time leave after this time; without it they stay",
		      .min = 1000, .max = 365 * DAY },
	[SET_REFRESH] = { "refresh", SCHEMA_WORD,
			  .help = "when the file, which must lie in a feed directory of the daemon, is read again",
			  WORDS(WORD("on-change", "when it changes")) },
};

static const struct schema_key listen_keys[] = {
	[LISTEN_TCP] = { "tcp", SCHEMA_PORTS, .help = "TCP ports" },
	[LISTEN_UDP] = { "udp", SCHEMA_PORTS, .help = "UDP ports" },
};

static const struct schema_key health_keys[] = {
	[HEALTH_HTTP] = { "http", SCHEMA_TEXT, .help = "path to ask for over HTTP" },
	[HEALTH_HTTPS] = { "https", SCHEMA_TEXT, .help = "path to ask for over HTTPS" },
	[HEALTH_TCP] = { "tcp", SCHEMA_NOTHING, .help = "a connection is enough" },
	[HEALTH_PORT] = { "port", SCHEMA_PORT, .help = "port to ask, instead of the backend's",
			  .min = 1, .max = 65535 },
	[HEALTH_EVERY] = { "every", SCHEMA_DURATION, .preset = "2s", .help = "time between checks",
			   .min = 100, .max = HOUR },
	[HEALTH_TIMEOUT] = { "timeout", SCHEMA_DURATION, .preset = "1s",
			     .help = "time to wait for an answer, not longer than 'every'",
			     .min = 10, .max = HOUR },
	[HEALTH_FALL] = { "fall", SCHEMA_NUMBER, .preset = "3",
			  .help = "failures in a row until down", .min = 1, .max = 255 },
	[HEALTH_RISE] = { "rise", SCHEMA_NUMBER, .preset = "2",
			  .help = "successes in a row until up", .min = 1, .max = 255 },
	[HEALTH_PANIC_BELOW] = { "panic-below", SCHEMA_PERCENT, .preset = "0%",
				 .help = "with fewer backends up than this, all are used",
				 .max = 100 },
	[HEALTH_STATUS] = { "status", SCHEMA_STATUSES, .help = "HTTP statuses that count as up",
			    .min = 100, .max = 599 },
	[HEALTH_HOST] = { "host", SCHEMA_TEXT, .help = "Host header" },
};

static const struct schema_key backend_keys[] = {
	[BACKEND_NAME] = { "name", SCHEMA_NAME, SCHEMA_REQUIRED,
			   .help = "name of the backend, unique in its service" },
	[BACKEND_ADDR] = { "addr", SCHEMA_ADDRESS, SCHEMA_REQUIRED, .help = "its address" },
	[BACKEND_PORT] = { "port", SCHEMA_PORT, .help = "its port, instead of the service's",
			   .min = 1, .max = 65535 },
	[BACKEND_WEIGHT] = { "weight", SCHEMA_NUMBER, .preset = "1",
			     .help = "its share of new flows", .min = 1, .max = 1000 },
	[BACKEND_ADMIN] = { "admin", SCHEMA_WORD, .preset = "up", .help = "what the operator wants",
			    WORDS(WORD("up", "it gets new flows"),
				  WORD("drain", "it keeps its flows, gets no new ones"),
				  WORD("down", "it gets nothing")) },
};

static const struct schema_key service_keys[] = {
	[SERVICE_VIP] = { "vip", SCHEMA_ADDRESSES, SCHEMA_REQUIRED,
			  .help = "addresses of the service" },
	[SERVICE_LISTEN] = { "listen", SCHEMA_MAP, SCHEMA_REQUIRED, .help = "ports of the service",
			     .map = &schema_listen },
	[SERVICE_FORWARD] = { "forward", SCHEMA_WORD, SCHEMA_REQUIRED,
			      .help = "how packets reach a backend",
			      WORDS(WORD("l2", "with its MAC address"),
				    WORD("ipip", "in an IP tunnel"), WORD("gue", "in a UDP tunnel"),
				    WORD("nat", "with its address")) },
	[SERVICE_HASH] = { "hash", SCHEMA_WORD, .preset = "5-tuple",
			   .help = "what picks the backend",
			   WORDS(WORD("5-tuple", "addresses, ports and protocol"),
				 WORD("source", "the source address")) },
	[SERVICE_CHECK] = { "check", SCHEMA_WORD_OR_MAP, .map = &schema_health,
			    .help = "how backends are checked",
			    WORDS(WORD("tcp", "a connection is enough"),
				  WORD("none", "they are not")) },
	[SERVICE_BACKENDS] = { "backends", SCHEMA_RECORDS, SCHEMA_REQUIRED, .help = "who serves",
			       .map = &schema_backend },
};

static const struct schema_key flows_keys[] = {
	[FLOWS_SLOTS] = { "slots", SCHEMA_NUMBER, .help = "flows held at once", .min = 1,
			  .max = 100000000 },
	[FLOWS_IDLE] = { "idle", SCHEMA_DURATION, .help = "a flow ends after this silence",
			 .min = 1000, .max = DAY },
};

static const struct schema_key drops_keys[] = {
	[DROPS_EVENTS] = { "events", SCHEMA_RATE, .help = "most drop events", .min = 1,
			   .max = 10000000 },
	[DROPS_SNAP] = { "snap", SCHEMA_NUMBER, .help = "bytes of a dropped packet kept", .min = 14,
			 .max = 9216 },
};

static const struct schema_key http_keys[] = {
	[HTTP_PORTS] = { "ports", SCHEMA_PORTS_OR_AUTO,
			 .help = "ports with HTTP; auto recognises it" },
	[HTTP_PATHS] = { "paths", SCHEMA_NUMBER, .help = "paths held at once", .min = 1,
			 .max = 10000000 },
	[HTTP_TIMEOUT] = { "timeout", SCHEMA_DURATION,
			   .help = "an unanswered request ends after this time", .min = 100,
			   .max = HOUR },
};

static const struct schema_key telemetry_keys[] = {
	[TELEMETRY_FLOWS] = { "flows", SCHEMA_MAP, .map = &schema_flows,
			      .help = "flow accounting" },
	[TELEMETRY_DROPS] = { "drops", SCHEMA_MAP, SCHEMA_LATER, .map = &schema_drops,
			      .help = "dropped packets" },
	[TELEMETRY_HTTP] = { "http", SCHEMA_MAP, SCHEMA_LATER, .map = &schema_http,
			     .help = "HTTP requests" },
};

static const struct schema_key top_keys[] = {
	[TOP_VERSION] = { "version", SCHEMA_VERSION, SCHEMA_REQUIRED,
			  .help = "version of the policy language: 1" },
	[TOP_ATTACH] = { "attach", SCHEMA_NAMED, .map = &schema_zone,
			 .help = "zones and their devices" },
	[TOP_SAFETY] = { "safety", SCHEMA_MAP, .map = &schema_safety,
			 .help = "what protects the operator" },
	[TOP_SETS] = { "sets", SCHEMA_NAMED, .map = &schema_set,
		       .help = "sets of addresses, used as $NAME" },
	[TOP_FILTER] = { "filter", SCHEMA_NAMED, .map = &schema_chain, .help = "chains of rules" },
	[TOP_SERVICES] = { "services", SCHEMA_NAMED, SCHEMA_LATER, .help = "balanced services",
			   .map = &schema_service },
	[TOP_TELEMETRY] = { "telemetry", SCHEMA_MAP, .help = "what is recorded",
			    .map = &schema_telemetry },
	[TOP_LIMITS] = { "limits", SCHEMA_RESERVED, SCHEMA_LATER, .help = "rates" },
	[TOP_FAULTS] = { "faults", SCHEMA_RESERVED, SCHEMA_LATER, .help = "faults to inject" },
	[TOP_TESTS] = { "tests", SCHEMA_RESERVED, SCHEMA_LATER,
			.help = "packets and the verdicts they must get" },
	[TOP_EXPORT] = { "export", SCHEMA_RESERVED, SCHEMA_LATER, .help = "where records go" },
	[TOP_ANNOUNCE] = { "announce", SCHEMA_RESERVED, SCHEMA_LATER,
			   .help = "routes to announce" },
	[TOP_SOURCE] = { "source", SCHEMA_RESERVED, SCHEMA_LATER,
			 .help = "where the policy comes from" },
	[TOP_INCLUDE] = { "include", SCHEMA_RESERVED, SCHEMA_LATER, .help = "other files" },
};

const struct schema_map schema_top = { "policy",
				       "The sections of a policy. Only 'version' is required.",
				       true, KEYS(top_keys) };
const struct schema_map schema_zone = { "zone", "A zone: devices that are treated alike.",
					KEYS(zone_keys) };
const struct schema_map schema_safety = { "safety", "What holds whatever the chains say.", true,
					  KEYS(safety_keys) };
const struct schema_map schema_set = { "set", "A set of IPv4 and IPv6 addresses.", KEYS(set_keys) };
const struct schema_map schema_chain = {
	"chain",
	"A chain of rules for the packets of one zone in one direction. The first match wins.",
	true, KEYS(chain_keys)
};
const struct schema_map schema_rule = {
	"rule",
	"A rule. Several keys mean 'and', a list means 'any of'; a key that is absent matches everything.",
	KEYS(rule_keys)
};
const struct schema_map schema_never_drop = {
	"never-drop rule",
	"The match keys of a rule. On egress, sources and destinations change places.",
	.keys = &rule_keys[RULE_FAMILY],
	.count = RULE_LENGTH - RULE_FAMILY + 1,
};
const struct schema_map schema_flags = { "flags", "TCP flags: syn ack fin rst psh urg ece cwr.",
					 KEYS(flags_keys) };
const struct schema_map schema_service = { "service", "A balanced service.", true,
					   KEYS(service_keys) };
const struct schema_map schema_listen = { "listen", "The ports of a service.", KEYS(listen_keys) };
const struct schema_map schema_health = { "check", "A health check: one of http, https, tcp.",
					  KEYS(health_keys) };
const struct schema_map schema_backend = { "backend", "A backend of a service.",
					   KEYS(backend_keys) };
const struct schema_map schema_telemetry = { "telemetry", "What is recorded of traffic.", true,
					     KEYS(telemetry_keys) };
const struct schema_map schema_flows = { "flows", "Flow accounting.", KEYS(flows_keys) };
const struct schema_map schema_drops = { "drops", "Records of dropped packets.", KEYS(drops_keys) };
const struct schema_map schema_http = { "http", "Records of HTTP requests.", KEYS(http_keys) };
