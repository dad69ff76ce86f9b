/* SPDX-License-Identifier: Apache-2.0 */
/* `check --stats`: what a policy's tables are made of, and what memory an apply will take. */
#pragma once

#include "cleanup.h"
#include "command.h"

struct json_object;
struct policy;

/*
 * {image_bytes, bank_bytes: the map that holds it, cpus, maps: [{name, bytes}]: those that every policy has,
 *  fixed_bytes: their sum, memory_bytes: in the kernel after a first apply, memory_both_bytes: when both
 *  banks hold such a policy, run_time_sets: {members, bytes}: once they are full,
 *  apply_peak_bytes: of all processes and the kernel together}
 * NULL when out of memory. The peak of compiling is this process' own: it has just done it.
 */
struct json_object *stats_forecast(const struct policy *policy) _must_check_;

/* Prints all of it. STATUS_FAILED, with a message, when memory runs out. */
enum status stats_show(const struct invocation *call, const struct policy *policy,
		       struct json_object *forecast);
