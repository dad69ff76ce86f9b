/* SPDX-License-Identifier: Apache-2.0 */
/* sets: addresses written in the policy or in files beside it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "setfile.h"

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
			   "set '%s' may have %" PRIu64 " prefixes ('max') and has %zu", set->name,
			   set->max, node->count);
}

static void check_file(struct check *c, struct model_set *set, const struct tree_node *node)
{
	const char *text = NULL, *name;
	size_t len = 0;
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
	if (setfile_read(c->diags, diag_add_source(c->diags, name, text, len), set->max,
			 &set->prefixes))
		c->out_of_memory = true;
}

static void check_set(struct check *c, struct tree_node *node)
{
	const char *quoted = quote_node(c, node->key);
	struct tree_node *slots[SET_KEY_COUNT];
	struct model_set set = { .span = node->key->span };
	uint64_t ttl;
	bool good;

	(void)check_name(c, "set", node->key); /* reported; the set stays, so that rules find it */
	set.name = arena_strndup(&c->model->arena, node->key->text, node->key->len);
	if (!set.name) {
		c->out_of_memory = true;
		return;
	}
	good = schema_bind(c->diags, &schema_set, print(c, "set '%s'", quoted), node, slots);
	if (slots[SET_MAX])
		(void)check_number(c, &schema_set.keys[SET_MAX], slots[SET_MAX],
				   &set.max); /* 0 is no limit */
	if (slots[SET_TTL])
		(void)check_duration(c, &schema_set.keys[SET_TTL], slots[SET_TTL],
				     &ttl); /* for its message */
	if (slots[SET_REFRESH])
		(void)check_word(c, &schema_set.keys[SET_REFRESH],
				 slots[SET_REFRESH]); /* likewise */
	if (slots[SET_ITEMS])
		check_items(c, &set, slots[SET_ITEMS]);
	if (slots[SET_FILE])
		check_file(c, &set, slots[SET_FILE]);
	if (good && !slots[SET_ITEMS] && !slots[SET_FILE] && !slots[SET_TTL] && slots[SET_MAX])
		diag_error(
			c->diags, node->key->span, "not-carried-out",
			"set '%s' has no 'items' and no 'file'; a set that is filled at run time is not carried out yet by this version",
			quoted);
	else if (good && !slots[SET_ITEMS] && !slots[SET_FILE] && !slots[SET_TTL])
		diag_error(c->diags, node->key->span, "missing-key",
			   "set '%s' has no 'items' and no 'file'", quoted);
	if (prefix_set_seal(&set.prefixes))
		c->out_of_memory = true;
	check_push(&c->model->sets, set);
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
