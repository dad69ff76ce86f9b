/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy as the daemon knows it: the names behind a bank. Made from the compiler's manifest, numbered
 * and given its counter slots before its flip, saved, and found again by number and digest at a start.
 * Read-only once it is running, so that the loop and the worker may look at it at the same time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi.h"
#include "arena.h"
#include "generation_sets.h"
#include "model.h"
#include "slots.h"
#include "sources.h"

struct json_object;

struct generation_rule {
	const char *id, *source;
	enum dp_verdict verdict;
	bool audit;
	uint32_t slot;
	struct json_object *frames; /* that it must pass, in the manifest; NULL for most */
};

struct generation_chain {
	const char *name, *source, *zone_name;
	uint8_t zone; /* number as in the bank */
	enum dp_dir dir;
	enum dp_verdict verdict; /* the default's */
	VEC(struct generation_rule) rules;
	bool stateful; /* a rule asks for established flows */
	uint32_t slot, default_slot;
};

struct generation_zone {
	const char *name;
	enum model_hook hook;
	bool chain[DP_DIR_COUNT];
	bool tracks[DP_DIR_COUNT]; /* packets make flows there, with or without a chain */
	VEC(const char *) devs;    /* names and patterns */
};

struct generation {
	struct arena arena; /* owns the texts */
	uint64_t number;
	uint8_t digest[16];
	uint32_t lines; /* of its image */
	const char *file, *dir, *applied_at;
	VEC(struct generation_zone) zones;
	VEC(struct generation_chain) chains;
	struct generation_sets sets;
	struct json_object *manifest;
	struct slot_table rules_table, chains_table;
	struct sources sources;
	bool says_confirm; /* the policy has `safety.confirm` */
	uint64_t confirm_ms;
	uint64_t flow_slots, flow_idle_ms; /* as in struct model */
	bool nameless; /* adopted, but what it calls things was not on disk: nothing but number and digest */
};

/* Counter slots that got a new owner and are to be cleared before the flip. */
struct generation_clear {
	struct slot_list rules, chains;
};

#define DIGEST_TEXT 33
void digest_format(const uint8_t digest[static 16], char text[static DIGEST_TEXT]);
bool digest_parse(const char *text, uint8_t ret[static 16]); /* false for NULL, too */

/* Takes the manifest over. -EBADMSG, with a sentence, when it is not as policy/image.h says. */
int generation_new(struct generation **ret, struct json_object *manifest,
		   char **ret_why) _must_check_;
void generation_free(struct generation **g);

/* An adopted bank whose names are lost. */
int generation_new_nameless(struct generation **ret,
			    const struct dp_bank_header *header) _must_check_;

/*
 * Gives the generation its number and every name its slot, starting from the tables of `last` (NULL: new
 * maps). -ENOSPC with a sentence that names table and limit.
 */
int generation_assign(struct generation *g, const struct generation *last, uint64_t number,
		      struct generation_clear *ret_clear, char **ret_why) _must_check_;

/* Writes slots and number into an image. -EBADMSG when the image is not the manifest's. */
int generation_patch(const struct generation *g, struct dp_line *lines, uint32_t count,
		     char **ret_why) _must_check_;

/* When and from where: copied. */
int generation_describe(struct generation *g, const char *file, const char *dir,
			const char *applied_at) _must_check_;

const struct generation_zone *generation_zone(const struct generation *g, const char *name);
const struct generation_chain *generation_chain(const struct generation *g, uint8_t zone,
						enum dp_dir dir);

/* Has it a stateful chain at a place where `last` (NULL: nothing ran) has none? */
bool generation_adds_state(const struct generation *g, const struct generation *last);
bool generation_is_stateful(const struct generation *g); /* NULL is not */

bool generation_same_names(const struct generation *a, const struct generation *b);

struct json_object *generation_to_json(const struct generation *g);
int generation_from_json(struct generation **ret, struct json_object *json) _must_check_;
