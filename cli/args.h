/* SPDX-License-Identifier: Apache-2.0 */
/* From the words of a command line to an invocation, by the command table. */
#pragma once

#include "command.h"

/*
 * Reads argv, moving the verb's arguments to its front. STATUS_DONE: call->command is to be run, unless
 * it is NULL: then `help` or `version` was asked for without a verb. STATUS_USAGE: said on stderr what
 * is wrong. With --help or --version the rest is not judged.
 */
enum status args_parse(int argc, char **argv, struct invocation *call, const char **ret_group);
