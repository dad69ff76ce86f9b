/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set file of two million lines, both families: every one of some thousand members
 * drops under the set's rule and every non-member passes, at both hooks. Rules out tables sized for the
 * examples, and sets that are right at their ends only.
 *   PENSTOCK_SEED=N repeats a run.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cmocka.h>

#include "../oracle/oracle.h"
#include "lib/rig.h"

#define LINES   2000000
#define SAMPLES 2000

static const char policy[] =
	"version: 1\nattach:\n  wan: {dev: lo}\nsets:\n  big: {file: big.txt, max: 2M}\n"
	"filter:\n  wan-in:\n    at: wan.ingress\n    default: pass\n    rules:\n"
	"      - {id: big, from: $big, do: drop}\n";

struct big_file {
	char *text;
	size_t len;
};

static int open_big(void *ctx, const char *path, const char **ret_text, size_t *ret_len)
{
	const struct big_file *file = ctx;

	(void)path;
	*ret_text = file->text;
	*ret_len = file->len;
	return 0;
}

/*
 * Line i of the file: an IPv4 host with an even last bit, or an IPv6 host under 2001:db8::/32 with an even
 * fourth group. Non-members lie among them and differ in that bit.
 */
static void address(struct oracle_random *r, uint32_t i, char text[INET6_ADDRSTRLEN], bool member)
{
	uint32_t v4 = (oracle_random(r, 126) + 1) << 24 | oracle_random(r, 1 << 24);

	if (i % 2 == 0) {
		struct in_addr a = { htonl((v4 & ~1u) | !member) };

		(void)inet_ntop(AF_INET, &a, text, INET6_ADDRSTRLEN);
		return;
	}
	(void)snprintf(text, INET6_ADDRSTRLEN, "2001:db8:%x:%x::%x", oracle_random(r, 65536),
		       (oracle_random(r, 65536) & 0xfffe) | !member, oracle_random(r, 65536));
}

static void make_file(uint64_t seed, struct big_file *file)
{
	struct oracle_random random = { .state = seed };
	FILE *f = open_memstream(&file->text, &file->len);
	char text[INET6_ADDRSTRLEN];

	assert_non_null(f);
	for (uint32_t i = 0; i < LINES; i++) {
		address(&random, i, text, true);
		(void)fprintf(f, "%s\n", text);
	}
	assert_int_equal(fclose(f), 0);
}

static void expect(struct rig *rig, const char *text, bool member)
{
	bool ipv6 = strchr(text, ':');
	struct frame f = frame_flow(text, ipv6 ? "2001:db8::1" : "192.0.2.1", IPPROTO_UDP, 1, 2, 0);

	for (int hook = RIG_XDP_INGRESS; hook <= RIG_TC_INGRESS; hook++) {
		struct rig_outcome o = rig_run(rig, (enum rig_hook)hook, f.bytes, f.len);

		if (o.counted != 1 ||
		    strcmp(o.rule ? o.rule : "-", member ? "big" : "default") != 0 ||
		    (o.verdict == DP_DROP) != member)
			fail_msg("hook %d: %s, a %smember: %s by %s", hook, text,
				 member ? "" : "non-", rig_reason_text(o.reason),
				 o.rule ? o.rule : "-");
	}
}

static void two_million_lines(void **state)
{
	const char *chosen = getenv("PENSTOCK_SEED");
	uint64_t seed = (chosen ? strtoull(chosen, NULL, 10) : (uint64_t)time(NULL)) | 1;
	struct big_file file = {};
	const struct policy_files files = { .ctx = &file, .open = open_big };
	struct oracle_random members = { .state = seed }, others = { .state = seed + 2 };
	char text[INET6_ADDRSTRLEN];
	struct rig *rig;

	(void)state;
	make_file(seed, &file);
	rig = rig_new_with(policy, &files);
	print_message("seed %" PRIu64 ": %" PRIu64 " members of %d lines, %u lines of bank\n", seed,
		      prefix_set_members(&rig->policy.model->sets.at[0].prefixes), LINES,
		      rig->policy.image.count);
	for (uint32_t i = 0; i < SAMPLES; i++) {
		address(&members, i, text, true); /* the file's first lines again */
		expect(rig, text, true);
		address(&others, i, text, false);
		expect(rig, text, false);
	}
	rig_free(&rig);
	free(file.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(two_million_lines) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
