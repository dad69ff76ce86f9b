/* SPDX-License-Identifier: Apache-2.0 */
/* The command table as prose: help texts, usage errors, and its part of the manual page. */
#pragma once

#include <stdio.h>

#include "cleanup.h"
#include "command.h"

/* Says on stderr what is wrong with the command line and how it should look. NULL: no verb yet. */
enum status help_usage_error(const struct command *command, const char *format, ...) _printf_(2, 3);

void help_all(FILE *f);
void help_command(FILE *f, const struct command *command);

/* All commands whose first word is `first`. */
void help_group(FILE *f, const char *first);
