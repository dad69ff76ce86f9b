/* SPDX-License-Identifier: Apache-2.0 */
#include "lists.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 24

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

static void write_line(struct list *list, uint32_t addr, unsigned int bits)
{
	list->len += (size_t)sprintf(list->text + list->len, "%u.%u.%u.%u", addr >> 24,
				     addr >> 16 & 255, addr >> 8 & 255, addr & 255);
	list->len += (size_t)sprintf(list->text + list->len, bits < 32 ? "/%u\n" : "\n", bits);
}

static int make_room(struct list *list, size_t count)
{
	list->members = calloc(count, sizeof(*list->members));
	list->text = malloc(count * LINE_MAX_BYTES);
	return list->members && list->text ? 0 : -ENOMEM;
}

int list_addresses(struct list *list, size_t count)
{
	uint64_t state = 88172645463325252ull;
	_cleanup_free_ uint8_t *seen = calloc(1u << 29, 1);
	int r = make_room(list, count);

	if (r || !seen)
		return -ENOMEM;
	while (list->count < count) {
		uint32_t addr = (uint32_t)(next_random(&state) >> 32);

		if (seen[addr >> 3] & 1u << (addr & 7))
			continue;
		seen[addr >> 3] |= (uint8_t)(1u << (addr & 7));
		list->members[list->count++] = addr;
		write_line(list, addr, 32);
	}
	return 0;
}

static unsigned int draw_bits(uint64_t *state)
{
	uint64_t r = (next_random(state) >> 20) % 40;

	return r < 24 ? 32 : r < 36 ? 24 : (unsigned int)(r - 36) + 20;
}

int list_prefixes(struct list *list, size_t count)
{
	uint64_t state = 1181783497276652981ull;
	int r = make_room(list, count);

	if (r)
		return r;
	while (list->count < count) {
		uint32_t addr = (uint32_t)(next_random(&state) >> 32);
		unsigned int bits = draw_bits(&state);

		list->members[list->count++] = addr;
		write_line(list, bits < 32 ? addr & ~(0xffffffffu >> bits) : addr, bits);
	}
	return 0;
}

static int read_all(struct list *list, const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "r");
	long len;

	if (!f || fseek(f, 0, SEEK_END))
		return -errno;
	len = ftell(f);
	if (len < 0)
		return -errno;
	rewind(f);
	list->text = malloc((size_t)len + 1);
	if (!list->text)
		return -ENOMEM;
	list->len = fread(list->text, 1, (size_t)len, f);
	list->text[list->len] = '\0';
	return 0;
}

int list_read(struct list *list, const char *path)
{
	unsigned int a, b, c, d, bits;
	int r = read_all(list, path);
	size_t lines = 1;

	if (r)
		return r;
	for (const char *at = list->text; (at = strchr(at, '\n')); at++)
		lines++;
	list->members = calloc(lines, sizeof(*list->members));
	if (!list->members)
		return -ENOMEM;
	for (const char *at = list->text; at; at = strchr(at, '\n')) {
		at += *at == '\n';
		bits = 32;
		if (sscanf(at, "%u.%u.%u.%u/%u", &a, &b, &c, &d, &bits) >= 4)
			list->members[list->count++] = a << 24 | b << 16 | c << 8 | d;
	}
	return list->count ? 0 : -EINVAL;
}

void list_done(struct list *list)
{
	free(list->members);
	free(list->text);
	*list = (struct list){};
}
