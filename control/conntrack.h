/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel's connection tracking knows of flows that are older than the policy. Only asks it: does not
 * make the kernel begin to track.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cleanup.h"

struct flows_entry;

/* Connections that it tracks in this network namespace; 0 also when it is not there. */
uint64_t conntrack_count(void);

/*
 * Calls each() for every name of every connection that both ends have taken part in: TCP past its handshake
 * and not yet closed, UDP and ICMPv4 echo. A translated one has two names, since packets are seen before
 * translation on one side and after it on the other. Left out: TCP of this machine's own sockets, of which the
 * socket table knows more, and ICMPv6, whose identifiers libnl does not tell. May block for long.
 */
int conntrack_each(void (*each)(void *ctx, const struct flows_entry *e), void *ctx) _must_check_;
