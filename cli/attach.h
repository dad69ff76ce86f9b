/* SPDX-License-Identifier: Apache-2.0 */
/* What attach, detach and status have in common. */
#pragma once

#include "command.h"

struct json_object;

/* The table of the member `attached` of an answer. */
enum status attach_show(const struct invocation *call, struct json_object *answer);

/* Sends the device of the command line, with the zone unless it is NULL, and shows what is attached. */
enum status attach_ask(const struct invocation *call, const char *path, const char *zone);
