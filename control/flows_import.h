/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows that are older than the first policy that asks for them. Where the kernel tracks connections, what it
 * knows is put among the established flows; elsewhere packets in mid-stream may make a flow for a while.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct loader;

struct flows_import {
	bool tracked; /* the kernel tracks, and its table could be read */
	uint64_t put, full;
};

/* Seconds for which packets in mid-stream may make a flow where there is nothing to import. */
#define FLOWS_ADOPT_SECONDS 120

/*
 * Imports what is there; adds to *i. Once before the flip, and once after it for what began in between. Blocks:
 * for the worker.
 */
void flows_import(struct flows_import *i, const struct loader *l);

/* Sets the tick until which they may (0: they may not); the one of before. */
uint32_t flows_adopt(const struct loader *l, uint32_t until);
