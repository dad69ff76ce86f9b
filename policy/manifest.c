/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people call the things in an image; the form is described in image.h. Everything here is in
 * the order of the model, so that equal policies give equal manifests.
 */
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>

#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#include "image.h"
#include "str.h"
#include "witness.h"

#define MANIFEST_SCHEMA 1
#define NS_PER_MS       1000000

const char *const image_dim_keys[DP_DIM_COUNT] = {
	[DP_DIM_PROTO] = "proto", [DP_DIM_SRC4] = "src4",   [DP_DIM_SRC6] = "src6",
	[DP_DIM_DST4] = "dst4",   [DP_DIM_DST6] = "dst6",   [DP_DIM_SPORT] = "sport",
	[DP_DIM_DPORT] = "dport", [DP_DIM_ICMP4] = "icmp4", [DP_DIM_ICMP6] = "icmp6",
	[DP_DIM_FLAGS] = "flags", [DP_DIM_VLAN] = "vlan",
};

static const char *const hook_names[] = {
	[MODEL_HOOK_AUTO] = "auto",
	[MODEL_HOOK_XDP] = "xdp",
	[MODEL_HOOK_XDP_GENERIC] = "xdp-generic",
	[MODEL_HOOK_TC] = "tc",
};

/* ---- JSON, with memory running out handled in one place -------------------------------------- */

static void putp(struct json_object **json)
{
	json_object_put(*json);
}

#define _cleanup_json_ _cleanup_(putp)

/* Gives value to the object; both are released when that fails. */
static int give(struct json_object *object, const char *key, struct json_object *value)
{
	if (value && !json_object_object_add(object, key, value))
		return 0;
	json_object_put(value);
	return -ENOMEM;
}

static int give_text(struct json_object *object, const char *key, const char *text)
{
	return give(object, key, json_object_new_string(text));
}

static int give_number(struct json_object *object, const char *key, uint64_t number)
{
	return give(object, key, json_object_new_uint64(number));
}

static int give_bool(struct json_object *object, const char *key, bool value)
{
	return give(object, key, json_object_new_boolean(value));
}

static int append(struct json_object *array, struct json_object *value)
{
	if (value && !json_object_array_add(array, value))
		return 0;
	json_object_put(value);
	return -ENOMEM;
}

static const char *source_name(const struct diag_list *sources, uint32_t source)
{
	return source < sources->sources.count ? sources->sources.at[source].name : "";
}

static int give_place(struct json_object *object, struct span span, const struct diag_list *sources)
{
	const char *name = source_name(sources, span.source);
	_cleanup_free_ char *text = NULL;

	if (asprintf(&text, "%s:%" PRIu32, name, span.line) < 0) {
		text = NULL;
		return -ENOMEM;
	}
	return give_text(object, "source", text);
}

static const char *verdict_name(enum dp_verdict verdict)
{
	return verdict == DP_DROP ? "drop" : "pass";
}

static const char *dir_name(unsigned int dir)
{
	return dir == DP_INGRESS ? "ingress" : "egress";
}

/* ---- the parts ------------------------------------------------------------------------------- */

/* The directions in which packets of a zone make flows. */
static int give_tracks(struct json_object *zone, const struct image *image, size_t number)
{
	_cleanup_json_ struct json_object *dirs = json_object_new_array();

	if (!dirs)
		return -ENOMEM;
	for (unsigned int dir = 0; dir < DP_DIR_COUNT; dir++) {
		const struct dp_chain *chain =
			(const void *)&image->lines[DP_CHAIN_LINE(number, dir)];

		if (chain->flags & DP_CHAIN_TRACKS &&
		    append(dirs, json_object_new_string(dir_name(dir))))
			return -ENOMEM;
	}
	return json_object_array_length(dirs) ? give(zone, "tracks", TAKE_PTR(dirs)) : 0;
}

static bool names_vlan(const struct model_chain *chain)
{
	for (size_t i = 0; i < chain->rules.count; i++)
		if (chain->rules.at[i].keys & MODEL_KEY_VLAN)
			return true;
	return false;
}

/*
 * Most devices take the outermost tag off before XDP, which is not told of it; TC is. So what `auto` takes for a zone
 * whose rules name VLANs is TC.
 */
static enum model_hook zone_hook(const struct model *model, size_t zone)
{
	enum model_hook hook = model->zones.at[zone].hook;

	for (size_t i = 0; hook == MODEL_HOOK_AUTO && i < model->chains.count; i++) {
		const struct model_chain *chain = &model->chains.at[i];

		if (chain->zone == zone && chain->dir == DP_INGRESS && names_vlan(chain))
			return MODEL_HOOK_TC;
	}
	return hook;
}

static struct json_object *zone_new(const struct model *model, const struct image *image, size_t i)
{
	const struct model_zone *zone = &model->zones.at[i];
	_cleanup_json_ struct json_object *json = json_object_new_object();
	_cleanup_json_ struct json_object *devs = json_object_new_array();

	if (!json || !devs || give_text(json, "name", zone->name) ||
	    give_text(json, "hook", hook_names[zone_hook(model, i)]))
		return NULL;
	for (size_t d = 0; d < zone->devs.count; d++)
		if (append(devs, json_object_new_string(zone->devs.at[d])))
			return NULL;
	if (give(json, "devs", TAKE_PTR(devs)) || give_tracks(json, image, i + 1))
		return NULL;
	return TAKE_PTR(json);
}

static struct json_object *set_digest_new(const struct prefix_set *set)
{
	uint64_t counts[2] = { set->v4.count, set->v6.count };
	XXH128_hash_t h;
	XXH3_state_t state;
	char text[33];

	XXH3_INITSTATE(&state);
	(void)XXH3_128bits_reset(&state);
	(void)XXH3_128bits_update(&state, counts, sizeof(counts));
	(void)XXH3_128bits_update(&state, set->v4.at, set->v4.count * sizeof(*set->v4.at));
	(void)XXH3_128bits_update(&state, set->v6.at, set->v6.count * sizeof(*set->v6.at));
	h = XXH3_128bits_digest(&state);
	(void)snprintf(text, sizeof(text), "%016" PRIx64 "%016" PRIx64, (uint64_t)h.high64,
		       (uint64_t)h.low64);
	return json_object_new_string(text);
}

static struct json_object *set_new(const struct model_set *set, const struct diag_list *sources)
{
	_cleanup_json_ struct json_object *json = json_object_new_object();
	const struct prefix_set *p = &set->prefixes;

	if (!json || give_text(json, "name", set->name))
		return NULL;
	if (give_place(json, set->span, sources))
		return NULL;
	if (set->file && give_text(json, "file", set->file))
		return NULL;
	if (set->max && give_number(json, "max", set->max))
		return NULL;
	if (give_bool(json, "runtime", set->runtime) ||
	    give_number(json, "ttl_ms", set->ttl_ns / NS_PER_MS) ||
	    give_bool(json, "refresh", set->refresh))
		return NULL;
	if (give_number(json, "given", p->given) || give_number(json, "listed", set->listed) ||
	    give_number(json, "duplicates", p->duplicates) ||
	    give_number(json, "covered", p->covered) ||
	    give_number(json, "members", prefix_set_members(p)) ||
	    give_number(json, "ipv4_ranges", p->v4.count) ||
	    give_number(json, "ipv6_ranges", p->v6.count) ||
	    give(json, "digest", set_digest_new(p)))
		return NULL;
	return TAKE_PTR(json);
}

/* Frames that a rule must pass, for whoever enforces the image to try. */
static int give_witnesses(struct json_object *rule, const struct model *model,
			  const struct model_rule *from)
{
	struct witness witnesses[WITNESSES];
	_cleanup_json_ struct json_object *frames = json_object_new_array();
	size_t count = witness_make(model, from, witnesses);

	if (!frames)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		char text[2 * WITNESS_BYTES + 1];

		hex_write(witnesses[i].frame, witnesses[i].len, text);
		if (append(frames, json_object_new_string(text)))
			return -ENOMEM;
	}
	return give(rule, "frames", TAKE_PTR(frames));
}

static struct json_object *rule_new(const struct model *model, const struct model_rule *rule,
				    const struct diag_list *sources)
{
	_cleanup_json_ struct json_object *json = json_object_new_object();

	if (!json || give_text(json, "id", rule->id) || give_place(json, rule->span, sources) ||
	    give_text(json, "do", verdict_name(rule->verdict)) ||
	    give_text(json, "mode", rule->audit ? "audit" : "enforce") ||
	    give_text(json, "text", rule->text ?: "") ||
	    (rule->never_drop && give_witnesses(json, model, rule)))
		return NULL;
	return TAKE_PTR(json);
}

static struct json_object *chain_new(const struct model *model, const struct model_chain *chain,
				     const struct diag_list *sources)
{
	_cleanup_json_ struct json_object *json = json_object_new_object();
	_cleanup_json_ struct json_object *rules = json_object_new_array();

	if (!json || !rules || give_text(json, "name", chain->name) ||
	    give_text(json, "zone", model->zones.at[chain->zone].name) ||
	    give_text(json, "dir", dir_name(chain->dir)) ||
	    give_text(json, "default", verdict_name(chain->default_verdict)) ||
	    give_text(json, "fragments", chain->first_only ? "first-only" : "drop") ||
	    give_bool(json, "stateful", chain->stateful) || give_place(json, chain->span, sources))
		return NULL;
	for (size_t i = 0; i < chain->rules.count; i++)
		if (append(rules, rule_new(model, &chain->rules.at[i], sources)))
			return NULL;
	if (give(json, "rules", TAKE_PTR(rules)))
		return NULL;
	return TAKE_PTR(json);
}

static int give_lines(struct json_object *object, const char *key, uint32_t lines)
{
	return give_number(object, key, (uint64_t)lines * DP_LINE_BYTES);
}

/* How many rules of each chain are looked up in vectors; the others are in cut trees. */
static struct json_object *chain_stats_new(const struct model *model, const struct image *image)
{
	_cleanup_json_ struct json_object *array = json_object_new_array();

	for (size_t i = 0; array && i < model->chains.count; i++) {
		struct json_object *chain = json_object_new_object();

		if (append(array, chain) || give_text(chain, "name", model->chains.at[i].name) ||
		    give_number(chain, "rules", model->chains.at[i].rules.count) ||
		    give_number(chain, "in_vectors", image->chain_slots[i]))
			return NULL;
	}
	return TAKE_PTR(array);
}

static struct json_object *stats_new(const struct model *model, const struct image *image)
{
	const struct image_stats *stats = &image->stats;
	_cleanup_json_ struct json_object *json = json_object_new_object();
	_cleanup_json_ struct json_object *classes = json_object_new_object();

	if (!json || !classes || give_lines(json, "image_bytes", image->count) ||
	    give_lines(json, "trie_bytes", stats->trie_lines) ||
	    give_lines(json, "vector_bytes", stats->vector_lines) ||
	    give_lines(json, "tree_bytes", stats->tree_lines) ||
	    give_number(json, "tree_boxes", stats->boxes) ||
	    give_number(json, "tree_depth", stats->tree_depth) ||
	    give_number(json, "largest_leaf", stats->largest_leaf) ||
	    give(json, "chains", chain_stats_new(model, image)))
		return NULL;
	for (enum dp_dim d = 0; d < DP_DIM_COUNT; d++)
		if (image->classes[d] && give_number(classes, image_dim_keys[d], image->classes[d]))
			return NULL;
	if (give(json, "classes", TAKE_PTR(classes)))
		return NULL;
	return TAKE_PTR(json);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static struct json_object *zones_new(const struct model *model, const struct image *image)
{
	_cleanup_json_ struct json_object *array = json_object_new_array();

	for (size_t i = 0; array && i < model->zones.count; i++)
		if (append(array, zone_new(model, image, i)))
			return NULL;
	return TAKE_PTR(array);
}

static struct json_object *sets_new(const struct model *model, const struct diag_list *sources)
{
	_cleanup_json_ struct json_object *array = json_object_new_array();

	for (size_t i = 0; array && i < model->sets.count; i++)
		if (append(array, set_new(&model->sets.at[i], sources)))
			return NULL;
	return TAKE_PTR(array);
}

static struct json_object *chains_new(const struct model *model, const struct diag_list *sources)
{
	_cleanup_json_ struct json_object *array = json_object_new_array();

	for (size_t i = 0; array && i < model->chains.count; i++)
		if (append(array, chain_new(model, &model->chains.at[i], sources)))
			return NULL;
	return TAKE_PTR(array);
}

static struct json_object *flows_new(const struct model *model)
{
	_cleanup_json_ struct json_object *json = json_object_new_object();

	if (!json || give_number(json, "slots", model->flow_slots) ||
	    give_number(json, "idle_ms", model->flow_idle_ms))
		return NULL;
	return TAKE_PTR(json);
}

struct json_object *manifest_new(const struct model *model, const struct image *image,
				 const struct diag_list *sources)
{
	_cleanup_json_ struct json_object *json = json_object_new_object();

	if (!json || give_number(json, "schema", MANIFEST_SCHEMA) ||
	    give_text(json, "file", source_name(sources, 0)) ||
	    (model->says_confirm && give_number(json, "confirm_ms", model->confirm_ms)) ||
	    give(json, "zones", zones_new(model, image)) ||
	    give(json, "sets", sets_new(model, sources)) ||
	    give(json, "chains", chains_new(model, sources)) ||
	    (model->flow_slots && give(json, "flows", flows_new(model))) ||
	    give(json, "stats", stats_new(model, image)))
		return NULL;
	return TAKE_PTR(json);
}
