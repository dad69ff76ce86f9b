/* SPDX-License-Identifier: Apache-2.0 */
/* See routes.h. Here: the table, and the routes that only read. */
#include "routes.h"

#include <string.h>

#include "jsonobj.h"
#include "report.h"

static void answer(struct api_request *r, struct json_object *json, int error)
{
	if (json)
		api_answer(r, 200, json);
	else
		api_error(r, 500, "kernel", "the kernel's counters cannot be read: %s",
			  strerrordesc_np(-error));
}

static void version(void *ctx, struct api_request *r)
{
	answer(r, report_version(ctx), 0);
}

static void status(void *ctx, struct api_request *r)
{
	int error = 0;
	struct json_object *json = report_status(ctx, &error);

	answer(r, json, error);
}

static void rules(void *ctx, struct api_request *r)
{
	int error = 0;
	struct json_object *json = report_rules(ctx, &error);

	answer(r, json, error);
}

static void drops(void *ctx, struct api_request *r)
{
	int error = 0;
	struct json_object *json = report_drops(ctx, &error);

	answer(r, json, error);
}

static void policy(void *ctx, struct api_request *r)
{
	answer(r, report_policy(ctx), 0);
}

const struct api_route routes[] = {
	{ "GET", "/v1/version", true, version },
	{ "GET", "/v1/status", true, status },
	{ "GET", "/v1/rules", true, rules },
	{ "GET", "/v1/drops", true, drops },
	{ "GET", "/v1/sets", true, route_sets },
	{ "GET", "/v1/doctor", true, route_doctor },
	{ "GET", "/v1/policy", true, policy },
	{ "GET", "/v1/history", true, route_history },
	{ "GET", "/v1/accounting", true, route_accounting },
	{ "POST", "/v1/flows", true, route_flows },
	{ "POST", "/v1/check", true, route_check },
	{ "POST", "/v1/explain", true, route_explain },
	{ "POST", "/v1/set/list", true, route_set_list },
	{ "POST", "/v1/set/add", false, route_set_add },
	{ "POST", "/v1/set/del", false, route_set_del },
	{ "POST", "/v1/apply", false, route_apply },
	{ "POST", "/v1/confirm", false, route_confirm },
	{ "POST", "/v1/rollback", false, route_rollback },
	{ "POST", "/v1/attach", false, route_attach },
	{ "POST", "/v1/detach", false, route_detach },
	{ "POST", "/v1/purge", false, route_purge },
	{},
};
