/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the state directory whose failure changes nothing now: written on the worker, in order. */
#pragma once

struct daemon;
struct json_object;

/* Takes json over, copies the name. loss: what a failure means, for the log; not copied. */
void save_later(struct daemon *d, const char *name, struct json_object *json, const char *loss);
