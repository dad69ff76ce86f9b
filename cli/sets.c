/* SPDX-License-Identifier: Apache-2.0 */
/* `penstock sets` and `set list`: the address sets of the running policy, and the members of one. */
#include <json-c/json.h>
#include <string.h>

#include "client.h"
#include "list.h"
#include "output.h"
#include "term.h"
#include "verbs.h"

/* ---- all sets --------------------------------------------------------------------------------- */

static void fill(struct table *table, struct json_object *row)
{
	char ttl[TERM_NUMBER];

	table_text(table, 0, json_text(row, "name"));
	table_number(table, 1, json_number(row, "members"));
	for (size_t column = 2; column < 5; column++)
		table_text(table, column, NULL);
	if (json_object_get_boolean(json_member(row, "runtime")))
		table_number(table, 2, json_number(row, "runtime_members"));
	if (json_number(row, "max"))
		table_number(table, 3, json_number(row, "max"));
	if (json_number(row, "ttl_ms"))
		table_text(table, 4, term_duration(json_number(row, "ttl_ms"), ttl));
	table_number(table, 5, json_number(row, "duplicates"));
	table_number(table, 6, json_number(row, "covered"));
	table_text(table, 7, json_text(row, "file"));
}

void sets_show_feed(struct json_object *feed, const char *file)
{
	const char *why = json_text(feed, "why"), *at = json_text(feed, "refreshed_at");
	bool held = json_object_get_boolean(json_member(feed, "held"));

	if (!held && !*at)
		return;
	fputs("feed ", stdout);
	term_write(stdout, file, TERM_LINE);
	if (*at)
		printf(": read again %s", at);
	if (held) {
		printf("%s refused %s: ", *at ? ";" : ":", json_text(feed, "refused_at"));
		term_write(stdout, why, TERM_LINE);
	}
	putchar('\n');
}

static void show_rest(struct json_object *answer)
{
	struct json_object *table = json_member(answer, "table");
	char a[TERM_NUMBER], b[TERM_NUMBER], bytes[TERM_NUMBER];
	bool runtime = false;

	for (size_t i = 0; i < json_count(answer, "sets"); i++) {
		struct json_object *row = json_at(answer, "sets", i);

		runtime |= json_object_get_boolean(json_member(row, "runtime"));
		sets_show_feed(json_member(row, "feed"), json_text(row, "file"));
	}
	if (runtime)
		printf("run-time members: %s of %s, %s\n",
		       term_number(json_number(table, "members"), a),
		       term_number(json_number(table, "limit"), b),
		       term_bytes(json_number(table, "memory_bytes"), bytes));
}

enum status verb_sets(const struct invocation *call)
{
	static const struct table_column columns[] = {
		{ "SET", false },    { "MEMBERS", true }, { "RUN-TIME", true },
		{ "MAX", true },     { "TTL", true },     { "DUPLICATES", true },
		{ "COVERED", true }, { "FILE", false },   {},
	};
	static const struct list sets = {
		.path = "/v1/sets",
		.key = "sets",
		.columns = columns,
		.fill = fill,
		.after = show_rest,
	};

	return list_run(call, &sets);
}

/* ---- the members of one ------------------------------------------------------------------------ */

/* Rows of one page after the other: printed at once, or collected up to the limit. */
struct members {
	const struct invocation *call;
	struct json_object *answer; /* the last page; in the end all rows that are to be shown */
	struct json_object *rows;
	size_t most, taken;
	bool stream;
};

static enum status ask_page(struct members *m, const char *after)
{
	_cleanup_json_ struct json_object *body = json_object_new_object();
	struct request rq = { .path = "/v1/set/list", .body = body };

	json_set(body, "set", json_object_new_string(m->call->args[0]));
	json_set(body, "limit", json_object_new_uint64(m->most - m->taken));
	if (*after)
		json_set(body, "after", json_object_new_string(after));
	json_putp(&m->answer);
	return client_ask(m->call, &rq, &m->answer);
}

static enum status take_rows(struct members *m)
{
	for (size_t i = 0; i < json_count(m->answer, "members") && m->taken < m->most; i++) {
		struct json_object *row = json_at(m->answer, "members", i);

		m->taken++;
		if (m->stream) {
			output_line(row);
		} else if (json_object_array_add(m->rows, json_object_get(row))) {
			term_error("out of memory");
			return STATUS_FAILED;
		}
	}
	return STATUS_DONE;
}

static enum status read_pages(struct members *m)
{
	_cleanup_free_ char *after = strdup("");
	enum status status = after ? STATUS_DONE : STATUS_FAILED;

	while (status == STATUS_DONE) {
		status = ask_page(m, after);
		if (status == STATUS_DONE)
			status = take_rows(m);
		free(after);
		after = strdup(json_text(m->answer, "next"));
		if (!after || !*after || m->taken >= m->most || ferror(stdout))
			break;
	}
	return status;
}

static enum status show_table(struct members *m, size_t total)
{
	static const struct table_column columns[] = {
		{ "ADDRESS", false },
		{ "EXPIRES IN", true },
		{ "FROM", false },
		{},
	};
	_cleanup_table_ struct table *table = table_new(m->call, columns);
	char text[TERM_NUMBER];
	enum status status;

	if (!table) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	for (size_t i = 0; i < m->taken; i++) {
		struct json_object *row = json_object_array_get_idx(m->rows, i);
		struct json_object *ms = json_member(row, "expires_in_ms");
		bool is_static = json_object_get_boolean(json_member(row, "static"));

		table_row(table);
		table_text(table, 0, json_text(row, "prefix"));
		table_text(table, 1, ms ? term_duration(json_object_get_uint64(ms), text) : NULL);
		table_text(table, 2, is_static ? "policy" : "run time");
	}
	status = table_print(table, true);
	output_rest(m->call, total);
	return status;
}

static enum status show(struct members *m)
{
	size_t total = json_number(m->answer, "static_members") +
		       json_number(m->answer, "runtime_members");

	if (m->stream)
		return STATUS_DONE;
	if (!output_json(m->call))
		return show_table(m, total);
	if (m->taken == m->most && m->taken < total)
		json_set(m->answer, "rows_total", json_object_new_uint64(total));
	json_object_object_del(m->answer, "next");
	json_set(m->answer, "members", json_object_get(m->rows));
	output_document(m->answer);
	return STATUS_DONE;
}

enum status verb_set_list(const struct invocation *call)
{
	struct members m = {
		.call = call,
		.rows = json_object_new_array(),
		.most = output_limit(call, SIZE_MAX),
		.stream = output_json(call) && call->value[OPTION_ALL],
	};
	enum status status = m.rows ? read_pages(&m) : STATUS_FAILED;

	if (status == STATUS_DONE)
		status = show(&m);
	json_putp(&m.rows);
	json_putp(&m.answer);
	return status;
}
