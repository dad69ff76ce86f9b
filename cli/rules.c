/* SPDX-License-Identifier: Apache-2.0 */
/* `penstock rules`: every rule with its counters, in order of precedence. */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "list.h"
#include "output.h"
#include "verbs.h"

#define AGE 32

static bool keep(const struct invocation *call, struct json_object *row)
{
	return list_wanted(call, OPTION_CHAIN, row, "chain") &&
	       list_wanted(call, OPTION_RULE, row, "id");
}

/* "3s ago", in the largest unit that fits; "" for never. */
static const char *age(struct json_object *row, char buf[static AGE])
{
	static const struct {
		uint64_t seconds;
		char unit;
	} units[] = { { 24 * 60 * 60, 'd' }, { 60 * 60, 'h' }, { 60, 'm' }, { 1, 's' } };
	uint64_t seconds = json_number(row, "last_hit_age_ms") / 1000;
	size_t i = 0;

	if (!json_member(row, "last_hit_age_ms"))
		return "";
	while (units[i].seconds > seconds && units[i].seconds > 1)
		i++;
	(void)snprintf(buf, AGE, "%" PRIu64 "%c ago", seconds / units[i].seconds,
		       units[i].unit); /* always fits */
	return buf;
}

static void fill(struct table *table, struct json_object *row)
{
	static const char *const keys[] = { "chain", "id", "do", "mode" };
	const char *verdict = json_text(row, "do");
	char buf[AGE];

	for (size_t k = 0; k < 4; k++)
		table_text(table, k, json_text(row, keys[k]));
	table_number(table, 4, json_number(row, "packets"));
	table_number(table, 5, json_number(row, "bytes"));
	table_text(table, 6, age(row, buf));
	table_text(table, 7, json_text(row, "source"));
	if (*verdict)
		table_color(table, 2, strcmp(verdict, "drop") ? TABLE_GREEN : TABLE_RED);
	if (!strcmp(json_text(row, "mode"), "audit"))
		table_color(table, 3, TABLE_DIM);
}

enum status verb_rules(const struct invocation *call)
{
	static const struct table_column columns[] = {
		{ "CHAIN", false },   { "RULE", false },   { "DO", false },
		{ "MODE", false },    { "PACKETS", true }, { "BYTES", true },
		{ "LAST HIT", true }, { "SOURCE", false }, {},
	};
	static const struct list rules = {
		.path = "/v1/rules",
		.key = "rules",
		.columns = columns,
		.keep = keep,
		.fill = fill,
	};

	return list_run(call, &rules);
}
