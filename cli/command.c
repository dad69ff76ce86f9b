/* SPDX-License-Identifier: Apache-2.0 */
/* The command table (see command.h) and the look-ups in it. */
#include "command.h"

#include <string.h>

#include "diag.h"
#include "verbs.h"

const struct option_def command_options[OPTION_COUNT] = {
	[OPTION_INSTANCE] = { .name = "instance",
			      .global = true,
			      .every = true,
			      .metavar = "NAME",
			      .help = "speak to the daemon of this instance",
			      .complete = COMPLETE_INSTANCE },
	[OPTION_RUN_DIR] = { .name = "run-dir",
			     .global = true,
			     .every = true,
			     .metavar = "DIR",
			     .help = "look for the daemon's sockets here",
			     .complete = COMPLETE_DIRECTORY },
	[OPTION_JSON] = { .name = "json",
			  .global = true,
			  .every = true,
			  .help = "print JSON for programs" },
	[OPTION_NO_COLOR] = { .name = "no-color",
			      .global = true,
			      .every = true,
			      .help = "no colour, as with NO_COLOR set" },
	[OPTION_LIMIT] = { .name = "limit",
			   .global = true,
			   .metavar = "N",
			   .help = "print at most N rows (default: 1000)" },
	[OPTION_ALL] = { .name = "all",
			 .global = true,
			 .help = "print all rows; with --json one object a line" },
	[OPTION_HELP] = { .name = "help",
			  .letter = 'h',
			  .global = true,
			  .every = true,
			  .help = "print this help" },
	[OPTION_VERSION] = { .name = "version",
			     .letter = 'V',
			     .global = true,
			     .every = true,
			     .help = "print the version of this program" },
	[OPTION_STATS] = { .name = "stats",
			   .help = "also print its tables and the memory that an apply will take" },
	[OPTION_WRITE] = { .name = "write", .letter = 'w', .help = "rewrite the file in place" },
	[OPTION_CHECK] = { .name = "check",
			   .help = "print nothing; exit 1 if the form is not canonical" },
	[OPTION_CONFIRM] = { .name = "confirm",
			     .metavar = "TIME",
			     .help = "go back unless it is confirmed within this time; 0: need not be" },
	[OPTION_NO_CONFIRM] = { .name = "no-confirm", .help = "take effect for good at once" },
	[OPTION_FORCE] = { .name = "force", .help = "whatever it cuts off or drops" },
	[OPTION_LIST] = { .name = "list",
			  .help = "show the policies that ran, and change nothing" },
	[OPTION_CHAIN] = { .name = "chain",
			   .metavar = "NAME",
			   .help = "only this chain",
			   .complete = COMPLETE_CHAIN },
	[OPTION_RULE] = { .name = "rule",
			  .metavar = "ID",
			  .help = "only this rule",
			  .complete = COMPLETE_RULE },
	[OPTION_REASON] = { .name = "reason",
			    .metavar = "REASON",
			    .help = "only this reason",
			    .complete = COMPLETE_REASON },
	[OPTION_AS] = { .name = "as",
			.metavar = "ZONE",
			.help = "the zone it belongs to",
			.complete = COMPLETE_ZONE },
	[OPTION_ROLE] = { .name = "role",
			  .metavar = "ROLE",
			  .help = "what else the device is for (not carried out yet)" },
	[OPTION_AT] = { .name = "at",
			.metavar = "ZONE.ingress|ZONE.egress",
			.help = "where the packet is met",
			.complete = COMPLETE_POINT },
	[OPTION_FRAME] = { .name = "frame",
			   .metavar = "HEX",
			   .help = "an Ethernet frame, without FCS" },
	[OPTION_PCAP] = { .name = "pcap",
			  .metavar = "FILE",
			  .help = "every frame of a capture file",
			  .complete = COMPLETE_FILE },
	[OPTION_TTL] = { .name = "ttl",
			 .metavar = "TIME",
			 .help = "they leave after this time and not after the set's, or never" },
	[OPTION_YES] = { .name = "yes", .letter = 'y', .help = "do not ask" },
	[OPTION_KEEP_STATE] = { .name = "keep-state",
				.help = "leave the saved policy and the history where they are" },
	[OPTION_STATE_DIR] = { .name = "state-dir",
			       .metavar = "DIR",
			       .help = "where no daemon runs: the --state-dir that it had",
			       .complete = COMPLETE_DIRECTORY },
	[OPTION_PIN_DIR] = { .name = "pin-dir",
			     .metavar = "DIR",
			     .help = "where no daemon runs: the --pin-dir that it had",
			     .complete = COMPLETE_DIRECTORY },
};

#define LIST (OPTION_BIT(OPTION_LIMIT) | OPTION_BIT(OPTION_ALL))
#define FILE_ARG                                            \
	{                                                   \
		{                                           \
			"FILE", COMPLETE_FILE, false, false \
		}                                           \
	}

const struct command commands[] = {
	{
		.name = "check",
		.summary = "say whether a policy is good",
		.details =
			"Reads a policy and the set files it names, offline: no daemon and no privilege is\n"
			"needed. Reports every error with its place. What passes here, apply accepts.\n"
			"FILE may be - for standard input.",
		.args = FILE_ARG,
		.options = OPTION_BIT(OPTION_STATS),
		.run = verb_check,
	},
	{
		.name = "fmt",
		.summary = "print a policy in its canonical form",
		.details = "One rule a line, comments kept. FILE may be - for standard input.",
		.args = FILE_ARG,
		.options = OPTION_BIT(OPTION_WRITE) | OPTION_BIT(OPTION_CHECK),
		.run = verb_fmt,
	},
	{
		.name = "diff",
		.summary = "compare a policy with the running one",
		.details =
			"Compares what the policies mean: zones, sets, chains and rules, not lines of text.\n"
			"Exits with 0 when they are the same and with 1 when they differ.",
		.args = FILE_ARG,
		.run = verb_diff,
	},
	{
		.name = "apply",
		.summary = "make a policy the running one",
		.details =
			"The policy and its set files are opened by the caller and handed to the daemon. When\n"
			"apply returns with 0 the policy is attached and enforced; a refused policy changes\n"
			"nothing.\n"
			"\n"
			"With a time to confirm in, packets meet the policy of before again when 'penstock confirm'\n"
			"does not come in time, whether the daemon lives or not. The time is that of '--confirm',\n"
			"else the policy's 'safety.confirm', else 60s for who sits at a terminal of a remote login.\n"
			"Meanwhile no other change begins.\n"
			"\n"
			"A policy that drops packets of the caller's own remote login, or a new one from the same peer,\n"
			"is refused with the rule that does, unless '--force' is given; so is one whose tables drop what\n"
			"its own 'safety.never-drop' protects.",
		.args = FILE_ARG,
		.options = OPTION_BIT(OPTION_CONFIRM) | OPTION_BIT(OPTION_NO_CONFIRM) |
			   OPTION_BIT(OPTION_FORCE),
		.run = verb_apply,
	},
	{
		.name = "confirm",
		.summary = "let the applied policy stay",
		.details =
			"For a policy that was applied with a time to confirm in. Exits with 1 when nothing waits to\n"
			"be confirmed, or when it is too late.",
		.run = verb_confirm,
	},
	{
		.name = "rollback",
		.summary = "go back to the policy that ran before",
		.details =
			"A policy that waits to be confirmed is undone at once. Else the last policy that ran before\n"
			"and says something else is applied again, from the texts that the daemon has kept; another\n"
			"rollback goes forth again. Where none runs, as after a reboot, the last one that did comes back.\n"
			"The daemon keeps the last 10 policies: see '--list'.",
		.options = OPTION_BIT(OPTION_LIST),
		.run = verb_rollback,
	},
	{
		.name = "status",
		.summary = "show the policy, the attached devices and the chains",
		.details =
			"Chains show how many packets and bytes they received, passed and dropped.",
		.run = verb_status,
	},
	{
		.name = "rules",
		.summary = "show the rules with their counters",
		.details =
			"In order of precedence; a chain's default is its last row, with the id default.",
		.options = LIST | OPTION_BIT(OPTION_CHAIN) | OPTION_BIT(OPTION_RULE),
		.run = verb_rules,
	},
	{
		.name = "sets",
		.summary = "show the address sets",
		.details =
			"MEMBERS are the prefixes that the policy gives, without duplicates and covered ones;\n"
			"RUN-TIME are those that were added with 'set add'. MAX bounds both together.",
		.options = LIST,
		.run = verb_sets,
	},
	{
		.name = "set add",
		.summary = "add addresses and prefixes to a set, or make them stay longer",
		.details =
			"For sets with 'max' or 'ttl'. Packets meet the new members when the command returns. A\n"
			"member that is there already starts its time anew. Members survive the daemon, but not\n"
			"a reboot. When not all of them fit, none is added.\n"
			"Without ADDR, or with - alone, a list is read from standard input: one a line, # comments.",
		.args = { { "NAME", COMPLETE_SET, false, false },
			  { "ADDR", COMPLETE_NOTHING, true, true } },
		.options = OPTION_BIT(OPTION_TTL),
		.run = verb_set_change,
	},
	{
		.name = "set del",
		.summary = "remove addresses and prefixes from a set",
		.details =
			"Only what was added with 'set add', by the same prefix. Exits with 1 when one of them was\n"
			"no member, or is one by the policy; the others are removed. Lists as for 'set add'.",
		.args = { { "NAME", COMPLETE_SET, false, false },
			  { "ADDR", COMPLETE_NOTHING, true, true } },
		.run = verb_set_change,
	},
	{
		.name = "set list",
		.summary = "show the members of a set",
		.details =
			"What was added at run time comes first, in no order, then what the policy gives. Members\n"
			"that come or go while a long list is printed may be missing from it.",
		.args = { { "NAME", COMPLETE_SET, false, false } },
		.options = LIST,
		.run = verb_set_list,
	},
	{
		.name = "drops",
		.summary = "show what was dropped, by reason, chain and rule",
		.details = "Sorted by packets.",
		.options = LIST | OPTION_BIT(OPTION_REASON) | OPTION_BIT(OPTION_CHAIN),
		.run = verb_drops,
	},
	{
		.name = "flows",
		.summary = "show who talks to whom",
		.details =
			"Both directions of a conversation in one row, the newest packet first, then the tuples of\n"
			"packets that were dropped last. Needs a policy with 'telemetry: {flows: {}}'.",
		.options = LIST,
		.run = verb_flows,
	},
	{
		.name = "attach",
		.summary = "enforce a zone's chains on a device",
		.details = "Holds until the device is detached or an applied policy names it.",
		.args = { { "DEV", COMPLETE_DEVICE, false, false } },
		.options = OPTION_BIT(OPTION_AS) | OPTION_BIT(OPTION_ROLE),
		.run = verb_attach,
	},
	{
		.name = "detach",
		.summary = "stop enforcing on a device",
		.details = "Holds until the device is attached or an applied policy names it.",
		.args = { { "DEV", COMPLETE_ATTACHED, false, false } },
		.run = verb_detach,
	},
	{
		.name = "purge",
		.summary = "take penstock off the devices and its state off the machine",
		.details =
			"Ends all filtering of the instance and removes what it left: programs and filters on devices,\n"
			"a clsact qdisc of its making unless others have filters there, pinned maps with their counters\n"
			"and run-time members, the saved policies and the history, sockets and directories. The daemon\n"
			"does it and ends; where none runs, root can do it all the same, in the network namespace in\n"
			"which it ran. Says what was removed, and exits with 1 when something could not be.\n"
			"\n"
			"It asks first. From a script it wants '--yes'.",
		.options = OPTION_BIT(OPTION_YES) | OPTION_BIT(OPTION_KEEP_STATE) |
			   OPTION_BIT(OPTION_STATE_DIR) | OPTION_BIT(OPTION_PIN_DIR),
		.run = verb_purge,
	},
	{
		.name = "explain",
		.summary = "say what would happen to a packet, and why",
		.details =
			"Runs the loaded program on a packet and changes nothing. It says what the packet would\n"
			"meet now, with the flows and run-time sets of the moment, and of one packet also how the\n"
			"program comes to that. A packet is given as a frame in hexadecimal, as a capture file, or\n"
			"as a TUPLE, best in quotes:\n"
			"\n"
			"    tcp 198.51.100.7:40000 > 192.0.2.10:80 syn\n"
			"    udp [2001:db8::1]:40000 > [2001:db8::53]:53\n"
			"    icmp 198.51.100.7 > 192.0.2.10 type echo-request\n"
			"    icmp6 2001:db8::1 > 2001:db8::2 type 2 code 0\n"
			"    47 198.51.100.7 > 192.0.2.10 vlan 100\n"
			"\n"
			"A TCP packet without flags is a SYN; 'none' is one with no flag set.",
		.args = { { "TUPLE", COMPLETE_NOTHING, true, true } },
		.options =
			OPTION_BIT(OPTION_AT) | OPTION_BIT(OPTION_FRAME) | OPTION_BIT(OPTION_PCAP),
		.run = verb_explain,
	},
	{
		.name = "doctor",
		.summary = "say what is broken or in the way, and the remedy",
		.details =
			"Looks at the kernel and its settings as the caller, which takes root for some of it, and asks\n"
			"the daemon about its devices, other programs there and its tables. Prints what is broken,\n"
			"warnings and notes, each with its remedy, and with '--all' also what is good. Exits with 1 when\n"
			"something is broken, a daemon that does not answer included; else with 4 when the daemon may\n"
			"not be asked, and with 0 otherwise.",
		.options = LIST,
		.run = verb_doctor,
	},
	{
		.name = "version",
		.summary = "print the versions of this program and of the daemon",
		.details = "A daemon that cannot be reached is not an error here.",
		.run = verb_version,
	},
	{
		.name = "help",
		.summary = "explain a verb",
		.details = "Without a verb, lists them all.",
		.args = { { "VERB", COMPLETE_VERB, true, true } },
		.run = verb_help,
	},
	{
		.name = "completion",
		.summary = "print the completion script of a shell",
		.details = "SHELL is bash, zsh or fish. For bash: . <(penstock completion bash)",
		.args = { { "SHELL", COMPLETE_SHELL, false, false } },
		.run = verb_completion,
	},
	{
		.name = "__complete",
		.summary = "print candidates for the last word",
		.details = "Called by the completion scripts.",
		.args = { { "WORD", COMPLETE_NOTHING, true, true } },
		.run = verb_complete,
		.hidden = true,
		.raw = true,
	},
	{
		.name = "__manual",
		.summary = "print the table's part of the manual page",
		.details = "Called when the manual page is built.",
		.run = verb_manual,
		.hidden = true,
	},
	{},
};

const struct command *command_find(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

const struct command *command_find_two(const char *first, const char *second)
{
	size_t len = strlen(first);

	for (const struct command *c = commands; c->name; c++)
		if (!strncmp(c->name, first, len) && c->name[len] == ' ' &&
		    !strcmp(c->name + len + 1, second))
			return c;
	return NULL;
}

bool command_is_group(const char *first)
{
	size_t len = strlen(first);

	for (const struct command *c = commands; c->name; c++)
		if (!strncmp(c->name, first, len) && c->name[len] == ' ')
			return true;
	return false;
}

const char *command_nearest(const char *name)
{
	const char *names[64];
	size_t count = 0;

	for (const struct command *c = commands; c->name && count < 64; c++)
		if (!c->hidden)
			names[count++] = c->name;
	return diag_nearest(name, names, count);
}

bool command_takes(const struct command *command, enum option_id id)
{
	return command_options[id].every || command->options & OPTION_BIT(id);
}

enum option_id command_option(const char *name, size_t len)
{
	enum option_id id = 0;

	for (; id < OPTION_COUNT; id++)
		if (strlen(command_options[id].name) == len &&
		    !strncmp(command_options[id].name, name, len))
			break;
	return id;
}
