/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes an instance off the machine: programs from devices, clsact qdiscs of our making that nobody else uses, pins,
 * saved state, sockets, directories that are empty then. Everything is known by its pin, so it needs no policy and
 * none of the maps, and works on what any build left. Never touches what is not the instance's by its name.
 */
#pragma once

#include "cleanup.h"

struct json_object;
struct loader;
struct options;

/*
 * Nobody else may work on the instance. l: its pin_dir, and the programs that it knows of as current, -1 for none.
 * state: the state directory, opened; -1 for none. Gives {removed, kept, failed, run_dir, state_dir, pin_dir}, the
 * first three lists of {what, name, why}: `why` of what was kept or failed.
 */
struct json_object *purge_run(const struct options *o, const struct loader *l, int state);

/* penstockd --purge, for an instance without a daemon: the same as JSON on stdout. The exit status. */
int purge_main(const struct options *o);
