/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Set files of any bytes. Beside not crashing: every diagnostic lies inside the file, what was read
 * is counted, and every prefix that is accepted is written as a text that reads as the same prefix.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "setfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good)
{
	if (!good)
		__builtin_trap();
}

static void check_round_trip(const struct prefix *p)
{
	char text[PREFIX_TEXT], again[PREFIX_TEXT];
	struct addr_error error;
	struct prefix back;

	prefix_format(p, text);
	must(prefix_parse(text, strlen(text), &back, &error));
	must(back.family == p->family && back.len == p->len && back.addr == p->addr);
	prefix_format(&back, again);
	must(!strcmp(text, again));
}

/* Each word as a prefix of its own: most of them would never get past the reader of lines. */
static void check_words(const char *text, size_t size)
{
	size_t from = 0;

	for (size_t i = 0; i <= size; i++) {
		struct addr_error error = {};
		struct prefix p;

		if (i < size && text[i] != ' ' && text[i] != '\n')
			continue;
		if (prefix_parse(text + from, i - from, &p, &error))
			check_round_trip(&p);
		else
			must(error.code && *error.message && error.len &&
			     (error.at + error.len <= i - from || i == from));
		from = i + 1;
	}
}

static void check_places(const struct diag_list *diags, uint64_t lines)
{
	for (size_t i = 0; i < diags->diags.count; i++) {
		must(diags->diags.at[i].span.line <= lines);
		must(diags->diags.at[i].span.col > 0 && diags->diags.at[i].span.len > 0);
	}
	must(diags->errors <= 102);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct diag_list diags = {};
	struct prefix_set set = {};
	uint64_t lines = 1;

	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n';
	must(!setfile_read(&diags, diag_add_source(&diags, "fuzz", (const char *)data, size), 1000,
			   &set));
	must(!prefix_set_seal(&set));
	must(set.given <= lines && set.duplicates + set.covered <= set.given);
	check_places(&diags, lines);
	check_words((const char *)data, size);
	prefix_set_done(&set);
	diag_done(&diags);
	return 0;
}
