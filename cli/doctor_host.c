/* SPDX-License-Identifier: Apache-2.0 */
/* See doctor.h. What a file in /proc or /sys says; one that cannot be read is a finding, too. */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include <linux/capability.h>
#include <linux/magic.h>

#define LINE  256
#define BPFFS "/sys/fs/bpf"

/* The file's first line without its end. 0 or -errno. */
static int read_line(const char *path, char line[static LINE])
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, line, LINE - 1);

	if (n < 0)
		return -errno;
	line[n] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return 0;
}

static void not_looked(struct json_object *rows, const char *subject, const char *path, int r)
{
	doctor_add(rows,
		   &(struct doctor_finding){ DOCTOR_NOTE, "not-looked", subject,
					     r == -EACCES || r == -EPERM ? "sudo penstock doctor"
									 : NULL },
		   "%s: %s", path, strerror(-r));
}

/* ---- settings --------------------------------------------------------------------------------------- */

/* What a setting means where it has this value. */
struct setting {
	const char *path, *bad;
	struct doctor_finding finding;
	const char *text, *good;
};

static const struct setting settings[] = {
	{ "/proc/sys/kernel/bpf_stats_enabled",
	  "1",
	  { DOCTOR_WARNING, "bpf-stats", "kernel.bpf_stats_enabled",
	    "sysctl -w kernel.bpf_stats_enabled=0" },
	  "is 1: every program takes 36 to 50 ns longer for each packet",
	  "is off" },
	{ "/proc/sys/kernel/unprivileged_bpf_disabled",
	  "0",
	  { DOCTOR_NOTE, "unprivileged-bpf", "kernel.unprivileged_bpf_disabled",
	    "sysctl -w kernel.unprivileged_bpf_disabled=1" },
	  "is 0: every user may load BPF programs, which has helped attackers before; penstock has no "
	  "need of it",
	  "keeps users from loading programs" },
};

static void judge_setting(struct json_object *rows, const struct setting *s)
{
	char line[LINE];
	int r = read_line(s->path, line);

	if (r == -ENOENT) /* kernels without the setting are as good */
		return;
	if (r < 0)
		not_looked(rows, s->finding.subject, s->path, r);
	else if (!strcmp(line, s->bad))
		doctor_add(rows, &s->finding, "%s", s->text);
	else
		doctor_add(rows,
			   &(struct doctor_finding){ DOCTOR_OK, s->finding.id, s->finding.subject,
						     NULL },
			   "%s", s->good);
}

/* "[none] integrity confidentiality": the one in brackets. */
static void judge_lockdown(struct json_object *rows)
{
	static const char path[] = "/sys/kernel/security/lockdown";
	char line[LINE], *begin, *end;
	int r = read_line(path, line);

	if (r < 0) {
		doctor_add(
			rows, &(struct doctor_finding){ DOCTOR_NOTE, "lockdown", "kernel", NULL },
			"whether it is locked down is not to be seen: %s: %s", path, strerror(-r));
		return;
	}
	begin = strchr(line, '[');
	end = begin ? strchr(begin, ']') : NULL;
	if (!end)
		return;
	*end = '\0';
	if (!strcmp(begin + 1, "confidentiality"))
		doctor_add(rows,
			   &(struct doctor_finding){ DOCTOR_WARNING, "lockdown", "kernel",
						     "lockdown=integrity on the kernel's command "
						     "line" },
			   "locked down for confidentiality: programs may not read the kernel's "
			   "memory, which filtering does not need and observing does");
	else
		doctor_add(rows, &(struct doctor_finding){ DOCTOR_OK, "lockdown", "kernel", NULL },
			   "lockdown is '%s', which keeps nothing from us", begin + 1);
}

static void judge_btf(struct json_object *rows)
{
	static const char path[] = "/sys/kernel/btf/vmlinux";

	if (!access(path, R_OK))
		doctor_add(rows, &(struct doctor_finding){ DOCTOR_OK, "btf", "kernel", NULL },
			   "%s describes its types", path);
	else
		doctor_add(rows,
			   &(struct doctor_finding){ DOCTOR_WARNING, "btf", "kernel",
						     "boot a kernel with CONFIG_DEBUG_INFO_BTF, as "
						     "Debian's have" },
			   "%s: %s: programs that follow the kernel's own structures cannot be "
			   "loaded",
			   path, strerror(errno));
}

void doctor_host(struct json_object *rows)
{
	judge_lockdown(rows);
	judge_btf(rows);
	for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++)
		judge_setting(rows, &settings[i]);
}

void doctor_bpffs(struct json_object *rows)
{
	struct statfs fs;

	if (statfs(BPFFS, &fs) < 0)
		not_looked(rows, "bpffs", BPFFS, -errno);
	else if (fs.f_type == BPF_FS_MAGIC)
		doctor_add(rows, &(struct doctor_finding){ DOCTOR_OK, "bpffs", BPFFS, NULL },
			   "a bpffs is mounted");
	else
		doctor_add(rows,
			   &(struct doctor_finding){ DOCTOR_NOTE, "bpffs", BPFFS,
						     "none: a start of penstockd mounts one; 'ip "
						     "netns exec' hides it, nsenter does not" },
			   "no bpffs is to be seen here");
}

/* ---- rights ----------------------------------------------------------------------------------------- */

struct rights {
	uint64_t capabilities;
	unsigned int no_new_privs, seccomp;
};

/* -ESRCH for a process that is not to be seen from here, or is another one. */
static int read_rights(int pid, struct rights *ret)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], line[LINE];
	bool ours = false;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid); /* always fits */
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		ours |= !strncmp(line, "Name:\tpenstock", strlen("Name:\tpenstock"));
		(void)sscanf(line, "CapEff: %" SCNx64, &ret->capabilities); /* one line each */
		(void)sscanf(line, "NoNewPrivs: %u", &ret->no_new_privs);
		(void)sscanf(line, "Seccomp: %u", &ret->seccomp);
	}
	return ours ? 0 : -ESRCH;
}

static void judge_rights(struct json_object *rows, int pid, const char *name, uint64_t wanted)
{
	struct rights have = {};
	int r = read_rights(pid, &have);

	if (r < 0)
		doctor_add(rows, &(struct doctor_finding){ DOCTOR_NOTE, "not-looked", name, NULL },
			   "what it may do is not to be seen from here: process %d: %s", pid,
			   strerror(-r));
	else if (wanted & ~have.capabilities)
		doctor_add(rows,
			   &(struct doctor_finding){ DOCTOR_BROKEN, "rights", name,
						     "start penstockd as root: see penstockd(8)" },
			   "it lacks capabilities: %" PRIx64 " of %" PRIx64, have.capabilities,
			   wanted);
	else if (have.capabilities != wanted || have.no_new_privs != 1 || have.seccomp != 2)
		doctor_add(rows,
			   &(struct doctor_finding){ DOCTOR_WARNING, "rights", name,
						     "restart penstockd" },
			   "it may do more than it needs: capabilities %" PRIx64 " and not %" PRIx64
			   ", no_new_privs %u, seccomp %u",
			   have.capabilities, wanted, have.no_new_privs, have.seccomp);
	else
		doctor_add(rows, &(struct doctor_finding){ DOCTOR_OK, "rights", name, NULL },
			   "no capabilities but those it needs (%" PRIx64
			   "), no_new_privs, a list of system calls",
			   wanted);
}

#define BIT(cap) (UINT64_C(1) << (cap))

void doctor_rights(struct json_object *rows, int daemon, int inspector)
{
	if (daemon)
		judge_rights(rows, daemon, "penstockd",
			     BIT(CAP_BPF) | BIT(CAP_NET_ADMIN) | BIT(CAP_PERFMON));
	if (inspector)
		judge_rights(rows, inspector, "penstock-inspect", BIT(CAP_SYS_ADMIN));
}
