/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/attach and /v1/detach: run-time overrides. They take effect at once and are saved; what can
 * not be attached or saved is taken back.
 */
#include <errno.h>
#include <string.h>

#include "daemon.h"
#include "jsonobj.h"
#include "log.h"
#include "report.h"
#include "routes.h"

struct change {
	struct daemon *d;
	struct api_request *request;
	struct overrides before;
	char dev[IF_NAMESIZE];
	int r;
};

static void change_free(struct change **at)
{
	struct change *c = *at;

	vec_done(&c->before);
	free(c);
	*at = NULL;
}

static void take_back(struct change *c)
{
	_cleanup_free_ char *why = NULL;
	struct daemon *d = c->d;
	int r;

	vec_done(&d->overrides);
	d->overrides = c->before;
	c->before = (struct overrides){};
	r = daemon_refresh_devices(d, &why);
	if (r < 0)
		log_error("attach: %s: %s; the next change of a device tries again", c->dev,
			  why ? why : strerrordesc_np(-r));
}

static void over(struct change *c)
{
	c->d->changing = false;
	daemon_changed(c->d);
	change_free(&c);
}

static void save(void *ctx)
{
	struct change *c = ctx;

	c->r = overrides_save(&c->d->overrides, c->d->state);
}

static void on_saved(void *ctx)
{
	struct change *c = ctx;

	if (c->r < 0) {
		take_back(c);
		log_error("state: overrides: %s; %s is as before", strerrordesc_np(-c->r), c->dev);
		api_error(c->request, 500, "not-saved", "the change cannot be saved: %s",
			  strerrordesc_np(-c->r));
	} else {
		const struct ucred *peer = api_peer(c->request);

		log_info("attach: %s: changed at run time by pid %d, uid %u", c->dev,
			 (int)peer->pid, (unsigned int)peer->uid);
		api_answer(c->request, 200, report_attached(c->d));
	}
	over(c);
}

/* Why the device is not attached after all; NULL when it is. Owned by the caller. */
static char *failure(const struct change *c)
{
	const struct attach_states *states = attach_states(c->d->attach);

	for (size_t i = 0; i < states->count; i++) {
		const struct attach_state *s = &states->at[i];

		if (s->failed && !strcmp(s->dev.name, c->dev))
			return strdup(s->why ? s->why : "no reason given");
	}
	return NULL;
}

static void carry_out(struct change *c, const char *zone)
{
	_cleanup_free_ char *why = NULL;
	struct daemon *d = c->d;
	int r = overrides_copy(&d->overrides, &c->before);

	if (!r)
		r = overrides_set(&d->overrides, c->dev, zone);
	if (!r)
		r = daemon_refresh_devices(d, &why);
	if (!r && zone)
		why = failure(c);
	if (!r && why)
		r = -EIO;
	if (!r)
		r = worker_submit(d->worker, save, on_saved, c);
	if (!r) {
		d->changing = true;
		return;
	}
	take_back(c);
	api_error(c->request, 500, "not-attached", "%s: %s", c->dev,
		  why ? why : strerrordesc_np(-r));
	change_free(&c);
}

static bool is_present(const struct daemon *d, const char *dev)
{
	struct netif_devs devs = {};
	bool found = false;

	if (netif_list(d->netif, &devs) < 0)
		return false;
	for (size_t i = 0; i < devs.count; i++)
		found |= !strcmp(devs.at[i].name, dev);
	vec_done(&devs);
	return found;
}

static bool is_attached(const struct daemon *d, const char *dev)
{
	const struct attach_states *states = attach_states(d->attach);

	for (size_t i = 0; i < states->count; i++) {
		if (!strcmp(states->at[i].dev.name, dev))
			return true;
	}
	return false;
}

/* False when the request was answered with what is wrong. */
static bool is_possible(struct daemon *d, struct api_request *r, const char *dev, const char *zone)
{
	if (d->confirm)
		route_to_confirm(r);
	else if (d->changing || d->stopping)
		api_error(r, 409, "busy", "another change is being carried out; try again");
	else if (!d->running)
		api_error(r, 409, "no-policy", "there is no policy: apply one first");
	else if (d->running->nameless)
		api_error(r, 409, "no-names",
			  "the zones of the running policy are not known: apply it again first");
	else if (zone && !generation_zone(d->running, zone))
		api_error(r, 404, "no-such-zone", "the policy has no zone '%s'", zone);
	else if (zone && !is_present(d, dev))
		api_error(r, 404, "no-such-device", "there is no device '%s'", dev);
	else if (!zone && !is_attached(d, dev))
		api_error(r, 404, "not-attached", "nothing is attached to '%s'", dev);
	else
		return true;
	return false;
}

static void begin(struct daemon *d, struct api_request *r, bool attach)
{
	_cleanup_json_ struct json_object *json = api_json(r);
	const char *dev, *zone = NULL;
	struct change *c;
	size_t len;

	if (!json)
		return;
	dev = json_text(json, "dev");
	if (attach)
		zone = json_text(json, "zone");
	len = dev ? strlen(dev) : 0;
	if (!len || len >= IF_NAMESIZE || (attach && !zone)) {
		api_error(r, 400, "bad-request",
			  attach ? "'dev' and 'zone' must be names"
				 : "'dev' must be a device's name");
		return;
	}
	if (!is_possible(d, r, dev, zone))
		return;
	c = calloc(1, sizeof(*c));
	if (!c) {
		api_error(r, 500, "failed", "out of memory");
		return;
	}
	c->d = d;
	c->request = r;
	memcpy(c->dev, dev, len);
	carry_out(c, zone);
}

void route_attach(void *ctx, struct api_request *r)
{
	begin(ctx, r, true);
}

void route_detach(void *ctx, struct api_request *r)
{
	begin(ctx, r, false);
}
