/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the tree to the model, section by section; for policy.c and check_*.c alone. A check reports and
 * goes on: what it could not understand it leaves out of the model, which is thrown away after an error.
 */
#pragma once

#include "arena.h"
#include "model.h"
#include "policy.h"
#include "schema.h"
#include "tree.h"

struct check {
	struct diag_list *diags;
	const struct policy_files *files;
	struct model *model;
	uint32_t *sets_by_name; /* indices of model->sets, sorted by name */
	bool *set_used;         /* by index of model->sets */
	size_t names_compared;  /* of sets, with those that are not defined */
	VEC(struct model_rule) never_drop[DP_DIR_COUNT];
	bool out_of_memory;
};

/* The sections. node may be NULL: the section is absent. */
void check_attach(struct check *c, struct tree_node *node);
void check_sets(struct check *c, struct tree_node *node);
void check_safety(struct check *c, struct tree_node *node);
void check_filter(struct check *c, struct tree_node *node);
void check_services(struct check *c, struct tree_node *node);
void check_telemetry(struct check *c, struct tree_node *node);

/* Frees what is not in the model. */
void check_done(struct check *c);

/* Copies the rules of `safety` to the front of a chain that has room for them. */
void check_add_never_drop(struct check *c, struct model_chain *chain);

/* The canonical one-line form, in the model's arena. */
const char *check_rule_text(struct check *c, const struct tree_node *node,
			    const struct schema_map *map, bool mirror);

/* Frees a rule's literals; the rest of it belongs to an arena. */
void model_rule_done(struct model_rule *rule);

/*
 * Fills a rule's match from slots[RULE_KEY_COUNT]; where: "rule 'web'"; incomplete: a key of it was refused.
 * False after an error.
 */
bool check_match(struct check *c, const char *where, struct tree_node *const *slots,
		 bool incomplete, struct model_rule *rule);

/* The index of a set in the model, -1 when none has this name. */
int64_t check_find_set(const struct check *c, const char *name);

/* `type` and `code` of a rule whose protocols are known. */
bool check_icmp(struct check *c, const char *where, struct tree_node *const *slots,
		struct model_rule *rule);

/* Warnings about sets of a good model that no rule names. */
void check_unused(struct check *c);

/* Warnings about chains that drop what the network itself lives on. */
void check_starved(struct check *c);

/* Warnings about rules that can never match. 0 or -ENOMEM. */
int check_shadowed(struct diag_list *diags, const struct model *model) _must_check_;

/* ---- values: true and *ret on success, an error otherwise ---------------------------------------- */

bool check_number(struct check *c, const struct schema_key *key, const struct tree_node *node,
		  uint64_t *ret);
bool check_duration(struct check *c, const struct schema_key *key, const struct tree_node *node,
		    uint64_t *ret_ms);
bool check_rate(struct check *c, const struct schema_key *key, const struct tree_node *node);
bool check_percent(struct check *c, const struct schema_key *key, const struct tree_node *node);

/* The index of a word, -1 for none of them. A word that is not carried out is an error and good. */
int check_word(struct check *c, const struct schema_key *key, const struct tree_node *node);

/* what: "set", "rule". */
bool check_name(struct check *c, const char *what, const struct tree_node *node);

VEC_NAMED(range_list, struct model_range);

/* Ports or, by the key's limits, other numbers that come as N, A-B or a list; room is made in the arena. */
bool check_ports(struct check *c, const struct schema_key *key, const struct tree_node *node,
		 struct range_list *ret);
bool check_port(struct check *c, const struct tree_node *node, uint16_t *ret);

/* A host address without a prefix length. */
bool check_address(struct check *c, const struct tree_node *node, struct prefix *ret);

/* ---- helpers ---------------------------------------------------------------------------------------- */

/* A decimal number without sign or leading zeros, all of text. */
bool parse_decimal(const char *text, size_t len, uint64_t *ret);

/* "500ms", "10s", "5m", "1h", or "0", all of text, which a NUL follows. */
bool parse_duration(const char *text, size_t len, uint64_t *ret_ms);

/* Sorted and merged. */
void ranges_seal(struct range_list *ranges);

/* The values of a scalar-or-list node; each must be a scalar, reported by check_value(). */
const struct tree_node *value_first(const struct tree_node *node);
const struct tree_node *value_next(const struct tree_node *node, const struct tree_node *value);
size_t value_count(const struct tree_node *node);
bool check_value(struct check *c, const struct schema_key *key, const struct tree_node *value);

const char *quote_node(struct check *c, const struct tree_node *node);
const char *print(struct check *c, const char *format, ...) _printf_(2, 3);

/* arena_alloc() for the model; NULL is remembered in out_of_memory. */
void *check_alloc(struct check *c, size_t bytes) _must_check_;

/* Room for n elements that live in the model's arena; vec_push() must not exceed it. */
#define check_room(c, v, n)                                                  \
	((v)->count = 0, (v)->at = check_alloc((c), (n) * sizeof(*(v)->at)), \
	 (v)->room = (v)->at ? (n) : 0)

/* Appends to a vector that check_room() made; a full one is one whose room could not be made. */
#define check_push(v, ...)                                     \
	do {                                                   \
		if ((v)->count < (v)->room)                    \
			(v)->at[(v)->count++] = (__VA_ARGS__); \
	} while (0)
