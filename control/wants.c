/* SPDX-License-Identifier: Apache-2.0 */
/* See wants.h. */
#include "wants.h"

#include <fnmatch.h>
#include <string.h>

#include "jsonobj.h"
#include "state.h"

static struct override *find_override(const struct overrides *o, const char *dev)
{
	for (size_t i = 0; i < o->count; i++) {
		if (!strcmp(o->at[i].dev, dev))
			return &o->at[i];
	}
	return NULL;
}

int overrides_set(struct overrides *o, const char *dev, const char *zone)
{
	struct override *have = find_override(o, dev), fresh = {};
	size_t dev_len = strlen(dev), zone_len = zone ? strlen(zone) : 0;

	if (dev_len >= sizeof(fresh.dev) || zone_len >= sizeof(fresh.zone))
		return -EINVAL;
	memcpy(fresh.dev, dev, dev_len);
	if (zone)
		memcpy(fresh.zone, zone, zone_len);
	if (!have)
		return vec_push(o, fresh);
	*have = fresh;
	return 0;
}

int overrides_copy(const struct overrides *from, struct overrides *ret)
{
	struct overrides copy = {};
	int r = vec_reserve(&copy, from->count);

	if (r < 0)
		return r;
	for (size_t i = 0; i < from->count; i++)
		copy.at[copy.count++] = from->at[i];
	*ret = copy;
	return 0;
}

static bool is_pattern(const char *text)
{
	return strpbrk(text, "*?[") != NULL;
}

static bool zone_fits(const struct generation_zone *z, const char *dev, bool patterns)
{
	for (size_t i = 0; i < z->devs.count; i++) {
		const char *text = z->devs.at[i];

		if (is_pattern(text) != patterns)
			continue;
		if (patterns ? !fnmatch(text, dev, 0) : !strcmp(text, dev))
			return true;
	}
	return false;
}

bool overrides_drop_named(struct overrides *o, const struct generation *g)
{
	size_t kept = 0, before = o->count;

	for (size_t i = 0; i < before; i++) {
		bool named = false;

		for (size_t z = 0; z < g->zones.count; z++)
			named |= zone_fits(&g->zones.at[z], o->at[i].dev, false) ||
				 zone_fits(&g->zones.at[z], o->at[i].dev, true);
		if (!named)
			o->at[kept++] = o->at[i];
	}
	o->count = kept;
	return kept != before;
}

struct json_object *overrides_to_json(const struct overrides *o)
{
	struct json_object *json = json_object_new_object(), *rows = json_object_new_array();

	for (size_t i = 0; i < o->count; i++) {
		struct json_object *row = json_object_new_object();

		json_add_text(row, "dev", o->at[i].dev);
		json_add_text(row, "zone", *o->at[i].zone ? o->at[i].zone : NULL);
		json_object_array_add(rows, row);
	}
	json_add_u64(json, "schema", 1);
	json_add(json, "overrides", rows);
	return json;
}

static int overrides_from_json(struct overrides *ret, struct json_object *json)
{
	struct json_object *rows = json_member(json, "overrides", json_type_array);
	int r = 0;

	if (!rows)
		return -EBADMSG;
	for (size_t i = 0; !r && i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);
		const char *dev = json_text(row, "dev");

		r = dev ? overrides_set(ret, dev, json_text(row, "zone")) : -EBADMSG;
	}
	return r;
}

int overrides_save(const struct overrides *o, struct state *state)
{
	_cleanup_json_ struct json_object *json = overrides_to_json(o);

	return state_write(state, OVERRIDES_FILE, json);
}

int overrides_load(struct overrides *ret, struct state *state)
{
	_cleanup_json_ struct json_object *json = NULL;
	int r = state_read(state, OVERRIDES_FILE, &json);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return overrides_from_json(ret, json);
}

/* The number of the zone that takes the device, 0 for none. */
static uint8_t zone_of(const struct generation *g, const struct overrides *o,
		       const struct netif_dev *dev, size_t *ret_fitting)
{
	const struct override *said = find_override(o, dev->name);
	int kinds = dev->loopback ? 1 : 2; /* names, then patterns, which the loopback never fits */
	uint8_t zone = 0;

	*ret_fitting = 0;
	if (said) {
		const struct generation_zone *z = generation_zone(g, said->zone);

		return z ? (uint8_t)(z - g->zones.at + 1) : 0;
	}
	for (int patterns = 0; patterns < kinds && !zone; patterns++) {
		for (size_t z = 0; z < g->zones.count; z++) {
			if (!zone_fits(&g->zones.at[z], dev->name, patterns))
				continue;
			(*ret_fitting)++;
			zone = zone ? zone : (uint8_t)(z + 1);
		}
	}
	return zone;
}

static int add_doubt(char **doubts, const char *dev, const char *zone)
{
	char *longer = NULL;

	if (asprintf(&longer, "%s%s'%s' fits several zones, taken as '%s'", *doubts ? *doubts : "",
		     *doubts ? ", " : "", dev, zone) < 0)
		return -ENOMEM;
	free(*doubts);
	*doubts = longer;
	return 0;
}

/* A chain judges its packets, or they make flows that one asks about, or they are accounted. */
static bool is_seen(const struct generation *g, const struct generation_zone *z, enum dp_dir dir)
{
	return z->chain[dir] || z->tracks[dir] || g->flow_slots;
}

static int add_want(const struct generation *g, const struct overrides *o,
		    const struct netif_dev *dev, struct attach_wants *wants, char **doubts)
{
	const struct generation_zone *z;
	size_t fitting;
	uint8_t zone = zone_of(g, o, dev, &fitting);
	int r;

	if (!zone)
		return 0;
	z = &g->zones.at[zone - 1];
	r = fitting > 1 ? add_doubt(doubts, dev->name, z->name) : 0;
	if (r < 0)
		return r;
	return vec_push(wants, (struct attach_want){ .dev = *dev,
						     .zone = zone,
						     .hook = z->hook,
						     .ingress = is_seen(g, z, DP_INGRESS),
						     .egress = is_seen(g, z, DP_EGRESS) });
}

int wants_compute(const struct generation *g, const struct overrides *o,
		  const struct netif_devs *devs, struct attach_wants *ret, char **ret_doubts)
{
	_cleanup_free_ char *doubts = NULL;
	struct attach_wants wants = {};
	int r = 0;

	for (size_t i = 0; g && !r && i < devs->count; i++)
		r = add_want(g, o, &devs->at[i], &wants, &doubts);
	if (!r && !doubts) {
		doubts = strdup("");
		r = doubts ? 0 : -ENOMEM;
	}
	if (r < 0) {
		vec_done(&wants);
		return r;
	}
	*ret = wants;
	*ret_doubts = TAKE_PTR(doubts);
	return 0;
}

static struct attach_want *find_want(struct attach_wants *wants, uint32_t ifindex)
{
	for (size_t i = 0; i < wants->count; i++) {
		if (wants->at[i].dev.ifindex == ifindex)
			return &wants->at[i];
	}
	return NULL;
}

int wants_union(const struct attach_wants *now, const struct attach_wants *next,
		struct attach_wants *ret)
{
	struct attach_wants both = {};
	int r = 0;

	for (size_t i = 0; !r && i < next->count; i++)
		r = vec_push(&both, next->at[i]);
	for (size_t i = 0; !r && i < now->count; i++) {
		struct attach_want *same = find_want(&both, now->at[i].dev.ifindex);

		if (!same) {
			r = vec_push(&both, now->at[i]);
			continue;
		}
		same->ingress |= now->at[i].ingress;
		same->egress |= now->at[i].egress;
	}
	if (r) {
		vec_done(&both);
		return r;
	}
	*ret = both;
	return 0;
}

static bool is_present(const struct netif_devs *devs, const char *name)
{
	for (size_t i = 0; i < devs->count; i++) {
		if (!strcmp(devs->at[i].name, name))
			return true;
	}
	return false;
}

static void add_pending(struct json_object *rows, const char *zone, const char *dev)
{
	struct json_object *row = json_object_new_object();

	json_add_text(row, "zone", zone);
	json_add_text(row, "dev", dev);
	json_object_array_add(rows, row);
}

struct json_object *wants_pending(const struct generation *g, const struct overrides *o,
				  const struct netif_devs *devs)
{
	struct json_object *rows = json_object_new_array();

	for (size_t z = 0; g && z < g->zones.count; z++) {
		const struct generation_zone *zone = &g->zones.at[z];

		for (size_t i = 0; i < zone->devs.count; i++) {
			const char *dev = zone->devs.at[i];

			if (!is_pattern(dev) && !find_override(o, dev) && !is_present(devs, dev))
				add_pending(rows, zone->name, dev);
		}
	}
	for (size_t i = 0; i < o->count; i++) {
		if (*o->at[i].zone && !is_present(devs, o->at[i].dev))
			add_pending(rows, o->at[i].zone, o->at[i].dev);
	}
	return rows;
}
