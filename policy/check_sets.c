/* SPDX-License-Identifier: Apache-2.0 */
/* sets: addresses written in the policy or in files beside it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "footprint.h"
#include "setfile.h"

#define NS_PER_MS 1000000ull

static void check_item(struct check *c, struct model_set *set, const struct tree_node *v)
{
	struct addr_error error = {};
	struct prefix prefix;

	if (!check_value(c, &schema_set.keys[SET_ITEMS], v))
		return;
	if (v->text[0] == '$') {
		diag_error(c->diags, v->span, "bad-address",
			   "a set cannot hold another set; name both where they are used");
		return;
	}
	if (!prefix_parse(v->text, v->len, &prefix, &error))
		diag_error(c->diags, tree_part(v, error.at, error.len), error.code, "%s",
			   error.message);
	else if (prefix_set_add(&set->prefixes, &prefix))
		c->out_of_memory = true;
}

static void check_items(struct check *c, struct model_set *set, const struct tree_node *node)
{
	for (const struct tree_node *v = node->first; v; v = v->next)
		check_item(c, set, v);
	if (set->max && node->count > set->max)
		diag_error(c->diags, node->span, "over-max",
			   "set '%s' may have %" PRIu64 " prefixes ('max') and has %" PRIu32,
			   set->name, set->max, node->count);
}

static void check_file(struct check *c, struct model_set *set, const struct tree_node *node)
{
	const char *text = NULL, *name;
	size_t len = 0, items;
	int err = -ENOENT;

	if (!node->len) {
		diag_error(c->diags, node->span, "bad-path", "'%s' is not a path",
			   quote_node(c, node));
		return;
	}
	set->file = arena_strndup(&c->model->arena, node->text, node->len);
	name = arena_strndup(&c->diags->arena, node->text, node->len);
	if (!set->file || !name) {
		c->out_of_memory = true;
		return;
	}
	if (c->files && c->files->open)
		err = c->files->open(c->files->ctx, set->file, &text, &len);
	if (err) {
		diag_error(c->diags, node->span, "cannot-read", "cannot read '%s': %s",
			   quote_node(c, node),
			   err == -EINVAL ? "not a regular file" : strerror(-err));
		set->unread = true;
		return;
	}
	items = set->prefixes.v4.count + set->prefixes.v6.count;
	if (setfile_read(c->diags, diag_add_source(c->diags, name, text, len), set->max,
			 &set->prefixes))
		c->out_of_memory = true;
	set->listed = set->prefixes.v4.count + set->prefixes.v6.count - items;
}

/* How large a set may become, what comes and goes in it, and when. */
static void check_limits(struct check *c, struct model_set *set, struct tree_node *const *slots)
{
	uint64_t ttl_ms;

	set->runtime = slots[SET_MAX] || slots[SET_TTL];
	if (set->runtime)
		set->max = SCHEMA_RUNTIME_MAX;
	if (slots[SET_MAX] &&
	    !check_number(c, &schema_set.keys[SET_MAX], slots[SET_MAX], &set->max))
		set->max = 0; /* so that no member is reported as one too many */
	if (slots[SET_TTL] && check_duration(c, &schema_set.keys[SET_TTL], slots[SET_TTL], &ttl_ms))
		set->ttl_ns = ttl_ms * NS_PER_MS;
	if (!slots[SET_REFRESH])
		return;
	set->refresh = !check_word(c, &schema_set.keys[SET_REFRESH], slots[SET_REFRESH]);
	if (!slots[SET_FILE])
		diag_error(c->diags, slots[SET_REFRESH]->key->span, "missing-key",
			   "set '%s' has no 'file' to read again", set->name);
}

static void check_set(struct check *c, struct tree_node *node)
{
	const char *quoted = quote_node(c, node->key);
	struct tree_node *slots[SET_KEY_COUNT];
	struct model_set set = { .span = node->key->span };
	bool good;

	(void)check_name(c, "set", node->key); /* reported; the set stays, so that rules find it */
	set.name = arena_strndup(&c->model->arena, node->key->text, node->key->len);
	if (!set.name) {
		c->out_of_memory = true;
		return;
	}
	good = schema_bind(c->diags, &schema_set, print(c, "set '%s'", quoted), node, slots);
	check_limits(c, &set, slots);
	if (slots[SET_ITEMS])
		check_items(c, &set, slots[SET_ITEMS]);
	if (slots[SET_FILE])
		check_file(c, &set, slots[SET_FILE]);
	if (good && !slots[SET_ITEMS] && !slots[SET_FILE] && !set.runtime)
		diag_error(
			c->diags, node->key->span, "missing-key",
			"set '%s' has no 'items' and no 'file'; 'max' or 'ttl' makes one that is filled at run time",
			quoted);
	if (prefix_set_seal(&set.prefixes))
		c->out_of_memory = true;
	check_push(&c->model->sets, set);
}

static void check_runtime_count(struct check *c)
{
	const struct model_set *first_over = NULL;
	size_t count = 0;

	for (size_t i = 0; i < c->model->sets.count; i++) {
		const struct model_set *set = &c->model->sets.at[i];

		if (set->runtime && count++ == DP_SETS)
			first_over = set;
	}
	if (first_over)
		diag_error(
			c->diags, first_over->span, "capacity",
			"the policy has %zu sets with 'max' or 'ttl', which can be changed at run time, %zu more than the limit of %d",
			count, count - DP_SETS, DP_SETS);
}

/* What may be added, by each `max`, against the one table that all such sets share. */
static void check_runtime_members(struct check *c)
{
	uint64_t members = 0;

	for (size_t i = 0; i < c->model->sets.count; i++) {
		const struct model_set *set = &c->model->sets.at[i];
		uint64_t given = prefix_set_members(&set->prefixes);
		bool over = members > FOOTPRINT_MEMBERS_MAX - 1;

		if (set->runtime && set->max > given)
			members += set->max - given;
		if (!over && members > FOOTPRINT_MEMBERS_MAX - 1)
			diag_warning(
				c->diags, set->span, "capacity",
				"with set '%s', %" PRIu64
				" members may be added at run time, the table for all sets holds %u: more will be refused",
				set->name, members, FOOTPRINT_MEMBERS_MAX - 1);
	}
}

static int compare_sets(const void *a, const void *b, void *ctx)
{
	const struct model_set *sets = ctx;

	return strcmp(sets[*(const uint32_t *)a].name, sets[*(const uint32_t *)b].name);
}

void check_sets(struct check *c, struct tree_node *node)
{
	size_t count = node ? node->count : 0;

	check_room(c, &c->model->sets, count);
	c->sets_by_name = check_alloc(c, count * sizeof(*c->sets_by_name));
	c->set_used = check_alloc(c, count * sizeof(*c->set_used));
	if (!node || c->out_of_memory)
		return;
	for (struct tree_node *child = node->first; child; child = child->next)
		check_set(c, child);
	check_runtime_count(c);
	check_runtime_members(c);
	for (uint32_t i = 0; i < c->model->sets.count; i++)
		c->sets_by_name[i] = i;
	qsort_r(c->sets_by_name, c->model->sets.count, sizeof(*c->sets_by_name), compare_sets,
		c->model->sets.at);
}

int64_t check_find_set(const struct check *c, const char *name)
{
	size_t low = 0, high = c->model->sets.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		uint32_t index = c->sets_by_name[middle];
		int d = strcmp(name, c->model->sets.at[index].name);

		if (!d)
			return index;
		if (d < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return -1;
}

void check_unused(struct check *c)
{
	for (size_t i = 0; i < c->model->sets.count; i++) {
		const struct model_set *set = &c->model->sets.at[i];

		if (!c->set_used[i])
			diag_warning(c->diags, set->span, "unused-set",
				     "set '%s' is not used by any rule", set->name);
	}
}
