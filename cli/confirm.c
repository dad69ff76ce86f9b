/* SPDX-License-Identifier: Apache-2.0 */
/* `penstock confirm` and `penstock rollback`: a policy stays, or the one before it comes back. */
#include <inttypes.h>
#include <json-c/json.h>

#include "client.h"
#include "output.h"
#include "table.h"
#include "term.h"
#include "verbs.h"

static enum status change(const struct invocation *call, const char *path, const char *what)
{
	_cleanup_json_ struct json_object *body = json_object_new_object(), *answer = NULL;
	struct request rq = {
		.path = path, .body = body, .changes = true, .timeout_ms = CHANGE_TIMEOUT_MS
	};
	struct json_object *policy;
	char number[TERM_NUMBER];
	enum status status;

	if (!body) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	status = client_ask(call, &rq, &answer);
	if (status != STATUS_DONE)
		return status;
	if (output_json(call)) {
		output_document(answer);
		return STATUS_DONE;
	}
	policy = json_member(answer, "policy");
	if (!policy) {
		printf("%s: no policy runs\n", what);
		return STATUS_DONE;
	}
	printf("%s: policy ", what);
	term_write(stdout, json_text(policy, "digest"), TERM_LINE);
	printf(", generation %s, ", term_number(json_number(policy, "generation"), number));
	term_write(stdout, json_text(policy, "file"), TERM_LINE);
	putchar('\n');
	return STATUS_DONE;
}

enum status verb_confirm(const struct invocation *call)
{
	return change(call, "/v1/confirm", "confirmed");
}

/* ---- what there is to go back to --------------------------------------------------------------------- */

static const char *note_of(struct json_object *row, struct json_object *history)
{
	if (json_object_get_boolean(json_member(row, "undone")))
		return "undone";
	if (!json_member(history, "running") ||
	    json_number(row, "generation") != json_number(history, "running"))
		return "";
	return json_member(history, "confirm") ? "running, to be confirmed" : "running";
}

static enum status show_history(const struct invocation *call)
{
	static const struct table_column columns[] = { { "GENERATION", true },
						       { "APPLIED AT", false },
						       { "UID", true },
						       { "FILE", false },
						       { "DIGEST", false },
						       { "", false },
						       {} };
	_cleanup_json_ struct json_object *answer = NULL;
	_cleanup_table_ struct table *table = NULL;
	enum status status = client_get(call, "/v1/history", &answer);

	if (status != STATUS_DONE)
		return status;
	if (output_json(call)) {
		output_document(answer);
		return STATUS_DONE;
	}
	table = table_new(call, columns);
	if (!table) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	for (size_t i = 0; i < json_count(answer, "history"); i++) {
		struct json_object *row = json_at(answer, "history", i);
		char uid[TERM_NUMBER];

		(void)snprintf(uid, sizeof(uid), "%" PRIu64,
			       json_number(row, "uid")); /* always fits */
		table_row(table);
		table_number(table, 0, json_number(row, "generation"));
		table_text(table, 1, json_text(row, "applied_at"));
		table_text(table, 2, uid);
		table_text(table, 3, json_text(row, "file"));
		table_text(table, 4, json_text(row, "digest"));
		table_text(table, 5, note_of(row, answer));
	}
	return table_print(table, true);
}

enum status verb_rollback(const struct invocation *call)
{
	if (call->value[OPTION_LIST])
		return show_history(call);
	return change(call, "/v1/rollback", "rolled back");
}
