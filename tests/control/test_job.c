/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiling child: what it answers, what it may do, and that one which crashes, hangs or lies costs
 * nothing but a sentence. This program is its own child, as penstockd is.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <json-c/json.h>
#include <systemd/sd-event.h>

#include "addr.h"
#include "control/job.h"
#include "control/sets_keys.h"

#define ALL_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

struct outcome {
	sd_event *event;
	bool called;
	int r;
	struct job_result result;
	char why[160];
};

static void on_done(void *ctx, int r, struct job_result *result, uint64_t took_ms, const char *why)
{
	struct outcome *o = ctx;

	(void)took_ms;
	assert_false(o->called);
	o->called = true;
	o->r = r;
	o->result = *result;
	(void)snprintf(o->why, sizeof(o->why), "%s", why ? why : "");
	sd_event_exit(o->event, 0);
}

static int memfd_of(const char *text)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

/* Runs a job to its end. Descriptors are closed, paths are put. */
static void run_input(struct outcome *o, struct job_input *input, struct fd_list *fds)
{
	struct job *job = NULL;

	*o = (struct outcome){};
	input->fds = fds;
	assert_true(sd_event_new(&o->event) >= 0);
	assert_int_equal(job_start(&job, o->event, input, on_done, o), 0);
	fd_list_done(fds);
	assert_int_equal(sd_event_loop(o->event), 0);
	assert_true(o->called);
	sd_event_unref(o->event);
	json_object_put(input->paths);
}

static void run(struct outcome *o, enum job_task task, struct fd_list *fds, const char *paths,
		const struct job_limits *limits)
{
	struct job_input input = { .task = task, .file = "test.yaml", .limits = limits };

	input.paths = paths ? json_tokener_parse(paths) : NULL;
	run_input(o, &input, fds);
}

static void add(struct fd_list *fds, int fd)
{
	assert_int_equal(vec_push(fds, fd), 0);
}

static const char policy[] = "version: 1\n"
			     "attach:\n"
			     "  wan: {dev: eth9}\n"
			     "sets:\n"
			     "  bad: {file: bad.txt}\n"
			     "filter:\n"
			     "  in:\n"
			     "    at: wan.ingress\n"
			     "    default: pass\n"
			     "    rules:\n"
			     "      - {id: bad, from: $bad, do: drop}\n";

static void a_good_policy_becomes_an_image(void **state)
{
	struct dp_bank_header *header;
	struct fd_list fds = {};
	struct outcome o;

	(void)state;
	add(&fds, memfd_of(policy));
	add(&fds, memfd_of("192.0.2.0/24\n198.51.100.7\n"));
	run(&o, JOB_COMPILE, &fds, "[\"bad.txt\"]", NULL);
	assert_int_equal(o.r, 0);
	assert_true(o.result.count > 0);
	header = (void *)o.result.lines;
	assert_int_equal(header->magic, DP_BANK_MAGIC);
	assert_int_equal(header->lines, o.result.count);
	header->generation = 5; /* ours to patch */
	assert_non_null(memmem(o.result.manifest, o.result.manifest_len, "\"bad\"", 5));
	job_result_done(&o.result);
}

/* Nobody moves a descriptor's position for us: the child reads from the beginning. */
static void position_does_not_matter(void **state)
{
	struct fd_list fds = {};
	int fd = memfd_of(policy);
	struct outcome o;

	(void)state;
	assert_int_equal(lseek(fd, 0, SEEK_END), strlen(policy));
	add(&fds, fd);
	add(&fds, memfd_of(""));
	run(&o, JOB_COMPILE, &fds, "[\"bad.txt\"]", NULL);
	assert_int_equal(o.r, 0);
	assert_true(o.result.count > 0);
	job_result_done(&o.result);
}

static void a_bad_policy_becomes_diagnostics(void **state)
{
	struct fd_list fds = {};
	struct outcome o;

	(void)state;
	add(&fds, memfd_of("version: 1\nfliter: {}\n"));
	run(&o, JOB_COMPILE, &fds, NULL, NULL);
	assert_int_equal(o.r, 0);
	assert_int_equal(o.result.count, 0);
	assert_non_null(memmem(o.result.diagnostics, o.result.diagnostics_len, "fliter", 6));
	job_result_done(&o.result);
}

static void a_file_that_was_not_passed_is_missing(void **state)
{
	struct fd_list fds = {};
	struct outcome o;

	(void)state;
	add(&fds, memfd_of(policy));
	run(&o, JOB_COMPILE, &fds, NULL, NULL);
	assert_int_equal(o.r, 0);
	assert_int_equal(o.result.count, 0);
	assert_non_null(memmem(o.result.diagnostics, o.result.diagnostics_len, "bad.txt", 7));
	job_result_done(&o.result);
}

static void paths_are_listed(void **state)
{
	struct fd_list fds = {};
	struct outcome o;

	(void)state;
	add(&fds, memfd_of(policy));
	run(&o, JOB_PATHS, &fds, NULL, NULL);
	assert_int_equal(o.r, 0);
	assert_int_equal(o.result.manifest_len, strlen("[\"bad.txt\"]"));
	assert_memory_equal(o.result.manifest, "[\"bad.txt\"]", o.result.manifest_len);
	job_result_done(&o.result);
}

static void a_directory_is_no_policy(void **state)
{
	struct fd_list fds = {};
	struct outcome o;

	(void)state;
	add(&fds, open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	run(&o, JOB_COMPILE, &fds, NULL, NULL);
	assert_int_equal(o.r, -ECHILD);
	assert_non_null(strstr(o.why, "no regular file"));
}

/* Reading a pipe would wait for ever. */
static void a_pipe_is_no_set_file(void **state)
{
	struct fd_list fds = {};
	struct outcome o;
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	add(&fds, memfd_of(policy));
	add(&fds, ends[0]);
	run(&o, JOB_COMPILE, &fds, "[\"bad.txt\"]", NULL);
	close(ends[1]);
	assert_int_equal(o.r, 0);
	assert_int_equal(o.result.count, 0);
	job_result_done(&o.result);
}

static void many_files_travel(void **state)
{
	struct json_object *paths = json_object_new_array();
	struct fd_list fds = {};
	struct outcome o;

	(void)state;
	add(&fds, memfd_of("version: 1\n"));
	for (int i = 0; i < 600; i++) {
		add(&fds, memfd_of("192.0.2.1\n"));
		json_object_array_add(paths, json_object_new_string("some.txt"));
	}
	run(&o, JOB_COMPILE, &fds, json_object_to_json_string(paths), NULL);
	assert_int_equal(o.r, 0);
	job_result_done(&o.result);
	json_object_put(paths);
}

/* ---- children that misbehave ----------------------------------------------------------------------- */

static void sentence(const char *arg, uint64_t timeout_ms, int r, const char *part)
{
	struct job_limits limits = { .arg = arg, .timeout_ms = timeout_ms };
	struct fd_list fds = {};
	struct outcome o;

	add(&fds, memfd_of("version: 1\n"));
	run(&o, JOB_COMPILE, &fds, NULL, &limits);
	assert_int_equal(o.r, r);
	if (!strstr(o.why, part))
		fail_msg("'%s' does not say '%s'", o.why, part);
	assert_null(o.result.map);
}

static void crash(void **state)
{
	(void)state;
	sentence("--crash", 10000, -ECHILD, "SEGV");
}

static void hang(void **state)
{
	(void)state;
	sentence("--hang", 100, -ETIMEDOUT, "not done after 100 ms");
}

static void killed(void **state)
{
	(void)state;
	sentence("--killed", 10000, -ECHILD, "out of memory");
}

static void silence(void **state)
{
	(void)state;
	sentence("--silence", 10000, -ENODATA, "not whole");
}

static void not_sealed(void **state)
{
	(void)state;
	sentence("--not-sealed", 10000, -EBADMSG, "not sealed");
}

static void too_short(void **state)
{
	(void)state;
	sentence("--too-short", 10000, -EBADMSG, "not whole");
}

static void overflow(void **state)
{
	(void)state;
	sentence("--overflow", 10000, -EBADMSG, "not whole");
}

static void no_memfd(void **state)
{
	(void)state;
	sentence("--no-memfd", 10000, -EBADMSG, "not sealed");
}

static void cancelled(void **state)
{
	struct job_limits limits = { .arg = "--hang", .timeout_ms = 10000 };
	struct job_input input = { .file = "test.yaml", .limits = &limits };
	struct fd_list fds = {};
	struct outcome o = {};
	struct job *job = NULL;

	(void)state;
	add(&fds, memfd_of("version: 1\n"));
	input.fds = &fds;
	assert_true(sd_event_new(&o.event) >= 0);
	assert_int_equal(job_start(&job, o.event, &input, on_done, &o), 0);
	job_cancel(&job);
	assert_null(job);
	assert_false(o.called);
	sd_event_unref(o.event);
	fd_list_done(&fds);
}

static void die_by_segv(void)
{
	(void)signal(SIGSEGV, SIG_DFL); /* a sanitizer would turn it into an exit status */
	raise(SIGSEGV);
}

/* Ending with unread input would be an error of the socket, and not the one that is looked for. */
static void read_input(void)
{
	struct fd_list fds = {};
	unsigned char byte;

	while (fdio_receive(JOB_SOCKET_FD, &byte, &fds, 100) == 0)
		;
}

static int misbehave(const char *how)
{
	struct job_header header = { .magic = JOB_MAGIC };

	read_input();
	if (!strcmp(how, "--crash"))
		die_by_segv();
	if (!strcmp(how, "--hang"))
		pause();
	if (!strcmp(how, "--killed"))
		raise(SIGKILL);
	if (!strcmp(how, "--not-sealed"))
		return job_child_answer(JOB_SOCKET_FD, &header, NULL, "", "",
					F_SEAL_SHRINK | F_SEAL_GROW);
	if (!strcmp(how, "--no-memfd")) {
		int fd = open("/dev/zero", O_RDONLY);

		return fdio_send(JOB_SOCKET_FD, 0, &fd, 1);
	}
	if (!strcmp(how, "--too-short")) {
		int fd = memfd_create("short", MFD_ALLOW_SEALING);

		fcntl(fd, F_ADD_SEALS, ALL_SEALS);
		return fdio_send(JOB_SOCKET_FD, 0, &fd, 1);
	}
	if (!strcmp(how, "--overflow")) {
		/* The sizes add up only if they are added in 32 bits. */
		struct job_header lie = { .magic = JOB_MAGIC, .count = 0x04000000 };
		int fd = memfd_create("lie", MFD_ALLOW_SEALING);

		(void)!write(fd, &lie, sizeof(lie));
		fcntl(fd, F_ADD_SEALS, ALL_SEALS);
		return fdio_send(JOB_SOCKET_FD, 0, &fd, 1);
	}
	return 0;
}

/* ---- lists of prefixes ------------------------------------------------------------------------------- */

static void assert_keys(const struct job_result *result, const char *const *want, size_t count,
			uint64_t want_duplicates)
{
	struct sets_keys keys = {};
	uint64_t duplicates;

	assert_int_equal(job_result_keys(result, &keys, &duplicates), 0);
	assert_int_equal(keys.count, count);
	assert_int_equal(duplicates, want_duplicates);
	for (size_t i = 0; i < count; i++) {
		struct prefix p = sets_prefix_of(&keys.at[i]);
		char text[PREFIX_TEXT];

		prefix_format(&p, text);
		assert_string_equal(text, want[i]);
	}
	vec_done(&keys);
}

static void a_list_becomes_sorted_keys(void **state)
{
	static const char *const want[] = { "0.0.0.0/0", "192.0.2.0/24", "192.0.2.7",
					    "2001:db8::/33", "2001:db8::1" };
	struct job_input input = { .task = JOB_PREFIXES, .file = "<stdin>", .max = 100 };
	struct fd_list fds = {};
	struct outcome o;

	(void)state;
	add(&fds, memfd_of("2001:db8::1\n192.0.2.7 # a\n\n192.0.2.0/24\n0.0.0.0/0\n192.0.2.7\n"
			   "2001:db8::/33\n"));
	run_input(&o, &input, &fds);
	assert_int_equal(o.r, 0);
	assert_keys(&o.result, want, 5, 1);
	job_result_done(&o.result);
}

static void a_bad_list_becomes_diagnostics(void **state)
{
	static const char *const texts[] = { "192.0.2.1\n192.0.2.1/24\n",
					     "1.1.1.1\n2.2.2.2\n3.3.3.3\n" };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct job_input input = { .task = JOB_PREFIXES, .file = "<stdin>", .max = 2 };
		struct fd_list fds = {};
		struct outcome o;

		add(&fds, memfd_of(texts[i]));
		run_input(&o, &input, &fds);
		assert_int_equal(o.r, 0);
		assert_int_equal(o.result.manifest_len, 0);
		assert_non_null(
			memmem(o.result.diagnostics, o.result.diagnostics_len, "<stdin>", 7));
		job_result_done(&o.result);
	}
}

/* As written: neither merged with neighbours nor swallowed by a wider one. */
static void what_a_policy_gives_is_told_as_written(void **state)
{
	static const char *const want[] = { "192.0.2.0/25", "192.0.2.1", "192.0.2.128/25" };
	struct job_input input = { .task = JOB_MEMBERS, .file = "test.yaml", .set = "bad" };
	struct fd_list fds = {};
	struct outcome o;

	(void)state;
	input.paths = json_tokener_parse("[\"bad.txt\"]");
	add(&fds, memfd_of(policy));
	add(&fds, memfd_of("192.0.2.128/25\n192.0.2.0/25\n192.0.2.1\n"));
	run_input(&o, &input, &fds);
	assert_int_equal(o.r, 0);
	assert_keys(&o.result, want, 3, 0);
	job_result_done(&o.result);
}

static void a_set_that_is_not_there_has_no_answer(void **state)
{
	struct job_input input = { .task = JOB_MEMBERS, .file = "test.yaml", .set = "good" };
	struct sets_keys keys = {};
	struct fd_list fds = {};
	uint64_t duplicates;
	struct outcome o;

	(void)state;
	add(&fds, memfd_of(policy));
	run_input(&o, &input, &fds);
	assert_int_equal(o.r, 0);
	assert_int_equal(job_result_keys(&o.result, &keys, &duplicates), -EBADMSG);
	job_result_done(&o.result);
}

/* A child that was taken over says more keys than it gives, or such as no prefix has. */
static void keys_are_not_believed(void **state)
{
	static const struct sets_key bad[][2] = {
		{ { { 2 }, DP_MEMBER(0, 32) }, { { 1 }, DP_MEMBER(0, 32) } },
		{ { { 1 }, DP_MEMBER(0, 32) }, { { 1 }, DP_MEMBER(0, 32) } },
		{ { { 1 }, DP_MEMBER(0, 33) }, { { 2 }, DP_MEMBER(0, 32) } },
		{ { { 1 }, DP_MEMBER(0, 24) }, { { 2 }, DP_MEMBER(0, 32) } },
		{ { { 1 }, DP_MEMBER(0, 32) }, { { 2, 1 }, DP_MEMBER(0, 32) } },
		{ { { 1 }, DP_MEMBER(2, 32) }, { { 2 }, DP_MEMBER(2, 32) } },
	};
	struct dp_line line = {};
	struct job_result result = { .lines = &line, .count = 1 };
	struct sets_keys keys = {};
	uint64_t duplicates;

	(void)state;
	result.manifest = "{\"keys\": 2, \"duplicates\": 0}";
	result.manifest_len = strlen(result.manifest);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		memcpy(&line, bad[i], sizeof(bad[i]));
		assert_int_equal(job_result_keys(&result, &keys, &duplicates), -EBADMSG);
	}
	result.manifest = "{\"keys\": 4, \"duplicates\": 0}";
	assert_int_equal(job_result_keys(&result, &keys, &duplicates), -EBADMSG);
	result.manifest = "{\"keys\": -1, \"duplicates\": 0}";
	assert_int_equal(job_result_keys(&result, &keys, &duplicates), -EBADMSG);
}

int main(int argc, char *argv[])
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_policy_becomes_an_image),
		cmocka_unit_test(position_does_not_matter),
		cmocka_unit_test(a_bad_policy_becomes_diagnostics),
		cmocka_unit_test(a_file_that_was_not_passed_is_missing),
		cmocka_unit_test(paths_are_listed),
		cmocka_unit_test(a_directory_is_no_policy),
		cmocka_unit_test(a_pipe_is_no_set_file),
		cmocka_unit_test(many_files_travel),
		cmocka_unit_test(crash),
		cmocka_unit_test(hang),
		cmocka_unit_test(killed),
		cmocka_unit_test(silence),
		cmocka_unit_test(not_sealed),
		cmocka_unit_test(too_short),
		cmocka_unit_test(overflow),
		cmocka_unit_test(no_memfd),
		cmocka_unit_test(cancelled),
		cmocka_unit_test(a_list_becomes_sorted_keys),
		cmocka_unit_test(a_bad_list_becomes_diagnostics),
		cmocka_unit_test(what_a_policy_gives_is_told_as_written),
		cmocka_unit_test(a_set_that_is_not_there_has_no_answer),
		cmocka_unit_test(keys_are_not_believed),
	};

	if (argc == 2 && !strcmp(argv[1], JOB_CHILD_ARG))
		return job_child_main();
	if (argc == 2)
		_exit(misbehave(argv[1]));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
