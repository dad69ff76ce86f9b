/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this kernel's verifier makes of each program: whether it takes it, after how many instructions, in
 * what time. Each is loaded alone, so that one which is refused does not hide the others. TAP; an argument
 * names another object than the embedded one, to measure a change.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "abi.h"
#include "penstock.skel.h"

/* A quarter of what a kernel walks, so that no compiler's whim brings a program near the end. */
#define INSTRUCTIONS_MAX 250000

static const char *const names[] = { "xdp_ingress", "tc_ingress", "tc_egress" };

static double now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static struct bpf_object *open_object(const char *path)
{
	const void *bytes;
	size_t len;

	if (path)
		return bpf_object__open_file(path, NULL);
	bytes = penstock__elf_bytes(&len);
	return bpf_object__open_mem(bytes, len, NULL);
}

/* Loads one program and no other; 0 or -errno. */
static int load_one(struct bpf_object *object, const char *name, uint32_t *ret_instructions)
{
	struct bpf_prog_info info = {};
	uint32_t len = sizeof(info);
	struct bpf_program *p;
	int r;

	bpf_object__for_each_program(p, object)(void)
		bpf_program__set_autoload(p, !strcmp(bpf_program__name(p), name));
	p = bpf_object__find_program_by_name(object, name);
	if (!p)
		return -ENOENT;
	r = bpf_object__load(object);
	if (r)
		return r;
	if (bpf_obj_get_info_by_fd(bpf_program__fd(p), &info, &len))
		return -errno;
	*ret_instructions = info.verified_insns;
	return 0;
}

static int check(int number, const char *name, const char *path)
{
	struct bpf_object *object = open_object(path);
	uint32_t instructions = 0;
	double started = now_ms(), ms;
	int r;

	if (!object) {
		printf("not ok %d %s: cannot open the object: %s\n", number, name, strerror(errno));
		return 1;
	}
	r = load_one(object, name, &instructions);
	ms = now_ms() - started;
	bpf_object__close(object);
	if (r)
		printf("not ok %d %s refused: %s\n", number, name, strerror(-r));
	else
		printf("%s %d %s %u instructions of at most %u, %.0f ms\n",
		       instructions > INSTRUCTIONS_MAX ? "not ok" : "ok", number, name,
		       instructions, INSTRUCTIONS_MAX, ms);
	return r || instructions > INSTRUCTIONS_MAX;
}

int main(int argc, char **argv)
{
	const int count = sizeof(names) / sizeof(*names);
	struct utsname kernel;
	int failed = 0;

	(void)uname(&kernel);
	printf("# kernel %s\n1..%d\n", kernel.release, count);
	for (int i = 0; i < count; i++)
		failed += check(i + 1, names[i], argc > 1 ? argv[1] : NULL);
	return failed ? 1 : 0;
}
