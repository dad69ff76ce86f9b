/* SPDX-License-Identifier: Apache-2.0 */
#include "spec.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include <json-c/json.h>

static const char *const targets[] = {
#define TARGET_TEXT(name, text) [TARGET_##name] = text,
	TARGETS(TARGET_TEXT)
};

const char *target_name(enum target target)
{
	return targets[target];
}

static int _printf_(1, 2) bad(const char *format, ...)
{
	va_list args;

	fputs("drop: spec: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return -EINVAL;
}

/* A misspelt key would silently measure something else. */
static int check_keys(struct json_object *object, const char *const keys[])
{
	json_object_object_foreach(object, key, value)
	{
		size_t i = 0;

		(void)value;
		while (keys[i] && strcmp(keys[i], key) != 0)
			i++;
		if (!keys[i])
			return bad("unknown key '%s'", key);
	}
	return 0;
}

static const char *text_of(struct json_object *object, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(object, key, &value) ? json_object_get_string(value)
							      : NULL;
}

static int64_t number_of(struct json_object *object, const char *key, int64_t otherwise)
{
	struct json_object *value;

	return json_object_object_get_ex(object, key, &value) ? json_object_get_int64(value)
							      : otherwise;
}

static bool flag_of(struct json_object *object, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(object, key, &value) && json_object_get_boolean(value);
}

/* The elements of an array; an absent one has none. */
static int array_of(struct json_object *object, const char *key, struct json_object **ret,
		    size_t *ret_count)
{
	*ret_count = 0;
	if (!json_object_object_get_ex(object, key, ret))
		return 0;
	if (!json_object_is_type(*ret, json_type_array))
		return bad("'%s' is not a list", key);
	*ret_count = json_object_array_length(*ret);
	return 0;
}

static int read_files(struct json_object *json, const char *key, struct named_file **ret,
		      size_t *ret_count)
{
	static const char *const keys[] = { "name", "file", "draw", NULL };
	struct json_object *list;
	size_t count;
	int r = array_of(json, key, &list, &count);

	if (r)
		return r;
	*ret = calloc(count ?: 1, sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct json_object *object = json_object_array_get_idx(list, i);

		r = check_keys(object, keys);
		if (r)
			return r;
		(*ret)[i] = (struct named_file){ text_of(object, "name"), text_of(object, "file"),
						 (uint32_t)number_of(object, "draw", 0) };
		if (!(*ret)[i].name || !(*ret)[i].path)
			return bad("'%s': element %zu lacks name or file", key, i);
	}
	*ret_count = count;
	return 0;
}

static int find(struct json_object *object, const char *key, const struct named_file *files,
		size_t count, int *ret)
{
	const char *name = text_of(object, key);

	*ret = SPEC_NONE;
	if (!name)
		return 0;
	for (size_t i = 0; i < count; i++)
		if (!strcmp(files[i].name, name)) {
			*ret = (int)i;
			return 0;
		}
	return bad("no %s '%s'", key, name);
}

static int find_target(struct json_object *object, enum target *ret)
{
	const char *name = text_of(object, "target");

	for (unsigned int i = 0; i < TARGET_COUNT; i++)
		if (name && !strcmp(targets[i], name)) {
			*ret = i;
			return 0;
		}
	return bad("no target '%s'", name ?: "");
}

/* A list of commands, each a list of words. */
static int read_commands(struct json_object *object, const char *key, struct json_object **ret)
{
	size_t count;
	int r = array_of(object, key, ret, &count);

	for (size_t i = 0; !r && i < count; i++)
		if (!json_object_is_type(json_object_array_get_idx(*ret, i), json_type_array))
			r = bad("'%s': command %zu is not a list of words", key, i);
	return r;
}

static int check_row(const struct row *row)
{
	bool penstock = row->target == TARGET_PENSTOCK || row->target == TARGET_PENSTOCK_TC;
	bool lists =
		row->target == TARGET_XDP_FILTER_DENY || row->target == TARGET_XDP_FILTER_ALLOW;

	if (!row->name)
		return bad("a row without a name");
	if (penstock != (row->policy != SPEC_NONE))
		return bad("'%s': a policy is for penstock, which needs one", row->name);
	if (lists != (row->members != SPEC_NONE))
		return bad("'%s': members are for xdp-filter's lists, which need them", row->name);
	if (!penstock && (row->flows != SPEC_NONE || row->banned != SPEC_NONE))
		return bad("'%s': flows and banned are for penstock", row->name);
	if (row->hot && row->headers == SPEC_NONE)
		return bad("'%s': a hot row needs a list of headers", row->name);
	return 0;
}

static int read_row(const struct spec *spec, struct json_object *object, struct row *row)
{
	static const char *const keys[] = { "name",      "target",  "headers", "policy", "members",
					    "flows",     "banned",  "setup",   "on",     "off",
					    "last_rule", "by_rule", "passes",  "hot",    NULL };
	int r = check_keys(object, keys);

	row->name = text_of(object, "name");
	row->by_rule = flag_of(object, "by_rule");
	row->hot = flag_of(object, "hot");
	row->passes = flag_of(object, "passes");
	row->last_rule = (uint32_t)number_of(object, "last_rule", 0);
	row->setup_ms = -1;
	return r ?: find_target(object, &row->target)
			 ?: find(object, "headers", spec->headers, spec->header_count,
				 &row->headers)
			 ?: find(object, "members", spec->headers, spec->header_count,
				 &row->members)
			 ?: find(object, "flows", spec->headers, spec->header_count, &row->flows)
			 ?: find(object, "banned", spec->headers, spec->header_count, &row->banned)
			 ?: find(object, "policy", spec->policies, spec->policy_count,
				 &row->policy)
			 ?: read_commands(object, "setup", &row->setup)
			 ?: read_commands(object, "on", &row->on)
			 ?: read_commands(object, "off", &row->off)
			 ?: check_row(row);
}

static int read_rows(struct spec *spec)
{
	struct json_object *list;
	int r = array_of(spec->json, "rows", &list, &spec->row_count);

	if (r || !spec->row_count)
		return r ?: bad("no rows");
	spec->rows = calloc(spec->row_count, sizeof(*spec->rows));
	if (!spec->rows)
		return -ENOMEM;
	for (size_t i = 0; i < spec->row_count && !r; i++)
		r = read_row(spec, json_object_array_get_idx(list, i), &spec->rows[i]);
	return r;
}

int spec_read(struct spec *ret, const char *path)
{
	static const char *const keys[] = { "rounds",  "frames",   "sample_ms", "cpu",
					    "headers", "policies", "rows",      NULL };
	int r;

	ret->json = json_object_from_file(path);
	if (!ret->json)
		return bad("%s", json_util_get_last_err());
	ret->rounds = (unsigned long)number_of(ret->json, "rounds", 5);
	ret->frames = (uint64_t)number_of(ret->json, "frames", 1000000);
	ret->sample_ms = (double)number_of(ret->json, "sample_ms", 200);
	ret->cpu = (int)number_of(ret->json, "cpu", 0);
	if (!ret->rounds || ret->rounds > SAMPLES_MAX)
		return bad("rounds: 1 to %d", SAMPLES_MAX);
	r = check_keys(ret->json, keys);
	return r ?: read_files(ret->json, "headers", &ret->headers, &ret->header_count)
			 ?: read_files(ret->json, "policies", &ret->policies, &ret->policy_count)
			 ?: read_rows(ret);
}

void spec_done(struct spec *spec)
{
	for (size_t i = 0; spec->rows && i < spec->row_count; i++)
		free(spec->rows[i].absent);
	free(spec->rows);
	free(spec->headers);
	free(spec->policies);
	json_object_put(spec->json);
	*spec = (struct spec){};
}
