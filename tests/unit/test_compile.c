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
#include "tests/lib/rng.h"

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

/* ---- the reference --------------------------------------------------------------------------- */

static bool operand_has(const struct model *m, const struct model_operand *o, bool v4, u128 addr)
{
	enum addr_family family = v4 ? ADDR_IPV4 : ADDR_IPV6;

	if (prefix_set_has(&o->literals, family, addr, addr))
		return true;
	for (size_t i = 0; i < o->sets.count; i++)
		if (prefix_set_has(&m->sets.at[o->sets.at[i]].prefixes, family, addr, addr))
			return true;
	return false;
}

static bool in(const struct model_range *ranges, size_t count, uint16_t value)
{
	for (size_t i = 0; i < count; i++)
		if (value >= ranges[i].first && value <= ranges[i].last)
			return true;
	return false;
}

static bool addresses_match(const struct model *m, const struct model_rule *r,
			    const struct packet *p)
{
	bool v4 = p->family == PACKET_IPV4;

	if (r->keys & MODEL_KEY_FROM && !operand_has(m, &r->from, v4, p->src))
		return false;
	if (r->keys & MODEL_KEY_TO && !operand_has(m, &r->to, v4, p->dst))
		return false;
	if (r->keys & MODEL_KEY_NOT_FROM && operand_has(m, &r->not_from, v4, p->src))
		return false;
	return !(r->keys & MODEL_KEY_NOT_TO && operand_has(m, &r->not_to, v4, p->dst));
}

static bool transport_matches(const struct model_rule *r, const struct packet *p)
{
	bool v4 = p->family == PACKET_IPV4, icmp = p->proto == (v4 ? 1 : 58);

	if (r->keys & MODEL_KEY_SPORT &&
	    (!packet_has_ports(p) || !in(r->sport.at, r->sport.count, p->sport)))
		return false;
	if (r->keys & MODEL_KEY_DPORT &&
	    (!packet_has_ports(p) || !in(r->dport.at, r->dport.count, p->dport)))
		return false;
	if (r->keys & MODEL_KEY_TYPE && (!icmp || !in(r->type.at, r->type.count, p->type)))
		return false;
	if (r->keys & MODEL_KEY_CODE && (!icmp || !in(r->code.at, r->code.count, p->code)))
		return false;
	if (!(r->keys & MODEL_KEY_FLAGS))
		return true;
	return p->proto == 6 && (p->flags & r->flags_all) == r->flags_all &&
	       !(p->flags & r->flags_none) && (!r->flags_any || p->flags & r->flags_any);
}

static bool matches(const struct model *m, const struct model_rule *r, const struct packet *p)
{
	bool vlan = !(r->keys & MODEL_KEY_VLAN);

	for (size_t i = 0; i < r->vlan.count; i++)
		vlan |= r->vlan.at[i] == p->vlan;
	if (!vlan)
		return false;
	if (p->family == PACKET_NOT_IP)
		return !(r->keys & ~MODEL_KEY_VLAN);
	if (r->family == MODEL_FAMILY_IPV4 && p->family != PACKET_IPV4)
		return false;
	if (r->family == MODEL_FAMILY_IPV6 && p->family != PACKET_IPV6)
		return false;
	if (r->keys & MODEL_KEY_PROTO && !(r->protos[p->proto / 64] >> (p->proto % 64) & 1))
		return false;
	/* icmp is of IPv4 and icmp6 of IPv6; their numbers in the other family are neither. */
	if (r->keys & MODEL_KEY_PROTO && p->proto == (p->family == PACKET_IPV4 ? 58 : 1))
		return false;
	return addresses_match(m, r, p) && transport_matches(r, p);
}

/* ---- random models --------------------------------------------------------------------------- */

/* From a small pool, so that prefixes nest, repeat and touch, and packets hit them. */
static u128 random_address(struct rng *rng, bool v4)
{
	uint64_t a = rng_below(rng, 3), b = rng_below(rng, 3), c = rng_below(rng, 3);

	if (v4)
		return 10u << 24 | a << 16 | b << 8 | c;
	return (u128)0x20010db8 << 96 | (u128)a << 80 | (u128)b << 64 | (u128)c << 16 |
	       rng_below(rng, 3);
}

static struct prefix random_prefix(struct rng *rng)
{
	static const uint8_t lens4[] = { 0, 8, 15, 16, 17, 23, 24, 31, 32, 32 };
	static const uint8_t lens6[] = { 0, 32, 47, 48, 64, 65, 111, 112, 127, 128 };
	bool v4 = rng_below(rng, 2);
	unsigned int bits = v4 ? 32 : 128, len = (v4 ? lens4 : lens6)[rng_below(rng, 10)];
	u128 addr = random_address(rng, v4);

	return (struct prefix){ v4 ? ADDR_IPV4 : ADDR_IPV6, len,
				len ? addr >> (bits - len) << (bits - len) : 0 };
}

static void random_set(struct prefix_set *set, size_t count, struct rng *rng)
{
	for (size_t i = 0; i < count; i++) {
		struct prefix p = random_prefix(rng);

		kit_must(!prefix_set_add(set, &p), "no memory");
	}
	kit_must(!prefix_set_seal(set), "no memory");
}

static void random_operand(struct kit *k, struct model_rule *rule, enum model_key key,
			   struct model_operand *o, struct rng *rng)
{
	if (rng_below(rng, 3))
		return;
	rule->keys |= key;
	random_set(&o->literals, rng_below(rng, 3), rng);
	for (uint32_t s = 0; s < k->model.sets.count; s++)
		if (!rng_below(rng, 3))
			kit_must(!vec_push(&o->sets, s), "no memory");
}

static void random_ranges(struct model_rule *rule, enum model_key key, struct rng *rng)
{
	unsigned int from = 0;

	if (rng_below(rng, 2))
		return;
	for (int i = 0; i < 3; i++) {
		unsigned int first = from + rng_below(rng, 4), last = first + rng_below(rng, 3);

		kit_range(rule, key, first, last);
		from = last + 2;
	}
}

/* What the transport keys need is there, as the checker would insist. */
static void random_transport(struct model_rule *rule, struct rng *rng)
{
	switch (rng_below(rng, 5)) {
	case 0:
		kit_proto(rule, 6);
		if (rng_below(rng, 2))
			kit_proto(rule, 17);
		random_ranges(rule, MODEL_KEY_SPORT, rng);
		random_ranges(rule, MODEL_KEY_DPORT, rng);
		break;
	case 1:
		kit_proto(rule, 1);
		if (rng_below(rng, 2))
			kit_proto(rule, 58);
		random_ranges(rule, MODEL_KEY_TYPE, rng);
		random_ranges(rule, MODEL_KEY_CODE, rng);
		break;
	case 2:
		kit_proto(rule, 6);
		rule->keys |= MODEL_KEY_FLAGS;
		rule->flags_all = rng_next(rng) & rng_next(rng) & rng_next(rng);
		rule->flags_any = rng_next(rng) & rng_next(rng);
		rule->flags_none = rng_next(rng) & rng_next(rng) & ~rule->flags_all;
		break;
	case 3:
		kit_proto(rule, rng_below(rng, 256));
		break;
	}
}

static void random_rule(struct kit *k, uint32_t chain, struct rng *rng)
{
	struct model_rule *rule = kit_rule(k, chain, rng_below(rng, DP_VERDICT_COUNT));

	rule->audit = !rng_below(rng, 5);
	if (!rng_below(rng, 4)) {
		rule->keys |= MODEL_KEY_FAMILY;
		rule->family = MODEL_FAMILY_IPV4 + rng_below(rng, 2);
	}
	if (!rng_below(rng, 4))
		for (int i = 0; i < 2; i++)
			kit_vlan(rule, rng_below(rng, 4));
	random_operand(k, rule, MODEL_KEY_FROM, &rule->from, rng);
	random_operand(k, rule, MODEL_KEY_TO, &rule->to, rng);
	random_operand(k, rule, MODEL_KEY_NOT_FROM, &rule->not_from, rng);
	random_operand(k, rule, MODEL_KEY_NOT_TO, &rule->not_to, rng);
	random_transport(rule, rng);
}

static void random_model(struct kit *k, struct rng *rng)
{
	*k = (struct kit){};
	for (int z = 0; z < 3; z++)
		(void)kit_zone(k, "z");
	for (uint64_t s = rng_below(rng, 4); s > 0; s--) {
		struct prefix_set set = {};

		random_set(&set, rng_below(rng, 20), rng);
		(void)kit_set(k, "s", &set);
	}
	for (uint32_t z = 0; z < 3; z++) {
		uint32_t chain = kit_chain(k, "c", z, rng_below(rng, 2), rng_below(rng, 2));

		for (uint64_t i = rng_below(rng, z == 0 ? 140 : 8); i > 0; i--)
			random_rule(k, chain, rng);
	}
}

static struct packet random_packet(struct rng *rng)
{
	static const uint8_t protos[] = { 1, 6, 6, 17, 58, 132 };
	struct packet p = {
		.family = rng_below(rng, 12) ? rng_below(rng, 2) : PACKET_NOT_IP,
		.proto = rng_below(rng, 8) ? protos[rng_below(rng, 6)] : rng_below(rng, 256),
		.flags = rng_next(rng),
		.type = rng_below(rng, 16),
		.code = rng_below(rng, 16),
		.sport = rng_below(rng, 8) ? rng_below(rng, 18) : rng_below(rng, 65536),
		.dport = rng_below(rng, 8) ? rng_below(rng, 18) : rng_below(rng, 65536),
		.vlan = rng_below(rng, 2) ? DP_VLAN_NONE : rng_below(rng, 5),
	};

	p.src = random_address(rng, p.family == PACKET_IPV4);
	p.dst = random_address(rng, p.family == PACKET_IPV4);
	if (!rng_below(rng, 8))
		p.src = p.family == PACKET_IPV4 ? (uint32_t)rng_next(rng) : rng_u128(rng);
	return p;
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
			i < chain->rules.count && matches(&k->model, &chain->rules.at[i], p);

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
			struct packet p = random_packet(&rng);

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

static void test_too_many_rules(void **state)
{
	_cleanup_(kit_done) struct kit k = {}, fits = {};
	_cleanup_(image_done) struct image image = {};
	uint32_t chain = kit_chain(&k, "wan-in", kit_zone(&k, "wan"), DP_INGRESS, DP_DROP);

	(void)state;
	for (int i = 0; i < 600; i++)
		kit_proto(kit_rule(&k, chain, DP_PASS), 6);
	k.model.chains.at[chain].span = (struct span){ 0, 12, 3, 6 };
	expect_refused(&k, "chain 'wan-in' has 600 rules, 88 more than the limit of 512");
	assert_int_equal(k.diags.diags.at[0].span.line, 12);

	chain = kit_chain(&fits, "wan-in", kit_zone(&fits, "wan"), DP_INGRESS, DP_DROP);
	for (int i = 0; i < DP_CHAIN_RULES; i++)
		kit_proto(kit_rule(&fits, chain, DP_PASS), i % 256);
	image = compile(&fits);
	assert_int_equal(bank_chain(&image, 1, DP_INGRESS).words, DP_VECTOR_WORDS);
}

static void test_too_many_zones(void **state)
{
	_cleanup_(kit_done) struct kit k = {};

	(void)state;
	for (int i = 0; i < 256; i++)
		(void)kit_zone(&k, "z");
	expect_refused(&k, "the policy has 256 zones, 1 more than the limit of 255");
}

static void test_too_many_chains(void **state)
{
	_cleanup_(kit_done) struct kit k = {};

	(void)state;
	for (int i = 0; i < 150; i++)
		(void)kit_zone(&k, "z");
	for (int i = 0; i < 300; i++)
		(void)kit_chain(&k, "c", i / 2, i % 2, DP_PASS);
	expect_refused(&k, "the policy has 300 chains, 45 more than the limit of 255");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_scan),
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_tables_are_shared),
		cmocka_unit_test(test_small_policy_is_small),
		cmocka_unit_test(test_rules_without_keys),
		cmocka_unit_test(test_too_many_rules),
		cmocka_unit_test(test_too_many_zones),
		cmocka_unit_test(test_too_many_chains),
		cmocka_unit_test(test_too_many_classes),
		cmocka_unit_test(test_image_too_large),
		cmocka_unit_test(test_digest),
		cmocka_unit_test(test_same_bytes),
		cmocka_unit_test(test_manifest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
