/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon says about itself, as docs/api.md has it. Each returns an object of its own, or NULL
 * with -errno in *ret_error when the kernel could not be read.
 */
#pragma once

struct attach_states;
struct daemon;
struct generation;
struct json_object;

struct json_object *report_version(const struct daemon *d);
struct json_object *report_status(const struct daemon *d, int *ret_error);
struct json_object *report_rules(const struct daemon *d, int *ret_error);
struct json_object *report_drops(const struct daemon *d, int *ret_error);
struct json_object *report_policy(const struct daemon *d); /* without a policy: {policy: null} */
struct json_object *report_attached(const struct daemon *d);

/* {file, dir, digest, generation, applied_at} */
struct json_object *report_generation(const struct generation *g);

const char *report_reason(unsigned int reason);  /* "rule", … */
const char *report_verdict(unsigned int reason); /* of the packets with this reason */
