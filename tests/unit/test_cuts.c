/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chains of more rules than vectors have room for: which rules stand where, and that trees and vectors
 * together decide as a scan of the rules does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "image.h"
#include "tests/lib/bank_walk.h"
#include "tests/lib/classbench.h"
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

static uint32_t chain_of(struct kit *k)
{
	return kit_chain(k, "wan-in", kit_zone(k, "wan"), DP_INGRESS, DP_DROP);
}

/* Rules that are narrow in the source, each another host. */
static void fill_up(struct kit *k, uint32_t chain, size_t rules)
{
	for (size_t i = k->model.chains.at[chain].rules.count; i < rules; i++) {
		char text[32];

		(void)snprintf(text, sizeof(text), "192.%zu.%zu.1", i / 256, i % 256);
		kit_operand(kit_rule(k, chain, DP_PASS), MODEL_KEY_FROM, text);
	}
}

/* ---- against a scan -------------------------------------------------------------------------- */

/* Every rule in vectors, and the one that decides of all. */
static void check_packet(const struct kit *k, const struct image *image, const struct packet *p)
{
	const struct model_chain *chain = &k->model.chains.at[0];
	struct dp_chain record = bank_chain(image, chain->zone + 1, chain->dir);
	struct dp_vector found = bank_match(image, &record, p, false);
	uint32_t expected = scan_first(&k->model, chain, p), decided;

	assert_true(record.flags & DP_CHAIN_CUTS);
	for (uint32_t slot = 0; slot < DP_CHAIN_RULES; slot++) {
		bool bit = found.word[slot / 64] >> (slot % 64) & 1;
		uint32_t rule;

		if (slot >= image->chain_slots[0]) {
			assert_false(bit);
			continue;
		}
		rule = bank_slot_rule(image, &record, slot);
		if (bit != scan_matches(&k->model, &chain->rules.at[rule], p))
			fail_msg("slot %u, rule %u: %s", slot, rule, bit ? "found" : "not found");
	}
	decided = bank_decide(image, &record, p);
	if (decided != expected)
		fail_msg("rule %d decides instead of %d of %zu: family %d proto %u", decided,
			 expected, chain->rules.count, p->family, p->proto);
}

/*
 * Rules out: trees that know one family, one block a list or one range a port list; negation by the first
 * block alone; "any of" as "all of"; boxes in the order of their width; slots taken for rule numbers.
 */
static void test_against_scan(void **state)
{
	struct rng rng = rng_seeded("large chains against scan");

	(void)state;
	for (int round = 0; round < 6; round++) {
		_cleanup_(kit_done) struct kit k;
		_cleanup_(image_done) struct image image = {};
		size_t rules = 600 + rng_below(&rng, 2400);

		random_large_model(&k, rules, &rng);
		image = compile(&k);
		for (int i = 0; i < 600; i++) {
			const struct model_rule *rule =
				&k.model.chains.at[0].rules.at[rng_below(&rng, rules)];
			struct packet p = random_packet_of(&k, rule, &rng);

			check_packet(&k, &image, &p);
		}
	}
}

/* Rules out bytes that depend on addresses in memory or on what was there before. */
static void test_same_bytes(void **state)
{
	struct rng rng = rng_seeded("same bytes"), again = rng;
	_cleanup_(kit_done) struct kit a, b;
	_cleanup_(image_done) struct image x = {}, y = {};

	(void)state;
	random_large_model(&a, 2000, &rng);
	random_large_model(&b, 2000, &again);
	x = compile(&a);
	y = compile(&b);
	assert_int_equal(x.count, y.count);
	assert_memory_equal(x.lines, y.lines, (size_t)x.count * DP_LINE_BYTES);
}

/* ---- ClassBench ------------------------------------------------------------------------------ */

#define HEADERS 400

/* A packet that a rule lets in, or one beside it. */
static struct packet header_of(const struct model_rule *rule, struct rng *rng)
{
	struct packet p = { .vlan = DP_VLAN_NONE, .proto = rng_below(rng, 2) ? 6 : 17 };

	p.src = random_member(&rule->from, true, rng);
	p.dst = random_member(&rule->to, true, rng);
	for (unsigned int proto = 0; rule->keys & MODEL_KEY_PROTO && proto < 256; proto++)
		if (rule->protos[proto / 64] >> (proto % 64) & 1)
			p.proto = proto;
	p.sport = rule->sport.count ? rule->sport.at[0].first : rng_below(rng, 65536);
	p.dport = rule->dport.count ? rule->dport.at[0].last : rng_below(rng, 65536);
	p.flags = (rng_next(rng) | rule->flags_all) & ~rule->flags_none;
	p.type = rule->type.count ? rule->type.at[0].first : rng_below(rng, 256);
	return p;
}

static struct image load(struct kit *k, const char *command)
{
	(void)classbench_rules(k, chain_of(k), command);
	return compile(k);
}

static void check_rules(struct kit *k, const struct image *image, struct rng *rng)
{
	const struct model_chain *chain = &k->model.chains.at[0];

	for (int i = 0; i < HEADERS; i++) {
		size_t rule = rng_below(rng, chain->rules.count);
		struct packet p = header_of(&chain->rules.at[rule], rng);

		check_packet(k, image, &p);
	}
}

/* A line of a trace as a packet. */
static struct packet classbench_packet(const char *line)
{
	uint32_t src, dst, sport, dport, proto, word;

	kit_must(sscanf(line,
			"%" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32,
			&src, &dst, &sport, &dport, &proto, &word) == 6,
		 line);
	return (struct packet){
		.src = src,
		.dst = dst,
		.sport = sport,
		.dport = dport,
		.proto = proto,
		.flags = word >> 24,
		.type = word >> 24,
		.vlan = DP_VLAN_NONE,
	};
}

/* Lines of a trace, at regular distances. */
static void check_trace(const struct kit *k, const struct image *image, const char *path)
{
	char command[512], line[CLASSBENCH_LINE];
	FILE *f;

	(void)snprintf(command, sizeof(command), "gzip -dc '%s'", path);
	f = popen(command, "r");
	assert_non_null(f);
	for (int i = 0; fgets(line, sizeof(line), f); i++) {
		struct packet p = classbench_packet(line);

		if (i % 64 == 0)
			check_packet(k, image, &p);
	}
	assert_int_equal(pclose(f), 0);
}

/* Memory that does not explode, leaves that are short, and a way to them that is not long. */
static void check_figures(const struct image *image, size_t rules)
{
	assert_true(image->count < 64u * 1024 * 1024 / DP_LINE_BYTES);
	assert_true(image->stats.boxes < 4 * rules);
	assert_true(image->stats.tree_depth <= 12);
	assert_true(image->stats.largest_leaf <= DP_CUT_BOXES);
}

/* Rules out trees that only work for rules drawn evenly: here they cluster, nest and share their ports. */
static void test_generated_classbench(void **state)
{
	static const char *const shapes[] = { "acl1", "fw1", "ipc1" };
	struct rng rng = rng_seeded("rules of ClassBench's shape");

	(void)state;
	for (int i = 0; i < 3; i++) {
		_cleanup_(kit_done) struct kit k = {};
		_cleanup_(image_done) struct image image = {};
		char command[128];

		(void)snprintf(command, sizeof(command),
			       "python3 bench/classbench rules %s 3000 --seed %u", shapes[i],
			       (unsigned int)rng_below(&rng, 1u << 30));
		image = load(&k, command);
		check_figures(&image, k.model.chains.at[0].rules.count);
		check_rules(&k, &image, &rng);
	}
}

/* The same with the real sets, and their traces where there are some. */
static void test_real_classbench(void **state)
{
	static const char *const sets[] = { "acl1_1000",     "fw1_1000",     "ipc1_1000",
					    "acl1_10000",    "fw1_10000",    "ipc1_10000",
					    "acl1_50000.gz", "fw1_50000.gz", "ipc1_50000.gz" };
	const char *data = getenv("PENSTOCK_DATA") ?: "../shared/data";
	struct rng rng = rng_seeded("ClassBench's own rules");
	char path[256], command[512];

	(void)state;
	for (int i = 0; i < 9; i++) {
		_cleanup_(kit_done) struct kit k = {};
		_cleanup_(image_done) struct image image = {};

		(void)snprintf(path, sizeof(path), "%s/classbench/%s", data, sets[i]);
		if (access(path, R_OK)) {
			print_message("skipped: no %s\n", path);
			skip();
		}
		(void)snprintf(command, sizeof(command), "gzip -dcf '%s'", path);
		image = load(&k, command);
		check_figures(&image, k.model.chains.at[0].rules.count);
		check_rules(&k, &image, &rng);
		(void)snprintf(path, sizeof(path), "%s/classbench/%s_trace.gz", data, sets[i]);
		if (!access(path, R_OK))
			check_trace(&k, &image, path);
	}
}

/* ---- which rules stand in vectors ------------------------------------------------------------ */

static bool stands_in_vectors(const struct image *image, uint32_t rule)
{
	struct dp_chain record = bank_chain(image, 1, DP_INGRESS);

	for (uint32_t slot = 0; slot < image->chain_slots[0]; slot++)
		if (bank_slot_rule(image, &record, slot) == rule)
			return true;
	return false;
}

/* Rules out a chain that looks at vectors though all its rules are narrow: they are what costs most then. */
static void test_narrow_rules_need_no_vectors(void **state)
{
	_cleanup_(kit_done) struct kit k = {};
	_cleanup_(image_done) struct image image = {};
	struct dp_chain record;

	(void)state;
	fill_up(&k, chain_of(&k), 3000);
	image = compile(&k);
	record = bank_chain(&image, 1, DP_INGRESS);
	assert_int_equal(record.words, 0);
	assert_int_equal(record.dims, 0);
	assert_int_equal(record.rule_count, 3000);
	assert_int_equal(record.cuts[0][1].bits + record.cuts[0][1].count, 0);
	assert_int_equal(record.cuts[1][0].bits + record.cuts[1][0].count, 0);
	assert_int_equal(image.stats.vector_lines, 0);
	assert_int_equal(image.stats.trie_lines, 0);
	assert_int_equal(image.stats.boxes, 3000);
	assert_true(image.stats.tree_depth <= 4);
}

/* What only vectors know, each in one rule, last in the chain; and beside each a rule that boxes know. */
enum {
	AT_AUDIT = 600,
	AT_STATE,
	AT_RUNTIME,
	AT_NOT_RUNTIME,
	AT_VLAN_ALONE,
	AT_LONG_LIST,
	AT_VLAN_TCP,
	AT_COUNT,
};

static void add_special_rules(struct kit *k, uint32_t chain)
{
	struct prefix_set set = {};
	struct model_rule *rule;

	for (uint32_t i = 0; i < 5000; i++) {
		struct prefix p = { ADDR_IPV4, 32, 10u << 24 | i << 8 };

		kit_must(!prefix_set_add(&set, &p), "no memory");
	}
	(void)kit_set_text(k, "banned", "198.51.100.0/24");
	k->model.sets.at[0].runtime = true;
	(void)kit_set(k, "long", &set);
	kit_rule(k, chain, DP_DROP)->audit = true;
	rule = kit_rule(k, chain, DP_PASS);
	kit_operand(rule, MODEL_KEY_TO, "203.0.113.1");
	kit_state(k, chain, rule);
	kit_operand(kit_rule(k, chain, DP_DROP), MODEL_KEY_FROM, "$0");
	kit_operand(kit_rule(k, chain, DP_DROP), MODEL_KEY_NOT_TO, "$0");
	kit_vlan(kit_rule(k, chain, DP_DROP), 7);
	kit_operand(kit_rule(k, chain, DP_DROP), MODEL_KEY_FROM, "$1");
	rule = kit_rule(k, chain, DP_PASS);
	kit_proto(rule, 6);
	kit_vlan(rule, 7);
	kit_operand(rule, MODEL_KEY_TO, "203.0.113.0/24");
}

/* Rules out boxes that forget the mode, the state, a set's run-time part, frames that are not IP. */
static void test_what_only_vectors_know(void **state)
{
	struct rng rng = rng_seeded("special rules");
	_cleanup_(kit_done) struct kit k = {};
	_cleanup_(image_done) struct image image = {};
	uint32_t chain = chain_of(&k);

	(void)state;
	fill_up(&k, chain, AT_AUDIT);
	add_special_rules(&k, chain);
	assert_int_equal(k.model.chains.at[chain].rules.count, AT_COUNT);
	image = compile(&k);
	for (uint32_t i = AT_AUDIT; i < AT_COUNT; i++)
		assert_int_equal(stands_in_vectors(&image, i), i != AT_VLAN_TCP);
	for (int i = 0; i < 2000; i++) {
		static const uint32_t sources[] = { 0xc6336401, 0x0a000100, 0xc0000101,
						    0x0a000101 };
		struct packet p = random_packet(&k, &rng);

		if (p.family == PACKET_IPV4) {
			p.src = sources[rng_below(&rng, 4)];
			p.dst = rng_below(&rng, 2) ? 0xcb007101 : 0xcb007102;
		}
		if (rng_below(&rng, 2))
			p.vlan = 7;
		check_packet(&k, &image, &p);
	}
}

/*
 * Rules out wide rules that make all leaves long, slots in another order than rules, and unused ones that a
 * search among them would take for rule 0.
 */
static void test_wide_rules_go_to_vectors(void **state)
{
	_cleanup_(kit_done) struct kit k = {};
	_cleanup_(image_done) struct image image = {};
	struct dp_chain record;
	uint32_t chain = chain_of(&k);

	(void)state;
	fill_up(&k, chain, 1000);
	for (unsigned int i = 0; i < 100; i++) {
		struct model_rule *rule = kit_rule(&k, chain, DP_DROP);

		kit_proto(rule, 6);
		if (i % 2)
			kit_range(rule, MODEL_KEY_DPORT, i, 60000);
		else
			kit_operand(rule, MODEL_KEY_TO, "128.0.0.0/1");
	}
	image = compile(&k);
	record = bank_chain(&image, 1, DP_INGRESS);
	assert_int_equal(image.chain_slots[0], 100);
	for (uint32_t slot = 0; slot < DP_CHAIN_RULES; slot++)
		assert_int_equal(bank_slot_rule(&image, &record, slot),
				 slot < 100 ? 1000 + slot : 0xffff);
	assert_int_equal(image.stats.boxes, 1000);
}

/* Rules out a tree that keeps what can never win: all but the first of many that are the same. */
static void test_repeated_rules(void **state)
{
	_cleanup_(kit_done) struct kit k = {};
	_cleanup_(image_done) struct image image = {};
	uint32_t chain = chain_of(&k);
	const struct packet p = { .src = 0x0a000001, .proto = 6, .vlan = DP_VLAN_NONE };

	(void)state;
	for (int i = 0; i < 2000; i++)
		kit_operand(kit_rule(&k, chain, DP_PASS), MODEL_KEY_FROM, "10.0.0.0/24");
	image = compile(&k);
	assert_int_equal(image.stats.boxes, 1);
	check_packet(&k, &image, &p);
}

static void add_ports(struct kit *k, uint32_t chain, uint16_t first, uint16_t last)
{
	struct model_rule *rule = kit_rule(k, chain, DP_PASS);

	kit_operand(rule, MODEL_KEY_FROM, "10.0.0.1");
	kit_proto(rule, 6);
	kit_range(rule, MODEL_KEY_SPORT, first, last);
}

/*
 * Rules out parts of a tree that are shared although a box that never wins in one of them does in the other:
 * the first ports of both halves have the same two boxes, of which the second one reaches further than the
 * first in the upper half alone.
 */
static void test_shared_parts(void **state)
{
	_cleanup_(kit_done) struct kit k = {};
	_cleanup_(image_done) struct image image = {};
	struct packet p = { .src = 0x0a000001, .proto = 6, .vlan = DP_VLAN_NONE };
	uint32_t chain = chain_of(&k);

	(void)state;
	fill_up(&k, chain, 600);
	for (unsigned int i = 0; i < 32; i++)
		if (i % 16 >= 4)
			add_ports(&k, chain, i * 2048 + 512, i * 2048 + 512);
	add_ports(&k, chain, 0, 33000);
	add_ports(&k, chain, 0, 60000);
	image = compile(&k);
	assert_true(image.stats.largest_leaf <= 8);
	for (unsigned int sport = 0; sport <= UINT16_MAX; sport += 97) {
		p.sport = sport;
		check_packet(&k, &image, &p);
	}
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

static void test_too_many_audit_rules(void **state)
{
	_cleanup_(kit_done) struct kit k = {};
	_cleanup_(image_done) struct image image = {};
	uint32_t chain = chain_of(&k);

	(void)state;
	fill_up(&k, chain, 700);
	for (int i = 0; i < DP_CHAIN_RULES; i++)
		k.model.chains.at[chain].rules.at[i].audit = true;
	image = compile(&k);
	assert_int_equal(image.chain_slots[0], DP_CHAIN_RULES);
	k.model.chains.at[chain].rules.at[DP_CHAIN_RULES].audit = true;
	expect_refused(&k,
		       "chain 'wan-in' has 513 rules that need a slot of its vectors, 1 more than "
		       "the limit of 512");
	assert_int_equal(k.diags.diags.at[0].notes.count, 1); /* that says which */
}

/* Blocks that overlap in one place and do not cover each other, more of them than slots and a leaf hold. */
static void test_too_many_in_one_place(void **state)
{
	_cleanup_(kit_done) struct kit k = {};
	uint32_t chain = chain_of(&k);

	(void)state;
	for (unsigned int i = 0; i < 1000; i++) {
		struct model_rule *rule = kit_rule(&k, chain, DP_PASS);

		kit_proto(rule, 6);
		kit_range(rule, MODEL_KEY_SPORT, i, 30000 + i);
		kit_range(rule, MODEL_KEY_DPORT, 2000 - i, 40000 - i);
	}
	assert_int_equal(image_compile(&k.model, &k.diags, &(struct image){}), -E2BIG);
	assert_int_equal(k.diags.errors, 1);
	assert_non_null(strstr(k.diags.diags.at[0].message,
			       "boxes meet in one place of the cut trees of chain 'wan-in'"));
}

/* Rules out lists that multiply without end: each rule is few words, all together are millions of boxes. */
static void test_too_many_boxes(void **state)
{
	_cleanup_(kit_done) struct kit k = {};
	uint32_t chain = chain_of(&k);

	(void)state;
	for (unsigned int i = 0; i < 1000; i++) {
		struct model_rule *rule = kit_rule(&k, chain, DP_PASS);

		kit_proto(rule, 6);
		for (uint32_t n = 0; n < 60; n++) {
			struct prefix p = { ADDR_IPV4, 32, 10u << 24 | i << 12 | n << 4 };

			kit_must(!prefix_set_add(&rule->from.literals, &p), "no memory");
			kit_range(rule, MODEL_KEY_DPORT, 2 * n, 2 * n);
		}
		kit_must(!prefix_set_seal(&rule->from.literals), "no memory");
		rule->keys |= MODEL_KEY_FROM;
	}
	expect_refused(&k,
		       "the lists of chain 'wan-in' make 1987200 boxes for its cut trees, 1462912 "
		       "more than the limit of 524288");
}

/* Slot 0 is taken, and the default has one. */
static void test_too_many_counters(void **state)
{
	_cleanup_(kit_done) struct kit k = {};
	_cleanup_(image_done) struct image image = {};
	uint32_t chain = chain_of(&k);

	(void)state;
	fill_up(&k, chain, DP_RULE_SLOTS - 2);
	image = compile(&k);
	(void)kit_rule(&k, chain, DP_PASS);
	expect_refused(&k,
		       "the rules and defaults of all chains need 65536 counters, 1 more than the "
		       "limit of 65535");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_scan),
		cmocka_unit_test(test_same_bytes),
		cmocka_unit_test(test_generated_classbench),
		cmocka_unit_test(test_real_classbench),
		cmocka_unit_test(test_narrow_rules_need_no_vectors),
		cmocka_unit_test(test_what_only_vectors_know),
		cmocka_unit_test(test_wide_rules_go_to_vectors),
		cmocka_unit_test(test_repeated_rules),
		cmocka_unit_test(test_shared_parts),
		cmocka_unit_test(test_too_many_audit_rules),
		cmocka_unit_test(test_too_many_in_one_place),
		cmocka_unit_test(test_too_many_boxes),
		cmocka_unit_test(test_too_many_counters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
