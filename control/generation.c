/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See generation.h. The manifest comes from a child that read hostile text, or from disk: everything is
 * checked before it is used as a number or an index.
 */
#include "generation.h"

#include <stdarg.h>
#include <string.h>

#include "fail.h"
#include "jsonobj.h"
#include "str.h"

static const char *const hooks[] = {
	[MODEL_HOOK_AUTO] = "auto",
	[MODEL_HOOK_XDP] = "xdp",
	[MODEL_HOOK_XDP_GENERIC] = "xdp-generic",
	[MODEL_HOOK_TC] = "tc",
};

void digest_format(const uint8_t digest[static 16], char text[static DIGEST_TEXT])
{
	hex_write(digest, 16, text);
}

bool digest_parse(const char *text, uint8_t ret[static 16])
{
	return hex_read(text, ret, 16) == 16;
}

/* A member that must be a text; NULL, too, when there is no memory for the copy. */
static const char *copy_text(struct generation *g, struct json_object *from, const char *key)
{
	const char *text = json_text(from, key);

	return text ? arena_strndup(&g->arena, text, strlen(text)) : NULL;
}

static int index_of(const char *text, const char *const names[], size_t count)
{
	for (size_t i = 0; text && i < count; i++) {
		if (!strcmp(names[i], text))
			return (int)i;
	}
	return -EBADMSG;
}

static int read_verdict(const char *text, enum dp_verdict *ret)
{
	static const char *const names[] = { [DP_PASS] = "pass", [DP_DROP] = "drop" };
	int i = index_of(text, names, 2);

	if (i < 0)
		return i;
	*ret = (enum dp_verdict)i;
	return 0;
}

static const char *const dirs[] = { [DP_INGRESS] = "ingress", [DP_EGRESS] = "egress" };

static int read_tracks(struct generation_zone *z, struct json_object *names)
{
	for (size_t i = 0; names && i < json_object_array_length(names); i++) {
		const char *name = json_object_get_string(json_object_array_get_idx(names, i));
		int dir = index_of(name, dirs, DP_DIR_COUNT);

		if (dir < 0)
			return dir;
		z->tracks[dir] = true;
	}
	return 0;
}

static int read_zone(struct generation *g, struct json_object *json)
{
	struct json_object *devs = json_member(json, "devs", json_type_array);
	int hook = index_of(json_text(json, "hook"), hooks, sizeof(hooks) / sizeof(*hooks));
	struct generation_zone z = { .name = copy_text(g, json, "name") };
	int r = read_tracks(&z, json_member(json, "tracks", json_type_array));

	if (r < 0 || !z.name || !devs || hook < 0)
		return -EBADMSG;
	z.hook = (enum model_hook)hook;
	for (size_t i = 0; !r && i < json_object_array_length(devs); i++) {
		const char *dev = json_object_get_string(json_object_array_get_idx(devs, i));

		dev = dev ? arena_strndup(&g->arena, dev, strlen(dev)) : NULL;
		r = dev ? vec_push(&z.devs, dev) : -EBADMSG;
	}
	if (!r)
		r = vec_push(&g->zones, z);
	if (r < 0)
		vec_done(&z.devs);
	return r;
}

static int read_rule(struct generation *g, struct generation_chain *c, struct json_object *json)
{
	const char *mode = json_text(json, "mode");
	struct generation_rule rule = { .id = copy_text(g, json, "id"),
					.source = copy_text(g, json, "source"),
					.frames = json_member(json, "frames", json_type_array) };
	int r = read_verdict(json_text(json, "do"), &rule.verdict);

	if (r < 0 || !rule.id || !rule.source || !mode)
		return -EBADMSG;
	rule.audit = !strcmp(mode, "audit");
	return vec_push(&c->rules, rule);
}

static int read_rules(struct generation *g, struct generation_chain *c, struct json_object *json)
{
	struct json_object *rules = json_member(json, "rules", json_type_array);
	int r = 0;

	if (!rules || json_object_array_length(rules) >= DP_RULE_SLOTS)
		return -EBADMSG;
	for (size_t i = 0; !r && i < json_object_array_length(rules); i++)
		r = read_rule(g, c, json_object_array_get_idx(rules, i));
	return r;
}

/* What a chain is, rules apart. The zone is named, and numbered by its place in `zones`. */
static int read_chain_head(struct generation *g, struct generation_chain *c,
			   struct json_object *json)
{
	const char *zone = json_text(json, "zone");
	int dir = index_of(json_text(json, "dir"), dirs, DP_DIR_COUNT);

	*c = (struct generation_chain){ .name = copy_text(g, json, "name"),
					.source = copy_text(g, json, "source") };
	if (!c->name || !c->source || !zone || dir < 0)
		return -EBADMSG;
	c->dir = (enum dp_dir)dir;
	c->stateful = json_object_get_boolean(json_object_object_get(json, "stateful"));
	for (size_t i = 0; i < g->zones.count; i++) {
		if (strcmp(g->zones.at[i].name, zone) != 0)
			continue;
		c->zone = (uint8_t)(i + 1);
		c->zone_name = g->zones.at[i].name;
		if (g->zones.at[i].chain[dir])
			return -EBADMSG;
		g->zones.at[i].chain[dir] = true;
	}
	return c->zone ? read_verdict(json_text(json, "default"), &c->verdict) : -EBADMSG;
}

static int read_chain(struct generation *g, struct json_object *json)
{
	struct generation_chain c;
	int r = read_chain_head(g, &c, json);

	if (!r)
		r = read_rules(g, &c, json);
	if (!r)
		r = vec_push(&g->chains, c);
	if (r < 0)
		vec_done(&c.rules);
	return r;
}

static int read_manifest(struct generation *g)
{
	struct json_object *zones = json_member(g->manifest, "zones", json_type_array);
	struct json_object *chains = json_member(g->manifest, "chains", json_type_array);
	struct json_object *confirm = json_member(g->manifest, "confirm_ms", json_type_int);
	struct json_object *flows = json_member(g->manifest, "flows", json_type_object);
	int r = 0;

	g->file = copy_text(g, g->manifest, "file");
	g->says_confirm = confirm;
	g->confirm_ms = confirm ? json_object_get_uint64(confirm) : 0;
	if (flows) {
		g->flow_slots = json_object_get_uint64(json_object_object_get(flows, "slots"));
		g->flow_idle_ms = json_object_get_uint64(json_object_object_get(flows, "idle_ms"));
	}
	if (!g->file || !zones || !chains || json_object_array_length(zones) > DP_ZONE_MAX)
		return -EBADMSG;
	for (size_t i = 0; !r && i < json_object_array_length(zones); i++)
		r = read_zone(g, json_object_array_get_idx(zones, i));
	for (size_t i = 0; !r && i < json_object_array_length(chains); i++)
		r = read_chain(g, json_object_array_get_idx(chains, i));
	return r < 0 ? r : generation_sets_read(g);
}

int generation_new(struct generation **ret, struct json_object *manifest, char **ret_why)
{
	struct generation *g = calloc(1, sizeof(*g));
	int r;

	if (!g) {
		json_object_put(manifest);
		return -ENOMEM;
	}
	g->manifest = manifest;
	g->applied_at = "";
	g->dir = "";
	slot_table_init(&g->rules_table, DP_RULE_SLOTS, true);
	slot_table_init(&g->chains_table, DP_CHAIN_SLOTS, true);
	r = read_manifest(g);
	if (r < 0) {
		generation_free(&g);
		(void)fail(ret_why, r, "the manifest of the policy cannot be read");
		return r;
	}
	*ret = g;
	return 0;
}

int generation_new_nameless(struct generation **ret, const struct dp_bank_header *header)
{
	struct generation *g = calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	g->number = header->generation;
	g->lines = header->lines;
	memcpy(g->digest, header->digest, sizeof(g->digest));
	g->nameless = true;
	g->file = g->dir = g->applied_at = "";
	slot_table_init(&g->rules_table, DP_RULE_SLOTS, false);
	slot_table_init(&g->chains_table, DP_CHAIN_SLOTS, false);
	*ret = g;
	return 0;
}

void generation_free(struct generation **at)
{
	struct generation *g = *at;

	if (!g)
		return;
	for (size_t i = 0; i < g->zones.count; i++)
		vec_done(&g->zones.at[i].devs);
	vec_done(&g->zones);
	for (size_t i = 0; i < g->chains.count; i++)
		vec_done(&g->chains.at[i].rules);
	vec_done(&g->chains);
	vec_done(&g->sets);
	slot_table_done(&g->rules_table);
	slot_table_done(&g->chains_table);
	sources_done(&g->sources);
	json_put(&g->manifest);
	arena_done(&g->arena);
	free(g);
	*at = NULL;
}

int generation_describe(struct generation *g, const char *file, const char *dir,
			const char *applied_at)
{
	g->file = arena_strndup(&g->arena, file, strlen(file));
	g->dir = arena_strndup(&g->arena, dir, strlen(dir));
	g->applied_at = arena_strndup(&g->arena, applied_at, strlen(applied_at));
	return g->file && g->dir && g->applied_at ? 0 : -ENOMEM;
}

const struct generation_zone *generation_zone(const struct generation *g, const char *name)
{
	for (size_t i = 0; g && i < g->zones.count; i++) {
		if (!strcmp(g->zones.at[i].name, name))
			return &g->zones.at[i];
	}
	return NULL;
}

const struct generation_chain *generation_chain(const struct generation *g, uint8_t zone,
						enum dp_dir dir)
{
	for (size_t i = 0; g && i < g->chains.count; i++) {
		if (g->chains.at[i].zone == zone && g->chains.at[i].dir == dir)
			return &g->chains.at[i];
	}
	return NULL;
}

bool generation_is_stateful(const struct generation *g)
{
	return generation_adds_state(g, NULL);
}

bool generation_adds_state(const struct generation *g, const struct generation *last)
{
	for (size_t i = 0; g && i < g->chains.count; i++) {
		const struct generation_chain *c = &g->chains.at[i], *before = NULL;

		for (size_t k = 0; last && !before && k < last->chains.count; k++) {
			const struct generation_chain *other = &last->chains.at[k];

			if (other->dir == c->dir && !strcmp(other->zone_name, c->zone_name))
				before = other;
		}
		if (c->stateful && (!before || !before->stateful))
			return true;
	}
	return false;
}

bool generation_same_names(const struct generation *a, const struct generation *b)
{
	return json_object_equal(a->manifest, b->manifest) && !strcmp(a->file, b->file) &&
	       !strcmp(a->dir, b->dir) && sources_equal(&a->sources, &b->sources);
}

/* ---- on disk ------------------------------------------------------------------------------------- */

struct json_object *generation_to_json(const struct generation *g)
{
	struct json_object *json = json_object_new_object();
	char digest[DIGEST_TEXT];

	digest_format(g->digest, digest);
	json_add_u64(json, "schema", 1);
	json_add_u64(json, "generation", g->number);
	json_add_text(json, "digest", digest);
	json_add_u64(json, "lines", g->lines);
	json_add_text(json, "file", g->file);
	json_add_text(json, "dir", g->dir);
	json_add_text(json, "applied_at", g->applied_at);
	json_add(json, "rule_slots", slot_table_to_json(&g->rules_table));
	json_add(json, "chain_slots", slot_table_to_json(&g->chains_table));
	json_add(json, "set_numbers", generation_sets_to_json(g));
	json_add(json, "sources", sources_to_json(&g->sources));
	json_add(json, "manifest", json_object_get(g->manifest));
	return json;
}

/* The slots of the names in the tables; a name without one is a file that contradicts itself. */
static int look_up_slots(struct generation *g)
{
	for (size_t i = 0; i < g->chains.count; i++) {
		struct generation_chain *c = &g->chains.at[i];

		c->slot = slot_table_find(&g->chains_table, c->name, "");
		c->default_slot = slot_table_find(&g->rules_table, c->name, "default");
		if (!c->slot || !c->default_slot)
			return -EBADMSG;
		for (size_t k = 0; k < c->rules.count; k++) {
			struct generation_rule *rule = &c->rules.at[k];

			rule->slot = slot_table_find(&g->rules_table, c->name, rule->id);
			if (!rule->slot)
				return -EBADMSG;
		}
	}
	return 0;
}

static int read_saved(struct generation *g, struct json_object *json)
{
	const char *file = json_text(json, "file"), *dir = json_text(json, "dir");
	const char *applied_at = json_text(json, "applied_at");
	int r;

	g->number = json_object_get_uint64(json_object_object_get(json, "generation"));
	g->lines = (uint32_t)json_object_get_uint64(json_object_object_get(json, "lines"));
	if (!digest_parse(json_text(json, "digest"), g->digest) || !file || !dir || !applied_at)
		return -EBADMSG;
	r = generation_describe(g, file, dir, applied_at);
	if (!r)
		r = slot_table_from_json(&g->rules_table,
					 json_object_object_get(json, "rule_slots"));
	if (!r)
		r = slot_table_from_json(&g->chains_table,
					 json_object_object_get(json, "chain_slots"));
	if (!r)
		r = generation_sets_from_json(g, json_object_object_get(json, "set_numbers"));
	if (!r)
		r = sources_from_json(&g->sources, json_object_object_get(json, "sources"));
	return r < 0 ? r : look_up_slots(g);
}

int generation_from_json(struct generation **ret, struct json_object *json)
{
	struct json_object *manifest = json_member(json, "manifest", json_type_object);
	_cleanup_free_ char *why = NULL;
	struct generation *g = NULL;
	int r;

	if (!manifest)
		return -EBADMSG;
	r = generation_new(&g, json_object_get(manifest), &why);
	if (!r)
		r = read_saved(g, json);
	if (r) {
		generation_free(&g);
		return r;
	}
	*ret = g;
	return 0;
}

/* ---- slots and the image --------------------------------------------------------------------------- */

/* Puts the table for these names in the place of `table`, which may be `last` itself. */
static int assign(struct slot_table *table, const struct slot_table *last, uint64_t number,
		  const struct slot_names *names, struct slot_list *ret_clear)
{
	struct slot_table next;
	int r = slot_table_next(last, names, number, &next, ret_clear);

	if (r < 0)
		return r;
	slot_table_done(table);
	*table = next;
	return 0;
}

static int refuse_names(char **ret_why, const char *what, const struct slot_table *last,
			const struct slot_names *names)
{
	size_t need = slot_table_need(last, names), limit = last->limit - 1;

	return fail(ret_why, -ENOSPC,
		    "counters of %s: no free slot: the running and the new policy together need "
		    "%zu, %zu more than the limit of %zu; apply a smaller one first",
		    what, need, need - limit, limit);
}

static int assign_rules(struct generation *g, const struct slot_table *last,
			struct slot_list *ret_clear, char **ret_why)
{
	struct slot_names names = {};
	int r = 0;

	for (size_t i = 0; !r && i < g->chains.count; i++) {
		const struct generation_chain *c = &g->chains.at[i];

		r = vec_push(&names, (struct slot_name){ c->name, "default" });
		for (size_t k = 0; !r && k < c->rules.count; k++)
			r = vec_push(&names, (struct slot_name){ c->name, c->rules.at[k].id });
	}
	if (!r)
		r = assign(&g->rules_table, last, g->number, &names, ret_clear);
	if (r == -ENOSPC)
		r = refuse_names(ret_why, "rules", last, &names);
	vec_done(&names);
	return r;
}

static int assign_chains(struct generation *g, const struct slot_table *last,
			 struct slot_list *ret_clear, char **ret_why)
{
	struct slot_names names = {};
	int r = 0;

	for (size_t i = 0; !r && i < g->chains.count; i++)
		r = vec_push(&names, (struct slot_name){ g->chains.at[i].name, "" });
	if (!r)
		r = assign(&g->chains_table, last, g->number, &names, ret_clear);
	if (r == -ENOSPC)
		r = refuse_names(ret_why, "chains", last, &names);
	vec_done(&names);
	return r;
}

int generation_assign(struct generation *g, const struct generation *last, uint64_t number,
		      struct generation_clear *ret_clear, char **ret_why)
{
	int r;

	g->number = number;
	r = assign_rules(g, last ? &last->rules_table : &g->rules_table, &ret_clear->rules,
			 ret_why);
	if (!r)
		r = assign_chains(g, last ? &last->chains_table : &g->chains_table,
				  &ret_clear->chains, ret_why);
	if (r == -ENOSPC)
		return r;
	if (!r)
		r = look_up_slots(g);
	return r < 0 ? fail(ret_why, r, "names of rules cannot be given counters") : 0;
}

static int patch_chain(const struct generation_chain *c, struct dp_line *lines, uint32_t count)
{
	uint32_t at = DP_CHAIN_LINE(c->zone, c->dir);
	size_t need = (c->rules.count + DP_RULES_PER_LINE - 1) / DP_RULES_PER_LINE;
	struct dp_chain *chain;
	struct dp_rule *rules;

	if (at + DP_CHAIN_LINES > count)
		return -EBADMSG;
	chain = (struct dp_chain *)&lines[at];
	if (!(chain->flags & DP_CHAIN_PRESENT) || chain->rules > count ||
	    need > count - chain->rules)
		return -EBADMSG;
	chain->counter = c->slot;
	chain->default_counter = c->default_slot;
	rules = (struct dp_rule *)&lines[chain->rules];
	for (size_t i = 0; i < c->rules.count; i++)
		rules[i].counter = c->rules.at[i].slot;
	return 0;
}

int generation_patch(const struct generation *g, struct dp_line *lines, uint32_t count,
		     char **ret_why)
{
	struct dp_bank_header *header = (struct dp_bank_header *)lines;

	if (!count || header->magic != DP_BANK_MAGIC || header->abi_version != DP_ABI_VERSION ||
	    header->lines != count || header->sets >= count)
		return fail(ret_why, -EBADMSG, "the image of the policy has no valid header");
	header->generation = g->number;
	if (header->sets)
		generation_sets_patch(g, (struct dp_set_ordinals *)&lines[header->sets]);
	for (size_t i = 0; i < g->chains.count; i++) {
		int r = patch_chain(&g->chains.at[i], lines, count);

		if (r < 0)
			return fail(ret_why, r,
				    "the image of the policy does not fit its manifest");
	}
	return 0;
}
