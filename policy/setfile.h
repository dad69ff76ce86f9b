/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Set files as feeds write them: one address or prefix a line; `#` and `;` begin a comment; text after
 * the first white space is ignored; empty lines, CRLF and a byte order mark are accepted.
 */
#pragma once

#include "addr.h"
#include "diag.h"

#define SETFILE_MAX_BYTES (600u * 1000 * 1000)
#define SETFILE_MAX_LINE  4096

/*
 * Reads text (source `source` of the list) into set, unsealed. Errors go to diags, each at its line, at
 * most 100 for one file and then one that counts the rest. max: prefixes allowed, 0 for no limit; the
 * error names file, limit and need. 0, or -ENOMEM; bad lines are not a failure of the function.
 */
int setfile_read(struct diag_list *diags, uint32_t source, uint64_t max,
		 struct prefix_set *set) _must_check_;
