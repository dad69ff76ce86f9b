/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of policies without a command line around it, for golden tests: `tool check FILE` prints what
 * diag_render() says and then "accepted" or "refused"; `tool format FILE` prints the canonical form; `tool
 * rules FILE` prints the texts of the model's rules. Every code must be in the table of codes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diag_codes.h"
#include "policy.h"
#include "str.h"
#include "vec.h"

struct files {
	const char *dir;
	size_t dir_len;
	VEC(char *) held;
};

static int read_all(FILE *f, struct text *ret)
{
	char block[65536];
	size_t got;

	while ((got = fread(block, 1, sizeof(block), f)) > 0)
		text_add(ret, block, got);
	return ferror(f) ? -EIO : ret->failed ? -ENOMEM : 0;
}

static int read_file(const char *path, char **ret, size_t *ret_len)
{
	_cleanup_fclose_ FILE *f = fopen(path, "rb");
	struct text text = {};
	int err = f ? read_all(f, &text) : -errno;

	if (err) {
		text_done(&text);
		return err;
	}
	*ret_len = text.len;
	*ret = text_take(&text);
	return *ret ? 0 : -ENOMEM;
}

static int open_file(void *ctx, const char *path, const char **ret_text, size_t *ret_len)
{
	struct files *files = ctx;
	_cleanup_free_ char *full = NULL, *text = NULL;
	int err;

	if (asprintf(&full, "%.*s%s", path[0] == '/' ? 0 : (int)files->dir_len, files->dir, path) <
	    0)
		return -ENOMEM;
	err = read_file(full, &text, ret_len);
	if (!err)
		err = vec_push(&files->held, text);
	if (!err)
		*ret_text = TAKE_PTR(text);
	return err;
}

static bool code_is_listed(const char *code)
{
#define CODE(name, help) || !strcmp(code, name)
	return false DIAG_CODES(CODE);
#undef CODE
}

static int print_diags(const struct diag_list *diags)
{
	_cleanup_free_ char *text = diag_render(diags, 0);

	for (size_t i = 0; i < diags->diags.count; i++) {
		if (!code_is_listed(diags->diags.at[i].code)) {
			fprintf(stderr, "code '%s' is not in diag_codes.h\n",
				diags->diags.at[i].code);
			return 1;
		}
	}
	fputs(text ? text : "out of memory\n", stdout);
	return text ? 0 : 1;
}

static void print_rules(const struct model *model)
{
	for (size_t i = 0; model && i < model->chains.count; i++) {
		for (size_t j = 0; j < model->chains.at[i].rules.count; j++)
			printf("%s: %s: %s\n", model->chains.at[i].name,
			       model->chains.at[i].rules.at[j].id,
			       model->chains.at[i].rules.at[j].text);
	}
}

static int check(const char *name, const char *text, size_t len, struct files *files, bool rules)
{
	struct policy_files from = { .ctx = files, .open = open_file };
	struct policy policy;
	int err = policy_load(&policy, name, text, len, &from);
	int failed = print_diags(&policy.diags);

	if (err && err != -EINVAL)
		printf("%s\n", strerror(-err));
	else if (rules)
		print_rules(policy.model);
	else
		puts(err ? "refused" : "accepted");
	policy_done(&policy);
	return failed;
}

static int format(const char *name, const char *text, size_t len)
{
	_cleanup_free_ char *formatted = NULL;
	struct diag_list diags = {};
	int err = policy_format(&diags, name, text, len, &formatted);

	if (err)
		(void)print_diags(&diags); /* the run has failed already */
	else
		fputs(formatted, stdout);
	diag_done(&diags);
	return err ? 1 : 0;
}

int main(int argc, char **argv)
{
	_cleanup_free_ char *text = NULL;
	struct files files = {};
	const char *name;
	size_t len = 0;
	int err, status;

	if (argc != 3) {
		fprintf(stderr, "usage: tool check|rules|format FILE\n");
		return 2;
	}
	name = strrchr(argv[2], '/');
	files.dir = argv[2];
	files.dir_len = name ? (size_t)(name - argv[2]) + 1 : 0;
	name = name ? name + 1 : argv[2];
	err = read_file(argv[2], &text, &len);
	if (err) {
		fprintf(stderr, "%s: %s\n", argv[2], strerror(-err));
		return 1;
	}
	if (!strcmp(argv[1], "format"))
		status = format(name, text, len);
	else
		status = check(name, text, len, &files, !strcmp(argv[1], "rules"));
	for (size_t i = 0; i < files.held.count; i++)
		free(files.held.at[i]);
	vec_done(&files.held);
	return status;
}
