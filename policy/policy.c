/* SPDX-License-Identifier: Apache-2.0 */
/* The facade: text to tree to model to image. */
#include "policy.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "tree.h"

#define POLICY_VERSION 1

static void check_version(struct check *c, const struct tree_node *node)
{
	uint64_t version;

	if (!parse_decimal(node->text, node->len, &version) || !version)
		diag_error(c->diags, node->span, "bad-version", "'version' must be %d, not '%s'",
			   POLICY_VERSION, quote_node(c, node));
	else if (version > POLICY_VERSION)
		diag_error(
			c->diags, node->span, "newer-version",
			"policy is written for version '%s' of the language; this penstock reads version %d",
			quote_node(c, node), POLICY_VERSION);
}

/* Names first, then those who use them. */
static void check_sections(struct check *c, struct tree_node *root)
{
	struct tree_node *slots[TOP_KEY_COUNT];

	(void)schema_bind(c->diags, &schema_top, NULL, root,
			  slots); /* what is there is checked all the same */
	if (slots[TOP_VERSION])
		check_version(c, slots[TOP_VERSION]);
	check_attach(c, slots[TOP_ATTACH]);
	check_sets(c, slots[TOP_SETS]);
	check_safety(c, slots[TOP_SAFETY]);
	check_filter(c, slots[TOP_FILTER]);
	check_services(c, slots[TOP_SERVICES]);
	check_telemetry(c, slots[TOP_TELEMETRY]);
}

static int check_policy(struct policy *policy, const char *name, const char *text, size_t len,
			const struct policy_files *files)
{
	struct check c = { .diags = &policy->diags, .files = files };
	struct tree_doc doc;
	int err = tree_read(&policy->diags, name, text, len, &doc);

	if (!err) {
		c.model = policy->model = calloc(1, sizeof(*policy->model));
		err = policy->model ? 0 : -ENOMEM;
	}
	if (!err) {
		check_sections(&c, doc.root);
		tree_done(&doc); /* the model has all of it; its memory is needed behind */
		if (!policy->diags.errors && !c.out_of_memory) {
			check_unused(&c);
			check_starved(&c);
			err = check_shadowed(&policy->diags, policy->model);
		}
		if (c.out_of_memory)
			err = -ENOMEM;
	}
	check_done(&c);
	tree_done(&doc);
	return err;
}

static int compile(struct policy *policy)
{
	int err = image_compile(policy->model, &policy->diags, &policy->image);

	if (err)
		return err == -E2BIG ? -EINVAL : err;
	policy->manifest = manifest_new(policy->model, &policy->image, &policy->diags);
	if (!policy->manifest)
		return -ENOMEM;
	image_digest(&policy->image, policy->manifest);
	return 0;
}

int policy_load(struct policy *policy, const char *name, const char *text, size_t len,
		const struct policy_files *files)
{
	int err;

	*policy = (struct policy){};
	err = check_policy(policy, name, text, len, files);
	if (!err && policy->diags.out_of_memory)
		err = -ENOMEM;
	if (!err && policy->diags.errors)
		err = -EINVAL;
	if (!err)
		err = compile(policy);
	if (err) {
		model_free(&policy->model);
		image_done(&policy->image);
		json_object_put(policy->manifest);
		policy->manifest = NULL;
	}
	return err;
}

void policy_done(struct policy *policy)
{
	diag_done(&policy->diags);
	model_free(&policy->model);
	image_done(&policy->image);
	json_object_put(policy->manifest);
	policy->manifest = NULL;
}

int policy_paths(const char *text, size_t len, void *ctx, int (*found)(void *ctx, const char *path))
{
	struct diag_list diags = {};
	struct tree_doc doc;
	struct tree_node *sets;
	int err = tree_read(&diags, "", text, len, &doc);

	sets = err ? NULL : tree_entry(doc.root, "sets");
	if (err == -EINVAL)
		err = 0; /* what is no tree names no files; policy_load() says why */
	for (struct tree_node *set = sets && sets->kind == TREE_MAP ? sets->first : NULL;
	     set && !err; set = set->next) {
		struct tree_node *file = tree_entry(set, "file");

		if (file && file->kind == TREE_SCALAR && !file->bad && file->len)
			err = found(ctx, file->text);
	}
	tree_done(&doc);
	diag_done(&diags);
	return err;
}
