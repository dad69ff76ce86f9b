/* SPDX-License-Identifier: Apache-2.0 */
/* Files on bpffs. Knows nothing of what the pins hold. */
#include "loader_pins.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <bpf/bpf.h>
#include <linux/magic.h>

#include "loader_log.h"
#include "log.h"

#define BPFFS      "/sys/fs/bpf"
#define NEW_SUFFIX "-new"

static void closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d); /* it was only read */
	*d = NULL;
}

static int path_of(char path[PATH_MAX], const char *dir, const char *sub, const char *name,
		   const char *suffix)
{
	int n = snprintf(path, PATH_MAX, "%s/%s/%s%s", dir, sub, name, suffix);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == BPF_FS_MAGIC;
}

/* Instances that start together must not mount over each other's pins: the mount point is the lock. */
static int mount_bpffs(char **ret_why)
{
	_cleanup_close_ int point = open(BPFFS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (point < 0 || flock(point, LOCK_EX) < 0) {
		r = -errno;
		loader_say(ret_why, "cannot open " BPFFS ": %s", strerror(-r));
		return r;
	}
	if (is_bpffs(BPFFS))
		return 0;
	if (mount("bpf", BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=700") < 0) {
		r = -errno;
		loader_say(ret_why, "bpffs is not mounted on " BPFFS " and cannot be: %s",
			   strerror(-r));
		return r;
	}
	log_info("loader: " BPFFS ": was no bpffs; mounted one");
	return 0;
}

static int make_dir(const char *path, uid_t owner, char **ret_why)
{
	struct stat st;
	int r;

	if (mkdir(path, 0700) < 0 && errno != EEXIST) {
		r = -errno;
		loader_say(ret_why, "cannot make %s: %s%s", path, strerror(-r),
			   r == -EPERM && strchr(path, '.') ? ": bpffs allows no '.' in a name"
							    : "");
		return r;
	}
	if (lstat(path, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode) || (st.st_uid != geteuid() && st.st_uid != owner)) {
		loader_say(ret_why, "%s is not a directory of our own", path);
		return -EPERM;
	}
	if ((st.st_mode & 07777) != 0700 && chmod(path, 0700) < 0)
		return -errno;
	return 0;
}

static int not_below(const char *dir, char **ret_why)
{
	loader_say(ret_why, "%s is not below a bpffs", dir);
	return -EINVAL;
}

/* The instance's directory, and when need be the one above it, which instances share. */
static int make_parents(const char *dir, uid_t owner, char **ret_why)
{
	_cleanup_free_ char *parent = strdup(dir), *above = NULL;
	char *slash;
	int r;

	if (!parent)
		return -ENOMEM;
	slash = strrchr(parent, '/');
	if (!slash || slash == parent)
		return not_below(dir, ret_why);
	*slash = 0;
	if (is_bpffs(parent))
		return make_dir(dir, owner, ret_why);
	above = strdup(parent);
	if (!above)
		return -ENOMEM;
	slash = strrchr(above, '/');
	if (!slash || slash == above)
		return not_below(dir, ret_why);
	*slash = 0;
	if (!is_bpffs(above))
		return not_below(dir, ret_why);
	r = make_dir(parent, geteuid(), ret_why);
	return r ? r : make_dir(dir, owner, ret_why);
}

char *pins_name(const char *dir)
{
	char link[32], path[PATH_MAX];
	ssize_t n;
	int fd;

	if (sscanf(dir, PINS_BY_FD, &fd) != 1)
		return strdup(dir);
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd); /* always fits */
	n = readlink(link, path, sizeof(path));
	return n < 0 ? strdup(dir) : strndup(path, (size_t)n);
}

int pins_make(const char *dir, uid_t owner, char **ret_why)
{
	int r;

	if (!strncmp(dir, BPFFS "/", strlen(BPFFS) + 1) && !is_bpffs(BPFFS)) {
		r = mount_bpffs(ret_why);
		if (r)
			return r;
	}
	return make_parents(dir, owner, ret_why);
}

int pins_check(const char *dir)
{
	_cleanup_fclose_ FILE *mounts = NULL;
	unsigned long long mount;
	char line[PATH_MAX];
	struct statx st;
	int fd;

	if (sscanf(dir, PINS_BY_FD, &fd) != 1)
		return 0;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0)
		return -errno;
	mounts = fopen("/proc/self/mountinfo", "re");
	if (!mounts)
		return -errno;
	while (fgets(line, sizeof(line), mounts)) {
		if (sscanf(line, "%llu ", &mount) == 1 && mount == st.stx_mnt_id)
			return 0;
	}
	return -ENODEV;
}

int pins_prepare(const char *dir, char **ret_why)
{
	static const char *const subs[] = { PINS_MAPS, PINS_PROGS, PINS_LINKS };
	int r = pins_make(dir, geteuid(), ret_why);

	for (size_t i = 0; !r && i < sizeof(subs) / sizeof(*subs); i++)
		r = pins_make_sub(dir, subs[i], ret_why);
	return r;
}

int pins_make_sub(const char *dir, const char *sub, char **ret_why)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/%s", dir, sub);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : make_dir(path, geteuid(), ret_why);
}

int pins_remove_sub(const char *dir, const char *sub)
{
	char path[PATH_MAX];
	int r = path_of(path, dir, sub, "", "");

	if (r)
		return r;
	pins_clear(dir, sub);
	return rmdir(path) < 0 && errno != ENOENT ? -errno : 0;
}

static int rename_sub(const char *dir, const char *from, const char *to, unsigned int flags)
{
	char old[PATH_MAX], new[PATH_MAX];
	int r = path_of(old, dir, ".", from, "");

	if (!r)
		r = path_of(new, dir, ".", to, "");
	if (r)
		return r;
	return renameat2(AT_FDCWD, old, AT_FDCWD, new, flags) < 0 ? -errno : 0;
}

int pins_rename_sub(const char *dir, const char *from, const char *to)
{
	return rename_sub(dir, from, to, RENAME_NOREPLACE);
}

int pins_swap_subs(const char *dir, const char *a, const char *b)
{
	return rename_sub(dir, a, b, RENAME_EXCHANGE);
}

int pins_move(const char *dir, const char *sub, const char *name, const char *to_sub,
	      const char *to_name)
{
	char from[PATH_MAX], to[PATH_MAX];
	int r = path_of(from, dir, sub, name, "");

	if (!r)
		r = path_of(to, dir, to_sub, to_name, "");
	if (r)
		return r;
	return rename(from, to) < 0 ? -errno : 0;
}

int pins_open(const char *dir, const char *sub, const char *name)
{
	char path[PATH_MAX];
	int r = path_of(path, dir, sub, name, "");

	if (r)
		return r;
	r = bpf_obj_get(path);
	return r < 0 ? -errno : r;
}

bool pins_has(const char *dir, const char *sub, const char *name)
{
	char path[PATH_MAX];

	return !path_of(path, dir, sub, name, "") && !access(path, F_OK);
}

int pins_replace(const char *dir, const char *sub, const char *name, int fd)
{
	char path[PATH_MAX], made[PATH_MAX];
	int r = path_of(path, dir, sub, name, "");

	if (!r)
		r = path_of(made, dir, sub, name, NEW_SUFFIX);
	if (r)
		return r;
	if (unlink(made) < 0 && errno != ENOENT) /* left behind by a crash */
		return -errno;
	if (bpf_obj_pin(fd, made))
		return -errno;
	if (rename(made, path) < 0) {
		r = -errno;
		(void)unlink(made); /* the next replace would remove it too */
		return r;
	}
	return 0;
}

int pins_remove(const char *dir, const char *sub, const char *name)
{
	char path[PATH_MAX];
	int r = path_of(path, dir, sub, name, "");

	if (r)
		return r;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

int pins_each(const char *dir, const char *sub, int (*each)(void *ctx, const char *name), void *ctx)
{
	_cleanup_(closedirp) DIR *d = NULL;
	char path[PATH_MAX];
	int r = path_of(path, dir, sub, "", "");

	if (r)
		return r;
	d = opendir(path);
	if (!d)
		return -errno;
	for (;;) {
		const struct dirent *entry;

		errno = 0;
		entry = readdir(d);
		if (!entry)
			return -errno;
		if (entry->d_name[0] == '.')
			continue;
		r = each(ctx, entry->d_name);
		if (r)
			return r;
	}
}

struct clear {
	const char *dir, *sub;
};

static int clear_one(void *ctx, const char *name)
{
	const struct clear *c = ctx;

	(void)pins_remove(c->dir, c->sub, name); /* what stays is found by the next start */
	return 0;
}

void pins_clear(const char *dir, const char *sub)
{
	struct clear c = { dir, sub };

	(void)pins_each(dir, sub, clear_one, &c); /* as above */
}
