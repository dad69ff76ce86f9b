/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lists of system calls, each tried by a child that lives under it: what an intruder would want fails, what
 * the daemon needs works. Rules out a list that is loaded and lets everything through.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/bpf.h>

#include "control/sandbox.h"

static const char program[] = "/bin/true", same_text[] = "/bin/true";

/* The body's result is the line that went wrong, or 0. */
static void in_child(int (*sandbox)(void), int (*body)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid) /* the sanitizers' _exit() makes calls that are on no list */
		(void)syscall(SYS_exit_group, sandbox() < 0 ? 255 : body());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int as_daemon(void)
{
	return sandbox_daemon(program);
}

#define MUST_NOT(unless)                 \
	do {                             \
		if (unless)              \
			return __LINE__; \
	} while (0)
#define ALLOWED(call) ((call) != -1 || errno != ENOSYS)

static void *map(int protection)
{
	return mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static int execute(const char *path)
{
	char *argv[] = { NULL, NULL }, *envp[] = { NULL };
	char name[] = "true";

	argv[0] = name;
	return execve(path, argv, envp);
}

static int try_denied(void)
{
	void *page = map(PROT_READ | PROT_WRITE);

	MUST_NOT(ALLOWED(ptrace(PTRACE_TRACEME, 0, NULL, NULL)));
	MUST_NOT(ALLOWED(mount("none", "/", "tmpfs", 0, NULL)));
	MUST_NOT(ALLOWED(socket(AF_INET, SOCK_STREAM, 0)));
	MUST_NOT(ALLOWED(socket(AF_PACKET, SOCK_RAW, 0)));
	MUST_NOT(ALLOWED(setuid(0)));
	MUST_NOT(ALLOWED(unshare(CLONE_NEWUSER)));
	MUST_NOT(ALLOWED(syscall(SYS_clone, CLONE_NEWUSER, 0, 0, 0, 0)));
	MUST_NOT(ALLOWED(syscall(SYS_clone3, NULL, 0)));
	MUST_NOT(ALLOWED(syscall(SYS_init_module, NULL, 0, "")));
	MUST_NOT(ALLOWED(syscall(SYS_perf_event_open, NULL, 0, 0, -1, 0)));
	MUST_NOT(ALLOWED(syscall(SYS_userfaultfd, 0)));
	MUST_NOT(ALLOWED(syscall(SYS_keyctl, 0)));
	MUST_NOT(map(PROT_WRITE | PROT_EXEC) != MAP_FAILED);
	MUST_NOT(ALLOWED(mprotect(page, 4096, PROT_READ | PROT_EXEC)));
	MUST_NOT(ALLOWED(execute(same_text)));
	return 0;
}

static int try_needed(void)
{
	if (socket(AF_UNIX, SOCK_STREAM, 0) < 0 || socket(AF_NETLINK, SOCK_RAW, 0) < 0)
		return __LINE__;
	if (open("/dev/null", O_RDWR) < 0 || map(PROT_READ | PROT_WRITE) == MAP_FAILED)
		return __LINE__;
	MUST_NOT(!ALLOWED(syscall(SYS_bpf, BPF_MAP_GET_NEXT_ID, NULL, 0)));
	MUST_NOT(syscall(SYS_bpf, BPF_BTF_GET_NEXT_ID, NULL, 0) != -1 || errno != ENOENT);
	return execute(program) ? __LINE__ : 0; /* does not come back, and is the exit status */
}

/* The child's list: what the daemon may is too much. */
static int try_as_child(void)
{
	MUST_NOT(ALLOWED(open("/dev/null", O_RDONLY)));
	MUST_NOT(ALLOWED(socket(AF_UNIX, SOCK_STREAM, 0)));
	MUST_NOT(ALLOWED(kill(getppid(), 0)));
	MUST_NOT(ALLOWED(syscall(SYS_bpf, 0, NULL, 0)));
	MUST_NOT(ALLOWED(unlink("/none")));
	MUST_NOT(ALLOWED(execute(program)));
	MUST_NOT(ALLOWED(fork()));
	MUST_NOT(map(PROT_READ | PROT_EXEC) != MAP_FAILED);
	MUST_NOT(memfd_create("test", 0) < 0);
	return 0;
}

static void the_daemon_cannot_do_more(void **state)
{
	(void)state;
	in_child(as_daemon, try_denied);
}

static void the_daemon_can_do_its_work(void **state)
{
	(void)state;
	in_child(as_daemon, try_needed);
}

static void the_child_can_only_compute(void **state)
{
	(void)state;
	in_child(sandbox_child, try_as_child);
}

/* The inspector's: of bpf(2) two commands, and nothing that CAP_SYS_ADMIN is feared for. */
static int try_as_inspector(void)
{
	for (int command = 0; command < 64; command++) {
		bool may = command == BPF_PROG_GET_FD_BY_ID || command == BPF_OBJ_GET_INFO_BY_FD;

		MUST_NOT(ALLOWED(syscall(SYS_bpf, command, NULL, 0)) != may);
	}
	MUST_NOT(ALLOWED(open("/dev/null", O_RDONLY)));
	MUST_NOT(ALLOWED(socket(AF_UNIX, SOCK_STREAM, 0)));
	MUST_NOT(ALLOWED(mount("none", "/", "tmpfs", 0, NULL)));
	MUST_NOT(ALLOWED(unshare(CLONE_NEWNS)));
	MUST_NOT(ALLOWED(setuid(0)));
	MUST_NOT(ALLOWED(kill(getppid(), 0)));
	MUST_NOT(ALLOWED(execute(program)));
	MUST_NOT(ALLOWED(fork()));
	MUST_NOT(ALLOWED(
		syscall(SYS_mmap, NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
	MUST_NOT(!ALLOWED(recv(-1, NULL, 0, 0)) || !ALLOWED(send(-1, NULL, 0, 0)));
	return 0;
}

static void the_inspector_can_only_ask(void **state)
{
	(void)state;
	in_child(sandbox_inspector, try_as_inspector);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_daemon_cannot_do_more),
		cmocka_unit_test(the_daemon_can_do_its_work),
		cmocka_unit_test(the_child_can_only_compute),
		cmocka_unit_test(the_inspector_can_only_ask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
