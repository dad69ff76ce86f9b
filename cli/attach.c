/* SPDX-License-Identifier: Apache-2.0 */
/* `penstock attach`: a device becomes part of a zone until the next apply that names it. */
#include "attach.h"

#include <json-c/json.h>
#include <string.h>

#include "client.h"
#include "help.h"
#include "output.h"
#include "table.h"
#include "term.h"
#include "verbs.h"

#define ATTACH_TIMEOUT_MS (30 * 1000)

enum status attach_show(const struct invocation *call, struct json_object *answer)
{
	static const struct table_column columns[] = {
		{ "DEVICE", false },
		{ "ZONE", false },
		{ "DIRECTION", false },
		{ "HOOK", false },
		{ "MODE", false },
		{ "ROLE", false },
		{},
	};
	static const char *const keys[] = { "dev", "zone", "dir", "hook", "mode", "role" };
	_cleanup_table_ struct table *table = table_new(call, columns);

	if (!table) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	for (size_t i = 0; i < json_count(answer, "attached"); i++) {
		table_row(table);
		for (size_t k = 0; k < sizeof(keys) / sizeof(*keys); k++)
			table_text(table, k, json_text(json_at(answer, "attached", i), keys[k]));
	}
	return table_print(table, true);
}

static bool is_attached(struct json_object *answer, const char *dev)
{
	for (size_t i = 0; i < json_count(answer, "attached"); i++)
		if (!strcmp(json_text(json_at(answer, "attached", i), "dev"), dev))
			return true;
	return false;
}

enum status attach_ask(const struct invocation *call, const char *path, const char *zone)
{
	_cleanup_json_ struct json_object *body = json_object_new_object(), *answer = NULL;
	struct request rq = {
		.path = path, .body = body, .changes = true, .timeout_ms = ATTACH_TIMEOUT_MS
	};
	enum status status;

	if (!body) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	json_set(body, "dev", json_object_new_string(call->args[0]));
	if (zone)
		json_set(body, "zone", json_object_new_string(zone));
	status = client_ask(call, &rq, &answer);
	if (status != STATUS_DONE)
		return status;
	if (zone && !is_attached(answer, call->args[0]))
		term_error("note: zone %s has no chain, so nothing is enforced on %s", zone,
			   call->args[0]);
	if (!output_json(call))
		return attach_show(call, answer);
	output_document(answer);
	return STATUS_DONE;
}

enum status verb_attach(const struct invocation *call)
{
	const char *zone = call->value[OPTION_AS], *role = call->value[OPTION_ROLE];

	if (!zone == !role)
		return help_usage_error(call->command, "one of '--as ZONE' and '--role' is needed");
	if (role && strcmp(role, "decap") != 0)
		return help_usage_error(call->command, "there is no role '%s'", role);
	if (role) {
		term_error("'--role decap' is not carried out yet; nothing was attached");
		return STATUS_FAILED;
	}
	return attach_ask(call, "/v1/attach", zone);
}
