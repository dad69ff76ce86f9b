/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answers of bench/drop, for bench/run to print:
 *   {machine: {cpu, kernel}, references: [{lines, ns}],
 *    policies: [{name, bytes, compile_ms} or {name, refused}],
 *    rows: [{name, ns, min_ns, samples, frames, lost, setup_ms} or {name, absent}]}
 * ns are medians over the rounds. A row whose samples all were lost has none of them.
 */
#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

#include <json-c/json.h>

#include "drop_rows.h"

/* json-c copies keys and strings; a NULL value from a failed allocation is written as null. */
static void put(struct json_object *object, const char *key, struct json_object *value)
{
	(void)json_object_object_add(object, key, value);
}

static struct json_object *machine(void)
{
	struct json_object *object = json_object_new_object();
	_cleanup_fclose_ FILE *f = fopen("/proc/cpuinfo", "r");
	char line[256], model[256] = "unknown";
	struct utsname host;

	(void)uname(&host); /* fails for a bad pointer alone */
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "model name : %255[^\n]", model) == 1)
			break;
	put(object, "cpu", json_object_new_string(model));
	put(object, "kernel", json_object_new_string(host.release));
	return object;
}

static struct json_object *references(const struct stage *s)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < REFERENCES; i++) {
		struct json_object *object = json_object_new_object();

		put(object, "lines", json_object_new_int64(stage_reference_lines[i]));
		put(object, "ns", json_object_new_double(samples_median(&s->references[i])));
		(void)json_object_array_add(list, object);
	}
	return list;
}

static struct json_object *policies(const struct stage *s)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < s->spec.policy_count; i++) {
		struct json_object *object = json_object_new_object();
		const struct filter_policy *p = &s->policies[i];

		put(object, "name", json_object_new_string(s->spec.policies[i].name));
		if (p->why) {
			put(object, "refused", json_object_new_string(p->why));
		} else {
			put(object, "bytes",
			    json_object_new_int64((int64_t)p->lines * DP_LINE_BYTES));
			put(object, "compile_ms", json_object_new_double(p->compile_ms));
		}
		(void)json_object_array_add(list, object);
	}
	return list;
}

static struct json_object *write_row(const struct row *row)
{
	struct json_object *object = json_object_new_object();

	put(object, "name", json_object_new_string(row->name));
	if (row->setup_ms >= 0)
		put(object, "setup_ms", json_object_new_double(row->setup_ms));
	if (row->absent) {
		put(object, "absent", json_object_new_string(row->absent));
		return object;
	}
	put(object, "samples", json_object_new_int64((int64_t)row->samples.count));
	put(object, "lost", json_object_new_int64((int64_t)row->lost));
	if (!row->samples.count)
		return object;
	put(object, "ns", json_object_new_double(samples_median(&row->samples)));
	put(object, "min_ns", json_object_new_double(samples_min(&row->samples)));
	put(object, "frames", json_object_new_int64((int64_t)row->frames));
	return object;
}

int stage_write(const struct stage *s, const char *path)
{
	struct json_object *answer = json_object_new_object(), *rows = json_object_new_array();
	int r;

	for (size_t i = 0; i < s->spec.row_count; i++)
		(void)json_object_array_add(rows, write_row(&s->spec.rows[i]));
	put(answer, "machine", machine());
	put(answer, "references", references(s));
	put(answer, "policies", policies(s));
	put(answer, "rows", rows);
	r = json_object_to_file_ext(path, answer, JSON_C_TO_STRING_PRETTY);
	if (r)
		fprintf(stderr, "drop: %s\n", json_util_get_last_err());
	json_object_put(answer);
	return r ? -EIO : 0;
}
