/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's messages: `level module: object: what failed: why; what happens now`, one line on stderr,
 * with a syslog priority prefix under a service manager. Never blocks: what a full pipe refuses is
 * counted and said later. Logged once, by the handler that gives up.
 */
#pragma once

#include <stdint.h>

#include "cleanup.h"

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_COUNT,
};

void log_init(enum log_level most_verbose);
void log_at(enum log_level level, const char *format, ...) _printf_(2, 3);
uint64_t log_lost(void);

/* A text of several lines that was made safe before, such as rendered diagnostics. */
void log_text(const char *text);

/* For a daemon that leaves its terminal: from now on lines go to /dev/log. */
void log_to_syslog(void);

#define log_error(...)   log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_at(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)
