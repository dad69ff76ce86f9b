/* SPDX-License-Identifier: Apache-2.0 */
/* See help.h. */
#include "help.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "term.h"
#include "verbs.h"

static void synopsis(FILE *f, const struct command *command)
{
	fprintf(f, "penstock %s", command->name);
	for (enum option_id id = 0; id < OPTION_COUNT; id++) {
		const struct option_def *o = &command_options[id];

		if (!(command->options & OPTION_BIT(id)))
			continue;
		fprintf(f, " [--%s%s%s]", o->name, o->metavar ? " " : "", o->metavar ?: "");
	}
	for (size_t i = 0; i < COMMAND_ARGS && command->args[i].metavar; i++) {
		const struct argument *a = &command->args[i];

		fprintf(f, a->optional ? " [%s%s]" : " %s%s", a->metavar, a->many ? "…" : "");
	}
}

static void option_rows(FILE *f, const struct command *command, bool every)
{
	for (enum option_id id = 0; id < OPTION_COUNT; id++) {
		const struct option_def *o = &command_options[id];
		char left[64];

		if (o->every != every || (!every && !(command->options & OPTION_BIT(id))))
			continue;
		snprintf(left, sizeof(left), "%c%c%s--%s%s%s", o->letter ? '-' : ' ',
			 o->letter ?: ' ', o->letter ? ", " : "  ", o->name, o->metavar ? " " : "",
			 o->metavar ?: "");
		fprintf(f, "  %-24s %s%s\n", left,
			strlen(left) > 24 ? "\n                           " : "", o->help);
	}
}

static void verb_rows(FILE *f, const char *group)
{
	size_t len = group ? strlen(group) : 0;

	for (const struct command *c = commands; c->name; c++)
		if (!c->hidden &&
		    (!group || (!strncmp(c->name, group, len) && c->name[len] == ' ')))
			fprintf(f, "  %-12s %s\n", c->name, c->summary);
}

void help_all(FILE *f)
{
	fputs("usage: penstock [OPTION…] VERB [ARGUMENT…]\n\nverbs:\n", f);
	verb_rows(f, NULL);
	fputs("\noptions of every verb, before or after it:\n", f);
	option_rows(f, NULL, true);
	fputs("\n'penstock help VERB' says more. Exit codes: 0 done, 1 failed or different, 2 usage,\n"
	      "3 daemon unreachable, 4 not permitted.\n",
	      f);
}

void help_command(FILE *f, const struct command *command)
{
	fputs("usage: ", f);
	synopsis(f, command);
	fprintf(f, "\n\n%s: %s\n\n%s\n", command->name, command->summary, command->details);
	if (command->options) {
		fputs("\noptions:\n", f);
		option_rows(f, command, false);
	}
	fputs("\noptions of every verb:\n", f);
	option_rows(f, command, true);
}

void help_group(FILE *f, const char *first)
{
	fprintf(f, "usage: penstock %s VERB [ARGUMENT…]\n\nverbs:\n", first);
	verb_rows(f, first);
}

enum status help_usage_error(const struct command *command, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	term_verror(format, args);
	va_end(args);
	if (command) {
		fputs("usage: ", stderr);
		synopsis(stderr, command);
		fputc('\n', stderr);
	} else {
		fputs("'penstock help' lists the verbs\n", stderr);
	}
	return STATUS_USAGE;
}

enum status verb_help(const struct invocation *call)
{
	const struct command *command;

	if (!call->arg_count) {
		help_all(stdout);
		return STATUS_DONE;
	}
	if (call->arg_count == 1)
		command = command_find(call->args[0]);
	else
		command = command_find_two(call->args[0], call->args[1]);
	if (command) {
		help_command(stdout, command);
		return STATUS_DONE;
	}
	if (call->arg_count == 1 && command_is_group(call->args[0])) {
		help_group(stdout, call->args[0]);
		return STATUS_DONE;
	}
	return help_usage_error(NULL, "there is no verb '%s'", call->args[0]);
}

/* scdoc gives meaning to these anywhere in a line. */
static void manual_text(const char *text)
{
	for (; *text; text++) {
		if (strchr("*_\\#<>[]~", *text))
			putchar('\\');
		putchar(*text);
	}
}

static void manual_option(const struct option_def *o)
{
	if (o->letter)
		printf("*-%c*, ", o->letter);
	printf("*--%s*", o->name);
	if (o->metavar) {
		fputs(" _", stdout);
		manual_text(o->metavar);
		putchar('_');
	}
	fputs("\n\t", stdout);
	manual_text(o->help);
	fputs("\n\n", stdout);
}

/* Indented lines of the details are literal text; scdoc wants them fenced. */
static void manual_details(const char *details)
{
	bool literal = false;

	while (*details) {
		size_t len = strcspn(details, "\n");
		bool indented = !strncmp(details, "    ", 4);
		_cleanup_free_ char *line = strndup(details, len);

		if (indented != literal)
			fputs(indented ? "```\n" : "```\n\n", stdout);
		literal = indented;
		if (line && indented)
			puts(line + 4);
		else if (line) {
			manual_text(line);
			putchar('\n');
		}
		details += len + (details[len] == '\n');
	}
	fputs(literal ? "```\n\n" : "\n", stdout);
}

static void manual_synopsis(const struct command *command)
{
	printf("*penstock %s*", command->name);
	for (enum option_id id = 0; id < OPTION_COUNT; id++) {
		const struct option_def *o = &command_options[id];

		if (!(command->options & OPTION_BIT(id)))
			continue;
		printf(" \\[*--%s*", o->name);
		if (o->metavar)
			printf(" _%s_", o->metavar);
		fputs("\\]", stdout);
	}
	for (size_t i = 0; i < COMMAND_ARGS && command->args[i].metavar; i++) {
		const struct argument *a = &command->args[i];

		printf(a->optional ? " \\[_%s_%s\\]" : " _%s_%s", a->metavar, a->many ? "…" : "");
	}
}

enum status verb_manual(const struct invocation *call)
{
	(void)call; /* the table is all there is to say */
	puts("# VERBS\n");
	for (const struct command *c = commands; c->name; c++) {
		if (c->hidden)
			continue;
		printf("## %s: %s\n\n", c->name, c->summary);
		manual_synopsis(c);
		fputs("\n\n", stdout);
		manual_details(c->details);
		for (enum option_id id = 0; id < OPTION_COUNT; id++)
			if (c->options & OPTION_BIT(id))
				manual_option(&command_options[id]);
	}
	puts("# OPTIONS OF EVERY VERB\n\nThey may stand before the verb as well.\n");
	for (enum option_id id = 0; id < OPTION_COUNT; id++)
		if (command_options[id].every)
			manual_option(&command_options[id]);
	return STATUS_DONE;
}
