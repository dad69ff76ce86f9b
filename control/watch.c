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

#define EVERY_US 2000000

struct watch {
	struct daemon *d;
	sd_event_source *timer;
	int pinned; /* by the worker's last look, or -errno */
	int said;   /* the error that was said last */
};

static void look_for_pins(void *ctx)
{
	struct watch *w = ctx;

	w->pinned = loader_repin(w->d->loader);
}

static void say_pins(struct watch *w, int count)
{
	if (count > 0)
		log_warning("pins: %d below %s were removed; pinned again", count,
			    w->d->loader->pin_dir);
	if (count < 0 && count != w->said)
		log_error("pins: what is missing below %s cannot be pinned again: %s; it is "
			  "enforced while this daemon runs, the next would not find it",
			  w->d->loader->pin_dir, strerrordesc_np(-count));
	w->said = count < 0 ? count : 0;
}

static void look_for_links(struct watch *w)
{
	_cleanup_free_ char *why = NULL;
	int links = w->pinned < 0 ? 0 : attach_repin(w->d->attach);

	say_pins(w, w->pinned < 0 || links < 0 ? (w->pinned < 0 ? w->pinned : links)
					       : w->pinned + links);
	if (!attach_is_whole(w->d->attach) && daemon_refresh_devices(w->d, &why) < 0)
		log_error("attach: %s; tried again in two seconds", why ? why : "failed");
}

static void on_looked(void *ctx)
{
	struct watch *w = ctx;

	if (w->d->stopping)
		return;
	look_for_links(w);
	(void)sd_event_source_set_time_relative(w->timer, EVERY_US); /* these two cannot fail */
	(void)sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
}

/* The next look is EVERY_US after this one has ended. */
static int on_timer(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct watch *w = ctx;

	(void)s, (void)usec;
	if (worker_submit(w->d->worker, look_for_pins, on_looked, w) < 0)
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
	free(w);
	*at = NULL;
}
