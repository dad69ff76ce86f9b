/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random policies and frames: the loaded programs, at both ingress hooks, and the load that writes nothing
 * must agree with a plain first-match scan in verdict, reason, rule and audit matches; at the end of each
 * policy every counter of its chain and rules is what the scan has counted, to the byte. It rules out a
 * classifier that is right for single dimensions but wrong where prefixes nest, lists overlap, negations meet
 * absent values, or trees and vectors both have a say; and a parser that reads a frame, with whatever options, extension headers
 * and pieces, otherwise than the manual page says.
 *   PENSTOCK_SEED=N repeats a run; PENSTOCK_POLICIES and PENSTOCK_FRAMES make it longer.
 * Policy i of a run is that of seed N + i: one alone repeats a failure.
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

#define POLICIES  200
#define FRAMES    5000
#define FRAME_MIN (ETH_HLEN + 1) /* less is no test run */

#define HEADS 1024 /* datagrams that are remembered; then all are forgotten, by the programs too */

/* A datagram whose first piece passed. */
struct head {
	struct oracle_packet packet;
	uint32_t end;
	bool passed;
};

/* One policy under test, and what the scan has counted. */
struct trial {
	struct rig *rig;
	uint64_t seed;
	struct oracle_random random;
	struct oracle_policy policy;
	struct dp_count rule[ORACLE_RULES_MAX + 1]; /* the default last */
	struct dp_count reason[DP_REASON_COUNT];
	uint64_t truncated;
	struct head heads[HEADS];
	uint32_t head_count;
	struct frame piece; /* the last one, for others like it; len 0: none */
};

/* What a frame must come to. */
struct want {
	enum dp_reason reason;
	int rule; /* -1: none */
	struct oracle_answer answer;
};

static uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

/* ---- frames ----------------------------------------------------------------------------------- */

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
	if (p->nd)
		f.bytes[f.l3 + 7] = 255;
	return f;
}

/* What stands in a byte that lengths, types or flags are read from. */
static uint8_t telling_byte(struct oracle_random *r)
{
	static const uint8_t bytes[] = { 0,    1,    2,    6,    8,    17,   20,   40,   43,   44,
					 50,   51,   58,   60,   60,   0x20, 0x45, 0x46, 0x4f, 0x60,
					 0x81, 0x88, 0x3f, 0x7f, 0x80, 0xa8, 0xdd, 0xff };

	return bytes[oracle_random(r, sizeof(bytes))];
}

static void mutate_once(struct oracle_random *r, struct frame *f)
{
	uint32_t at = oracle_random(r, (uint32_t)f->len);
	size_t l3 = f->l3 ? f->l3 : ETH_HLEN;

	switch (oracle_random(r, 7)) {
	case 0: /* a bit */
		f->bytes[at] ^= (uint8_t)(1u << oracle_random(r, 8));
		break;
	case 1: /* a byte behind the addresses of the link */
		at = 12 + oracle_random(r, (uint32_t)f->len - 12);
		f->bytes[at] = telling_byte(r);
		break;
	case 2:
		f->bytes[at] = (uint8_t)oracle_random(r, 256);
		break;
	case 3: /* cut, or longer */
		f->len = FRAME_MIN + oracle_random(r, (uint32_t)f->len + 40 - FRAME_MIN);
		break;
	case 4: /* the network header's length field */
		at = (uint32_t)l3 + (f->ipv6 ? 4 : 2);
		f->bytes[at + oracle_random(r, 2)] += (uint8_t)oracle_random(r, 65) - 32;
		break;
	case 5: /* what follows the network header */
		f->bytes[l3 + (f->ipv6 ? 6 : 9)] = telling_byte(r);
		break;
	case 6: /* version, header length, fragment bits */
		f->bytes[l3 + (oracle_random(r, 2) ? 0 : 6)] = telling_byte(r);
		break;
	}
}

/* The kernel refuses a test run at TC of less than the network header that the Ethernet type announces. */
static void lengthen(struct frame *f)
{
	uint16_t type = (uint16_t)(f->bytes[12] << 8 | f->bytes[13]);

	frame_pad(f, ETH_HLEN + (type == ETH_P_IPV6 ? 40 : type == ETH_P_IP ? 20 : 1));
}

static void insert(struct frame *f, size_t at, const void *bytes, size_t count)
{
	memmove(f->bytes + at + count, f->bytes + at, f->len - at);
	memcpy(f->bytes + at, bytes, count);
	f->len += count;
}

static void add16(uint8_t *at, size_t more)
{
	size_t value = (size_t)(at[0] << 8 | at[1]) + more;

	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* Mostly the first piece, of a number that is hardly drawn twice. */
static uint16_t random_place(struct oracle_random *r)
{
	uint32_t kind = oracle_random(r, 8);

	return (uint16_t)(kind < 5   ? 1
			  : kind < 6 ? 0
				     : oracle_random(r, 4) << 3 | oracle_random(r, 2));
}

static void add_options(struct oracle_random *r, struct frame *f)
{
	static const uint8_t likely[] = { 0, 1, 1, 1, 2, 3, 4, 7, 8, 0x44, 0x83, 0x89, 0x94, 0xff };
	uint32_t words = 1 + oracle_random(r, 10);
	uint8_t options[40];

	for (uint32_t i = 0; i < 4 * words; i++)
		options[i] = likely[oracle_random(r, sizeof(likely))];
	insert(f, f->l3 + 20, options, (size_t)4 * words);
	f->bytes[f->l3] = (uint8_t)(f->bytes[f->l3] + words);
	add16(f->bytes + f->l3 + 2, (size_t)4 * words);
}

static void cut_ipv4(struct oracle_random *r, struct frame *f)
{
	uint16_t place = random_place(r);
	uint8_t *ip = f->bytes + f->l3;

	ip[4] = (uint8_t)oracle_random(r, 256);
	ip[5] = (uint8_t)oracle_random(r, 256);
	ip[6] = (uint8_t)((place & 1) << 5 | oracle_random(r, 2) << 6);
	ip[7] = (uint8_t)(place >> 3);
}

/* In front of all there are, with the type that they had. */
static void add_extension(struct oracle_random *r, struct frame *f, bool plain)
{
	static const uint8_t types[] = { 60, 60, 60, 43, 44, 44, 51, 0 };
	uint8_t header[32] = {}, type = types[oracle_random(r, plain ? 3 : sizeof(types))];
	size_t bytes = 8 * (1 + (size_t)oracle_random(r, 4));
	uint16_t place = random_place(r);

	header[0] = f->bytes[f->l3 + 6];
	header[1] = (uint8_t)(bytes / 8 - 1);
	if (type == IPPROTO_AH)
		header[1] = (uint8_t)(bytes / 4 - 2);
	if (type == IPPROTO_ROUTING) {
		header[2] = (uint8_t)oracle_random(r, 5);
		header[3] = !oracle_random(r, 4);
	}
	if (type == IPPROTO_FRAGMENT) {
		bytes = 8;
		header[1] = (uint8_t)oracle_random(r, 256);
		header[3] = (uint8_t)(oracle_random(r, 3) ? place : oracle_random(r, 4) << 1);
		for (int i = 4; i < 8; i++)
			header[i] = (uint8_t)oracle_random(r, 256);
	}
	f->bytes[f->l3 + 6] = type;
	insert(f, f->l3 + 40, header, bytes);
	add16(f->bytes + f->l3 + 4, bytes);
}

/* Headers that few packets have. */
static void add_headers(struct oracle_random *r, struct frame *f)
{
	uint32_t extensions =
		oracle_random(r, 16) ? 1 + oracle_random(r, 3) : 7 + oracle_random(r, 3);

	if (!f->l3)
		return;
	if (!oracle_random(r, 4)) /* the datagram ends early, perhaps inside a header */
		add16(f->bytes + f->l3 + (f->ipv6 ? 4 : 2), (size_t)0 - oracle_random(r, 28));
	if (f->ipv6) {
		for (uint32_t i = 0; i < extensions; i++)
			add_extension(r, f, extensions > 3);
		return;
	}
	if (oracle_random(r, 2))
		add_options(r, f);
	if (oracle_random(r, 2))
		cut_ipv4(r, f);
}

/* The last first piece again, or one that follows it, perhaps of another datagram. Its addresses are its own. */
static struct frame other_piece(struct trial *t)
{
	struct oracle_random *r = &t->random;
	struct frame f = t->piece;
	uint32_t place = oracle_random(r, 3) ? 1 + oracle_random(r, 12) : 0,
		 more = oracle_random(r, 2);
	size_t at = f.l3 + (f.ipv6 ? 42 : 6);

	/* Of IPv6 only where the fragment header comes first. */
	f.bytes[at] = 0;
	f.bytes[at + 1] = (uint8_t)(f.ipv6 ? place << 3 | more : place);
	if (!f.ipv6)
		f.bytes[at] = (uint8_t)(more << 5);
	if (!oracle_random(r, 8))
		f.bytes[at + (f.ipv6 ? 2 : -1)] ^= 1;
	return f;
}

/* Whether other_piece() knows where the place of a piece is written. */
static bool is_plain_piece(const struct frame *f)
{
	const uint8_t *ip = f->bytes + f->l3;

	return f->ipv6 ? ip[6] == IPPROTO_FRAGMENT : ip[0] >> 4 == 4;
}

static struct frame random_frame(struct trial *t)
{
	uint32_t mutations = oracle_random(&t->random, 3) ? 0 : 1 + oracle_random(&t->random, 3);
	struct oracle_packet packet;
	struct frame f;

	if (t->piece.len && !oracle_random(&t->random, 12))
		return other_piece(t);
	oracle_make_packet(&t->random, &t->policy, &packet);
	f = frame_of(&packet);
	if (!oracle_random(&t->random, 4))
		add_headers(&t->random, &f);
	while (mutations--)
		mutate_once(&t->random, &f);
	lengthen(&f);
	return f;
}

/* ---- what must come of it --------------------------------------------------------------------- */

static enum dp_reason reason_named(const char *text)
{
	for (int i = 0; i < DP_REASON_COUNT; i++)
		if (!strcmp(rig_reason_text((enum dp_reason)i), text))
			return (enum dp_reason)i;
	fail_msg("there is no reason '%s'", text);
	return DP_REASON_COUNT;
}

static bool same_datagram(const struct oracle_packet *a, const struct oracle_packet *b)
{
	return a->piece.id == b->piece.id && a->l3 == b->l3 && !a->tags == !b->tags &&
	       (!a->tags || a->vlan == b->vlan) && !memcmp(a->src, b->src, 16) &&
	       !memcmp(a->dst, b->dst, 16) && (a->l3 == ORACLE_IPV6 || a->proto == b->proto);
}

static struct head *head_of(struct trial *t, const struct oracle_packet *packet)
{
	for (uint32_t i = 0; i < t->head_count; i++)
		if (t->heads[i].passed && same_datagram(&t->heads[i].packet, packet))
			return &t->heads[i];
	return NULL;
}

static void forget_heads(struct trial *t)
{
	t->head_count = 0;
	memset(t->rig->fragments, 0, DP_FRAGMENT_SLOTS * sizeof(*t->rig->fragments));
}

/* A first piece that the rules were asked about. */
static void remember(struct trial *t, const struct oracle_packet *packet, bool passed)
{
	struct head *head = head_of(t, packet);

	if (head) {
		head->passed = passed;
		head->end = head->end > packet->piece.end ? head->end : packet->piece.end;
	} else if (passed && t->head_count == HEADS) {
		forget_heads(t);
	} else if (passed) {
		t->heads[t->head_count++] = (struct head){ *packet, packet->piece.end, true };
	}
}

static struct want want_of(struct trial *t, const struct oracle_packet *packet, const char *why)
{
	const struct head *head = packet->piece.later ? head_of(t, packet) : NULL;
	struct want want = { .rule = -1 };

	if (!why && packet->piece.later)
		why = head && packet->piece.at >= head->end ? "fragment-follows" : "fragment";
	if (why) {
		want.reason = reason_named(why);
		return want;
	}
	want.answer = oracle_judge(&t->policy, packet);
	want.rule = want.answer.rule;
	if (want.rule >= 0)
		want.reason = want.answer.drop ? DP_REASON_RULE_DROP : DP_REASON_RULE_PASS;
	else if (want.answer.nd)
		want.reason = DP_REASON_ND;
	else
		want.reason = want.answer.drop ? DP_REASON_DEFAULT_DROP : DP_REASON_DEFAULT_PASS;
	return want;
}

static bool says(const struct dp_explain *said, const struct want *want, size_t len)
{
	uint32_t audits =
		want->answer.audits < DP_AUDIT_MAX ? (uint32_t)want->answer.audits : DP_AUDIT_MAX;
	uint32_t rule = want->rule < 0 ? DP_EXPLAIN_NO_RULE : (uint32_t)want->rule;

	if (said->reason != want->reason || said->rule != rule || said->audit_count != audits ||
	    said->bytes != len || said->packets != 1)
		return false;
	for (uint32_t i = 0; i < audits; i++)
		if (said->audit[i] != (uint32_t)want->answer.audit[i])
			return false;
	return true;
}

static void add(struct dp_count *count, size_t bytes)
{
	count->packets++;
	count->bytes += bytes;
}

static void count_frame(struct trial *t, const struct want *want, size_t len)
{
	int audits = want->answer.audits;

	add(&t->reason[want->reason], len);
	if (want->rule >= 0)
		add(&t->rule[want->rule], len);
	else if (want->reason == DP_REASON_DEFAULT_DROP || want->reason == DP_REASON_DEFAULT_PASS)
		add(&t->rule[t->policy.count], len);
	for (int i = 0; i < audits && i < DP_AUDIT_MAX; i++)
		add(&t->rule[want->answer.audit[i]], len);
	if (audits > DP_AUDIT_MAX)
		t->truncated += (uint64_t)audits - DP_AUDIT_MAX;
}

/* ---- one policy ------------------------------------------------------------------------------- */

static void show(const struct trial *t, const struct frame *f)
{
	if (t->policy.count <= ORACLE_RULES_SMALL)
		oracle_write_policy(&t->policy, stderr);
	for (size_t i = 0; f && i < f->len; i++)
		(void)fprintf(stderr, "%02x", f->bytes[i]);
	(void)fprintf(stderr, "\nPENSTOCK_POLICIES=1 PENSTOCK_SEED=%llu repeats it\n",
		      (unsigned long long)t->seed);
}

static void check_frame(struct trial *t, const struct frame *f)
{
	enum rig_hook dry = oracle_random(&t->random, 2) ? RIG_XDP_INGRESS : RIG_TC_INGRESS;
	struct dp_explain said = rig_explain(t->rig, dry, f->bytes, f->len);
	enum dp_verdict got[] = {
		[RIG_XDP_INGRESS] = rig_verdict(t->rig, RIG_XDP_INGRESS, f->bytes, f->len),
		[RIG_TC_INGRESS] = rig_verdict(t->rig, RIG_TC_INGRESS, f->bytes, f->len),
	};
	struct oracle_packet packet;
	const char *why = oracle_read(f->bytes, f->len, t->policy.first_only, &packet);
	struct want want = want_of(t, &packet, why);
	enum dp_verdict verdict = rig_reason_passes(want.reason) ? DP_PASS : DP_DROP;

	if (!says(&said, &want, f->len) || got[RIG_XDP_INGRESS] != verdict ||
	    got[RIG_TC_INGRESS] != verdict) {
		show(t, f);
		fail_msg("expected %s, rule %d, %d audits; XDP %s, TC %s; explain at hook %d: %s, "
			 "rule %d, %u audits, %u bytes",
			 rig_reason_text(want.reason), want.rule, want.answer.audits,
			 got[RIG_XDP_INGRESS] ? "drops" : "passes",
			 got[RIG_TC_INGRESS] ? "drops" : "passes", dry,
			 rig_reason_text(said.reason), (int)said.rule, said.audit_count,
			 said.bytes);
	}
	count_frame(t, &want, f->len);
	if (why || !packet.piece.is || packet.piece.later)
		return;
	remember(t, &packet, verdict == DP_PASS);
	if (is_plain_piece(f))
		t->piece = *f;
}

static void check_count(const struct trial *t, const char *what, int i, const struct dp_count *got,
			const struct dp_count *want)
{
	/* Each frame came by two hooks. */
	if (got->packets == 2 * want->packets && got->bytes == 2 * want->bytes)
		return;
	show(t, NULL);
	fail_msg("%s %d counts %llu packets, %llu bytes; expected %llu, %llu", what, i,
		 (unsigned long long)got->packets, (unsigned long long)got->bytes,
		 2 * (unsigned long long)want->packets, 2 * (unsigned long long)want->bytes);
}

static struct dp_count less(struct dp_count a, struct dp_count b)
{
	return (struct dp_count){ a.packets - b.packets, a.bytes - b.bytes };
}

static void check_counters(const struct trial *t, const struct dp_chain_counters *chain_before,
			   const struct dp_rule_count *rules_before)
{
	static struct dp_rule_count rules[ORACLE_RULES_MAX + 2];
	struct dp_chain_counters chain = rig_chain_counters(t->rig, 1);
	struct dp_count got, truncated = { .packets = t->truncated }, received = {};

	rig_rule_counts(t->rig, rules);
	for (int i = 0; i <= t->policy.count; i++) {
		uint32_t slot = t->rig->rules_of[0] + (uint32_t)i;

		got = (struct dp_count){ rules[slot].packets - rules_before[slot].packets,
					 rules[slot].bytes - rules_before[slot].bytes };
		check_count(t, "rule", i, &got, &t->rule[i]);
	}
	for (int i = 0; i < DP_REASON_COUNT; i++) {
		got = less(chain.reason[i], chain_before->reason[i]);
		check_count(t, "reason", i, &got, &t->reason[i]);
		received.packets += t->reason[i].packets;
		received.bytes += t->reason[i].bytes;
	}
	got = less(chain.received, chain_before->received);
	check_count(t, "received", 0, &got, &received);
	got = less(chain.audit_truncated, chain_before->audit_truncated);
	check_count(t, "truncated audits", 0, &got, &truncated);
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

static void make_policy(struct trial *t)
{
	uint32_t kind = oracle_random(&t->random, 10);

	oracle_make_policy(&t->random,
			   kind == 0   ? ORACLE_LARGE
			   : kind == 1 ? ORACLE_AUDITS_MANY
				       : ORACLE_SMALL,
			   &t->policy);
}

static void check_policy(struct trial *t, uint64_t frames)
{
	static struct dp_rule_count rules[ORACLE_RULES_MAX + 2];
	struct dp_chain_counters chain;
	char *text = policy_text(&t->policy);

	if (t->rig)
		rig_apply(t->rig, text);
	else
		t->rig = rig_new(text);
	free(text);
	forget_heads(t);
	chain = rig_chain_counters(t->rig, 1);
	rig_rule_counts(t->rig, rules);
	for (uint64_t n = 0; n < frames; n++) {
		struct frame f = random_frame(t);

		check_frame(t, &f);
	}
	check_counters(t, &chain, rules);
}

static void agrees_with_first_match(void **state)
{
	uint64_t seed = setting("PENSTOCK_SEED", (uint64_t)time(NULL));
	uint64_t policies = setting("PENSTOCK_POLICIES", POLICIES),
		 frames = setting("PENSTOCK_FRAMES", FRAMES);
	static uint64_t met[DP_REASON_COUNT];
	static struct trial t;
	struct rig *rig = NULL;

	(void)state;
	print_message("seed %llu: %llu policies, %llu frames each\n", (unsigned long long)seed,
		      (unsigned long long)policies, (unsigned long long)frames);
	for (uint64_t i = 0; i < policies; i++) {
		memset(&t, 0, sizeof(t));
		t.rig = rig;
		t.seed = seed + i;
		t.random = oracle_seed(t.seed);
		make_policy(&t);
		check_policy(&t, frames);
		for (int r = 0; r < DP_REASON_COUNT; r++)
			met[r] += t.reason[r].packets;
		rig = t.rig;
	}
	for (int r = 0; r < DP_REASON_COUNT; r++)
		if (met[r])
			print_message("%llu %s, %s\n", (unsigned long long)met[r],
				      rig_reason_passes((enum dp_reason)r) ? "pass" : "drop",
				      rig_reason_text((enum dp_reason)r));
	rig_free(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(agrees_with_first_match) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
