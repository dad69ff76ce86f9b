/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Run-time sets in the real programs: members that this test writes as the daemon would, looked up by packets and
 * compared with a scan of the members. Rules out a lookup of hosts only, of one length, or of the first set that
 * has the address, and members that outlive their time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cmocka.h>

#include "addr.h"
#include "lib/rig.h"
#include "tests/lib/rng.h"

#define SYN 0x02

#define XDP RIG_XDP_INGRESS
#define IN  RIG_TC_INGRESS
#define OUT RIG_TC_EGRESS

/* Few heads, so that several members share one and chains are walked. */
#define HEADS    64
#define CAPACITY 512
#define LINES    (1 + HEADS / DP_HEADS_PER_LINE + CAPACITY / DP_MEMBERS_PER_LINE)

static const char policy[] =
	"version: 1\nattach:\n  wan: {dev: lo}\nsets:\n"
	"  plain: {items: [203.0.113.1]}\n"
	"  banned: {items: [203.0.113.0/24, \"2001:db8:bad::/48\"], max: 1000}\n"
	"  friends: {items: [192.0.2.0/28], ttl: 1h}\n"
	"  guarded: {ttl: 1h}\n"
	"filter:\n"
	"  wan-in:\n    at: wan.ingress\n    default: pass\n    rules:\n"
	"      - {id: watch, from: [$friends, $guarded], do: drop, mode: audit}\n"
	"      - {id: banned, from: $banned, do: drop}\n"
	"      - {id: mixed, from: [$guarded, 10.0.0.0/8], proto: tcp, dport: 23, do: drop}\n"
	"      - {id: ssh, not-from: $friends, proto: tcp, dport: 22, do: drop}\n"
	"      - {id: to, to: $guarded, proto: udp, do: drop}\n"
	"      - {id: not-to, not-to: $guarded, proto: tcp, dport: 25, do: drop}\n"
	"      - {id: barred, from: $banned, not-from: 198.18.0.0/15, do: drop}\n"
	"  wan-out:\n    at: wan.egress\n    default: pass\n    rules:\n"
	"      - {id: plain, from: 203.0.113.1, do: drop}\n";

/* Run-time sets in the order of the policy. */
enum {
	BANNED,
	FRIENDS,
	GUARDED
};

struct member {
	struct prefix prefix;
	uint32_t set; /* number */
};

struct sets {
	struct rig *rig;
	struct dp_line *lines;
	uint32_t count;
	struct member members[CAPACITY];
};

static uint32_t now_tick(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint32_t)(((uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec) >> DP_TICK_SHIFT);
}

/* ---- the writer ------------------------------------------------------------------------------- */

static void begin(struct sets *s)
{
	const uint32_t pages = LINES / DP_PAGE_LINES + 1, zero = 0;
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	int table = bpf_map_create(BPF_MAP_TYPE_ARRAY, "table", 4, DP_PAGE_BYTES, pages, &opts);

	memset(s, 0, sizeof(*s));
	s->rig = rig_new(policy);
	assert_true(table >= 0);
	s->lines = mmap(NULL, (size_t)pages * DP_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			table, 0);
	assert_true(s->lines != MAP_FAILED);
	*(struct dp_set_header *)s->lines = (struct dp_set_header){
		.magic = DP_SET_MAGIC,
		.abi_version = DP_ABI_VERSION,
		.heads = HEADS,
		.head = 1,
		.members = 1 + HEADS / DP_HEADS_PER_LINE,
		.capacity = CAPACITY,
	};
	assert_int_equal(
		bpf_map_update_elem(bpf_map__fd(s->rig->skel->maps.set_table), &zero, &table, 0),
		0);
	(void)close(table);
}

static void end(struct sets *s)
{
	(void)munmap(s->lines, (size_t)(LINES / DP_PAGE_LINES + 1) * DP_PAGE_BYTES);
	rig_free(&s->rig);
}

static struct dp_member *slot(struct sets *s, uint32_t n)
{
	const struct dp_set_header *header = (const void *)s->lines;

	return &((struct dp_member *)&s->lines[header->members +
					       n / DP_MEMBERS_PER_LINE])[n % DP_MEMBERS_PER_LINE];
}

static uint64_t name(struct sets *s, const struct prefix *p, struct dp_member *ret)
{
	bool ipv6 = p->family == ADDR_IPV6;

	ret->what = DP_MEMBER(ipv6, p->len);
	if (!ipv6) {
		ret->addr[0] = (uint32_t)p->addr;
		return dp_member_hash4(s->rig->ctl->hash_key, ret->addr[0], ret->what);
	}
	for (int i = 0; i < 4; i++)
		ret->addr[i] = (uint32_t)(p->addr >> (96 - 32 * i));
	return dp_member_hash6(s->rig->ctl->hash_key, ret->addr, ret->what);
}

static struct dp_member *add_prefix(struct sets *s, struct prefix p, uint32_t set)
{
	struct dp_ctl *ctl = s->rig->ctl;
	uint32_t n = s->count + 1, *head;
	struct dp_member *m = slot(s, n);
	uint64_t h;

	assert_true(n < CAPACITY);
	*m = (struct dp_member){ .set = set };
	h = name(s, &p, m);
	s->rig->set_filter->word[DP_FILTER_WORD(h)] |= DP_FILTER_BITS(h);
	head = &s->lines[1 + (h >> 32) % HEADS / DP_HEADS_PER_LINE]
			.word[(h >> 32) % HEADS % DP_HEADS_PER_LINE];
	m->next = *head;
	*head = n;
	if (p.family == ADDR_IPV4)
		ctl->set_lengths4 |= 1ull << p.len;
	else
		ctl->set_lengths6[p.len / 64] |= 1ull << p.len % 64;
	s->members[s->count++] = (struct member){ p, set };
	return m;
}

static struct dp_member *add(struct sets *s, const char *text, uint32_t set)
{
	struct addr_error error;
	struct prefix p;

	assert_true(prefix_parse(text, strlen(text), &p, &error));
	return add_prefix(s, p, set);
}

/* Chains are no longer than the program walks. */
static bool has_room(struct sets *s, const struct prefix *p)
{
	struct dp_member m = {};
	uint64_t h = name(s, p, &m);
	uint32_t n = s->lines[1 + (h >> 32) % HEADS / DP_HEADS_PER_LINE]
			     .word[(h >> 32) % HEADS % DP_HEADS_PER_LINE];
	int length = 0;

	for (; n; n = slot(s, n)->next)
		length++;
	return length < DP_SET_CHAIN;
}

/* ---- questions -------------------------------------------------------------------------------- */

static void expect(struct sets *s, enum rig_hook hook, struct frame f, const char *rule)
{
	struct rig_outcome o = rig_run(s->rig, hook, f.bytes, f.len);

	assert_int_equal(o.counted, 1);
	if (!o.rule || strcmp(o.rule, rule))
		fail_msg("hook %d: %s, expected %s", hook, o.rule ? o.rule : "none", rule);
}

static struct frame tcp(const char *from, uint16_t port)
{
	return frame_flow(from, strchr(from, ':') ? "2001:db8::1" : "192.0.2.1", IPPROTO_TCP, 4000,
			  port, SYN);
}

static struct frame to(const char *dst, uint8_t proto, uint16_t port)
{
	return frame_flow(strchr(dst, ':') ? "2001:db8:77::1" : "198.51.100.1", dst, proto, 4000,
			  port, SYN);
}

/* ---- cases ------------------------------------------------------------------------------------ */

/* The next packet sees a new member; what the policy gives a set counts beside it. */
static void members_beside_those_of_the_policy(void **state)
{
	struct sets s;

	(void)state;
	begin(&s);
	expect(&s, XDP, tcp("198.51.100.9", 80), "default");
	expect(&s, XDP, tcp("203.0.113.9", 80), "banned");
	expect(&s, IN, tcp("2001:db8:bad::9", 80), "banned");
	(void)add(&s, "198.51.100.9", rig_set_number(BANNED));
	(void)add(&s, "2001:db8:2::/64", rig_set_number(BANNED));
	for (int hook = XDP; hook <= IN; hook++) {
		expect(&s, hook, tcp("198.51.100.9", 80), "banned");
		expect(&s, hook, tcp("198.51.100.8", 80), "default");
		expect(&s, hook, tcp("203.0.113.9", 80), "banned");
		expect(&s, hook, tcp("2001:db8:2::9", 80), "banned");
		expect(&s, hook, tcp("2001:db8:2:1::9", 80), "default");
	}
	end(&s);
}

/* Each key, and a negation beside a set; both families. */
static void every_key(void **state)
{
	static const char *const friends[] = { "198.51.100.20", "2001:db8:2::20" };
	static const char *const guarded[] = { "198.51.100.64/26", "2001:db8:3::/48" };
	static const char *const inside[] = { "198.51.100.65", "2001:db8:3:1::1" };
	static const char *const outside[] = { "198.51.100.63", "2001:db8:4::1" };
	struct sets s;

	(void)state;
	begin(&s);
	for (int v6 = 0; v6 < 2; v6++) {
		enum rig_hook hook = v6 ? IN : XDP;

		expect(&s, hook, tcp(friends[v6], 22), "ssh");
		expect(&s, hook, to(inside[v6], IPPROTO_UDP, 53), "default");
		expect(&s, hook, to(inside[v6], IPPROTO_TCP, 25), "not-to");
		(void)add(&s, friends[v6], rig_set_number(FRIENDS));
		(void)add(&s, guarded[v6], rig_set_number(GUARDED));
		expect(&s, hook, tcp(friends[v6], 22), "default");
		expect(&s, hook, tcp(outside[v6], 22), "ssh");
		expect(&s, hook, to(inside[v6], IPPROTO_UDP, 53), "to");
		expect(&s, hook, to(outside[v6], IPPROTO_UDP, 53), "default");
		expect(&s, hook, to(inside[v6], IPPROTO_TCP, 25), "default");
		expect(&s, hook, to(outside[v6], IPPROTO_TCP, 25), "not-to");
		expect(&s, hook, tcp(inside[v6], 23), "mixed");
		expect(&s, hook, tcp(outside[v6], 23), "default");
	}
	expect(&s, XDP, tcp("192.0.2.3", 22), "default"); /* the policy's own friend */
	expect(&s, XDP, tcp("10.1.2.3", 23), "mixed");
	end(&s);
}

/* A literal of the same rule bars what the set lets in. */
static void a_negation_beside_a_set(void **state)
{
	static const char text[] =
		"version: 1\nattach:\n  wan: {dev: lo}\nsets:\n  banned: {max: 1000}\n"
		"  other: {max: 1000}\nfilter:\n"
		"  wan-in:\n    at: wan.ingress\n    default: pass\n    rules:\n"
		"      - {id: barred, from: $banned, not-from: 198.18.0.0/15, do: drop}\n"
		"      - {id: both, from: $banned, not-from: $other, do: drop}\n";
	struct sets s;

	(void)state;
	begin(&s);
	rig_apply(s.rig, text);
	(void)add(&s, "198.16.0.0/12", rig_set_number(0));
	(void)add(&s, "198.19.0.0/16", rig_set_number(1));
	for (int hook = XDP; hook <= IN; hook++) {
		expect(&s, hook, tcp("198.17.0.1", 80), "barred");
		expect(&s, hook, tcp("198.18.0.1", 80), "both");
		expect(&s, hook, tcp("198.19.0.1", 80), "default");
		expect(&s, hook, tcp("198.32.0.1", 80), "default");
	}
	end(&s);
}

#define OTHERS      12
#define OTHER_RULES 500
#define LAST_RULES \
	600 /* more than vectors have slots: the chain has trees, and slots have rule numbers */

/*
 * Chains before it fill more lines with vectors than are near. What packets look for among the near lines must stand
 * there all the same: sets were read from another chain's vectors.
 */
static void the_last_of_many_large_chains(void **state)
{
	struct sets s;
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	assert_non_null(f);
	fprintf(f, "version: 1\nattach:\n  wan: {dev: lo}\n");
	for (int z = 0; z < OTHERS; z++)
		fprintf(f, "  z%d: {dev: none%d}\n", z, z);
	fprintf(f, "sets:\n  banned: {max: 1000}\nfilter:\n");
	for (int z = 0; z < OTHERS; z++) {
		fprintf(f, "  z%d-in:\n    at: z%d.ingress\n    default: pass\n    rules:\n", z, z);
		for (int i = 0; i < OTHER_RULES; i++)
			fprintf(f, "      - {id: r%d, from: 10.%d.%d.%d, do: drop}\n", i, z,
				i / 256, i % 256);
	}
	fprintf(f, "  wan-in:\n    at: wan.ingress\n    default: pass\n    rules:\n");
	for (int i = 0; i < LAST_RULES; i++)
		fprintf(f, "      - {id: r%d, from: 11.0.%d.%d, proto: tcp, dport: 80, do: drop}\n",
			i, i / 256, i % 256);
	fprintf(f, "      - {id: watch, proto: tcp, dport: 81, do: drop, mode: audit}\n"
		   "      - {id: banned, from: $banned, do: drop}\n");
	assert_int_equal(fclose(f), 0);
	begin(&s);
	rig_apply(s.rig, text);
	free(text);
	assert_true(s.rig->policy.image.count > DP_NEAR_LINES);
	(void)add(&s, "198.51.100.9", rig_set_number(0));
	for (int hook = XDP; hook <= IN; hook++) {
		struct frame watched = tcp("198.51.100.8", 81);

		expect(&s, hook, tcp("198.51.100.9", 80), "banned");
		expect(&s, hook, tcp("198.51.100.8", 80), "default");
		expect(&s, hook, tcp("11.0.2.1", 80), "r513");
		assert_int_equal(rig_run(s.rig, hook, watched.bytes, watched.len).audits, 1);
	}
	end(&s);
}

/* A whole family is one member of length 0; and audit rules ask like others. */
static void the_shortest_prefix(void **state)
{
	struct frame f = tcp("198.51.100.1", 80), six = tcp("2001:db8:9::1", 80);
	struct sets s;

	(void)state;
	begin(&s);
	assert_int_equal(rig_run(s.rig, XDP, f.bytes, f.len).audits, 0);
	(void)add(&s, "0.0.0.0/0", rig_set_number(FRIENDS));
	assert_int_equal(rig_run(s.rig, XDP, f.bytes, f.len).audits, 1);
	assert_int_equal(rig_run(s.rig, XDP, six.bytes, six.len).audits, 0);
	(void)add(&s, "::/0", rig_set_number(FRIENDS));
	assert_int_equal(rig_run(s.rig, IN, six.bytes, six.len).audits, 1);
	end(&s);
}

static void members_expire(void **state)
{
	struct dp_member *m;
	struct sets s;

	(void)state;
	begin(&s);
	m = add(&s, "198.51.100.9", rig_set_number(BANNED));
	m->expires = now_tick() + DP_TICKS(3600);
	expect(&s, XDP, tcp("198.51.100.9", 80), "banned");
	m->expires = now_tick();
	expect(&s, XDP, tcp("198.51.100.9", 80), "default");
	m->expires = 0;
	expect(&s, IN, tcp("198.51.100.9", 80), "banned");
	end(&s);
}

/* A number that the active policy gives to no set: members of a policy before, or after. */
static void a_set_that_the_policy_does_not_know(void **state)
{
	struct frame f = tcp("198.51.100.9", 80);
	struct sets s;

	(void)state;
	begin(&s);
	(void)add(&s, "198.51.100.9", 0);
	expect(&s, XDP, f, "default");
	assert_int_equal(rig_explain(s.rig, XDP, f.bytes, f.len).sets[0], 1);
	(void)add(&s, "198.51.100.9", rig_set_number(BANNED));
	expect(&s, XDP, f, "banned");
	end(&s);
}

/* Where no rule names a set nothing is looked up, and only the addresses that rules ask about. */
static void chains_without_sets_never_look(void **state)
{
	static const char sources[] =
		"version: 1\nattach:\n  wan: {dev: lo}\nsets:\n  a: {max: 9}\n"
		"filter:\n  wan-in:\n    at: wan.ingress\n    default: pass\n"
		"    rules:\n      - {id: a, from: $a, do: drop}\n";
	struct frame f = frame_flow("198.51.100.9", "198.51.100.9", IPPROTO_TCP, 1, 80, SYN);
	struct dp_explain said;
	struct sets s;

	(void)state;
	begin(&s);
	(void)add(&s, "198.51.100.9", rig_set_number(BANNED));
	said = rig_explain(s.rig, XDP, f.bytes, f.len);
	assert_int_equal(said.sets[0], 1ull << rig_set_number(BANNED));
	assert_int_equal(said.sets[1], 1ull << rig_set_number(BANNED));
	said = rig_explain(s.rig, OUT, f.bytes, f.len);
	assert_int_equal(said.sets[0] | said.sets[1], 0);
	rig_apply(s.rig, sources);
	said = rig_explain(s.rig, XDP, f.bytes, f.len);
	assert_int_equal(said.sets[0], 1ull << rig_set_number(BANNED));
	assert_int_equal(said.sets[1], 0);
	end(&s);
}

/* ---- against a scan --------------------------------------------------------------------------- */

static struct prefix random_prefix(struct rng *rng)
{
	static const uint8_t lens4[] = { 7, 8, 16, 20, 24, 31, 32, 32 };
	static const uint8_t lens6[] = { 31, 32, 33, 48, 63, 64, 65, 96, 127, 128, 128 };
	bool v4 = rng_below(rng, 2);
	unsigned int bits = v4 ? 32 : 128;
	unsigned int len =
		v4 ? lens4[rng_below(rng, sizeof(lens4))] : lens6[rng_below(rng, sizeof(lens6))];
	uint64_t a = rng_below(rng, 4), b = rng_below(rng, 4), c = rng_below(rng, 4);
	u128 addr = v4 ? 10u << 24 | a << 16 | b << 8 | c
		       : (u128)0x20010db8 << 96 | (u128)a << 80 | (u128)b << 63 | (u128)c << 31 |
				    rng_below(rng, 4);

	return (struct prefix){ v4 ? ADDR_IPV4 : ADDR_IPV6, len,
				addr >> (bits - len) << (bits - len) };
}

static struct prefix random_host(struct rng *rng)
{
	struct prefix p = random_prefix(rng);
	unsigned int bits = p.family == ADDR_IPV4 ? 32 : 128;

	p.addr |= p.len < bits ? rng_below(rng, 4) : 0;
	p.len = bits;
	return p;
}

/* Numbers of the sets that hold the address. */
static uint64_t scan(const struct sets *s, const struct prefix *host)
{
	uint64_t sets = 0;

	for (uint32_t i = 0; i < s->count; i++) {
		const struct prefix *p = &s->members[i].prefix;
		unsigned int rest = host->len - p->len;

		if (p->family == host->family && p->addr >> rest == host->addr >> rest)
			sets |= 1ull << s->members[i].set;
	}
	return sets;
}

static void address_text(const struct prefix *host, char text[static INET6_ADDRSTRLEN])
{
	uint8_t bytes[16];

	for (unsigned int i = 0; i < host->len / 8; i++)
		bytes[i] = (uint8_t)(host->addr >> (host->len - 8 - 8 * i));
	(void)inet_ntop(host->family == ADDR_IPV4 ? AF_INET : AF_INET6, bytes, text,
			INET6_ADDRSTRLEN);
}

/* Members of all set numbers, nested and repeated, of lengths at the borders of words. */
static void agrees_with_a_scan(void **state)
{
	struct rng rng = rng_seeded("members of sets");
	struct sets s;

	(void)state;
	begin(&s);
	while (s.count < CAPACITY - 1) {
		struct prefix p = random_prefix(&rng);

		if (!has_room(&s, &p))
			break;
		(void)add_prefix(&s, p, (uint32_t)rng_below(&rng, DP_SETS));
	}
	assert_true(s.count > HEADS);
	for (int i = 0; i < 20000; i++) {
		struct prefix src = random_host(&rng), dst = random_host(&rng);
		char from[INET6_ADDRSTRLEN], where[INET6_ADDRSTRLEN];
		struct dp_explain said;
		struct frame f;

		if (src.family != dst.family)
			continue;
		address_text(&src, from);
		address_text(&dst, where);
		f = frame_flow(from, where, IPPROTO_TCP, 4000, 80, SYN);
		said = rig_explain(s.rig, i % 2 ? XDP : IN, f.bytes, f.len);
		if (said.sets[0] != scan(&s, &src) || said.sets[1] != scan(&s, &dst))
			fail_msg("%s > %s: sets %llx %llx, expected %llx %llx", from, where,
				 (unsigned long long)said.sets[0], (unsigned long long)said.sets[1],
				 (unsigned long long)scan(&s, &src),
				 (unsigned long long)scan(&s, &dst));
	}
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_beside_those_of_the_policy),
		cmocka_unit_test(every_key),
		cmocka_unit_test(a_negation_beside_a_set),
		cmocka_unit_test(the_last_of_many_large_chains),
		cmocka_unit_test(the_shortest_prefix),
		cmocka_unit_test(members_expire),
		cmocka_unit_test(a_set_that_the_policy_does_not_know),
		cmocka_unit_test(chains_without_sets_never_look),
		cmocka_unit_test(agrees_with_a_scan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
