/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See job.h: the compiling child. It gives up everything it does not need, then reads text that anybody
 * may have written. It never opens a path, and ends without cleaning up: the kernel is faster at that.
 */
#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "jsonobj.h"
#include "policy.h"
#include "privilege.h"
#include "sandbox.h"
#include "setfile.h"
#include "sets_keys.h"

#define POLICY_MAX_BYTES (64u * 1024 * 1024)

struct text {
	char *at;
	size_t len;
	int r;
};

struct files {
	struct fd_list fds;
	struct json_object *request, *paths;
	struct text *texts; /* of paths, read when they are asked for */
};

static void limit(int what, rlim_t most)
{
	struct rlimit l = { most, most };

	(void)setrlimit(what, &l); /* lowering a limit always works */
}

/* Without the sanitizers' shadow memory, the address space bounds what hostile text can cost. */
static void set_limits(void)
{
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_CPU, 120);
	limit(RLIMIT_NPROC, 0);
	limit(RLIMIT_FSIZE, (rlim_t)1 << 30);
#ifndef __SANITIZE_ADDRESS__
	limit(RLIMIT_AS, (rlim_t)4 << 30);
#endif
}

static int drop_privileges(void)
{
	int r;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	r = privilege_drop_all();
	if (r < 0)
		return r;
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		return -errno;
	set_limits();
	/* Whoever it still is: it can open nothing, and reach nobody but by its socket. */
	return sandbox_child();
}

static int receive(struct files *f)
{
	_cleanup_free_ char *text = NULL;
	struct fd_list request = {};
	unsigned char byte;
	size_t len;
	int r = fdio_receive(JOB_SOCKET_FD, &byte, &request, 1);

	if (!r && request.count == 1)
		r = fdio_read(request.at[0], JOB_REQUEST_MAX, &text, &len);
	fd_list_done(&request);
	if (r < 0 || !text)
		return r < 0 ? r : -EBADMSG;
	f->request = json_read(text, len);
	f->paths = json_member(f->request, "paths", json_type_array);
	for (;;) {
		r = fdio_receive(JOB_SOCKET_FD, &byte, &f->fds, JOB_FILES);
		if (r < 0)
			break;
	}
	if (r != -EAGAIN || !f->request || !f->fds.count)
		return r == -EMFILE ? r : -EBADMSG;
	if (f->paths && json_object_array_length(f->paths) != f->fds.count - 1)
		return -EBADMSG;
	f->texts = calloc(f->fds.count, sizeof(*f->texts));
	return f->texts ? 0 : -ENOMEM;
}

static int find(struct files *f, const char *path)
{
	size_t count = f->paths ? json_object_array_length(f->paths) : 0;

	for (size_t i = 0; i < count; i++) {
		const char *have = json_object_get_string(json_object_array_get_idx(f->paths, i));

		if (have && !strcmp(have, path))
			return (int)i;
	}
	return -ENOENT;
}

/* policy_files.open(). Two sets may name one file: it is read once. */
static int open_file(void *ctx, const char *path, const char **ret_text, size_t *ret_len)
{
	struct files *f = ctx;
	int i = find(f, path);
	struct text *t;

	if (i < 0)
		return i;
	t = &f->texts[i];
	if (!t->at && !t->r)
		t->r = fdio_read(f->fds.at[i + 1], SETFILE_MAX_BYTES, &t->at, &t->len);
	if (t->r < 0)
		return t->r;
	*ret_text = t->at;
	*ret_len = t->len;
	return 0;
}

static void write_at(char *map, size_t *at, const void *bytes, size_t len)
{
	if (len)
		memcpy(map + *at, bytes, len);
	*at += len;
}

int job_child_answer(int socket, const struct job_header *header, const void *lines,
		     const char *manifest, const char *diagnostics, unsigned int seals)
{
	size_t lines_len = (size_t)header->count * DP_LINE_BYTES, at = 0;
	size_t len = sizeof(*header) + lines_len + header->manifest_len + header->diagnostics_len;
	_cleanup_close_ int fd = memfd_create("penstock-image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char *map;

	if (fd < 0 || ftruncate(fd, (off_t)len) < 0)
		return -errno;
	map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	write_at(map, &at, header, sizeof(*header));
	write_at(map, &at, lines, lines_len);
	write_at(map, &at, manifest, header->manifest_len);
	write_at(map, &at, diagnostics, header->diagnostics_len);
	(void)munmap(map, len); /* our own mapping: cannot fail */
	if (fcntl(fd, F_ADD_SEALS, (int)seals) < 0)
		return -errno;
	return fdio_send(socket, 0, &fd, 1);
}

static int answer(const struct image *image, struct json_object *manifest,
		  struct json_object *diagnostics)
{
	struct job_header header = { .magic = JOB_MAGIC, .count = image->count };
	const char *manifest_text = "", *diagnostics_text = "";
	size_t len;

	if (manifest) {
		manifest_text = json_object_to_json_string_length(manifest, JSON_TEXT_FLAGS, &len);
		header.manifest_len = manifest_text ? len : 0;
	}
	if (diagnostics) {
		diagnostics_text =
			json_object_to_json_string_length(diagnostics, JSON_TEXT_FLAGS, &len);
		header.diagnostics_len = diagnostics_text ? len : 0;
	}
	if (!manifest_text || !diagnostics_text)
		return -ENOMEM;
	return job_child_answer(JOB_SOCKET_FD, &header, image->lines, manifest_text,
				diagnostics_text,
				F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
}

static int compile(struct files *f, const char *name, const char *text, size_t len)
{
	struct policy_files files = { .ctx = f, .open = open_file };
	struct policy policy = {};
	int r = policy_load(&policy, name, text, len, &files);

	if (r < 0 && r != -EINVAL)
		return r;
	return answer(&policy.image, policy.manifest, diag_to_json(&policy.diags));
}

static int found_path(void *ctx, const char *path)
{
	return json_object_array_add(ctx, json_object_new_string(path)) < 0 ? -ENOMEM : 0;
}

static int list_paths(const char *text, size_t len)
{
	struct json_object *paths = json_object_new_array();
	int r = policy_paths(text, len, paths, found_path);

	/* A text that cannot be read has no paths; compiling it says what is wrong. */
	return r == -ENOMEM ? r : answer(&(struct image){}, paths, NULL);
}

/* The keys go out as lines; what is left of the last one is zero. */
static int answer_keys(struct prefix_set *set, struct json_object *diagnostics)
{
	struct json_object *manifest = json_object_new_object();
	struct sets_keys keys = {};
	struct image image = {};
	uint64_t duplicates;
	size_t room = set->v4.count + set->v6.count + DP_LINE_BYTES;
	int r = vec_reserve(&keys, room);

	if (!r)
		r = sets_keys_add(&keys, set);
	if (r < 0)
		return r;
	duplicates = sets_keys_sort(&keys);
	memset(keys.at + keys.count, 0, (room - keys.count) * sizeof(*keys.at));
	json_add_u64(manifest, "keys", keys.count);
	json_add_u64(manifest, "duplicates", duplicates);
	image.lines = (struct dp_line *)keys.at;
	image.count =
		(uint32_t)((keys.count * sizeof(*keys.at) + DP_LINE_BYTES - 1) / DP_LINE_BYTES);
	return answer(&image, manifest, diagnostics);
}

static int list_prefixes(const struct files *f, const char *name, const char *text, size_t len)
{
	uint64_t max = json_object_get_uint64(json_object_object_get(f->request, "max"));
	struct prefix_set set = {};
	struct diag_list diags = {};
	int r = setfile_read(&diags, diag_add_source(&diags, name, text, len), max, &set);

	if (r < 0)
		return r;
	if (diags.errors)
		return answer(&(struct image){}, NULL, diag_to_json(&diags));
	return answer_keys(&set, diag_to_json(&diags));
}

/* What cannot be read is no longer as it was compiled: then there is an answer without a manifest. */
static int list_members(struct files *f, const char *text, size_t len)
{
	struct policy_files files = { .ctx = f, .open = open_file };
	const char *name = json_text(f->request, "set");
	struct prefix_set set = {};
	int r = policy_members(text, len, &files, name ? name : "", &set);

	if (r == -ENOMEM)
		return r;
	return r < 0 ? answer(&(struct image){}, NULL, NULL) : answer_keys(&set, NULL);
}

static int carry_out(struct files *f, const char *task, const char *name, const char *text,
		     size_t len)
{
	if (!strcmp(task, "paths"))
		return list_paths(text, len);
	if (!strcmp(task, "prefixes"))
		return list_prefixes(f, name, text, len);
	if (!strcmp(task, "members"))
		return list_members(f, text, len);
	return compile(f, name, text, len);
}

int job_child_main(void)
{
	struct files f = {};
	const char *task, *name;
	char *text = NULL;
	size_t len;
	int r;

	if (drop_privileges() < 0)
		return JOB_STATUS_SETUP;
	r = receive(&f);
	task = json_text(f.request, "task");
	name = json_text(f.request, "file");
	if (!r && (!task || !name))
		r = -EBADMSG;
	if (!r) /* the first is a policy or, larger, a list */
		r = fdio_read(f.fds.at[0],
			      strcmp(task, "prefixes") ? POLICY_MAX_BYTES : SETFILE_MAX_BYTES,
			      &text, &len);
	if (r)
		_exit(r == -ENOMEM ? JOB_STATUS_MEMORY : JOB_STATUS_INPUT);
	r = carry_out(&f, task, name, text, len);
	if (r < 0)
		_exit(r == -ENOMEM ? JOB_STATUS_MEMORY : JOB_STATUS_INPUT);
	_exit(0);
}
