/* SPDX-License-Identifier: Apache-2.0 */
/* Sets to filter by, the same in every run: addresses and prefixes drawn evenly from all of IPv4. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"

struct list {
	uint32_t *members; /* an address out of each prefix, host order */
	size_t count;
	char *text; /* a set file */
	size_t len;
};

/* Distinct addresses. */
int list_addresses(struct list *list, size_t count) _must_check_;

/* Of 10 prefixes 6 are /32, 3 are /24, 1 is /20 to /23: about 4 % of all addresses for a million. */
int list_prefixes(struct list *list, size_t count) _must_check_;

/* A feed: a set file of IPv4 prefixes. */
int list_read(struct list *list, const char *path) _must_check_;

void list_done(struct list *list);
