/* SPDX-License-Identifier: Apache-2.0 */
#include "headers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "base/vec.h"

#define SEED 0x9e3779b97f4a7c15ull

struct line {
	uint32_t src, dst, sport, dport, proto, word;
};

VEC_NAMED(header_vec, struct bench_header);

static bool read_line(const char *text, struct line *ret)
{
	return sscanf(text, "%u %u %u %u %u %u", &ret->src, &ret->dst, &ret->sport, &ret->dport,
		      &ret->proto, &ret->word) == 6 &&
	       ret->sport <= UINT16_MAX && ret->dport <= UINT16_MAX && ret->proto <= UINT8_MAX;
}

static struct bench_header to_header(const struct line *line)
{
	uint8_t word = (uint8_t)(line->word >> 24);
	struct bench_header h = {
		.src = htonl(line->src),
		.dst = htonl(line->dst),
		.proto = (uint8_t)line->proto,
	};

	if (line->proto == IPPROTO_TCP || line->proto == IPPROTO_UDP)
		h.first = htonl(line->sport << 16 | line->dport);
	if (line->proto == IPPROTO_TCP)
		h.flags = word;
	if (line->proto == IPPROTO_ICMP)
		h.first = htonl((uint32_t)word << 24);
	return h;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

static int draw_from(struct header_vec *v, uint32_t draw)
{
	struct bench_header *drawn = calloc(draw, sizeof(*drawn));
	uint64_t state = SEED;

	if (!drawn)
		return -ENOMEM;
	for (uint32_t i = 0; i < draw; i++)
		drawn[i] = v->at[(next_random(&state) >> 16) % v->count];
	vec_done(v);
	v->at = drawn;
	v->count = draw;
	return 0;
}

static int read_all(struct header_vec *v, FILE *f, const char *path)
{
	struct line line;
	char text[160];
	int r;

	while (fgets(text, sizeof(text), f)) {
		if (!read_line(text, &line)) {
			fprintf(stderr, "%s:%zu: not a header: %s", path, v->count + 1, text);
			return -EINVAL;
		}
		r = vec_push(v, to_header(&line));
		if (r)
			return r;
	}
	return v->count ? 0 : -EINVAL;
}

int headers_read(struct headers *ret, const char *name, const char *path, uint32_t draw)
{
	_cleanup_fclose_ FILE *f = fopen(path, "r");
	struct header_vec v = {};
	int r;

	if (!f) {
		r = -errno;
		fprintf(stderr, "%s: %s\n", path, strerror(-r));
		return r;
	}
	r = read_all(&v, f, path);
	if (!r && draw)
		r = draw_from(&v, draw);
	*ret = (struct headers){ .name = name, .at = v.at, .count = (uint32_t)v.count };
	return r;
}

void headers_done(struct headers *headers)
{
	free(headers->at);
	*headers = (struct headers){};
}
