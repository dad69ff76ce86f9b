/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files the daemon opens by itself, and what it keeps of those it was given. Rules out a check of paths as
 * texts alone, one that follows links, and a copy that is made from what a file holds later.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "control/feeds_file.h"
#include "control/sources.h"
#include "control/state.h"

static char root[] = "/tmp/penstock-feeds-XXXXXX";
static char feeds[64], other[64];

static void path_in(char path[static 128], const char *dir, const char *name)
{
	(void)snprintf(path, 128, "%s/%s", dir, name);
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, 0644), 0);
}

static int make_dirs(void **state)
{
	char path[128];

	(void)state;
	if (!mkdtemp(root) || chmod(root, 0755) < 0)
		return -1;
	(void)snprintf(feeds, sizeof(feeds), "%s/feeds", root);
	(void)snprintf(other, sizeof(other), "%s/other", root);
	if (mkdir(feeds, 0755) < 0 || mkdir(other, 0755) < 0)
		return -1;
	path_in(path, feeds, "a.txt");
	write_file(path, "192.0.2.1\n");
	return 0;
}

static int remove_dirs(void **state)
{
	char command[96];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command);
}

/* ---- where a feed lies ------------------------------------------------------------------------------- */

static int locate(const char *dir, const char *file, char **ret_name)
{
	char *at[] = { other, feeds };
	const struct feeds_dirs dirs = { .at = at, .count = 2 };
	_cleanup_free_ char *why = NULL;
	int r = feeds_file_locate(&dirs, dir, file, ret_name, &why);

	if (r < 0) {
		assert_int_equal(r, -EPERM);
		assert_non_null(strstr(why, "--feed-dir"));
		assert_non_null(strstr(why, other));
	}
	return r;
}

static void feeds_lie_right_in_their_directory(void **state)
{
	static const char *const good[][2] = { { "%s", "feeds/a.txt" },
					       { "%s", "./feeds//a.txt" },
					       { "%s/", "feeds/./a.txt" },
					       { "%s/feeds", "a.txt" } };
	static const char *const bad[][2] = { { "%s", "a.txt" },
					      { "%s", "feeds/b/a.txt" },
					      { "%s", "feeds" },
					      { "%s", "feeds/" },
					      { "%s", "feeds/../a.txt" },
					      { "%s/feeds", "../feeds/a.txt" },
					      { "%s", "feedsx/a.txt" },
					      { "", "feeds/a.txt" },
					      { "", "a.txt" } };
	char dir[128], path[128];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		_cleanup_free_ char *name = NULL;

		(void)snprintf(dir, sizeof(dir), good[i][0], root);
		assert_int_equal(locate(dir, good[i][1], &name), 1);
		assert_string_equal(name, "a.txt");
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		_cleanup_free_ char *name = NULL;

		(void)snprintf(dir, sizeof(dir), bad[i][0], root);
		assert_int_equal(locate(dir, bad[i][1], &name), -EPERM);
	}
	path_in(path, feeds, "a.txt");
	{
		_cleanup_free_ char *name = NULL;

		assert_int_equal(locate("/nowhere", path, &name), 1);
	}
}

/* The policy's directory is told as the kernel knows it; the option may lead there through a link. */
static void a_directory_may_be_named_by_a_link(void **state)
{
	char link[128], *at[] = { link };
	const struct feeds_dirs dirs = { .at = at, .count = 1 };
	_cleanup_free_ char *name = NULL, *why = NULL;

	(void)state;
	path_in(link, root, "link");
	assert_int_equal(symlink(root, link), 0);
	path_in(link, root, "link/feeds");
	assert_int_equal(feeds_file_locate(&dirs, root, "feeds/a.txt", &name, &why), 0);
	path_in(link, root, "link");
	assert_int_equal(unlink(link), 0);
}

static void needs_root(void)
{
	if (geteuid() != 0) {
		print_message("skipped: feeds are root's files, and this is not root\n");
		skip();
	}
}

static void refused(int fd, int error, const char *part, char **why)
{
	_cleanup_free_ char *text = TAKE_PTR(*why);

	if (fd != error || !text || !strstr(text, part))
		fail_msg("%d (%s) instead of %d (%s)", fd, text ? text : "", error, part);
}

static void only_what_root_wrote_is_opened(void **state)
{
	_cleanup_close_ int dir = -1, file = -1;
	char path[128], *why = NULL;

	(void)state;
	needs_root();
	dir = feeds_dir_open(feeds, &why);
	assert_true(dir >= 0);
	file = feeds_file_open(dir, "a.txt", &why);
	assert_true(file >= 0);
	path_in(path, feeds, "a.txt");
	assert_int_equal(chmod(path, 0646), 0);
	refused(feeds_file_open(dir, "a.txt", &why), -EPERM, "mode 0646", &why);
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(chown(path, 1, 1), 0);
	refused(feeds_file_open(dir, "a.txt", &why), -EPERM, "belongs to user 1", &why);
	assert_int_equal(chown(path, 0, 0), 0);
	path_in(path, feeds, "link");
	assert_int_equal(symlink("a.txt", path), 0);
	refused(feeds_file_open(dir, "link", &why), -ELOOP, "symbolic link", &why);
	refused(feeds_file_open(dir, "../feeds/a.txt", &why), -EXDEV, "", &why);
	refused(feeds_file_open(dir, ".", &why), -EINVAL, "no regular file", &why);
	refused(feeds_file_open(dir, "none", &why), -ENOENT, "No such file", &why);
	path_in(path, feeds, "pipe");
	assert_int_equal(mkfifo(path, 0644), 0);
	refused(feeds_file_open(dir, "pipe", &why), -EINVAL, "no regular file", &why);
}

static void only_directories_of_root_are_feeds(void **state)
{
	char path[128], *why = NULL;

	(void)state;
	needs_root();
	assert_int_equal(chmod(other, 0775), 0);
	refused(feeds_dir_open(other, &why), -EPERM, "mode 0775", &why);
	assert_int_equal(chmod(other, 0755), 0);
	assert_int_equal(chown(other, 1, 0), 0);
	refused(feeds_dir_open(other, &why), -EPERM, "belongs to user 1", &why);
	assert_int_equal(chown(other, 0, 0), 0);
	path_in(path, root, "to-feeds");
	assert_int_equal(symlink("feeds", path), 0);
	refused(feeds_dir_open(path, &why), -ENOTDIR, path, &why);
	refused(feeds_dir_open("/tmp/none/at/all", &why), -ENOENT, "/tmp/none", &why);
}

static void a_text_must_be_whole(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = { { "192.0.2.1\n", NULL },
		     { "# \n", NULL },
		     { "", "empty" },
		     { "192.0.2.1\n192.0.2", "cut short" } };
	char path[128];

	(void)state;
	path_in(path, other, "text");
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		_cleanup_close_ int fd = -1;
		char *why = NULL;

		write_file(path, rows[i].text);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (rows[i].why)
			refused(feeds_file_check(fd, &why), -EBADMSG, rows[i].why, &why);
		else
			assert_int_equal(feeds_file_check(fd, &why), 0);
	}
}

/* ---- what is kept -------------------------------------------------------------------------------------- */

static struct state *open_state(void)
{
	_cleanup_free_ char *why = NULL;
	struct state *s = NULL;
	char path[128];

	path_in(path, root, "state");
	if (state_open(&s, path, &why) < 0)
		fail_msg("%s", why ? why : "no reason");
	return s;
}

static int file_of(const char *name, const char *text)
{
	char path[128];
	int fd;

	path_in(path, other, name);
	write_file(path, text);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* Keeps a policy and one list. */
static struct sources keep(struct state *s, const struct sources *running, const char *policy,
			   const char *list)
{
	struct json_object *paths = json_tokener_parse("[\"lists/a.txt\"]");
	struct fd_list fds = {};
	_cleanup_free_ char *why = NULL;
	struct sources kept = {};

	assert_int_equal(vec_push(&fds, file_of("policy", policy)), 0);
	assert_int_equal(vec_push(&fds, file_of("list", list)), 0);
	assert_int_equal(sources_keep(s, running, paths, &fds, &kept, &why), 0);
	/* The descriptors are of the copies now: what becomes of the files is nobody's business. */
	closep(&(int){ file_of("list", "changed\n") });
	{
		_cleanup_free_ char *text = NULL;
		size_t len;

		assert_int_equal(fdio_read(fds.at[1], 4096, &text, &len), 0);
		assert_string_equal(text, list);
	}
	assert_int_equal(sources_sync(s, &kept), 0);
	fd_list_done(&fds);
	json_object_put(paths);
	return kept;
}

static void assert_kept(struct state *s, const struct sources *kept, const char *policy,
			const char *list)
{
	const char *const want[] = { policy, list };
	struct fd_list fds = {};

	assert_int_equal(sources_open(s, kept, &fds), 0);
	assert_int_equal(fds.count, 2);
	for (size_t i = 0; i < 2; i++) {
		_cleanup_free_ char *text = NULL;
		size_t len;

		assert_int_equal(fdio_read(fds.at[i], 4096, &text, &len), 0);
		assert_string_equal(text, want[i]);
	}
	fd_list_done(&fds);
}

static uint64_t inode_of(struct state *s, const struct sources *kept, size_t i)
{
	struct fd_list fds = {};
	struct stat st;

	assert_int_equal(sources_open(s, kept, &fds), 0);
	assert_int_equal(fstat(fds.at[i], &st), 0);
	fd_list_done(&fds);
	return st.st_ino;
}

static void what_was_compiled_is_kept(void **state)
{
	struct state *s = open_state();
	struct sources one = keep(s, NULL, "one", "192.0.2.1\n");
	struct sources two = keep(s, &one, "two", "192.0.2.1\n"), three;
	struct source_numbers needed = {};
	struct fd_list fds = {};

	(void)state;
	assert_kept(s, &one, "one", "192.0.2.1\n");
	assert_kept(s, &two, "two", "192.0.2.1\n");
	assert_int_equal(inode_of(s, &one, 1), inode_of(s, &two, 1)); /* once on disk */
	assert_int_equal(sources_find(&two, "lists/a.txt"), 1);
	assert_int_equal(sources_find(&two, "lists/b.txt"), 0);
	/* An apply that failed leaves its directory; with what nobody needs any more it is taken away. */
	three = keep(s, &two, "failed", "192.0.2.2\n");
	assert_int_equal(vec_push(&needed, one.number), 0);
	assert_int_equal(vec_push(&needed, two.number), 0);
	sources_clean(s, &needed);
	assert_int_equal(sources_open(s, &three, &fds), -ENOENT);
	assert_kept(s, &one, "one", "192.0.2.1\n");
	assert_kept(s, &two, "two", "192.0.2.1\n");
	needed.at[0] = two.number;
	sources_clean(s, &needed);
	assert_int_equal(sources_open(s, &one, &fds), -ENOENT);
	assert_kept(s, &two, "two", "192.0.2.1\n");
	vec_done(&needed);
	sources_done(&one);
	sources_done(&two);
	sources_done(&three);
	state_free(&s);
}

static void a_saved_list_is_the_same(void **state)
{
	struct state *s = open_state();
	struct sources kept = keep(s, NULL, "policy", "192.0.2.1\n"), back = {};
	struct json_object *json = sources_to_json(&kept);

	(void)state;
	assert_int_equal(sources_from_json(&back, json), 0);
	assert_true(sources_equal(&kept, &back));
	assert_int_equal(back.number, kept.number);
	assert_kept(s, &back, "policy", "192.0.2.1\n");
	back.files.at[1].digest[3] ^= 1;
	assert_false(sources_equal(&kept, &back));
	sources_done(&back);
	json_object_object_del(json, "paths");
	assert_int_equal(sources_from_json(&back, json), -EBADMSG);
	json_object_put(json);
	sources_done(&kept);
	state_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(feeds_lie_right_in_their_directory),
		cmocka_unit_test(a_directory_may_be_named_by_a_link),
		cmocka_unit_test(only_what_root_wrote_is_opened),
		cmocka_unit_test(only_directories_of_root_are_feeds),
		cmocka_unit_test(a_text_must_be_whole),
		cmocka_unit_test(what_was_compiled_is_kept),
		cmocka_unit_test(a_saved_list_is_the_same),
	};

	return cmocka_run_group_tests(tests, make_dirs, remove_dirs);
}
