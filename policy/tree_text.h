/* SPDX-License-Identifier: Apache-2.0 */
/* The first look at a policy's bytes, before any YAML: is it text, and within the limits? */
#pragma once

#include "tree.h"

/* Fills doc->lines. 0; -EINVAL with errors that make reading on pointless; -ENOMEM. */
int tree_check_text(struct diag_list *diags, struct tree_doc *doc) _must_check_;
