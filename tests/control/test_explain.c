/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers that explain gives for frames, which count nothing, and what they stand for in the active bank. */
#include "lib/lab.h"

#include <errno.h>

#include <bpf/bpf.h>
#include <net/ethernet.h>
#include <netinet/in.h>

#include "explain.h"
#include "install.h"

#define FRAME 60
#define IP_AT 14

/* A bank with one chain of many rules: some in slots of vectors, one in a tree. */
#define LINES        512
#define RULES        1000
#define RULES_LINE   64 /* 125 lines of records */
#define SLOTS_LINE   200
#define VECTOR_LINE  204
#define BOX_LINE     256
#define SLOT_COUNT   30
#define SLOT_RULE(s) (500 + 3 * (s)) /* slots ascend with their rules, and are not their numbers */
#define TREE_RULE    550             /* between those of slots 16 and 17 */

static struct loader *l;

static int load(void **state)
{
	(void)state;
	l = lab_load();
	return 0;
}

static int wipe(void **state)
{
	(void)state;
	loader_free(&l);
	lab_wipe();
	return 0;
}

static struct explain *explainer(void)
{
	_cleanup_free_ char *why = NULL;
	struct explain *e = NULL;

	if (explain_new(&e, l, &why))
		fail_msg("explain_new: %s", why);
	return e;
}

/* At the ingress of zone 1, unless the question says another place. */
static struct explain_question question(const uint8_t *frame, uint32_t len)
{
	return (struct explain_question){
		.prog = LOADER_XDP_INGRESS, .zone = 1, .dir = DP_INGRESS, .frame = frame, .len = len
	};
}

static void fill_ethernet(uint8_t frame[static FRAME], uint16_t type)
{
	const struct ether_header eth = { .ether_dhost = { 2, 0, 0, 0, 0, 1 },
					  .ether_shost = { 2, 0, 0, 0, 0, 2 },
					  .ether_type = htons(type) };

	memset(frame, 0, FRAME);
	memcpy(frame, &eth, sizeof(eth));
}

/* UDP from 198.51.100.7:40000 to 192.0.2.10:53. */
static void fill_udp(uint8_t frame[static FRAME])
{
	static const uint8_t packet[] = { 0x45, 0,    0,   28, 0,   1, 0,   0, 64, IPPROTO_UDP,
					  0,    0,    198, 51, 100, 7, 192, 0, 2,  10,
					  0x9c, 0x40, 0,   53, 0,   8, 0,   0 };

	fill_ethernet(frame, ETHERTYPE_IP);
	memcpy(frame + IP_AT, packet, sizeof(packet));
}

static void explains_without_counting(void **state)
{
	static const enum loader_prog progs[] = { LOADER_XDP_INGRESS, LOADER_TC_INGRESS,
						  LOADER_TC_EGRESS };
	_cleanup_(explain_free) struct explain *e = explainer();
	uint8_t frame[FRAME];
	struct explain_question q = question(frame, FRAME);
	struct explain_answer a;

	(void)state;
	fill_ethernet(frame, 0x88b5);
	assert_int_equal(explain_run(e, &q, &a), 0);
	assert_int_equal(a.said.reason, DP_REASON_NO_BANK);
	assert_int_not_equal(a.cost_error, 0); /* nobody asked */
	lab_policy(l); /* the answer is of the bank that is active when it is asked */
	q.measure = true;
	for (unsigned int i = 0; i < sizeof(progs) / sizeof(*progs); i++) {
		q.prog = progs[i];
		q.dir = progs[i] == LOADER_TC_EGRESS ? DP_EGRESS : DP_INGRESS;
		for (q.zone = 1; q.zone <= 3; q.zone++) {
			static const enum dp_reason reasons[] = { DP_REASON_DEFAULT_DROP,
								  DP_REASON_DEFAULT_PASS,
								  DP_REASON_NO_CHAIN };

			assert_int_equal(explain_run(e, &q, &a), 0);
			assert_int_equal(a.said.reason, reasons[q.zone - 1]);
			assert_int_equal(a.said.rule, DP_EXPLAIN_NO_RULE);
			assert_int_equal(a.said.generation, 1);
			assert_int_equal(a.said.packets, 1);
			assert_int_equal(a.chain_flags, q.zone < 3 ? DP_CHAIN_PRESENT : 0);
			assert_int_equal(a.candidate_count, 0);
			assert_int_equal(a.cost_error, 0);
			assert_in_range(a.cost_ns, 1, 10000);
			assert_int_equal(a.prog, q.prog);
		}
		q.len = 13;
		assert_int_equal(explain_run(e, &q, &a), -EINVAL);
		q.len = FRAME;
	}
	for (uint32_t slot = 0; slot <= LAB_CHAIN_COUNTER(2, DP_EGRESS); slot++)
		assert_int_equal(lab_received_later(l, slot), 0);
}

/* A device of the question's is the frame's; one that is not there is none. */
static void runs_as_of_a_device(void **state)
{
	static const enum loader_prog progs[] = { LOADER_XDP_INGRESS, LOADER_TC_INGRESS,
						  LOADER_TC_EGRESS };
	_cleanup_(explain_free) struct explain *e = explainer();
	uint8_t frame[FRAME];
	struct explain_question q = question(frame, FRAME);
	struct explain_answer a;

	(void)state;
	lab_policy(l);
	lab_veth("explain0");
	fill_udp(frame);
	for (unsigned int i = 0; i < sizeof(progs) / sizeof(*progs); i++) {
		q.prog = progs[i];
		q.ifindex = lab_ifindex("explain0");
		assert_int_equal(explain_run(e, &q, &a), 0);
		assert_int_equal(a.said.reason, DP_REASON_DEFAULT_DROP);
		q.ifindex += 1000;
		assert_int_equal(explain_run(e, &q, &a), 0);
		assert_int_equal(a.said.reason, DP_REASON_DEFAULT_DROP);
	}
	lab_run("ip link del explain0");
}

/* Rules out an explain that shows of a frame what the one before had. */
static void tells_what_was_parsed_of_this_frame(void **state)
{
	_cleanup_(explain_free) struct explain *e = explainer();
	uint8_t frame[FRAME];
	struct explain_question q = question(frame, FRAME);
	struct explain_answer a;

	(void)state;
	lab_policy(l);
	fill_udp(frame);
	assert_int_equal(explain_run(e, &q, &a), 0);
	assert_true(a.said.judged && a.said.has_ports && !a.said.has_icmp);
	assert_int_equal(a.said.family, 0);
	assert_int_equal(a.said.proto, IPPROTO_UDP);
	assert_int_equal(a.said.addr[0], 0xc6336407);
	assert_int_equal(a.said.addr[4], 0xc000020a);
	assert_int_equal(a.said.sport, 40000);
	assert_int_equal(a.said.dport, 53);
	assert_int_equal(a.said.l3, IP_AT);
	assert_int_equal(a.said.l4, IP_AT + 20);
	q.len = IP_AT + 19;
	assert_int_equal(explain_run(e, &q, &a), 0);
	assert_int_equal(a.said.reason, DP_REASON_TRUNCATED);
	assert_true(!a.said.judged && !a.said.has_ports);
	assert_int_equal(a.said.family, 2);
	assert_int_equal(a.said.l3 + a.said.l4 + a.said.proto, 0);
	q.len = FRAME;
	frame[IP_AT + 25] = 7; /* UDP length: addresses are read, ports are not believed */
	assert_int_equal(explain_run(e, &q, &a), 0);
	assert_int_equal(a.said.reason, DP_REASON_BAD_UDP);
	assert_true(!a.said.judged && !a.said.has_ports);
	assert_int_equal(a.said.family, 0);
	assert_int_equal(a.said.l4, IP_AT + 20);
}

/* ---- slots and trees ------------------------------------------------------------------------------------- */

static void fill_chain(struct dp_line *image)
{
	struct dp_chain *chain = (void *)&image[DP_CHAIN_LINE(1, DP_INGRESS)];
	struct dp_rule *rules = (void *)&image[RULES_LINE];
	struct dp_box4 *box = (void *)&image[BOX_LINE];
	__u16 *slots = (void *)&image[SLOTS_LINE];

	chain->flags |= DP_CHAIN_CUTS;
	chain->dims = 1 << DP_DIM_PROTO;
	chain->words = 1;
	chain->rules = RULES_LINE;
	chain->rule_count = RULES;
	chain->slots = SLOTS_LINE;
	chain->table[DP_DIM_PROTO] = DP_REF_CLASS;
	chain->vector[DP_DIM_PROTO] = VECTOR_LINE;
	chain->cuts[0][1] = (struct dp_cut){ .line = BOX_LINE, .count = 1 };
	for (unsigned int i = 0; i < RULES; i++)
		rules[i].reason = DP_REASON_RULE_PASS;
	for (unsigned int s = 0; s < SLOT_COUNT; s++)
		slots[s] = SLOT_RULE(s);
	*box = (struct dp_box4){ .rest = { .sport = { 0, 65535 },
					   .dport = { 53, 53 },
					   .vlan = DP_BOX_ANY_VLAN,
					   .kind = DP_BOX_PORTS | DP_BOX_ANY_PROTO,
					   .src_shift = 32,
					   .dst_shift = 32,
					   .rule = TREE_RULE } };
}

/* The chain above, with these slots in the one vector there is; becomes the active policy. */
static void chain_policy(uint64_t generation, uint64_t slots)
{
	_cleanup_free_ struct dp_line *image = lab_image(LINES, generation, 0);
	_cleanup_free_ char *why = NULL;
	struct install_result result;

	fill_chain(image);
	((struct dp_vector *)&image[VECTOR_LINE])->word[0] = slots;
	if (install_write(l, image, LINES, &result, &why))
		fail_msg("install_write: %s", why);
	install_flip(l, result.bank, 0);
	assert_int_equal(install_settle(), 0);
}

static void check_candidates(const struct explain_answer *a, const uint32_t *rules, uint32_t count)
{
	assert_int_equal(a->candidate_count, count);
	for (uint32_t i = 0; i < count && i < EXPLAIN_CANDIDATES; i++)
		assert_int_equal(a->candidates[i], rules[i]);
}

/*
 * Rules out numbers of slots taken for numbers of rules, a tree's rule at the end and not at its place, and a
 * list of slots that is another generation's.
 */
static void names_rules_that_match(void **state)
{
	const uint32_t few[] = { SLOT_RULE(2), SLOT_RULE(16), TREE_RULE, SLOT_RULE(17) };
	_cleanup_(explain_free) struct explain *e = explainer();
	uint32_t all[SLOT_COUNT + 1];
	uint8_t frame[FRAME];
	struct explain_question q = question(frame, FRAME);
	struct explain_answer a;

	(void)state;
	for (uint32_t i = 0; i < SLOT_COUNT + 1; i++)
		all[i] = i < 17 ? SLOT_RULE(i) : i == 17 ? TREE_RULE : SLOT_RULE(i - 1);
	fill_udp(frame);
	for (uint64_t generation = 1; generation <= 4; generation += 2) {
		chain_policy(generation, 1 << 2 | 1 << 16 | 1 << 17);
		assert_int_equal(explain_run(e, &q, &a), 0);
		check_candidates(&a, few, 4);
		assert_int_equal(a.said.generation, generation);
		assert_int_equal(a.said.rule, SLOT_RULE(2));
		assert_int_equal(a.said.cut_rule, TREE_RULE);
		assert_int_equal(a.said.boxes, 1);
		chain_policy(generation + 1, (1ull << SLOT_COUNT) - 1);
		assert_int_equal(explain_run(e, &q, &a), 0);
		check_candidates(&a, all, SLOT_COUNT + 1);
	}
	chain_policy(5, 0);
	assert_int_equal(explain_run(e, &q, &a), 0);
	check_candidates(&a, (const uint32_t[]){ TREE_RULE }, 1);
	assert_int_equal(a.said.rule, TREE_RULE);
	frame[IP_AT + 23] = 54; /* another port */
	assert_int_equal(explain_run(e, &q, &a), 0);
	check_candidates(&a, NULL, 0);
	assert_int_equal(a.said.boxes, 1);
	assert_int_equal(a.said.cut_rule, DP_EXPLAIN_NO_RULE);
}

static void refuses_to_explain_another_build(void **state)
{
	const struct dp_meta another = { .abi_version = DP_ABI_VERSION, .build = { 1 } };
	_cleanup_(explain_free) struct explain *e = NULL;
	_cleanup_free_ char *why = NULL;
	uint32_t key = 0;

	(void)state;
	assert_int_equal(bpf_map_update_elem(l->meta, &key, &another, BPF_ANY), 0);
	assert_int_equal(explain_new(&e, l, &why), -ESTALE);
	assert_non_null(strstr(why, "another build"));
	assert_null(e);
}

#define WITH_LOADER(test) cmocka_unit_test_setup_teardown(test, load, wipe)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_LOADER(explains_without_counting),
		WITH_LOADER(runs_as_of_a_device),
		WITH_LOADER(tells_what_was_parsed_of_this_frame),
		WITH_LOADER(names_rules_that_match),
		WITH_LOADER(refuses_to_explain_another_build),
	};

	return cmocka_run_group_tests(tests, lab_enter, NULL);
}
