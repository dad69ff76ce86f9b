/* SPDX-License-Identifier: Apache-2.0 */
/* See explain_walk.h. The packet is written as a tuple, so that it can be given to `explain` again. */
#include "explain_walk.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>

#include "names.h"
#include "output.h"
#include "str.h"
#include "table.h"
#include "term.h"
#include "tuple.h"

void explain_line(const char *what, const char *text)
{
	printf("%-8s ", what);
	term_write(stdout, text && *text ? text : "-", TERM_LINE);
	putchar('\n');
}

static enum status print_text(const char *what, struct text *t)
{
	_cleanup_free_ char *line = text_take(t);

	if (!line) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	explain_line(what, line);
	return STATUS_DONE;
}

/* ---- the packet -------------------------------------------------------------------------------- */

/* Its name in the table, else the number. */
static void put_name(struct text *t, struct name_table names, uint64_t number)
{
	for (size_t i = 0; i < names.count; i++) {
		if (names.at[i].number == number) {
			text_puts(t, names.at[i].name);
			return;
		}
	}
	text_printf(t, "%" PRIu64, number);
}

static void put_end(struct text *t, struct json_object *packet, const char *addr, const char *port)
{
	const char *text = json_text(packet, addr);

	if (!json_member(packet, port)) {
		text_puts(t, text);
		return;
	}
	text_printf(t, strchr(text, ':') ? "[%s]:%" PRIu64 : "%s:%" PRIu64, text,
		    json_number(packet, port));
}

static void put_flags(struct text *t, struct json_object *packet)
{
	if (!json_member(packet, "flags"))
		return;
	for (size_t i = 0; i < json_count(packet, "flags"); i++) {
		text_puts(t, " ");
		text_puts(t, json_object_get_string(json_at(packet, "flags", i)) ?: "");
	}
	if (!json_count(packet, "flags"))
		text_puts(t, " none");
}

static void put_icmp(struct text *t, struct json_object *packet)
{
	enum name_family family =
		strcmp(json_text(packet, "family"), "ipv6") ? NAME_ICMP4 : NAME_ICMP6;
	uint64_t type = json_number(packet, "type");

	if (!json_member(packet, "type"))
		return;
	text_puts(t, " type ");
	put_name(t, names_icmp_types[family], type);
	text_puts(t, " code ");
	put_name(t, names_icmp_codes(family, (uint8_t)type), json_number(packet, "code"));
}

static void put_packet(struct text *t, struct json_object *packet)
{
	const char *family = json_text(packet, "family"), *piece = json_text(packet, "fragment");

	if (!packet)
		text_puts(t, "not read: no chain asks about it");
	else if (!*family)
		text_puts(t, "without IP addresses that can be read");
	else {
		if (json_member(packet, "proto"))
			put_name(t, names_protocols, json_number(packet, "proto"));
		else
			text_puts(t, family);
		text_puts(t, " ");
		put_end(t, packet, "src", "sport");
		text_puts(t, " > ");
		put_end(t, packet, "dst", "dport");
	}
	put_flags(t, packet);
	put_icmp(t, packet);
	if (json_member(packet, "vlan"))
		text_printf(t, " vlan %" PRIu64, json_number(packet, "vlan"));
	if (*piece && strcmp(piece, "whole") != 0)
		text_printf(t, ", %s fragment", piece);
}

static enum status print_packet(struct json_object *packet)
{
	struct text t = {}, offsets = {};
	enum status status;

	put_packet(&t, packet);
	status = print_text("packet", &t);
	if (status != STATUS_DONE || !json_member(packet, "network_offset"))
		return status;
	text_printf(&offsets, "network at byte %" PRIu64, json_number(packet, "network_offset"));
	if (json_member(packet, "transport_offset"))
		text_printf(&offsets, ", transport at byte %" PRIu64,
			    json_number(packet, "transport_offset"));
	return print_text("headers", &offsets);
}

/* ---- what was looked up ------------------------------------------------------------------------ */

static enum status print_classes(struct json_object *walk)
{
	struct json_object *classes = json_member(walk, "classes");
	struct text t = {};
	const char *sep = "";

	if (!json_object_is_type(classes, json_type_object))
		return STATUS_DONE;
	json_object_object_foreach(classes, dim, class)
	{
		text_printf(&t, "%s%s %" PRIu64, sep, dim, json_object_get_uint64(class));
		sep = ", ";
	}
	return print_text("classes", &t);
}

static void put_sets(struct text *t, struct json_object *sets, const char *side)
{
	size_t count = json_count(sets, side);

	if (!json_member(sets, side))
		return;
	text_printf(t, "%s%s in", t->len ? "; " : "", side);
	for (size_t i = 0; i < count; i++)
		text_printf(t, "%s %s", i ? "," : "",
			    json_object_get_string(json_at(sets, side, i)) ?: "");
	text_puts(t, count ? "" : " none that is filled at run time");
}

static enum status print_sets(struct json_object *walk)
{
	struct json_object *sets = json_member(walk, "sets");
	struct text t = {};

	put_sets(&t, sets, "source");
	put_sets(&t, sets, "destination");
	text_puts(&t, t.len ? "" : "no rule asks about one that is filled at run time");
	return print_text("sets", &t);
}

static enum status print_state(struct json_object *walk)
{
	static const struct {
		const char *word, *text;
	} states[] = {
		{ "not-asked", "not asked: it cannot change the verdict" },
		{ "no-flow", "no live flow has this packet" },
		{ "live-flow", "of a live flow" },
		{ "syn-cookie", "ends a handshake by SYN cookie" },
		{ "taken-over", "of a connection older than the policy, taken over" },
	};
	const char *word = json_text(walk, "state"), *text = word;

	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++) {
		if (!strcmp(states[i].word, word))
			text = states[i].text;
	}
	explain_line("state", text);
	return STATUS_DONE;
}

static void print_flows(struct json_object *walk)
{
	if (json_object_get_boolean(json_member(walk, "tracks")))
		explain_line("flows", "what passes here may begin one");
}

static enum status print_trees(struct json_object *walk)
{
	struct json_object *trees = json_member(walk, "trees");
	const char *rule = json_text(trees, "rule");
	struct text t = {};

	if (!trees)
		return STATUS_DONE;
	text_printf(&t, "%" PRIu64 " boxes looked through, ", json_number(trees, "boxes"));
	text_puts(&t, *rule ? "the first that matches is of " : "none matches");
	text_puts(&t, rule);
	return print_text("trees", &t);
}

static enum status print_counters(struct json_object *walk)
{
	char packets[TERM_COUNT], bytes[TERM_COUNT];
	struct text t = {};

	text_printf(&t, "untouched; on the wire it is %s of %s",
		    term_count(json_number(walk, "packets"), "packet", packets),
		    term_count(json_number(walk, "bytes"), "byte", bytes));
	return print_text("counters", &t);
}

/* ---- rules ------------------------------------------------------------------------------------- */

static const char *outcome(const char *word)
{
	static const struct {
		const char *word, *text;
	} outcomes[] = {
		{ "decides", "decides" },
		{ "counts", "is counted" },
		{ "truncated", "one too many to be counted" },
		{ "no-flow", "wants a live flow" },
		{ "not-reached", "comes later" },
	};

	for (size_t i = 0; i < sizeof(outcomes) / sizeof(*outcomes); i++) {
		if (!strcmp(outcomes[i].word, word))
			return outcomes[i].text;
	}
	return word;
}

static enum status print_candidates(const struct invocation *call, struct json_object *walk)
{
	static const struct table_column columns[] = { { "MATCHES", false }, { "DO", false },
						       { "MODE", false },    { "SOURCE", false },
						       { "OUTCOME", false }, {} };
	static const char *const keys[] = { "rule", "do", "mode", "source" };
	_cleanup_table_ struct table *table = table_new(call, columns);
	uint64_t more = json_number(walk, "candidates_more");
	enum status status;

	if (!table)
		return STATUS_FAILED;
	for (size_t i = 0; i < json_count(walk, "candidates"); i++) {
		struct json_object *row = json_at(walk, "candidates", i);

		table_row(table);
		for (size_t k = 0; k < 4; k++)
			table_text(table, k, json_text(row, keys[k]));
		table_text(table, 4, outcome(json_text(row, "outcome")));
		table_color(table, 1,
			    strcmp(json_text(row, "do"), "drop") ? TABLE_GREEN : TABLE_RED);
	}
	putchar('\n');
	status = table_print(table, true);
	if (status == STATUS_DONE && more)
		printf("and %" PRIu64 " more\n", more);
	return status;
}

static enum status print_rules(const struct invocation *call, struct json_object *walk)
{
	if (!json_object_get_boolean(json_member(walk, "judged"))) {
		explain_line("rules", "not asked: what the packet is decides");
		return STATUS_DONE;
	}
	if (json_count(walk, "candidates"))
		return print_candidates(call, walk);
	explain_line("rules", "none matches");
	return STATUS_DONE;
}

enum status explain_walk_print(const struct invocation *call, struct json_object *result)
{
	struct json_object *walk = json_member(result, "walk");
	bool judged = json_object_get_boolean(json_member(walk, "judged"));
	enum status status;

	if (!walk) /* a daemon that is older than its client */
		return STATUS_DONE;
	putchar('\n');
	status = print_packet(json_member(walk, "packet"));
	if (status == STATUS_DONE && judged)
		status = print_classes(walk);
	if (status == STATUS_DONE && judged)
		status = print_sets(walk);
	if (status == STATUS_DONE && judged)
		status = print_state(walk);
	if (status == STATUS_DONE && judged)
		status = print_trees(walk);
	print_flows(walk);
	if (status == STATUS_DONE)
		status = print_counters(walk);
	return status == STATUS_DONE ? print_rules(call, walk) : status;
}
