/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libbpf has to say, kept for the sentence of a failure instead of printed: its messages are the
 * only place where a verifier's reason appears. Per thread, because installing runs on the worker.
 */
#pragma once

#include "cleanup.h"

/* Takes libbpf's output over and forgets what this thread kept. */
void loader_log_begin(void);

/* The last lines since then, joined into one; "" when there were none. Valid until the next begin. */
const char *loader_log_tail(void);

/*
 * Puts a sentence into *ret_why when it is not NULL and empty. The caller owns it; out of memory leaves
 * NULL, the error number is then all there is.
 */
void loader_say(char **ret_why, const char *format, ...) _printf_(2, 3);
