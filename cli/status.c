/* SPDX-License-Identifier: Apache-2.0 */
/* `penstock status`: the running policy, where it is attached, and what its chains did. */
#include <inttypes.h>
#include <string.h>

#include <json-c/json.h>

#include "attach.h"
#include "client.h"
#include "output.h"
#include "table.h"
#include "term.h"
#include "verbs.h"

static void show_policy(struct json_object *status)
{
	struct json_object *policy = json_member(status, "policy");
	const char *at = json_text(policy, "applied_at"), *file = json_text(policy, "file");
	char number[TERM_NUMBER];

	if (!policy) {
		puts("policy: none");
	} else {
		fputs("policy: ", stdout);
		term_write(stdout, *file ? file : "(adopted, its names are lost)", TERM_LINE);
		fputs(", digest ", stdout);
		term_write(stdout, json_text(policy, "digest"), TERM_LINE);
		printf(", generation %s", term_number(json_number(policy, "generation"), number));
		fputs(*at ? ", applied " : "", stdout);
		term_write(stdout, at, TERM_LINE);
		putchar('\n');
	}
	if (json_member(status, "confirm"))
		printf("to confirm: within %s, or the policy of before comes back\n",
		       term_duration(json_number(json_member(status, "confirm"), "left_ms"),
				     number));
	if (json_object_get_boolean(json_member(status, "applying")))
		puts("applying: another policy is being applied now");
	if (json_member(status, "memory_bytes"))
		printf("memory: %s\n", term_bytes(json_number(status, "memory_bytes"), number));
}

/* Of a fresh start there is nothing to say. */
static void show_start(struct json_object *status)
{
	struct json_object *start = json_member(status, "start");
	const char *how = json_text(start, "how");

	if (!*how || !strcmp(how, "fresh"))
		return;
	fputs("maps: ", stdout);
	term_write(stdout, how, TERM_LINE);
	fputs(*json_text(start, "maps") ? "; " : "", stdout);
	term_write(stdout, json_text(start, "maps"), TERM_LINE);
	putchar('\n');
}

static void show_sentences(const char *what, struct json_object *from, const char *key)
{
	for (size_t i = 0; i < json_count(from, key); i++) {
		printf("%s: ", what);
		term_write(stdout, json_object_get_string(json_at(from, key, i)), TERM_LINE);
		putchar('\n');
	}
}

static void show_pending(struct json_object *status)
{
	for (size_t i = 0; i < json_count(status, "pending"); i++) {
		struct json_object *row = json_at(status, "pending", i);

		fputs(i ? ", " : "waiting for: ", stdout);
		term_write(stdout, json_text(row, "dev"), TERM_LINE);
		fputs(" (", stdout);
		term_write(stdout, json_text(row, "zone"), TERM_LINE);
		putchar(')');
	}
	if (json_count(status, "pending"))
		putchar('\n');
}

/* Rows of `attached` or `failed` that have something to say. */
static void show_why(struct json_object *status, const char *key, const char *what)
{
	for (size_t i = 0; i < json_count(status, key); i++) {
		struct json_object *row = json_at(status, key, i);

		if (!*json_text(row, "why"))
			continue;
		printf("%s: ", what);
		term_write(stdout, json_text(row, "dev"), TERM_LINE);
		fputs(" (", stdout);
		term_write(stdout, json_text(row, "zone"), TERM_LINE);
		fputs("): ", stdout);
		term_write(stdout, json_text(row, "why"), TERM_LINE);
		putchar('\n');
	}
}

/* "12 of 65,536 unanswered flows"; how many is not known before they were counted. */
static void show_table(struct json_object *state, const char *key, const char *what)
{
	struct json_object *table = json_member(state, key);
	char used[TERM_NUMBER], slots[TERM_NUMBER];

	printf("%s of %s %s",
	       json_member(table, "used") ? term_number(json_number(table, "used"), used) : "?",
	       term_number(json_number(table, "slots"), slots), what);
}

static void show_state(struct json_object *status)
{
	struct json_object *state = json_member(status, "state");

	if (!json_object_get_boolean(json_member(state, "stateful")))
		return;
	fputs("state: ", stdout);
	show_table(state, "flows", "established flows, ");
	show_table(state, "pending", "unanswered, ");
	show_table(state, "fragments", "fragmented datagrams\n");
	if (json_number(state, "adopt_seconds_left"))
		printf("adopting: connections older than the policy are taken over for %" PRIu64
		       " s more\n",
		       json_number(state, "adopt_seconds_left"));
	show_sentences("warning", state, "warnings");
}

static enum status show_chains(const struct invocation *call, struct json_object *status)
{
	static const struct table_column columns[] = {
		{ "CHAIN", false },     { "ZONE", false },
		{ "DIRECTION", false }, { "RECEIVED", true },
		{ "BYTES", true },      { "PASSED", true },
		{ "BYTES", true },      { "DROPPED", true },
		{ "BYTES", true },      {},
	};
	static const char *const names[] = { "chain", "zone", "dir" };
	static const char *const counts[] = { "received_packets", "received_bytes",
					      "passed_packets",   "passed_bytes",
					      "dropped_packets",  "dropped_bytes" };
	_cleanup_table_ struct table *table = table_new(call, columns);
	size_t rows = json_count(status, "chains");

	if (!table) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	for (size_t i = 0; i < rows; i++) {
		struct json_object *chain = json_at(status, "chains", i);

		table_row(table);
		for (size_t k = 0; k < 3; k++)
			table_text(table, k, json_text(chain, names[k]));
		for (size_t k = 0; k < 6; k++)
			table_number(table, 3 + k, json_number(chain, counts[k]));
		if (json_number(chain, "dropped_packets"))
			table_color(table, 7, TABLE_RED);
	}
	if (!rows)
		return STATUS_DONE;
	putchar('\n');
	return table_print(table, true);
}

static int64_t packets_of(struct json_object *accounting, const char *key)
{
	return json_object_get_int64(json_member(json_member(accounting, key), "packets"));
}

/* The sum that must add up: what passed is in flows, or was seen elsewhere, or is said to be missing. */
static void show_accounting(struct json_object *a)
{
	static const struct {
		const char *key, *text;
	} parts[] = {
		{ "cached", "in the cache" },
		{ "recorded", "have left it" },
		{ "settled", "were in a cache of another size" },
		{ "elsewhere", "counted where they came in" },
		{ "unaccounted", "not accounted: the ring was full" },
		{ "remainder", "remainder" },
	};
	char number[TERM_NUMBER];

	if (*json_text(a, "why")) {
		fputs("accounting: ", stdout);
		term_write(stdout, json_text(a, "why"), TERM_LINE);
		putchar('\n');
	}
	if (!json_object_get_boolean(json_member(a, "on")))
		return;
	printf("accounting: %s packets passed",
	       term_number(json_number(json_member(a, "passed"), "packets"), number));
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		printf("%s %" PRId64 " %s", i ? "," : ":", packets_of(a, parts[i].key),
		       parts[i].text);
	putchar('\n');
}

enum status verb_status(const struct invocation *call)
{
	_cleanup_json_ struct json_object *answer = NULL, *accounting = NULL;
	enum status status = client_get(call, "/v1/status", &answer);

	if (status != STATUS_DONE)
		return status;
	if (json_object_get_boolean(json_member(answer, "accounting"))) {
		status = client_get(call, "/v1/accounting", &accounting);
		if (status != STATUS_DONE)
			return status;
		json_set(answer, "accounting", json_object_get(accounting));
	}
	if (output_json(call)) {
		output_document(answer);
		return STATUS_DONE;
	}
	show_policy(answer);
	show_sentences("degraded", answer, "degraded");
	show_start(answer);
	show_state(answer);
	show_pending(answer);
	for (size_t i = 0; i < json_count(answer, "feeds"); i++) {
		struct json_object *feed = json_at(answer, "feeds", i);

		sets_show_feed(feed, json_text(feed, "file"));
	}
	show_accounting(json_member(answer, "accounting"));
	show_why(answer, "failed", "not attached");
	show_why(answer, "attached", "note");
	if (json_count(answer, "attached")) {
		putchar('\n');
		status = attach_show(call, answer);
	} else {
		puts("attached: nothing");
	}
	return status == STATUS_DONE ? show_chains(call, answer) : status;
}
