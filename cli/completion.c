/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shell completion. The scripts know nothing of verbs: they ask `penstock __complete WORD…`, whose last
 * word is the one under the cursor. Each line of the answer is a candidate, a tab and what it is; the
 * line ":file" or ":directory" asks the shell for names of its own.
 */
#include <dirent.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "abi.h"
#include "client.h"
#include "help.h"
#include "output.h"
#include "str.h"
#include "term.h"
#include "verbs.h"

#define PATIENCE_MS 500 /* nobody waits longer for a tab */

static const char bash_script[] =
	"# penstock completion for bash: . <(penstock completion bash)\n"
	"_penstock()\n"
	"{\n"
	"	local line word=${COMP_WORDS[COMP_CWORD]} tab=$'\\t'\n"
	"	local -a words=(\"${COMP_WORDS[@]:1:COMP_CWORD-1}\")\n"
	"	COMPREPLY=()\n"
	"	while IFS= read -r line; do\n"
	"		case $line in\n"
	"		:file) compopt -o filenames 2>/dev/null\n"
	"			mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- \"$word\") ;;\n"
	"		:directory) compopt -o filenames 2>/dev/null\n"
	"			mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -d -- \"$word\") ;;\n"
	"		\"$word\"*) COMPREPLY+=(\"${line%%$tab*}\") ;;\n"
	"		esac\n"
	"	done < <(\"${COMP_WORDS[0]}\" __complete \"${words[@]}\" \"$word\" 2>/dev/null)\n"
	"}\n"
	"complete -F _penstock penstock\n";

static const char zsh_script[] =
	"#compdef penstock\n"
	"# penstock completion for zsh: a file _penstock in a directory of $fpath\n"
	"_penstock()\n"
	"{\n"
	"	local line tab=$'\\t' mode=\n"
	"	local -a found\n"
	"	while IFS= read -r line; do\n"
	"		case $line in\n"
	"		:file) mode=file ;;\n"
	"		:directory) mode=directory ;;\n"
	"		*) found+=(\"${${line%%$tab*}//:/\\\\:}:${line#*$tab}\") ;;\n"
	"		esac\n"
	"	done < <(\"${words[1]}\" __complete \"${(@)words[2,CURRENT]}\" 2>/dev/null)\n"
	"	(( $#found )) && _describe penstock found\n"
	"	[[ $mode == file ]] && _files\n"
	"	[[ $mode == directory ]] && _files -/\n"
	"	return 0\n"
	"}\n"
	"if [[ $funcstack[1] == _penstock ]]; then\n"
	"	_penstock \"$@\"\n"
	"else\n"
	"	compdef _penstock penstock\n"
	"fi\n";

static const char fish_script[] =
	"# penstock completion for fish: penstock completion fish | source\n"
	"function __penstock_complete\n"
	"	set -l words (commandline -opc)\n"
	"	set -l word (commandline -ct)\n"
	"	for line in ($words[1] __complete $words[2..-1] \"$word\" 2>/dev/null)\n"
	"		switch $line\n"
	"			case :file\n"
	"				__fish_complete_path \"$word\"\n"
	"			case :directory\n"
	"				__fish_complete_directories \"$word\"\n"
	"			case '*'\n"
	"				echo $line\n"
	"		end\n"
	"	end\n"
	"end\n"
	"complete -c penstock -f -a '(__penstock_complete)'\n";

static const struct {
	const char *shell, *script;
} scripts[] = {
	{ "bash", bash_script },
	{ "zsh", zsh_script },
	{ "fish", fish_script },
};

#define SCRIPTS (sizeof(scripts) / sizeof(scripts[0]))

enum status verb_completion(const struct invocation *call)
{
	for (size_t i = 0; i < SCRIPTS; i++)
		if (!strcmp(scripts[i].shell, call->args[0])) {
			fputs(scripts[i].script, stdout);
			return STATUS_DONE;
		}
	return help_usage_error(call->command, "no completion for '%s': bash, zsh and fish have it",
				call->args[0]);
}

/* ---- candidates -------------------------------------------------------------------------------- */

static void candidate(const char *word, const char *what)
{
	term_write(stdout, word, TERM_LINE);
	putchar('\t');
	term_write(stdout, what, TERM_LINE);
	putchar('\n');
}

/* Names of a directory's entries: devices, instances. */
static void entries(const char *path, const char *what, bool directories)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && (!directories || entry->d_type == DT_DIR))
			candidate(entry->d_name, what);
	(void)closedir(dir); /* only read from */
}

static struct json_object *ask(const struct invocation *call, const char *path)
{
	struct request rq = { .path = path, .quiet = true, .timeout_ms = PATIENCE_MS };
	struct json_object *answer = NULL;

	return client_ask(call, &rq, &answer) == STATUS_DONE ? answer : NULL;
}

struct source {
	const char *path, *array, *key, *what;
};

/* Live names, each once: rows of one name stand together or are few. */
static void names(const struct invocation *call, const struct source *source)
{
	_cleanup_json_ struct json_object *answer = ask(call, source->path);
	_cleanup_json_ struct json_object *seen = json_object_new_object();

	for (size_t i = 0; seen && i < json_count(answer, source->array); i++) {
		struct json_object *row = json_at(answer, source->array, i);
		const char *name = json_text(row, source->key);
		const char *chain = call->value[OPTION_CHAIN];

		if (json_object_is_type(row, json_type_string))
			name = json_object_get_string(row);
		if (json_member(row, "chain") && chain &&
		    strcmp(chain, json_text(row, "chain")) != 0)
			continue;
		if (!*name || json_member(seen, name))
			continue;
		json_set(seen, name, json_object_new_boolean(true));
		candidate(name, source->what);
	}
}

static void points(const struct invocation *call)
{
	_cleanup_json_ struct json_object *answer = ask(call, "/v1/policy");

	for (size_t i = 0; i < json_count(answer, "zones"); i++) {
		const char *zone = json_text(json_at(answer, "zones", i), "name");

		for (size_t dir = 0; dir < DP_DIR_COUNT; dir++) {
			struct text point = {};
			_cleanup_free_ char *word = NULL;

			text_printf(&point, "%s.%s", zone,
				    dir == DP_INGRESS ? "ingress" : "egress");
			word = text_take(&point);
			if (word)
				candidate(word, "place");
		}
	}
}

static void reasons(void)
{
#define DROP_REASON(name, verdict, text, help) \
	if (DP_##verdict == DP_DROP)           \
		candidate(text, help);
	DP_REASONS(DROP_REASON)
#undef DROP_REASON
}

/* First words, a group of several verbs once; with a group its second words. */
static void verbs(const char *group)
{
	const char *last = "";

	for (const struct command *c = commands; c->name; c++) {
		size_t len = strcspn(c->name, " ");
		bool several = c->name[len], in_group = group && !strncmp(c->name, group, len);
		_cleanup_free_ char *first = strndup(c->name, len);

		if (c->hidden || !first)
			continue;
		if (in_group && several && !group[len])
			candidate(c->name + len + 1, c->summary);
		else if (!group && !several)
			candidate(first, c->summary);
		else if (!group && strncmp(last, c->name, len + 1) != 0)
			candidate(first, "several verbs");
		last = c->name;
	}
}

static void complete(const struct invocation *call, enum complete kind)
{
	static const struct source attached = { "/v1/status", "attached", "dev",
						"attached device" };
	static const struct source zones = { "/v1/policy", "zones", "name", "zone" };
	static const struct source chains = { "/v1/policy", "chains", "name", "chain" };
	static const struct source rules = { "/v1/rules", "rules", "id", "rule" };
	static const struct source sets = { "/v1/sets", "sets", "name", "set" };

	switch (kind) {
	case COMPLETE_NOTHING:
		break;
	case COMPLETE_FILE:
		puts(":file");
		break;
	case COMPLETE_DIRECTORY:
		puts(":directory");
		break;
	case COMPLETE_DEVICE:
		entries("/sys/class/net", "device", false);
		break;
	case COMPLETE_ATTACHED:
		names(call, &attached);
		break;
	case COMPLETE_ZONE:
		names(call, &zones);
		break;
	case COMPLETE_POINT:
		points(call);
		break;
	case COMPLETE_CHAIN:
		names(call, &chains);
		break;
	case COMPLETE_RULE:
		names(call, &rules);
		break;
	case COMPLETE_SET:
		names(call, &sets);
		break;
	case COMPLETE_REASON:
		reasons();
		break;
	case COMPLETE_INSTANCE:
		entries("/run/penstock", "instance", true);
		break;
	case COMPLETE_SHELL:
		for (size_t i = 0; i < SCRIPTS; i++)
			candidate(scripts[i].shell, "shell");
		break;
	case COMPLETE_VERB:
		verbs(NULL);
		break;
	}
}

/* ---- the line so far --------------------------------------------------------------------------- */

static void options(const struct command *command)
{
	for (enum option_id id = 0; id < OPTION_COUNT; id++) {
		const struct option_def *o = &command_options[id];
		char word[64];

		if (command ? !command_takes(command, id) : !o->global)
			continue;
		snprintf(word, sizeof(word), "--%s", o->name);
		candidate(word, o->help);
	}
}

/* What is known of the words before the cursor; wrong ones are passed over. */
struct line {
	struct invocation call;
	const char *group;
	enum option_id pending; /* its value is what comes next; OPTION_COUNT: none */
};

static void read_option_word(struct line *line, const char *word)
{
	const char *equals = strchr(word, '=');
	size_t len = equals ? (size_t)(equals - word) : strlen(word);
	enum option_id id = len > 2 ? command_option(word + 2, len - 2) : OPTION_COUNT;

	if (id == OPTION_COUNT)
		return;
	if (!command_options[id].metavar)
		line->call.value[id] = "";
	else if (equals)
		line->call.value[id] = equals + 1;
	else
		line->pending = id;
}

static void read_word(struct line *line, const char *word)
{
	if (line->pending != OPTION_COUNT) {
		line->call.value[line->pending] = word;
		line->pending = OPTION_COUNT;
	} else if (word[0] == '-') {
		read_option_word(line, word);
	} else if (line->call.command) {
		line->call.arg_count++;
	} else if (line->group) {
		line->call.command = command_find_two(line->group, word);
	} else {
		line->call.command = command_find(word);
		line->group = command_is_group(word) ? word : NULL;
	}
}

static void complete_argument(const struct line *line)
{
	const struct argument *args = line->call.command->args;
	size_t at = line->call.arg_count;

	for (size_t i = 0; i < COMMAND_ARGS && args[i].metavar; i++)
		if (i == at || (i < at && args[i].many))
			complete(&line->call, args[i].complete);
}

enum status verb_complete(const struct invocation *call)
{
	struct line line = { .pending = OPTION_COUNT };
	const char *last = call->arg_count ? call->args[call->arg_count - 1] : "";

	for (size_t i = 0; i + 1 < call->arg_count; i++)
		read_word(&line, call->args[i]);
	if (line.pending != OPTION_COUNT)
		complete(&line.call, command_options[line.pending].complete);
	else if (last[0] == '-')
		options(line.call.command);
	else if (line.call.command)
		complete_argument(&line);
	else
		verbs(line.group);
	return STATUS_DONE;
}
