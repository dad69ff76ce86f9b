/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a policy cut off who applies it? Before the flip, four frames of his login go through the new bank: its next
 * packet, the reply, a fresh SYN from the same peer, and the reply to that. And does it drop what it says it never
 * drops? Frames are run by explain's load of the program: never matched here.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <netinet/in.h>

#include "cleanup.h"
#include "wants.h"

struct daemon;
struct json_object;

struct guard_end {
	union {
		struct in_addr ipv4;
		struct in6_addr ipv6;
	} addr;
	uint16_t port; /* host order */
};

/* What is asked of a policy. */
struct guard {
	int family;                   /* AF_INET, AF_INET6; AF_UNSPEC: nothing is asked */
	struct guard_end here, there; /* of the login */
	/* where the login's packets come in and go out; zone 0: where no zone of the policy is */
	uint32_t ifindex;
	uint8_t zone;
};

/* {here, here_port, there, there_port}, addresses as text; false when it is not that. */
bool guard_read(struct guard *ret, struct json_object *json);

/* On the loop: finds the device of the login and its zone in the policy that is to be. */
void guard_aim(struct guard *g, struct daemon *d, const struct generation *next,
	       const struct overrides *overrides);

/*
 * Of the login. On the worker, with the policy in a bank that is not active. 0, or -EPERM with a sentence that names
 * the frame, the rule and its place; other errors: it cannot be told, with a sentence.
 */
int guard_ask(const struct guard *g, struct daemon *d, const struct generation *next,
	      unsigned int bank, char **ret_why) _must_check_;

/* The same of what `safety.never-drop` promises, in both directions, with frames that the compiler made of it. */
int guard_never_drop(struct daemon *d, const struct generation *next, unsigned int bank,
		     char **ret_why) _must_check_;
