/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From facts to findings: what is broken, what is doubtful, and what is worth knowing, each with its remedy. Takes
 * facts as values and asks nobody: doctor_look.h finds them out.
 */
#pragma once

#include "attach_programs.h"
#include "inspect.h"
#include "netif_offloads.h"

struct json_object;

enum doctor_level {
	DOCTOR_OK,
	DOCTOR_NOTE,    /* worth knowing */
	DOCTOR_WARNING, /* works, and is probably not what is wanted */
	DOCTOR_BROKEN,  /* something that is wanted does not work */
	DOCTOR_LEVEL_COUNT,
};

struct doctor_finding {
	enum doctor_level level;
	const char *id;      /* stable, for programs */
	const char *subject; /* a device, a set, …; NULL: the daemon */
	const char *remedy;  /* NULL: none is needed */
};

/* Appends {id, level, subject, text, remedy}. */
void doctor_say(struct json_object *rows, const struct doctor_finding *f, const char *format, ...)
	_printf_(3, 4);

#define DOCTOR_REMEDY 256

/* ---- devices --------------------------------------------------------------------------------------- */

/* One direction of a device. */
struct doctor_place {
	bool wanted, attached;
	enum attach_mode mode;
	char *why; /* as in struct attach_state; owned */
};

struct doctor_dev {
	struct netif_dev dev;
	enum model_hook hook;
	struct doctor_place at[DP_DIR_COUNT];
	struct netif_offloads offloads;
	struct attach_programs programs;
	struct netif_dev peer; /* ifindex 0: none, or not to be seen */
	struct netif_offloads peer_offloads;
	bool peer_xdp;
};

VEC_NAMED(doctor_devs, struct doctor_dev);

/* "id 7 ('their_filter', loaded by uid 0)": who a program is. The result is buf. */
#define DOCTOR_WHO (INSPECT_TEXT + 32)
typedef const char *doctor_name_fn(void *ctx, uint32_t prog, char buf[static DOCTOR_WHO]);

void doctor_judge_dev(struct json_object *rows, const struct doctor_dev *dev, doctor_name_fn *name,
		      void *ctx);

/* ---- the rest, by what the API says of it ------------------------------------------------------------- */

/* The answers of GET /v1/status and GET /v1/sets. */
void doctor_judge_status(struct json_object *rows, struct json_object *status);
void doctor_judge_sets(struct json_object *rows, struct json_object *sets);
