/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, durations, rates, words, names, ports, addresses: values by the schema's types. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "names.h"
#include "str.h"

bool parse_decimal(const char *text, size_t len, uint64_t *ret)
{
	uint64_t number = 0;

	if (!len || (len > 1 && text[0] == '0'))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number))
			number = UINT64_MAX;
		if (number == UINT64_MAX)
			break;
	}
	*ret = number;
	return strspn(text, "0123456789") >= len;
}

/* A decimal number and k or M. */
static bool parse_amount(const char *text, size_t len, uint64_t *ret)
{
	uint64_t unit = 1;

	if (len && text[len - 1] == 'k')
		unit = 1000;
	else if (len && text[len - 1] == 'M')
		unit = 1000000;
	if (!parse_decimal(text, unit == 1 ? len : len - 1, ret))
		return false;
	if (__builtin_mul_overflow(*ret, unit, ret))
		*ret = UINT64_MAX;
	return true;
}

static const char *print_amount(struct check *c, uint64_t number)
{
	if (number && number % 1000000 == 0)
		return print(c, "%" PRIu64 "M", number / 1000000);
	if (number && number % 1000 == 0)
		return print(c, "%" PRIu64 "k", number / 1000);
	return print(c, "%" PRIu64, number);
}

bool check_number(struct check *c, const struct schema_key *key, const struct tree_node *node,
		  uint64_t *ret)
{
	if (parse_amount(node->text, node->len, ret) && *ret >= key->min && *ret <= key->max)
		return true;
	diag_error(c->diags, node->span, "bad-number",
		   "'%s' must be a decimal number between %s and %s, not '%s'", key->name,
		   print_amount(c, key->min), print_amount(c, key->max), quote_node(c, node));
	return false;
}

static const struct unit {
	const char *name;
	uint64_t ms;
} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };

bool parse_duration(const char *text, size_t len, uint64_t *ret_ms)
{
	size_t digits = strspn(text, "0123456789");

	if (digits == len)
		return parse_decimal(text, len, ret_ms) && *ret_ms == 0;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(text + digits, units[i].name) != 0 ||
		    digits + strlen(units[i].name) != len)
			continue;
		if (!parse_decimal(text, digits, ret_ms))
			return false;
		if (__builtin_mul_overflow(*ret_ms, units[i].ms, ret_ms))
			*ret_ms = UINT64_MAX;
		return true;
	}
	return false;
}

static const char *print_duration(struct check *c, uint64_t ms)
{
	for (size_t i = sizeof(units) / sizeof(units[0]); i-- > 0 && ms;) {
		if (ms % units[i].ms == 0)
			return print(c, "%" PRIu64 "%s", ms / units[i].ms, units[i].name);
	}
	return "0";
}

bool check_duration(struct check *c, const struct schema_key *key, const struct tree_node *node,
		    uint64_t *ret_ms)
{
	if (!parse_duration(node->text, node->len, ret_ms)) {
		diag_error(c->diags, node->span, "bad-duration",
			   "'%s' must be a number with a unit, ms, s, m or h, not '%s'", key->name,
			   quote_node(c, node));
		return false;
	}
	if (*ret_ms >= key->min && *ret_ms <= key->max)
		return true;
	diag_error(c->diags, node->span, "bad-duration", "'%s' must be between %s and %s, not '%s'",
		   key->name, print_duration(c, key->min), print_duration(c, key->max),
		   quote_node(c, node));
	return false;
}

bool check_rate(struct check *c, const struct schema_key *key, const struct tree_node *node)
{
	const char *slash = memchr(node->text, '/', node->len);
	size_t len = slash ? (size_t)(slash - node->text) : node->len;
	uint64_t rate;

	if (!slash || node->len != len + 2 || !strchr("smh", slash[1]) ||
	    !parse_amount(node->text, len, &rate)) {
		diag_error(
			c->diags, node->span, "bad-rate",
			"'%s' must be a number by unit of time, such as 10k/s; units are s, m and h, not '%s'",
			key->name, quote_node(c, node));
		return false;
	}
	if (rate >= key->min && rate <= key->max)
		return true;
	diag_error(c->diags, node->span, "bad-rate",
		   "'%s' must be between %s and %s by unit of time, not '%s'", key->name,
		   print_amount(c, key->min), print_amount(c, key->max), quote_node(c, node));
	return false;
}

bool check_percent(struct check *c, const struct schema_key *key, const struct tree_node *node)
{
	uint64_t percent;

	if (node->len && node->text[node->len - 1] == '%' &&
	    parse_decimal(node->text, node->len - 1, &percent) && percent <= key->max)
		return true;
	diag_error(c->diags, node->span, "bad-number",
		   "'%s' must be between 0%% and %" PRIu64 "%%, not '%s'", key->name, key->max,
		   quote_node(c, node));
	return false;
}

#define MAX_WORDS 8

static const char *list_words(struct check *c, const struct schema_key *key)
{
	const char *list = key->words[0].word;

	for (size_t i = 1; i < key->word_count; i++) {
		if (!key->words[i].later)
			list = print(c, "%s, %s", list, key->words[i].word);
	}
	return list;
}

int check_word(struct check *c, const struct schema_key *key, const struct tree_node *node)
{
	const char *words[MAX_WORDS], *near;
	size_t count = 0;

	for (size_t i = 0; i < key->word_count && count < MAX_WORDS; i++) {
		words[count++] = key->words[i].word;
		if (strcmp(key->words[i].word, node->text) != 0)
			continue;
		if (key->words[i].later && !(key->flags & SCHEMA_LATER))
			diag_error(c->diags, node->span, "not-carried-out",
				   "'%s: %s' is not carried out yet by this version", key->name,
				   node->text);
		return (int)i;
	}
	near = diag_nearest(node->text, words, count);
	if (near)
		diag_error(c->diags, node->span, "bad-choice",
			   "'%s' must be one of %s, not '%s'; did you mean '%s'?", key->name,
			   list_words(c, key), quote_node(c, node), near);
	else
		diag_error(c->diags, node->span, "bad-choice", "'%s' must be one of %s, not '%s'",
			   key->name, list_words(c, key), quote_node(c, node));
	return -1;
}

bool check_name(struct check *c, const char *what, const struct tree_node *node)
{
	if (node->bad)
		return false;
	if (name_is_valid(node->text, node->len))
		return true;
	diag_error(c->diags, node->span, "bad-name",
		   "%s name must be 1-63 of A-Z a-z 0-9 _ . - and not start with '-', not '%s'",
		   what, quote_node(c, node));
	return false;
}

static void report_port(struct check *c, const struct tree_node *node, const char *text, size_t len,
			struct span span)
{
	const char *quoted = diag_quote(c->diags, text, len),
		   *near = names_nearest(&names_services, node->text);
	int known = names_find(&names_services, node->text);
	uint64_t number;

	if (known >= 0)
		diag_error(c->diags, span, "bad-port", "port must be a number; '%s' is %d", quoted,
			   known);
	else if (near)
		diag_error(c->diags, span, "bad-port",
			   "port must be a number, not '%s'; did you mean %d (%s)?", quoted,
			   names_find(&names_services, near), near);
	else if (parse_decimal(text, len, &number))
		diag_error(c->diags, span, "bad-port", "port must be between 0 and 65535, not '%s'",
			   quoted);
	else
		diag_error(c->diags, span, "bad-port",
			   "port must be a decimal number between 0 and 65535, not '%s'", quoted);
}

static bool parse_port(struct check *c, const struct tree_node *node, size_t at, size_t len,
		       uint16_t *ret)
{
	uint64_t number;

	if (parse_decimal(node->text + at, len, &number) && number <= UINT16_MAX) {
		*ret = (uint16_t)number;
		return true;
	}
	report_port(c, node, node->text + at, len, tree_part(node, at, len));
	return false;
}

bool check_port(struct check *c, const struct tree_node *node, uint16_t *ret)
{
	return parse_port(c, node, 0, node->len, ret);
}

static bool check_range(struct check *c, const struct tree_node *node, struct model_range *ret)
{
	size_t first = strspn(node->text, "0123456789"), last;
	const char *quoted;

	if (node->text[first] != '-' ||
	    (!first && node->len > 1 && strspn(node->text + 1, "0123456789") == 0)) {
		if (!parse_port(c, node, 0, node->len, &ret->first))
			return false;
		ret->last = ret->first;
		return true;
	}
	quoted = quote_node(c, node);
	last = node->len - first - 1;
	if (!first || !last || strspn(node->text + first + 1, "0123456789") != last) {
		diag_error(
			c->diags, node->span, "bad-range",
			"'%s' is no port from 0 to 65535 and no range; a range is written FIRST-LAST",
			quoted);
		return false;
	}
	if (!parse_port(c, node, 0, first, &ret->first) ||
	    !parse_port(c, node, first + 1, last, &ret->last))
		return false;
	if (ret->first <= ret->last)
		return true;
	diag_error(c->diags, node->span, "bad-range",
		   "range '%s' is reversed; did you mean '%u-%u'?", quoted, ret->last, ret->first);
	return false;
}

bool check_ports(struct check *c, const struct schema_key *key, const struct tree_node *node,
		 struct range_list *ret)
{
	bool good = value_count(node) > 0;

	check_room(c, ret, value_count(node));
	if (!good)
		diag_error(c->diags, node->span, "wrong-type", "'%s' is an empty list", key->name);
	for (const struct tree_node *v = value_first(node); v; v = value_next(node, v)) {
		struct model_range range;

		if (check_value(c, key, v) && check_range(c, v, &range))
			check_push(ret, range);
		else
			good = false;
	}
	ranges_seal(ret);
	return good;
}

bool check_address(struct check *c, const struct tree_node *node, struct prefix *ret)
{
	struct addr_error error = {};
	const char *slash = memchr(node->text, '/', node->len);

	if (!prefix_parse(node->text, node->len, ret, &error)) {
		diag_error(c->diags, tree_part(node, error.at, error.len), error.code, "%s",
			   error.message);
		return false;
	}
	if (!slash)
		return true;
	diag_error(c->diags, tree_part(node, (size_t)(slash - node->text), node->len),
		   "bad-address", "an address is expected, not a prefix");
	return false;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct model_range *x = a, *y = b;

	return x->first != y->first ? (x->first < y->first ? -1 : 1)
				    : (x->last > y->last) - (x->last < y->last);
}

void ranges_seal(struct range_list *ranges)
{
	size_t kept = 0;

	if (ranges->count < 2)
		return;
	qsort(ranges->at, ranges->count, sizeof(*ranges->at), compare_ranges);
	for (size_t i = 1; i < ranges->count; i++) {
		struct model_range *last = &ranges->at[kept], next = ranges->at[i];

		if ((uint32_t)next.first > (uint32_t)last->last + 1)
			ranges->at[++kept] = next;
		else if (next.last > last->last)
			last->last = next.last;
	}
	ranges->count = kept + 1;
}

const struct tree_node *value_first(const struct tree_node *node)
{
	return node->kind == TREE_LIST ? node->first : node;
}

const struct tree_node *value_next(const struct tree_node *node, const struct tree_node *value)
{
	return node->kind == TREE_LIST ? value->next : NULL;
}

size_t value_count(const struct tree_node *node)
{
	return node->kind == TREE_LIST ? node->count : 1;
}

bool check_value(struct check *c, const struct schema_key *key, const struct tree_node *value)
{
	if (value->bad)
		return false;
	if (value->kind == TREE_SCALAR && !tree_is_empty(value))
		return true;
	diag_error(c->diags, value->span, "wrong-type", "'%s' must be %s; %s stands in the list",
		   key->name, schema_types[key->kind].expects,
		   value->kind == TREE_LIST  ? "another list"
		   : value->kind == TREE_MAP ? "a map"
					     : "nothing");
	return false;
}

const char *quote_node(struct check *c, const struct tree_node *node)
{
	return diag_quote(c->diags, node->text, node->len);
}

void *check_alloc(struct check *c, size_t bytes)
{
	void *at = arena_alloc(&c->model->arena, bytes ? bytes : 1);

	if (!at)
		c->out_of_memory = true;
	return at;
}

const char *print(struct check *c, const char *format, ...)
{
	va_list args;
	char line[256], *kept;

	va_start(args, format);
	(void)vsnprintf(line, sizeof(line), format, args); /* a longer phrase may be cut */
	va_end(args);
	kept = arena_strndup(&c->diags->arena, line, strlen(line));
	if (!kept)
		c->out_of_memory = true;
	return kept ? kept : "";
}
