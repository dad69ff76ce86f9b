/* SPDX-License-Identifier: Apache-2.0 */
/* What the command line says. Texts are owned by the struct. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "feeds_file.h"
#include "log.h"

enum options_verdict {
	OPTIONS_RUN,
	OPTIONS_DONE,  /* --help or --version was answered: exit 0 */
	OPTIONS_USAGE, /* said what is wrong: exit 2 */
};

struct options {
	char *policy; /* NULL: adopt what is there, or start empty */
	char *run_dir, *state_dir, *pin_dir;
	char *user;                  /* NULL: who starts it */
	struct feeds_dirs feed_dirs; /* at least one */
	bool foreground, clsact, no_inspect;
	bool purge, keep_state; /* keep_state: of a purge */
	uint32_t flow_slots;    /* a power of two, 0: not said */
	enum log_level level;
};

enum options_verdict options_read(struct options *o, int argc, char *argv[]);
void options_done(struct options *o);
