/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What to measure, as bench/run writes it, in JSON; unknown keys are errors:
 *   rounds, frames, sample_ms, cpu   times every row is measured; a sample's most frames and about its time
 *   headers: [{name, file, draw}]          lists to send, see headers.h; draw: that many, at random
 *   policies: [{name, file}]               of penstock; set files lie beside the policy
 *   rows: [{
 *     name, target       enum target, by the name beside it
 *     headers            a list; none: UDP from random sources out of all of IPv4
 *     policy             of penstock
 *     members            of xdp-filter: the list whose sources it has
 *     flows              of penstock: the list whose headers are of live flows, no others are
 *     banned             of penstock: the list whose sources are the run-time members of the policy's first such set
 *     by_rule            a rule decides every frame, not the default; counted, and checked
 *     last_rule          and it is rule number N of the policy, from 1
 *     hot                the first header of the list over and over in the plain test run
 *     passes             hot rows: the program passes the frame; all others drop it
 *     setup, on, off     of commands: each a list of argument lists
 *   }]
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"
#include "sample.h"

#define TARGETS(X)                                                       \
	X(NOWHERE, "nowhere")   /* the generator alone */                \
	X(XDP_DROP, "xdp-drop") /* drops, and does nothing else */       \
	X(TC_DROP, "tc-drop")   /* likewise */                           \
	X(PENSTOCK, "penstock") /* at XDP */                             \
	X(PENSTOCK_TC, "penstock-tc")                                    \
	X(XDP_FILTER_DENY, "xdp-filter-deny")   /* drops the members */  \
	X(XDP_FILTER_ALLOW, "xdp-filter-allow") /* drops all but them */ \
	X(XDP_FILTER_PORT, "xdp-filter-port")   /* drops one UDP port */ \
	X(COMMANDS, "commands")                 /* whatever programs set up on the device */

#define TARGET_ENUM(name, text) TARGET_##name,
enum target {
	TARGETS(TARGET_ENUM) TARGET_COUNT,
};

#define SPEC_NONE (-1)

struct json_object;

struct row {
	const char *name; /* of the JSON */
	enum target target;
	int headers, policy, members, flows, banned; /* indices, SPEC_NONE for none */
	bool by_rule, hot, passes;
	uint32_t last_rule;           /* 0: not said */
	struct json_object *on, *off; /* NULL for none */
	struct json_object *setup;    /* likewise */
	uint64_t frames;              /* of a sample; 0 until the first one */
	double setup_ms;              /* -1: it was not asked for */
	char *absent;                 /* why the row is not measured, owned; NULL: it is */
	unsigned long lost;           /* samples with a frame that was not accounted for */
	struct samples samples;
};

struct named_file {
	const char *name, *path;
	uint32_t draw; /* 0: not asked for */
};

struct spec {
	struct json_object *json; /* owns all strings */
	unsigned long rounds;
	uint64_t frames;
	double sample_ms;
	int cpu;
	struct named_file *headers, *policies;
	struct row *rows;
	size_t header_count, policy_count, row_count;
};

/* -EINVAL, said on stderr, when the file is not as above. *ret is to be released in every case. */
int spec_read(struct spec *ret, const char *path) _must_check_;
void spec_done(struct spec *spec);

const char *target_name(enum target target);
