/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See apply_switch.h. A device that only the new policy wants is attached while the old one is active:
 * it has no zone there and passes everything, so nothing changes for it before the flip; and a device
 * that cannot be attached is known while there is a way back.
 */
#include "apply_switch.h"

#include <errno.h>
#include <string.h>

#include "daemon.h"
#include "fail.h"
#include "install.h"
#include "log.h"

#define TRIES 3

struct plan {
	struct netif_devs devs;
	struct attach_wants now, next, both;
};

static void plan_done(struct plan *p)
{
	vec_done(&p->devs);
	vec_done(&p->now);
	vec_done(&p->next);
	vec_done(&p->both);
}

static int plan(struct daemon *d, const struct generation *next, const struct overrides *overrides,
		struct plan *p)
{
	const struct generation *now = d->running && !d->running->nameless ? d->running : NULL;
	_cleanup_free_ char *ignored = NULL, *doubts = NULL;
	int r = netif_list(d->netif, &p->devs);

	if (!r)
		r = wants_compute(now, &d->overrides, &p->devs, &p->now, &ignored);
	if (!r)
		r = wants_compute(next, overrides, &p->devs, &p->next, &doubts);
	if (!r)
		r = wants_union(&p->now, &p->next, &p->both);
	return r;
}

static void go_back(struct daemon *d, const struct plan *p)
{
	int r;

	if (d->running && d->running->nameless)
		return;
	r = attach_reconcile(d->attach, &p->now);
	if (r < 0)
		log_error("attach: going back to the devices of before: %s; the next change of a "
			  "device tries again",
			  strerrordesc_np(-r));
}

/* A device that went while we attached to it is no failure of the policy. */
static bool has_vanished(struct daemon *d, const struct attach_wants *wants)
{
	struct netif_devs devs = {};
	size_t found = 0;

	if (netif_list(d->netif, &devs) < 0)
		return false;
	for (size_t i = 0; i < wants->count; i++) {
		for (size_t k = 0; k < devs.count; k++)
			found += devs.at[k].ifindex == wants->at[i].dev.ifindex;
	}
	vec_done(&devs);
	return found < wants->count;
}

/* -EAGAIN when the devices changed under our hands. */
static int try_switch(struct daemon *d, const struct generation *next,
		      const struct overrides *overrides, const struct apply_to *to, char **ret_why)
{
	_cleanup_(plan_done) struct plan p = {};
	_cleanup_free_ char *failures = NULL;
	int r = plan(d, next, overrides, &p);

	if (!r)
		r = attach_set_zones(d->attach, to->bank, &p.next);
	if (r < 0)
		return fail(ret_why, r, "the devices of the policy cannot be prepared: %s",
			    strerrordesc_np(-r));
	r = attach_reconcile(d->attach, &p.both);
	if (!r) {
		failures = daemon_attach_failures(d, &p.next);
		r = failures ? -EIO : 0;
	}
	if (r < 0) {
		go_back(d, &p);
		return fail(ret_why, has_vanished(d, &p.next) ? -EAGAIN : r, "cannot attach: %s",
			    failures ? failures : strerrordesc_np(-r));
	}
	install_flip(d->loader, to->bank, to->deadline);
	return 0;
}

int apply_switch(struct daemon *d, const struct generation *next, const struct overrides *overrides,
		 const struct apply_to *to, char **ret_why)
{
	int r = -EAGAIN;

	for (int tries = 0; r == -EAGAIN && tries < TRIES; tries++)
		r = try_switch(d, next, overrides, to, ret_why);
	return r;
}

void apply_detach_rest(struct daemon *d)
{
	_cleanup_free_ char *why = NULL;
	int r = daemon_refresh_devices(d, &why);

	if (r < 0)
		log_error("attach: %s; the next change of a device tries again",
			  why ? why : strerrordesc_np(-r));
}
