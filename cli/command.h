/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command table: every verb, its arguments and its options, once. Parsing, usage errors, help, the
 * manual page and shell completion are all read off it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit codes; there are no others. */
enum status {
	STATUS_DONE,   /* `diff`: same */
	STATUS_FAILED, /* failed or invalid; `diff`: different */
	STATUS_USAGE,
	STATUS_UNREACHABLE,   /* no daemon */
	STATUS_NOT_PERMITTED, /* the daemon's socket is not for the caller */
};

/* What may stand in a place of the command line. */
enum complete {
	COMPLETE_NOTHING,
	COMPLETE_FILE,
	COMPLETE_DIRECTORY,
	COMPLETE_DEVICE,
	COMPLETE_ATTACHED,
	COMPLETE_ZONE,
	COMPLETE_POINT, /* ZONE.ingress or ZONE.egress */
	COMPLETE_CHAIN,
	COMPLETE_RULE,
	COMPLETE_SET,
	COMPLETE_REASON,
	COMPLETE_INSTANCE,
	COMPLETE_SHELL,
	COMPLETE_VERB,
};

enum option_id {
	OPTION_INSTANCE,
	OPTION_RUN_DIR,
	OPTION_JSON,
	OPTION_NO_COLOR,
	OPTION_LIMIT,
	OPTION_ALL,
	OPTION_HELP,
	OPTION_VERSION,
	OPTION_STATS,
	OPTION_WRITE,
	OPTION_CHECK,
	OPTION_CONFIRM,
	OPTION_NO_CONFIRM,
	OPTION_FORCE,
	OPTION_LIST,
	OPTION_CHAIN,
	OPTION_RULE,
	OPTION_REASON,
	OPTION_AS,
	OPTION_ROLE,
	OPTION_AT,
	OPTION_FRAME,
	OPTION_PCAP,
	OPTION_TTL,
	OPTION_YES,
	OPTION_KEEP_STATE,
	OPTION_STATE_DIR,
	OPTION_PIN_DIR,
	OPTION_COUNT,
};

#define OPTION_BIT(id) (UINT64_C(1) << (id))

struct option_def {
	const char *name;    /* without the dashes */
	char letter;         /* 0: none */
	bool global;         /* may stand before the verb */
	bool every;          /* every verb takes it */
	const char *metavar; /* NULL: takes no value */
	const char *help;
	enum complete complete;
};

extern const struct option_def command_options[OPTION_COUNT];

struct argument {
	const char *metavar;
	enum complete complete;
	bool optional;
	bool many; /* the last one only: takes all that follow */
};

#define COMMAND_ARGS 3

struct invocation;

struct command {
	const char *name; /* one word, or two: "set add" */
	const char *summary;
	const char *details;
	struct argument args[COMMAND_ARGS]; /* up to the first without a metavar */
	uint64_t options;                   /* besides those that every verb takes */
	enum status (*run)(const struct invocation *call);
	bool hidden;
	bool raw; /* options are not looked for: all words are arguments */
};

/* Ends with an entry without a name. */
extern const struct command commands[];

/* What was typed. Everything is borrowed from the command line. */
struct invocation {
	const struct command *command;
	const char *value[OPTION_COUNT]; /* NULL: not given; "" for one that takes no value */
	char *const *args;
	size_t arg_count;
};

/* The command of that name, NULL when there is none. */
const struct command *command_find(const char *name);

/* The command "FIRST SECOND". */
const struct command *command_find_two(const char *first, const char *second);

/* first is the first word of commands with two. */
bool command_is_group(const char *first);

/* The verb that was probably meant, NULL when none is near. */
const char *command_nearest(const char *name);

bool command_takes(const struct command *command, enum option_id id);

/* The option of that long name (len bytes of it), OPTION_COUNT when there is none. */
enum option_id command_option(const char *name, size_t len);
