/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole policy in canonical form. Sections, chains and lists of rules stand in block style, everything
 * inside them on one line. Comments are kept: one behind a value stays behind it, one on lines of its own
 * goes with the entry below, or with the one above when it is indented deeper than what follows.
 *
 * First a plan: which nodes begin a line of the output, and what is written around each. Then the text.
 */
#include "format.h"

#include <stdlib.h>
#include <string.h>

#include "policy.h"

#define LINE_COLUMNS 100  /* a longer map or list is written in block style */
#define RULE_COLUMNS 8192 /* but a rule is one line */

struct remark {
	const char *text;
	size_t len;
	bool blank; /* an empty line before it */
	struct remark *next;
};

struct remark_list {
	struct remark *first, *last;
};

/* Of a node that begins a line of the output. */
struct format_plan {
	struct tree_node *parent; /* the line it belongs to, NULL at the top */
	size_t start;             /* byte of its key or dash */
	size_t column;            /* of its key or dash in the source */
	bool block;
	bool blank; /* an empty line before it */
	struct remark_list head, foot;
	struct remark *tail;
};

struct formatter {
	struct tree_doc *doc;
	struct text out;
	VEC(struct tree_node *) lines;         /* in source order */
	VEC(const struct tree_node *) scalars; /* likewise, keys too */
	struct remark_list foot;               /* behind everything */
	bool out_of_memory;
};

/* ---- planning ----------------------------------------------------------------------------------- */

static size_t line_start(const struct formatter *f, size_t at)
{
	const size_t *lines = f->doc->lines.at;
	size_t low = 0, high = f->doc->lines.count;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (lines[middle] <= at)
			low = middle;
		else
			high = middle;
	}
	return lines[low];
}

/* True when nothing but indentation and dashes stands before it. */
static bool begins_line(const struct formatter *f, size_t at)
{
	size_t start = line_start(f, at);

	return strspn(f->doc->text + start, " -") >= at - start;
}

static bool blank_before(const struct formatter *f, size_t at)
{
	size_t start = line_start(f, at), before;

	if (!start || !begins_line(f, at))
		return false;
	before = line_start(f, start - 1);
	return strspn(f->doc->text + before, " \t\r") >= start - 1 - before;
}

/*
 * Where an entry begins: at its key, or at its dash. The dashes of a list stand in one column, and libyaml
 * says where the first one is; the value may be some lines below.
 */
static size_t entry_start(const struct formatter *f, const struct tree_node *list,
			  const struct tree_node *node)
{
	size_t column, line;

	if (node->key)
		return node->key->at;
	if (list->flow)
		return node->at;
	column = list->at - line_start(f, list->at);
	for (line = line_start(f, node->at); line > list->at; line = line_start(f, line - 1)) {
		if (strspn(f->doc->text + line, " -") > column &&
		    f->doc->text[line + column] == '-')
			return line + column;
	}
	return line + column;
}

static bool too_long(struct formatter *f, const struct tree_node *node, struct format_shape shape,
		     size_t indent)
{
	bool rule = shape.map == &schema_rule || shape.map == &schema_never_drop;
	struct text line = {};
	size_t columns;

	format_flow(&line, node, shape);
	columns = indent + line.len + (node->key ? node->key->len + 2 : 2);
	f->out_of_memory |= line.failed;
	text_done(&line);
	return columns > (rule ? RULE_COLUMNS : LINE_COLUMNS);
}

static bool is_block(struct formatter *f, const struct tree_node *node, struct format_shape shape,
		     size_t indent)
{
	if (format_single(node, shape)->kind == TREE_SCALAR || !node->count)
		return false;
	if (shape.free)
		return !node->flow || too_long(f, node, shape, indent);
	return shape.of || (shape.map && shape.map->block) || too_long(f, node, shape, indent);
}

static void remember(struct formatter *f, const struct tree_node *scalar)
{
	if (scalar->end > scalar->at && vec_push(&f->scalars, scalar))
		f->out_of_memory = true;
}

/* The scalars of a node, whose bytes are not searched for comments. */
static void find_scalars(struct formatter *f, const struct tree_node *node)
{
	if (node->key)
		remember(f, node->key);
	if (node->kind == TREE_SCALAR)
		remember(f, node);
	for (const struct tree_node *child = node->first; child; child = child->next)
		find_scalars(f, child);
}

static void plan_lines(struct formatter *f, struct tree_node *parent, struct tree_node *node,
		       struct format_shape shape, size_t indent)
{
	for (struct tree_node *child = node->first; child && !f->out_of_memory;
	     child = child->next) {
		struct format_shape child_shape = format_child_shape(shape, child);
		struct format_plan *plan = arena_alloc(&f->doc->arena, sizeof(*plan));

		if (!plan || vec_push(&f->lines, child)) {
			f->out_of_memory = true;
			return;
		}
		plan->parent = parent;
		plan->start = entry_start(f, node, child);
		plan->column = plan->start - line_start(f, plan->start);
		plan->blank = blank_before(f, plan->start);
		plan->block = is_block(f, child, child_shape, indent);
		child->plan = plan;
		if (plan->block)
			plan_lines(f, child, child, child_shape, indent + 2);
	}
}

/* ---- comments ----------------------------------------------------------------------------------- */

static void append_remark(struct remark_list *list, struct remark *new)
{
	if (list->first)
		list->last->next = new;
	else
		list->first = new;
	list->last = new;
}

/* Of the line and those it belongs to, the deepest that is not indented more than the comment. */
static struct tree_node *owner_above(struct tree_node *line, size_t column)
{
	while (line && line->plan->column > column)
		line = line->plan->parent;
	return line;
}

static void place_above(struct tree_node *line, struct remark *new)
{
	if (!line->plan->head.first) {
		new->blank = line->plan->blank;
		line->plan->blank = false;
	}
	append_remark(&line->plan->head, new);
}

static void place_remark(struct formatter *f, struct remark *new, size_t at,
			 struct tree_node *above, struct tree_node *below)
{
	size_t start = line_start(f, at), column = at - start;
	bool alone = strspn(f->doc->text + start, " 	") >= column;
	struct tree_node *owner;

	if (above && !alone && !above->plan->tail) {
		above->plan->tail = new;
		return;
	}
	if (above && (!alone || (!above->plan->block && at < above->end))) {
		place_above(above, new);
		return;
	}
	new->blank = blank_before(f, at);
	owner = owner_above(above, column);
	if (below &&
	    (!owner || below->plan->column >= column || owner->plan->column <= below->plan->column))
		append_remark(&below->plan->head, new);
	else if (owner)
		append_remark(&owner->plan->foot, new);
	else
		append_remark(&f->foot, new);
}

/* Between scalars a number sign always begins a comment. next: the first line behind it. */
static size_t take_comment(struct formatter *f, size_t at, size_t *next)
{
	struct remark *new = arena_alloc(&f->doc->arena, sizeof(*new));
	const char *text = f->doc->text + at, *end = memchr(text, '\n', f->doc->len - at);
	size_t len = end ? (size_t)(end - text) : f->doc->len - at, full = len;

	if (!new) {
		f->out_of_memory = true;
		return at + full;
	}
	while (len && strchr(" \t\r", text[len - 1]))
		len--;
	new->text = text;
	new->len = len;
	while (*next < f->lines.count && f->lines.at[*next]->plan->start < at)
		++*next;
	place_remark(f, new, at, *next ? f->lines.at[*next - 1] : NULL,
		     *next < f->lines.count ? f->lines.at[*next] : NULL);
	return at + full;
}

static void take_comments(struct formatter *f)
{
	size_t at = 0, next = 0, scalar = 0;

	while (at < f->doc->len && !f->out_of_memory) {
		while (scalar < f->scalars.count && f->scalars.at[scalar]->end <= at)
			scalar++;
		if (scalar < f->scalars.count && f->scalars.at[scalar]->at <= at)
			at = f->scalars.at[scalar]->end;
		else if (f->doc->text[at] == '#')
			at = take_comment(f, at, &next);
		else
			at++;
	}
}

/* ---- writing ------------------------------------------------------------------------------------ */

static void put_blank(struct formatter *f, bool wanted)
{
	if (wanted && f->out.len)
		text_puts(&f->out, "\n");
}

static void put_remarks(struct formatter *f, const struct remark *list, size_t indent, bool first)
{
	for (const struct remark *r = list; r; r = r->next) {
		put_blank(f, r->blank && !first);
		text_fill(&f->out, ' ', indent);
		text_add(&f->out, r->text, r->len);
		text_puts(&f->out, "\n");
		first = false;
	}
}

static void put_children(struct formatter *f, const struct tree_node *node,
			 struct format_shape shape, size_t indent);

static void put_line(struct formatter *f, const struct tree_node *node, struct format_shape shape,
		     size_t indent, bool first)
{
	const struct format_plan *plan = node->plan;

	put_remarks(f, plan->head.first, indent, first);
	put_blank(f, plan->blank && (!first || plan->head.first));
	text_fill(&f->out, ' ', indent);
	if (node->key) {
		format_scalar(&f->out, node->key);
		text_puts(&f->out, ":");
	} else {
		text_puts(&f->out, "-");
	}
	if (!plan->block && !tree_is_empty(node)) {
		text_puts(&f->out, " ");
		format_flow(&f->out, node, shape);
	}
	if (plan->tail) {
		text_puts(&f->out, "  ");
		text_add(&f->out, plan->tail->text, plan->tail->len);
	}
	text_puts(&f->out, "\n");
	if (plan->block)
		put_children(f, node, shape, indent + 2);
	put_remarks(f, plan->foot.first, indent, false);
}

static void put_children(struct formatter *f, const struct tree_node *node,
			 struct format_shape shape, size_t indent)
{
	_cleanup_free_ struct tree_node **children = format_order(node, shape, false);

	if (!children) {
		f->out_of_memory = true;
		return;
	}
	for (size_t i = 0; i < node->count; i++)
		put_line(f, children[i], format_child_shape(shape, children[i]), indent, !i);
}

static int format_doc(struct formatter *f, char **ret_text)
{
	const struct format_shape top = { .map = &schema_top };

	plan_lines(f, NULL, f->doc->root, top, 0);
	find_scalars(f, f->doc->root);
	if (!f->out_of_memory)
		take_comments(f);
	if (!f->out_of_memory && f->doc->root->count)
		put_children(f, f->doc->root, top, 0);
	else if (!f->out_of_memory)
		text_puts(&f->out, "{}\n");
	put_remarks(f, f->foot.first, 0, false);
	if (f->out_of_memory) {
		text_done(&f->out);
		return -ENOMEM;
	}
	*ret_text = text_take(&f->out);
	return *ret_text ? 0 : -ENOMEM;
}

int policy_format(struct diag_list *diags, const char *name, const char *text, size_t len,
		  char **ret_text)
{
	struct tree_doc doc;
	struct formatter f = { .doc = &doc };
	int err = tree_read(diags, name, text, len, &doc);

	if (!err && doc.root->kind != TREE_MAP && !doc.root->bad)
		diag_error(diags, doc.root->span, "wrong-type", "a policy must be a map of keys");
	if (!err && diags->out_of_memory)
		err = -ENOMEM;
	if (!err && diags->errors)
		err = -EINVAL;
	if (!err)
		err = format_doc(&f, ret_text);
	vec_done(&f.lines);
	vec_done(&f.scalars);
	tree_done(&doc);
	return err;
}
