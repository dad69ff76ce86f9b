/* SPDX-License-Identifier: Apache-2.0 */
/* `penstock fmt`: the canonical form of a policy, on stdout or in place. Offline. */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "diags.h"
#include "help.h"
#include "input.h"
#include "output.h"
#include "policy.h"
#include "term.h"
#include "verbs.h"

static int write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Fills a new file beside the old one, with its mode and, where permitted, its owner. */
static int fill(int fd, const struct stat *like, const char *text)
{
	int r = write_all(fd, text, strlen(text));

	if (r)
		return r;
	if (fchown(fd, like->st_uid, like->st_gid) && errno != EPERM)
		return -errno;
	if (fchmod(fd, like->st_mode & 07777) || fsync(fd))
		return -errno;
	return 0;
}

/* All or nothing: the file is the old one or the new one at any time. A symbolic link stays one. */
static int replace(const struct input *in, const char *text)
{
	_cleanup_free_ char *path = realpath(in->name, NULL), *fresh = NULL;
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r;

	if (!path || fstat(in->fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (asprintf(&fresh, "%s.XXXXXX", path) < 0) {
		fresh = NULL;
		return -ENOMEM;
	}
	fd = mkostemp(fresh, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = fill(fd, &st, text);
	if (!r && rename(fresh, path))
		r = -errno;
	if (r)
		(void)unlink(fresh); /* the error that counts is r */
	return r;
}

static enum status print_json(const struct input *in, const char *text, bool canonical)
{
	_cleanup_json_ struct json_object *document = json_document();

	if (!document) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	json_set(document, "file", json_object_new_string(in->name));
	json_set(document, "canonical", json_object_new_boolean(canonical));
	json_set(document, "text", json_object_new_string(text));
	output_document(document);
	return STATUS_DONE;
}

static enum status deliver(const struct invocation *call, const struct input *in, const char *text)
{
	bool canonical = strlen(text) == in->len && !memcmp(text, in->text, in->len);
	int r;

	if (output_json(call) && print_json(in, text, canonical) != STATUS_DONE)
		return STATUS_FAILED;
	if (call->value[OPTION_CHECK]) {
		if (!canonical && !output_json(call))
			term_error("%s is not in canonical form", in->name);
		return canonical ? STATUS_DONE : STATUS_FAILED;
	}
	if (!call->value[OPTION_WRITE]) {
		if (!output_json(call))
			fputs(text, stdout);
		return STATUS_DONE;
	}
	r = canonical ? 0 : replace(in, text);
	if (r)
		term_error("cannot rewrite %s: %s", in->name, strerror(-r));
	return r ? STATUS_FAILED : STATUS_DONE;
}

enum status verb_fmt(const struct invocation *call)
{
	_cleanup_input_ struct input in = INPUT_INIT;
	_cleanup_(policy_done) struct policy policy = {};
	_cleanup_free_ char *text = NULL;
	int r;

	if (call->value[OPTION_CHECK] && call->value[OPTION_WRITE])
		return help_usage_error(call->command,
					"'--check' and '--write' exclude each other");
	if (call->value[OPTION_WRITE] && !strcmp(call->args[0], "-"))
		return help_usage_error(call->command, "standard input cannot be rewritten");
	r = input_open(&in, call->args[0]);
	if (r) {
		term_error("cannot read %s: %s", in.name, strerror(-r));
		return STATUS_FAILED;
	}
	r = policy_format(&policy.diags, in.name, in.text, in.len, &text);
	if (r || policy.diags.errors)
		return diags_result(call, &policy.diags, r ?: -EINVAL, in.name);
	return deliver(call, &in, text);
}
