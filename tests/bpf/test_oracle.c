/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random policies and packets: the loaded programs, at both hooks, must agree with a plain first-match
 * scan in verdict, rule and number of audit matches. It rules out a classifier that is right for single
 * dimensions but wrong where prefixes nest, lists overlap, negations meet absent values, or rules lie
 * beyond the first word of a vector.
 *   PENSTOCK_SEED=N repeats a run; PENSTOCK_POLICIES and PENSTOCK_FRAMES make it longer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <netinet/in.h>

#include <cmocka.h>

#include "../oracle/oracle.h"
#include "lib/rig.h"

#define POLICIES 200
#define FRAMES   500

static uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static struct frame frame_of(const struct oracle_packet *p)
{
	struct frame f = {};
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];
	int family = p->l3 == ORACLE_IPV6 ? AF_INET6 : AF_INET;

	frame_eth(&f, p->l3 == ORACLE_IPV6   ? ETH_P_IPV6
		      : p->l3 == ORACLE_IPV4 ? ETH_P_IP
					     : ETH_P_LLDP);
	for (int i = 0; i < p->tags; i++)
		frame_tag(&f, i == 0 && p->tags > 1 ? ETH_P_8021AD : ETH_P_8021Q,
			  i ? (uint16_t)(p->vlan + i) : p->vlan);
	if (p->l3 == ORACLE_NOT_IP) {
		frame_pad(&f, 60);
		return f;
	}
	(void)inet_ntop(family, p->src, src, sizeof(src));
	(void)inet_ntop(family, p->dst, dst, sizeof(dst));
	if (p->l3 == ORACLE_IPV6)
		frame_ipv6(&f, src, dst, p->proto);
	else
		frame_ipv4(&f, src, dst, p->proto);
	if (p->proto == IPPROTO_ICMP || p->proto == IPPROTO_ICMPV6)
		frame_icmp(&f, p->type, p->code);
	else if (p->proto == IPPROTO_TCP || p->proto == IPPROTO_UDP || p->proto == IPPROTO_SCTP)
		frame_ports(&f, p->sport, p->dport, p->flags);
	frame_pad(&f, f.len + 8);
	frame_finish(&f);
	return f;
}

static char *policy_text(const struct oracle_policy *p)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	oracle_write_policy(p, f);
	assert_int_equal(fclose(f), 0);
	return text;
}

static void check_frame(struct rig *rig, const struct oracle_policy *policy, const char *text,
			const struct oracle_packet *packet)
{
	struct oracle_answer want = oracle_judge(policy, packet);
	struct frame f = frame_of(packet);
	char rule[16] = "default";

	if (want.rule >= 0)
		(void)snprintf(rule, sizeof(rule), "r%d", want.rule);
	for (int hook = RIG_XDP_INGRESS; hook <= RIG_TC_INGRESS; hook++) {
		struct rig_outcome got = rig_run(rig, (enum rig_hook)hook, f.bytes, f.len);

		if (got.rule && !strcmp(got.rule, rule) && (got.verdict == DP_DROP) == want.drop &&
		    got.unchanged && got.counted == 1 &&
		    got.audits ==
			    (uint32_t)(want.audits < DP_AUDIT_MAX ? want.audits : DP_AUDIT_MAX))
			continue;
		for (size_t i = 0; i < f.len; i++)
			(void)fprintf(stderr, "%02x", f.bytes[i]);
		fail_msg("\n%shook %d: expected rule %s, %s, %d audits; got %s, %s (%s), %u audits",
			 text, hook, rule, want.drop ? "drop" : "pass", want.audits,
			 got.rule ? got.rule : "none", got.verdict == DP_DROP ? "drop" : "pass",
			 rig_reason_text(got.reason), got.audits);
	}
}

static void agrees_with_first_match(void **state)
{
	struct oracle_random random = { .state = setting("PENSTOCK_SEED", (uint64_t)time(NULL)) |
						 1 };
	uint64_t policies = setting("PENSTOCK_POLICIES", POLICIES),
		 frames = setting("PENSTOCK_FRAMES", FRAMES);
	static struct oracle_policy policy;
	struct rig *rig = NULL;

	(void)state;
	print_message("seed %llu: %llu policies, %llu frames each\n",
		      (unsigned long long)random.state, (unsigned long long)policies,
		      (unsigned long long)frames);
	for (uint64_t i = 0; i < policies; i++) {
		char *text;

		oracle_make_policy(&random, (int)(oracle_random(&random, ORACLE_RULES_MAX - 1) + 1),
				   &policy);
		text = policy_text(&policy);
		if (rig)
			rig_apply(rig, text);
		else
			rig = rig_new(text);
		for (uint64_t n = 0; n < frames; n++) {
			struct oracle_packet packet;

			oracle_make_packet(&random, &policy, &packet);
			check_frame(rig, &policy, text, &packet);
		}
		free(text);
	}
	rig_free(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(agrees_with_first_match) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
