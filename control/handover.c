/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See handover.h. A directory is given away after what it holds: as long as it is root's, nobody else can have
 * put anything into it, and a start that is cut short begins again.
 */
#include "handover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "fail.h"
#include "fdio.h"
#include "loader_pins.h"
#include "options.h"
#include "privilege.h"
#include "state.h"

static void closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d); /* it was only read */
	*d = NULL;
}

/* Directories of ours. Others are those of instances, which have a user of their own. */
static bool is_part(const char *name)
{
	static const char *const parts[] = { PINS_MAPS, PINS_PROGS, PINS_LINKS };

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		if (!strcmp(name, parts[i]))
			return true;
	}
	return !strncmp(name, "sources-", strlen("sources-")) ||
	       !strncmp(name, PINS_ASIDE, strlen(PINS_ASIDE));
}

static int give(int dir, const struct privilege_user *user);

static int give_one(int dir, const char *name, const struct privilege_user *user)
{
	_cleanup_close_ int sub = -1;
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return fchownat(dir, name, user->uid, user->gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno
											  : 0;
	if (!is_part(name))
		return 0;
	sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return sub < 0 ? -errno : give(sub, user);
}

/* As deep as directories of ours lie in each other, which is one. */
static int give(int dir, const struct privilege_user *user)
{
	_cleanup_(closedirp) DIR *d = NULL;
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		r = -errno;
		closep(&fd);
		return r;
	}
	while (!r) {
		const struct dirent *e;

		errno = 0;
		e = readdir(d);
		if (!e && errno)
			return -errno;
		if (!e)
			return fchown(dir, user->uid, user->gid) < 0 ? -errno : 0;
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = give_one(dir, e->d_name, user);
	}
	return r;
}

/* What is the user's already stays as it is; what is neither root's nor the user's is not for us to give. */
static int hand_over(int dir, const char *path, const struct privilege_user *user, char **ret_why)
{
	struct stat st;
	int r = fstat(dir, &st) < 0 ? -errno : 0;

	if (!r && (st.st_uid == user->uid || user->uid == geteuid()))
		return 0;
	if (!r && st.st_uid != 0)
		return fail(ret_why, -EPERM, "%s: belongs to user %u, not to root or to --user",
			    path, (unsigned int)st.st_uid);
	if (!r)
		r = give(dir, user);
	return r < 0 ? fail(ret_why, r, "%s: cannot be given to --user: %s", path,
			    strerrordesc_np(-r))
		     : 0;
}

static int make_dir(const char *path, mode_t mode, char **ret_why)
{
	int fd = fdio_make_dir(path, mode);

	return fd < 0 ? fail(ret_why, fd, "%s: %s", path, strerror(-fd)) : fd;
}

static int open_pins(struct handover *h, const char *path, const struct privilege_user *user,
		     char **ret_why)
{
	int r = pins_make(path, user->uid, ret_why);

	if (r < 0)
		return r;
	h->pins = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (h->pins < 0)
		return fail(ret_why, -errno, "%s: %s", path, strerrordesc_np(errno));
	if (flock(h->pins, LOCK_EX | LOCK_NB) < 0) /* as long as it is open */
		return fail(ret_why, -errno, "%s: in use by another penstockd", path);
	(void)snprintf(h->pin_path, sizeof(h->pin_path), PINS_BY_FD, h->pins); /* always fits */
	/* Who stays root can make the directory anew when somebody removes it. */
	if (user->uid == geteuid() &&
	    snprintf(h->pin_path, sizeof(h->pin_path), "%s", path) >= (int)sizeof(h->pin_path))
		return fail(ret_why, -ENAMETOOLONG, "%s: too long", path);
	return hand_over(h->pins, path, user, ret_why);
}

int handover_make(struct handover *h, const struct options *o, const struct privilege_user *user,
		  char **ret_why)
{
	_cleanup_close_ int state = -1, run = -1, note = -1;
	int r = 0;

	state = fdio_make_dir(o->state_dir, 0700); /* none: state_open() judges that */
	if (state >= 0 && user->uid != geteuid()) /* nothing changes hands under a running daemon */
		r = state_lock(state, o->state_dir, &note, ret_why);
	if (r < 0)
		return r;
	run = make_dir(o->run_dir, 0755, ret_why);
	r = run < 0 ? run : open_pins(h, o->pin_dir, user, ret_why);
	if (!r)
		r = hand_over(run, o->run_dir, user, ret_why);
	return r || state < 0 ? r : hand_over(state, o->state_dir, user, ret_why);
}

void handover_done(struct handover *h)
{
	closep(&h->pins);
}
