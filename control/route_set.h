/* SPDX-License-Identifier: Apache-2.0 */
/* What the routes of sets share. */
#pragma once

#include <stdint.h>

struct api_request;
struct json_object;

/* HTTP's words for what sets.h says. */
void route_set_error(struct api_request *r, int error, const char *why);

/* The set that a request names, NULL when it names none; then there is an answer. */
const char *route_set_name(struct api_request *r, struct json_object *json);
