/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread for what blocks: disks, big maps, verifiers. Tasks run in the order they came; when one is
 * done, the loop is told and calls its done().
 */
#pragma once

#include "cleanup.h"

struct sd_event;
struct worker;

int worker_new(struct worker **ret, struct sd_event *event) _must_check_;

/* Finishes what is queued, and calls every done() that is due, on the calling thread. */
void worker_free(struct worker **w);

/* run() is called on the thread, then done() on the loop, both with ctx. -ESHUTDOWN while freeing. */
int worker_submit(struct worker *w, void (*run)(void *ctx), void (*done)(void *ctx),
		  void *ctx) _must_check_;
