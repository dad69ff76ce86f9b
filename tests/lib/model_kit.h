/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models built by hand, for tests and benchmarks of the compiler that don't want to go through a
 * policy text. A mistake in use, or no memory, aborts.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diag.h"
#include "model.h"

struct kit {
	struct model model;
	struct diag_list diags;
};

static inline void kit_must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "model kit: %s\n", what);
	abort();
}

static inline struct prefix kit_prefix(const char *text)
{
	struct addr_error error;
	struct prefix p;

	kit_must(prefix_parse(text, strlen(text), &p, &error), text);
	return p;
}

static inline uint32_t kit_zone(struct kit *k, const char *name)
{
	struct model_zone zone = { .name = name };

	kit_must(!vec_push(&k->model.zones, zone), "no memory");
	return k->model.zones.count - 1;
}

/* Takes the set over. */
static inline uint32_t kit_set(struct kit *k, const char *name, struct prefix_set *set)
{
	struct model_set model_set = { .name = name };

	kit_must(!prefix_set_seal(set), "no memory");
	model_set.prefixes = *set;
	*set = (struct prefix_set){};
	kit_must(!vec_push(&k->model.sets, model_set), "no memory");
	return k->model.sets.count - 1;
}

/* The same from a text: prefixes with a space between. */
static inline void kit_parse_set(struct prefix_set *set, const char *text)
{
	char *copy = strdup(text), *save = NULL;

	kit_must(copy, "no memory");
	for (char *t = strtok_r(copy, " ", &save); t; t = strtok_r(NULL, " ", &save)) {
		struct prefix p;

		if (*t == '$')
			continue;
		p = kit_prefix(t);
		kit_must(!prefix_set_add(set, &p), "no memory");
	}
	free(copy);
}

static inline uint32_t kit_set_text(struct kit *k, const char *name, const char *text)
{
	struct prefix_set set = {};

	kit_parse_set(&set, text);
	return kit_set(k, name, &set);
}

static inline uint32_t kit_chain(struct kit *k, const char *name, uint32_t zone, enum dp_dir dir,
				 enum dp_verdict verdict)
{
	struct model_chain chain = {
		.span = { .line = 1, .col = 1, .len = 1 },
		.name = name,
		.zone = zone,
		.dir = dir,
		.default_verdict = verdict,
	};

	kit_must(!vec_push(&k->model.chains, chain), "no memory");
	return k->model.chains.count - 1;
}

/* Valid until the next rule of the chain. */
static inline struct model_rule *kit_rule(struct kit *k, uint32_t chain, enum dp_verdict verdict)
{
	struct model_chain *c = &k->model.chains.at[chain];
	struct model_rule rule = {
		.span = { .line = 1 + c->rules.count, .col = 1, .len = 1 },
		.id = "r",
		.verdict = verdict,
	};

	kit_must(!vec_push(&c->rules, rule), "no memory");
	return &c->rules.at[c->rules.count - 1];
}

/* operand: prefixes and sets by number, "192.0.2.0/24 $0". */
static inline void kit_operand(struct model_rule *rule, enum model_key key, const char *text)
{
	struct model_operand *o = key == MODEL_KEY_FROM       ? &rule->from
				  : key == MODEL_KEY_TO       ? &rule->to
				  : key == MODEL_KEY_NOT_FROM ? &rule->not_from
							      : &rule->not_to;

	rule->keys |= key;
	kit_parse_set(&o->literals, text);
	kit_must(!prefix_set_seal(&o->literals), "no memory");
	for (const char *t = strchr(text, '$'); t; t = strchr(t + 1, '$'))
		kit_must(!vec_push(&o->sets, strtoul(t + 1, NULL, 10)), "no memory");
}

static inline void kit_proto(struct model_rule *rule, uint8_t proto)
{
	rule->keys |= MODEL_KEY_PROTO;
	rule->protos[proto / 64] |= 1ull << (proto % 64);
}

static inline void kit_range(struct model_rule *rule, enum model_key key, uint16_t first,
			     uint16_t last)
{
	struct model_range range = { first, last };
	int r = 0;

	rule->keys |= key;
	if (key == MODEL_KEY_SPORT)
		r = vec_push(&rule->sport, range);
	else if (key == MODEL_KEY_DPORT)
		r = vec_push(&rule->dport, range);
	else if (key == MODEL_KEY_TYPE)
		r = vec_push(&rule->type, range);
	else
		r = vec_push(&rule->code, range);
	kit_must(!r, "no memory");
}

static inline void kit_vlan(struct model_rule *rule, uint16_t id)
{
	rule->keys |= MODEL_KEY_VLAN;
	kit_must(!vec_push(&rule->vlan, id), "no memory");
}

/* Established packets only: makes the chain stateful. */
static inline void kit_state(struct kit *k, uint32_t chain, struct model_rule *rule)
{
	rule->keys |= MODEL_KEY_STATE;
	k->model.chains.at[chain].stateful = true;
}

static inline void kit_operand_done(struct model_operand *o)
{
	prefix_set_done(&o->literals);
	vec_done(&o->sets);
}

static inline void kit_done(struct kit *k)
{
	for (size_t c = 0; c < k->model.chains.count; c++) {
		struct model_chain *chain = &k->model.chains.at[c];

		for (size_t i = 0; i < chain->rules.count; i++) {
			struct model_rule *rule = &chain->rules.at[i];

			kit_operand_done(&rule->from);
			kit_operand_done(&rule->to);
			kit_operand_done(&rule->not_from);
			kit_operand_done(&rule->not_to);
			vec_done(&rule->sport);
			vec_done(&rule->dport);
			vec_done(&rule->type);
			vec_done(&rule->code);
			vec_done(&rule->vlan);
		}
		vec_done(&chain->rules);
	}
	for (size_t i = 0; i < k->model.sets.count; i++)
		prefix_set_done(&k->model.sets.at[i].prefixes);
	for (size_t i = 0; i < k->model.zones.count; i++)
		vec_done(&k->model.zones.at[i].devs);
	vec_done(&k->model.chains);
	vec_done(&k->model.sets);
	vec_done(&k->model.zones);
	diag_done(&k->diags);
}
