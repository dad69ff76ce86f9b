/* SPDX-License-Identifier: Apache-2.0 */
/* Links of a namespace: what a dump says, one call for many events, and events that were lost. */
#include "lib/lab.h"

#include <errno.h>
#include <systemd/sd-event.h>

#include "netif.h"

static sd_event *event;
static struct netif *n;
static unsigned int calls, resyncs;

static void on_changed(void *ctx, bool resync)
{
	assert_ptr_equal(ctx, &calls);
	calls++;
	resyncs += resync;
}

static int begin(void **state)
{
	(void)state;
	calls = resyncs = 0;
	if (sd_event_new(&event) < 0)
		return -1;
	return netif_new(&n, event, on_changed, &calls);
}

static int end(void **state)
{
	(void)state;
	netif_free(&n);
	event = sd_event_unref(event);
	return system("for d in v0 v1 br0; do ip link del $d 2>/dev/null; done; true");
}

/* Runs the loop until nothing happens for a while. */
static void turn(void)
{
	while (sd_event_run(event, 50 * 1000) > 0)
		continue;
}

static const struct netif_dev *find(const struct netif_devs *devs, const char *name)
{
	for (size_t i = 0; i < devs->count; i++) {
		if (!strcmp(devs->at[i].name, name))
			return &devs->at[i];
	}
	return NULL;
}

static void lists_devices(void **state)
{
	struct netif_devs devs = {};
	const struct netif_dev *dev;

	(void)state;
	lab_veth("v0");
	lab_run("ip link set v0-p mtu 1400 down && ip link add br0 type bridge");
	assert_int_equal(netif_list(n, &devs), 0);
	assert_int_equal(devs.count, 4);
	dev = find(&devs, "lo");
	assert_true(dev->loopback && dev->up && !dev->kind[0] && dev->ifindex == 1);
	dev = find(&devs, "v0");
	assert_true(!dev->loopback && dev->up && dev->mtu == 1500);
	assert_int_equal(dev->ifindex, lab_ifindex("v0"));
	assert_string_equal(dev->kind, "veth");
	dev = find(&devs, "v0-p");
	assert_true(!dev->up && dev->mtu == 1400);
	assert_string_equal(find(&devs, "br0")->kind, "bridge");
	lab_run("ip link del br0");
	assert_int_equal(netif_list(n, &devs), 0);
	assert_int_equal(devs.count, 3);
	vec_done(&devs);
}

/* Nothing goes up: the kernel would say later, in its own time, that there is a carrier. */
static void one_call_for_many_events(void **state)
{
	(void)state;
	turn();
	calls = 0;
	lab_run("ip link add v0 type veth peer name v0-p && ip link set v0 mtu 1400");
	turn();
	assert_int_equal(calls, 1);
	turn();
	assert_int_equal(calls, 1);
	lab_run("ip link set v0 mtu 1300 && ip link set v0 name v1");
	turn();
	assert_int_equal(calls, 2);
	lab_run("ip link del v1");
	turn();
	assert_int_equal(calls, 3);
	assert_int_equal(resyncs, 0);
	assert_int_equal(netif_overruns(n), 0);
}

/* More events than any buffer holds; afterwards the watch still works. */
static void lost_events_mean_resync(void **state)
{
	(void)state;
	lab_veth("v0");
	lab_run("i=0; while [ $i -lt 12000 ]; do echo link set v0 mtu $((1000 + i %% 2)); "
		"i=$((i + 1)); done | ip -batch -");
	turn();
	assert_true(netif_overruns(n) > 0);
	assert_int_equal(resyncs, 1);
	calls = 0;
	lab_run("ip link del v0");
	turn();
	assert_int_equal(calls, 1);
	assert_int_equal(resyncs, 1);
}

static void knows_qdiscs_and_filters(void **state)
{
	uint32_t ifindex;
	bool answer;

	(void)state;
	lab_veth("v0");
	ifindex = lab_ifindex("v0");
	assert_int_equal(netif_has_clsact(ifindex, &answer), 0);
	assert_false(answer);
	assert_int_equal(netif_has_tc_filters(ifindex, &answer), 0);
	assert_false(answer);
	lab_run("tc qdisc add dev v0 clsact");
	assert_int_equal(netif_has_clsact(ifindex, &answer), 0);
	assert_true(answer);
	assert_int_equal(netif_has_tc_filters(ifindex, &answer), 0);
	assert_false(answer);
	lab_run("tc filter add dev v0 egress prio 5 bpf da bytecode '1,6 0 0 0'");
	assert_int_equal(netif_has_tc_filters(ifindex, &answer), 0);
	assert_true(answer);
}

#define WATCHING(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WATCHING(lists_devices),
		WATCHING(one_call_for_many_events),
		WATCHING(lost_events_mean_resync),
		WATCHING(knows_qdiscs_and_filters),
	};

	return cmocka_run_group_tests(tests, lab_enter, NULL);
}
