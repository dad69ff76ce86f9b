/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How full the tables of flows are. They are counted a slice at a time on a timer, so that the loop never waits
 * for a table of gigabytes; what packets count themselves is read when somebody asks.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cleanup.h"

struct flows_import;
struct flows_watch;
struct json_object;
struct loader;
struct sd_event;

int flows_watch_new(struct flows_watch **ret, struct sd_event *event,
		    const struct loader *l) _must_check_;
void flows_watch_free(struct flows_watch **w);

/* Counts while the running policy is stateful; in between nothing comes in and nobody asks. */
int flows_watch_run(struct flows_watch *w, bool stateful) _must_check_;

/* What was imported belongs to what status says. */
void flows_watch_imported(struct flows_watch *w, const struct flows_import *i);

/* The member `state` of status, as docs/api.md has it; NULL with -errno in *ret_error. */
struct json_object *flows_watch_report(const struct flows_watch *w, int *ret_error);
