/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames that the compiler makes of `never-drop` rules, in the real programs: under the rules they are of, each is
 * passed by its own; under the same chains without them, each is dropped. Rules out frames that any policy would pass,
 * ends of lists that are left out, and replies that are not mirrored.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/rig.h"
#include "witness.h"

#define CHAINS                                                                                 \
	"sets:\n  office: {items: [192.0.2.0/27, \"2001:db8:10::/48\"]}\n  asked: {ttl: 1h}\n" \
	"filter:\n  wan-in: {at: wan.ingress, default: drop, rules: []}\n"                     \
	"  wan-out: {at: wan.egress, default: drop, rules: []}\n"

struct row {
	const char *rule;
	size_t frames; /* of both families */
};

static const struct row rows[] = {
	{ "{proto: tcp, dport: 22, from: 192.0.2.0/27}", 2 },
	{ "{proto: tcp, dport: 22, from: $office}", 4 },
	{ "{from: 198.51.100.7}", 4 }, /* one of each protocol */
	{ "{not-from: [10.0.0.0/8, \"2001:db8::/32\"], proto: udp, sport: [1-5, 70]}", 8 },
	{ "{to: [203.0.113.0/24, \"::/0\"], not-to: 203.0.113.0/25, proto: sctp}", 4 },
	{ "{proto: tcp, flags: {all-of: [syn], any-of: [ece, cwr], none-of: [ack, cwr]}}", 4 },
	{ "{proto: icmp, type: dest-unreachable, code: [frag-needed, 0, 1]}", 4 },
	{ "{proto: icmp6, type: [packet-too-big, echo-request]}", 4 },
	{ "{proto: 50, family: ipv6}", 2 },
	{ "{vlan: [3, 9], from: 192.0.2.1}", 4 },
	{ "{}", 8 },
	{ "{from: $asked, proto: tcp}", 0 },
};

static char *policy_of(const char *rule)
{
	char *text;

	assert_true(asprintf(&text, "version: 1\nattach:\n  wan: {dev: lo}\n%s%s%s" CHAINS,
			     rule ? "safety:\n  never-drop:\n    - " : "", rule ?: "",
			     rule ? "\n" : "") > 0);
	return text;
}

/* Egress is only at TC; a test run of it takes no tag that is in metadata, but these are in the frame. */
static struct rig_outcome judge(struct rig *rig, enum dp_dir dir, const struct witness *w)
{
	return rig_run(rig, dir == DP_EGRESS ? RIG_TC_EGRESS : RIG_XDP_INGRESS, w->frame, w->len);
}

static size_t try_chain(struct rig *rig, const struct model_chain *chain,
			struct witness frames[static WITNESSES])
{
	size_t count;

	assert_int_equal(chain->rules.count, 1);
	count = witness_make(rig->policy.model, &chain->rules.at[0], frames);
	for (size_t i = 0; i < count; i++) {
		struct rig_outcome o = judge(rig, chain->dir, &frames[i]);

		assert_int_equal(o.verdict, DP_PASS);
		assert_string_equal(o.rule, "never-drop/1");
		for (size_t k = 0; k < i; k++)
			assert_memory_not_equal(frames[i].frame, frames[k].frame, WITNESS_BYTES);
	}
	return count;
}

static void each_frame_is_of_its_rule(void **state)
{
	(void)state;
	for (size_t n = 0; n < sizeof(rows) / sizeof(*rows); n++) {
		char *with = policy_of(rows[n].rule), *without = policy_of(NULL);
		struct rig *rig = rig_new(with);
		struct witness frames[DP_DIR_COUNT][WITNESSES];
		size_t count[DP_DIR_COUNT];

		for (size_t c = 0; c < DP_DIR_COUNT; c++) {
			count[c] = try_chain(rig, &rig->policy.model->chains.at[c], frames[c]);
			if (count[c] != rows[n].frames)
				fail_msg("%s: %zu frames", rows[n].rule, count[c]);
		}
		rig_apply(rig, without);
		for (size_t c = 0; c < DP_DIR_COUNT; c++)
			for (size_t i = 0; i < count[c]; i++)
				assert_int_equal(judge(rig, c, &frames[c][i]).verdict, DP_DROP);
		rig_free(&rig);
		free(with);
		free(without);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_frame_is_of_its_rule),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
