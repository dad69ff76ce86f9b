/* SPDX-License-Identifier: Apache-2.0 */
/*
 * services: checked in full, not carried out, so nothing of them enters the model. A service is read into
 * a struct of this file that later checks compare.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"

struct address {
	struct prefix prefix;
	const struct tree_node *node;
};

struct listener {
	struct prefix vip;
	struct model_range ports;
	bool udp;
	const struct tree_node *node; /* of the port */
	const char *service;
};

struct backend {
	const struct tree_node *name, *addr;
	struct prefix prefix;
	uint16_t port; /* 0: the service's */
};

struct service {
	const char *name;
	const struct tree_node *node;
	VEC(struct address) vips;
	VEC(struct backend) backends;
};

VEC_NAMED(listener_list, struct listener);

static bool same_address(const struct prefix *a, const struct prefix *b)
{
	return a->family == b->family && a->addr == b->addr;
}

static const char *family_name(const struct prefix *p)
{
	return p->family == ADDR_IPV4 ? "IPv4" : "IPv6";
}

static void check_vips(struct check *c, struct service *s, const struct tree_node *node)
{
	if (!value_count(node))
		diag_error(c->diags, node->span, "wrong-type", "'vip' is an empty list");
	check_room(c, &s->vips, value_count(node));
	for (const struct tree_node *v = value_first(node); v; v = value_next(node, v)) {
		struct address vip = { .node = v };
		bool twice = false;

		if (!check_value(c, &schema_service.keys[SERVICE_VIP], v) ||
		    !check_address(c, v, &vip.prefix))
			continue;
		for (size_t i = 0; i < s->vips.count && !twice; i++) {
			twice = same_address(&s->vips.at[i].prefix, &vip.prefix);
			if (!twice)
				continue;
			diag_error(c->diags, v->span, "duplicate-value",
				   "address '%s' is listed twice", quote_node(c, v));
			diag_note(c->diags, s->vips.at[i].node->span, "first listed here");
		}
		if (!twice)
			check_push(&s->vips, vip);
	}
}

/* ---- listeners ---------------------------------------------------------------------------------- */

static bool overlap(const struct listener *a, const struct listener *b)
{
	return a->udp == b->udp && same_address(&a->vip, &b->vip) &&
	       a->ports.first <= b->ports.last && b->ports.first <= a->ports.last;
}

static void add_listener(struct check *c, struct listener_list *all, const struct listener *new)
{
	for (size_t i = 0; i < all->count; i++) {
		const struct listener *old = &all->at[i];

		if (!overlap(old, new))
			continue;
		if (!strcmp(old->service, new->service))
			diag_error(c->diags, new->node->span, "duplicate-value",
				   "port '%s' is listed twice", quote_node(c, new->node));
		else
			diag_error(c->diags, new->node->span, "duplicate-service",
				   "service '%s' has this address, protocol and port already",
				   old->service);
		diag_note(c->diags, old->node->span, "first listed here");
		return;
	}
	if (vec_push(all, *new))
		c->out_of_memory = true;
}

static void add_listeners(struct check *c, const struct service *s, struct listener *new,
			  struct listener_list *all)
{
	for (size_t i = 0; i < s->vips.count; i++) {
		new->vip = s->vips.at[i].prefix;
		add_listener(c, all, new);
	}
}

static void check_listen(struct check *c, const struct service *s, struct tree_node *node,
			 struct listener_list *all)
{
	struct tree_node *slots[LISTEN_KEY_COUNT];

	(void)schema_bind(c->diags, &schema_listen, print(c, "'listen' of service '%s'", s->name),
			  node, slots); /* what is there can be checked all the same */
	if (!node->count)
		diag_error(c->diags, node->span, "missing-key", "'listen' needs 'tcp' or 'udp'");
	for (size_t i = 0; i < LISTEN_KEY_COUNT; i++) {
		const struct schema_key *key = &schema_listen.keys[i];
		struct range_list ports;

		if (!slots[i] || !check_ports(c, key, slots[i], &ports))
			continue;
		for (const struct tree_node *v = value_first(slots[i]); v;
		     v = value_next(slots[i], v)) {
			struct listener new = { .udp = i == LISTEN_UDP,
						.node = v,
						.service = s->name };

			if (check_ports(c, key, v, &ports) && ports.count) {
				new.ports = ports.at[0];
				add_listeners(c, s, &new, all);
			}
		}
	}
}

/* ---- health checks ------------------------------------------------------------------------------ */

static void check_kind(struct check *c, struct tree_node *node, struct tree_node *const *slots)
{
	static const enum health_key kinds[] = { HEALTH_HTTP, HEALTH_HTTPS, HEALTH_TCP };
	const struct tree_node *first = NULL;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const struct tree_node *kind = slots[kinds[i]];

		if (!kind)
			continue;
		if (first) {
			diag_error(c->diags, kind->key->span, "bad-check",
				   "a check is one of http, https and tcp");
			diag_note(c->diags, first->key->span, "it is '%s' already",
				  first->key->text);
		}
		first = kind;
		if (kinds[i] != HEALTH_TCP && kind->text[0] != '/')
			diag_error(c->diags, kind->span, "bad-path",
				   "path must begin with '/', not '%s'", quote_node(c, kind));
	}
	if (!first)
		diag_error(c->diags, node->span, "missing-key",
			   "'check' needs one of 'http', 'https' and 'tcp'");
}

static void check_times(struct check *c, struct tree_node *const *slots)
{
	uint64_t every = 2000, timeout = 1000;

	if (slots[HEALTH_EVERY] &&
	    !check_duration(c, &schema_health.keys[HEALTH_EVERY], slots[HEALTH_EVERY], &every))
		return;
	if (!slots[HEALTH_TIMEOUT] || !check_duration(c, &schema_health.keys[HEALTH_TIMEOUT],
						      slots[HEALTH_TIMEOUT], &timeout))
		return;
	if (timeout <= every)
		return;
	diag_error(c->diags, slots[HEALTH_TIMEOUT]->span, "bad-check",
		   "'timeout' must not be longer than 'every'");
	if (slots[HEALTH_EVERY])
		diag_note(c->diags, slots[HEALTH_EVERY]->span, "a check begins every '%s'",
			  quote_node(c, slots[HEALTH_EVERY]));
}

static void check_status(struct check *c, const struct tree_node *node)
{
	const struct schema_key *key = &schema_health.keys[HEALTH_STATUS];
	struct range_list ranges;

	if (!check_ports(c, key, node, &ranges) || !ranges.count)
		return;
	if (ranges.at[0].first < key->min || ranges.at[ranges.count - 1].last > key->max)
		diag_error(c->diags, node->span, "bad-number",
			   "HTTP status must be between 100 and 599");
}

static void check_real_port(struct check *c, const struct tree_node *node, uint16_t *ret)
{
	if (node && check_port(c, node, ret) && !*ret)
		diag_error(c->diags, node->span, "bad-port",
			   "port must be between 1 and 65535, not '0'");
}

static void check_health(struct check *c, struct tree_node *node)
{
	struct tree_node *slots[HEALTH_KEY_COUNT];
	const struct schema_key *keys = schema_health.keys;
	uint64_t number;
	uint16_t port;

	if (node->kind == TREE_SCALAR) {
		(void)check_word(c, &schema_service.keys[SERVICE_CHECK],
				 node); /* for its message */
		return;
	}
	(void)schema_bind(c->diags, &schema_health, "'check'", node,
			  slots); /* likewise, all below */
	check_kind(c, node, slots);
	check_times(c, slots);
	check_real_port(c, slots[HEALTH_PORT], &port);
	if (slots[HEALTH_FALL])
		(void)check_number(c, &keys[HEALTH_FALL], slots[HEALTH_FALL], &number);
	if (slots[HEALTH_RISE])
		(void)check_number(c, &keys[HEALTH_RISE], slots[HEALTH_RISE], &number);
	if (slots[HEALTH_PANIC_BELOW])
		(void)check_percent(c, &keys[HEALTH_PANIC_BELOW], slots[HEALTH_PANIC_BELOW]);
	if (slots[HEALTH_STATUS])
		check_status(c, slots[HEALTH_STATUS]);
}

/* ---- backends ----------------------------------------------------------------------------------- */

static bool has_family(const struct service *s, enum addr_family family)
{
	for (size_t i = 0; i < s->vips.count; i++) {
		if (s->vips.at[i].prefix.family == family)
			return true;
	}
	return false;
}

static void check_backend_address(struct check *c, const struct service *s, const struct backend *b)
{
	for (size_t i = 0; i < s->vips.count; i++) {
		if (!same_address(&s->vips.at[i].prefix, &b->prefix))
			continue;
		diag_error(c->diags, b->addr->span, "backend-loop",
			   "backend is the service's own address '%s'", quote_node(c, b->addr));
		diag_note(c->diags, s->vips.at[i].node->span, "the service's address is here");
		return;
	}
	if (s->vips.count && !has_family(s, b->prefix.family))
		diag_error(c->diags, b->addr->span, "family-mismatch",
			   "backend is %s and service '%s' has no %s address",
			   family_name(&b->prefix), s->name, family_name(&b->prefix));
	for (size_t i = 0; i < s->backends.count; i++) {
		const struct backend *other = &s->backends.at[i];

		if (!other->addr || other->port != b->port ||
		    !same_address(&other->prefix, &b->prefix))
			continue;
		diag_error(c->diags, b->addr->span, "duplicate-backend",
			   "address '%s' is a backend already", quote_node(c, b->addr));
		diag_note(c->diags, other->addr->span, "first used here");
		return;
	}
}

static void check_backend_name(struct check *c, const struct service *s, const struct backend *b)
{
	for (size_t i = 0; i < s->backends.count; i++) {
		const struct backend *other = &s->backends.at[i];

		if (!other->name || strcmp(other->name->text, b->name->text) != 0)
			continue;
		diag_error(c->diags, b->name->span, "duplicate-name",
			   "service '%s' has a backend '%s' already", s->name,
			   quote_node(c, b->name));
		diag_note(c->diags, other->name->span, "first used here");
		return;
	}
}

static void check_backend(struct check *c, struct service *s, struct tree_node *node)
{
	struct tree_node *slots[BACKEND_KEY_COUNT];
	struct backend b = {};
	uint64_t weight;

	(void)schema_bind(c->diags, &schema_backend, print(c, "backend of service '%s'", s->name),
			  node, slots); /* what is there can be checked all the same */
	if (slots[BACKEND_PORT])
		check_real_port(c, slots[BACKEND_PORT], &b.port);
	if (slots[BACKEND_WEIGHT])
		(void)check_number(c, &schema_backend.keys[BACKEND_WEIGHT], slots[BACKEND_WEIGHT],
				   &weight); /* for its message */
	if (slots[BACKEND_ADMIN])
		(void)check_word(c, &schema_backend.keys[BACKEND_ADMIN],
				 slots[BACKEND_ADMIN]); /* likewise */
	if (slots[BACKEND_NAME] && check_name(c, "backend", slots[BACKEND_NAME])) {
		b.name = slots[BACKEND_NAME];
		check_backend_name(c, s, &b);
	}
	if (slots[BACKEND_ADDR] && check_address(c, slots[BACKEND_ADDR], &b.prefix)) {
		b.addr = slots[BACKEND_ADDR];
		check_backend_address(c, s, &b);
	}
	check_push(&s->backends, b);
}

static void check_backends(struct check *c, struct service *s, struct tree_node *node)
{
	check_room(c, &s->backends, node->count);
	if (!node->count)
		diag_error(c->diags, node->key->span, "no-backend", "service '%s' has no backend",
			   s->name);
	for (struct tree_node *child = node->first; child; child = child->next)
		check_backend(c, s, child);
	for (size_t i = 0; i < s->vips.count && node->count; i++) {
		const struct address *vip = &s->vips.at[i];
		bool served = false;

		for (size_t j = 0; j < s->backends.count; j++)
			served |= !s->backends.at[j].addr ||
				  s->backends.at[j].prefix.family == vip->prefix.family;
		if (!served)
			diag_error(c->diags, vip->node->span, "no-backend",
				   "address '%s' has no %s backend", quote_node(c, vip->node),
				   family_name(&vip->prefix));
	}
}

static void check_service(struct check *c, struct tree_node *node, struct listener_list *all)
{
	struct service s = { .node = node, .name = quote_node(c, node->key) };
	struct tree_node *slots[SERVICE_KEY_COUNT];

	(void)check_name(c, "service", node->key); /* every result: for its messages */
	(void)schema_bind(c->diags, &schema_service, print(c, "service '%s'", s.name), node, slots);
	if (slots[SERVICE_VIP])
		check_vips(c, &s, slots[SERVICE_VIP]);
	if (slots[SERVICE_LISTEN])
		check_listen(c, &s, slots[SERVICE_LISTEN], all);
	if (slots[SERVICE_FORWARD])
		(void)check_word(c, &schema_service.keys[SERVICE_FORWARD], slots[SERVICE_FORWARD]);
	if (slots[SERVICE_HASH])
		(void)check_word(c, &schema_service.keys[SERVICE_HASH], slots[SERVICE_HASH]);
	if (slots[SERVICE_CHECK])
		check_health(c, slots[SERVICE_CHECK]);
	if (slots[SERVICE_BACKENDS])
		check_backends(c, &s, slots[SERVICE_BACKENDS]);
}

void check_services(struct check *c, struct tree_node *node)
{
	struct listener_list all = {};

	if (!node)
		return;
	for (struct tree_node *child = node->first; child; child = child->next)
		check_service(c, child, &all);
	vec_done(&all);
}
