/* SPDX-License-Identifier: Apache-2.0 */
/* See purge.h. The order is that of who holds whom: devices, pins, files, directories. */
#include "purge.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "attach_hook.h"
#include "fail.h"
#include "history.h"
#include "jsonobj.h"
#include "loader_pins.h"
#include "log.h"
#include "options.h"
#include "privilege.h"
#include "sources.h"
#include "state.h"
#include "wants.h"

#define GONE_PATIENCE_MS 1000 /* the kernel frees a program after a grace period */
#define STEP_MS          20

#define ELSEWHERE                                                                         \
	"its filter is not in this network namespace, and its program still runs: purge " \
	"where the daemon ran, or 'tc filter del' there"

/* A filter that was not where its pin says. */
struct missing {
	uint32_t prog;
	struct hook_at at;
};

VEC_NAMED(names, char *);

struct purge {
	const struct options *o;
	const struct loader *l;
	struct json_object *removed, *kept, *failed;
	VEC(uint32_t) qdiscs; /* devices that had a filter of ours below a qdisc of ours */
	VEC(struct missing) missing;
};

static void closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d); /* it was only read */
	*d = NULL;
}

/* ---- what is said -------------------------------------------------------------------------------------- */

/* why may be NULL. */
static _printf_(4, 5) void say(struct json_object *rows, const char *what, const char *why,
			       const char *format, ...)
{
	struct json_object *row = json_object_new_object(), *name;
	va_list args;

	va_start(args, format);
	name = json_vtext(format, args);
	va_end(args);
	json_add_text(row, "what", what);
	json_add(row, "name", name ?: json_object_new_string("?"));
	if (why)
		json_add_text(row, "why", why);
	(void)json_object_array_add(rows, row); /* out of memory: a row that is missing */
}

/* r: 0, or the -errno of the attempt. Nothing is said of what was not there. */
static void say_removal(struct purge *p, const char *what, int r, const char *name)
{
	if (!r)
		say(p->removed, what, NULL, "%s", name);
	else if (r != -ENOENT)
		say(p->failed, what, strerrordesc_np(-r), "%s", name);
}

/* ---- devices ------------------------------------------------------------------------------------------- */

static char *name_of(const struct hook *h)
{
	static const char *const modes[] = { [ATTACH_XDP_NATIVE] = "native XDP",
					     [ATTACH_XDP_GENERIC] = "generic XDP",
					     [ATTACH_TCX] = "tcx",
					     [ATTACH_CLSACT] = "clsact" };
	const char *dir = h->at.dir == DP_INGRESS ? "ingress" : "egress";
	char dev[IF_NAMESIZE], *text = NULL;
	int n;

	if (hook_is_here(h) && !netif_name(h->at.ifindex, dev))
		n = asprintf(&text, "%s of %s, %s", dir, dev, modes[h->at.mode]);
	else
		n = asprintf(&text, "%s of interface %u in another network namespace, %s", dir,
			     h->at.ifindex, modes[h->at.mode]);
	return n < 0 ? NULL : text;
}

static void note_qdisc(struct purge *p, uint32_t ifindex)
{
	for (size_t i = 0; i < p->qdiscs.count; i++) {
		if (p->qdiscs.at[i] == ifindex)
			return;
	}
	if (hook_has_qdisc(p->l, ifindex))
		(void)vec_push(&p->qdiscs, ifindex); /* out of memory: a row that is missing */
}

static void take_off(struct purge *p, const char *pin)
{
	_cleanup_free_ char *name = NULL;
	struct hook h;
	int r = hook_open(p->l, pin, &h);

	if (r < 0) {
		say_removal(p, "attachment", r, pin);
		return;
	}
	if (hook_health(p->l, &h) == HOOK_DEAD) {
		/* With its device, or in another network namespace, where only its program shows it. */
		if (h.at.mode == ATTACH_CLSACT)
			(void)vec_push(&p->missing, (struct missing){ hook_prog(&h), h.at });
		closep(&h.fd);
		return;
	}
	name = name_of(&h);
	if (h.at.mode == ATTACH_CLSACT)
		note_qdisc(p, h.at.ifindex);
	say_removal(p, "attachment", hook_detach(p->l, &h), name ? name : pin);
}

static void say_qdiscs(struct purge *p)
{
	for (size_t i = 0; i < p->qdiscs.count; i++) {
		char dev[IF_NAMESIZE];

		if (netif_name(p->qdiscs.at[i], dev) < 0)
			continue;
		if (hook_has_qdisc(p->l, p->qdiscs.at[i]))
			say(p->kept, "qdisc", "others have filters there", "clsact of %s", dev);
		else
			say(p->removed, "qdisc", NULL, "clsact of %s", dev);
	}
}

static void wait_a_step(void)
{
	(void)nanosleep(&(struct timespec){ .tv_nsec = STEP_MS * 1000000 }, NULL);
}

/* When nothing of ours holds the programs any more: who still does? */
static void say_missing(struct purge *p)
{
	int patience = GONE_PATIENCE_MS;

	for (size_t i = 0; i < p->missing.count; i++) {
		const struct missing *m = &p->missing.at[i];

		while (hook_prog_lives(m->prog) && (patience -= STEP_MS) > 0)
			wait_a_step();
		if (hook_prog_lives(m->prog))
			say(p->failed, "attachment", ELSEWHERE, "%s of interface %u",
			    m->at.dir == DP_INGRESS ? "ingress" : "egress", m->at.ifindex);
	}
}

/* ---- pins ---------------------------------------------------------------------------------------------- */

static int note_name(void *ctx, const char *name)
{
	char *copy = strdup(name);
	int r = copy ? vec_push((struct names *)ctx, copy) : -ENOMEM;

	if (r)
		free(copy);
	return r;
}

static void names_done(struct names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->at[i]);
	vec_done(n);
}

/* A subdirectory, listed before it changes. */
static struct names list(struct purge *p, const char *sub)
{
	struct names n = {};
	int r = pins_each(p->l->pin_dir, sub, note_name, &n);

	if (r && r != -ENOENT)
		say(p->failed, "pins", strerrordesc_np(-r), "%s/%s", p->o->pin_dir, sub);
	return n;
}

static void remove_attachments(struct purge *p)
{
	struct names pins __attribute__((cleanup(names_done))) = list(p, PINS_LINKS);

	for (size_t i = 0; i < pins.count; i++)
		take_off(p, pins.at[i]);
	say_qdiscs(p);
}

static void unpin(struct purge *p, const char *sub)
{
	struct names pins __attribute__((cleanup(names_done))) = list(p, sub);
	_cleanup_free_ char *path = NULL;
	size_t gone = 0;

	for (size_t i = 0; i < pins.count; i++) {
		int r = pins_remove(p->l->pin_dir, sub, pins.at[i]);

		gone += !r;
		if (r)
			say(p->failed, "pin", strerrordesc_np(-r), "%s/%s/%s", p->o->pin_dir, sub,
			    pins.at[i]);
	}
	if (gone)
		say(p->removed, "pins", NULL, "%zu of %s/%s", gone, p->o->pin_dir, sub);
	if (asprintf(&path, "%s/%s", p->l->pin_dir, sub) >= 0)
		(void)rmdir(path); /* the directory above says what stays */
}

/* ---- saved state --------------------------------------------------------------------------------------- */

static bool is_saved(const char *name)
{
	static const char *const files[] = { "generation-*.json",      HISTORY_FILE,
					     OVERRIDES_FILE,           STATE_NOTE,
					     ".generation-*.json.new", "." HISTORY_FILE ".new",
					     "." OVERRIDES_FILE ".new" };

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		if (!fnmatch(files[i], name, FNM_PERIOD))
			return true;
	}
	return false;
}

static void remove_saved(struct purge *p, int state, const char *name)
{
	_cleanup_free_ char *path = NULL;
	struct stat st;
	int r;

	if (fstatat(state, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (S_ISDIR(st.st_mode) && sources_is_directory(name))
		r = sources_remove(state, name);
	else if (!S_ISDIR(st.st_mode) && is_saved(name))
		r = unlinkat(state, name, 0) < 0 ? -errno : 0;
	else
		return;
	if (asprintf(&path, "%s/%s", p->o->state_dir, name) >= 0)
		say_removal(p, "state", r, path);
}

static void remove_state(struct purge *p, int state)
{
	int fd = state < 0 ? -1 : openat(state, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(closedirp) DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (!d) {
		closep(&fd);
		return;
	}
	while ((e = readdir(d)))
		remove_saved(p, state, e->d_name);
}

/* ---- directories --------------------------------------------------------------------------------------- */

/* Those of instances lie below one that all share; it goes with the last. */
static void remove_shared(struct purge *p, const char *path, const char *shared)
{
	size_t len = strlen(shared);

	if (!strncmp(path, shared, len) && path[len] == '/' && rmdir(shared) == 0)
		say(p->removed, "directory", NULL, "%s", shared);
}

static void remove_directory(struct purge *p, const char *path, const char *shared)
{
	int r = rmdir(path) < 0 ? -errno : 0;

	if (r == -ENOTEMPTY || r == -EEXIST)
		say(p->kept, "directory", "there is something else in it", "%s", path);
	else
		say_removal(p, "directory", r, path);
	remove_shared(p, path, shared);
}

/* What a daemon that was killed left; the lock says that nobody listens. */
static void remove_sockets(struct purge *p)
{
	static const char *const names[] = { "penstock.sock", "read.sock" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		_cleanup_free_ char *path = NULL;
		struct stat st;

		if (asprintf(&path, "%s/%s", p->o->run_dir, names[i]) < 0)
			continue;
		if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
			say_removal(p, "socket", unlink(path) < 0 ? -errno : 0, path);
	}
}

static void remove_directories(struct purge *p)
{
	remove_directory(p, p->o->pin_dir, "/sys/fs/bpf/penstock");
	remove_directory(p, p->o->run_dir, "/run/penstock");
	if (p->o->keep_state)
		say(p->kept, "state", "as asked for", "%s", p->o->state_dir);
	else
		remove_directory(p, p->o->state_dir, "/var/lib/penstock");
}

struct json_object *purge_run(const struct options *o, const struct loader *l, int state)
{
	struct purge p = { .o = o,
			   .l = l,
			   .removed = json_object_new_array(),
			   .kept = json_object_new_array(),
			   .failed = json_object_new_array() };
	struct json_object *json = json_object_new_object();

	remove_attachments(&p);
	unpin(&p, PINS_LINKS);
	unpin(&p, PINS_PROGS);
	unpin(&p, PINS_MAPS);
	say_missing(&p);
	if (!o->keep_state)
		remove_state(&p, state);
	remove_sockets(&p);
	remove_directories(&p);
	vec_done(&p.qdiscs);
	vec_done(&p.missing);
	json_add(json, "removed", p.removed);
	json_add(json, "kept", p.kept);
	json_add(json, "failed", p.failed);
	json_add_text(json, "run_dir", o->run_dir);
	json_add_text(json, "state_dir", o->state_dir);
	json_add_text(json, "pin_dir", o->pin_dir);
	return json;
}

/* ---- without a daemon ---------------------------------------------------------------------------------- */

/* Like a daemon's start, but nothing is made: a directory that is not there needs no lock. */
struct locks {
	int state, note, pins;
};

static void unlock(struct locks *l)
{
	closep(&l->note);
	closep(&l->state);
	closep(&l->pins);
}

static int open_directory(const char *path, int *ret, char **ret_why)
{
	*ret = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (*ret >= 0 || errno == ENOENT)
		return 0;
	return fail(ret_why, -errno, "%s: %s", path, strerrordesc_np(errno));
}

static int lock(struct locks *l, const struct options *o, char **ret_why)
{
	int r = open_directory(o->state_dir, &l->state, ret_why);

	if (!r && l->state >= 0)
		r = state_lock(l->state, o->state_dir, &l->note, ret_why);
	if (!r)
		r = open_directory(o->pin_dir, &l->pins, ret_why);
	if (!r && l->pins >= 0 && flock(l->pins, LOCK_EX | LOCK_NB) < 0)
		r = fail(ret_why, -errno, "%s: in use by a penstockd", o->pin_dir);
	if (r)
		unlock(l);
	return r;
}

static int refuse(const char *why)
{
	log_error("purge: %s; nothing was changed", why);
	return EXIT_FAILURE;
}

int purge_main(const struct options *o)
{
	struct loader l = { .pin_dir = o->pin_dir, .prog = { -1, -1, -1 } };
	_cleanup_json_ struct json_object *json = NULL;
	struct locks locks __attribute__((cleanup(unlock))) = { -1, -1, -1 };
	_cleanup_free_ char *why = NULL;
	int r = privilege_check(&why);

	if (!r)
		r = lock(&locks, o, &why);
	if (r < 0)
		return refuse(why ? why : strerrordesc_np(-r));
	json = purge_run(o, &l, locks.state);
	json_add_u64(json, "schema", 1);
	puts(json_object_to_json_string_ext(json, JSON_TEXT_FLAGS));
	return json_object_array_length(json_object_object_get(json, "failed")) ? EXIT_FAILURE
										: EXIT_SUCCESS;
}
