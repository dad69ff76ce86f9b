/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A start over maps that another build made, and one that was cut short at each step of that. The other build's maps
 * are put in the place of ours: the same fields, eight bytes further on.
 */
#include "lib/lab.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "counters.h"
#include "counters_carry.h"
#include "flows.h"
#include "layouts.h"
#include "loader_leftovers.h"
#include "loader_migrate.h"
#include "loader_pins.h"

#define MOVED      8 /* bytes */
#define LIVE_SLOT  5
#define DEAD_SLOT  6
#define TAKEN_SLOT 7

/* A load takes the verifier most of a second: each test goes on with the maps that the one before left. */
static int enter(void **state)
{
	struct loader *l;

	(void)lab_enter(state);
	l = lab_load();
	loader_free(&l);
	return 0;
}

static int forget_counts(void **state)
{
	(void)state;
	return pins_remove(LAB_PINS, PINS_MAPS, "rule-carried");
}

/* ---- the other build's maps ------------------------------------------------------------------------ */

static struct dp_layouts get_layouts(void)
{
	_cleanup_close_ int fd = pins_open(LAB_PINS, PINS_MAPS, "layouts");
	struct dp_layouts all;
	uint32_t key = 0;

	assert_int_equal(bpf_map_lookup_elem(fd, &key, &all), 0);
	return all;
}

static void put_layouts(const struct dp_layouts *all)
{
	_cleanup_close_ int fd = pins_open(LAB_PINS, PINS_MAPS, "layouts");
	uint32_t key = 0;

	assert_int_equal(bpf_map_update_elem(fd, &key, all, BPF_ANY), 0);
}

static struct dp_layout *row_of(struct dp_layouts *all, const char *map)
{
	return (struct dp_layout *)layouts_find(all, map);
}

/* Every field of an entry moves on. */
static struct dp_layout move_fields(const char *map)
{
	struct dp_layouts all = get_layouts();
	struct dp_layout *row = row_of(&all, map);

	for (size_t i = 0; i < DP_LAYOUT_FIELDS; i++)
		row->field[i].offset += row->field[i].bytes ? MOVED : 0;
	row->entry_bytes += MOVED;
	row->value_bytes = row->entries * row->entry_bytes;
	put_layouts(&all);
	return *row;
}

static int put_map(const char *map, enum bpf_map_type type, uint32_t entries, uint32_t flags)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);
	struct dp_layout row = move_fields(map);
	int fd = bpf_map_create(type, map, sizeof(uint32_t), row.value_bytes, entries, &opts);

	assert_true(fd >= 0);
	assert_int_equal(pins_replace(LAB_PINS, PINS_MAPS, map, fd), 0);
	return fd;
}

static struct dp_flow a_flow(uint32_t n, uint32_t idle)
{
	return (struct dp_flow){
		.tag = DP_FLOW_TAG(n << 8),
		.flags = DP_FLOW_REPLIED,
		.key = { .addr = { { n }, { n + 1 } }, .port = { 1, 2 }, .proto = 17 },
		.seen = flows_now() - idle,
		.ack = { n, n },
	};
}

static void put_flow(int fd, uint32_t slot, const struct dp_flow *f)
{
	uint8_t value[sizeof(*f) + MOVED] = {};

	memcpy(value + MOVED, f, sizeof(*f));
	assert_int_equal(bpf_map_update_elem(fd, &slot, value, BPF_ANY), 0);
}

/* Two that live, and one between them that does not any more. */
static void put_foreign_flows(void)
{
	_cleanup_close_ int fd =
		put_map("flows", BPF_MAP_TYPE_ARRAY, LAB_FLOW_SLOTS, BPF_F_MMAPABLE);
	const struct dp_flow live = a_flow(LIVE_SLOT, 8), also = a_flow(TAKEN_SLOT, 8);
	const struct dp_flow dead = a_flow(DEAD_SLOT, DP_IDLE_UDP + 8);

	put_flow(fd, LIVE_SLOT, &live);
	put_flow(fd, DEAD_SLOT, &dead);
	put_flow(fd, TAKEN_SLOT, &also);
}

static void put_foreign_counters(void)
{
	_cleanup_close_ int fd =
		put_map("rule_counters", BPF_MAP_TYPE_PERCPU_ARRAY, DP_RULE_BLOCKS, 0);
	size_t cpus = (size_t)libbpf_num_possible_cpus(),
	       entry = sizeof(struct dp_rule_count) + MOVED;
	_cleanup_free_ uint8_t *values = calloc(cpus, DP_RULE_BLOCK * entry);
	uint32_t key = 0;

	assert_non_null(values);
	for (size_t cpu = 0; cpu < cpus; cpu++) {
		const struct dp_rule_count count = {
			.packets = 10, .bytes = 100, .first_ns = 7 + cpu, .last_ns = 70
		};

		memcpy(values + (cpu * DP_RULE_BLOCK + 3) * entry + MOVED, &count, sizeof(count));
	}
	assert_int_equal(bpf_map_update_elem(fd, &key, values, BPF_ANY), 0);
}

/* ---- what became of them --------------------------------------------------------------------------- */

static uint32_t id_of(int fd)
{
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	return info.id;
}

static uint32_t pinned_id(const char *sub, const char *map)
{
	_cleanup_close_ int fd = pins_open(LAB_PINS, sub, map);

	assert_true(fd >= 0);
	return id_of(fd);
}

static struct dp_flow flow_at(const struct loader *l, uint32_t slot)
{
	struct dp_flow f;

	assert_int_equal(bpf_map_lookup_elem(l->flows, &slot, &f), 0);
	return f;
}

static struct leftovers_result carry(const struct loader *l)
{
	struct leftovers_result res;
	_cleanup_free_ char *why = NULL;

	if (leftovers_carry(l, &res, &why))
		fail_msg("leftovers_carry: %s", why);
	return res;
}

static struct leftovers_result finish(struct loader *l)
{
	struct leftovers_result res;
	_cleanup_free_ char *why = NULL;

	if (leftovers_finish(l, &res, &why))
		fail_msg("leftovers_finish: %s", why);
	return res;
}

static void commit(struct loader *l)
{
	_cleanup_free_ char *why = NULL;

	if (loader_commit(l, &why))
		fail_msg("loader_commit: %s", why);
}

static void check_counted(const struct loader *l)
{
	uint64_t cpus = (uint64_t)libbpf_num_possible_cpus();
	struct dp_rule_count counts[8];

	assert_int_equal(counters_rules(l, 8, counts), 0);
	assert_int_equal(counts[3].packets, 10 * cpus);
	assert_int_equal(counts[3].bytes, 100 * cpus);
	assert_int_equal(counts[3].first_ns, 7);
	assert_int_equal(counts[3].last_ns, 70);
	assert_int_equal(counts[2].packets + counts[4].packets, 0);
}

static void refused(const char *part)
{
	_cleanup_(loader_free) struct loader *l = NULL;
	_cleanup_free_ char *why = NULL;

	assert_int_equal(loader_new(&l, LAB_PINS, LAB_FLOW_SLOTS, &why), -EPROTO);
	assert_non_null(why);
	if (!strstr(why, part))
		fail_msg("'%s' is not in '%s'", part, why);
	assert_false(pins_has(LAB_PINS, PINS_NEXT, "."));
}

/* ---- the tests ------------------------------------------------------------------------------------- */

/* Nothing is in force before the exchange: a loader that goes before it takes along what it made. */
static void changes_nothing_before_the_exchange(void **state)
{
	_cleanup_(loader_free) struct loader *l = NULL;
	uint32_t flows, ctl = pinned_id(PINS_MAPS, "ctl");

	(void)state;
	put_foreign_flows();
	flows = pinned_id(PINS_MAPS, "flows");
	l = lab_load();
	assert_int_equal(l->start, LOADER_MIGRATED);
	assert_non_null(strstr(l->changes, "flows: carried over; "));
	assert_int_equal(pinned_id(PINS_MAPS, "flows"), flows);
	assert_int_equal(pinned_id(PINS_NEXT, "flows"), id_of(l->flows));
	assert_int_equal(id_of(l->ctl), ctl);
	loader_free(&l);
	assert_false(pins_has(LAB_PINS, PINS_NEXT, "."));
	assert_int_equal(pinned_id(PINS_MAPS, "flows"), flows);
}

/*
 * Field by field, and again and again: what packets have changed meanwhile stays, and so does another flow to which
 * one of them gave a slot. Goes on with what the test before left.
 */
static void carries_flows(void **state)
{
	_cleanup_(loader_free) struct loader *l = lab_load();
	const struct dp_flow want = a_flow(LIVE_SLOT, 8), other = a_flow(LIVE_SLOT + 100, 0);
	struct flows_carried *flows;
	struct leftovers_result res;
	uint32_t slot = LIVE_SLOT, taken = TAKEN_SLOT;
	struct dp_flow f;

	(void)state;
	commit(l);
	assert_int_equal(bpf_map_update_elem(l->flows, &taken, &other, BPF_ANY), 0);
	res = carry(l);
	flows = &res.flows[FLOWS_TABLE_FLOWS];
	assert_int_equal(flows->kept, 1);
	assert_int_equal(flows->lost, 1);
	f = flow_at(l, LIVE_SLOT);
	assert_memory_equal(&f.key, &want.key, sizeof(f.key));
	assert_int_equal(f.tag, want.tag);
	assert_int_equal(f.ack[1], LIVE_SLOT);
	/* Searches go on behind it. */
	assert_int_equal(flow_at(l, DEAD_SLOT).tag, DP_FLOW_TAG(DEAD_SLOT << 8));
	f.seen += 4;
	f.flags |= DP_FLOW_FIN0;
	f.ack[1] = 1000;
	assert_int_equal(bpf_map_update_elem(l->flows, &slot, &f, BPF_ANY), 0);
	res = finish(l);
	assert_int_equal(flows->kept, 1);
	assert_int_equal(flows->lost, 1);
	assert_int_equal(res.dropped, 0);
	assert_int_equal(flow_at(l, LIVE_SLOT).flags, DP_FLOW_REPLIED | DP_FLOW_FIN0);
	assert_int_equal(flow_at(l, LIVE_SLOT).ack[1], 1000);
	assert_int_equal(flow_at(l, LIVE_SLOT).seen, f.seen);
	assert_int_equal(flow_at(l, TAKEN_SLOT).tag, other.tag);
	assert_false(leftovers_any(l));
}

/* Killed between the exchange and the name, the next start gives the name; and any build takes over from there. */
static void goes_on_after_the_exchange(void **state)
{
	_cleanup_(loader_free) struct loader *l = NULL;
	char aside[32];
	uint32_t flows;

	(void)state;
	put_foreign_flows();
	l = lab_load();
	(void)snprintf(aside, sizeof(aside), PINS_ASIDE "%u", l->serial);
	commit(l);
	flows = id_of(l->flows);
	assert_int_equal(pins_rename_sub(LAB_PINS, aside, PINS_NEXT), 0);
	loader_free(&l);
	l = lab_load();
	assert_int_equal(l->start, LOADER_ADOPTED);
	assert_int_equal(id_of(l->flows), flows);
	assert_true(pins_has(LAB_PINS, aside, "flows"));
	assert_int_equal(carry(l).flows[FLOWS_TABLE_FLOWS].kept, 2);
	assert_int_equal(finish(l).flows[FLOWS_TABLE_FLOWS].kept, 2);
	assert_false(pins_has(LAB_PINS, aside, "."));
}

/* Two builds that cut each other short leave two directories: both are carried over, the counters once. */
static void goes_on_from_two(void **state)
{
	_cleanup_(loader_free) struct loader *l = NULL;
	uint32_t first;

	(void)state;
	put_foreign_flows();
	l = lab_load();
	first = l->serial;
	commit(l);
	loader_free(&l);
	put_foreign_counters();
	l = lab_load();
	assert_int_equal(l->start, LOADER_MIGRATED);
	assert_int_equal(l->serial, first + 1);
	commit(l);
	assert_int_equal(finish(l).flows[FLOWS_TABLE_FLOWS].kept, 2);
	check_counted(l);
	assert_false(leftovers_any(l));
	loader_free(&l);
	l = lab_load(); /* they are pinned */
	check_counted(l);
}

/* Cut short between the sum and its move, it is only moved. */
static void adds_counters_once(void **state)
{
	_cleanup_(loader_free) struct loader *l = NULL;
	struct counters_from from = { .carried = -1 };
	_cleanup_close_ int sum = -1;
	struct dp_layouts all;
	char aside[32];

	(void)state;
	put_foreign_counters();
	all = get_layouts();
	from.layout = row_of(&all, "rule_counters");
	l = lab_load();
	(void)snprintf(aside, sizeof(aside), PINS_ASIDE "%u", l->serial);
	commit(l);
	from.live = pins_open(LAB_PINS, aside, "rule_counters");
	assert_int_equal(counters_carry(l, LOADER_COUNTERS_RULES, &from, &sum), 0);
	(void)close(from.live);
	assert_int_equal(pins_replace(LAB_PINS, aside, "rule_counters", sum), 0);
	(void)finish(l);
	check_counted(l);
}

static void copy_pin(const char *from, const char *to, const char *map)
{
	_cleanup_close_ int fd = pins_open(LAB_PINS, from, map);

	assert_int_equal(pins_replace(LAB_PINS, to, map, fd), 0);
}

/* Of three builds two may share a map that the third has otherwise. */
static void adds_shared_counters_once(void **state)
{
	static const char later[] = PINS_ASIDE "99999";
	_cleanup_(loader_free) struct loader *l = NULL;
	_cleanup_free_ char *why = NULL;
	char aside[32];

	(void)state;
	put_foreign_counters();
	l = lab_load();
	(void)snprintf(aside, sizeof(aside), PINS_ASIDE "%u", l->serial);
	commit(l);
	assert_int_equal(pins_make_sub(LAB_PINS, later, &why), 0);
	copy_pin(aside, later, "layouts");
	copy_pin(aside, later, "rule_counters");
	(void)finish(l);
	check_counted(l);
	assert_false(leftovers_any(l));
}

/* What the other build had been given in the same way is carried as well. */
static void carries_what_was_carried(void **state)
{
	const struct dp_rule_count count = {
		.packets = 5, .bytes = 50, .first_ns = 3, .last_ns = 9
	};
	uint8_t value[DP_RULE_BLOCK * (sizeof(count) + MOVED)] = {};
	_cleanup_(loader_free) struct loader *l = NULL;
	_cleanup_close_ int fd = -1;
	struct dp_rule_count counts[4];
	uint32_t key = 0;

	(void)state;
	put_foreign_counters();
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "carried", sizeof(key), sizeof(value),
			    DP_RULE_BLOCKS, NULL);
	memcpy(value + 3 * (sizeof(count) + MOVED) + MOVED, &count, sizeof(count));
	assert_int_equal(bpf_map_update_elem(fd, &key, value, BPF_ANY), 0);
	assert_int_equal(pins_replace(LAB_PINS, PINS_MAPS, "rule-carried", fd), 0);
	l = lab_load();
	commit(l);
	(void)finish(l);
	assert_int_equal(counters_rules(l, 4, counts), 0);
	assert_int_equal(counts[3].packets, 10 * (uint64_t)libbpf_num_possible_cpus() + 5);
	assert_int_equal(counts[3].first_ns, 3);
	assert_int_equal(counts[3].last_ns, 70);
	assert_int_equal(counters_clear_rule(l, 3), 0);
	assert_int_equal(counters_rules(l, 4, counts), 0);
	assert_int_equal(counts[3].packets + counts[3].first_ns, 0);
}

/* A map that the other build does not have is made, all others go on. */
static void makes_a_map_that_is_new(void **state)
{
	_cleanup_(loader_free) struct loader *l = NULL;
	struct dp_layouts all = get_layouts();
	uint32_t flows = pinned_id(PINS_MAPS, "flows"), last = 0;

	(void)state;
	while (all.at[last + 1].map[0])
		last++;
	*row_of(&all, "fragments") = all.at[last];
	all.at[last] = (struct dp_layout){};
	put_layouts(&all);
	assert_int_equal(pins_remove(LAB_PINS, PINS_MAPS, "fragments"), 0);
	loader_free(&l);
	l = lab_load();
	assert_non_null(strstr(l->changes, "fragments: made; "));
	assert_int_equal(id_of(l->flows), flows);
	commit(l);
	(void)finish(l);
}

/* By name, with both layouts, and nothing has changed. */
static void refuses_what_it_cannot_carry(void **state)
{
	_cleanup_(loader_free) struct loader *l = NULL;
	const struct dp_layouts good = get_layouts();
	struct dp_layouts all = good;

	(void)state;
	row_of(&all, "ctl")->value_bytes += 8;
	put_layouts(&all);
	refused("pinned map 'ctl' is of another layout, version 1 of ");
	refused("nothing of it can be carried over");
	all = good;
	row_of(&all, "flows")->version++;
	put_layouts(&all);
	refused("pinned map 'flows' is of another layout, version 2 of 64 bytes, and this build's is version 1 of 64 bytes: "
		"what it holds means something else");
	all = good;
	row_of(&all, "pending")->field[1].bytes = 2;
	put_layouts(&all);
	refused("a field of it has another size");
	all = good;
	row_of(&all, "pending")->field[1].offset = 4000; /* past its end */
	put_layouts(&all);
	refused("pinned map 'pending'");
	put_layouts(&good);
	l = lab_load();
	assert_int_equal(l->start, LOADER_ADOPTED);
}

/* What two other builds left half way is looked at before this one adds to it. */
static void refuses_leftovers_that_it_cannot_carry(void **state)
{
	static const char aside[] = PINS_ASIDE "99999";
	_cleanup_(loader_free) struct loader *l = lab_load();
	struct dp_layouts all = get_layouts();
	_cleanup_free_ char *why = NULL;
	_cleanup_close_ int fd = -1;
	uint32_t key = 0;

	(void)state;
	row_of(&all, "fragments")->version++;
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "layouts", sizeof(key), sizeof(all), 1, NULL);
	assert_int_equal(bpf_map_update_elem(fd, &key, &all, BPF_ANY), 0);
	assert_int_equal(leftovers_check(l, &why), 0);
	assert_int_equal(pins_make_sub(LAB_PINS, aside, &why), 0);
	assert_int_equal(pins_replace(LAB_PINS, aside, "layouts", fd), 0);
	assert_int_equal(leftovers_check(l, &why), -EPROTO);
	assert_non_null(strstr(
		why, "lab/maps-99999 is of a migration that was cut short, and 'fragments'"));
	assert_int_equal(pins_remove_sub(LAB_PINS, aside), 0);
}

#define RIGHT(cap) (1ull << (cap))

/* Those that this thread uses, of those that it has. */
static void use_rights(uint64_t rights)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {};

	assert_int_equal(syscall(SYS_capget, &head, data), 0);
	for (int i = 0; i < 2; i++)
		data[i].effective = data[i].permitted & (uint32_t)(rights >> (32 * i));
	assert_int_equal(syscall(SYS_capset, &head, data), 0);
}

/*
 * Without CAP_PERFMON the verifier refuses what it otherwise takes: the sentence has the kernel's version and its last
 * lines, and programs, maps and meta are those of before. Rules out a start that pins as it goes.
 */
static void says_why_the_verifier_refuses(void **state)
{
	_cleanup_(loader_free) struct loader *l = NULL;
	_cleanup_free_ char *why = NULL, *want = NULL;
	_cleanup_close_ int fd = pins_open(LAB_PINS, PINS_MAPS, "meta");
	uint32_t prog = pinned_id(PINS_PROGS, "tc_ingress"), key = 0;
	struct dp_meta meta;
	struct utsname u;
	int r;

	(void)state;
	assert_int_equal(uname(&u), 0);
	assert_true(asprintf(&want, "kernel %s refused the programs: ", u.release) > 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &key, &meta), 0);
	meta.build[0] ^= 1;
	assert_int_equal(bpf_map_update_elem(fd, &key, &meta, BPF_ANY), 0);
	use_rights(RIGHT(CAP_BPF) | RIGHT(CAP_NET_ADMIN));
	r = loader_new(&l, LAB_PINS, LAB_FLOW_SLOTS, &why);
	use_rights(~0ull);
	assert_true(r < 0);
	assert_non_null(why);
	if (strncmp(why, want, strlen(want)) != 0 || !strstr(why, "processed "))
		fail_msg("'%s' and the verifier's words are not in '%s'", want, why);
	assert_int_equal(pinned_id(PINS_PROGS, "tc_ingress"), prog);
	meta.build[0] ^= 1;
	assert_int_equal(bpf_map_update_elem(fd, &key, &meta, BPF_ANY), 0);
	l = lab_load();
	assert_int_equal(l->start, LOADER_ADOPTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(changes_nothing_before_the_exchange, forget_counts),
		cmocka_unit_test_teardown(carries_flows, forget_counts),
		cmocka_unit_test_teardown(goes_on_after_the_exchange, forget_counts),
		cmocka_unit_test_teardown(goes_on_from_two, forget_counts),
		cmocka_unit_test_teardown(adds_counters_once, forget_counts),
		cmocka_unit_test_teardown(adds_shared_counters_once, forget_counts),
		cmocka_unit_test_teardown(carries_what_was_carried, forget_counts),
		cmocka_unit_test_teardown(makes_a_map_that_is_new, forget_counts),
		cmocka_unit_test_teardown(refuses_what_it_cannot_carry, forget_counts),
		cmocka_unit_test_teardown(refuses_leftovers_that_it_cannot_carry, forget_counts),
		cmocka_unit_test_teardown(says_why_the_verifier_refuses, forget_counts),
	};

	return cmocka_run_group_tests(tests, enter, NULL);
}
