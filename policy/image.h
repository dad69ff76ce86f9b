/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The product of the compiler: the bytes of a bank (abi.h) and what people call the things in it. The
 * same model always gives the same bytes; counter slots and the generation are zero in them and are
 * filled in by the installer.
 */
#pragma once

#include <stdint.h>

#include "abi.h"
#include "cleanup.h"
#include "diag.h"
#include "model.h"

struct json_object;

/* What an image is made of, all chains together. */
struct image_stats {
	uint32_t vector_lines;
	uint32_t trie_lines;   /* of addresses, as looked up for vectors */
	uint32_t tree_lines;   /* of cut trees */
	uint32_t boxes;        /* in the leaves of cut trees, each time one stands in one */
	uint32_t tree_depth;   /* references on the longest way from a root to a leaf */
	uint32_t largest_leaf; /* boxes */
};

struct image {
	struct dp_line *lines; /* owned */
	uint32_t count;
	/* Of each table, class 0 included; 0 when no rule needs it. */
	uint32_t classes[DP_DIM_COUNT];
	struct image_stats stats;
	uint32_t *chain_slots; /* owned; of each chain of the model: slots of vectors in use */
};

void image_done(struct image *image);

/* What dimensions are called where people count their classes. */
extern const char *const image_dim_keys[DP_DIM_COUNT];

/* The bank that admits every policy's limits; `check` refuses more, naming table, limit and need. */
#define IMAGE_MAX_LINES (4u * 1024 * 1024) /* 256 MiB */

/*
 * Compiles a model. 0; -E2BIG when a capacity is exceeded, with an error in diags that names it; -ENOMEM.
 * The header's digest is filled in by image_digest().
 */
int image_compile(const struct model *model, struct diag_list *diags,
		  struct image *ret) _must_check_;

/*
 * Digest of a policy: XXH128 over the image with zero digest and over the manifest without its places
 * (file, line) and file names. So it depends on what the policy means, not on how it is written.
 */
void image_digest(struct image *image, struct json_object *manifest);

/*
 * What the image cannot say, as JSON: it travels from the compiling child to the daemon, lies on disk
 * beside a generation, and is what `diff` compares.
 *   {schema: 1, file, zones: [{name, hook, devs: [], tracks: ["ingress"|"egress"]}],   zone number = index + 1;
 *                tracks: directions in which packets make flows, absent for none
 *    sets: [{name, source: "file:line", file, max, runtime, ttl_ms, refresh, given, listed, duplicates, covered, members,
 *            ipv4_ranges, ipv6_ranges, digest}],   of a run-time set the last eight tell of its static part alone;
 *                                                  listed: of those given, by the file
 *    chains: [{name, zone, dir: "ingress"|"egress", default: "pass"|"drop", fragments: "drop"|"first-only",
 *              stateful, source: "file:line",
 *              rules: [{id, source: "file:line", do: "pass"|"drop", mode: "enforce"|"audit", text,
 *                      frames: ["hex"]}]}],   frames: of never-drop rules alone, see witness.h
 *    flows: {slots, idle_ms},   of `telemetry`; absent: packets are not accounted
 *    stats: {image_bytes, of them trie_bytes, vector_bytes, tree_bytes; tree_boxes, tree_depth, largest_leaf,
 *            chains: [{name, rules, in_vectors}], classes: {src4: N, …}; compile_ms is not here: it
 *            is no property of a policy}}
 * rules are in the order of the image's rule records. A set's digest is XXH128 of its ranges, in hex.
 */
struct json_object *manifest_new(const struct model *model, const struct image *image,
				 const struct diag_list *sources);
