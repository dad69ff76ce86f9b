/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds from a seed, for demo, tests and benchmarks where the real ones are not at hand:
 *
 *   feed-gen --seed 1 --count 120000                    addresses, like a list of attackers
 *   feed-gen --seed 1 --count 240000 --prefixes         prefixes, like the networks of countries
 *
 * Lookup cost depends on how members are spread, so this follows what was measured on real ones: a
 * list of 120 430 attackers lay in 17 936 /16s and 65 061 /24s, half of the /16s held one or two of
 * them and the largest 2 054; country lists are ascending, disjoint, a third of them /22. The same
 * arguments give the same bytes.
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/rng.h"

struct options {
	uint64_t seed;
	size_t count;
	unsigned int v6_percent;
	bool prefixes;
};

static void out_of_memory(void)
{
	fprintf(stderr, "feed-gen: out of memory\n");
	exit(1);
}

static void *allocate(size_t count, size_t bytes)
{
	void *at = calloc(count ? count : 1, bytes);

	if (!at)
		out_of_memory();
	return at;
}

static double unit(struct rng *rng)
{
	return (rng_next(rng) >> 11) * 0x1p-53;
}

static void print_v4(uint32_t addr, unsigned int len)
{
	printf("%u.%u.%u.%u", addr >> 24, addr >> 16 & 255, addr >> 8 & 255, addr & 255);
	if (len < 32)
		printf("/%u", len);
}

static void print_v6(uint64_t high, uint64_t low, unsigned int len)
{
	char text[INET6_ADDRSTRLEN];
	uint8_t bytes[16];

	for (int i = 0; i < 8; i++) {
		bytes[i] = high >> (56 - 8 * i);
		bytes[8 + i] = low >> (56 - 8 * i);
	}
	(void)inet_ntop(AF_INET6, bytes, text, sizeof(text)); /* the buffer has the size it wants */
	fputs(text, stdout);
	if (len < 128)
		printf("/%u", len);
}

/* 1.0.0.0 to 223.255.255.255 without what is never a source on the Internet (RFC 6890), roughly. */
static bool is_public(uint32_t addr)
{
	uint32_t top = addr >> 24, net = addr >> 16;

	if (!top || top >= 224 || top == 10 || top == 127)
		return false;
	return net != 0xc0a8 && net != 0xa9fe && (addr & 0xfff00000) != 0xac100000 &&
	       (addr & 0xffc00000) != 0x64400000;
}

static uint32_t random_public(struct rng *rng)
{
	uint32_t addr;

	do
		addr = (uint32_t)rng_next(rng);
	while (!is_public(addr));
	return addr;
}

/* ---- addresses ------------------------------------------------------------------------------- */

/*
 * Attackers come in clusters of clusters. Each new address imitates an earlier one picked at
 * random, and breaks out of its /16, or of its /24 only, with probability discount / members: the
 * process of Pitman and Yor (1997), whose cluster sizes follow a power law. The discounts fit the
 * list named above.
 */
#define DISCOUNT_16 0.775
#define DISCOUNT_24 0.81
#define FOUNDERS    64

struct addresses {
	uint32_t *at;
	size_t count;
	uint32_t *in_16; /* members of each /16 */
	uint32_t *in_24;
	uint8_t *taken; /* bit by bit */
};

static uint32_t propose(const struct addresses *a, struct rng *rng)
{
	uint32_t like;

	if (a->count < FOUNDERS)
		return random_public(rng);
	like = a->at[rng_below(rng, a->count)];
	if (unit(rng) < DISCOUNT_16 / a->in_16[like >> 16])
		return random_public(rng);
	if (unit(rng) < DISCOUNT_24 / a->in_24[like >> 8] || a->in_24[like >> 8] == 256)
		return (like & 0xffff0000) | rng_below(rng, 65536);
	return (like & 0xffffff00) | rng_below(rng, 256);
}

static uint32_t next_address(struct addresses *a, struct rng *rng)
{
	uint32_t addr;

	do
		addr = propose(a, rng);
	while (a->taken[addr / 8] >> (addr % 8) & 1);
	a->taken[addr / 8] |= 1u << (addr % 8);
	a->in_16[addr >> 16]++;
	a->in_24[addr >> 8]++;
	a->at[a->count++] = addr;
	return addr;
}

/* Hosts of some thousand providers, each with a few customers; the lower half random or small. */
static void print_v6_address(struct rng *rng, uint64_t seed, size_t providers)
{
	struct rng provider = { seed ^ 0x763670726f76ull };
	uint64_t high, customer = rng_below(rng, 1 + rng_below(rng, 256));

	provider.state += rng_below(rng, 1 + rng_below(rng, providers)) << 32;
	high = 0x2001000000000000ull + (rng_below(&provider, 0xe00) << 48) +
	       (rng_below(&provider, 0x4000) << 32);
	high |= customer << 16 | rng_below(rng, 4);
	print_v6(high, rng_below(rng, 2) ? rng_next(rng) : 1 + rng_below(rng, 4096), 128);
}

static void print_addresses(const struct options *o, struct rng *rng)
{
	struct addresses a = {
		.at = allocate(o->count, sizeof(*a.at)),
		.in_16 = allocate(1 << 16, sizeof(*a.in_16)),
		.in_24 = allocate(1 << 24, sizeof(*a.in_24)),
		.taken = allocate(1 << 29, 1),
	};

	for (size_t i = 0; i < o->count; i++) {
		if (rng_below(rng, 100) < o->v6_percent)
			print_v6_address(rng, o->seed, 1 + o->count / 40);
		else
			print_v4(next_address(&a, rng), 32);
		printf("\t%u\n", 1 + __builtin_ctz((uint32_t)rng_next(rng) | 1u << 9));
	}
	free(a.at);
	free(a.in_16);
	free(a.in_24);
	free(a.taken);
}

/* ---- prefixes -------------------------------------------------------------------------------- */

struct share {
	unsigned int len, percent;
};

static const struct share shares_v4[] = {
	{ 22, 29 }, { 24, 23 }, { 23, 14 }, { 21, 10 }, { 20, 7 }, { 19, 6 },
	{ 16, 4 },  { 18, 3 },  { 17, 2 },  { 15, 1 },  { 14, 1 },
};

static const struct share shares_v6[] = {
	{ 32, 48 }, { 29, 24 }, { 48, 20 }, { 40, 3 }, { 36, 3 }, { 44, 2 },
};

#define COUNT_OF(array) (sizeof(array) / sizeof(*(array)))

static unsigned int random_length(struct rng *rng, const struct share *shares, size_t count)
{
	unsigned int at = rng_below(rng, 100);

	for (size_t i = 0; i < count; i++) {
		if (at < shares[i].percent)
			return shares[i].len;
		at -= shares[i].percent;
	}
	return shares[0].len;
}

static double average_size(const struct share *shares, size_t count, unsigned int bits)
{
	double sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += shares[i].percent / 100.0 * (double)(1ull << (bits - shares[i].len));
	return sum;
}

/*
 * Walks a space of 2^bits addresses upwards; when the prefixes would not fit in half of it, all of
 * them become longer. Gaps fill the rest. What does not fit after all is left out.
 */
struct walk {
	const struct share *shares;
	size_t share_count;
	unsigned int bits; /* of the space that is walked: 32, or the upper 48 of IPv6 */
	uint64_t at, end;
	unsigned int extra; /* bits added to every length */
	double gap;
};

static void walk_init(struct walk *w, size_t count)
{
	double size = average_size(w->shares, w->share_count, w->bits), space = w->end - w->at;

	while (size * count > space / 2) {
		size /= 2;
		w->extra++;
	}
	w->gap = count ? (space - size * count) / count : 0;
}

/* False at the end of the space. */
static bool walk_next(struct walk *w, struct rng *rng, uint64_t *ret_first, unsigned int *ret_len)
{
	unsigned int len = random_length(rng, w->shares, w->share_count) + w->extra;
	uint64_t size;

	if (len > w->bits)
		len = w->bits;
	size = 1ull << (w->bits - len);
	w->at += (uint64_t)(w->gap * unit(rng));
	w->at = (w->at + size - 1) & ~(size - 1);
	if (w->at + size > w->end)
		return false;
	*ret_first = w->at;
	*ret_len = len;
	w->at += size;
	return true;
}

static void print_prefixes(const struct options *o, struct rng *rng)
{
	size_t v6 = o->count * o->v6_percent / 100, v4 = o->count - v6;
	struct walk walk4 = { shares_v4, COUNT_OF(shares_v4), 32, 1u << 24, 0xe0000000, 0, 0 };
	struct walk walk6 = { shares_v6, COUNT_OF(shares_v6), 48, 0x200100000000, 0x2e0000000000, 0,
			      0 };
	unsigned int len;
	uint64_t first;

	walk_init(&walk4, v4);
	for (size_t i = 0; i < v4 && walk_next(&walk4, rng, &first, &len); i++) {
		print_v4(first, len);
		putchar('\n');
	}
	walk_init(&walk6, v6);
	for (size_t i = 0; i < v6 && walk_next(&walk6, rng, &first, &len); i++) {
		print_v6(first << 16, 0, len);
		putchar('\n');
	}
}

/* ---- command line ---------------------------------------------------------------------------- */

static bool read_number(const char *text, uint64_t max, uint64_t *ret)
{
	char *end;

	*ret = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && *ret <= max;
}

static bool read_options(int argc, char *argv[], struct options *o)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "count", required_argument, NULL, 'c' },
		{ "v6-share", required_argument, NULL, '6' },
		{ "prefixes", no_argument, NULL, 'p' },
		{},
	};
	uint64_t number = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'p')
			o->prefixes = true;
		else if (c == 's' && read_number(optarg, UINT64_MAX, &o->seed))
			continue;
		else if (c == 'c' && read_number(optarg, 20000000, &number))
			o->count = number;
		else if (c == '6' && read_number(optarg, 100, &number))
			o->v6_percent = number;
		else
			return false;
	}
	return optind == argc;
}

int main(int argc, char *argv[])
{
	struct options o = { .seed = 1, .count = 120000 };
	struct rng rng;

	if (!read_options(argc, argv, &o)) {
		fprintf(stderr, "usage: feed-gen [--seed N] [--count N (at most 20000000)] "
				"[--v6-share PERCENT] [--prefixes]\n");
		return 2;
	}
	rng.state = o.seed;
	printf("# generated: feed-gen --seed %" PRIu64 " --count %zu --v6-share %u%s\n", o.seed,
	       o.count, o.v6_percent, o.prefixes ? " --prefixes" : "");
	if (o.prefixes)
		print_prefixes(&o, &rng);
	else
		print_addresses(&o, &rng);
	return fflush(stdout) || ferror(stdout);
}
