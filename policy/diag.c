/* SPDX-License-Identifier: Apache-2.0 */
/* Collecting diagnostics. How they look is in diag_render.c. */
#include "diag.h"

#include <stdarg.h>
#include <string.h>
#include <strings.h>

#include "str.h"

#define QUOTE_BYTES 60

void diag_done(struct diag_list *list)
{
	for (size_t i = 0; i < list->diags.count; i++)
		vec_done(&list->diags.at[i].notes);
	vec_done(&list->diags);
	vec_done(&list->sources);
	arena_done(&list->arena);
	*list = (struct diag_list){};
}

uint32_t diag_add_source(struct diag_list *list, const char *name, const char *text, size_t len)
{
	struct diag_source source = { .name = name, .text = text, .len = len };

	if (vec_push(&list->sources, source)) {
		list->out_of_memory = true;
		return 0;
	}
	return (uint32_t)(list->sources.count - 1);
}

static const char *print_message(struct diag_list *list, const char *format, va_list args)
{
	va_list again;
	char *text = NULL;
	int len;

	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (len >= 0)
		text = arena_alloc(&list->arena, (size_t)len + 1);
	if (!text) {
		list->out_of_memory = true;
		return NULL;
	}
	(void)vsnprintf(text, (size_t)len + 1, format, args); /* measured just above */
	return text;
}

static void append(struct diag_list *list, struct diag diag)
{
	if (!diag.message)
		return;
	if (vec_push(&list->diags, diag)) {
		list->out_of_memory = true;
		return;
	}
	if (diag.severity == DIAG_ERROR)
		list->errors++;
	else
		list->warnings++;
}

void diag_error(struct diag_list *list, struct span span, const char *code, const char *format, ...)
{
	struct diag diag = { .severity = DIAG_ERROR, .code = code, .span = span };
	va_list args;

	va_start(args, format);
	diag.message = print_message(list, format, args);
	va_end(args);
	append(list, diag);
}

void diag_warning(struct diag_list *list, struct span span, const char *code, const char *format,
		  ...)
{
	struct diag diag = { .severity = DIAG_WARNING, .code = code, .span = span };
	va_list args;

	va_start(args, format);
	diag.message = print_message(list, format, args);
	va_end(args);
	append(list, diag);
}

void diag_note(struct diag_list *list, struct span span, const char *format, ...)
{
	struct diag_note note = { .span = span };
	va_list args;

	if (!list->diags.count)
		return;
	va_start(args, format);
	note.message = print_message(list, format, args);
	va_end(args);
	if (note.message && vec_push(&list->diags.at[list->diags.count - 1].notes, note))
		list->out_of_memory = true;
}

/* What needs no escape: most names. */
static bool is_harmless(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] < ' ' || text[i] > '~' || text[i] == '\'' || text[i] == '\\')
			return false;
	}
	return len <= QUOTE_BYTES;
}

const char *diag_quote(struct diag_list *list, const char *text, size_t len)
{
	struct text quoted = {};
	_cleanup_free_ char *taken = NULL;
	const char *kept;
	size_t at = 0;

	if (is_harmless(text, len)) {
		kept = arena_strndup(&list->arena, text, len);
		list->out_of_memory |= !kept;
		return kept ? kept : "";
	}
	while (at < len && at < QUOTE_BYTES) {
		uint32_t code;
		size_t bytes = utf8_next(text + at, len - at, &code);

		if (!bytes)
			text_printf(&quoted, "\\x%02x", (unsigned char)text[at]);
		else if (code == '\'' || code == '\\')
			text_printf(&quoted, "\\%c", (char)code);
		else if (code < 0x80 && !code_is_visible(code))
			text_printf(&quoted, "\\x%02x", code);
		else if (!code_is_visible(code))
			text_printf(&quoted, "\\u%04x", code);
		else
			text_add(&quoted, text + at, bytes);
		at += bytes ? bytes : 1;
	}
	if (at < len)
		text_puts(&quoted, "…");
	taken = text_take(&quoted);
	kept = taken ? arena_strndup(&list->arena, taken, strlen(taken)) : NULL;
	if (!kept) {
		list->out_of_memory = true;
		return "";
	}
	return kept;
}

#define NEAREST_MAX 32

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours count one. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t row[3][NEAREST_MAX + 1];

	for (size_t j = 0; j <= b_len; j++)
		row[0][j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t *now = row[i % 3], *last = row[(i - 1) % 3], *before = row[(i + 1) % 3];

		now[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t change = last[j - 1] + (a[i - 1] != b[j - 1]);

			now[j] = least(change, least(last[j], now[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = least(now[j], before[j - 2] + 1);
		}
	}
	return row[a_len % 3][b_len];
}

const char *diag_nearest(const char *text, const char *const candidates[], size_t count)
{
	size_t len = strlen(text), best = 0;
	const char *nearest = NULL;

	if (!len || len > NEAREST_MAX)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		size_t other = strlen(candidates[i]), d;

		if (other > NEAREST_MAX)
			continue;
		if (!strcasecmp(text, candidates[i]))
			return candidates[i];
		d = distance(text, len, candidates[i], other);
		/* A third of the letters may be wrong, one of three and four, none of fewer. */
		if (d > (len < 3 ? 0 : len < 5 ? 1 : len / 3) || d >= other)
			continue;
		if (!nearest || d < best) {
			nearest = candidates[i];
			best = d;
		}
	}
	return nearest;
}
