/* SPDX-License-Identifier: Apache-2.0 */
/* `penstock sets` and `set list`: the address sets of the running policy. */
#include <json-c/json.h>
#include <string.h>

#include "list.h"
#include "output.h"
#include "verbs.h"

static const struct table_column columns[] = {
	{ "SET", false },        { "MEMBERS", true },
	{ "GIVEN", true },       { "DUPLICATES", true },
	{ "COVERED", true },     { "IPV4 RANGES", true },
	{ "IPV6 RANGES", true }, { "MAX", true },
	{ "FILE", false },       {},
};

static void fill(struct table *table, struct json_object *row)
{
	static const char *const counts[] = { "members", "given",       "duplicates",
					      "covered", "ipv4_ranges", "ipv6_ranges" };

	table_text(table, 0, json_text(row, "name"));
	for (size_t k = 0; k < 6; k++)
		table_number(table, 1 + k, json_number(row, counts[k]));
	if (json_number(row, "max"))
		table_number(table, 7, json_number(row, "max"));
	else
		table_text(table, 7, NULL);
	table_text(table, 8, json_text(row, "file"));
}

static bool is_named(const struct invocation *call, struct json_object *row)
{
	return !strcmp(call->args[0], json_text(row, "name"));
}

enum status verb_sets(const struct invocation *call)
{
	static const struct list sets = {
		.path = "/v1/sets",
		.key = "sets",
		.columns = columns,
		.fill = fill,
	};

	return list_run(call, &sets);
}

enum status verb_set_list(const struct invocation *call)
{
	static const struct list set = {
		.path = "/v1/sets",
		.key = "sets",
		.columns = columns,
		.noun = "set",
		.keep = is_named,
		.fill = fill,
	};

	return list_run(call, &set);
}
