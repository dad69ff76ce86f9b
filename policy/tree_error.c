/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libyaml stops at the first thing it cannot read, often far behind the mistake. For an open quote or
 * bracket the useful place is where it was opened (its "context"), for others where reading stopped.
 */
#include "tree_error.h"

#include <string.h>

enum where {
	AT_PROBLEM,
	AT_CONTEXT,
};

static const struct saying {
	const char *context; /* NULL: any */
	const char *problem;
	enum where where;
	const char *message;
	const char *note; /* about the other place, NULL for none */
} sayings[] = {
	{ "while scanning a quoted scalar", "found unexpected end of stream", AT_CONTEXT,
	  "quote is opened here and never closed", NULL },
	{ "while scanning a quoted scalar", "found unexpected document indicator", AT_CONTEXT,
	  "quote is opened here and never closed", NULL },
	{ "while scanning a quoted scalar", "found unknown escape character", AT_PROBLEM,
	  "unknown escape in a quoted text; write '\\\\' for a backslash", NULL },
	{ NULL, "did not find expected hexdecimal number", AT_PROBLEM,
	  "hexadecimal digits are missing in an escape", NULL },
	{ NULL, "found invalid Unicode character escape code", AT_PROBLEM,
	  "escape is no Unicode character", NULL },
	{ "while scanning a simple key", "could not find expected ':'", AT_CONTEXT,
	  "expected a key with ':' and a value", NULL },
	{ NULL, "mapping values are not allowed in this context", AT_PROBLEM,
	  "unexpected ':'; is the line above finished, or a value unquoted?", NULL },
	{ NULL, "block sequence entries are not allowed in this context", AT_PROBLEM,
	  "unexpected '-'; a list begins on a line of its own", NULL },
	{ NULL, "mapping keys are not allowed in this context", AT_PROBLEM, "unexpected '?'",
	  NULL },
	{ "while scanning an anchor", NULL, AT_PROBLEM,
	  "anchors are not part of the policy language; quote a value that begins with '&'", NULL },
	{ "while scanning an alias", NULL, AT_PROBLEM,
	  "aliases are not part of the policy language; quote a value that begins with '*'", NULL },
	{ "while scanning a tag", NULL, AT_PROBLEM,
	  "tags are not part of the policy language; quote a value that begins with '!'", NULL },
	{ NULL, "found undefined tag handle", AT_PROBLEM,
	  "tags are not part of the policy language; quote a value that begins with '!'", NULL },
	{ "while scanning a directive", NULL, AT_PROBLEM,
	  "directives are not part of the policy language", NULL },
	{ "while scanning a block scalar", NULL, AT_PROBLEM,
	  "block scalars are not part of the policy language", NULL },
	{ NULL, "found a tab character that violates indentation", AT_PROBLEM,
	  "a tab cannot indent; use spaces", NULL },
	{ "while parsing a block collection", "did not find expected '-' indicator", AT_PROBLEM,
	  "expected '-': this line is not indented like the list it follows",
	  "the list begins here" },
	{ "while parsing a block mapping", "did not find expected key", AT_PROBLEM,
	  "expected a key: this line is not indented like the others",
	  "the first of them is here" },
	{ NULL, "did not find expected <document start>", AT_PROBLEM,
	  "unexpected text behind the end of the policy; is the indentation right?", NULL },
	{ NULL, "did not find expected node content", AT_PROBLEM, "expected a value", NULL },
};

static const struct saying *find_saying(const yaml_parser_t *parser)
{
	const char *context = parser->context ? parser->context : "";
	const char *problem = parser->problem ? parser->problem : "";

	for (size_t i = 0; i < sizeof(sayings) / sizeof(sayings[0]); i++) {
		const struct saying *s = &sayings[i];

		if ((!s->context || !strcmp(s->context, context)) &&
		    (!s->problem || !strcmp(s->problem, problem)))
			return s;
	}
	return NULL;
}

/* The word at a mark; at the end of the file, the last character before it. */
static struct span word_at(const struct tree_doc *doc, yaml_mark_t mark)
{
	struct tree_place place = {};
	size_t at = tree_mark_offset(&place, doc, mark.line, mark.column), len;

	while (at && at >= doc->len)
		at--;
	while (at && (doc->text[at] == '\n' || doc->text[at] == '\r'))
		at--;
	len = strcspn(doc->text + at, " \t\r\n,[]{}:");
	if (len > doc->len - at)
		len = doc->len - at;
	return tree_span(doc, at, len ? len : 1);
}

static bool report_flow(struct diag_list *diags, const struct tree_doc *doc,
			const yaml_parser_t *parser)
{
	const char *context = parser->context ? parser->context : "";
	bool list = !strcmp(context, "while parsing a flow sequence");
	bool map = !strcmp(context, "while parsing a flow mapping");
	struct span open, stop;
	struct tree_place place = {};
	bool at_end;
	char closer;

	if (!list && !map)
		return false;
	at_end = tree_mark_offset(&place, doc, parser->problem_mark.line,
				  parser->problem_mark.column) >= doc->len;
	open = word_at(doc, parser->context_mark);
	open.len = 1;
	stop = word_at(doc, parser->problem_mark);
	closer = doc->text[doc->lines.at[stop.line - 1] + stop.col - 1];
	if (!at_end && closer == (list ? '}' : ']')) {
		diag_error(diags, open, "yaml-syntax", "'%s' is opened here and closed with '%c'",
			   list ? "[" : "{", closer);
		diag_note(diags, stop, "'%s' is expected before this", list ? "]" : "}");
	} else if (at_end) {
		diag_error(diags, open, "yaml-syntax",
			   "'%s' is opened here and the file ends before '%s'", list ? "[" : "{",
			   list ? "]" : "}");
	} else if (parser->context_mark.line != parser->problem_mark.line) {
		diag_error(diags, open, "yaml-syntax",
			   "'%s' is opened here and not closed with '%s'", list ? "[" : "{",
			   list ? "]" : "}");
		diag_note(diags, stop, "this cannot be part of it");
	} else {
		diag_error(diags, stop, "yaml-syntax", "expected ',' or '%s'", list ? "]" : "}");
		diag_note(diags, open, "'%s' is opened here", list ? "[" : "{");
	}
	return true;
}

void tree_error_report(struct diag_list *diags, const struct tree_doc *doc,
		       const yaml_parser_t *parser)
{
	const struct saying *s = find_saying(parser);
	struct span problem = word_at(doc, parser->problem_mark);
	struct span context = parser->context ? word_at(doc, parser->context_mark) : problem;

	if (parser->problem &&
	    !strcmp(parser->problem, "found character that cannot start any token")) {
		bool tab = doc->text[doc->lines.at[problem.line - 1] + problem.col - 1] == '\t';

		diag_error(diags, problem, "yaml-syntax", "%s",
			   tab ? "a tab cannot indent; use spaces"
			       : "a value cannot begin with this character; quote it");
		return;
	}
	if (report_flow(diags, doc, parser))
		return;
	if (!s) {
		diag_error(diags, problem, "yaml-syntax", "%s",
			   parser->problem ? parser->problem : "malformed");
		return;
	}
	diag_error(diags, s->where == AT_CONTEXT ? context : problem, "yaml-syntax", "%s",
		   s->message);
	if (s->note)
		diag_note(diags, context, "%s", s->note);
}
