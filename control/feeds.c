/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See feeds.h. An event marks a file; after a short silence the marked files are looked at on the worker, and
 * those that differ from what runs are applied together. When the policy is refused because of one of them, it
 * is tried again without that one.
 */
#include "feeds.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>

#include <systemd/sd-event.h>

#include "apply.h"
#include "daemon.h"
#include "fail.h"
#include "feeds_file.h"
#include "jsonobj.h"
#include "log.h"
#include "options.h"
#include "sources.h"

#define QUIET_US   200000ull  /* after the last event */
#define WAIT_US    2000000ull /* and not longer than this after the first */
#define RETRY_US   5000000ull /* a directory that is not there */
#define TIME_BYTES 32
#define EVENTS                                                                                   \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | \
	 IN_MOVE_SELF)
#define GONE (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)

struct feed_dir {
	struct feeds *feeds;
	int fd; /* -1: not there, or not fit */
	sd_event_source *watch;
};

struct feed {
	char *file, *name; /* as in the policy; in its directory */
	size_t dir;
	bool marked; /* to be looked at: an event came after the last look began */
	char refreshed_at[TIME_BYTES], refused_at[TIME_BYTES]; /* "": never */
	bool held;             /* the file is refused as it is now */
	char *why;             /* the last refusal's */
	struct source refused; /* likewise: its content; 0 bytes and digest: it could not be read */
};

/* A file that is being looked at or applied. The feed itself may go meanwhile. */
struct attempt {
	char *file, *name;
	int dir, fd;
	size_t source; /* index among the kept files */
	struct source found;
	int r;
	char *why;
};

struct feeds {
	struct daemon *d;
	struct feed_dir *dirs; /* as the options' */
	VEC(struct feed) feeds;
	sd_event_source *quiet, *retry;
	uint64_t first_us; /* of the events that wait for silence; 0: none */
	VEC(struct attempt) tries;
	bool busy; /* with the tries */
	struct apply_guard guard;
};

/* ---- small things ---------------------------------------------------------------------------------------- */

static void set_now(char text[static TIME_BYTES])
{
	time_t now = time(NULL);
	struct tm utc;

	text[0] = 0;
	if (gmtime_r(&now, &utc))
		(void)strftime(text, TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &utc); /* always fits */
}

static struct feed *find(struct feeds *f, const char *file)
{
	for (size_t i = 0; i < f->feeds.count; i++) {
		if (!strcmp(f->feeds.at[i].file, file))
			return &f->feeds.at[i];
	}
	return NULL;
}

static void feed_done(struct feed *feed)
{
	free(feed->file);
	free(feed->name);
	free(feed->why);
}

static void try_done(struct attempt *t)
{
	closep(&t->dir);
	closep(&t->fd);
	free(t->file);
	free(t->name);
	free(t->why);
}

static void tries_done(struct feeds *f)
{
	f->busy = false;
	for (size_t i = 0; i < f->tries.count; i++)
		try_done(&f->tries.at[i]);
	vec_done(&f->tries);
}

static void drop_try(struct feeds *f, size_t i)
{
	try_done(&f->tries.at[i]);
	f->tries.at[i] = f->tries.at[--f->tries.count];
}

static bool is_same(const struct source *a, const struct source *b)
{
	return a->bytes == b->bytes && !memcmp(a->digest, b->digest, sizeof(a->digest));
}

static const struct source unread; /* of what could not be read, or was not looked at */

/* Said once, however often it is met again. */
static void refuse(struct feed *feed, const struct source *what, const char *why)
{
	char *copy;

	if (feed->held && feed->why && !strcmp(feed->why, why) && is_same(&feed->refused, what))
		return;
	copy = strdup(why);
	free(feed->why);
	feed->why = copy;
	feed->held = true;
	feed->refused = *what;
	set_now(feed->refused_at);
	log_warning("feeds: %s: refused: %s; what was read before stays", feed->file, why);
}

/* ---- directories ------------------------------------------------------------------------------------------- */

static uint64_t now_us(const struct feeds *f)
{
	uint64_t now = 0;

	(void)sd_event_now(f->d->event, CLOCK_MONOTONIC, &now); /* fails in another process alone */
	return now;
}

static void arm_quiet(struct feeds *f)
{
	uint64_t now = now_us(f), at = now + QUIET_US;

	if (!f->first_us)
		f->first_us = now;
	if (at > f->first_us + WAIT_US)
		at = f->first_us + WAIT_US;
	(void)sd_event_source_set_time(f->quiet, at); /* these two cannot fail */
	(void)sd_event_source_set_enabled(f->quiet, SD_EVENT_ONESHOT);
}

static void mark_all(struct feeds *f)
{
	for (size_t i = 0; i < f->feeds.count; i++)
		f->feeds.at[i].marked = true;
	if (f->feeds.count)
		arm_quiet(f);
}

static void close_dir(struct feed_dir *dir)
{
	dir->watch = sd_event_source_disable_unref(dir->watch);
	closep(&dir->fd);
}

static int on_inotify(sd_event_source *s, const struct inotify_event *event, void *ctx)
{
	struct feed_dir *dir = ctx;
	struct feeds *f = dir->feeds;
	size_t number = (size_t)(dir - f->dirs);

	(void)s;
	if (event->mask & GONE) {
		log_warning("feeds: directory '%s' is gone; it is looked for again",
			    f->d->options->feed_dirs.at[number]);
		close_dir(dir);
		(void)sd_event_source_set_time_relative(f->retry, RETRY_US); /* cannot fail */
		(void)sd_event_source_set_enabled(f->retry, SD_EVENT_ONESHOT);
		return 0;
	}
	if (event->mask & IN_Q_OVERFLOW)
		mark_all(f);
	for (size_t i = 0; event->len && i < f->feeds.count; i++) {
		struct feed *feed = &f->feeds.at[i];

		if (feed->dir != number || strcmp(feed->name, event->name) != 0)
			continue;
		feed->marked = true;
		arm_quiet(f);
	}
	return 0;
}

static int open_dir(struct feeds *f, size_t number, char **ret_why)
{
	struct feed_dir *dir = &f->dirs[number];
	int r;

	if (dir->fd >= 0)
		return 0;
	dir->fd = feeds_dir_open(f->d->options->feed_dirs.at[number], ret_why);
	if (dir->fd < 0)
		return dir->fd;
	r = sd_event_add_inotify_fd(f->d->event, &dir->watch, dir->fd, EVENTS, on_inotify, dir);
	if (r >= 0)
		return 0;
	closep(&dir->fd);
	return fail(ret_why, r, "feed directory '%s' cannot be watched: %s",
		    f->d->options->feed_dirs.at[number], strerrordesc_np(-r));
}

/* Opens the directories that are needed and closes the others. False: some of them is not to be had. */
static bool watch_dirs(struct feeds *f)
{
	bool all = true;

	for (size_t number = 0; number < f->d->options->feed_dirs.count; number++) {
		_cleanup_free_ char *why = NULL;
		bool needed = false;

		for (size_t i = 0; i < f->feeds.count; i++)
			needed |= f->feeds.at[i].dir == number;
		if (!needed)
			close_dir(&f->dirs[number]);
		else if (open_dir(f, number, &why) < 0)
			all = false; /* the files in it are refused with the reason */
	}
	return all;
}

static int on_retry(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct feeds *f = ctx;
	bool all = watch_dirs(f);

	(void)s, (void)usec;
	mark_all(f);
	if (all)
		return 0;
	(void)sd_event_source_set_time_relative(f->retry, RETRY_US); /* cannot fail */
	return sd_event_source_set_enabled(f->retry, SD_EVENT_ONESHOT);
}

/* ---- looking: what differs from what runs? ------------------------------------------------------------------- */

static void look(void *ctx)
{
	struct feeds *f = ctx;

	for (size_t i = 0; i < f->tries.count; i++) {
		struct attempt *t = &f->tries.at[i];

		if (t->dir < 0)
			continue;
		t->fd = feeds_file_open(t->dir, t->name, &t->why);
		t->r = t->fd < 0 ? t->fd : sources_digest(t->fd, &t->found);
	}
}

/* Is there something to apply? Otherwise the feed is done with. */
static bool is_new(struct feeds *f, struct attempt *t)
{
	const struct generation *running = f->d->running;
	struct feed *feed = find(f, t->file);

	t->source = running ? sources_find(&running->sources, t->file) : 0;
	if (!feed || !running)
		return false;
	if (t->r < 0) {
		refuse(feed, &unread, t->why ? t->why : strerrordesc_np(-t->r));
		return false;
	}
	if (!t->source) {
		refuse(feed, &unread, "the policy's files were not kept; apply it again");
		return false;
	}
	if (is_same(&t->found, &running->sources.files.at[t->source])) {
		feed->held = false;
		return false;
	}
	return !feed->held || !is_same(&t->found, &feed->refused);
}

/* What is left of the tries is to be looked at once more. */
static void try_again(struct feeds *f)
{
	for (size_t i = 0; i < f->tries.count; i++) {
		struct feed *feed = find(f, f->tries.at[i].file);

		if (feed)
			feed->marked = true;
	}
	tries_done(f);
}

/* ---- applying ------------------------------------------------------------------------------------------------- */

static void on_applied(void *ctx, const struct apply_outcome *o);
static void start_look(struct feeds *f);

/* apply_guard.files: what was copied is what counts. */
static int check_files(void *ctx, const struct fd_list *fds, char **ret_why)
{
	struct feeds *f = ctx;
	int r = 0;

	for (size_t i = 0; i < f->tries.count; i++) {
		struct attempt *t = &f->tries.at[i];

		t->r = feeds_file_check(fds->at[t->source], &t->why);
		if (t->r < 0)
			r = t->r;
	}
	return r < 0 ? fail(ret_why, r, "a feed is not whole") : 0;
}

static struct attempt *find_try(struct feeds *f, const char *file)
{
	for (size_t i = 0; file && i < f->tries.count; i++) {
		if (!strcmp(f->tries.at[i].file, file))
			return &f->tries.at[i];
	}
	return NULL;
}

static int fail_short(struct attempt *t, const char *set, const char *what, uint64_t has,
		      uint64_t had)
{
	return fail(&t->why, -EBADMSG,
		    "set '%s' would have %" PRIu64 " %s, less than half of its %" PRIu64, set, has,
		    what, had);
}

/* apply_guard.policy */
static int check_policy(void *ctx, const struct generation *running, const struct generation *next,
			char **ret_why)
{
	struct feeds *f = ctx;
	int r = 0;

	for (size_t i = 0; i < next->sets.count; i++) {
		const struct generation_set *set = &next->sets.at[i];
		const struct generation_set *now = generation_set(running, set->name);
		struct attempt *t = set->refresh ? find_try(f, set->file) : NULL;

		if (!t || !now)
			continue;
		if (2 * set->members < now->members)
			t->r = r = fail_short(t, set->name, "members", set->members, now->members);
		else if (2 * set->listed < now->listed) /* items of the policy make up for it */
			t->r = r = fail_short(t, set->name, "prefixes of its file", set->listed,
					      now->listed);
	}
	return r < 0 ? fail(ret_why, r, "a feed is too short") : 0;
}

static int fill_request(struct feeds *f, struct apply_request *to)
{
	const struct generation *running = f->d->running;
	int r;

	to->confirm_given = true; /* as 0: nobody sits there to confirm */
	to->file = strdup(running->file);
	to->dir = strdup(running->dir);
	to->paths = json_object_get(running->sources.paths);
	to->guard = &f->guard;
	if (!to->file || !to->dir)
		return -ENOMEM;
	r = sources_open(f->d->state, &running->sources, &to->fds);
	for (size_t i = 0; !r && i < f->tries.count; i++) {
		struct attempt *t = &f->tries.at[i];

		closep(&to->fds.at[t->source]);
		to->fds.at[t->source] = fcntl(t->fd, F_DUPFD_CLOEXEC, 3);
		if (to->fds.at[t->source] < 0)
			r = -errno;
	}
	return r;
}

static void refuse_all(struct feeds *f, const char *why)
{
	for (size_t i = 0; i < f->tries.count; i++) {
		struct feed *feed = find(f, f->tries.at[i].file);

		if (feed)
			refuse(feed, &f->tries.at[i].found, why);
	}
	tries_done(f);
}

static void start_apply(struct feeds *f)
{
	struct apply_request request = {};
	int r = fill_request(f, &request);

	if (!r)
		r = apply_start(f->d, &request, on_applied, f);
	else
		apply_request_done(&request);
	if (r == -ENOENT)
		refuse_all(f, "the policy's other files were not kept; apply it again");
	else if (r < 0 && r != -ESHUTDOWN)
		refuse_all(f, strerrordesc_np(-r));
}

static void on_looked(void *ctx)
{
	struct feeds *f = ctx;

	for (size_t i = f->tries.count; i--;) {
		if (!is_new(f, &f->tries.at[i]))
			drop_try(f, i);
	}
	if (f->tries.count && !f->d->changing && !f->d->confirm && !f->d->stopping) {
		start_apply(f);
		return;
	}
	try_again(f);
	start_look(f);
}

/* Out of memory: it stays marked for the next time. */
static void add_try(struct feeds *f, struct feed *feed)
{
	struct attempt t = {
		.file = strdup(feed->file), .name = strdup(feed->name), .dir = -1, .fd = -1
	};

	t.r = open_dir(f, feed->dir, &t.why);
	if (t.r >= 0)
		t.dir = fcntl(f->dirs[feed->dir].fd, F_DUPFD_CLOEXEC, 3);
	if (t.file && t.name && vec_push(&f->tries, t) == 0)
		feed->marked = false;
	else
		try_done(&t);
}

/* Looks at what is marked, unless something else is being changed: then feeds_go_on() comes here. */
static void start_look(struct feeds *f)
{
	struct daemon *d = f->d;

	if (f->busy || d->changing || d->confirm || d->stopping || f->first_us)
		return;
	for (size_t i = 0; i < f->feeds.count; i++) {
		if (f->feeds.at[i].marked)
			add_try(f, &f->feeds.at[i]);
	}
	f->busy = f->tries.count && worker_submit(d->worker, look, on_looked, f) == 0;
	if (!f->busy)
		tries_done(f);
}

/* The first error of a file, or of any when file is NULL. */
static const char *first_error(struct json_object *diagnostics, const char *file,
			       uint64_t *ret_line)
{
	struct json_object *rows = json_member(diagnostics, "diagnostics", json_type_array);

	for (size_t i = 0; rows && i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);
		const char *severity = json_text(row, "severity"), *where = json_text(row, "file");

		if (!severity || strcmp(severity, "error") != 0 ||
		    (file && (!where || strcmp(where, file) != 0)))
			continue;
		*ret_line = json_object_get_uint64(json_object_object_get(row, "line"));
		return json_text(row, "message");
	}
	return NULL;
}

/* Whose fault was it? They are refused and leave the tries; how many. */
static size_t blame(struct feeds *f, const struct apply_outcome *o)
{
	size_t blamed = 0;

	for (size_t i = f->tries.count; i--;) {
		struct attempt *t = &f->tries.at[i];
		struct feed *feed = find(f, t->file);
		_cleanup_free_ char *why = NULL;
		uint64_t line = 0;
		const char *error = first_error(o->diagnostics, t->file, &line);

		if (!t->why && !error)
			continue;
		if (!t->why && line)
			(void)fail(&why, 0, "line %llu: %s", (unsigned long long)line, error);
		if (feed)
			refuse(feed, &t->found, t->why ? t->why : why ? why : error);
		drop_try(f, i);
		blamed++;
	}
	return blamed;
}

static void refuse_together(struct feeds *f, const struct apply_outcome *o)
{
	uint64_t line;
	const char *error = first_error(o->diagnostics, NULL, &line);
	_cleanup_free_ char *why = NULL;

	if (o->result == APPLY_REFUSED && error)
		(void)fail(&why, 0, "the policy with it is refused: %s", error);
	refuse_all(f, why ? why : o->why);
}

static void on_applied(void *ctx, const struct apply_outcome *o)
{
	struct feeds *f = ctx;
	bool good = o->result == APPLY_DONE || o->result == APPLY_UNCHANGED;

	for (size_t i = 0; good && i < f->tries.count; i++) {
		struct feed *feed = find(f, f->tries.at[i].file);

		if (!feed)
			continue;
		feed->held = false;
		set_now(feed->refreshed_at);
		log_info("feeds: %s: read again", feed->file);
	}
	if (good)
		tries_done(f);
	else if (o->error != -ESHUTDOWN && !blame(f, o))
		refuse_together(f, o);
	try_again(f); /* without those that were blamed, when feeds_go_on() comes */
}

/* ---- from outside ------------------------------------------------------------------------------------------------ */

static int on_quiet(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct feeds *f = ctx;

	(void)s, (void)usec;
	f->first_us = 0;
	start_look(f);
	return 0;
}

void feeds_go_on(struct feeds *f)
{
	if (f)
		start_look(f);
}

/* The feed of a set file, with what is known of it already. */
static int follow_one(struct feeds *f, const struct generation *g, const char *file,
		      struct feed *ret)
{
	struct feed *old = find(f, file);
	_cleanup_free_ char *why = NULL;
	char *name = NULL;
	int dir = feeds_file_locate(&f->d->options->feed_dirs, g->dir, file, &name, &why);

	if (dir < 0) {
		log_warning("feeds: %s", why ? why : strerrordesc_np(-dir));
		return dir;
	}
	*ret = (struct feed){ .file = strdup(file), .name = name, .dir = (size_t)dir };
	if (!ret->file) {
		free(name);
		return -ENOMEM;
	}
	if (!old || old->dir != ret->dir || strcmp(old->name, name) != 0)
		return 0;
	memcpy(ret->refreshed_at, old->refreshed_at, sizeof(ret->refreshed_at));
	memcpy(ret->refused_at, old->refused_at, sizeof(ret->refused_at));
	ret->refused = old->refused;
	ret->held = old->held;
	ret->why = TAKE_PTR(old->why);
	return 0;
}

void feeds_follow(struct feeds *f)
{
	const struct generation *g = f->d->running;
	typeof(f->feeds) next = {};

	for (size_t i = 0; g && i < g->sets.count; i++) {
		const struct generation_set *set = &g->sets.at[i];
		struct feed feed;
		bool known = false;

		for (size_t k = 0; set->refresh && k < next.count; k++)
			known |= !strcmp(next.at[k].file, set->file);
		if (!set->refresh || known || follow_one(f, g, set->file, &feed) < 0)
			continue;
		if (vec_push(&next, feed) < 0)
			feed_done(&feed);
	}
	for (size_t i = 0; i < f->feeds.count; i++)
		feed_done(&f->feeds.at[i]);
	vec_done(&f->feeds);
	f->feeds = next;
	if (!watch_dirs(f)) {
		(void)sd_event_source_set_time_relative(f->retry, RETRY_US); /* cannot fail */
		(void)sd_event_source_set_enabled(f->retry, SD_EVENT_ONESHOT);
	}
	mark_all(f);
}

static void add_diagnostic(struct json_object *diagnostics, const struct generation_set *set,
			   const char *message)
{
	struct json_object *rows = json_member(diagnostics, "diagnostics", json_type_array);
	struct json_object *row = json_object_new_object();
	const char *colon = strrchr(set->source, ':');
	uint64_t errors = json_object_get_uint64(json_object_object_get(diagnostics, "errors"));

	json_add_text(row, "severity", "error");
	json_add_text(row, "code", "not-a-feed");
	json_add(row, "file",
		 json_object_new_string_len(set->source, colon ? (int)(colon - set->source) : 0));
	json_add_u64(row, "line", colon ? strtoull(colon + 1, NULL, 10) : 1);
	json_add_u64(row, "column", 1);
	json_add_u64(row, "length", 1);
	json_add_text(row, "message", message);
	json_add(row, "notes", json_object_new_array());
	json_object_array_add(rows, row);
	json_add_u64(diagnostics, "errors", errors + 1);
}

int feeds_admit(struct feeds *f, const struct generation *g, struct json_object *diagnostics)
{
	const struct feeds_dirs *dirs = &f->d->options->feed_dirs;
	int r = 0;

	for (size_t i = 0; i < g->sets.count; i++) {
		const struct generation_set *set = &g->sets.at[i];
		_cleanup_free_ char *why = NULL, *name = NULL;
		_cleanup_close_ int dir = -1, file = -1;
		int at;

		if (!set->refresh)
			continue;
		at = feeds_file_locate(dirs, g->dir, set->file, &name, &why);
		if (at >= 0)
			dir = feeds_dir_open(dirs->at[at], &why);
		if (dir >= 0)
			file = feeds_file_open(dir, name, &why);
		if (file >= 0)
			continue;
		add_diagnostic(diagnostics, set, why ? why : "the feed cannot be opened");
		r = -EINVAL;
	}
	return r;
}

struct json_object *feeds_report(const struct feeds *f, const char *file)
{
	struct json_object *json = json_object_new_object();
	const struct feed *feed = NULL;

	for (size_t i = 0; i < f->feeds.count; i++) {
		if (!strcmp(f->feeds.at[i].file, file))
			feed = &f->feeds.at[i];
	}
	json_add_text(json, "refreshed_at",
		      feed && *feed->refreshed_at ? feed->refreshed_at : NULL);
	json_add_text(json, "refused_at", feed && *feed->refused_at ? feed->refused_at : NULL);
	json_add_text(json, "why", feed ? feed->why : "it lies in no feed directory");
	json_add(json, "held", json_object_new_boolean(!feed || feed->held));
	return json;
}

int feeds_new(struct feeds **ret, struct daemon *d)
{
	struct feeds *f = calloc(1, sizeof(*f));
	size_t dirs = d->options->feed_dirs.count;
	int r = -ENOMEM;

	if (!f)
		return r;
	f->d = d;
	f->guard = (struct apply_guard){ .ctx = f, .files = check_files, .policy = check_policy };
	f->dirs = calloc(dirs, sizeof(*f->dirs));
	for (size_t i = 0; f->dirs && i < dirs; i++)
		f->dirs[i] = (struct feed_dir){ .feeds = f, .fd = -1 };
	if (f->dirs)
		r = sd_event_add_time(d->event, &f->quiet, CLOCK_MONOTONIC, UINT64_MAX, 0, on_quiet,
				      f);
	if (r >= 0)
		r = sd_event_add_time(d->event, &f->retry, CLOCK_MONOTONIC, UINT64_MAX, 0, on_retry,
				      f);
	if (r < 0) {
		feeds_free(&f);
		return r;
	}
	*ret = f;
	return 0;
}

void feeds_free(struct feeds **at)
{
	struct feeds *f = *at;

	if (!f)
		return;
	sd_event_source_disable_unref(f->quiet);
	sd_event_source_disable_unref(f->retry);
	for (size_t i = 0; f->dirs && i < f->d->options->feed_dirs.count; i++)
		close_dir(&f->dirs[i]);
	for (size_t i = 0; i < f->feeds.count; i++)
		feed_done(&f->feeds.at[i]);
	vec_done(&f->feeds);
	tries_done(f);
	free(f->dirs);
	free(f);
	*at = NULL;
}
