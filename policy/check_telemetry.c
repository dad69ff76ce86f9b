/* SPDX-License-Identifier: Apache-2.0 */
/* telemetry: numbers, rates and times. `drops` and `http` are checked in full, not carried out. */
#include <string.h>

#include "check.h"

static void check_flows(struct check *c, struct tree_node *node)
{
	struct tree_node *slots[FLOWS_KEY_COUNT];
	struct model *m = c->model;

	m->flow_slots = MODEL_FLOW_SLOTS;
	m->flow_idle_ms = MODEL_FLOW_IDLE_MS;
	(void)schema_bind(c->diags, &schema_flows, "'flows'", node,
			  slots); /* every result: for its messages */
	if (slots[FLOWS_SLOTS])
		(void)check_number(c, &schema_flows.keys[FLOWS_SLOTS], slots[FLOWS_SLOTS],
				   &m->flow_slots);
	if (slots[FLOWS_IDLE])
		(void)check_duration(c, &schema_flows.keys[FLOWS_IDLE], slots[FLOWS_IDLE],
				     &m->flow_idle_ms);
}

static void check_drops(struct check *c, struct tree_node *node)
{
	struct tree_node *slots[DROPS_KEY_COUNT];
	uint64_t number;

	(void)schema_bind(c->diags, &schema_drops, "'drops'", node, slots); /* likewise */
	if (slots[DROPS_EVENTS])
		(void)check_rate(c, &schema_drops.keys[DROPS_EVENTS], slots[DROPS_EVENTS]);
	if (slots[DROPS_SNAP])
		(void)check_number(c, &schema_drops.keys[DROPS_SNAP], slots[DROPS_SNAP], &number);
}

static void check_http(struct check *c, struct tree_node *node)
{
	struct tree_node *slots[HTTP_KEY_COUNT], *ports;
	struct range_list ranges;
	uint64_t number;

	(void)schema_bind(c->diags, &schema_http, "'http'", node, slots); /* likewise */
	ports = slots[HTTP_PORTS];
	if (ports && (ports->kind != TREE_SCALAR || strcmp(ports->text, "auto") != 0))
		(void)check_ports(c, &schema_http.keys[HTTP_PORTS], ports, &ranges);
	if (slots[HTTP_PATHS])
		(void)check_number(c, &schema_http.keys[HTTP_PATHS], slots[HTTP_PATHS], &number);
	if (slots[HTTP_TIMEOUT])
		(void)check_duration(c, &schema_http.keys[HTTP_TIMEOUT], slots[HTTP_TIMEOUT],
				     &number);
}

void check_telemetry(struct check *c, struct tree_node *node)
{
	struct tree_node *slots[TELEMETRY_KEY_COUNT];

	if (!node)
		return;
	(void)schema_bind(c->diags, &schema_telemetry, "'telemetry'", node, slots); /* likewise */
	if (slots[TELEMETRY_FLOWS])
		check_flows(c, slots[TELEMETRY_FLOWS]);
	if (slots[TELEMETRY_DROPS])
		check_drops(c, slots[TELEMETRY_DROPS]);
	if (slots[TELEMETRY_HTTP])
		check_http(c, slots[TELEMETRY_HTTP]);
}
