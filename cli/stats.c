/* SPDX-License-Identifier: Apache-2.0 */
/* See stats.h. */
#include "stats.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <sys/resource.h>

#include "footprint.h"
#include "output.h"
#include "policy.h"
#include "table.h"
#include "term.h"

/* Resident set of penstockd without a policy, most of it libraries and the programs it has loaded. */
#define DAEMON_BYTES (26u * 1000 * 1000)

/* The kernel's per-CPU maps have a value for every CPU that could ever be there. */
static unsigned int possible_cpus(void)
{
	_cleanup_fclose_ FILE *f = fopen("/sys/devices/system/cpu/possible", "re");
	unsigned int last = 0;

	/* "0-3"; a lone "0" leaves last as it is. */
	return f && fscanf(f, "%*u-%u", &last) == 1 ? last + 1 : 1;
}

static uint64_t peak_of_process(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage))
		return 0;
	return (uint64_t)usage.ru_maxrss * 1024;
}

static void set_number(struct json_object *json, const char *key, uint64_t number)
{
	json_set(json, key, json_object_new_uint64(number));
}

static struct json_object *maps_json(const struct footprint *f)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; array && i < FOOTPRINT_MAPS; i++) {
		struct json_object *map = json_object_new_object();

		if (!map || json_object_array_add(array, map)) {
			json_object_put(map);
			break;
		}
		json_set(map, "name", json_object_new_string(f->maps[i].name));
		set_number(map, "bytes", f->maps[i].bytes);
	}
	return array;
}

struct json_object *stats_forecast(const struct policy *policy)
{
	unsigned int cpus = possible_cpus();
	struct footprint f = footprint_of(policy->model, &policy->image, cpus, DP_FLOW_SLOTS);
	uint64_t image_bytes = (uint64_t)policy->image.count * DP_LINE_BYTES;
	uint64_t both_bytes = f.fixed_bytes + DP_BANKS * f.bank_bytes;
	struct json_object *json = json_object_new_object(), *sets;

	if (!json)
		return NULL;
	set_number(json, "image_bytes", image_bytes);
	set_number(json, "bank_bytes", f.bank_bytes);
	set_number(json, "cpus", cpus);
	json_set(json, "maps", maps_json(&f));
	set_number(json, "fixed_bytes", f.fixed_bytes);
	set_number(json, "memory_bytes", f.fixed_bytes + f.bank_bytes);
	set_number(json, "memory_both_bytes", both_bytes);
	sets = json_object_new_object();
	if (sets) {
		set_number(sets, "members", f.members);
		set_number(sets, "bytes", f.member_bytes);
	}
	json_set(json, "run_time_sets", sets);
	/* The compiled image is handed to the daemon beside the memory of the process that made it. */
	set_number(json, "apply_peak_bytes",
		   both_bytes + image_bytes + peak_of_process() + DAEMON_BYTES);
	return json;
}

/* ---- for people ---------------------------------------------------------------------------------- */

static enum status finish(struct table *table)
{
	putchar('\n');
	return table_print(table, true);
}

static enum status out_of_memory(void)
{
	term_error("out of memory");
	return STATUS_FAILED;
}

static void bytes_row(struct table *table, const char *what, uint64_t bytes)
{
	char text[TERM_NUMBER];

	table_row(table);
	table_text(table, 0, what);
	table_number(table, 1, bytes);
	table_text(table, 2, term_bytes(bytes, text));
}

/* Parts of the image, then the maps. */
static enum status show_memory(const struct invocation *call, struct json_object *stats,
			       struct json_object *forecast)
{
	static const struct table_column columns[] = {
		{ "TABLE", false }, { "BYTES", true }, { "", true }, {}
	};
	static const struct {
		const char *key, *what;
	} parts[] = { { "trie_bytes", "address tries" },
		      { "vector_bytes", "vectors of rules" },
		      { "tree_bytes", "cut trees" } };
	_cleanup_table_ struct table *table = table_new(call, columns);
	uint64_t rest = json_number(stats, "image_bytes");

	if (!table)
		return out_of_memory();
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		bytes_row(table, parts[i].what, json_number(stats, parts[i].key));
		rest -= json_number(stats, parts[i].key);
	}
	bytes_row(table, "rules, ports and the rest", rest);
	bytes_row(table, "image, all of these", json_number(stats, "image_bytes"));
	bytes_row(table, "map bank", json_number(forecast, "bank_bytes"));
	for (size_t i = 0; i < json_count(forecast, "maps"); i++) {
		struct json_object *map = json_at(forecast, "maps", i);
		char name[64];

		snprintf(name, sizeof(name), "map %s", json_text(map, "name"));
		bytes_row(table, name, json_number(map, "bytes"));
	}
	return finish(table);
}

static enum status show_chains(const struct invocation *call, struct json_object *stats)
{
	static const struct table_column columns[] = { { "CHAIN", false },
						       { "RULES", true },
						       { "IN VECTORS", true },
						       { "IN TREES", true },
						       {} };
	_cleanup_table_ struct table *table = table_new(call, columns);

	if (!table)
		return out_of_memory();
	for (size_t i = 0; i < json_count(stats, "chains"); i++) {
		struct json_object *chain = json_at(stats, "chains", i);
		uint64_t rules = json_number(chain, "rules"),
			 in_vectors = json_number(chain, "in_vectors");

		table_row(table);
		table_text(table, 0, json_text(chain, "name"));
		table_number(table, 1, rules);
		table_number(table, 2, in_vectors);
		table_number(table, 3, rules > in_vectors ? rules - in_vectors : 0);
	}
	return finish(table);
}

static void show_trees(struct json_object *stats)
{
	char boxes[TERM_NUMBER], leaf[TERM_NUMBER];

	if (!json_number(stats, "tree_boxes"))
		return;
	printf("\ncut trees: at most %" PRIu64
	       " steps to a leaf, %s rules in the largest, %s in all\n",
	       json_number(stats, "tree_depth"),
	       term_number(json_number(stats, "largest_leaf"), leaf),
	       term_number(json_number(stats, "tree_boxes"), boxes));
}

static enum status show_classes(const struct invocation *call, struct json_object *stats)
{
	static const struct table_column columns[] = { { "DIMENSION", false },
						       { "CLASSES", true },
						       {} };
	struct json_object *classes = json_member(stats, "classes");
	_cleanup_table_ struct table *table = table_new(call, columns);

	if (!table)
		return out_of_memory();
	if (!json_object_is_type(classes, json_type_object))
		return STATUS_DONE;
	json_object_object_foreach(classes, key, value)
	{
		table_row(table);
		table_text(table, 0, key);
		table_number(table, 1, json_object_get_uint64(value));
	}
	return finish(table);
}

static void show_sums(struct json_object *forecast)
{
	struct json_object *sets = json_member(forecast, "run_time_sets");
	char first[TERM_NUMBER], both[TERM_NUMBER], count[TERM_COUNT], bytes[TERM_NUMBER];

	printf("memory: %s in the kernel after a first apply, %s when both banks hold such a policy\n",
	       term_bytes(json_number(forecast, "memory_bytes"), first),
	       term_bytes(json_number(forecast, "memory_both_bytes"), both));
	if (json_number(sets, "members"))
		printf("run-time sets: %s may be added, which takes %s more\n",
		       term_count(json_number(sets, "members"), "member", count),
		       term_bytes(json_number(sets, "bytes"), bytes));
	printf("apply: about %s at most, of all processes and the kernel\n",
	       term_bytes(json_number(forecast, "apply_peak_bytes"), bytes));
}

enum status stats_show(const struct invocation *call, const struct policy *policy,
		       struct json_object *forecast)
{
	struct json_object *stats = json_member(policy->manifest, "stats");
	enum status status;

	show_sums(forecast);
	status = show_memory(call, stats, forecast);
	if (status == STATUS_DONE)
		status = show_chains(call, stats);
	if (status == STATUS_DONE)
		show_trees(stats);
	return status == STATUS_DONE ? show_classes(call, stats) : status;
}
