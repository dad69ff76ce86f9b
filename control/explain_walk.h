/* SPDX-License-Identifier: Apache-2.0 */
/* How the program came to its verdict on a frame, in names: `walk` of docs/api.md. */
#pragma once

struct explain_answer;
struct generation;
struct generation_chain;
struct json_object;

/* g: the generation that the answer is about, c: its chain at the place that was asked for, NULL for none. */
struct json_object *explain_walk(const struct generation *g, const struct generation_chain *c,
				 const struct explain_answer *a);
