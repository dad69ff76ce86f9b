/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory: who may have it, and that what is read back is what was saved, or nothing. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "control/generation.h"
#include "control/sources.h"
#include "control/state.h"
#include "policy/setfile.h"

static char dir[] = "/tmp/penstock-state-XXXXXX";
static char path[64];

static const char manifest[] =
	"{\"schema\": 1, \"file\": \"a.yaml\", \"sets\": [],"
	" \"zones\": [{\"name\": \"wan\", \"hook\": \"tc\", \"devs\": [\"eth9\", \"veth*\"]}],"
	" \"chains\": [{\"name\": \"in\", \"zone\": \"wan\", \"dir\": \"ingress\","
	"   \"default\": \"drop\", \"source\": \"a.yaml:3\", \"rules\": ["
	"     {\"id\": \"ssh\", \"source\": \"a.yaml:4\", \"do\": \"pass\", \"mode\": \"enforce\"},"
	"     {\"id\": \"try\", \"source\": \"a.yaml:5\", \"do\": \"drop\", \"mode\": \"audit\"}]}]}";

static int make_dir(void **ctx)
{
	(void)ctx;
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/state", dir);
	return 0;
}

static int remove_dir(void **ctx)
{
	char command[96];

	(void)ctx;
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

static struct generation *numbered(uint64_t number, uint8_t mark)
{
	struct generation_clear clear = {};
	struct generation *g = NULL;
	char *why = NULL;

	assert_int_equal(generation_new(&g, json_tokener_parse(manifest), &why), 0);
	memset(g->digest, mark, sizeof(g->digest));
	assert_int_equal(generation_assign(g, NULL, number, &clear, &why), 0);
	assert_int_equal(generation_describe(g, "a.yaml", "/etc", "2024-01-01T00:00:00Z"), 0);
	vec_done(&clear.rules);
	vec_done(&clear.chains);
	return g;
}

static struct state *open_state(void)
{
	struct state *s = NULL;
	char *why = NULL;

	if (state_open(&s, path, &why) < 0)
		fail_msg("%s", why ? why : "no reason");
	return s;
}

static void directory_is_private(void **ctx)
{
	struct state *s = open_state(), *again = NULL;
	char *why = NULL;
	struct stat st;

	(void)ctx;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	state_free(&s);
	assert_int_equal(chmod(path, 0755), 0);
	assert_int_equal(state_open(&again, path, &why), -EPERM);
	assert_non_null(strstr(why, "0755"));
	free(why);
	assert_int_equal(chmod(path, 0700), 0);
}

static void a_link_is_no_directory(void **ctx)
{
	struct state *s = NULL;
	char other[80], *why = NULL;

	(void)ctx;
	(void)snprintf(other, sizeof(other), "%s/link", dir);
	assert_int_equal(symlink(path, other), 0);
	assert_true(state_open(&s, other, &why) < 0);
	free(why);
}

static void a_second_daemon_is_refused_by_pid(void **ctx)
{
	struct state *s = open_state(), *second = NULL;
	char *why = NULL, pid[24];

	(void)ctx;
	(void)snprintf(pid, sizeof(pid), "pid %d", (int)getpid());
	assert_int_equal(state_open(&second, path, &why), -EWOULDBLOCK);
	assert_non_null(strstr(why, pid));
	free(why);
	state_free(&s);
	s = open_state();
	state_free(&s);
}

static void the_lock_dies_with_its_daemon(void **ctx)
{
	struct state *s;
	pid_t pid = fork();

	(void)ctx;
	if (!pid) {
		s = open_state();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	s = open_state();
	state_free(&s);
}

/*
 * A daemon of before locks the file alone, either way round. Rules out two daemons of two builds at once, and a lock
 * that keeps its file system from becoming read-only.
 */
static void daemons_of_before_are_kept_out(void **ctx)
{
	_cleanup_close_ int file = -1;
	_cleanup_free_ char *why = NULL;
	struct state *s = open_state();
	char name[96];

	(void)ctx;
	(void)snprintf(name, sizeof(name), "%s/" STATE_NOTE, path); /* always fits */
	file = open(name, O_RDWR | O_CLOEXEC);
	assert_true(file >= 0);
	assert_int_equal(flock(file, LOCK_EX | LOCK_NB), -1);
	state_free(&s);
	assert_int_equal(flock(file, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(state_open(&s, path, &why), -EWOULDBLOCK);
	assert_non_null(strstr(why, "in use by the penstockd with pid"));
	closep(&file);
	s = open_state();
	state_free(&s);
}

/* A directory that goes away is told of, made anew by the next look, and locked again. */
static void a_directory_that_is_gone_is_made_anew(void **ctx)
{
	_cleanup_free_ char *why = NULL;
	struct state *s = open_state(), *second;
	char name[96];

	(void)ctx;
	assert_int_equal(state_look(s), 0);
	assert_false(state_renewed(s));
	(void)snprintf(name, sizeof(name), "%s-away", path); /* always fits */
	assert_int_equal(rename(path, name), 0);
	assert_int_equal(state_look(s), 0); /* it can be written wherever it is */
	assert_int_equal(rename(name, path), 0);
	(void)snprintf(name, sizeof(name), "rm -r %s", path); /* always fits */
	assert_int_equal(system(name), 0);
	assert_int_equal(state_look(s), 0);
	assert_true(state_renewed(s) && !state_renewed(s) && !state_error(s));
	assert_int_equal(state_open(&second, path, &why), -EWOULDBLOCK);
	state_free(&s);
}

static void a_generation_comes_back(void **ctx)
{
	struct state *s = open_state();
	struct generation *g = numbered(7, 0xab), *back = NULL;
	const struct generation_chain *c;

	(void)ctx;
	assert_int_equal(state_save_generation(s, g), 0);
	assert_int_equal(state_find_generation(s, 7, g->digest, &back), 0);
	assert_int_equal(back->number, 7);
	assert_string_equal(back->applied_at, "2024-01-01T00:00:00Z");
	assert_true(generation_same_names(g, back));
	c = generation_chain(back, 1, DP_INGRESS);
	assert_non_null(c);
	assert_string_equal(c->name, "in");
	assert_int_equal(c->rules.count, 2);
	assert_int_equal(c->rules.at[0].slot, g->chains.at[0].rules.at[0].slot);
	assert_int_equal(c->default_slot, g->chains.at[0].default_slot);
	assert_true(c->rules.at[1].audit);
	assert_int_equal(back->zones.at[0].hook, MODEL_HOOK_TC);
	generation_free(&back);
	generation_free(&g);
	state_free(&s);
}

/* A crash between save and flip leaves a file that the active bank does not ask for. */
static void number_and_digest_must_both_fit(void **ctx)
{
	struct state *s = open_state();
	struct generation *g = numbered(8, 1), *back = NULL;
	uint8_t other[16] = { 2 };

	(void)ctx;
	assert_int_equal(state_save_generation(s, g), 0);
	assert_int_equal(state_find_generation(s, 8, other, &back), -ENOENT);
	assert_int_equal(state_find_generation(s, 9, g->digest, &back), -ENOENT);
	assert_null(back);
	generation_free(&g);
	state_free(&s);
}

static void both_banks_files_are_kept(void **ctx)
{
	struct state *s = open_state();
	struct generation *back = NULL;

	(void)ctx;
	for (uint64_t i = 20; i < 24; i++) {
		struct generation *g = numbered(i, 3);

		assert_int_equal(state_save_generation(s, g), 0);
		generation_free(&g);
	}
	assert_int_equal(state_last_generation(s), 23);
	state_prune(s, 23, 22);
	for (uint64_t i = 20; i < 24; i++) {
		uint8_t digest[16];
		int r;

		memset(digest, 3, sizeof(digest));
		r = state_find_generation(s, i, digest, &back);
		assert_int_equal(r, i < 22 ? -ENOENT : 0);
		generation_free(&back);
	}
	state_free(&s);
}

static void damaged_files_are_refused(void **ctx)
{
	static const char *const texts[] = {
		"", "{", "[]", "{}", "{\"manifest\": {}}", "{\"generation\": 9, \"manifest\": 3}"
	};
	struct state *s = open_state();
	uint8_t digest[16] = {};
	char file[96];

	(void)ctx;
	(void)snprintf(file, sizeof(file), "%s/generation-9.json", path);
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct generation *back = NULL;
		FILE *f = fopen(file, "w");

		assert_non_null(f);
		fputs(texts[i], f);
		fclose(f);
		assert_int_equal(state_find_generation(s, 9, digest, &back), -EBADMSG);
	}
	state_free(&s);
}

/* A directory in the way of the rename: the old file stays, and nothing half written is left. */
static void a_failed_write_leaves_nothing(void **ctx)
{
	struct state *s = open_state();
	struct json_object *json = json_tokener_parse("{\"a\": 1}"), *back = NULL;
	char name[96];

	(void)ctx;
	assert_int_equal(state_write(s, "some.json", json), 0);
	(void)snprintf(name, sizeof(name), "%s/.some.json.new", path);
	assert_int_equal(mkdir(name, 0700), 0);
	assert_true(state_write(s, "some.json", json) < 0);
	assert_int_equal(rmdir(name), 0);
	assert_int_equal(state_read(s, "some.json", &back), 0);
	assert_true(json_object_equal(json, back));
	json_object_put(back);
	json_object_put(json);
	state_free(&s);
}

/* One that has grown since its size was looked at. */
static void a_file_too_large_is_not_read_to_its_end(void **ctx)
{
	int fd = memfd_create("grows", MFD_CLOEXEC);
	struct source source;

	(void)ctx;
	assert_int_equal(ftruncate(fd, (off_t)SETFILE_MAX_BYTES + 1), 0);
	assert_int_equal(sources_digest(fd, &source), -EFBIG);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(directory_is_private),
		cmocka_unit_test(a_link_is_no_directory),
		cmocka_unit_test(a_second_daemon_is_refused_by_pid),
		cmocka_unit_test(the_lock_dies_with_its_daemon),
		cmocka_unit_test(daemons_of_before_are_kept_out),
		cmocka_unit_test(a_directory_that_is_gone_is_made_anew),
		cmocka_unit_test(a_generation_comes_back),
		cmocka_unit_test(number_and_digest_must_both_fit),
		cmocka_unit_test(both_banks_files_are_kept),
		cmocka_unit_test(damaged_files_are_refused),
		cmocka_unit_test(a_failed_write_leaves_nothing),
		cmocka_unit_test(a_file_too_large_is_not_read_to_its_end),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
