/* SPDX-License-Identifier: Apache-2.0 */
#include "arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#define ARENA_BLOCK_BYTES (64 * 1024)

struct arena_block {
	struct arena_block *next;
	size_t used, room;
	_Alignas(max_align_t) unsigned char bytes[];
};

void *arena_alloc(struct arena *a, size_t bytes)
{
	size_t align = _Alignof(max_align_t);
	struct arena_block *b = a->head;
	void *at;

	if (bytes > SIZE_MAX / 2)
		return NULL;
	bytes = (bytes + align - 1) & ~(align - 1);
	if (!b || b->room - b->used < bytes) {
		size_t room = bytes > ARENA_BLOCK_BYTES ? bytes : ARENA_BLOCK_BYTES;

		b = calloc(1, sizeof(*b) + room);
		if (!b)
			return NULL;
		b->room = room;
		b->next = a->head;
		a->head = b;
	}
	at = b->bytes + b->used;
	b->used += bytes;
	return at;
}

char *arena_strndup(struct arena *a, const char *text, size_t len)
{
	char *copy = arena_alloc(a, len + 1);

	if (copy && len)
		memcpy(copy, text, len);
	return copy;
}

char *arena_printf(struct arena *a, const char *format, ...)
{
	va_list args, again;
	char *text = NULL;
	int len;

	va_start(args, format);
	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, args);
	if (len >= 0)
		text = arena_alloc(a, (size_t)len + 1);
	if (text)
		(void)vsnprintf(text, (size_t)len + 1, format, again); /* measured just above */
	va_end(again);
	va_end(args);
	return text;
}

void arena_done(struct arena *a)
{
	while (a->head) {
		struct arena_block *next = a->head->next;

		free(a->head);
		a->head = next;
	}
}
