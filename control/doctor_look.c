/* SPDX-License-Identifier: Apache-2.0 */
/* See doctor_look.h. */
#include "doctor_look.h"

#include <errno.h>
#include <string.h>
#include <sys/vfs.h>

#include <linux/magic.h>

#include "daemon.h"
#include "loader_pins.h"
#include "options.h"

/* ---- on the loop ----------------------------------------------------------------------------------- */

/* From where the last one was found: they stand in the same order. */
static struct doctor_dev *find(struct doctor_facts *facts, uint32_t ifindex, size_t *hint)
{
	for (size_t i = 0; i < facts->devs.count; i++) {
		size_t at = (*hint + i) % facts->devs.count;

		if (facts->devs.at[at].dev.ifindex != ifindex)
			continue;
		*hint = at;
		return &facts->devs.at[at];
	}
	return NULL;
}

static int add_wants(const struct daemon *d, const struct netif_devs *devs,
		     struct doctor_facts *facts)
{
	_cleanup_free_ char *doubts = NULL;
	struct attach_wants wants = {};
	int r = 0;

	if (d->running && !d->running->nameless)
		r = wants_compute(d->running, &d->overrides, devs, &wants, &doubts);
	for (size_t i = 0; !r && i < wants.count; i++) {
		const struct attach_want *w = &wants.at[i];
		struct doctor_dev dev = { .dev = w->dev, .hook = w->hook };

		dev.at[DP_INGRESS].wanted = w->ingress;
		dev.at[DP_EGRESS].wanted = w->egress;
		r = vec_push(&facts->devs, dev);
	}
	vec_done(&wants);
	return r;
}

/* What is attached for a policy that may come back is here as well. */
static int add_states(const struct attach_states *states, struct doctor_facts *facts)
{
	size_t hint = 0;

	for (size_t i = 0; i < states->count; i++) {
		const struct attach_state *s = &states->at[i];
		struct doctor_dev *dev = find(facts, s->dev.ifindex, &hint);
		struct doctor_place *place;
		int r = 0;

		if (!dev)
			r = vec_push(&facts->devs, (struct doctor_dev){ .dev = s->dev });
		if (r)
			return r;
		dev = dev ? dev : &facts->devs.at[facts->devs.count - 1];
		place = &dev->at[s->dir];
		place->wanted = true;
		place->attached = !s->failed;
		place->mode = s->mode;
		place->why = s->why ? strdup(s->why) : NULL;
	}
	return 0;
}

int doctor_begin(const struct daemon *d, struct doctor_facts *ret)
{
	struct doctor_facts facts = { .loader = d->loader, .pin_dir = d->options->pin_dir };
	int r = netif_list(d->netif, &facts.present);

	if (!r)
		r = add_wants(d, &facts.present, &facts);
	if (!r)
		r = add_states(attach_states(d->attach), &facts);
	if (r)
		doctor_done(&facts);
	else
		*ret = facts;
	return r;
}

/* ---- on the worker --------------------------------------------------------------------------------- */

static void find_peer(const struct doctor_facts *facts, struct doctor_dev *dev)
{
	for (size_t i = 0; dev->dev.peer && i < facts->present.count; i++) {
		if (facts->present.at[i].ifindex == dev->dev.peer)
			dev->peer = facts->present.at[i];
	}
}

/* The next start looks by the path; where a service user may not go that way, by what this start opened. */
static int look_at_pins(const struct doctor_facts *facts)
{
	const char *dir = facts->pin_dir;
	struct statfs fs;
	int r = statfs(dir, &fs) < 0 ? -errno : 0;

	if (r == -EACCES) {
		dir = facts->loader->pin_dir;
		r = statfs(dir, &fs) < 0 ? -errno : 0;
	}
	if (r)
		return r;
	if (fs.f_type != BPF_FS_MAGIC)
		return -EMEDIUMTYPE;
	return pins_has(dir, PINS_MAPS, "ctl") ? 0 : -ENOENT;
}

static bool has_xdp(const struct netif_xdps *xdps, uint32_t ifindex)
{
	for (size_t i = 0; i < xdps->count; i++) {
		if (xdps->at[i].ifindex == ifindex)
			return true;
	}
	return false;
}

static void look_at_dev(const struct doctor_facts *facts, const struct netif_xdps *xdps,
			struct doctor_dev *dev)
{
	(void)netif_offloads(dev->dev.name, &dev->offloads); /* all off, if it went */
	(void)attach_list_programs(facts->loader, xdps, dev->dev.ifindex,
				   &dev->programs); /* short of memory: those so far */
	find_peer(facts, dev);
	if (!dev->peer.ifindex)
		return;
	(void)netif_offloads(dev->peer.name, &dev->peer_offloads); /* as above */
	dev->peer_xdp = has_xdp(xdps, dev->peer.ifindex);
}

void doctor_look(struct doctor_facts *facts)
{
	struct netif_xdps xdps = {};

	facts->pins = look_at_pins(facts);
	if (netif_list_xdp(&xdps) < 0)
		xdps.count = 0; /* as if there were none */
	for (size_t i = 0; i < facts->devs.count; i++)
		look_at_dev(facts, &xdps, &facts->devs.at[i]);
	vec_done(&xdps);
}

void doctor_done(struct doctor_facts *facts)
{
	for (size_t i = 0; i < facts->devs.count; i++) {
		for (int dir = 0; dir < DP_DIR_COUNT; dir++)
			free(facts->devs.at[i].at[dir].why);
		vec_done(&facts->devs.at[i].programs);
	}
	vec_done(&facts->devs);
	vec_done(&facts->present);
}
