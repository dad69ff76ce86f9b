/* SPDX-License-Identifier: Apache-2.0 */
/* policy_members() of policy.h: what a set is given, before it is sorted and merged. */
#include <errno.h>

#include "policy.h"
#include "setfile.h"
#include "tree.h"

static int add_items(const struct tree_node *items, struct prefix_set *ret)
{
	int r = 0;

	for (const struct tree_node *v = items->first; v && !r; v = v->next) {
		struct addr_error ignored;
		struct prefix prefix;

		if (v->kind != TREE_SCALAR || !prefix_parse(v->text, v->len, &prefix, &ignored))
			return -EINVAL;
		r = prefix_set_add(ret, &prefix);
	}
	return r;
}

static int add_file(struct diag_list *diags, const struct tree_node *file,
		    const struct policy_files *files, struct prefix_set *ret)
{
	const char *text;
	size_t len;
	int r = files->open(files->ctx, file->text, &text, &len);

	if (!r)
		r = setfile_read(diags, diag_add_source(diags, file->text, text, len), 0, ret);
	return r;
}

int policy_members(const char *text, size_t len, const struct policy_files *files, const char *name,
		   struct prefix_set *ret)
{
	const struct tree_node *set, *items, *file;
	struct diag_list diags = {};
	struct tree_doc doc;
	int r = tree_read(&diags, "", text, len, &doc);

	set = r ? NULL : tree_entry(tree_entry(doc.root, "sets"), name);
	if (!r && !set)
		r = -ENOENT;
	items = set ? tree_entry(set, "items") : NULL;
	file = set ? tree_entry(set, "file") : NULL;
	if (!r && items)
		r = add_items(items, ret);
	if (!r && file)
		r = add_file(&diags, file, files, ret);
	if (!r && diags.errors)
		r = -EINVAL;
	tree_done(&doc);
	diag_done(&diags);
	return r;
}
