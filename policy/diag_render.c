/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnostics as JSON, and JSON as text for people. There is one renderer, and it reads the JSON form: what
 * the daemon sends looks exactly like what `check` prints.
 *
 * A place in JSON is {file, line, column, length} and, when the source is known, `text` (the source line,
 * made printable and cut to a window) with `caret` and `caret_length` in columns of that text, from 0.
 */
#include "diag.h"

#include <json-c/json.h>
#include <string.h>

#include "str.h"

#define WINDOW_COLUMNS 110 /* of a source line; with the margin it stays under 120 */
#define INDEX_LINES    64

/* Where every 64th line of a source begins. */
struct line_index {
	VEC(size_t) start;
	bool done;
};

struct renderer {
	const struct diag_list *list;
	size_t limit;             /* diagnostics; 0: all */
	struct line_index *index; /* one a source */
};

static int index_source(struct line_index *index, const struct diag_source *source)
{
	size_t at = 0;

	for (size_t line = 0;; line++) {
		const char *end;

		if (line % INDEX_LINES == 0 && vec_push(&index->start, at))
			return -ENOMEM;
		end = source->len > at ? memchr(source->text + at, '\n', source->len - at) : NULL;
		if (!end)
			break;
		at = (size_t)(end - source->text) + 1;
	}
	index->done = true;
	return 0;
}

/* The bytes of a line without its end; false when the source has no such line. */
static bool find_line(struct renderer *r, struct span span, const char **ret_at, size_t *ret_len)
{
	const struct diag_source *source = &r->list->sources.at[span.source];
	struct line_index *index = &r->index[span.source];
	size_t skip = (span.line - 1) / INDEX_LINES, at;
	const char *end;

	if (!index->done && index_source(index, source))
		return false;
	if (skip >= index->start.count)
		return false;
	at = index->start.at[skip];
	for (size_t line = skip * INDEX_LINES + 1; line < span.line; line++) {
		end = memchr(source->text + at, '\n', source->len - at);
		if (!end)
			return false;
		at = (size_t)(end - source->text) + 1;
	}
	end = memchr(source->text + at, '\n', source->len - at);
	*ret_at = source->text + at;
	*ret_len = end ? (size_t)(end - source->text) - at : source->len - at;
	if (*ret_len && (*ret_at)[*ret_len - 1] == '\r')
		--*ret_len;
	return true;
}

/* Appends one character as a terminal may show it; returns its columns. */
static size_t show(struct text *out, const char *at, size_t len, size_t *ret_bytes)
{
	size_t before = out->len, bytes;
	uint32_t code;

	bytes = utf8_next(at, len, &code);
	*ret_bytes = bytes ? bytes : 1;
	if (bytes && code == '\t') {
		text_puts(out, "→");
		return 1;
	}
	if (bytes && code_is_visible(code)) {
		text_add(out, at, bytes);
		return code_width(code);
	}
	if (bytes)
		text_printf(out, "<U+%04X>", code);
	else
		text_printf(out, "<%02x>", (unsigned char)*at);
	return out->len - before;
}

struct window {
	struct text text;
	size_t caret, caret_columns;
};

/* Backs up to the beginning of a character. */
static size_t char_start(const char *line, size_t at)
{
	for (size_t back = 0; back < 3 && at && ((unsigned char)line[at] & 0xc0) == 0x80; back++)
		at--;
	return at;
}

/* Cuts a line to a window in which the span is to be seen, a third of it before the caret. */
static void cut_line(struct window *w, const char *line, size_t len, struct span span)
{
	size_t from = span.col - 1, to = from + span.len, at = 0, columns = 0;

	from = from < len ? from : len;
	to = to < len ? to : len;
	if (len > WINDOW_COLUMNS && from > WINDOW_COLUMNS / 3 && to > WINDOW_COLUMNS - 10)
		at = char_start(line, from - WINDOW_COLUMNS / 3);
	if (at) {
		text_puts(&w->text, "…");
		columns = 1;
	}
	w->caret = columns;
	while (at < len && columns < WINDOW_COLUMNS) {
		size_t bytes, width;

		if (at <= from)
			w->caret = columns;
		width = show(&w->text, line + at, len - at, &bytes);
		columns += width;
		if (at >= from && at < to)
			w->caret_columns += width;
		at += bytes;
	}
	if (at <= from)
		w->caret = columns;
	if (at < len)
		text_puts(&w->text, "…");
	if (!w->caret_columns)
		w->caret_columns = 1;
}

static int add(struct json_object *to, const char *key, struct json_object *value)
{
	if (!value)
		return -ENOMEM;
	if (json_object_object_add(to, key, value)) {
		json_object_put(value);
		return -ENOMEM;
	}
	return 0;
}

static int add_window(struct renderer *r, struct json_object *to, struct span span)
{
	struct window w = {};
	const char *line;
	size_t len;
	int err;

	if (!span.line || !span.col || !find_line(r, span, &line, &len))
		return 0;
	cut_line(&w, line, len, span);
	if (w.text.failed) {
		text_done(&w.text);
		return -ENOMEM;
	}
	err = add(to, "text",
		  json_object_new_string_len(w.text.at ? w.text.at : "", (int)w.text.len));
	text_done(&w.text);
	if (!err)
		err = add(to, "caret", json_object_new_int64((int64_t)w.caret));
	if (!err)
		err = add(to, "caret_length", json_object_new_int64((int64_t)w.caret_columns));
	return err;
}

/* Strings of JSON must be UTF-8, and names of files need not be. */
static struct json_object *printable(const char *string)
{
	struct text text = {};
	struct json_object *value;
	size_t len = strlen(string), bytes;

	for (size_t at = 0; at < len; at += bytes)
		(void)show(&text, string + at, len - at, &bytes);
	value = text.failed ? NULL : json_object_new_string(text.at ? text.at : "");
	text_done(&text);
	return value;
}

/* A place that is the file as a whole is line 1, column 1 without a text. */
static int add_place(struct renderer *r, struct json_object *to, struct span span,
		     const char *message)
{
	bool known = span.source < r->list->sources.count;
	int err;

	err = add(to, "file", printable(known ? r->list->sources.at[span.source].name : "policy"));
	if (!err)
		err = add(to, "line", json_object_new_int64(span.line ? span.line : 1));
	if (!err)
		err = add(to, "column", json_object_new_int64(span.line ? span.col : 1));
	if (!err)
		err = add(to, "length", json_object_new_int64(span.line ? span.len : 0));
	if (!err)
		err = add(to, "message", printable(message));
	if (!err && known)
		err = add_window(r, to, span);
	return err;
}

static int add_notes(struct renderer *r, struct json_object *to, const struct diag *diag)
{
	struct json_object *notes = json_object_new_array();
	int err = add(to, "notes", notes);

	for (size_t i = 0; !err && i < diag->notes.count; i++) {
		struct json_object *note = json_object_new_object();

		if (!note || json_object_array_add(notes, note)) {
			json_object_put(note);
			return -ENOMEM;
		}
		err = add_place(r, note, diag->notes.at[i].span, diag->notes.at[i].message);
	}
	return err;
}

static int add_diag(struct renderer *r, struct json_object *array, const struct diag *diag)
{
	struct json_object *to = json_object_new_object();
	int err;

	if (!to || json_object_array_add(array, to)) {
		json_object_put(to);
		return -ENOMEM;
	}
	err = add(to, "severity",
		  json_object_new_string(diag->severity == DIAG_ERROR ? "error" : "warning"));
	if (!err)
		err = add(to, "code", json_object_new_string(diag->code));
	if (!err)
		err = add_place(r, to, diag->span, diag->message);
	if (!err)
		err = add_notes(r, to, diag);
	return err;
}

/* Source order; in one place, in the order of appending. */
static int compare_places(const void *a, const void *b)
{
	const struct diag *x = *(const struct diag *const *)a, *y = *(const struct diag *const *)b;

	if (x->span.source != y->span.source)
		return x->span.source < y->span.source ? -1 : 1;
	if (x->span.line != y->span.line)
		return x->span.line < y->span.line ? -1 : 1;
	if (x->span.col != y->span.col)
		return x->span.col < y->span.col ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* How many of each severity are shown: no warning hides an error. */
struct quota {
	size_t left[DIAG_SEVERITY_COUNT];
};

static struct quota quota_of(size_t limit, size_t errors, size_t warnings)
{
	struct quota quota = { { errors, warnings } };

	if (!limit)
		return quota;
	if (errors > limit)
		quota.left[DIAG_ERROR] = limit;
	if (warnings > limit - quota.left[DIAG_ERROR])
		quota.left[DIAG_WARNING] = limit - quota.left[DIAG_ERROR];
	return quota;
}

static bool quota_take(struct quota *quota, enum diag_severity severity)
{
	if (!quota->left[severity])
		return false;
	quota->left[severity]--;
	return true;
}

static int add_diags(struct renderer *r, struct json_object *array)
{
	size_t count = r->list->diags.count;
	struct quota quota = quota_of(r->limit, r->list->errors, r->list->warnings);
	_cleanup_free_ const struct diag **order = calloc(count + 1, sizeof(const struct diag *));
	int err = 0;

	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		order[i] = &r->list->diags.at[i];
	qsort(order, count, sizeof(const struct diag *), compare_places);
	for (size_t i = 0; !err && i < count; i++) {
		if (quota_take(&quota, order[i]->severity))
			err = add_diag(r, array, order[i]);
	}
	return err;
}

static int fill_json(struct renderer *r, struct json_object *json)
{
	struct json_object *array = json_object_new_array();

	if (add(json, "errors", json_object_new_uint64(r->list->errors)) ||
	    add(json, "warnings", json_object_new_uint64(r->list->warnings)) ||
	    add(json, "diagnostics", array))
		return -ENOMEM;
	return add_diags(r, array);
}

static struct json_object *to_json(const struct diag_list *list, size_t limit)
{
	struct renderer r = { .list = list, .limit = limit };
	struct json_object *json = json_object_new_object();

	r.index = calloc(list->sources.count + 1, sizeof(*r.index));
	if (!json || !r.index || fill_json(&r, json)) {
		json_object_put(json);
		json = NULL;
	}
	for (size_t i = 0; r.index && i < list->sources.count; i++)
		vec_done(&r.index[i].start);
	free(r.index);
	return json;
}

struct json_object *diag_to_json(const struct diag_list *list)
{
	return to_json(list, 0);
}

static const char *get_string(struct json_object *from, const char *key)
{
	struct json_object *value = json_object_object_get(from, key);

	return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : NULL;
}

static uint64_t get_number(struct json_object *from, const char *key)
{
	return json_object_get_uint64(json_object_object_get(from, key));
}

static void put_printable(struct text *out, const char *string)
{
	size_t len = string ? strlen(string) : 0, bytes;

	for (size_t at = 0; at < len; at += bytes)
		(void)show(out, string + at, len - at, &bytes);
}

static void render_place(struct text *out, struct json_object *place, const char *severity)
{
	const char *text = get_string(place, "text");
	uint64_t line = get_number(place, "line"), caret = get_number(place, "caret");
	uint64_t length = get_number(place, "caret_length");

	put_printable(out, get_string(place, "file"));
	text_printf(out, ":%llu:%llu: %s: ", (unsigned long long)line,
		    (unsigned long long)get_number(place, "column"), severity);
	put_printable(out, get_string(place, "message"));
	text_puts(out, "\n");
	if (!text)
		return;
	text_printf(out, "%5llu | ", (unsigned long long)line);
	put_printable(out, text);
	text_puts(out, "\n      | ");
	caret = caret <= 2 * WINDOW_COLUMNS ? caret : 0;
	length = length && length <= 2 * WINDOW_COLUMNS ? length : 1;
	text_fill(out, ' ', caret);
	text_puts(out, "^");
	text_fill(out, '~', length - 1);
	text_puts(out, "\n");
}

static enum diag_severity severity_of(struct json_object *diag)
{
	const char *severity = get_string(diag, "severity");

	return severity && !strcmp(severity, "warning") ? DIAG_WARNING : DIAG_ERROR;
}

static void render_diag(struct text *out, struct json_object *diag)
{
	struct json_object *notes = json_object_object_get(diag, "notes");

	render_place(out, diag, severity_of(diag) == DIAG_WARNING ? "warning" : "error");
	if (!json_object_is_type(notes, json_type_array))
		return;
	for (size_t i = 0; i < json_object_array_length(notes); i++)
		render_place(out, json_object_array_get_idx(notes, i), "note");
}

char *diag_render_json(struct json_object *json, size_t limit)
{
	struct json_object *array = json_object_object_get(json, "diagnostics");
	size_t count = 0, shown = 0, of[DIAG_SEVERITY_COUNT] = {}, all;
	struct text out = {};
	struct quota quota;

	if (json_object_is_type(array, json_type_array))
		count = json_object_array_length(array);
	for (size_t i = 0; i < count; i++)
		of[severity_of(json_object_array_get_idx(array, i))]++;
	quota = quota_of(limit, of[DIAG_ERROR], of[DIAG_WARNING]);
	for (size_t i = 0; i < count; i++) {
		struct json_object *diag = json_object_array_get_idx(array, i);

		if (!quota_take(&quota, severity_of(diag)))
			continue;
		render_diag(&out, diag);
		shown++;
	}
	all = get_number(json, "errors") + get_number(json, "warnings");
	all = all > count ? all : count;
	if (shown < all)
		text_printf(&out, "and %zu more\n", all - shown);
	return text_take(&out);
}

char *diag_render(const struct diag_list *list, size_t limit)
{
	struct json_object *json = to_json(list, limit);
	char *text = json ? diag_render_json(json, limit) : NULL;

	json_object_put(json);
	return text;
}
