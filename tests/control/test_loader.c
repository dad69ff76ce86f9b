/* SPDX-License-Identifier: Apache-2.0 */
/* A start on every state that the pin directory can be in. */
#include "lib/lab.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <bpf/bpf.h>
#include <linux/magic.h>

#include "loader_pins.h"

#define MAPS 18 /* without those in slots of others */

static uint32_t prog_id(int fd)
{
	struct bpf_prog_info info = {};
	uint32_t len = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	return info.id;
}

static struct bpf_map_info map_info(int fd)
{
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	return info;
}

static uint32_t map_id(int fd)
{
	return map_info(fd).id;
}

static struct dp_meta get_meta(void)
{
	_cleanup_close_ int fd = pins_open(LAB_PINS, PINS_MAPS, "meta");
	struct dp_meta meta;
	uint32_t key = 0;

	assert_int_equal(bpf_map_lookup_elem(fd, &key, &meta), 0);
	return meta;
}

static void put_meta(const struct dp_meta *meta)
{
	_cleanup_close_ int fd = pins_open(LAB_PINS, PINS_MAPS, "meta");
	uint32_t key = 0;

	assert_int_equal(bpf_map_update_elem(fd, &key, meta, BPF_ANY), 0);
}

static void refused(int code, const char *dir, const char *part)
{
	_cleanup_(loader_free) struct loader *l = NULL;
	_cleanup_free_ char *why = NULL;

	assert_int_equal(loader_new(&l, dir, LAB_FLOW_SLOTS, &why), code);
	assert_null(l);
	assert_non_null(why);
	if (!strstr(why, part))
		fail_msg("'%s' is not in '%s'", part, why);
}

static struct dp_ctl get_ctl(const struct loader *l)
{
	struct dp_ctl ctl;
	uint32_t key = 0;

	assert_int_equal(bpf_map_lookup_elem(l->ctl, &key, &ctl), 0);
	return ctl;
}

static int make_members(const struct loader *l, uint32_t pages)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = l->bank_flags);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "members", 4, DP_PAGE_BYTES, pages, &opts);

	assert_true(fd >= 0);
	return fd;
}

static uint32_t members_slot(const struct loader *l)
{
	uint32_t key = 0, id = 0;

	return bpf_map_lookup_elem(l->set_table, &key, &id) ? 0 : id;
}

static int count_pin(void *ctx, const char *name)
{
	(void)name;
	++*(unsigned int *)ctx;
	return 0;
}

static unsigned int pins(const char *sub)
{
	unsigned int count = 0;

	assert_int_equal(pins_each(LAB_PINS, sub, count_pin, &count), 0);
	return count;
}

static int wipe(void **state)
{
	(void)state;
	lab_wipe();
	return 0;
}

static void starts_fresh_and_mounts_bpffs(void **state)
{
	_cleanup_(loader_free) struct loader *l = NULL;
	struct stat st;
	struct statfs fs;

	(void)state;
	l = lab_load();
	assert_int_equal(l->start, LOADER_FRESH);
	assert_int_equal(statfs("/sys/fs/bpf", &fs), 0);
	assert_int_equal(fs.f_type, BPF_FS_MAGIC);
	assert_int_equal(stat(LAB_PINS, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(get_meta().abi_version, DP_ABI_VERSION);
	assert_int_equal(pins(PINS_MAPS), MAPS);
	assert_int_equal(pins(PINS_PROGS), LOADER_PROG_COUNT);
	assert_int_equal(loader_active_bank(l), 0);
	assert_false(loader_bank_header(l, 0, &(struct dp_bank_header){}));
	assert_true(loader_memory_bytes(l) > 1024 * 1024);
}

static void adopts_the_same_build(void **state)
{
	_cleanup_(loader_free) struct loader *first = NULL, *second = NULL;
	struct dp_bank_header header;

	(void)state;
	first = lab_load();
	lab_policy(first);
	second = lab_load();
	assert_int_equal(second->start, LOADER_ADOPTED);
	for (unsigned int i = 0; i < LOADER_PROG_COUNT; i++)
		assert_int_equal(prog_id(first->prog[i]), prog_id(second->prog[i]));
	assert_int_equal(map_id(first->banks), map_id(second->banks));
	assert_int_equal(loader_active_bank(second), 1);
	assert_true(loader_bank_header(second, 1, &header));
	assert_int_equal(header.generation, 1);
}

static void upgrades_another_build(void **state)
{
	_cleanup_(loader_free) struct loader *first = NULL, *second = NULL;
	struct dp_meta meta;

	(void)state;
	first = lab_load();
	lab_policy(first);
	meta = get_meta();
	meta.build[3] ^= 1;
	put_meta(&meta);
	second = lab_load();
	assert_int_equal(second->start, LOADER_UPGRADED);
	for (unsigned int i = 0; i < LOADER_PROG_COUNT; i++)
		assert_int_not_equal(prog_id(first->prog[i]), prog_id(second->prog[i]));
	assert_int_equal(map_id(first->banks), map_id(second->banks));
	assert_true(loader_bank_header(second, 1, &(struct dp_bank_header){}));
	meta.build[3] ^= 1;
	assert_memory_equal(get_meta().build, meta.build, sizeof(meta.build));
	loader_free(&first);
	first = lab_load();
	assert_int_equal(first->start, LOADER_ADOPTED);
	assert_int_equal(prog_id(first->prog[0]), prog_id(second->prog[0]));
}

static void loads_again_when_a_program_is_not_pinned(void **state)
{
	_cleanup_(loader_free) struct loader *l = NULL;

	(void)state;
	l = lab_load();
	assert_int_equal(pins_remove(LAB_PINS, PINS_PROGS, "tc_egress"), 0);
	loader_free(&l);
	l = lab_load();
	assert_int_equal(l->start, LOADER_UPGRADED);
	assert_int_equal(pins(PINS_PROGS), LOADER_PROG_COUNT);
}

static void refuses_another_abi(void **state)
{
	_cleanup_(loader_free) struct loader *l = NULL;
	struct dp_meta meta;

	(void)state;
	l = lab_load();
	meta = get_meta();
	meta.abi_version = 99;
	put_meta(&meta);
	refused(-EPROTO, LAB_PINS, "pinned map 'meta' has ABI version 99, this build wants 3");
	assert_int_equal(get_meta().abi_version, 99);
	assert_int_equal(pins(PINS_MAPS), MAPS);
}

static void refuses_another_layout(void **state)
{
	_cleanup_(loader_free) struct loader *l = NULL;
	_cleanup_close_ int small = -1;

	(void)state;
	l = lab_load();
	small = bpf_map_create(BPF_MAP_TYPE_ARRAY, "devs", 4, sizeof(struct dp_dev), 8, NULL);
	assert_int_equal(pins_replace(LAB_PINS, PINS_MAPS, "devs", small), 0);
	refused(-EPROTO, LAB_PINS, "pinned map 'devs' has max_entries 8, this build wants 16384");
}

static void refuses_another_meta(void **state)
{
	_cleanup_(loader_free) struct loader *l = NULL;
	_cleanup_close_ int other = -1;

	(void)state;
	l = lab_load();
	other = bpf_map_create(BPF_MAP_TYPE_ARRAY, "meta", 4, 64, 1, NULL);
	assert_int_equal(pins_replace(LAB_PINS, PINS_MAPS, "meta", other), 0);
	refused(-EPROTO, LAB_PINS, "pinned map 'meta' has value size 64, this build wants 24");
}

static void starts_over_on_half_made_pins(void **state)
{
	_cleanup_(loader_free) struct loader *l = NULL;
	const struct dp_meta unfinished = {};
	uint32_t id;

	(void)state;
	l = lab_load();
	id = map_id(l->ctl);
	assert_int_equal(pins_remove(LAB_PINS, PINS_MAPS, "devs"), 0);
	loader_free(&l);
	l = lab_load();
	assert_int_equal(l->start, LOADER_FRESH);
	assert_int_not_equal(map_id(l->ctl), id);
	loader_free(&l);
	put_meta(&unfinished);
	l = lab_load();
	assert_int_equal(l->start, LOADER_FRESH);
	assert_int_equal(pins(PINS_MAPS), MAPS);
}

static void refuses_half_made_pins_below_links(void **state)
{
	_cleanup_(loader_free) struct loader *l = NULL;

	(void)state;
	l = lab_load();
	assert_int_equal(pins_replace(LAB_PINS, PINS_LINKS, "7-ingress-tcx", l->prog[0]), 0);
	assert_int_equal(pins_remove(LAB_PINS, PINS_MAPS, "devs"), 0);
	refused(-EPROTO, LAB_PINS, "has 17 of 18 maps but programs are attached");
	assert_int_equal(pins(PINS_MAPS), MAPS - 1);
	assert_int_equal(pins(PINS_LINKS), 1);
}

static void refuses_other_file_systems(void **state)
{
	(void)state;
	refused(-EINVAL, "/tmp/penstock-no-bpffs/lab", "is not below a bpffs");
	assert_int_equal(access("/tmp/penstock-no-bpffs", F_OK), -1);
	refused(-EPERM, "/sys/fs/bpf/penstock/a.b", "bpffs allows no '.' in a name");
}

/* The keys of the hashes are secret, drawn once: a new draw would lose every flow and member. */
static void draws_keys_once(void **state)
{
	_cleanup_(loader_free) struct loader *l = NULL;
	struct dp_ctl first, again;
	struct dp_meta meta;

	(void)state;
	l = lab_load();
	first = get_ctl(l);
	for (unsigned int i = 0; i < DP_HASH_KEYS; i++) {
		assert_int_not_equal(first.hash_key[i] >> 32, 0);
		for (unsigned int k = 0; k < i; k++)
			assert_int_not_equal(first.hash_key[i], first.hash_key[k]);
	}
	assert_int_equal(first.adopt_until, 0);
	loader_free(&l);
	l = lab_load();
	assert_int_equal(l->start, LOADER_ADOPTED);
	again = get_ctl(l);
	assert_memory_equal(&again, &first, sizeof(first));
	meta = get_meta();
	meta.build[0] ^= 1;
	put_meta(&meta);
	loader_free(&l);
	l = lab_load();
	assert_int_equal(l->start, LOADER_UPGRADED);
	again = get_ctl(l);
	assert_memory_equal(&again, &first, sizeof(first));
	loader_free(&l);
	lab_wipe();
	l = lab_load();
	again = get_ctl(l);
	assert_memory_not_equal(again.hash_key, first.hash_key, sizeof(first.hash_key));
}

/* A size that is asked for holds for maps that are made; those that are pinned keep theirs. */
static void flows_keep_their_size(void **state)
{
	_cleanup_(loader_free) struct loader *l = NULL;
	_cleanup_free_ char *why = NULL;
	struct dp_meta meta;
	uint32_t id;

	(void)state;
	assert_int_equal(loader_new(&l, LAB_PINS, 3000, &why), -EINVAL);
	assert_int_equal(loader_new(&l, LAB_PINS, LOADER_FLOW_SLOTS_MIN / 2, &why), -EINVAL);
	assert_int_equal(loader_new(&l, LAB_PINS, 2 * LOADER_FLOW_SLOTS_MAX, &why), -EINVAL);
	assert_int_equal(loader_new(&l, LAB_PINS, 4096, &why), 0);
	assert_int_equal(l->flow_slots, 4096);
	assert_int_equal(map_info(l->flows).max_entries, 4096);
	id = map_id(l->flows);
	loader_free(&l);
	assert_int_equal(loader_new(&l, LAB_PINS, 8192, &why), 0);
	assert_int_equal(l->start, LOADER_ADOPTED);
	assert_int_equal(l->flow_slots, 4096);
	loader_free(&l);
	meta = get_meta();
	meta.build[5] ^= 1;
	put_meta(&meta);
	assert_int_equal(loader_new(&l, LAB_PINS, 8192, &why), 0);
	assert_int_equal(l->start, LOADER_UPGRADED);
	assert_int_equal(l->flow_slots, 4096);
	assert_int_equal(map_id(l->flows), id);
}

/* The programs index with a mask: a size that is none would reach past the end, or never to it. */
static void refuses_flows_of_no_size(void **state)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	_cleanup_(loader_free) struct loader *l = NULL;
	_cleanup_close_ int odd = -1;

	(void)state;
	l = lab_load();
	odd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "flows", 4, sizeof(struct dp_flow), 3000, &opts);
	assert_int_equal(pins_replace(LAB_PINS, PINS_MAPS, "flows", odd), 0);
	refused(-EPROTO, LAB_PINS, "pinned map 'flows' has max_entries 3000");
}

static void keeps_the_members_of_sets(void **state)
{
	_cleanup_(loader_free) struct loader *l = NULL;
	_cleanup_free_ char *why = NULL;
	uint32_t id;
	int fd;

	(void)state;
	l = lab_load();
	assert_int_equal(l->inner[LOADER_MEMBERS], -1);
	for (uint32_t pages = 4; pages <= 8; pages += 4) {
		fd = make_members(l, pages);
		assert_int_equal(loader_put_inner(l, LOADER_MEMBERS, fd, &why), 0);
		assert_int_equal(l->inner[LOADER_MEMBERS], fd);
		assert_int_equal(members_slot(l), map_id(fd));
	}
	id = map_id(l->inner[LOADER_MEMBERS]);
	assert_int_equal(pins(PINS_MAPS), MAPS + 1);
	loader_free(&l);
	l = lab_load();
	assert_int_equal(l->start, LOADER_ADOPTED);
	assert_int_equal(map_id(l->inner[LOADER_MEMBERS]), id);
}

/* Killed between the pin and the slot: what packets read and what the daemon writes must be one map. */
static void takes_the_pinned_members_after_a_crash(void **state)
{
	_cleanup_(loader_free) struct loader *l = NULL;
	_cleanup_close_ int newer = -1;
	_cleanup_free_ char *why = NULL;

	(void)state;
	l = lab_load();
	assert_int_equal(loader_put_inner(l, LOADER_MEMBERS, make_members(l, 4), &why), 0);
	newer = make_members(l, 8);
	assert_int_equal(pins_replace(LAB_PINS, PINS_MAPS, "set_members", newer), 0);
	loader_free(&l);
	l = lab_load();
	assert_int_equal(map_id(l->inner[LOADER_MEMBERS]), map_id(newer));
	assert_int_equal(members_slot(l), map_id(newer));
	assert_int_equal(pins_remove(LAB_PINS, PINS_MAPS, "set_members"), 0);
	refused(-EPROTO, LAB_PINS, "the map in use is not pinned as 'set_members'");
}

static void refuses_members_that_do_not_fit(void **state)
{
	_cleanup_(loader_free) struct loader *l = NULL;
	_cleanup_close_ int other = -1;
	_cleanup_free_ char *why = NULL;

	(void)state;
	l = lab_load();
	assert_int_equal(loader_put_inner(l, LOADER_MEMBERS, make_members(l, 4), &why), 0);
	other = bpf_map_create(BPF_MAP_TYPE_ARRAY, "members", 4, 64, 1, NULL);
	assert_true(loader_put_inner(l, LOADER_MEMBERS, other, &why) < 0);
	assert_int_equal(members_slot(l), map_id(l->inner[LOADER_MEMBERS]));
	loader_free(&l);
	l = lab_load(); /* the pin is that of before as well */
	assert_int_equal(map_info(l->inner[LOADER_MEMBERS]).max_entries, 4);
}

static void leaves_nothing_when_a_start_fails(void **state)
{
	struct rlimit old, few;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = (struct rlimit){ 12, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	refused(-EMFILE, LAB_PINS, "");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(pins(PINS_MAPS), 0);
	assert_int_equal(pins(PINS_PROGS), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(starts_fresh_and_mounts_bpffs, wipe),
		cmocka_unit_test_teardown(adopts_the_same_build, wipe),
		cmocka_unit_test_teardown(upgrades_another_build, wipe),
		cmocka_unit_test_teardown(loads_again_when_a_program_is_not_pinned, wipe),
		cmocka_unit_test_teardown(refuses_another_abi, wipe),
		cmocka_unit_test_teardown(refuses_another_layout, wipe),
		cmocka_unit_test_teardown(refuses_another_meta, wipe),
		cmocka_unit_test_teardown(starts_over_on_half_made_pins, wipe),
		cmocka_unit_test_teardown(refuses_half_made_pins_below_links, wipe),
		cmocka_unit_test_teardown(refuses_other_file_systems, wipe),
		cmocka_unit_test_teardown(draws_keys_once, wipe),
		cmocka_unit_test_teardown(flows_keep_their_size, wipe),
		cmocka_unit_test_teardown(refuses_flows_of_no_size, wipe),
		cmocka_unit_test_teardown(keeps_the_members_of_sets, wipe),
		cmocka_unit_test_teardown(takes_the_pinned_members_after_a_crash, wipe),
		cmocka_unit_test_teardown(refuses_members_that_do_not_fit, wipe),
		cmocka_unit_test_teardown(leaves_nothing_when_a_start_fails, wipe),
	};

	return cmocka_run_group_tests(tests, lab_enter, NULL);
}
