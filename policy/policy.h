/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiler's front door, for the CLI's offline verbs, the daemon's compiling child, and tests. Pure:
 * files come through a callback, nothing is printed.
 */
#pragma once

#include "diag.h"
#include "image.h"
#include "model.h"

/*
 * Where bytes come from. open() gets a path as written in the policy and returns 0 with the whole
 * content, borrowed until the loader is done, or -errno, which becomes an error at the path's place;
 * -EINVAL says that it is no regular file.
 */
struct policy_files {
	void *ctx;
	int (*open)(void *ctx, const char *path, const char **ret_text, size_t *ret_len);
};

struct policy {
	struct diag_list diags;
	struct model *model;          /* NULL when there were errors */
	struct image image;           /* empty when there were errors */
	struct json_object *manifest; /* likewise */
};

/*
 * Reads, checks and compiles. 0 when the policy is good; -EINVAL when diags holds errors; -ENOMEM. In
 * every case *policy is to be released with policy_done().
 */
int policy_load(struct policy *policy, const char *name, const char *text, size_t len,
		const struct policy_files *files) _must_check_;
void policy_done(struct policy *policy);

/* Calls found() with the path of every set file a policy text names, also when it has errors. */
int policy_paths(const char *text, size_t len, void *ctx,
		 int (*found)(void *ctx, const char *path)) _must_check_;

/*
 * Adds the prefixes that a policy text gives to a set, as written, to an unsealed set. -ENOENT when it has no
 * set of the name; -EINVAL when what it gives cannot be read, which policy_load() refuses.
 */
int policy_members(const char *text, size_t len, const struct policy_files *files, const char *name,
		   struct prefix_set *ret) _must_check_;

/* Canonical form of a policy text, comments kept. -EINVAL with diags when it is not well-formed YAML. */
int policy_format(struct diag_list *diags, const char *name, const char *text, size_t len,
		  char **ret_text) _must_check_;
