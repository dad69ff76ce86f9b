/* SPDX-License-Identifier: Apache-2.0 */
/* Programs on veth pairs: every mode, other owners, devices that come and go, processes that die. */
#include "lib/lab.h"

#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>

#include "loader_pins.h"

#define FRAMES 10

static struct loader *l;
static struct attach *a;

/* ---- the frame of every test ---------------------------------------------------------------------- */

static void start(bool force_clsact)
{
	l = lab_load();
	assert_int_equal(attach_new(&a, l, NULL, force_clsact), 0);
}

static void stop(void)
{
	attach_free(&a);
	loader_free(&l);
}

static int begin(void **state)
{
	(void)state;
	lab_veth("v0");
	start(false);
	lab_policy(l);
	return 0;
}

static int end(void **state)
{
	(void)state;
	stop();
	lab_reset();
	return system("ip link del v0 2>/dev/null; ip link del v1 2>/dev/null; true");
}

static struct attach_want want_of(const char *dev, enum model_hook hook)
{
	return (struct attach_want){
		.dev = lab_dev(dev, "veth"), .zone = 1, .hook = hook, .ingress = true
	};
}

static void reconcile(struct attach_want *wants, size_t count)
{
	struct attach_wants all = { .at = wants, .count = count, .room = count };

	assert_int_equal(attach_reconcile(a, &all), 0);
}

/* One want, one direction: its state. */
static const struct attach_state *reconcile_one(struct attach_want want)
{
	reconcile(&want, 1);
	assert_int_equal(attach_states(a)->count, 1);
	return &attach_states(a)->at[0];
}

static const struct attach_state *attached(struct attach_want want, enum attach_mode mode)
{
	const struct attach_state *s = reconcile_one(want);

	if (s->failed)
		fail_msg("%s: %s", want.dev.name, s->why ? s->why : "no reason");
	assert_int_equal(s->mode, mode);
	return s;
}

static const struct attach_state *failed(struct attach_want want, const char *part)
{
	const struct attach_state *s = reconcile_one(want);

	assert_true(s->failed);
	if (!s->why || !strstr(s->why, part))
		fail_msg("'%s' is not in '%s'", part, s->why ? s->why : "");
	return s;
}

static void enforced(const char *dev, enum dp_dir dir)
{
	uint32_t slot = LAB_CHAIN_COUNTER(1, dir);
	uint64_t before = lab_received(l, slot, 0);

	lab_send(dev, dir, FRAMES);
	assert_int_equal(lab_received(l, slot, before + FRAMES), before + FRAMES);
}

static void not_enforced(const char *dev, enum dp_dir dir)
{
	uint32_t slot = LAB_CHAIN_COUNTER(1, dir);
	uint64_t before = lab_received(l, slot, 0);

	lab_send(dev, dir, FRAMES);
	assert_int_equal(lab_received_later(l, slot), before);
}

static int count_pin(void *ctx, const char *name)
{
	(void)name;
	++*(unsigned int *)ctx;
	return 0;
}

static unsigned int pins(void)
{
	unsigned int count = 0;

	assert_int_equal(pins_each(LAB_PINS, PINS_LINKS, count_pin, &count), 0);
	return count;
}

static struct dp_dev dev_entry(uint32_t ifindex)
{
	struct dp_dev dev = {};
	uint32_t slot = ifindex % DP_DEV_SLOTS;

	assert_int_equal(bpf_map_lookup_elem(l->devs, &slot, &dev), 0);
	return dev;
}

static bool has_clsact(const char *dev)
{
	char command[128];

	snprintf(command, sizeof(command), "tc qdisc show dev %s | grep -q clsact", dev);
	return system(command) == 0;
}

/* ---- modes --------------------------------------------------------------------------------------- */

static void attaches_and_detaches(const char *dev, enum model_hook hook, enum attach_mode mode)
{
	struct attach_want want = want_of(dev, hook);
	uint32_t ifindex = want.dev.ifindex;

	attached(want, mode);
	assert_int_equal(dev_entry(ifindex).ifindex, ifindex);
	assert_int_equal(dev_entry(ifindex).zone[loader_active_bank(l)], 1);
	enforced(dev, DP_INGRESS);
	attached(want, mode); /* nothing to do */
	enforced(dev, DP_INGRESS);
	reconcile(NULL, 0);
	assert_int_equal(pins(), 0);
	assert_int_equal(dev_entry(ifindex).ifindex, 0);
	not_enforced(dev, DP_INGRESS);
}

static void xdp_native(void **state)
{
	(void)state;
	attaches_and_detaches("v0", MODEL_HOOK_XDP, ATTACH_XDP_NATIVE);
}

static void xdp_generic(void **state)
{
	(void)state;
	attaches_and_detaches("v0", MODEL_HOOK_XDP_GENERIC, ATTACH_XDP_GENERIC);
}

static void tcx(void **state)
{
	(void)state;
	attaches_and_detaches("v0", MODEL_HOOK_TC, ATTACH_TCX);
	assert_false(has_clsact("v0"));
}

static void clsact(void **state)
{
	(void)state;
	stop();
	start(true);
	attaches_and_detaches("v0", MODEL_HOOK_TC, ATTACH_CLSACT);
	assert_false(has_clsact("v0"));
}

static void both_directions(struct attach_want want)
{
	want.egress = true;
	reconcile(&want, 1);
	assert_int_equal(attach_states(a)->count, 2);
	assert_false(attach_states(a)->at[0].failed);
	assert_false(attach_states(a)->at[1].failed);
	assert_int_equal(attach_states(a)->at[1].dir, DP_EGRESS);
	enforced("v0", DP_INGRESS);
	enforced("v0", DP_EGRESS);
	want.ingress = false;
	reconcile(&want, 1);
	not_enforced("v0", DP_INGRESS);
	enforced("v0", DP_EGRESS);
	reconcile(NULL, 0);
	not_enforced("v0", DP_EGRESS);
	assert_int_equal(pins(), 0);
}

static void egress_beside_ingress(void **state)
{
	(void)state;
	both_directions(want_of("v0", MODEL_HOOK_XDP));
	both_directions(want_of("v0", MODEL_HOOK_TC));
	stop();
	start(true);
	both_directions(want_of("v0", MODEL_HOOK_TC));
	assert_false(has_clsact("v0"));
}

static void auto_knows_its_devices(void **state)
{
	struct attach_want want = want_of("v0", MODEL_HOOK_AUTO);

	(void)state;
	attached(want, ATTACH_TCX);
	want.dev.kind[0] = 0;       /* as if it were a physical device */
	attached(want, ATTACH_TCX); /* decided for auto already */
	reconcile(NULL, 0);
	assert_null(attached(want, ATTACH_XDP_NATIVE)->why);
	want.dev = lab_dev("lo", "");
	want.dev.loopback = true;
	attached(want, ATTACH_TCX);
}

/* The loopback device, taken for a physical one, is one whose driver has no native XDP. */
static void auto_falls_back_and_says_why(void **state)
{
	struct attach_want want = want_of("v0", MODEL_HOOK_AUTO);
	const struct attach_state *s;

	(void)state;
	want.dev = lab_dev("lo", "");
	for (unsigned int i = 0; i < 2; i++) {
		s = attached(want, ATTACH_TCX);
		assert_non_null(s->why);
		assert_non_null(strstr(s->why, "the driver refused native XDP"));
	}
	want.hook = MODEL_HOOK_XDP;
	s = failed(want, "the driver refused native XDP");
	assert_int_equal(s->mode, ATTACH_TCX); /* what was there stays until something better is */
	reconcile(NULL, 0);
	failed(want, "the driver refused native XDP");
	assert_int_equal(pins(), 0);
}

static void changes_the_hook(void **state)
{
	static const struct {
		enum model_hook hook;
		enum attach_mode mode;
	} rows[] = {
		{ MODEL_HOOK_TC, ATTACH_TCX },
		{ MODEL_HOOK_XDP, ATTACH_XDP_NATIVE },
		{ MODEL_HOOK_XDP_GENERIC, ATTACH_XDP_GENERIC },
		{ MODEL_HOOK_XDP, ATTACH_XDP_NATIVE },
		{ MODEL_HOOK_TC, ATTACH_TCX },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		attached(want_of("v0", rows[i].hook), rows[i].mode);
		assert_int_equal(pins(), 1);
		enforced("v0", DP_INGRESS);
	}
}

/* ---- zones --------------------------------------------------------------------------------------- */

static void moves_a_device_with_the_flip(void **state)
{
	struct attach_want want = want_of("v0", MODEL_HOOK_TC);
	struct attach_wants all = { .at = &want, .count = 1, .room = 1 };
	unsigned int active = loader_active_bank(l);

	(void)state;
	attached(want, ATTACH_TCX);
	want.zone = 2;
	assert_int_equal(attach_set_zones(a, !active, &all), 0);
	assert_int_equal(dev_entry(want.dev.ifindex).zone[active], 1);
	assert_int_equal(dev_entry(want.dev.ifindex).zone[!active], 2);
	attached(want, ATTACH_TCX); /* the active bank's zone is not touched */
	enforced("v0", DP_INGRESS);
	lab_policy(l);
	not_enforced("v0", DP_INGRESS);
	assert_int_equal(lab_received(l, LAB_CHAIN_COUNTER(2, DP_INGRESS), FRAMES), FRAMES);
	all.count = 0;
	assert_int_equal(attach_set_zones(a, active, &all), 0);
	assert_int_equal(dev_entry(want.dev.ifindex).zone[active], 0);
	assert_int_equal(dev_entry(want.dev.ifindex).zone[!active], 2);
}

/* Five interface numbers that share their slots. */
static void the_fifth_collision_fails_alone(void **state)
{
	struct attach_want wants[DP_DEV_PROBES + 1];
	char name[IF_NAMESIZE];

	(void)state;
	for (unsigned int i = 0; i <= DP_DEV_PROBES; i++) {
		snprintf(name, sizeof(name), "c%u", i);
		lab_run("ip link add %s index %u type veth peer name %s-p && "
			"ip link set %s addrgenmode none up && ip link set %s-p addrgenmode none up",
			name, 5000 + i * DP_DEV_SLOTS, name, name, name);
		wants[i] = want_of(name, MODEL_HOOK_TC);
	}
	reconcile(wants, DP_DEV_PROBES + 1);
	for (unsigned int i = 0; i < DP_DEV_PROBES; i++) {
		assert_false(attach_states(a)->at[i].failed);
		enforced(wants[i].dev.name, DP_INGRESS);
	}
	assert_true(attach_states(a)->at[DP_DEV_PROBES].failed);
	assert_non_null(strstr(attach_states(a)->at[DP_DEV_PROBES].why, "no free slot"));
	not_enforced(wants[DP_DEV_PROBES].dev.name, DP_INGRESS);
	lab_run("ip link del c1");
	wants[1] = wants[DP_DEV_PROBES];
	reconcile(wants, DP_DEV_PROBES);
	assert_false(attach_states(a)->at[1].failed);
	enforced(wants[1].dev.name, DP_INGRESS);
	lab_run("ip link del c0 && ip link del c2 && ip link del c3 && ip link del c4");
}

/* ---- others -------------------------------------------------------------------------------------- */

static int other_program(enum bpf_prog_type type)
{
	const struct bpf_insn pass[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K,
		  .dst_reg = BPF_REG_0,
		  .imm = type == BPF_PROG_TYPE_XDP ? XDP_PASS : -1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int fd = bpf_prog_load(type, "somebody", "GPL", pass, 2, NULL);

	assert_true(fd >= 0);
	return fd;
}

static uint32_t xdp_at(const char *dev)
{
	uint32_t id = 0;

	assert_int_equal(bpf_xdp_query_id((int)lab_ifindex(dev), 0, &id), 0);
	return id;
}

static void leaves_other_xdp_programs_alone(void **state)
{
	_cleanup_close_ int other = other_program(BPF_PROG_TYPE_XDP);
	struct attach_want want = want_of("v0", MODEL_HOOK_XDP);
	uint32_t id;

	(void)state;
	assert_int_equal(bpf_xdp_attach((int)lab_ifindex("v0"), other, XDP_FLAGS_DRV_MODE, NULL),
			 0);
	id = xdp_at("v0");
	failed(want, "another XDP program is attached: id");
	failed(want, "(its name is not visible: no penstock-inspect); it is left alone");
	want.hook = MODEL_HOOK_XDP_GENERIC;
	failed(want, "another XDP program is attached: id");
	assert_int_equal(xdp_at("v0"), id);
	want.hook = MODEL_HOOK_AUTO;
	want.dev.kind[0] = 0;
	assert_non_null(strstr(attached(want, ATTACH_TCX)->why, "another XDP program"));
	enforced("v0", DP_INGRESS);
	reconcile(NULL, 0);
	assert_int_equal(xdp_at("v0"), id);
	assert_int_equal(pins(), 0);
}

static void other_filter(const char *dev, int prog, uint32_t handle, uint32_t priority)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)lab_ifindex(dev),
		    .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = prog, .handle = handle, .priority = priority);

	assert_int_equal(bpf_tc_attach(&hook, &opts), 0);
}

static void leaves_other_qdiscs_and_filters_alone(void **state)
{
	_cleanup_close_ int other = other_program(BPF_PROG_TYPE_SCHED_CLS);
	struct attach_want want = want_of("v0", MODEL_HOOK_TC);

	(void)state;
	stop();
	start(true);
	lab_run("tc qdisc add dev v0 clsact");
	attached(want, ATTACH_CLSACT);
	enforced("v0", DP_INGRESS);
	reconcile(NULL, 0);
	assert_true(has_clsact("v0")); /* it was there before us */
	other_filter("v0", other, 0x70656e, 10);
	failed(want, "runs another program: id");
	lab_run("tc filter show dev v0 ingress | grep -q somebody");
	assert_int_equal(pins(), 0);

	lab_run("tc qdisc del dev v0 clsact");
	attached(want, ATTACH_CLSACT);
	other_filter("v0", other, 1, 20);
	reconcile(NULL, 0);
	assert_true(has_clsact("v0")); /* we made it, but somebody uses it by now */
	lab_run("tc filter show dev v0 ingress | grep -q somebody");
}

static void refuses_an_ingress_qdisc(void **state)
{
	(void)state;
	stop();
	start(true);
	lab_run("tc qdisc add dev v0 ingress");
	failed(want_of("v0", MODEL_HOOK_TC), "another ingress qdisc");
	lab_run("tc qdisc show dev v0 | grep -q ingress");
}

static void repairs_what_somebody_took(void **state)
{
	struct attach_want want = want_of("v0", MODEL_HOOK_TC);

	(void)state;
	stop();
	start(true);
	attached(want, ATTACH_CLSACT);
	lab_run("tc filter del dev v0 ingress");
	not_enforced("v0", DP_INGRESS);
	attached(want, ATTACH_CLSACT);
	enforced("v0", DP_INGRESS);
	lab_run("tc qdisc del dev v0 clsact");
	attached(want, ATTACH_CLSACT);
	enforced("v0", DP_INGRESS);
	lab_run("rm " LAB_PINS "/links/*-clsact");
	stop();
	start(true);
	attached(want, ATTACH_CLSACT); /* the filter is ours by its program */
	enforced("v0", DP_INGRESS);
	assert_true(has_clsact("v0"));
}

/* ---- devices ------------------------------------------------------------------------------------- */

static void follows_a_device(struct attach_want want, enum attach_mode mode)
{
	uint32_t ifindex = want.dev.ifindex;

	attached(want, mode);
	lab_run("ip link set v0 down && ip link set v0 name v1 && ip link set v0-p name v1-p && "
		"ip link set v1 up");
	snprintf(want.dev.name, sizeof(want.dev.name), "v1");
	assert_string_equal(attached(want, mode)->dev.name, "v1");
	enforced("v1", DP_INGRESS);
	lab_run("ip link del v1");
	/* Another device with the same number and name: not ours until it is attached. */
	lab_run("ip link add v0 index %u type veth peer name v0-p && "
		"ip link set v0 addrgenmode none up && ip link set v0-p addrgenmode none up",
		ifindex);
	not_enforced("v0", DP_INGRESS);
	snprintf(want.dev.name, sizeof(want.dev.name), "v0");
	attached(want, mode);
	enforced("v0", DP_INGRESS);
	assert_int_equal(pins(), mode == ATTACH_CLSACT ? 2 : 1);
	lab_run("ip link del v0");
	reconcile(NULL, 0);
	assert_int_equal(pins(), 0);
	assert_int_equal(dev_entry(ifindex).ifindex, 0);
	lab_veth("v0");
}

static void devices_come_and_go(void **state)
{
	(void)state;
	follows_a_device(want_of("v0", MODEL_HOOK_XDP), ATTACH_XDP_NATIVE);
	follows_a_device(want_of("v0", MODEL_HOOK_XDP_GENERIC), ATTACH_XDP_GENERIC);
	follows_a_device(want_of("v0", MODEL_HOOK_TC), ATTACH_TCX);
	stop();
	start(true);
	follows_a_device(want_of("v0", MODEL_HOOK_TC), ATTACH_CLSACT);
}

static void a_missing_device_fails_alone(void **state)
{
	struct attach_want wants[] = { want_of("v0", MODEL_HOOK_TC),
				       want_of("v0", MODEL_HOOK_XDP) };

	(void)state;
	wants[1].dev.ifindex = 4000;
	reconcile(wants, 2);
	assert_false(attach_states(a)->at[0].failed);
	assert_true(attach_states(a)->at[1].failed);
	assert_non_null(strstr(attach_states(a)->at[1].why, "there is no interface 4000"));
	enforced("v0", DP_INGRESS);
}

/* ---- processes ----------------------------------------------------------------------------------- */

/* Another process attaches and dies without a word. */
static void attach_and_die(struct attach_want want, bool force_clsact)
{
	pid_t child;
	int status;

	stop();
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		struct attach_wants all = { .at = &want, .count = 1, .room = 1 };
		char *why;

		if (loader_new(&l, LAB_PINS, LAB_FLOW_SLOTS, &why) ||
		    attach_new(&a, l, NULL, force_clsact) || attach_reconcile(a, &all) ||
		    attach_states(a)->at[0].failed)
			_exit(1);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static uint32_t link_id(const char *pin)
{
	_cleanup_close_ int fd = pins_open(LAB_PINS, PINS_LINKS, pin);
	struct bpf_link_info info = {};
	uint32_t len = sizeof(info);

	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	return info.id;
}

static void adopts(enum model_hook hook, enum attach_mode mode, const char *mode_text)
{
	struct attach_want want = want_of("v0", hook);
	uint32_t id = 0;
	char pin[64];

	attach_and_die(want, mode == ATTACH_CLSACT);
	snprintf(pin, sizeof(pin), "%u-ingress-%s", want.dev.ifindex, mode_text);
	if (mode != ATTACH_CLSACT)
		id = link_id(pin);
	start(mode == ATTACH_CLSACT);
	enforced("v0", DP_INGRESS); /* by what the dead one left */
	attached(want, mode);
	if (mode != ATTACH_CLSACT)
		assert_int_equal(link_id(pin), id);
	enforced("v0", DP_INGRESS);
	reconcile(NULL, 0);
	not_enforced("v0", DP_INGRESS);
	assert_int_equal(pins(), 0);
	assert_false(has_clsact("v0"));
}

static void adopts_what_a_dead_process_left(void **state)
{
	(void)state;
	adopts(MODEL_HOOK_XDP, ATTACH_XDP_NATIVE, "xdp");
	adopts(MODEL_HOOK_XDP_GENERIC, ATTACH_XDP_GENERIC, "xdp-generic");
	adopts(MODEL_HOOK_TC, ATTACH_TCX, "tcx");
	adopts(MODEL_HOOK_TC, ATTACH_CLSACT, "clsact");
}

static void forgets_what_died_meanwhile(void **state)
{
	struct attach_want want = want_of("v0", MODEL_HOOK_TC);

	(void)state;
	attach_and_die(want, false);
	lab_run("ip link del v0");
	start(false);
	assert_int_equal(pins(), 0);
	reconcile(NULL, 0);
	assert_int_equal(dev_entry(want.dev.ifindex).ifindex, 0);
	lab_veth("v0");
}

/* A process in a network namespace of its own, until it is killed. */
static pid_t elsewhere(void)
{
	int ready[2];
	pid_t child;
	char byte;

	assert_int_equal(pipe(ready), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		if (!unshare(CLONE_NEWNET) && write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return child;
}

/* Interface numbers are a namespace's own: a link of a device elsewhere is not taken for one of ours. */
static void does_not_adopt_across_namespaces(void **state)
{
	struct attach_want want = want_of("v0", MODEL_HOOK_TC);
	uint32_t ifindex = want.dev.ifindex + 100;
	pid_t child = elsewhere();

	(void)state;
	lab_run("ip link add index %u name v1 type veth peer name v1-p", ifindex);
	want.dev.ifindex = ifindex;
	attached(want, ATTACH_TCX);
	stop();
	lab_run("ip link set v1 netns %d", (int)child);
	lab_run("ip link add index %u name v1 type veth peer name v1-q", ifindex);
	start(false);
	assert_int_equal(pins(), 0);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

static uint32_t attached_prog(const char *dev, enum attach_mode mode)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)lab_ifindex(dev),
		    .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 0x70656e, .priority = 10);
	uint32_t id = 0, count = 1;

	if (mode == ATTACH_XDP_NATIVE)
		return xdp_at(dev);
	if (mode == ATTACH_CLSACT)
		assert_int_equal(bpf_tc_query(&hook, &opts), 0);
	else
		assert_int_equal(bpf_prog_query(hook.ifindex, 46, 0, NULL, &id, &count), 0);
	return mode == ATTACH_CLSACT ? opts.prog_id : id;
}

static uint32_t prog_id(int fd)
{
	struct bpf_prog_info info = {};
	uint32_t len = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	return info.id;
}

static void upgrades(enum model_hook hook, enum attach_mode mode, enum loader_prog prog)
{
	_cleanup_close_ int meta = -1;
	const struct dp_meta another = { .abi_version = DP_ABI_VERSION, .build = { 1 } };
	struct attach_want want = want_of("v0", hook);
	uint32_t key = 0, before;

	stop();
	start(mode == ATTACH_CLSACT);
	attached(want, mode);
	before = attached_prog("v0", mode);
	meta = pins_open(LAB_PINS, PINS_MAPS, "meta");
	assert_int_equal(bpf_map_update_elem(meta, &key, &another, BPF_ANY), 0);
	stop();
	start(mode == ATTACH_CLSACT);
	assert_int_equal(l->start, LOADER_UPGRADED);
	assert_int_equal(attached_prog("v0", mode), before);
	attached(want, mode);
	assert_int_not_equal(attached_prog("v0", mode), before);
	assert_int_equal(attached_prog("v0", mode), prog_id(l->prog[prog]));
	enforced("v0", DP_INGRESS);
	reconcile(NULL, 0);
	assert_int_equal(pins(), 0);
}

static void an_upgrade_swaps_the_programs(void **state)
{
	(void)state;
	upgrades(MODEL_HOOK_XDP, ATTACH_XDP_NATIVE, LOADER_XDP_INGRESS);
	upgrades(MODEL_HOOK_TC, ATTACH_TCX, LOADER_TC_INGRESS);
	upgrades(MODEL_HOOK_TC, ATTACH_CLSACT, LOADER_TC_INGRESS);
}

#define ON_VETH(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_VETH(xdp_native),
		ON_VETH(xdp_generic),
		ON_VETH(tcx),
		ON_VETH(clsact),
		ON_VETH(egress_beside_ingress),
		ON_VETH(auto_knows_its_devices),
		ON_VETH(auto_falls_back_and_says_why),
		ON_VETH(changes_the_hook),
		ON_VETH(moves_a_device_with_the_flip),
		ON_VETH(the_fifth_collision_fails_alone),
		ON_VETH(leaves_other_xdp_programs_alone),
		ON_VETH(leaves_other_qdiscs_and_filters_alone),
		ON_VETH(refuses_an_ingress_qdisc),
		ON_VETH(repairs_what_somebody_took),
		ON_VETH(devices_come_and_go),
		ON_VETH(a_missing_device_fails_alone),
		ON_VETH(adopts_what_a_dead_process_left),
		ON_VETH(forgets_what_died_meanwhile),
		ON_VETH(does_not_adopt_across_namespaces),
		ON_VETH(an_upgrade_swaps_the_programs),
	};

	return cmocka_run_group_tests(tests, lab_enter, NULL);
}
