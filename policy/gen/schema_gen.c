/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints what is made of the schema's table: `schema-gen json`, the JSON Schema that editors use, and
 * `schema-gen page`, the scdoc source of penstock.yaml(5). Built and run at build time, not installed.
 */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chain_plan.h"
#include "classes.h"
#include "diag_codes.h"
#include "footprint.h"
#include "names.h"
#include "schema.h"
#include "tree.h"

/* Every map once, in reading order. */
static const struct schema_map *const maps[] = {
	&schema_top,       &schema_zone,   &schema_safety, &schema_never_drop,
	&schema_set,       &schema_chain,  &schema_rule,   &schema_flags,
	&schema_service,   &schema_listen, &schema_health, &schema_backend,
	&schema_telemetry, &schema_flows,  &schema_drops,  &schema_http,
};

/* ---- JSON Schema -------------------------------------------------------------------------------- */

#define PREFIX "#/$defs/"

/* A map's name in `path`, which holds the way to it. */
static const char *reference_name(const struct schema_map *map, char path[static 64])
{
	(void)snprintf(path, 64, PREFIX "%s", map->what); /* names of maps are short */
	for (char *space = strchr(path, ' '); space; space = strchr(space, ' '))
		*space = '-';
	return path + strlen(PREFIX);
}

static struct json_object *reference(const struct schema_map *map)
{
	struct json_object *to = json_object_new_object();
	char path[64];

	(void)reference_name(map, path); /* the name is the end of it */
	json_object_object_add(to, "$ref", json_object_new_string(path));
	return to;
}

static struct json_object *words(const struct schema_key *key)
{
	struct json_object *to = json_object_new_object(), *list = json_object_new_array();

	for (size_t i = 0; i < key->word_count; i++)
		json_object_array_add(list, json_object_new_string(key->words[i].word));
	json_object_object_add(to, "enum", list);
	return to;
}

static struct json_object *named(const struct schema_map *map)
{
	struct json_object *to = json_object_new_object(), *names = json_object_new_object();

	json_object_object_add(to, "type", json_object_new_string("object"));
	json_object_object_add(names, "^[A-Za-z0-9_.][A-Za-z0-9_.-]{0,62}$", reference(map));
	json_object_object_add(to, "patternProperties", names);
	json_object_object_add(to, "additionalProperties", json_object_new_boolean(false));
	return to;
}

static struct json_object *records(const struct schema_map *map)
{
	struct json_object *to = json_object_new_object();

	json_object_object_add(to, "type", json_object_new_string("array"));
	json_object_object_add(to, "items", reference(map));
	return to;
}

static struct json_object *word_or_map(const struct schema_key *key)
{
	struct json_object *to = json_object_new_object(), *any = json_object_new_array();

	json_object_array_add(any, words(key));
	json_object_array_add(any, reference(key->map));
	json_object_object_add(to, "anyOf", any);
	return to;
}

static struct json_object *key_schema(const struct schema_key *key)
{
	struct json_object *to;

	if (key->kind == SCHEMA_MAP)
		to = reference(key->map);
	else if (key->kind == SCHEMA_NAMED)
		to = named(key->map);
	else if (key->kind == SCHEMA_RECORDS)
		to = records(key->map);
	else if (key->kind == SCHEMA_WORD)
		to = words(key);
	else if (key->kind == SCHEMA_WORD_OR_MAP)
		to = word_or_map(key);
	else
		to = json_tokener_parse(schema_types[key->kind].json);
	json_object_object_add(to, "description", json_object_new_string(key->help));
	if (key->preset)
		json_object_object_add(to, "default", json_object_new_string(key->preset));
	return to;
}

static struct json_object *map_schema(const struct schema_map *map)
{
	struct json_object *to = json_object_new_object(), *keys = json_object_new_object();
	struct json_object *required = json_object_new_array();

	for (size_t i = 0; i < map->count; i++) {
		json_object_object_add(keys, map->keys[i].name, key_schema(&map->keys[i]));
		if (map->keys[i].flags & SCHEMA_REQUIRED)
			json_object_array_add(required, json_object_new_string(map->keys[i].name));
	}
	json_object_object_add(to, "description", json_object_new_string(map->help));
	json_object_object_add(to, "type", json_object_new_string("object"));
	json_object_object_add(to, "properties", keys);
	json_object_object_add(to, "required", required);
	json_object_object_add(to, "additionalProperties", json_object_new_boolean(false));
	return to;
}

static void print_json(void)
{
	struct json_object *schema = map_schema(&schema_top), *defs = json_object_new_object();
	char path[64];

	json_object_object_add(
		schema, "$schema",
		json_object_new_string("https://json-schema.org/draft/2020-12/schema"));
	json_object_object_add(schema, "title", json_object_new_string("penstock policy"));
	for (size_t i = 1; i < sizeof(maps) / sizeof(maps[0]); i++)
		json_object_object_add(defs, reference_name(maps[i], path), map_schema(maps[i]));
	json_object_object_add(schema, "$defs", defs);
	puts(json_object_to_json_string_ext(schema, JSON_C_TO_STRING_PRETTY |
							    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(schema);
}

/* ---- the page ----------------------------------------------------------------------------------- */

/* scdoc gives a meaning to these; a backslash takes it away. */
static void put(const char *text)
{
	for (; *text; text++) {
		if (strchr("_*\\#<>~|[", *text))
			putchar('\\');
		putchar(*text);
	}
}

static void put_words(const struct schema_key *key)
{
	for (size_t i = 0; i < key->word_count; i++) {
		printf("\t- *");
		put(key->words[i].word);
		printf("*: ");
		put(key->words[i].help);
		puts(key->words[i].later ? " (not carried out yet)" : "");
	}
	if (key->word_count)
		puts("");
}

static void put_key(const struct schema_key *key)
{
	bool plain = key->kind != SCHEMA_WORD && key->kind != SCHEMA_RESERVED;

	printf("*");
	put(key->name);
	printf("*");
	if (plain)
		printf(" (%s)", schema_types[key->kind].expects);
	printf("\n\t");
	put(key->help);
	printf(".");
	if (key->flags & SCHEMA_REQUIRED)
		printf(" Must be written.");
	if (key->preset) {
		printf(" Default: ");
		put(key->preset);
		printf(".");
	}
	if (key->max && key->kind == SCHEMA_NUMBER)
		printf(" From %" PRIu64 " to %" PRIu64 ".", key->min, key->max);
	if (key->flags & SCHEMA_LATER)
		printf(" Not carried out yet: a policy that has it is refused.");
	puts("\n");
	put_words(key);
}

static void put_map(const struct schema_map *map)
{
	printf("## Keys of a %s\n\n", map->what);
	put(map->help);
	puts("\n");
	for (size_t i = 0; i < map->count; i++)
		put_key(&map->keys[i]);
}

static void put_names(const char *title, const struct name_table *table)
{
	printf("%s: ", title);
	for (size_t i = 0; i < table->count; i++) {
		printf("%s", i ? ", " : "");
		put(table->at[i].name);
		printf(" (%u)", table->at[i].number);
	}
	puts(".\n");
}

/* What no single key can say. */
static void print_meaning(void)
{
	puts("# FLOWS AND FRAGMENTS\n");
	puts("*state: established* is met by packets of a flow that a chain let through before, in both directions,\n"
	     "by those of connections of this machine, and by ICMP errors that quote such a flow. It goes with every\n"
	     "other key, but not into *never-drop*: what is never dropped must pass when no flow is known.\n");
	puts("In a chain with such a rule, rules that pass TCP and have neither *flags* nor *state* admit only\n"
	     "packets that may open a connection. Others that meet them are dropped with the reason *no-flow*.\n");
	puts("Fragments are dropped unless the chain has *fragments: first-only*. Then the rules decide the first\n"
	     "fragment of a datagram, and the others follow it under the reason *fragment-follows*. One without a\n"
	     "known first fragment is dropped as *fragment*, a first fragment that does not hold its whole transport\n"
	     "header as *tiny-fragment*.\n");
	puts("# SETS THAT CHANGE\n");
	puts("A set with *max* or *ttl* can be changed while the policy runs: *penstock set add* and *del* reach the\n"
	     "next packet. What *items* or *file* give it is its fixed part. *max* counts the prefixes of both parts.\n"
	     "Members that were added survive the daemon and the next apply, until their *ttl* is over.\n");
	puts("A set with *refresh: on-change* is read again by the daemon when its file changes. The file must lie in\n"
	     "a feed directory, see *penstockd*(8).\n");
	puts("# WARNINGS\n");
	puts("A policy with warnings is good. *penstock check* warns of sets that no rule names, of rules that can\n"
	     "never match, and of chains that drop what the network itself needs:\n");
	puts("- DHCP: replies on ingress, requests on egress, where the default is to drop. *state: established* is\n"
	     "  enough to renew a lease by unicast, not to get a first one.\n"
	     "- IPv6 neighbour discovery, which passes by default, where a rule drops it that does not name it.\n"
	     "- The ICMP messages that tell a host the MTU of a path.\n");
	puts("A rule that names these packets by port or type, and passes or drops them, ends such a warning.\n");
}

/* What check refuses with the code 'capacity', and some of 'too-large'. */
static void print_limits(void)
{
	static const struct {
		const char *what;
		uint64_t limit;
	} limits[] = {
		{ "zones, and chains", DP_ZONE_MAX },
		{ "rules and defaults of all chains; of a policy and the one that it replaces together, without those that have the same names",
		  DP_RULE_SLOTS - 1 },
		{ "in a chain: rules in audit mode, with *state*, with sets that change at run time, or that match more than IP",
		  DP_CHAIN_RULES },
		{ "in a chain with more rules than that: combinations of the addresses and ports in lists of its rules",
		  CHAIN_BOXES_MAX },
		{ "groups of addresses that no rule tells apart, for each family and side",
		  CLASSES_MAX },
		{ "sets that change at run time", DP_SETS },
		{ "members added to them", FOOTPRINT_MEMBERS_MAX - 1 },
		{ "MiB of tables, all fixed sets included",
		  (uint64_t)IMAGE_MAX_LINES * DP_LINE_BYTES >> 20 },
		{ "MiB of policy text, without files of sets", TREE_MAX_BYTES >> 20 },
		{ "bytes in a line of it", TREE_MAX_LINE_BYTES },
	};

	puts("# LIMITS\n\nA policy that needs more is refused before anything is changed, with limit and need. At most:\n");
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		printf("- %" PRIu64 " %s\n", limits[i].limit, limits[i].what);
	printf("\nOf a chain with more than %d rules only some hundreds may match the same packets without one covering the\n"
	       "other. *penstock check --stats* prints what a policy takes of the rest.\n\n",
	       DP_CHAIN_RULES);
}

/* For those who read `check --json`. */
static void print_codes(void)
{
	static const char *const codes[][2] = {
#define CODE(name, help) { name, help },
		DIAG_CODES(CODE)
#undef CODE
	};

	puts("# CODES\n\nWith *--json* every message has a code that stays the same:\n");
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		printf("*%s*\n\t", codes[i][0]);
		put(codes[i][1]);
		puts(".\n");
	}
}

static void print_page(void)
{
	puts("penstock.yaml(5)\n\n# NAME\n\npenstock.yaml - the policy file of penstock\n\n# DESCRIPTION\n");
	puts("A policy is YAML, a strict subset: UTF-8 text without anchors, aliases, tags, block scalars, duplicate\n"
	     "keys or further documents. A value stands on one line. Unknown keys are errors. What is not carried out\n"
	     "yet is an error that names it, never ignored.\n");
	puts("Numbers are decimal; *k* and *M* stand for thousand and million. Durations are a number and *ms*, *s*,\n"
	     "*m* or *h*. Names are 1 to 63 of A-Z a-z 0-9 \\_ . - and don't begin with a dash.\n");
	puts("*penstock check* says what is wrong with a policy, *penstock fmt* prints its canonical form.\n");
	puts("# KEYS\n");
	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++)
		put_map(maps[i]);
	print_meaning();
	print_limits();
	puts("# NAMES\n");
	put_names("ICMP types", &names_icmp_types[NAME_ICMP4]);
	put_names("ICMPv6 types", &names_icmp_types[NAME_ICMP6]);
	print_codes();
	puts("# SEE ALSO\n\n*penstock*(1), *penstockd*(8)");
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "json")) {
		print_json();
	} else if (argc == 2 && !strcmp(argv[1], "page")) {
		print_page();
	} else {
		fprintf(stderr, "usage: schema-gen json|page\n");
		return 2;
	}
	return fflush(stdout) || ferror(stdout) ? 1 : 0;
}
