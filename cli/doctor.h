/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `penstock doctor` finds out by itself, as the caller: the kernel, its settings, the rights of processes. The
 * daemon says the rest. All append findings as docs/api.md has them.
 */
#pragma once

#include "cleanup.h"

struct json_object;

enum doctor_level {
	DOCTOR_BROKEN,
	DOCTOR_WARNING,
	DOCTOR_NOTE,
	DOCTOR_OK,
	DOCTOR_LEVEL_COUNT,
};

extern const char *const doctor_levels[DOCTOR_LEVEL_COUNT];

struct doctor_finding {
	enum doctor_level level;
	const char *id, *subject;
	const char *remedy; /* NULL: none is needed */
};

void doctor_add(struct json_object *rows, const struct doctor_finding *f, const char *format, ...)
	_printf_(3, 4);

/* What the programs need of the kernel, each tried. Without the right to try: a finding that says so. */
void doctor_kernel(struct json_object *rows);

/* Settings of the machine. */
void doctor_host(struct json_object *rows);

/* Whether pins can be made, for a start to come. */
void doctor_bpffs(struct json_object *rows);

/* What penstockd and penstock-inspect may do; 0 for one that does not run. */
void doctor_rights(struct json_object *rows, int daemon, int inspector);
