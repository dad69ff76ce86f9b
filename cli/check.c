/* SPDX-License-Identifier: Apache-2.0 */
/* `penstock check`: is this policy good? Offline. */
#include <json-c/json.h>

#include "abi.h"
#include "diags.h"
#include "input.h"
#include "output.h"
#include "policy.h"
#include "stats.h"
#include "term.h"
#include "verbs.h"

static uint64_t count_rules(struct json_object *manifest)
{
	uint64_t rules = 0;

	for (size_t i = 0; i < json_count(manifest, "chains"); i++)
		rules += json_count(json_at(manifest, "chains", i), "rules");
	return rules;
}

static uint64_t count_members(struct json_object *manifest)
{
	uint64_t members = 0;

	for (size_t i = 0; i < json_count(manifest, "sets"); i++)
		members += json_number(json_at(manifest, "sets", i), "members");
	return members;
}

static void show_summary(const struct policy *policy, const char *name)
{
	char zones[TERM_COUNT], chains[TERM_COUNT], rules[TERM_COUNT], sets[TERM_COUNT];
	char members[TERM_COUNT], bytes[TERM_NUMBER];
	struct json_object *m = policy->manifest;

	term_write(stdout, name, TERM_LINE);
	printf(": good: %s, %s, %s, %s, %s, %s\n",
	       term_count(json_count(m, "zones"), "zone", zones),
	       term_count(json_count(m, "chains"), "chain", chains),
	       term_count(count_rules(m), "rule", rules),
	       term_count(json_count(m, "sets"), "set", sets),
	       term_count(count_members(m), "member", members),
	       term_bytes((uint64_t)policy->image.count * DP_LINE_BYTES, bytes));
}

static struct json_object *summary_json(const struct policy *policy, struct json_object *forecast)
{
	struct json_object *summary = json_object_new_object(), *m = policy->manifest;

	if (!summary)
		return NULL;
	json_set(summary, "zones", json_object_new_uint64(json_count(m, "zones")));
	json_set(summary, "chains", json_object_new_uint64(json_count(m, "chains")));
	json_set(summary, "rules", json_object_new_uint64(count_rules(m)));
	json_set(summary, "sets", json_object_new_uint64(json_count(m, "sets")));
	json_set(summary, "members", json_object_new_uint64(count_members(m)));
	json_set(summary, "stats", json_object_get(json_member(m, "stats")));
	json_set(summary, "forecast", json_object_get(forecast));
	return summary;
}

enum status verb_check(const struct invocation *call)
{
	_cleanup_input_ struct input in = INPUT_INIT;
	_cleanup_(policy_done) struct policy policy = {};
	_cleanup_json_ struct json_object *forecast = NULL;
	int r = input_load(&in, call->args[0], &policy);
	enum status status = diags_result(call, &policy.diags, r, in.name);

	if (status != STATUS_DONE)
		return status;
	forecast = stats_forecast(&policy);
	if (!forecast) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	if (output_json(call))
		return diags_print(&policy.diags, in.name, summary_json(&policy, forecast));
	show_summary(&policy, in.name);
	return call->value[OPTION_STATS] ? stats_show(call, &policy, forecast) : STATUS_DONE;
}
