/* SPDX-License-Identifier: Apache-2.0 */
/* `penstock drops`: what was dropped and why, the most packets first. */
#include <json-c/json.h>
#include <string.h>

#include "list.h"
#include "output.h"
#include "verbs.h"

static bool keep(const struct invocation *call, struct json_object *row)
{
	return list_wanted(call, OPTION_REASON, row, "reason") &&
	       list_wanted(call, OPTION_CHAIN, row, "chain");
}

/* Among equals by name, so that two calls print the same order. */
static int by_packets(const void *a, const void *b)
{
	static const char *const names[] = { "reason", "chain", "rule" };
	struct json_object *x = *(struct json_object *const *)a;
	struct json_object *y = *(struct json_object *const *)b;
	uint64_t x_packets = json_number(x, "packets"), y_packets = json_number(y, "packets");

	if (x_packets != y_packets)
		return x_packets < y_packets ? 1 : -1;
	for (size_t i = 0; i < 3; i++) {
		int r = strcmp(json_text(x, names[i]), json_text(y, names[i]));

		if (r)
			return r;
	}
	return 0;
}

static void fill(struct table *table, struct json_object *row)
{
	table_text(table, 0, json_text(row, "reason"));
	table_text(table, 1, json_text(row, "chain"));
	table_text(table, 2, json_text(row, "rule"));
	table_number(table, 3, json_number(row, "packets"));
	table_number(table, 4, json_number(row, "bytes"));
}

enum status verb_drops(const struct invocation *call)
{
	static const struct table_column columns[] = {
		{ "REASON", false }, { "CHAIN", false }, { "RULE", false },
		{ "PACKETS", true }, { "BYTES", true },  {},
	};
	static const struct list drops = {
		.path = "/v1/drops",
		.key = "drops",
		.columns = columns,
		.keep = keep,
		.compare = by_packets,
		.fill = fill,
	};

	return list_run(call, &drops);
}
