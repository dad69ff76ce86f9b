/* SPDX-License-Identifier: Apache-2.0 */
/* Images as values: growing one, its digest, its end. What is in one is compile.c's business. */
#include "image.h"

#include <json-c/json.h>
#include <string.h>

/* For a hash state on the stack, which cannot fail. */
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#include "lines.h"

int lines_add(struct lines *lines, size_t count, uint32_t *ret_first)
{
	int r;

	if (count > IMAGE_MAX_LINES - lines->vec.count)
		return -E2BIG;
	r = vec_reserve(&lines->vec, count);
	if (r)
		return r;
	*ret_first = lines->vec.count;
	memset(lines->vec.at + lines->vec.count, 0, count * sizeof(*lines->vec.at));
	lines->vec.count += count;
	return 0;
}

void image_done(struct image *image)
{
	free(image->lines);
	free(image->chain_slots);
	*image = (struct image){};
}

/* ---- digest ---------------------------------------------------------------------------------- */

static void digest_json(XXH3_state_t *state, struct json_object *json);

/* Where something is written, and the names of files, are not what a policy means. */
static bool is_place(const char *key)
{
	return !strcmp(key, "file") || !strcmp(key, "source");
}

/* Length first, so that no two lists of texts give the same bytes. */
static void digest_text(XXH3_state_t *state, char kind, const char *text, uint64_t len)
{
	(void)XXH3_128bits_update(state, &kind, 1);
	(void)XXH3_128bits_update(state, &len, sizeof(len));
	(void)XXH3_128bits_update(state, text, len);
}

static void digest_members(XXH3_state_t *state, struct json_object *json)
{
	json_object_object_foreach(json, key, value)
	{
		if (is_place(key))
			continue;
		digest_text(state, 'k', key, strlen(key));
		digest_json(state, value);
	}
	digest_text(state, '}', "", 0);
}

static void digest_json(XXH3_state_t *state, struct json_object *json)
{
	const char *text;
	size_t count;

	if (json_object_is_type(json, json_type_object)) {
		digest_members(state, json);
		return;
	}
	if (json_object_is_type(json, json_type_array)) {
		count = json_object_array_length(json);
		for (size_t i = 0; i < count; i++)
			digest_json(state, json_object_array_get_idx(json, i));
		digest_text(state, ']', "", 0);
		return;
	}
	text = json ? json_object_get_string(json) : "";
	digest_text(state, '0' + json_object_get_type(json), text, strlen(text));
}

void image_digest(struct image *image, struct json_object *manifest)
{
	struct dp_bank_header header;
	XXH128_canonical_t digest;
	XXH3_state_t state;

	memcpy(&header, &image->lines[0], sizeof(header));
	memset(header.digest, 0, sizeof(header.digest));
	XXH3_INITSTATE(&state);
	(void)XXH3_128bits_reset(&state);
	(void)XXH3_128bits_update(&state, &header, sizeof(header));
	(void)XXH3_128bits_update(&state, image->lines + 1,
				  (size_t)(image->count - 1) * sizeof(*image->lines));
	digest_json(&state, manifest);
	XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(&state));
	memcpy(header.digest, digest.digest, sizeof(header.digest));
	memcpy(&image->lines[0], &header, sizeof(header));
}
