/* SPDX-License-Identifier: Apache-2.0 */
/* See api_listen.h. */
#include "api_listen.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "fail.h"

#define BACKLOG         4096  /* who finds it full is refused at once */
#define PEER_GROUPS_MAX 65536 /* NGROUPS_MAX of the kernel */

static bool is_alive(const struct sockaddr_un *at)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	/* A full backlog (EAGAIN) is alive, too. */
	return fd < 0 || connect(fd, (const struct sockaddr *)at, sizeof(*at)) == 0 ||
	       errno == EAGAIN;
}

/* What a killed daemon left behind goes; anything else stays and is an error. */
static int remove_stale(const struct api_listen *l, const struct sockaddr_un *at, char **ret_why)
{
	struct stat st;

	if (fstatat(l->dir, l->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return fail(ret_why, -EEXIST, "%s: exists and is no socket; remove it",
			    at->sun_path);
	if (is_alive(at))
		return fail(ret_why, -EADDRINUSE, "%s: another daemon is listening there",
			    at->sun_path);
	return unlinkat(l->dir, l->name, 0) < 0 ? -errno : 0;
}

static int bind_private(struct api_listen *l, const struct sockaddr_un *at)
{
	mode_t before = umask(0177);
	int r = bind(l->fd, (const struct sockaddr *)at, sizeof(*at)) < 0 ? -errno : 0;

	(void)umask(before); /* umask never fails */
	return r;
}

static int open_to_group(struct api_listen *l)
{
	struct group *g = getgrnam(l->group);
	struct stat st;

	if (fstatat(l->dir, l->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	l->gid = g ? g->gr_gid : (gid_t)-1;
	if (g && fchownat(l->dir, l->name, (uid_t)-1, g->gr_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	/* Without the group's members, whatever group the file has is to have no rights. */
	return fchmodat(l->dir, l->name, g ? 0660 : 0600, 0) < 0 ? -errno : 0;
}

int api_listen_open(struct api_listen *l, char **ret_why)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int n, r;

	n = snprintf(at.sun_path, sizeof(at.sun_path), "%s/%s", l->run_dir, l->name);
	if (n < 0 || (size_t)n >= sizeof(at.sun_path))
		return fail(ret_why, -ENAMETOOLONG, "%s/%s: too long for a socket, limit is %zu",
			    l->run_dir, l->name, sizeof(at.sun_path) - 1);
	r = remove_stale(l, &at, ret_why);
	if (r < 0)
		return r;
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = l->fd < 0 ? -errno : bind_private(l, &at);
	if (!r)
		r = open_to_group(l);
	if (!r && listen(l->fd, BACKLOG) < 0)
		r = -errno;
	if (r < 0) {
		api_listen_close(l);
		return fail(ret_why, r, "%s: %s", at.sun_path, strerror(-r));
	}
	return 0;
}

static bool is_member(int client, gid_t gid)
{
	socklen_t len = PEER_GROUPS_MAX * sizeof(gid_t);
	_cleanup_free_ gid_t *groups = malloc(len);

	if (!groups || getsockopt(client, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false;
	for (size_t i = 0; i < len / sizeof(*groups); i++) {
		if (groups[i] == gid)
			return true;
	}
	return false;
}

bool api_listen_permits(const struct api_listen *l, int client, const struct ucred *peer)
{
	if (peer->uid == 0 || peer->uid == geteuid())
		return true;
	return l->gid != (gid_t)-1 && (peer->gid == l->gid || is_member(client, l->gid));
}

void api_listen_close(struct api_listen *l)
{
	struct stat st;

	if (l->ino && fstatat(l->dir, l->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == l->dev && st.st_ino == l->ino)
		(void)unlinkat(l->dir, l->name, 0); /* a leftover is seen to be stale */
	l->ino = 0;
	closep(&l->fd);
}
