/* SPDX-License-Identifier: Apache-2.0 */
/* Diagnostics on their way to the user, for every verb that reads a policy. */
#pragma once

#include "command.h"

struct diag_list;
struct json_object;

/* For people, on stderr, the first 20 of an answer of the daemon. */
void diags_show_answer(struct json_object *answer);

/* For programs, on stdout, all; with a member `policy`, taken, or null. */
enum status diags_print(const struct diag_list *diags, const char *name,
			struct json_object *policy);

/*
 * What input_load() found, r being what it returned. For people all of it on stderr; with --json the
 * document of a refused policy on stdout. STATUS_FAILED for a refused one.
 */
enum status diags_result(const struct invocation *call, const struct diag_list *diags, int r,
			 const char *name);
