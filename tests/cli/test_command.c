/* SPDX-License-Identifier: Apache-2.0 */
/* The command table and the reading of command lines by it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/args.h"
#include "str.h"

static void names_are_unique_and_whole(void **state)
{
	(void)state;
	for (const struct command *c = commands; c->name; c++) {
		assert_ptr_equal(command_find(c->name), c);
		assert_non_null(c->run);
		assert_true(*c->summary);
		assert_true(*c->details);
		for (size_t i = 0; i + 1 < COMMAND_ARGS && c->args[i + 1].metavar; i++)
			assert_false(c->args[i].many || c->args[i].optional);
	}
	for (enum option_id id = 0; id < OPTION_COUNT; id++) {
		const char *name = command_options[id].name;

		assert_true(name && *command_options[id].help);
		assert_int_equal(command_option(name, strlen(name)), id);
	}
}

/* Splits at spaces; the words stay in the static buffer. What is said on stderr goes to *ret_said. */
static enum status parse(const char *line, struct invocation *call, const char **group,
			 char **ret_said)
{
	static char words[512];
	static char *argv[32];
	char *save = NULL;
	FILE *before = stderr;
	enum status status;
	size_t len;
	int argc = 0;

	snprintf(words, sizeof(words), "penstock %s", line);
	for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	argv[argc] = NULL;
	*call = (struct invocation){};
	stderr = open_memstream(ret_said, &len);
	assert_non_null(stderr);
	status = args_parse(argc, argv, call, group);
	fclose(stderr);
	stderr = before;
	return status;
}

static void options_stand_anywhere(void **state)
{
	static const char *const lines[] = {
		"--instance a --json rules --chain wan-in",
		"rules --chain wan-in --instance a --json",
		"--json rules --instance=a --chain=wan-in",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		_cleanup_free_ char *said = NULL;
		const char *group = NULL;
		struct invocation call;

		assert_int_equal(parse(lines[i], &call, &group, &said), STATUS_DONE);
		assert_string_equal(said, "");
		assert_string_equal(call.command->name, "rules");
		assert_string_equal(call.value[OPTION_INSTANCE], "a");
		assert_string_equal(call.value[OPTION_CHAIN], "wan-in");
		assert_non_null(call.value[OPTION_JSON]);
		assert_null(call.value[OPTION_ALL]);
	}
}

static void arguments_are_taken(void **state)
{
	_cleanup_free_ char *a = NULL, *b = NULL, *c = NULL;
	const char *group = NULL;
	struct invocation call;

	(void)state;
	assert_int_equal(parse("set add --json banned 192.0.2.1 192.0.2.2", &call, &group, &a),
			 STATUS_DONE);
	assert_string_equal(call.command->name, "set add");
	assert_int_equal(call.arg_count, 3);
	assert_string_equal(call.args[2], "192.0.2.2");
	assert_int_equal(parse("check -- --odd", &call, &group, &b), STATUS_DONE);
	assert_string_equal(call.args[0], "--odd");
	assert_int_equal(parse("fmt -w -", &call, &group, &c), STATUS_DONE);
	assert_non_null(call.value[OPTION_WRITE]);
	assert_string_equal(call.args[0], "-");
}

static void help_needs_nothing_else(void **state)
{
	static const char *const lines[] = { "--help", "check --help", "-h check", "set -h",
					     "set add --help" };

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		_cleanup_free_ char *said = NULL;
		const char *group = NULL;
		struct invocation call;

		assert_int_equal(parse(lines[i], &call, &group, &said), STATUS_DONE);
		assert_non_null(call.value[OPTION_HELP]);
	}
}

static void mistakes_are_named(void **state)
{
	static const struct {
		const char *line, *said;
	} bad[] = {
		{ "", "penstock: a verb is missing\n" },
		{ "chek x", "penstock: there is no verb 'chek'; did you mean 'check'?\n" },
		{ "set", "penstock: 'set' needs a second word; see 'penstock help set'\n" },
		{ "set ad x", "penstock: there is no verb 'set ad'\n" },
		{ "check", "penstock: FILE is missing\n" },
		{ "check a b", "penstock: 'b' is one argument too many\n" },
		{ "rules --chian x",
		  "penstock: unknown option '--chian'; did you mean '--chain'?\n" },
		{ "rules --chain", "penstock: option '--chain' needs a value: NAME\n" },
		{ "--chain x rules", "penstock: option '--chain' must follow the verb\n" },
		{ "rules --json=1", "penstock: option '--json' takes no value\n" },
		{ "rules -x", "penstock: unknown option '-x'\n" },
		{ "status --chain x", "penstock: unknown option '--chain'\n" },
		{ "--all status", "penstock: 'status' has no option '--all'\n" },
		{ "rules --limit many", "penstock: '--limit' needs a number, not 'many'\n" },
		{ "rules --limit -1", "penstock: '--limit' needs a number, not '-1'\n" },
		{ "rules --limit 1 --all", "penstock: '--limit' and '--all' exclude each other\n" },
		{ "status --instance ../x", "penstock: '../x' is no instance name\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		_cleanup_free_ char *said = NULL;
		const char *group = NULL;
		struct invocation call;

		assert_int_equal(parse(bad[i].line, &call, &group, &said), STATUS_USAGE);
		assert_non_null(said);
		*(strchr(said, '\n') + 1) = '\0'; /* the usage follows */
		assert_string_equal(said, bad[i].said);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_unique_and_whole),
		cmocka_unit_test(options_stand_anywhere),
		cmocka_unit_test(arguments_are_taken),
		cmocka_unit_test(help_needs_nothing_else),
		cmocka_unit_test(mistakes_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
