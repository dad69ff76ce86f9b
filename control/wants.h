/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which device belongs to which zone: what the policy says, changed by `attach` and `detach` at run time.
 * What is doubtful comes back as a
 * sentence.
 */
#pragma once

#include "attach.h"
#include "generation.h"
#include "netif.h"

struct json_object;
struct state;

/* A run-time override: kept until the next apply that names the device. */
struct override {
	char dev[IF_NAMESIZE];
	char zone[MODEL_NAME_MAX + 1]; /* "": detached */
};

VEC_NAMED(overrides, struct override);

/* zone NULL: detach. Replaces what was said before about the device. */
int overrides_set(struct overrides *o, const char *dev, const char *zone) _must_check_;
int overrides_copy(const struct overrides *from, struct overrides *ret) _must_check_;

/* Drops those of devices that a zone of the policy names, by name or pattern. True when there were any. */
bool overrides_drop_named(struct overrides *o, const struct generation *g);

/* In the state directory; may block. Loading: nothing saved is no override. */
#define OVERRIDES_FILE "overrides.json"
#define OVERRIDES_LOSS "those of before come back at the next start"
struct json_object *overrides_to_json(const struct overrides *o);
int overrides_save(const struct overrides *o, struct state *state) _must_check_;
int overrides_load(struct overrides *ret, struct state *state) _must_check_;

/*
 * The devices that are present and wanted, by precedence:
 *   1. an override, 2. a zone that names the device, 3. the first zone with a pattern that fits; patterns
 *   never take the loopback device.
 * ret_doubts: sentences about devices that several zones want, "" for none; owned by the caller.
 */
int wants_compute(const struct generation *g, const struct overrides *o,
		  const struct netif_devs *devs, struct attach_wants *ret,
		  char **ret_doubts) _must_check_;

/*
 * What is to be attached while both policies may be active: all of `next`, and of `now` what is not in it;
 * directions add up.
 */
int wants_union(const struct attach_wants *now, const struct attach_wants *next,
		struct attach_wants *ret) _must_check_;

/* [{zone, dev}]: devices that are wanted by name and are not there. */
struct json_object *wants_pending(const struct generation *g, const struct overrides *o,
				  const struct netif_devs *devs);
