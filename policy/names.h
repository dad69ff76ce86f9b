/* SPDX-License-Identifier: Apache-2.0 */
/* The names that stand for numbers in a policy: protocols, ICMP types and codes, TCP flags. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct name_number {
	const char *name;
	uint16_t number;
};

struct name_table {
	const struct name_number *at;
	size_t count;
};

enum name_family {
	NAME_ICMP4,
	NAME_ICMP6,
	NAME_FAMILY_COUNT,
};

extern const struct name_table names_protocols;       /* what `proto` takes */
extern const struct name_table names_other_protocols; /* known, but written as numbers */
extern const struct name_table names_flags;           /* bits of the TCP flags byte */
extern const struct name_table names_services;        /* known ports, for hints alone */
extern const struct name_table names_icmp_types[NAME_FAMILY_COUNT];

/* The codes of a type, empty when it has none with a name. */
struct name_table names_icmp_codes(enum name_family family, uint8_t type);

/* The number of a name, -1 when the table has none such. */
int names_find(const struct name_table *table, const char *name);

/* The name nearest to a misspelt one, NULL when none is near. */
const char *names_nearest(const struct name_table *table, const char *name);
