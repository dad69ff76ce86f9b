/* SPDX-License-Identifier: Apache-2.0 */
/* penstock's real object, with one policy after the other in its bank, without the daemon. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi.h" /* before the skeleton, which needs it */
#include "cleanup.h"
#include "headers.h"
#include "penstock.skel.h"
#include "policy.h"

struct filter {
	struct penstock *skel;
	const struct headers *banned; /* whose sources are members now */
};

/* Frames of the loopback device, a test run's, are of the first zone. flow_slots: a power of two. */
int filter_init(struct filter *f, uint32_t flow_slots) _must_check_;
void filter_done(struct filter *f);

/* Puts a device into the first zone. */
int filter_set_dev(struct filter *f, unsigned int ifindex) _must_check_;

/* The program for XDP or for TC ingress; borrowed. */
int filter_prog(const struct filter *f, bool at_tc);

/* A policy of one chain at ingress of its only zone, compiled and in a map of its own. */
struct filter_policy {
	int bank;
	uint32_t lines; /* of the bank */
	double compile_ms;
	char *why; /* the first error, when the compiler refused it */
};

/* -EINVAL or -E2BIG with `why`; -errno. *p is to be released in every case. */
int filter_policy_new(struct filter_policy *p, const char *path) _must_check_;
void filter_policy_done(struct filter_policy *p);

/* Makes it the one that judges. Not under traffic: the first lines of a bank change before the others. */
int filter_use(struct filter *f, const struct filter_policy *p) _must_check_;

/*
 * Makes established flows of the headers' ends, in the table where packets would make them after a handshake,
 * and ends all others. -ENOSPC when one finds no slot.
 */
int filter_set_flows(struct filter *f, const struct headers *headers) _must_check_;

/*
 * Makes the sources of the headers the members of the run-time set with number 0, which is the first of each policy,
 * as the daemon would. Once: a second list is refused, -EBUSY.
 */
int filter_set_banned(struct filter *f, const struct headers *headers) _must_check_;

/* Packets on all CPUs, of all policies so far: under a reason, by rule n (from 0) of the chain. */
uint64_t filter_counted(const struct filter *f, enum dp_reason reason);
uint64_t filter_rule_counted(const struct filter *f, uint32_t rule);
