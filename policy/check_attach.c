/* SPDX-License-Identifier: Apache-2.0 */
/* attach: zones and their devices. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

#define DEVICE_BYTES 15 /* IFNAMSIZ without the NUL */

struct named_device {
	const struct tree_node *node;
	const char *zone;
};

VEC_NAMED(device_list, struct named_device);

static const char *device_fault(const struct tree_node *node)
{
	const char *name = node->text;

	if (!node->len)
		return "a device name cannot be empty";
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return "no device can have this name";
	if (strchr(name, '/'))
		return "a device name cannot hold '/'";
	if (strchr(name, ':'))
		return "a device name cannot hold ':'";
	for (const char *p = name; *p; p++) {
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return "a device name cannot hold white space or control characters";
	}
	if (!strpbrk(name, "*?[") && node->len > DEVICE_BYTES)
		return "a device name has at most 15 bytes";
	return NULL;
}

static void check_devices(struct check *c, struct model_zone *zone, const struct tree_node *node,
			  struct device_list *all)
{
	const struct schema_key *key = &schema_zone.keys[ZONE_DEV];

	check_room(c, &zone->devs, value_count(node));
	if (!value_count(node))
		diag_error(c->diags, node->span, "wrong-type", "zone '%s' has no device",
			   zone->name);
	for (const struct tree_node *v = value_first(node); v; v = value_next(node, v)) {
		const char *fault, *name;

		if (!check_value(c, key, v))
			continue;
		fault = device_fault(v);
		if (fault) {
			diag_error(c->diags, v->span, "bad-device", "invalid device name '%s': %s",
				   quote_node(c, v), fault);
			continue;
		}
		name = arena_strndup(&c->model->arena, v->text, v->len);
		if (!name || vec_push(all, (struct named_device){ v, zone->name }))
			c->out_of_memory = true;
		else
			check_push(&zone->devs, name);
	}
}

static void check_zone(struct check *c, struct tree_node *node, struct device_list *all)
{
	static const enum model_hook hooks[] = { MODEL_HOOK_AUTO, MODEL_HOOK_XDP,
						 MODEL_HOOK_XDP_GENERIC, MODEL_HOOK_TC };
	struct tree_node *slots[ZONE_KEY_COUNT];
	struct model_zone zone = { .span = node->key->span };
	int hook;

	(void)check_name(c, "zone",
			 node->key); /* reported; the zone stays, so that chains find it */
	zone.name = arena_strndup(&c->model->arena, node->key->text, node->key->len);
	if (!zone.name) {
		c->out_of_memory = true;
		return;
	}
	(void)schema_bind(c->diags, &schema_zone, print(c, "zone '%s'", quote_node(c, node->key)),
			  node, slots); /* what is there can be checked all the same */
	if (slots[ZONE_DEV])
		check_devices(c, &zone, slots[ZONE_DEV], all);
	if (slots[ZONE_HOOK]) {
		hook = check_word(c, &schema_zone.keys[ZONE_HOOK], slots[ZONE_HOOK]);
		zone.hook = hook >= 0 ? hooks[hook] : MODEL_HOOK_AUTO;
	}
	check_push(&c->model->zones, zone);
}

static int compare_devices(const void *a, const void *b)
{
	const struct named_device *x = a, *y = b;
	int d = strcmp(x->node->text, y->node->text);

	if (d)
		return d;
	return x->node->at < y->node->at ? -1 : x->node->at > y->node->at;
}

static void check_twice(struct check *c, struct device_list *all)
{
	size_t first = 0;

	if (all->count)
		qsort(all->at, all->count, sizeof(*all->at), compare_devices);
	for (size_t i = 1; i < all->count; i++) {
		const struct named_device *one = &all->at[first], *two = &all->at[i];

		if (strcmp(one->node->text, two->node->text) != 0) {
			first = i;
			continue;
		}
		diag_error(c->diags, two->node->span, "duplicate-device",
			   "device '%s' is in zone '%s' already; a device has one zone",
			   quote_node(c, two->node),
			   diag_quote(c->diags, one->zone, strlen(one->zone)));
		diag_note(c->diags, one->node->span, "first named here");
	}
}

void check_attach(struct check *c, struct tree_node *node)
{
	struct device_list all = {};

	if (!node)
		return;
	if (node->count > DP_ZONE_MAX)
		diag_error(c->diags, node->key->span, "capacity",
			   "%" PRIu32 " zones are over the limit of %d", node->count, DP_ZONE_MAX);
	check_room(c, &c->model->zones, node->count);
	for (struct tree_node *child = node->first; child; child = child->next)
		check_zone(c, child, &all);
	check_twice(c, &all);
	vec_done(&all);
}
