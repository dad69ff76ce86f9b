/* SPDX-License-Identifier: Apache-2.0 */
/* See privilege.h. Capabilities are sets of bits, as the kernel has them. */
#include "privilege.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "fail.h"

#define BIT(cap)   (1ull << (cap))
#define GROUPS_MAX 4

#define FILES_LEAST 128   /* maps, programs, sockets, a child; some clients */
#define FILES_MOST  65536 /* two places of each device that there is room for, and clients */

static const struct {
	unsigned int cap;
	const char *name;
} kept[] = {
	{ CAP_BPF, "CAP_BPF" },
	{ CAP_NET_ADMIN, "CAP_NET_ADMIN" },
	{ CAP_PERFMON, "CAP_PERFMON" },
};

#define KEPT_COUNT (sizeof(kept) / sizeof(*kept))

static uint64_t kept_set(void)
{
	uint64_t set = 0;

	for (size_t i = 0; i < KEPT_COUNT; i++)
		set |= BIT(kept[i].cap);
	return set;
}

static int read_permitted(uint64_t *ret)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	*ret = data[0].permitted | (uint64_t)data[1].permitted << 32;
	return 0;
}

/* Effective and permitted; nothing is inheritable, so nothing is ambient. */
static int set_capabilities(uint64_t set)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {};

	for (unsigned int i = 0; i < 2; i++)
		data[i].permitted = data[i].effective = (uint32_t)(set >> (32 * i));
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

/* Needs CAP_SETPCAP. Who starts us without it bounds us, too; no_new_privs makes the rest moot. */
static void bound(uint64_t set)
{
	for (unsigned int cap = 0; cap < 64; cap++) {
		if (!(set & BIT(cap)))
			(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	}
}

int privilege_find_user(const char *name, struct privilege_user *ret, char **ret_why)
{
	const struct passwd *p;

	*ret = (struct privilege_user){ .uid = geteuid(), .gid = getegid() };
	if (!name)
		return 0;
	errno = 0;
	p = getpwnam(name);
	if (!p)
		return fail(ret_why, errno ? -errno : -ENOENT, "--user: there is no user '%s'",
			    name);
	*ret = (struct privilege_user){ .uid = p->pw_uid, .gid = p->pw_gid };
	return 0;
}

int privilege_check(char **ret_why)
{
	uint64_t have = 0;
	int r = read_permitted(&have);

	if (r < 0)
		return r;
	for (size_t i = 0; i < KEPT_COUNT; i++) {
		if (!(have & BIT(kept[i].cap)))
			return fail(ret_why, -EPERM,
				    "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed, %s is "
				    "missing; start penstockd as root",
				    kept[i].name);
	}
	return 0;
}

int privilege_take_files(char **ret_why)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return -errno;
	if (files.rlim_max < FILES_LEAST)
		return fail(ret_why, -EMFILE,
			    "%d files must be open at a time, and one for each place of a device; "
			    "the limit is %llu: raise RLIMIT_NOFILE",
			    FILES_LEAST, (unsigned long long)files.rlim_max);
	if (files.rlim_cur >= FILES_MOST)
		return 0;
	files.rlim_cur = files.rlim_max < FILES_MOST ? files.rlim_max : FILES_MOST;
	return setrlimit(RLIMIT_NOFILE, &files) < 0 ? -errno : 0;
}

/* With the groups of the sockets, so that their owner may give the sockets to them. */
static int take_groups(const char *const groups[], size_t count)
{
	gid_t ids[GROUPS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < count && n < GROUPS_MAX; i++) {
		const struct group *g = getgrnam(groups[i]);

		if (g)
			ids[n++] = g->gr_gid;
	}
	return setgroups(n, ids) < 0 ? -errno : 0;
}

static int become(const struct privilege_user *user)
{
	if (user->uid == geteuid())
		return 0;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 ||
	    setresgid(user->gid, user->gid, user->gid) < 0 ||
	    setresuid(user->uid, user->uid, user->uid) < 0)
		return -errno;
	return 0;
}

/* Becomes the user with these rights and no way to others. */
static int keep(const struct privilege_user *user, const char *const groups[], size_t count,
		uint64_t set)
{
	uint64_t have = 0;
	int r = read_permitted(&have);

	if (r < 0)
		return r;
	bound(set);
	if (have & BIT(CAP_SETGID))
		r = take_groups(groups, count);
	if (!r)
		r = become(user);
	if (!r)
		r = set_capabilities(set);
	if (!r && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	return r;
}

int privilege_drop(const struct privilege_user *user, const char *const groups[], size_t count,
		   char **ret_why)
{
	int r = keep(user, groups, count, kept_set());

	/* Another user's process does not own its /proc/self, where our own descriptors are. */
	if (!r && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
		r = -errno;
	return r < 0 ? fail(ret_why, r, "rights cannot be given up: %s", strerrordesc_np(-r)) : 0;
}

int privilege_drop_to_inspect(const struct privilege_user *user)
{
	return keep(user, NULL, 0, BIT(CAP_SYS_ADMIN));
}

bool privilege_can_inspect(void)
{
	uint64_t have = 0;

	return !read_permitted(&have) && have & BIT(CAP_SYS_ADMIN);
}

int privilege_drop_all(void)
{
	bound(0);
	return set_capabilities(0);
}
