/* SPDX-License-Identifier: Apache-2.0 */
/* What libyaml says about malformed text, said so that it helps. For tree.c alone. */
#pragma once

#include <yaml.h>

#include "tree.h"

/* Where the last mark was, so that the next one need not be searched from the start of the line. */
struct tree_place {
	bool known;
	size_t line, column, at;
};

/* The byte of a mark: libyaml counts lines and columns from 0, columns in characters. */
size_t tree_mark_offset(struct tree_place *p, const struct tree_doc *doc, size_t line,
			size_t column);

void tree_error_report(struct diag_list *diags, const struct tree_doc *doc,
		       const yaml_parser_t *parser);
