/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `refresh: on-change`: set files in feed directories are watched, and what a change brings is compiled with the kept
 * texts of the running policy and installed like any other policy. A file that became empty, was cut short,
 * cannot be read, or would leave a set with less than half of its members is refused, and the content of
 * before stays.
 */
#pragma once

#include "cleanup.h"

struct daemon;
struct feeds;
struct generation;
struct json_object;

int feeds_new(struct feeds **ret, struct daemon *d) _must_check_;
void feeds_free(struct feeds **f);

/*
 * May a policy have its files read again? Adds what is wrong to the diagnostics of its compilation and returns
 * -EINVAL then.
 */
int feeds_admit(struct feeds *f, const struct generation *g,
		struct json_object *diagnostics) _must_check_;

/* Another policy runs: its files are watched now, and looked at. */
void feeds_follow(struct feeds *f);

/* A change is over: what had to wait for it goes on. */
void feeds_go_on(struct feeds *f);

/*
 * {refreshed_at, refused_at, why, held} of a file; null for what never happened since the daemon started. held: the
 * last refusal still holds.
 */
struct json_object *feeds_report(const struct feeds *f, const char *file);
