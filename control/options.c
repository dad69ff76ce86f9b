/* SPDX-License-Identifier: Apache-2.0 */
/* See options.h. An instance is a name for three directories; each can be named alone, too. */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "loader.h"

#define NAME_MAX_BYTES   63
#define FLOW_SLOTS_LEAST 1000 /* 1k, which is rounded up */

enum {
	OPTION_POLICY = 256,
	OPTION_INSTANCE,
	OPTION_RUN_DIR,
	OPTION_STATE_DIR,
	OPTION_PIN_DIR,
	OPTION_USER,
	OPTION_FOREGROUND,
	OPTION_TC_ATTACH,
	OPTION_NO_INSPECT,
	OPTION_FLOW_SLOTS,
	OPTION_FEED_DIR,
	OPTION_LOG_LEVEL,
	OPTION_PURGE,
	OPTION_KEEP_STATE,
	OPTION_VERSION,
	OPTION_HELP,
};

static const struct option table[] = {
	{ "policy", required_argument, NULL, OPTION_POLICY },
	{ "instance", required_argument, NULL, OPTION_INSTANCE },
	{ "run-dir", required_argument, NULL, OPTION_RUN_DIR },
	{ "state-dir", required_argument, NULL, OPTION_STATE_DIR },
	{ "pin-dir", required_argument, NULL, OPTION_PIN_DIR },
	{ "user", required_argument, NULL, OPTION_USER },
	{ "foreground", no_argument, NULL, OPTION_FOREGROUND },
	{ "tc-attach", required_argument, NULL, OPTION_TC_ATTACH },
	{ "no-inspect", no_argument, NULL, OPTION_NO_INSPECT },
	{ "feed-dir", required_argument, NULL, OPTION_FEED_DIR },
	{ "flow-slots", required_argument, NULL, OPTION_FLOW_SLOTS },
	{ "log-level", required_argument, NULL, OPTION_LOG_LEVEL },
	{ "purge", no_argument, NULL, OPTION_PURGE },
	{ "keep-state", no_argument, NULL, OPTION_KEEP_STATE },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ "help", no_argument, NULL, OPTION_HELP },
	{},
};

static const char help[] =
	"usage: penstockd [--policy FILE] [--instance NAME] [--user NAME] [--foreground]\n"
	"\n"
	"Enforces a policy at the XDP and TC hooks. Without --policy it adopts what an earlier\n"
	"penstockd left in the kernel, or starts empty. Stopping it leaves the policy enforced.\n"
	"\n"
	"  --policy FILE             apply FILE before saying ready; SIGHUP applies it again\n"
	"  --instance NAME           own sockets, state and pins, named NAME\n"
	"  --user NAME               run as NAME once the directories below are NAME's\n"
	"  --foreground              do not become a daemon\n"
	"  --run-dir DIR             sockets; default /run/penstock[/NAME]\n"
	"  --state-dir DIR           saved state; default /var/lib/penstock[/NAME]\n"
	"  --pin-dir DIR             default /sys/fs/bpf/penstock/NAME, 'default' without a name\n"
	"  --tc-attach auto|clsact   clsact: do not use TCX where the kernel has it\n"
	"  --no-inspect              start no penstock-inspect: other people's programs are known by\n"
	"                            number alone\n"
	"  --flow-slots N            room for established flows, 1k to 16M, rounded up to a power of\n"
	"                            two; for a fresh start, what is pinned keeps its size\n"
	"  --feed-dir DIR            where set files with 'refresh' may lie; may be repeated;\n"
	"                            default /etc/penstock/feeds\n"
	"  --log-level LEVEL         error, warning, info (default) or debug\n"
	"  --purge                   no daemon: take what one left off the devices and the machine, and\n"
	"                            say what as JSON; 'penstock purge' calls it\n"
	"  --keep-state              with --purge: not the saved policy and history\n"
	"  --version, --help\n";

static enum options_verdict usage(const char *format, const char *value)
{
	fprintf(stderr, "penstockd: ");
	fprintf(stderr, format, value);
	fprintf(stderr, "; see penstockd --help\n");
	return OPTIONS_USAGE;
}

static bool is_name(const char *text)
{
	static const char good[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
	size_t len = strlen(text);

	return len && len <= NAME_MAX_BYTES && strspn(text, good) == len && *text != '-' &&
	       strcmp(text, ".") != 0 && strcmp(text, "..") != 0;
}

static bool read_level(const char *text, enum log_level *ret)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };

	for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
		if (strcmp(text, names[i]) != 0)
			continue;
		*ret = (enum log_level)i;
		return true;
	}
	return false;
}

/* A count with k or M, as in a policy: decimal. */
static bool read_slots(const char *text, uint32_t *ret)
{
	unsigned long count;
	uint32_t slots = LOADER_FLOW_SLOTS_MIN;
	char *end;

	errno = 0;
	count = strtoul(text, &end, 10);
	if (errno || !isdigit((unsigned char)*text) || count > LOADER_FLOW_SLOTS_MAX)
		return false;
	if (*end == 'k' || *end == 'M')
		count *= *end++ == 'k' ? 1000 : 1000000;
	if (*end || count < FLOW_SLOTS_LEAST || count > LOADER_FLOW_SLOTS_MAX)
		return false;
	while (slots < count)
		slots *= 2;
	*ret = slots;
	return true;
}

static bool replace(char **at, const char *text)
{
	free(*at);
	*at = strdup(text);
	return *at != NULL;
}

static bool add_dir(struct feeds_dirs *dirs, const char *text)
{
	char *copy = strdup(text);

	if (copy && vec_push(dirs, copy) == 0)
		return true;
	free(copy);
	return false;
}

static enum options_verdict read_one(struct options *o, int what, const char **instance)
{
	switch (what) {
	case OPTION_POLICY:
		return replace(&o->policy, optarg) ? OPTIONS_RUN : OPTIONS_USAGE;
	case OPTION_INSTANCE:
		*instance = optarg;
		return is_name(optarg) ? OPTIONS_RUN : usage("'%s' is no instance name", optarg);
	case OPTION_RUN_DIR:
		return replace(&o->run_dir, optarg) ? OPTIONS_RUN : OPTIONS_USAGE;
	case OPTION_STATE_DIR:
		return replace(&o->state_dir, optarg) ? OPTIONS_RUN : OPTIONS_USAGE;
	case OPTION_PIN_DIR:
		return replace(&o->pin_dir, optarg) ? OPTIONS_RUN : OPTIONS_USAGE;
	case OPTION_USER:
		return replace(&o->user, optarg) ? OPTIONS_RUN : OPTIONS_USAGE;
	case OPTION_FOREGROUND:
		o->foreground = true;
		return OPTIONS_RUN;
	case OPTION_TC_ATTACH:
		o->clsact = !strcmp(optarg, "clsact");
		return o->clsact || !strcmp(optarg, "auto")
			       ? OPTIONS_RUN
			       : usage("--tc-attach is auto or clsact, not '%s'", optarg);
	case OPTION_NO_INSPECT:
		o->no_inspect = true;
		return OPTIONS_RUN;
	case OPTION_FEED_DIR:
		return add_dir(&o->feed_dirs, optarg) ? OPTIONS_RUN : OPTIONS_USAGE;
	case OPTION_FLOW_SLOTS:
		return read_slots(optarg, &o->flow_slots)
			       ? OPTIONS_RUN
			       : usage("--flow-slots is a number from 1k to 16M, not '%s'", optarg);
	case OPTION_LOG_LEVEL:
		return read_level(optarg, &o->level) ? OPTIONS_RUN
						     : usage("'%s' is no log level", optarg);
	case OPTION_PURGE:
		o->purge = true;
		return OPTIONS_RUN;
	case OPTION_KEEP_STATE:
		o->keep_state = true;
		return OPTIONS_RUN;
	case OPTION_VERSION:
		puts("penstockd " PENSTOCK_VERSION);
		return OPTIONS_DONE;
	case OPTION_HELP:
		fputs(help, stdout);
		return OPTIONS_DONE;
	case ':':
		return usage("option '%s' needs a value", table[optopt - OPTION_POLICY].name);
	default:
		return usage("there is no option '%s'", "");
	}
}

static bool fill_in(char **dir, const char *base, const char *name)
{
	if (*dir)
		return true;
	return asprintf(dir, "%s%s%s", base, name ? "/" : "", name ? name : "") >= 0;
}

enum options_verdict options_read(struct options *o, int argc, char *argv[])
{
	const char *instance = NULL;
	enum options_verdict v = OPTIONS_RUN;
	int what;

	*o = (struct options){ .level = LOG_LEVEL_INFO };
	opterr = 0;
	while (v == OPTIONS_RUN && (what = getopt_long(argc, argv, ":", table, NULL)) != -1) {
		if (what == '?')
			v = usage("there is no option '%s'", argv[optind - 1]);
		else
			v = read_one(o, what, &instance);
	}
	if (v != OPTIONS_RUN)
		return v;
	if (optind < argc)
		return usage("'%s' is one word too many", argv[optind]);
	if (o->keep_state && !o->purge)
		return usage("%s", "--keep-state goes with --purge");
	if (!o->feed_dirs.count && !add_dir(&o->feed_dirs, "/etc/penstock/feeds"))
		return usage("%s", "out of memory");
	if (!fill_in(&o->run_dir, "/run/penstock", instance) ||
	    !fill_in(&o->state_dir, "/var/lib/penstock", instance) ||
	    !fill_in(&o->pin_dir, "/sys/fs/bpf/penstock", instance ? instance : "default"))
		return usage("%s", "out of memory");
	return OPTIONS_RUN;
}

void options_done(struct options *o)
{
	free(o->policy);
	free(o->run_dir);
	free(o->state_dir);
	free(o->pin_dir);
	free(o->user);
	for (size_t i = 0; i < o->feed_dirs.count; i++)
		free(o->feed_dirs.at[i]);
	vec_done(&o->feed_dirs);
}
