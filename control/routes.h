/* SPDX-License-Identifier: Apache-2.0 */
/* The table of docs/api.md. Handlers get the daemon as ctx; one file for each group. */
#pragma once

#include "api.h"

struct apply_outcome;
struct daemon;
struct json_object;

extern const struct api_route routes[];

void route_apply(void *ctx, struct api_request *r);
void route_confirm(void *ctx, struct api_request *r);
void route_rollback(void *ctx, struct api_request *r);
void route_history(void *ctx, struct api_request *r);
void route_check(void *ctx, struct api_request *r);
void route_attach(void *ctx, struct api_request *r);
void route_detach(void *ctx, struct api_request *r);
void route_purge(void *ctx, struct api_request *r);
void route_explain(void *ctx, struct api_request *r);
void route_set_add(void *ctx, struct api_request *r);
void route_set_del(void *ctx, struct api_request *r);
void route_set_list(void *ctx, struct api_request *r);
void route_accounting(void *ctx, struct api_request *r);
void route_flows(void *ctx, struct api_request *r);
void route_sets(void *ctx, struct api_request *r);
void route_doctor(void *ctx, struct api_request *r);

/* The answer of GET /v1/sets. */
struct json_object *route_sets_report(const struct daemon *d);

/* What apply says when it is done, and when it could not begin. */
void route_apply_done(void *ctx, const struct apply_outcome *o);
void route_apply_not_started(struct api_request *r, int error);

/* For what must wait until a change is confirmed or undone. */
void route_to_confirm(struct api_request *r);

/* For a daemon that stops: who waits for a list to be read gets an answer. */
void route_set_cancel_all(struct daemon *d);
