/* SPDX-License-Identifier: Apache-2.0 */
/*
 * penstockd: one loop, one struct that is passed on. The loop never waits; what may take long is on the
 * worker or in a compiling child.
 */
#pragma once

#include "apply.h"
#include "attach.h"
#include "explain.h"
#include "flows_watch.h"
#include "generation.h"
#include "handover.h"
#include "history.h"
#include "loader.h"
#include "netif.h"
#include "sets.h"
#include "sets_given.h"
#include "wants.h"
#include "worker.h"

struct api;
struct api_request;
struct confirm;
struct feeds;
struct inspect;
struct options;
struct reload;
struct set_call;
struct watch;
struct sd_event;
struct state;

struct daemon {
	const struct options *options;
	struct sd_event *event;
	struct handover handover;
	struct inspect *inspect;
	struct state *state;
	struct loader *loader;
	struct attach *attach;
	struct netif *netif;
	struct watch *watch;
	struct flows_watch *flows;
	struct accounting *accounting;
	struct sets *sets;
	struct sets_given *given;
	struct feeds *feeds;
	struct worker *worker;
	struct api *api;
	struct explain *explain; /* the worker's */

	struct generation *running; /* NULL: the banks hold no policy */
	struct confirm *confirm;    /* while it waits to be confirmed */
	struct history history;
	struct overrides overrides;
	uint64_t
		migrated_from; /* the generation whose place a migration gave to the running one, or 0 */
	uint64_t last_number; /* the highest generation ever, as far as we know */

	struct reload *reload;      /* while the set files of --policy are listed */
	struct apply *applies;      /* under way, checks included */
	struct set_call *set_calls; /* lists of members that are being read */
	unsigned int checks;        /* of them, those that change nothing */
	bool changing;              /* an apply, attach or detach is under way: no second one */
	bool reload_wanted;         /* SIGHUP came while changing */
	bool policy_refused;        /* the file of --policy, when it was read last */
	bool ready, stopping;
	struct api_request *purge; /* who asked for it, once we stop; `stopping` then */
	bool purge_keeps_state;
	char *doubts, *failures; /* said last, so that they are not said again */
	int status;              /* of the process */
	int tell_parent;         /* pipe to the process that waits for us to be ready, or -1 */
};

/* Runs until a signal; the exit status. tell_parent: gets one byte, our exit status, once we are ready. */
int daemon_run(const struct options *options, int tell_parent);

/* Makes what is attached, and as which zone, what the running policy and the overrides say. */
int daemon_refresh_devices(struct daemon *d, char **ret_why) _must_check_;

/* A sentence about the wanted devices that could not be attached, NULL when there are none. */
char *daemon_attach_failures(const struct daemon *d, const struct attach_wants *wants);

/* Another policy is the running one: who follows it hears of it. */
void daemon_policy_changed(struct daemon *d);

/* The state directory can be written again: it gets what it should hold, and what waited for it goes on. */
void daemon_state_renewed(struct daemon *d);

/* The change is over: what waited for it may go on. */
void daemon_changed(struct daemon *d);

/* The policy of --policy runs, or does not: from here on we are ready, or stop. */
void daemon_started(struct daemon *d, bool good);

/* Ends the loop. What is attached stays, unless d->purge says otherwise. */
void daemon_stop(struct daemon *d, int status);

/* Starts applying the file of --policy, as at a start and on SIGHUP. */
void daemon_reload(struct daemon *d);
void daemon_reload_cancel(struct daemon *d);
