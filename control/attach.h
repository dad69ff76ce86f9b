/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs on devices. attach_reconcile() compares what should be attached with what is, by our pinned
 * links, and makes up the difference: attach, detach, update after an upgrade, forget devices that went.
 * XDP and TCX by bpf_link; clsact with our handle and priority where the kernel has no TCX.
 */
#pragma once

#include "loader.h"
#include "model.h"
#include "netif.h"

enum attach_mode {
	ATTACH_XDP_NATIVE,
	ATTACH_XDP_GENERIC,
	ATTACH_TCX,
	ATTACH_CLSACT,
	ATTACH_MODE_COUNT,
};

static inline bool is_xdp(enum attach_mode mode)
{
	return mode == ATTACH_XDP_NATIVE || mode == ATTACH_XDP_GENERIC;
}

/* One device that a zone wants: what the policy and the overrides say, for devices that are present. */
struct attach_want {
	struct netif_dev dev;
	uint8_t zone; /* number as in the bank */
	enum model_hook hook;
	bool ingress, egress; /* the zone has a chain in this direction, or makes flows there */
};

struct attach_state {
	struct netif_dev dev;
	uint8_t zone;
	enum dp_dir dir;
	enum attach_mode mode;
	bool failed;
	bool again; /* it was there, somebody took it away, and it is there again since this reconcile */
	char *why; /* for failed, or why auto fell back; NULL when there is nothing to say */
};

VEC_NAMED(attach_wants, struct attach_want);
VEC_NAMED(attach_states, struct attach_state);

struct attach;
struct inspect;

/*
 * force_clsact: for kernels and tests without TCX. inspect: names other owners' programs, NULL: nobody does. Adopts
 * the links pinned in l->pin_dir/links.
 */
int attach_new(struct attach **ret, struct loader *l, struct inspect *inspect,
	       bool force_clsact) _must_check_;
void attach_free(struct attach **a); /* leaves everything attached */

/*
 * Writes `zone` of every wanted device for a bank into devs. Before a flip this is called for the
 * inactive bank (devices already attached keep their zone in the active one).
 */
int attach_set_zones(struct attach *a, unsigned int bank,
		     const struct attach_wants *wants) _must_check_;

/*
 * Attaches what is wanted and not there, detaches what is there and not wanted, brings links to this
 * build's programs. A device without an entry in devs gets one, with its zone for the active bank; an
 * entry that is there is left to attach_set_zones(). A change of the hook attaches before it detaches,
 * and an attachment stays while its successor is refused: the state is then `failed`, `mode` says what
 * stayed. Failures of single devices are in their states and are tried again each time; the function
 * fails only when nothing could be tried.
 */
int attach_reconcile(struct attach *a, const struct attach_wants *wants) _must_check_;

/* Nothing that is attached, as far as is known, has gone; what has is found by the next reconcile. */
bool attach_is_whole(const struct attach *a);

/* Some device still runs the program of another build, as of the last reconcile. */
bool attach_any_stale(const struct attach *a);

/* Pins again the links that have lost their pin. Gives how many there were, or -errno. */
int attach_repin(const struct attach *a) _must_check_;

/* Borrowed; valid until the next reconcile. */
const struct attach_states *attach_states(const struct attach *a);
