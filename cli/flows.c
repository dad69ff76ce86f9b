/* SPDX-License-Identifier: Apache-2.0 */
/* `penstock flows`: who talks to whom, both directions in a row, newest first; then what was dropped last. */
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>

#include "client.h"
#include "output.h"
#include "table.h"
#include "term.h"
#include "verbs.h"

/* Rows of page after page: printed at once, or collected up to the limit. */
struct reading {
	const struct invocation *call;
	struct json_object *rows;
	size_t most, taken;
	uint64_t total;
	bool stream;
};

static enum status ask_page(const struct reading *r, uint64_t from, bool dropped,
			    struct json_object **ret)
{
	_cleanup_json_ struct json_object *body = json_object_new_object();
	struct request rq = { .path = "/v1/flows", .body = body };

	json_set(body, "from", json_object_new_uint64(from));
	json_set(body, "limit", json_object_new_uint64(r->most));
	json_set(body, "dropped", json_object_new_boolean(dropped));
	return client_ask(r->call, &rq, ret);
}

static enum status take_rows(struct reading *r, struct json_object *page)
{
	for (size_t i = 0; i < json_count(page, "flows") && r->taken < r->most; i++) {
		struct json_object *row = json_at(page, "flows", i);

		r->taken++;
		if (r->stream) {
			output_line(row);
		} else if (json_object_array_add(r->rows, json_object_get(row))) {
			term_error("out of memory");
			return STATUS_FAILED;
		}
	}
	return STATUS_DONE;
}

/* A row that a packet brings to the front between two pages may come twice, and another not at all. */
static enum status read_all(struct reading *r, bool dropped)
{
	enum status status = STATUS_DONE;
	uint64_t from = 0, total = 0;

	do {
		_cleanup_json_ struct json_object *page = NULL;

		status = ask_page(r, from, dropped, &page);
		if (status == STATUS_DONE)
			status = take_rows(r, page);
		total = json_number(page, "rows_total");
		from = json_number(page, "next");
	} while (status == STATUS_DONE && from && r->taken < r->most && !ferror(stdout));
	r->total += total;
	return status;
}

static void show_end(struct table *table, size_t column, struct json_object *row,
		     const char *address, const char *port)
{
	const char *addr = json_text(row, address);
	char text[128];

	if (!json_member(row, port))
		(void)snprintf(text, sizeof(text), "%s", addr); /* always fits, as below */
	else
		(void)snprintf(text, sizeof(text),
			       strchr(addr, ':') ? "[%s]:%" PRIu64 : "%s:%" PRIu64, addr,
			       json_number(row, port));
	table_text(table, column, text);
}

static void fill(struct table *table, struct json_object *row)
{
	const char *rule = json_text(row, "rule");
	char text[TERM_NUMBER];

	table_text(table, 0, json_text(row, "proto"));
	show_end(table, 1, row, "src", "sport");
	show_end(table, 2, row, "dst", "dport");
	table_text(table, 3, json_text(row, "verdict"));
	table_text(table, 4, *rule ? rule : json_text(row, "reason"));
	table_number(table, 5, json_number(row, "packets"));
	table_number(table, 6, json_number(row, "bytes"));
	table_number(table, 7, json_number(row, "reply_packets"));
	table_number(table, 8, json_number(row, "reply_bytes"));
	table_text(table, 9, term_duration(json_number(row, "idle_ms"), text));
}

static enum status show_table(const struct reading *r)
{
	static const struct table_column columns[] = {
		{ "PROTO", false },
		{ "FROM", false },
		{ "TO", false },
		{ "VERDICT", false },
		{ "BY", false },
		{ "PACKETS", true },
		{ "BYTES", true },
		{ "REPLIES", true },
		{ "BYTES", true },
		{ "IDLE", true },
		{},
	};
	_cleanup_table_ struct table *table = table_new(r->call, columns);
	enum status status;

	if (!table) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	for (size_t i = 0; i < r->taken; i++) {
		table_row(table);
		fill(table, json_object_array_get_idx(r->rows, i));
	}
	status = table_print(table, true);
	output_rest(r->call, r->total);
	return status;
}

static enum status show(const struct reading *r)
{
	_cleanup_json_ struct json_object *document = NULL;

	if (r->stream)
		return STATUS_DONE;
	if (!output_json(r->call))
		return show_table(r);
	document = json_document();
	if (!document) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	json_set(document, "flows", json_object_get(r->rows));
	if (r->taken == r->most && r->taken < r->total)
		json_set(document, "rows_total", json_object_new_uint64(r->total));
	output_document(document);
	return STATUS_DONE;
}

enum status verb_flows(const struct invocation *call)
{
	_cleanup_json_ struct json_object *rows = json_object_new_array();
	struct reading r = {
		.call = call,
		.rows = rows,
		.most = output_limit(call, SIZE_MAX),
		.stream = output_json(call) && call->value[OPTION_ALL],
	};
	enum status status;

	if (!rows) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	status = read_all(&r, false);
	if (status == STATUS_DONE)
		status = read_all(&r, true);
	return status == STATUS_DONE ? show(&r) : status;
}
