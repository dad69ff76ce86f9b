/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See doctor.h. A feature is there when the kernel takes a program that uses it: version numbers say little of
 * what a distribution has built.
 */
#include "doctor.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#define LEAST_MAJOR   6
#define LEAST_MINOR   1
#define LOOPBACK      1
#define TCX_INGRESS   46 /* the headers of Debian 12 do not have it */
#define COUNT_OF(a)   (sizeof(a) / sizeof(*(a)))
#define MISSING_BYTES 256

static const struct {
	enum bpf_prog_type type;
	const char *name;
} programs[] = {
	{ BPF_PROG_TYPE_XDP, "XDP" },
	{ BPF_PROG_TYPE_SCHED_CLS, "TC" },
};

static const struct {
	enum bpf_map_type type;
	const char *name;
} maps[] = {
	{ BPF_MAP_TYPE_ARRAY, "array" },
	{ BPF_MAP_TYPE_PERCPU_ARRAY, "percpu_array" },
	{ BPF_MAP_TYPE_ARRAY_OF_MAPS, "array_of_maps" },
};

#define HELPER(type, name)                                                \
	{                                                                 \
		BPF_PROG_TYPE_##type, BPF_FUNC_##name, #name " at " #type \
	}
static const struct {
	enum bpf_prog_type type;
	enum bpf_func_id helper;
	const char *name;
} helpers[] = {
	HELPER(XDP, ktime_get_coarse_ns),  HELPER(SCHED_CLS, ktime_get_coarse_ns),
	HELPER(XDP, skc_lookup_tcp),       HELPER(SCHED_CLS, skc_lookup_tcp),
	HELPER(XDP, sk_lookup_udp),        HELPER(SCHED_CLS, sk_lookup_udp),
	HELPER(XDP, sk_release),           HELPER(SCHED_CLS, sk_release),
	HELPER(XDP, tcp_check_syncookie),  HELPER(SCHED_CLS, tcp_check_syncookie),
	HELPER(XDP, fib_lookup),           HELPER(SCHED_CLS, fib_lookup),
	HELPER(XDP, xdp_load_bytes),       HELPER(XDP, xdp_get_buff_len),
	HELPER(SCHED_CLS, skb_load_bytes), HELPER(SCHED_CLS, skb_pull_data),
};

static void judge_release(struct json_object *rows)
{
	struct utsname u;
	int major = 0, minor = 0;

	if (uname(&u) < 0 || sscanf(u.release, "%d.%d", &major, &minor) != 2)
		return;
	if (major < LEAST_MAJOR || (major == LEAST_MAJOR && minor < LEAST_MINOR))
		doctor_add(rows,
			   &(struct doctor_finding){ DOCTOR_BROKEN, "kernel", "kernel",
						     "boot a newer kernel" },
			   "%s is older than 6.1", u.release);
	else
		doctor_add(rows, &(struct doctor_finding){ DOCTOR_OK, "kernel", "kernel", NULL },
			   "%s", u.release);
}

/* A program that does nothing; its descriptor, or -errno. */
static int load(unsigned int flags)
{
	const struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = flags);
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "penstock_probe", "GPL", code, COUNT_OF(code),
			       &opts);

	return fd < 0 ? -errno : fd;
}

static void judge_jit(struct json_object *rows, int fd)
{
	struct bpf_prog_info info = {};
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return;
	if (info.jited_prog_len)
		doctor_add(rows, &(struct doctor_finding){ DOCTOR_OK, "jit", "kernel", NULL },
			   "programs are compiled to machine code");
	else
		doctor_add(rows,
			   &(struct doctor_finding){ DOCTOR_WARNING, "jit", "kernel",
						     "sysctl -w net.core.bpf_jit_enable=1, then "
						     "load anew: see penstockd(8)" },
			   "programs are interpreted, and every packet takes many times as long");
}

static void miss(char *missing, const char *name)
{
	size_t len = strlen(missing);

	(void)snprintf(missing + len, MISSING_BYTES - len, "%s%s", len ? ", " : "", name);
}

static void judge_needed(struct json_object *rows)
{
	char missing[MISSING_BYTES] = "";

	for (size_t i = 0; i < COUNT_OF(programs); i++) {
		if (libbpf_probe_bpf_prog_type(programs[i].type, NULL) != 1)
			miss(missing, programs[i].name);
	}
	for (size_t i = 0; i < COUNT_OF(maps); i++) {
		if (libbpf_probe_bpf_map_type(maps[i].type, NULL) != 1)
			miss(missing, maps[i].name);
	}
	for (size_t i = 0; i < COUNT_OF(helpers); i++) {
		if (libbpf_probe_bpf_helper(helpers[i].type, helpers[i].helper, NULL) != 1)
			miss(missing, helpers[i].name);
	}
	if (bpf_link_update(-1, -1, NULL) == 0 || errno != EBADF)
		miss(missing, "links that can be updated");
	if (*missing)
		doctor_add(rows,
			   &(struct doctor_finding){ DOCTOR_BROKEN, "features", "kernel",
						     "boot a kernel that has it: Debian's have" },
			   "missing, and needed: %s", missing);
	else
		doctor_add(rows, &(struct doctor_finding){ DOCTOR_OK, "features", "kernel", NULL },
			   "%zu kinds of programs, %zu of maps, %zu helpers and updates of links, "
			   "all tried",
			   COUNT_OF(programs), COUNT_OF(maps), COUNT_OF(helpers));
}

static void judge_frags(struct json_object *rows)
{
	_cleanup_close_ int fd = load(BPF_F_XDP_HAS_FRAGS);

	if (fd >= 0)
		doctor_add(rows, &(struct doctor_finding){ DOCTOR_OK, "xdp-frags", "kernel", NULL },
			   "XDP takes frames of more than a page");
	else
		doctor_add(rows,
			   &(struct doctor_finding){ DOCTOR_BROKEN, "xdp-frags", "kernel",
						     "boot a newer kernel" },
			   "XDP does not take frames of more than a page: the program is refused");
}

static void judge_tcx(struct json_object *rows)
{
	uint32_t count = 0;

	if (bpf_prog_query(LOOPBACK, (enum bpf_attach_type)TCX_INGRESS, 0, NULL, NULL, &count) !=
	    -EINVAL)
		doctor_add(rows, &(struct doctor_finding){ DOCTOR_OK, "tcx", "kernel", NULL },
			   "TC programs are attached by TCX links");
	else
		doctor_add(rows,
			   &(struct doctor_finding){ DOCTOR_NOTE, "tcx", "kernel",
						     "a kernel from 6.6 on has TCX" },
			   "no TCX: TC programs are filters of clsact, which others can flush; "
			   "penstockd puts them back");
}

void doctor_kernel(struct json_object *rows)
{
	_cleanup_close_ int fd = -1;

	judge_release(rows);
	(void)libbpf_set_print(NULL); /* its words are about our probes */
	fd = load(0);
	if (fd == -EPERM) {
		doctor_add(rows,
			   &(struct doctor_finding){ DOCTOR_NOTE, "not-looked", "kernel",
						     "sudo penstock doctor" },
			   "whether it has what the programs need could not be tried: that takes "
			   "root's rights");
		return;
	}
	if (fd >= 0)
		judge_jit(rows, fd);
	judge_needed(rows);
	judge_frags(rows);
	judge_tcx(rows);
}
