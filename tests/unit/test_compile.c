/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models to images. Random models are compared with a scan of their rules, through a reader of
 * images that shares nothing with the compiler; the rest are the promises of image.h one by one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "image.h"
#include "tests/lib/bank_walk.h"
#include "tests/lib/model_kit.h"
#include "tests/lib/model_random.h"
#include "tests/lib/model_scan.h"

static struct image compile(struct kit *k)
{
	struct image image = {};
	int r = image_compile(&k->model, &k->diags, &image);

	if (r)
		fail_msg("%s", k->diags.errors ? k->diags.diags.at[0].message : strerror(-r));
	return image;
}

static bool bit(const struct dp_vector *v, size_t rule)
{
	return v->word[rule / 64] >> (rule % 64) & 1;
}

static void check_packet(const struct kit *k, const struct image *image, size_t c,
			 const struct packet *p)
{
	const struct model_chain *chain = &k->model.chains.at[c];
	struct dp_chain record = bank_chain(image, chain->zone + 1, chain->dir);
	struct dp_vector found = bank_match(image, &record, p, false);
	struct dp_vector skipped = bank_match(image, &record, p, true);

	assert_memory_equal(&found, &skipped, sizeof(found));
	for (size_t i = 0; i < DP_CHAIN_RULES; i++) {
		bool expected =
			i < chain->rules.count && scan_matches(&k->model, &chain->rules.at[i], p);

		if (bit(&found, i) != expected)
			fail_msg("chain %zu rule %zu of %zu: %s, family %d proto %u", c, i,
				 chain->rules.count, expected ? "not found" : "found", p->family,
				 p->proto);
	}
}

/*
 * Rules out: negation that lets "no such value" in, IPv4 rules that meet IPv6 packets, types of the
 * other family's ICMP, a chain that takes another chain's vectors, and bits beyond the last rule.
 */
static void test_against_scan(void **state)
{
	struct rng rng = rng_seeded("compiler against scan");

	(void)state;
	for (int round = 0; round < 60; round++) {
		_cleanup_(kit_done) struct kit k;
		_cleanup_(image_done) struct image image = {};

		random_model(&k, &rng);
		image = compile(&k);
		for (int i = 0; i < 300; i++) {
			struct packet p = random_packet(&k, &rng);

			for (size_t c = 0; c < k.model.chains.count; c++)
				check_packet(&k, &image, c, &p);
		}
	}
}

/* ---- records --------------------------------------------------------------------------------- */

/* Rules out chains found by order instead of by zone, and a zone 0 that enforces something. */
static void test_records(void **state)
{
	_cleanup_(kit_done) struct kit k = {};
	_cleanup_(image_done) struct image image = {};
	uint32_t wan = kit_zone(&k, "wan"), lan = kit_zone(&k, "lan"), chain;
	struct model_rule *rule;
	struct dp_bank_header header;
	struct dp_chain record;

	(void)state;
	chain = kit_chain(&k, "lan-out", lan, DP_EGRESS, DP_DROP);
	rule = kit_rule(&k, chain, DP_PASS);
	rule->never_drop = true;
	kit_operand(rule, MODEL_KEY_TO, "192.0.2.0/27");
	rule = kit_rule(&k, chain, DP_DROP);
	rule->audit = true;
	kit_proto(rule, 6);
	kit_proto(kit_rule(&k, chain, DP_DROP), 17);
	kit_proto(kit_rule(&k, chain, DP_PASS), 1);
	(void)kit_chain(&k, "wan-in", wan, DP_INGRESS, DP_PASS);
	image = compile(&k);

	header = BANK_LINE(&image, 0, struct dp_bank_header);
	assert_int_equal(header.magic, DP_BANK_MAGIC);
	assert_int_equal(header.abi_version, DP_ABI_VERSION);
	assert_int_equal(header.generation, 0);
	assert_int_equal(header.lines, image.count);
	assert_int_equal(header.zones, 3);
	for (uint32_t z = 0; z < 3; z++)
		for (enum dp_dir d = 0; d < DP_DIR_COUNT; d++)
			assert_int_equal(bank_chain(&image, z, d).flags,
					 (z == 1 && d == DP_INGRESS) || (z == 2 && d == DP_EGRESS)
						 ? DP_CHAIN_PRESENT
						 : 0);

	record = bank_chain(&image, 1, DP_INGRESS);
	assert_int_equal(record.words, 0);
	assert_int_equal(record.dims, 0);
	assert_int_equal(record.default_reason, DP_REASON_DEFAULT_PASS);

	record = bank_chain(&image, 2, DP_EGRESS);
	assert_int_equal(record.words, 1);
	assert_int_equal(record.dims, 1 << DP_DIM_PROTO | 1 << DP_DIM_DST4);
	assert_int_equal(record.default_reason, DP_REASON_DEFAULT_DROP);
	assert_int_equal(bank_rule(&image, &record, 0).reason, DP_REASON_NEVER_DROP);
	assert_int_equal(bank_rule(&image, &record, 1).reason, DP_REASON_RULE_DROP);
	assert_int_equal(bank_rule(&image, &record, 3).reason, DP_REASON_RULE_PASS);
	assert_int_equal(bank_rule(&image, &record, 3).counter, 0);
	assert_int_equal(BANK_LINE(&image, record.audit, struct dp_vector).word[0], 2);
}

/* Rules out a table for each chain: two chains that ask for different things share one. */
static void test_tables_are_shared(void **state)
{
	_cleanup_(kit_done) struct kit k = {};
	_cleanup_(image_done) struct image image = {};
	struct dp_chain in, out;
	uint32_t wan = kit_zone(&k, "wan"), chain;

	(void)state;
	(void)kit_set_text(&k, "us", "10.0.0.0/8");
	chain = kit_chain(&k, "in", wan, DP_INGRESS, DP_PASS);
	kit_operand(kit_rule(&k, chain, DP_DROP), MODEL_KEY_FROM, "$0");
	chain = kit_chain(&k, "out", wan, DP_EGRESS, DP_PASS);
	kit_operand(kit_rule(&k, chain, DP_DROP), MODEL_KEY_FROM, "192.0.2.0/24");
	kit_operand(kit_rule(&k, chain, DP_DROP), MODEL_KEY_NOT_FROM, "192.0.2.0/24");
	image = compile(&k);
	in = bank_chain(&image, 1, DP_INGRESS);
	out = bank_chain(&image, 1, DP_EGRESS);
	assert_int_equal(in.table[DP_DIM_SRC4], out.table[DP_DIM_SRC4]);
	assert_int_not_equal(in.vector[DP_DIM_SRC4], out.vector[DP_DIM_SRC4]);
	assert_int_equal(image.classes[DP_DIM_SRC4], 4); /* none, outside, 10/8, 192.0.2/24 */
	assert_int_equal(image.classes[DP_DIM_SRC6], 0);
	assert_true(image.count < DP_TRIE_FIRST_LINES + 100);
}

/* Rules out 256 KiB of trie for a policy that names no address, and 128 KiB of ports likewise. */
static void test_small_policy_is_small(void **state)
{
	_cleanup_(kit_done) struct kit k = {};
	_cleanup_(image_done) struct image image = {};
	uint32_t chain = kit_chain(&k, "in", kit_zone(&k, "wan"), DP_INGRESS, DP_DROP);

	(void)state;
	kit_proto(kit_rule(&k, chain, DP_PASS), 6);
	kit_proto(kit_rule(&k, chain, DP_PASS), 17);
	kit_vlan(kit_rule(&k, chain, DP_DROP), 7);
	image = compile(&k);
	assert_true(image.count < 4 * DP_PAGE_LINES);
}

/* Rules out a chain whose only rules ask for nothing and whose vectors therefore have no end. */
static void test_rules_without_keys(void **state)
{
	_cleanup_(kit_done) struct kit k = {};
	_cleanup_(image_done) struct image image = {};
	uint32_t chain = kit_chain(&k, "in", kit_zone(&k, "wan"), DP_INGRESS, DP_DROP);
	const struct packet p = { .family = PACKET_NOT_IP, .vlan = DP_VLAN_NONE };

	(void)state;
	kit_rule(&k, chain, DP_PASS)->audit = true;
	image = compile(&k);
	check_packet(&k, &image, 0, &p);
}

/* ---- state ----------------------------------------------------------------------------------- */

/* Rules out openings asked of UDP, of what drops, of rules that say what they want, of other chains. */
static void test_rules_that_open(void **state)
{
	static const uint8_t expected[] = { 0, 0, DP_RULE_OPENS, DP_RULE_OPENS, 0,
					    0, 0, DP_RULE_OPENS };
	_cleanup_(kit_done) struct kit k = {};
	_cleanup_(image_done) struct image image = {};
	uint32_t zone = kit_zone(&k, "wan"), in = kit_chain(&k, "in", zone, DP_INGRESS, DP_DROP),
		 out;
	struct model_rule *rule;
	struct dp_chain record;

	(void)state;
	rule = kit_rule(&k, in, DP_PASS);
	rule->never_drop = true;
	kit_proto(rule, 6);
	kit_state(&k, in, kit_rule(&k, in, DP_PASS));
	kit_proto(kit_rule(&k, in, DP_PASS), 6);
	(void)kit_rule(&k, in, DP_PASS);
	rule = kit_rule(&k, in, DP_PASS);
	kit_proto(rule, 6);
	rule->keys |= MODEL_KEY_FLAGS;
	kit_proto(kit_rule(&k, in, DP_PASS), 17);
	kit_proto(kit_rule(&k, in, DP_DROP), 6);
	kit_range(kit_rule(&k, in, DP_PASS), MODEL_KEY_DPORT, 80, 80);
	out = kit_chain(&k, "out", zone, DP_EGRESS, DP_DROP);
	kit_proto(kit_rule(&k, out, DP_PASS), 6);
	image = compile(&k);

	record = bank_chain(&image, 1, DP_INGRESS);
	for (uint32_t i = 0; i < sizeof(expected); i++)
		assert_int_equal(bank_rule(&image, &record, i).flags, expected[i]);
	assert_int_equal(bank_rule(&image, &record, 2).reason, DP_REASON_RULE_PASS);
	assert_int_equal(bank_vector(&image, record.state).word[0], 2);
	record = bank_chain(&image, 1, DP_EGRESS);
	assert_int_equal(bank_rule(&image, &record, 0).flags, 0);
	assert_int_equal(record.state, 0);
}

/*
 * Rules out flows made where nobody asks for them, and none made by a zone without chains, whose packets
 * get their replies in another one.
 */
static void test_tracking(void **state)
{
	_cleanup_(kit_done) struct kit k = {};
	_cleanup_(image_done) struct image image = {};
	uint32_t wan = kit_zone(&k, "wan"), in;

	(void)state;
	(void)kit_zone(&k, "lan");
	in = kit_chain(&k, "in", wan, DP_INGRESS, DP_DROP);
	kit_state(&k, in, kit_rule(&k, in, DP_PASS));
	k.model.chains.at[in].first_only = true;
	image = compile(&k);
	assert_int_equal(bank_chain(&image, 1, DP_INGRESS).flags,
			 DP_CHAIN_PRESENT | DP_CHAIN_TRACKS | DP_CHAIN_FIRST_ONLY);
	assert_int_equal(bank_chain(&image, 1, DP_EGRESS).flags, DP_CHAIN_TRACKS);
	assert_int_equal(bank_chain(&image, 2, DP_INGRESS).flags, DP_CHAIN_TRACKS);
	assert_int_equal(bank_chain(&image, 2, DP_EGRESS).flags, 0);
	assert_int_equal(bank_chain(&image, 0, DP_INGRESS).flags, 0);
	assert_int_equal(bank_chain(&image, 0, DP_EGRESS).flags, 0);
}

/* ---- run-time sets --------------------------------------------------------------------------- */

/*
 * Rules out a rule that is satisfied by every source because its set is empty today, one that IPv6 sources
 * cannot satisfy, and a line for sets in a policy that only defines them.
 */
static void test_run_time_sets(void **state)
{
	_cleanup_(kit_done) struct kit k = {}, unused = {};
	_cleanup_(image_done) struct image image = {}, plain = {};
	struct dp_set_ordinals ordinals;
	struct dp_bank_header header;
	struct dp_chain record;
	uint32_t chain;

	(void)state;
	(void)kit_set_text(&k, "office", "192.0.2.0/24");
	(void)kit_set_text(&k, "first", "");
	(void)kit_set_text(&k, "banned", "");
	k.model.sets.at[1].runtime = k.model.sets.at[2].runtime = true;
	chain = kit_chain(&k, "in", kit_zone(&k, "wan"), DP_INGRESS, DP_PASS);
	kit_proto(kit_rule(&k, chain, DP_DROP), 6);
	kit_operand(kit_rule(&k, chain, DP_DROP), MODEL_KEY_FROM, "$2");
	image = compile(&k);
	header = BANK_LINE(&image, 0, struct dp_bank_header);
	record = bank_chain(&image, 1, DP_INGRESS);
	assert_int_not_equal(header.sets, 0);
	ordinals = BANK_LINE(&image, header.sets, struct dp_set_ordinals);
	for (int i = 0; i < DP_SETS; i++)
		assert_int_equal(ordinals.ordinal[i], DP_SET_NO_ORDINAL);
	assert_int_equal(record.flags, DP_CHAIN_PRESENT | DP_CHAIN_SETS_FROM);
	assert_int_equal(record.dims, 1 << DP_DIM_PROTO | 1 << DP_DIM_SRC4 | 1 << DP_DIM_SRC6);
	assert_int_equal(bank_vector(&image, record.vector[DP_DIM_SRC6]).word[0], 1);
	assert_int_equal(bank_vector(&image, record.sets + DP_SET_FROM).word[0], 0);
	assert_int_equal(
		bank_vector(&image, record.sets + DP_SET_VECTOR_COUNT + DP_SET_FROM).word[0], 2);

	(void)kit_set_text(&unused, "banned", "");
	unused.model.sets.at[0].runtime = true;
	(void)kit_chain(&unused, "in", kit_zone(&unused, "wan"), DP_INGRESS, DP_PASS);
	plain = compile(&unused);
	assert_int_equal(BANK_LINE(&plain, 0, struct dp_bank_header).sets, 0);
	assert_int_equal(bank_chain(&plain, 1, DP_INGRESS).sets, 0);
}

/* Rules out trees for chains that vectors hold, whose slots are rules. */
static void test_vectors_hold_512_rules(void **state)
{
	_cleanup_(kit_done) struct kit k = {};
	_cleanup_(image_done) struct image image = {};
	uint32_t chain = kit_chain(&k, "in", kit_zone(&k, "wan"), DP_INGRESS, DP_DROP);
	struct dp_chain record;

	(void)state;
	for (int i = 0; i < DP_CHAIN_RULES; i++)
		kit_proto(kit_rule(&k, chain, DP_PASS), i % 256);
	image = compile(&k);
	record = bank_chain(&image, 1, DP_INGRESS);
	assert_int_equal(record.words, DP_VECTOR_WORDS);
	assert_int_equal(record.flags, DP_CHAIN_PRESENT);
	assert_int_equal(record.rule_count, DP_CHAIN_RULES);
	assert_int_equal(image.chain_slots[0], DP_CHAIN_RULES);
	assert_int_equal(image.stats.tree_lines, 0);
}

/* ---- capacity -------------------------------------------------------------------------------- */

static void expect_refused(struct kit *k, const char *message)
{
	struct image image = {};

	assert_int_equal(image_compile(&k->model, &k->diags, &image), -E2BIG);
	assert_null(image.lines);
	assert_int_equal(k->diags.errors, 1);
	assert_string_equal(k->diags.diags.at[0].code, "capacity");
	assert_string_equal(k->diags.diags.at[0].message, message);
}

static void expect_accepted(struct kit *k)
{
	_cleanup_(image_done) struct image image = compile(k);

	assert_int_equal(k->diags.errors, 0);
}

static void test_too_many_zones(void **state)
{
	_cleanup_(kit_done) struct kit k = {};

	(void)state;
	for (int i = 0; i < DP_ZONE_MAX; i++)
		(void)kit_zone(&k, "z");
	expect_accepted(&k);
	(void)kit_zone(&k, "z");
	expect_refused(&k, "the policy has 256 zones, 1 more than the limit of 255");
}

static void test_too_many_chains(void **state)
{
	_cleanup_(kit_done) struct kit k = {};

	(void)state;
	for (int i = 0; i < 150; i++)
		(void)kit_zone(&k, "z");
	for (int i = 0; i < DP_CHAIN_SLOTS - 1; i++)
		(void)kit_chain(&k, "c", i / 2, i % 2, DP_PASS);
	expect_accepted(&k);
	for (int i = DP_CHAIN_SLOTS - 1; i < 300; i++)
		(void)kit_chain(&k, "c", i / 2, i % 2, DP_PASS);
	expect_refused(&k, "the policy has 300 chains, 45 more than the limit of 255");
}

/* A chain where each of the run-time sets is asked about on both sides, in both ways. */
static void ask_all_sets(struct kit *k, uint32_t chain)
{
	for (uint32_t set = 0; set < DP_SETS; set++) {
		struct model_rule *rule = kit_rule(k, chain, DP_DROP);
		char in[16], out[16];

		(void)snprintf(in, sizeof(in), "$%u", set);
		(void)snprintf(out, sizeof(out), "$%u", (set + 1) % DP_SETS);
		kit_operand(rule, MODEL_KEY_FROM, in);
		kit_operand(rule, MODEL_KEY_TO, in);
		kit_operand(rule, MODEL_KEY_NOT_FROM, out);
		kit_operand(rule, MODEL_KEY_NOT_TO, out);
	}
}

/* What packets read first has a table of its own, which only hundreds of chains with all run-time sets fill. */
static void test_too_many_near_lines(void **state)
{
	_cleanup_(kit_done) struct kit k = {};

	(void)state;
	for (int i = 0; i < DP_SETS; i++) {
		uint32_t set = kit_set_text(&k, "s", "");

		k.model.sets.at[set].runtime = true;
	}
	for (uint32_t i = 0; i < DP_ZONE_MAX; i++) {
		if (i == 240)
			expect_accepted(&k);
		ask_all_sets(&k, kit_chain(&k, "c", kit_zone(&k, "z"), DP_INGRESS, DP_PASS));
	}
	expect_refused(&k, "the near table, which packets read first, needs 67333 lines for chains "
			   "and their run-time sets, 1797 more than the limit of 65536");
}

/*
 * Set b holds the first 2^bits addresses whose bit b is 1: each of them is in another combination.
 */
static void add_combinations(struct kit *k, uint32_t chain, unsigned int bits)
{
	for (unsigned int b = 0; b < bits; b++) {
		struct prefix_set set = {};
		char text[16];

		for (uint32_t addr = 1u << b; addr < 1u << bits; addr += 2u << b) {
			struct prefix p = { ADDR_IPV4, 32 - b, addr };

			kit_must(!prefix_set_add(&set, &p), "no memory");
		}
		(void)snprintf(text, sizeof(text), "$%u", kit_set(k, "s", &set));
		kit_operand(kit_rule(k, chain, DP_DROP), MODEL_KEY_FROM, text);
	}
}

static void test_too_many_classes(void **state)
{
	_cleanup_(kit_done) struct kit k = {}, fits = {};
	_cleanup_(image_done) struct image image = {};

	(void)state;
	add_combinations(&k, kit_chain(&k, "c", kit_zone(&k, "z"), DP_INGRESS, DP_PASS), 17);
	expect_refused(
		&k, "the table of IPv4 source addresses needs 131071 classes, 65536 more than the "
		    "limit of 65535");
	add_combinations(&fits, kit_chain(&fits, "c", kit_zone(&fits, "z"), DP_INGRESS, DP_PASS),
			 16);
	image = compile(&fits);
	assert_int_equal(image.classes[DP_DIM_SRC4], 65536);
	for (uint32_t addr = 0; addr < 65536; addr += 7) {
		const struct packet p = { .src = addr, .vlan = DP_VLAN_NONE };

		check_packet(&fits, &image, 0, &p);
	}
}

/* As many as there may be, and one more. */
static void test_one_class_too_many(void **state)
{
	_cleanup_(kit_done) struct kit k = {};
	uint32_t chain = kit_chain(&k, "c", kit_zone(&k, "z"), DP_INGRESS, DP_PASS);

	(void)state;
	add_combinations(&k, chain, 16);
	expect_accepted(&k);
	kit_operand(kit_rule(&k, chain, DP_DROP), MODEL_KEY_FROM, "0.1.0.0");
	expect_refused(&k, "the table of IPv4 source addresses needs 65536 classes, 1 more than "
			   "the limit of 65535");
}

static void test_image_too_large(void **state)
{
	_cleanup_(kit_done) struct kit k = {};

	(void)state;
	add_combinations(&k, kit_chain(&k, "c", kit_zone(&k, "z"), DP_INGRESS, DP_PASS), 16);
	for (uint32_t z = 1; z < 65; z++) {
		uint32_t chain = kit_chain(&k, "c", kit_zone(&k, "z"), DP_INGRESS, DP_PASS);

		kit_operand(kit_rule(&k, chain, DP_DROP), MODEL_KEY_FROM, "$0");
	}
	expect_refused(
		&k,
		"the tables of the policy need more than 252 MiB, the limit of a bank is 256 MiB");
}

/* ---- digest and manifest --------------------------------------------------------------------- */

static void demo_model(struct kit *k)
{
	uint32_t wan, chain;
	struct model_rule *rule;

	(void)diag_add_source(&k->diags, "edge.yaml", "", 0);
	wan = kit_zone(k, "wan");
	kit_must(!vec_push(&k->model.zones.at[wan].devs, "eth0"), "no memory");
	(void)kit_set_text(k, "us", "10.0.0.0/8 10.1.0.0/16 2001:db8::/32 10.0.0.0/8");
	k->model.sets.at[0].file = "lists/us.txt";
	chain = kit_chain(k, "wan-in", wan, DP_INGRESS, DP_DROP);
	rule = kit_rule(k, chain, DP_DROP);
	rule->id = "try-us";
	rule->audit = true;
	rule->text = "{id: try-us, from: $us, do: drop, mode: audit}";
	kit_operand(rule, MODEL_KEY_FROM, "$0");
}

static void check_digest(const struct kit *k, struct json_object *manifest,
			 uint8_t digest[static 16])
{
	struct diag_list diags = {};
	_cleanup_(image_done) struct image image = {};

	assert_int_equal(image_compile(&k->model, &diags, &image), 0);
	image_digest(&image, manifest);
	memcpy(digest, BANK_LINE(&image, 0, struct dp_bank_header).digest, 16);
	diag_done(&diags);
}

static void digest_of(const struct kit *k, uint8_t digest[static 16])
{
	struct diag_list diags = {};
	_cleanup_(image_done) struct image image = {};
	struct json_object *manifest;

	assert_int_equal(image_compile(&k->model, &diags, &image), 0);
	manifest = manifest_new(&k->model, &image, &k->diags);
	assert_non_null(manifest);
	check_digest(k, manifest, digest);
	json_object_put(manifest);
	diag_done(&diags);
}

/*
 * Rules out a digest over the text, and one that does not see names: the counters belong to them.
 */
static void test_digest(void **state)
{
	_cleanup_(kit_done) struct kit a = {}, b = {};
	uint8_t first[16], second[16], zero[16] = {};

	(void)state;
	demo_model(&a);
	demo_model(&b);
	digest_of(&a, first);
	digest_of(&b, second);
	assert_memory_equal(first, second, 16);
	assert_memory_not_equal(first, zero, 16);
	b.diags.sources.at[0].name = "other.yaml";
	b.model.sets.at[0].file = "elsewhere.txt";
	b.model.chains.at[0].span.line = 99;
	digest_of(&b, second);
	assert_memory_equal(first, second, 16);
	b.model.chains.at[0].rules.at[0].id = "renamed";
	digest_of(&b, second);
	assert_memory_not_equal(first, second, 16);
	b.model.chains.at[0].rules.at[0].id = "try-us";
	b.model.chains.at[0].default_verdict = DP_PASS;
	digest_of(&b, second);
	assert_memory_not_equal(first, second, 16);
}

/* Rules out bytes that depend on addresses in memory or on what was there before. */
static void test_same_bytes(void **state)
{
	struct rng rng = rng_seeded("same bytes"), again = rng;
	_cleanup_(kit_done) struct kit a, b;
	_cleanup_(image_done) struct image x = {}, y = {};

	(void)state;
	random_model(&a, &rng);
	random_model(&b, &again);
	x = compile(&a);
	y = compile(&b);
	assert_int_equal(x.count, y.count);
	assert_memory_equal(x.lines, y.lines, (size_t)x.count * DP_LINE_BYTES);
}

static struct json_object *at(struct json_object *json, const char *key)
{
	return json_object_object_get(json, key);
}

static struct json_object *first_of(struct json_object *json, const char *key)
{
	return json_object_array_get_idx(at(json, key), 0);
}

static const char *text_at(struct json_object *json, const char *key)
{
	return json_object_get_string(at(json, key));
}

static void test_manifest(void **state)
{
	_cleanup_(kit_done) struct kit k = {};
	_cleanup_(image_done) struct image image = {};
	struct json_object *json, *set, *chain, *rule;

	(void)state;
	demo_model(&k);
	image = compile(&k);
	json = manifest_new(&k.model, &image, &k.diags);
	assert_non_null(json);
	assert_int_equal(json_object_get_int(at(json, "schema")), 1);
	assert_string_equal(text_at(json, "file"), "edge.yaml");
	assert_string_equal(
		text_at(json, "zones"),
		"[ { \"name\": \"wan\", \"hook\": \"auto\", \"devs\": [ \"eth0\" ] } ]");
	set = first_of(json, "sets");
	assert_int_equal(json_object_get_int(at(set, "given")), 4);
	assert_int_equal(json_object_get_int(at(set, "duplicates")), 1);
	assert_int_equal(json_object_get_int(at(set, "covered")), 1);
	assert_int_equal(json_object_get_int(at(set, "members")), 2);
	assert_int_equal(json_object_get_int(at(set, "ipv6_ranges")), 1);
	assert_int_equal(strlen(text_at(set, "digest")), 32);
	chain = first_of(json, "chains");
	assert_string_equal(text_at(chain, "zone"), "wan");
	assert_string_equal(text_at(chain, "dir"), "ingress");
	assert_string_equal(text_at(chain, "default"), "drop");
	assert_string_equal(text_at(chain, "source"), "edge.yaml:1");
	rule = first_of(chain, "rules");
	assert_string_equal(text_at(rule, "id"), "try-us");
	assert_string_equal(text_at(rule, "mode"), "audit");
	assert_string_equal(text_at(rule, "do"), "drop");
	assert_int_equal(json_object_get_uint64(at(at(json, "stats"), "image_bytes")),
			 (uint64_t)image.count * DP_LINE_BYTES);
	assert_int_equal(json_object_get_int(at(at(at(json, "stats"), "classes"), "src4")), 2);
	json_object_put(json);
}

/* XDP is not told of the tag that a device took off: where a rule asks for one, `auto` is TC. */
static void test_vlans_are_asked_at_tc(void **state)
{
	_cleanup_(kit_done) struct kit k = {};
	_cleanup_(image_done) struct image image = {};
	struct json_object *json;

	(void)state;
	demo_model(&k);
	image = compile(&k);
	k.model.chains.at[0].rules.at[0].keys |= MODEL_KEY_VLAN;
	json = manifest_new(&k.model, &image, &k.diags);
	assert_non_null(json);
	assert_string_equal(text_at(first_of(json, "zones"), "hook"), "tc");
	json_object_put(json);
	k.model.zones.at[0].hook = MODEL_HOOK_XDP;
	json = manifest_new(&k.model, &image, &k.diags);
	assert_non_null(json);
	assert_string_equal(text_at(first_of(json, "zones"), "hook"), "xdp");
	json_object_put(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_scan),
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_vlans_are_asked_at_tc),
		cmocka_unit_test(test_tables_are_shared),
		cmocka_unit_test(test_small_policy_is_small),
		cmocka_unit_test(test_rules_without_keys),
		cmocka_unit_test(test_rules_that_open),
		cmocka_unit_test(test_tracking),
		cmocka_unit_test(test_run_time_sets),
		cmocka_unit_test(test_vectors_hold_512_rules),
		cmocka_unit_test(test_too_many_zones),
		cmocka_unit_test(test_too_many_chains),
		cmocka_unit_test(test_too_many_classes),
		cmocka_unit_test(test_too_many_near_lines),
		cmocka_unit_test(test_one_class_too_many),
		cmocka_unit_test(test_image_too_large),
		cmocka_unit_test(test_digest),
		cmocka_unit_test(test_same_bytes),
		cmocka_unit_test(test_manifest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
