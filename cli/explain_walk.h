/* SPDX-License-Identifier: Apache-2.0 */
/* How the program came to its verdict on one frame, for people. */
#pragma once

#include "cleanup.h"
#include "command.h"

struct json_object;

/* The line of a name and its text that `explain` consists of; empty text shows as "-". */
void explain_line(const char *what, const char *text);

/* result: of /v1/explain, `walk` included. */
enum status explain_walk_print(const struct invocation *call,
			       struct json_object *result) _must_check_;
