/* SPDX-License-Identifier: Apache-2.0 */
/* See args.h. Options may stand anywhere until `--`; those before the verb must be global ones. */
#include "args.h"

#include <string.h>

#include "diag.h"
#include "help.h"
#include "str.h"

struct reader {
	int argc;
	char **argv;
	int at;
	size_t kept; /* arguments moved to the front of argv */
	bool no_more_options;
	const char *group; /* first word of a command with two */
	struct invocation *call;
};

static enum status unknown_option(const struct reader *r, const char *word)
{
	const struct command *command = r->call->command;
	const char *names[OPTION_COUNT], *nearest;
	size_t count = 0;

	for (enum option_id id = 0; id < OPTION_COUNT; id++)
		if (command ? command_takes(command, id) : command_options[id].global)
			names[count++] = command_options[id].name;
	nearest = word[1] == '-' ? diag_nearest(word + 2, names, count) : NULL;
	if (nearest)
		return help_usage_error(command, "unknown option '%s'; did you mean '--%s'?", word,
					nearest);
	return help_usage_error(command, "unknown option '%s'", word);
}

static enum option_id find_letter(char letter)
{
	enum option_id id = 0;

	while (id < OPTION_COUNT && command_options[id].letter != letter)
		id++;
	return id;
}

/* word is "--name", "--name=value" or "-x". */
static enum status read_option(struct reader *r, const char *word)
{
	const char *equals = strchr(word, '=');
	size_t len = equals ? (size_t)(equals - word) : strlen(word);
	const struct command *command = r->call->command;
	enum option_id id = OPTION_COUNT;
	const struct option_def *o;

	if (word[1] == '-')
		id = command_option(word + 2, len - 2);
	else if (len == 2 && !equals)
		id = find_letter(word[1]);
	if (id == OPTION_COUNT || (command && !command_takes(command, id)))
		return unknown_option(r, word);
	o = &command_options[id];
	if (!command && !o->global)
		return help_usage_error(NULL, "option '%s' must follow the verb", word);
	if (!o->metavar) {
		if (equals)
			return help_usage_error(command, "option '--%s' takes no value", o->name);
		r->call->value[id] = "";
		return STATUS_DONE;
	}
	if (!equals && r->at >= r->argc)
		return help_usage_error(command, "option '--%s' needs a value: %s", o->name,
					o->metavar);
	r->call->value[id] = equals ? equals + 1 : r->argv[r->at++];
	return STATUS_DONE;
}

static enum status read_verb(struct reader *r, const char *word)
{
	struct invocation *call = r->call;
	const char *nearest;

	if (r->group) {
		call->command = command_find_two(r->group, word);
		if (!call->command)
			return help_usage_error(NULL, "there is no verb '%s %s'", r->group, word);
		return STATUS_DONE;
	}
	call->command = command_find(word);
	if (call->command)
		return STATUS_DONE;
	if (command_is_group(word)) {
		r->group = word;
		return STATUS_DONE;
	}
	nearest = command_nearest(word);
	if (nearest)
		return help_usage_error(NULL, "there is no verb '%s'; did you mean '%s'?", word,
					nearest);
	return help_usage_error(NULL, "there is no verb '%s'", word);
}

static enum status read_word(struct reader *r, char *word)
{
	const struct command *command = r->call->command;

	if (!command)
		return read_verb(r, word);
	if (!r->no_more_options && !command->raw) {
		if (!strcmp(word, "--")) {
			r->no_more_options = true;
			return STATUS_DONE;
		}
		if (word[0] == '-' && word[1])
			return read_option(r, word);
	}
	r->argv[r->kept++] = word;
	return STATUS_DONE;
}

static enum status check_count(const struct invocation *call)
{
	const struct command *command = call->command;
	size_t least = 0, most = 0;

	for (size_t i = 0; i < COMMAND_ARGS && command->args[i].metavar; i++) {
		least += !command->args[i].optional;
		most = command->args[i].many ? SIZE_MAX : most + 1;
	}
	if (call->arg_count < least)
		return help_usage_error(command, "%s is missing",
					command->args[call->arg_count].metavar);
	if (call->arg_count > most)
		return help_usage_error(command, "'%s' is one argument too many", call->args[most]);
	return STATUS_DONE;
}

static enum status check_options(const struct invocation *call)
{
	const char *limit = call->value[OPTION_LIMIT], *instance = call->value[OPTION_INSTANCE];

	/* It becomes part of a path. */
	if (instance && (!name_is_valid(instance, strlen(instance)) || !strcmp(instance, ".") ||
			 !strcmp(instance, "..")))
		return help_usage_error(call->command, "'%s' is no instance name", instance);
	for (enum option_id id = 0; id < OPTION_COUNT; id++)
		if (call->value[id] && !command_takes(call->command, id))
			return help_usage_error(call->command, "'%s' has no option '--%s'",
						call->command->name, command_options[id].name);
	if (limit && call->value[OPTION_ALL])
		return help_usage_error(call->command, "'--limit' and '--all' exclude each other");
	if (limit && (!*limit || strlen(limit) > 9 || strspn(limit, "0123456789") != strlen(limit)))
		return help_usage_error(call->command, "'--limit' needs a number, not '%s'", limit);
	return STATUS_DONE;
}

enum status args_parse(int argc, char **argv, struct invocation *call, const char **ret_group)
{
	struct reader r = { .argc = argc, .argv = argv, .at = 1, .call = call };
	enum status status = STATUS_DONE;

	while (r.at < argc && status == STATUS_DONE) {
		char *word = argv[r.at++];

		if (!call->command && word[0] == '-')
			status = read_option(&r, word);
		else
			status = read_word(&r, word);
	}
	if (status != STATUS_DONE)
		return status;
	call->args = argv;
	call->arg_count = r.kept;
	*ret_group = r.group;
	if (call->value[OPTION_HELP] || call->value[OPTION_VERSION])
		return STATUS_DONE;
	if (!call->command && r.group)
		return help_usage_error(NULL, "'%s' needs a second word; see 'penstock help %s'",
					r.group, r.group);
	if (!call->command)
		return help_usage_error(NULL, "a verb is missing");
	status = check_options(call);
	return status == STATUS_DONE ? check_count(call) : status;
}
