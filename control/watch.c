/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See watch.h. The pins of maps and programs are the worker's: it is the one that replaces them. Those of links
 * are the loop's, which attaches.
 */
#include "watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <systemd/sd-event.h>

#include "daemon.h"
#include "log.h"
#include "options.h"
#include "state.h"

#define EVERY_US 2000000

struct watch {
	struct daemon *d;
	sd_event_source *timer;
	int pinned;      /* by the worker's last look, or -errno */
	char *why;       /* likewise, for an error */
	char *pins_lost; /* the sentence of the loop's last look, NULL: all have their pins */
	bool unsaved;    /* it was said that nothing can be saved */
};

static void look(void *ctx)
{
	struct watch *w = ctx;

	free(TAKE_PTR(w->why));
	w->pinned = loader_repin(w->d->loader, &w->why);
	(void)state_look(w->d->state); /* the loop asks for it */
}

/* Takes why over. */
static void say_pins(struct watch *w, int count, char *why)
{
	if (count > 0)
		log_warning("pins: %d below %s were removed; pinned again", count,
			    w->d->loader->pin_name);
	if (count < 0 && !w->pins_lost)
		log_error("pins: what is missing below %s cannot be pinned again: %s; it is "
			  "enforced while this daemon runs, the next would not find it",
			  w->d->loader->pin_name, why ? why : strerrordesc_np(-count));
	free(w->pins_lost);
	w->pins_lost = count < 0 && !why ? strdup(strerrordesc_np(-count)) : why;
}

static void look_for_links(struct watch *w)
{
	_cleanup_free_ char *why = NULL;
	int links = w->pinned < 0 ? 0 : attach_repin(w->d->attach);

	say_pins(w,
		 w->pinned < 0 || links < 0 ? (w->pinned < 0 ? w->pinned : links)
					    : w->pinned + links,
		 TAKE_PTR(w->why));
	if (!attach_is_whole(w->d->attach) && daemon_refresh_devices(w->d, &why) < 0)
		log_error("attach: %s; tried again in two seconds", why ? why : "failed");
}

static void look_for_state(struct watch *w)
{
	int error = state_error(w->d->state);

	if (error && !w->unsaved)
		log_error("state: %s cannot be written: %s; the policy stays enforced, changes "
			  "are refused until it can",
			  w->d->options->state_dir, strerrordesc_np(-error));
	w->unsaved = error;
	if (!state_renewed(w->d->state))
		return;
	log_info("state: %s can be written again", w->d->options->state_dir);
	daemon_state_renewed(w->d);
}

const char *watch_pins_lost(const struct watch *w)
{
	return w->pins_lost;
}

static void on_looked(void *ctx)
{
	struct watch *w = ctx;

	if (w->d->stopping)
		return;
	look_for_links(w);
	look_for_state(w);
	(void)sd_event_source_set_time_relative(w->timer, EVERY_US); /* these two cannot fail */
	(void)sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
}

/* The next look is EVERY_US after this one has ended. */
static int on_timer(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct watch *w = ctx;

	(void)s, (void)usec;
	if (worker_submit(w->d->worker, look, on_looked, w) < 0)
		on_looked(w); /* out of memory: the look before is as good */
	return 0;
}

int watch_new(struct watch **ret, struct daemon *d)
{
	struct watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->d = d;
	look_for_state(w);
	r = sd_event_add_time_relative(d->event, &w->timer, CLOCK_MONOTONIC, EVERY_US, 0, on_timer,
				       w);
	if (r < 0) {
		free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void watch_free(struct watch **at)
{
	struct watch *w = *at;

	if (!w)
		return;
	sd_event_source_disable_unref(w->timer);
	free(w->why);
	free(w->pins_lost);
	free(w);
	*at = NULL;
}
