/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a policy: reading must not fail but by saying why, the canonical form must be its own
 * canonical form, and what was accepted must stay accepted in it, with the same digest.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int open_file(void *ctx, const char *path, const char **ret_text, size_t *ret_len)
{
	static const char text[] = "192.0.2.1 a note\n2001:db8::/32\n";

	(void)ctx;
	if (strstr(path, "missing"))
		return -ENOENT;
	*ret_text = text;
	*ret_len = sizeof(text) - 1;
	return 0;
}

static void require(bool holds)
{
	if (!holds)
		abort();
}

static int ignore_path(void *ctx, const char *path)
{
	*(size_t *)ctx += strlen(path);
	return 0;
}

static bool failed(const struct diag_list *diags)
{
	return diags->errors || diags->out_of_memory;
}

static int load(const char *text, size_t len, struct dp_bank_header *ret_header)
{
	const struct policy_files files = { .open = open_file };
	struct policy policy;
	int err = policy_load(&policy, "fuzz.yaml", text, len, &files);
	char *rendered = diag_render(&policy.diags, 20);

	require(rendered);
	require(err == 0 || err == -EINVAL);
	require((err == 0) == !failed(&policy.diags));
	free(rendered);
	if (!err)
		memcpy(ret_header, policy.image.lines, sizeof(*ret_header));
	policy_done(&policy);
	return err;
}

static char *format(const char *text, size_t len)
{
	struct diag_list diags = {};
	char *formatted = NULL;
	int err = policy_format(&diags, "fuzz.yaml", text, len, &formatted);

	require(err == 0 || err == -EINVAL);
	require((err == 0) == !failed(&diags));
	diag_done(&diags);
	return formatted;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = malloc(len + 1), *once, *twice;
	struct dp_bank_header first = {}, second = {};
	size_t paths = 0;
	int err;

	require(text);
	memcpy(text, data, len);
	text[len] = '\0';
	err = load(text, len, &first);
	require(policy_paths(text, len, &paths, ignore_path) == 0);
	once = format(text, len);
	require(once || err);
	if (once) {
		twice = format(once, strlen(once));
		require(twice && !strcmp(once, twice));
		require(load(once, strlen(once), &second) == err);
		require(!memcmp(first.digest, second.digest, sizeof(first.digest)));
		free(twice);
	}
	free(once);
	free(text);
	return 0;
}
