/* SPDX-License-Identifier: Apache-2.0 */
/* Banks: what is written, when a new map is made, and what a failure leaves. */
#include "lib/lab.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <bpf/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include "install.h"
#include "loader_pins.h"

#define LARGE 4096
#define SMALL 64

static struct loader *l;

static int load(void **state)
{
	(void)state;
	l = lab_load();
	return 0;
}

static int reset(void **state)
{
	(void)state;
	loader_free(&l);
	lab_reset();
	return 0;
}

static struct install_result write_ok(uint32_t lines, uint64_t generation, uint32_t fill)
{
	_cleanup_free_ struct dp_line *image = lab_image(lines, generation, fill);
	_cleanup_free_ char *why = NULL;
	struct install_result result;

	if (install_write(l, image, lines, &result, &why))
		fail_msg("install_write: %s", why);
	assert_int_equal(result.lines, lines);
	return result;
}

static struct install_result apply(uint32_t lines, uint64_t generation, uint32_t fill)
{
	struct install_result result = write_ok(lines, generation, fill);

	install_flip(l, result.bank, 0);
	assert_int_equal(install_settle(), 0);
	assert_int_equal(loader_active_bank(l), result.bank);
	return result;
}

static uint64_t generation_of(unsigned int bank)
{
	struct dp_bank_header header;

	return loader_bank_header(l, bank, &header) ? header.generation : 0;
}

static struct bpf_map_info info_of(unsigned int bank)
{
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(l->bank[bank], &info, &len), 0);
	return info;
}

static uint32_t slot_of(unsigned int bank)
{
	uint32_t id = 0;

	return bpf_map_lookup_elem(l->banks, &bank, &id) ? 0 : id;
}

static void refused(int code, uint32_t lines, const char *part)
{
	_cleanup_free_ struct dp_line *image = lab_image(lines, 77, 7);
	_cleanup_free_ char *why = NULL;
	struct install_result result;
	int r = install_write(l, image, lines, &result, &why);

	if (r != code || !why || !strstr(why, part))
		fail_msg("%d (%s) instead of %d (%s)", r, why ? why : "", code, part);
}

static void writes_both_banks_in_turn(void **state)
{
	struct install_result r;

	(void)state;
	r = apply(SMALL, 1, 1);
	assert_int_equal(r.bank, 1);
	assert_true(r.new_map);
	assert_int_equal(r.lines_changed, SMALL);
	r = apply(SMALL, 2, 1);
	assert_int_equal(r.bank, 0);
	assert_true(r.new_map);
	r = apply(SMALL, 3, 1);
	assert_int_equal(r.bank, 1);
	assert_false(r.new_map);
	assert_int_equal(r.lines_changed, 1); /* the header: its generation */
	assert_int_equal(generation_of(0), 2);
	assert_int_equal(generation_of(1), 3);
}

static void writes_only_what_differs(void **state)
{
	_cleanup_free_ struct dp_line *image = lab_image(SMALL, 1, 5);
	_cleanup_free_ char *why = NULL;
	struct install_result r;

	(void)state;
	apply(SMALL, 1, 5);
	apply(SMALL, 1, 5);
	image[40].word[3] = 6;
	image[63].word[15] = 6;
	assert_int_equal(install_write(l, image, SMALL, &r, &why), 0);
	assert_int_equal(r.lines_changed, 2);
	assert_int_equal(install_write(l, image, SMALL, &r, &why), 0);
	assert_int_equal(r.lines_changed, 0);
}

static void grows_into_a_new_map(void **state)
{
	uint32_t before;

	(void)state;
	apply(SMALL, 1, 1);
	apply(SMALL, 2, 1);
	before = slot_of(1);
	assert_int_equal(info_of(1).max_entries, 1);
	assert_true(apply(LARGE - 100, 3, 1).new_map);
	assert_int_equal(info_of(1).max_entries, LARGE / DP_PAGE_LINES);
	assert_int_not_equal(slot_of(1), before);
	assert_int_equal(slot_of(1), info_of(1).id);
	assert_int_equal(generation_of(0), 2);
	assert_int_equal(generation_of(1), 3);
}

static void shrinks_only_when_it_is_worth_it(void **state)
{
	(void)state;
	apply(LARGE, 1, 1);
	apply(LARGE, 2, 1);
	assert_false(apply(LARGE / 8, 3, 1).new_map);
	assert_true(apply(SMALL, 4, 1).new_map);
	assert_int_equal(info_of(0).max_entries, 1);
}

static void survives_the_process(void **state)
{
	(void)state;
	apply(LARGE, 1, 1);
	apply(SMALL, 2, 1);
	loader_free(&l);
	l = lab_load();
	assert_int_equal(l->start, LOADER_ADOPTED);
	assert_int_equal(generation_of(loader_active_bank(l)), 2);
	assert_int_equal(generation_of(!loader_active_bank(l)), 1);
	assert_int_equal(slot_of(0), info_of(0).id);
	assert_int_equal(slot_of(1), info_of(1).id);
	assert_false(apply(LARGE, 3, 1).new_map);
}

/* A crash after the slot's change and before the pin's: the pin names the map before. */
static void starts_with_a_bank_that_is_not_pinned(void **state)
{
	(void)state;
	apply(SMALL, 1, 1);
	apply(SMALL, 2, 1);
	assert_int_equal(pins_replace(LAB_PINS, PINS_MAPS, "bank-1", l->bank[0]), 0);
	assert_int_equal(pins_remove(LAB_PINS, PINS_MAPS, "bank-0"), 0);
	loader_free(&l);
	l = lab_load();
	assert_int_equal(generation_of(0), 2);
	assert_int_equal(slot_of(0), info_of(0).id);
	apply(SMALL, 3, 1);
	assert_int_equal(generation_of(1), 3);
	assert_int_equal(slot_of(1), info_of(1).id);
}

static void refuses_an_image_without_a_header(void **state)
{
	_cleanup_free_ struct dp_line *image = lab_image(SMALL, 1, 1);
	_cleanup_free_ char *why = NULL;
	struct install_result r;

	(void)state;
	assert_int_equal(install_write(l, image, SMALL - 1, &r, &why), -EINVAL);
	assert_non_null(why);
	assert_int_equal(slot_of(0), 0);
	assert_int_equal(slot_of(1), 0);
}

static void undone_when_no_map_can_be_made(void **state)
{
	struct rlimit old, few;
	uint32_t before;

	(void)state;
	apply(SMALL, 1, 1);
	apply(SMALL, 2, 1);
	before = slot_of(1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = (struct rlimit){ 3, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	refused(-EMFILE, LARGE, "cannot make a bank of 256 KiB");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(slot_of(1), before);
	assert_int_equal(generation_of(0), 2);
	assert_int_equal(generation_of(1), 1);
}

static void undone_when_a_map_cannot_be_pinned(void **state)
{
	uint32_t before;

	(void)state;
	apply(SMALL, 1, 1);
	write_ok(SMALL, 2, 1);
	before = slot_of(0);
	lab_run("mkdir " LAB_PINS "/maps/bank-0-new");
	refused(-EISDIR, LARGE, "cannot pin bank 0");
	lab_run("rmdir " LAB_PINS "/maps/bank-0-new");
	assert_int_equal(slot_of(0), before);
	assert_int_equal(generation_of(1), 1);
}

static void empties_the_slot_again_when_it_was_empty(void **state)
{
	(void)state;
	lab_run("mkdir " LAB_PINS "/maps/bank-1-new");
	refused(-EISDIR, SMALL, "cannot pin bank 1");
	lab_run("rmdir " LAB_PINS "/maps/bank-1-new");
	assert_int_equal(slot_of(1), 0);
	assert_int_equal(l->bank[1], -1);
}

/* Somebody who writes into the bank all the time, by a mapping of their own. */
struct spoiler {
	atomic_uint *word;
	atomic_bool stop;
};

static void *spoil(void *arg)
{
	struct spoiler *s = arg;

	while (!atomic_load(&s->stop))
		atomic_fetch_add(s->word, 1);
	return NULL;
}

static void verify_finds_what_was_spoiled(void **state)
{
	_cleanup_free_ struct dp_line *image = lab_image(LARGE, 9, 3);
	size_t bytes = (size_t)LARGE * DP_LINE_BYTES;
	struct spoiler s = {};
	pthread_t thread;
	struct dp_page *pages;
	int r = 0;

	(void)state;
	apply(LARGE, 1, 3);
	apply(LARGE, 2, 3);
	pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, l->bank[1], 0);
	assert_ptr_not_equal(pages, MAP_FAILED);
	s.word = (atomic_uint *)&pages[50].line[7].word[2];
	assert_int_equal(pthread_create(&thread, NULL, spoil, &s), 0);
	for (unsigned int i = 0; i < 1000 && !r; i++) {
		_cleanup_free_ char *why = NULL;
		struct install_result result;

		r = install_write(l, image, LARGE, &result, &why);
		assert_true(!r || strstr(why, "bank 1: line 3207 of 4096 reads back different"));
	}
	atomic_store(&s.stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(r, -EIO);
	assert_int_equal(generation_of(1), 0); /* nobody takes it for a bank */
	assert_int_equal(generation_of(0), 2);
	assert_int_equal(munmap(pages, bytes), 0);
	apply(LARGE, 10, 3);
	assert_int_equal(generation_of(1), 10);
}

/* A seccomp filter that refuses membarrier; everything else passes. */
static int refuse_membarrier(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(*code), code };

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static void settles_without_membarrier(void **state)
{
	pid_t child = fork();
	int status;

	(void)state;
	assert_true(child >= 0);
	if (!child)
		_exit(refuse_membarrier() || !syscall(SYS_membarrier, 0, 0, 0) || install_settle());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

#define WITH_LOADER(test) cmocka_unit_test_setup_teardown(test, load, reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_LOADER(writes_both_banks_in_turn),
		WITH_LOADER(writes_only_what_differs),
		WITH_LOADER(grows_into_a_new_map),
		WITH_LOADER(shrinks_only_when_it_is_worth_it),
		WITH_LOADER(survives_the_process),
		WITH_LOADER(starts_with_a_bank_that_is_not_pinned),
		WITH_LOADER(refuses_an_image_without_a_header),
		WITH_LOADER(undone_when_no_map_can_be_made),
		WITH_LOADER(undone_when_a_map_cannot_be_pinned),
		WITH_LOADER(empties_the_slot_again_when_it_was_empty),
		WITH_LOADER(settles_without_membarrier),
		WITH_LOADER(verify_finds_what_was_spoiled),
	};

	return cmocka_run_group_tests(tests, lab_enter, NULL);
}
