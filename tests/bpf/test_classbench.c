/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ClassBench: for headers of its sets and shapes the loaded programs name the rule that a first-match scan of the
 * same lines names, and both ingress hooks give its verdict. Rules out trees that are right for rules drawn
 * evenly, and packets that are mapped otherwise than bench/classbench/rules.py says: ports of portless protocols,
 * protocols 0 and 255.
 *   All headers of the traces where there are some; else as many as HEADERS, drawn from the rules, one in
 *   four with an address of its own. PENSTOCK_LONG=1: ten times as many. SEED=N repeats a run.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <netinet/in.h>

#include <cmocka.h>

#include "lib/rig.h"
#include "tests/lib/rng.h"

#define HEADERS    5000
#define RULES_MAX  65536
#define LINE_BYTES 256

/* A line of a rule set, in host order. */
struct rule {
	uint32_t src, src_mask, dst, dst_mask;
	uint16_t sport[2], dport[2];
	int16_t proto;
	bool has_ports;
	uint8_t word, word_mask; /* TCP flags, ICMP type */
};

/* A line of a trace, in host order; `word` as in a rule, 0 where the protocol has none. */
struct header {
	uint32_t src, dst;
	uint16_t sport, dport;
	uint8_t proto, word;
};

struct bench {
	struct rig *rig;
	struct rng rng;
	struct rule rules[RULES_MAX];
	size_t count;
	size_t headers;
};

/* ---- the scan --------------------------------------------------------------------------------- */

static uint32_t mask_of(unsigned int len)
{
	return len ? ~0u << (32 - len) : 0;
}

static struct rule parse_rule(const char *line)
{
	unsigned int s[4], d[4], len[2], sport[2], dport[2], proto, proto_mask, word, mask;
	struct rule rule;

	/* The files are ours or well known. NOLINTNEXTLINE(cert-err34-c) */
	assert_int_equal(
		sscanf(line, "@%u.%u.%u.%u/%u %u.%u.%u.%u/%u %u : %u %u : %u 0x%x/0x%x 0x%x/0x%x",
		       &s[0], &s[1], &s[2], &s[3], &len[0], &d[0], &d[1], &d[2], &d[3], &len[1],
		       &sport[0], &sport[1], &dport[0], &dport[1], &proto, &proto_mask, &word,
		       &mask),
		18);
	rule = (struct rule){
		.src_mask = mask_of(len[0]),
		.dst_mask = mask_of(len[1]),
		.sport = { (uint16_t)sport[0], (uint16_t)sport[1] },
		.dport = { (uint16_t)dport[0], (uint16_t)dport[1] },
		.proto = proto_mask ? (int16_t)proto : -1,
		.word = (uint8_t)(word >> 8),
		.word_mask = (uint8_t)(mask >> 8),
	};
	rule.src = (s[0] << 24 | s[1] << 16 | s[2] << 8 | s[3]) & rule.src_mask;
	rule.dst = (d[0] << 24 | d[1] << 16 | d[2] << 8 | d[3]) & rule.dst_mask;
	rule.has_ports = sport[0] || dport[0] || sport[1] != UINT16_MAX || dport[1] != UINT16_MAX;
	return rule;
}

static struct header parse_header(const char *line)
{
	uint32_t src, dst, sport, dport, proto, word;

	/* NOLINTNEXTLINE(cert-err34-c): likewise */
	assert_int_equal(
		sscanf(line, "%" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32,
		       &src, &dst, &sport, &dport, &proto, &word),
		6);
	if (proto != IPPROTO_TCP && proto != IPPROTO_ICMP)
		word = 0;
	return (struct header){
		.src = src,
		.dst = dst,
		.sport = (uint16_t)sport,
		.dport = (uint16_t)dport,
		.proto = (uint8_t)proto,
		.word = (uint8_t)(word >> 24),
	};
}

static bool rest_matches(const struct rule *r, const struct header *p)
{
	if (r->proto >= 0 && r->proto != p->proto)
		return false;
	if (r->has_ports && p->proto != IPPROTO_TCP && p->proto != IPPROTO_UDP)
		return false;
	if (r->has_ports && (p->sport < r->sport[0] || p->sport > r->sport[1] ||
			     p->dport < r->dport[0] || p->dport > r->dport[1]))
		return false;
	return !((p->word ^ r->word) & r->word_mask);
}

/* The first line that matches, -1. */
static int scan(const struct bench *b, const struct header *p)
{
	uint32_t src = p->src, dst = p->dst;

	for (size_t i = 0; i < b->count; i++) {
		const struct rule *r = &b->rules[i];

		if (!((src ^ r->src) & r->src_mask) && !((dst ^ r->dst) & r->dst_mask) &&
		    rest_matches(r, p))
			return (int)i;
	}
	return -1;
}

/* ---- one set ---------------------------------------------------------------------------------- */

static struct frame frame_of(const struct header *p)
{
	struct in_addr src = { htonl(p->src) }, dst = { htonl(p->dst) };
	char from[INET_ADDRSTRLEN], to[INET_ADDRSTRLEN];
	struct frame f = {};

	(void)inet_ntop(AF_INET, &src, from, sizeof(from));
	(void)inet_ntop(AF_INET, &dst, to, sizeof(to));
	frame_eth(&f, ETH_P_IP);
	frame_ipv4(&f, from, to, p->proto);
	if (p->proto == IPPROTO_TCP || p->proto == IPPROTO_UDP)
		frame_ports(&f, p->sport, p->dport, p->word);
	else if (p->proto == IPPROTO_ICMP)
		frame_icmp(&f, p->word, 0);
	else
		frame_pad(&f, f.len + 16);
	frame_finish(&f);
	return f;
}

/* The rules pass and drop in turns, the default drops. */
static void check_header(struct bench *b, const struct header *p)
{
	struct frame f = frame_of(p);
	struct dp_explain said = rig_explain(b->rig, RIG_XDP_INGRESS, f.bytes, f.len);
	int want = scan(b, p);
	enum dp_verdict verdict = want >= 0 && want % 2 ? DP_PASS : DP_DROP;

	if (said.rule == (uint32_t)want &&
	    rig_verdict(b->rig, RIG_XDP_INGRESS, f.bytes, f.len) == verdict &&
	    rig_verdict(b->rig, RIG_TC_INGRESS, f.bytes, f.len) == verdict)
		return;
	fail_msg("%08x %08x, protocol %u, ports %u %u, flags or type %02x: rule %d, expected %d",
		 p->src, p->dst, p->proto, p->sport, p->dport, p->word, (int)said.rule, want);
}

static FILE *output_of(const char *command)
{
	FILE *f = popen(command, "r");

	assert_non_null(f);
	return f;
}

static void read_rules(struct bench *b, const char *path)
{
	char command[512], line[LINE_BYTES];
	FILE *f;

	(void)snprintf(command, sizeof(command), "gzip -dcf '%s'", path);
	f = output_of(command);
	for (b->count = 0; fgets(line, sizeof(line), f); b->count++) {
		assert_true(b->count < RULES_MAX);
		b->rules[b->count] = parse_rule(line);
	}
	assert_int_equal(pclose(f), 0);
	assert_true(b->count > 0);
}

static void install(struct bench *b, const char *path)
{
	char command[512], *text = NULL;
	size_t room = 0;
	FILE *f;

	(void)snprintf(command, sizeof(command),
		       "python3 -B bench/classbench policy '%s' --do alternate --dev lo", path);
	f = output_of(command);
	assert_true(getdelim(&text, &room, '\0', f) > 0);
	assert_int_equal(pclose(f), 0);
	if (b->rig)
		rig_apply(b->rig, text);
	else
		b->rig = rig_new(text);
	free(text);
}

/* Headers that a command prints; with `drawn` some are given another address. */
static size_t check_headers(struct bench *b, const char *command, bool drawn)
{
	FILE *f = output_of(command);
	char line[LINE_BYTES];
	size_t count = 0;

	for (; fgets(line, sizeof(line), f); count++) {
		struct header p = parse_header(line);

		if (drawn && !rng_below(&b->rng, 8))
			p.src = (uint32_t)rng_next(&b->rng);
		if (drawn && !rng_below(&b->rng, 8))
			p.dst = (uint32_t)rng_next(&b->rng);
		check_header(b, &p);
	}
	assert_int_equal(pclose(f), 0);
	assert_true(count > 0);
	return count;
}

static void check_set(struct bench *b, const char *rules, const char *trace)
{
	char command[512];
	size_t count;

	read_rules(b, rules);
	install(b, rules);
	if (trace)
		(void)snprintf(command, sizeof(command), "gzip -dc '%s'", trace);
	else
		(void)snprintf(
			command, sizeof(command),
			"python3 -B bench/classbench headers '%s' %zu --order uniform --seed %u",
			rules, b->headers, (unsigned int)rng_below(&b->rng, 1u << 30));
	count = check_headers(b, command, !trace);
	print_message("%s: %zu rules, %zu headers of %s\n", rules, b->count, count,
		      trace ? "its trace" : "its rules");
}

static void begin(struct bench *b, const char *what)
{
	memset(b, 0, sizeof(*b));
	b->rng = rng_seeded(what);
	b->headers = getenv("PENSTOCK_LONG") ? 10 * HEADERS : HEADERS;
}

static const char *const shapes[] = { "acl1", "fw1", "ipc1" };
static struct bench bench;

static void real_sets(void **state)
{
	static const char *const sizes[] = { "1000", "10000", "50000.gz" };
	const char *data = getenv("PENSTOCK_DATA") ?: "../shared/data";
	char path[256], trace[sizeof(path) + 16];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/classbench/acl1_10000", data);
	if (access(path, R_OK)) {
		print_message("skipped: no %s\n", path);
		skip();
	}
	begin(&bench, "ClassBench's own rules");
	for (size_t i = 0; i < 9; i++) {
		(void)snprintf(path, sizeof(path), "%s/classbench/%s_%s", data, shapes[i / 3],
			       sizes[i % 3]);
		(void)snprintf(trace, sizeof(trace), "%s_trace.gz", path);
		check_set(&bench, path, access(trace, R_OK) ? NULL : trace);
	}
	rig_free(&bench.rig);
}

static void generated_sets(void **state)
{
	static const unsigned int sizes[] = { 1000, 10000, 50000 };
	bool all = getenv("PENSTOCK_LONG");
	char path[] = "/tmp/penstock-classbench-XXXXXX", command[256];
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	(void)close(fd);
	begin(&bench, "rules of ClassBench's shape");
	for (size_t i = 0; i < 9; i++) {
		if (!all && i % 3 != 1) /* 10 000 rules of each shape */
			continue;
		(void)snprintf(command, sizeof(command),
			       "python3 -B bench/classbench rules %s %u --seed %u > %s",
			       shapes[i / 3], sizes[i % 3],
			       (unsigned int)rng_below(&bench.rng, 1u << 30), path);
		assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): our own words */
		check_set(&bench, path, NULL);
	}
	rig_free(&bench.rig);
	(void)unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(real_sets),
		cmocka_unit_test(generated_sets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
