/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From facts to findings, with facts that no machine here has: NICs with hardware offloads, drivers that refuse,
 * chains of other people's programs. Rules out findings that are said of every device, or of none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "control/doctor.h"

static struct json_object *rows;

static int begin(void **state)
{
	(void)state;
	rows = json_object_new_array();
	return 0;
}

static int end(void **state)
{
	(void)state;
	json_object_put(rows);
	return 0;
}

static const char *text(struct json_object *row, const char *key)
{
	const char *value = json_object_get_string(json_object_object_get(row, key));

	return value ? value : "";
}

static struct json_object *find(const char *id)
{
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		if (!strcmp(text(row, "id"), id))
			return row;
	}
	return NULL;
}

static void check_part(struct json_object *row, const char *key, const char *part)
{
	if (!strstr(text(row, key), part))
		fail_msg("'%s' is not in the %s of %s", part, key, text(row, "id"));
}

/* There is a finding of this level whose text and remedy have these parts. */
static void found(const char *id, const char *level, const char *said, const char *remedy)
{
	struct json_object *row = find(id);

	if (!row)
		fail_msg("no finding '%s' in %s", id, json_object_to_json_string(rows));
	assert_string_equal(text(row, "level"), level);
	check_part(row, "text", said);
	check_part(row, "remedy", remedy);
}

static void not_found(const char *id)
{
	if (find(id))
		fail_msg("'%s' is found in %s", id, json_object_to_json_string(rows));
}

static const char *who(void *ctx, uint32_t prog, char buf[static DOCTOR_WHO])
{
	(void)ctx;
	(void)snprintf(buf, DOCTOR_WHO, "program %u", prog);
	return buf;
}

static struct doctor_dev nic(enum model_hook hook, enum attach_mode mode)
{
	struct doctor_dev dev = { .dev = { .ifindex = 2, .name = "eth0", .up = true, .mtu = 1500 },
				  .hook = hook };

	dev.at[DP_INGRESS] =
		(struct doctor_place){ .wanted = true, .attached = true, .mode = mode };
	return dev;
}

static void judge(const struct doctor_dev *dev)
{
	json_object_put(rows);
	rows = json_object_new_array();
	doctor_judge_dev(rows, dev, who, NULL);
}

/* ---- devices --------------------------------------------------------------------------------------- */

static void a_good_nic_is_good(void **state)
{
	struct doctor_dev dev = nic(MODEL_HOOK_AUTO, ATTACH_XDP_NATIVE);

	(void)state;
	dev.offloads = (struct netif_offloads){ .tx_checksum = true, .tso = true, .gro = true };
	judge(&dev);
	found("mode", "ok", "XDP, native: the first choice", "");
	assert_int_equal(json_object_array_length(rows), 1);
}

static void modes_have_reasons(void **state)
{
	char refused[] = "the driver refused native XDP: Operation not supported";
	struct doctor_dev dev = nic(MODEL_HOOK_AUTO, ATTACH_TCX);

	(void)state;
	dev.at[DP_INGRESS].why = refused;
	judge(&dev);
	found("mode", "warning", refused, "driver");
	dev = nic(MODEL_HOOK_XDP_GENERIC, ATTACH_XDP_GENERIC);
	judge(&dev);
	found("mode", "note", "generic, as the policy says", "'hook: auto'");
	dev = nic(MODEL_HOOK_AUTO, ATTACH_TCX);
	(void)snprintf(dev.dev.kind, sizeof(dev.dev.kind), "veth");
	judge(&dev);
	found("mode", "ok", "segmentation offload", "");
	dev = nic(MODEL_HOOK_TC, ATTACH_CLSACT);
	dev.at[DP_EGRESS] = dev.at[DP_INGRESS];
	judge(&dev);
	found("mode", "ok", "TC, by clsact: as the policy says", "");
	assert_int_equal(json_object_array_length(rows), 2);
}

static void what_is_not_attached_is_broken(void **state)
{
	char why[] = "the driver refused native XDP: Numerical result out of range";
	struct doctor_dev dev = nic(MODEL_HOOK_XDP, ATTACH_XDP_NATIVE);

	(void)state;
	dev.at[DP_INGRESS].attached = false;
	dev.at[DP_INGRESS].why = why;
	judge(&dev);
	found("not-attached", "broken", "ingress is NOT filtered: the driver", "'hook: auto'");
	dev.dev.mtu = 9000;
	judge(&dev);
	found("not-attached", "broken", why, "ip link set dev eth0 mtu 1500");
	(void)vec_push(&dev.programs,
		       (struct attach_program){ .mode = ATTACH_XDP_GENERIC, .prog = 7 });
	judge(&dev);
	found("not-attached", "broken", "another XDP program is attached: program 7",
	      "ip link set dev eth0 xdpgeneric off");
	not_found("in-front");
	vec_done(&dev.programs);
}

/* Of eight programs those that packets of the direction meet before ours. */
static void who_comes_first_is_named(void **state)
{
	static const struct attach_program all[] = {
		{ .mode = ATTACH_XDP_NATIVE, .prog = 1 },
		{ .mode = ATTACH_TCX, .prog = 2 },
		{ .mode = ATTACH_TCX, .prog = 3, .ours = true },
		{ .mode = ATTACH_TCX, .prog = 4 },
		{ .mode = ATTACH_CLSACT, .kind = "flower", .priority = 5 },
		{ .dir = DP_EGRESS, .mode = ATTACH_CLSACT, .kind = "flower", .priority = 6 },
		{ .dir = DP_EGRESS, .mode = ATTACH_CLSACT, .prog = 7, .priority = 7 },
		{ .dir = DP_EGRESS,
		  .mode = ATTACH_CLSACT,
		  .prog = 3,
		  .priority = 10,
		  .ours = true },
	};
	static const char *const said[] = { "program 1 at XDP, native comes first at ingress",
					    "program 2 at TC, by TCX comes first at ingress",
					    "a filter 'flower' of priority 6",
					    "program 7 at TC, by clsact comes first at egress" };
	static const char *const remedies[] = { "ip link set dev eth0 xdpdrv off",
						"bpftool net detach tcx_ingress dev eth0",
						"tc filter del dev eth0 egress pref 6",
						"tc filter del dev eth0 egress pref 7" };
	struct doctor_dev dev = nic(MODEL_HOOK_TC, ATTACH_TCX);
	size_t count = 0;

	(void)state;
	dev.at[DP_EGRESS] = dev.at[DP_INGRESS];
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		assert_int_equal(vec_push(&dev.programs, all[i]), 0);
	judge(&dev);
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		if (strcmp(text(row, "id"), "in-front") != 0)
			continue;
		assert_in_range(count, 0, 3);
		check_part(row, "text", said[count]);
		check_part(row, "remedy", remedies[count++]);
	}
	assert_int_equal(count, 4);
	vec_done(&dev.programs);
}

static struct doctor_dev veth(enum attach_mode mode)
{
	struct doctor_dev dev = nic(MODEL_HOOK_XDP, mode);

	(void)snprintf(dev.dev.kind, sizeof(dev.dev.kind), "veth");
	dev.peer = (struct netif_dev){ .ifindex = 3, .name = "veth1", .up = true, .mtu = 1500 };
	dev.peer_offloads = (struct netif_offloads){ .tso = true, .gro = true };
	return dev;
}

static void a_veth_depends_on_its_other_end(void **state)
{
	struct doctor_dev dev = veth(ATTACH_XDP_NATIVE);

	(void)state;
	judge(&dev);
	assert_int_equal(json_object_array_length(rows), 1);
	dev.peer_offloads = (struct netif_offloads){ .tx_checksum = true };
	dev.peer.mtu = 9000;
	judge(&dev);
	found("veth-segmentation", "warning", "veth1", "'hook: tc'");
	found("veth-peer", "note", "neither a program at XDP nor GRO", "ethtool -K veth1 gro on");
	found("partial-checksums", "note", "veth1", "ethtool -K veth1 tx off");
	found("mtu", "warning", "1500, that of veth1, its other end, 9000",
	      "ip link set dev veth1 mtu 1500");
	dev.peer_xdp = true;
	judge(&dev);
	not_found("veth-peer");
	dev = veth(ATTACH_TCX);
	dev.peer_offloads = (struct netif_offloads){ .tx_checksum = true };
	judge(&dev);
	assert_int_equal(json_object_array_length(rows), 1);
	dev = veth(ATTACH_XDP_NATIVE);
	dev.peer = (struct netif_dev){};
	dev.dev.peer_elsewhere = true;
	judge(&dev);
	found("veth-peer", "note", "another network namespace and cannot be looked at", "ethtool");
}

static void hardware_that_puts_packets_together(void **state)
{
	struct doctor_dev dev = nic(MODEL_HOOK_AUTO, ATTACH_XDP_NATIVE);

	(void)state;
	dev.offloads.lro = true;
	judge(&dev);
	found("receive-offload", "warning", "(LRO)", "ethtool -K eth0 lro off");
	dev.offloads = (struct netif_offloads){ .gro_hw = true };
	judge(&dev);
	found("receive-offload", "warning", "(rx-gro-hw)", "rx-gro-hw off");
	dev.at[DP_INGRESS].mode = ATTACH_TCX;
	dev.dev.up = false;
	judge(&dev);
	not_found("receive-offload");
	found("down", "note", "is down", "ip link set dev eth0 up");
}

/* ---- the rest -------------------------------------------------------------------------------------- */

static void judge_status(const char *json)
{
	struct json_object *status = json_tokener_parse(json);

	assert_non_null(status);
	json_object_put(rows);
	rows = json_object_new_array();
	doctor_judge_status(rows, status);
	json_object_put(status);
}

static void the_policy_is_looked_at(void **state)
{
	(void)state;
	judge_status("{\"policy\": null}");
	found("no-policy", "warning", "every packet passes", "penstock apply");
	judge_status("{\"policy\": {\"file\": null, \"generation\": 4}}");
	found("names-lost", "warning", "names", "apply");
	judge_status(
		"{\"policy\": {\"file\": \"a.yaml\", \"generation\": 4}, \"refused\": \"b.yaml\","
		" \"confirm\": {\"left_ms\": 5000},"
		" \"pending\": [{\"zone\": \"lan\", \"dev\": \"eth9\"}],"
		" \"attached\": [{\"zone\": \"wan\", \"dev\": \"eth0\"}],"
		" \"zones\": [{\"name\": \"wan\"}, {\"name\": \"lan\"}, {\"name\": \"dmz\"}],"
		" \"feeds\": [{\"set\": \"s\", \"file\": \"s.txt\", \"held\": true, \"why\": \"empty\"}]}");
	found("policy", "ok", "a.yaml, generation 4", "");
	found("policy-refused", "broken", "b.yaml", "penstock check");
	found("to-confirm", "note", "in 5 s", "penstock confirm");
	found("device-missing", "warning", "'lan' names it", "ip -br link");
	assert_string_equal(text(find("device-missing"), "subject"), "eth9");
	found("zone-empty", "warning", "no device", "penstock attach");
	assert_string_equal(text(find("zone-empty"), "subject"), "dmz");
	found("feed-refused", "warning", "s.txt was refused: empty", "mend");
}

static void tables_under_pressure(void **state)
{
	(void)state;
	judge_status("{\"state\": {\"stateful\": true, \"flows\": {\"slots\": 100, \"used\": 79},"
		     " \"pending\": {\"slots\": 10, \"used\": 0, \"losing\": false}},"
		     " \"capacity\": {\"zones\": {\"used\": 7, \"limit\": 10}}}");
	found("table-pressure", "ok", "79 of 100", "");
	not_found("table-losing");
	not_found("capacity");
	judge_status(
		"{\"state\": {\"stateful\": true, \"flows\": {\"slots\": 100, \"used\": 80, "
		"\"losing\": true}}, \"capacity\": {\"zones\": {\"used\": 8, \"limit\": 10}}}");
	found("table-pressure", "warning", "80 of 100 in use, 80 %", "--flow-slots");
	found("table-losing", "warning", "found no slot", "--flow-slots");
	found("capacity", "warning", "8 of 10", "fewer");
	judge_status(
		"{\"state\": {\"stateful\": true, \"flows\": {\"slots\": 100, \"used\": 100}}}");
	found("table-pressure", "broken", "full: 100 of 100", "--flow-slots");
	judge_status(
		"{\"state\": {\"stateful\": false, \"flows\": {\"slots\": 100, \"used\": 100}}}");
	not_found("table-pressure");
}

static void sets_under_pressure(void **state)
{
	struct json_object *sets = json_tokener_parse(
		"{\"sets\": [{\"name\": \"a\", \"runtime\": true, \"max\": 10, \"members\": 2,"
		"  \"runtime_members\": 5}, {\"name\": \"fixed\", \"runtime\": false, \"max\": 1,"
		"  \"members\": 1}], \"table\": {\"members\": 5, \"limit\": 100}}");
	struct json_object *a = json_object_array_get_idx(json_object_object_get(sets, "sets"), 0);

	(void)state;
	doctor_judge_sets(rows, sets);
	not_found("set-pressure");
	json_object_object_add(a, "runtime_members", json_object_new_int(6));
	doctor_judge_sets(rows, sets);
	found("set-pressure", "warning", "8 of 10 in use, 80 %", "penstock set del a ADDR");
	json_object_object_add(a, "runtime_members", json_object_new_int(8));
	json_object_put(rows);
	rows = json_object_new_array();
	doctor_judge_sets(rows, sets);
	found("set-pressure", "broken", "full: 10 of 10", "raise its 'max'");
	assert_int_equal(json_object_array_length(rows), 1);
	json_object_put(sets);
}

/* ---- what the inspector says ----------------------------------------------------------------------- */

static void answers_are_not_believed(void **state)
{
	const struct inspect_answer good = { .magic = INSPECT_MAGIC,
					     .kind = INSPECT_PROGRAM,
					     .number = 1,
					     .id = 7,
					     .name = "their_filter" };
	struct inspect_answer answer = good, got;

	(void)state;
	assert_int_equal(inspect_read_answer(&answer, sizeof(answer), &got), 0);
	assert_string_equal(got.name, "their_filter");
	assert_int_equal(inspect_read_answer(&answer, sizeof(answer) - 1, &got), -EINVAL);
	answer.magic++;
	assert_int_equal(inspect_read_answer(&answer, sizeof(answer), &got), -EINVAL);
	answer = good;
	answer.kind = 9;
	assert_int_equal(inspect_read_answer(&answer, sizeof(answer), &got), -EINVAL);
	answer = good;
	answer.error = 1;
	assert_int_equal(inspect_read_answer(&answer, sizeof(answer), &got), -EINVAL);
	answer = good;
	memset(answer.name, 'x', sizeof(answer.name)); /* it does not end */
	assert_int_equal(inspect_read_answer(&answer, sizeof(answer), &got), -EINVAL);
	answer = good;
	answer.name[2] = '\033';
	assert_int_equal(inspect_read_answer(&answer, sizeof(answer), &got), -EINVAL);
}

static void requests_are_not_believed(void **state)
{
	const struct inspect_request good = {
		.magic = INSPECT_MAGIC, .kind = INSPECT_PROGRAM, .number = 1, .id = 7
	};
	uint32_t words[sizeof(good) / sizeof(uint32_t) + 1] = {};
	struct inspect_request got;
	int taken = 0;

	(void)state;
	memcpy(words, &good, sizeof(good));
	for (size_t len = 0; len <= sizeof(words); len++)
		assert_int_equal(inspect_read_request(words, len, &got),
				 len == sizeof(good) ? 0 : -EINVAL);
	for (uint32_t kind = 0; kind < 1000; kind++) {
		words[1] = kind;
		taken += !inspect_read_request(words, sizeof(good), &got);
	}
	assert_int_equal(taken, 1);
	words[1] = INSPECT_PROGRAM;
	words[5] = 1; /* pad */
	assert_int_equal(inspect_read_request(words, sizeof(good), &got), -EINVAL);
	words[5] = words[4] = 0; /* id */
	assert_int_equal(inspect_read_request(words, sizeof(good), &got), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_good_nic_is_good, begin, end),
		cmocka_unit_test_setup_teardown(modes_have_reasons, begin, end),
		cmocka_unit_test_setup_teardown(what_is_not_attached_is_broken, begin, end),
		cmocka_unit_test_setup_teardown(who_comes_first_is_named, begin, end),
		cmocka_unit_test_setup_teardown(a_veth_depends_on_its_other_end, begin, end),
		cmocka_unit_test_setup_teardown(hardware_that_puts_packets_together, begin, end),
		cmocka_unit_test_setup_teardown(the_policy_is_looked_at, begin, end),
		cmocka_unit_test_setup_teardown(tables_under_pressure, begin, end),
		cmocka_unit_test_setup_teardown(sets_under_pressure, begin, end),
		cmocka_unit_test(answers_are_not_believed),
		cmocka_unit_test(requests_are_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
