/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes on the daemon's sockets, with any descriptors: the real routes on the real daemon over the real kernel,
 * in namespaces that go with the process. Beside not crashing: every answer is one of ours or of libmicrohttpd's,
 * read.sock changes nothing, and no descriptor that came is kept.
 *
 * An input is a letter, 'a' (penstock.sock) or 'r' (read.sock), as a capital for a client that goes away instead of
 * listening, and then what it sends. Control characters make what a mutation would hardly hit:
 *   1 to 7   a NUL byte with a descriptor of that kind, or none
 *   FS c n   c repeated 4 n² times
 *   GS       the head ends here: a Content-Length that fits the rest, and an empty line
 *   RS       what follows is sent once the daemon has looked at what is before it
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <systemd/sd-event.h>

#include "control/accounting.h"
#include "control/api.h"
#include "control/daemon.h"
#include "control/feeds.h"
#include "control/job.h"
#include "control/jsonobj.h"
#include "control/options.h"
#include "control/routes.h"
#include "control/state.h"
#include "control/watch.h"

#define RUN_DIR    "/run/penstock"
#define KINDS      7
#define FS         0x1c
#define GS         0x1d
#define RS         0x1e
#define SENT_MAX   (8u << 20)
#define PATIENCE   3    /* turns of the loop without progress */
#define QUIET_USEC 1500 /* timers of the daemon's may be 1000 late */

static const char policy_text[] =
	"version: 1\n"
	"attach:\n  wan: {dev: none0, hook: tc}\n"
	"sets:\n  banned: {max: 1k, ttl: 2s}\n  fixed: {items: [192.0.2.0/24]}\n"
	"filter:\n  wan-in:\n    at: wan.ingress\n    default: pass\n    rules:\n"
	"      - {id: banned, from: [$banned, $fixed], do: drop}\n";
static const char list_text[] = "192.0.2.1\n2001:db8::/32\n";

static struct options options = { .run_dir = (char *)RUN_DIR, .level = LOG_LEVEL_ERROR };
static struct daemon d = { .options = &options, .tell_parent = -1, .handover = { .pins = -1 } };
static bool ready;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* Children that compile take most of a second here: in their place is one that ends without an answer. */
int __real_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attr, char *const argv[], char *const envp[]);
int __wrap_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attr, char *const argv[], char *const envp[]);
int __wrap_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	return __real_posix_spawn(pid, ready ? "/bin/true" : path, actions, attr, argv, envp);
}

/* ---- what a client sends ------------------------------------------------------------------------------ */

static int file_of(const char *text)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	return fd;
}

/* hole: the writing end of a pipe, whose other end tells when nobody has it any more. */
static int descriptor_of_kind(unsigned int kind, int hole)
{
	switch (kind) {
	case 1:
		return -1;
	case 2:
		return file_of(policy_text);
	case 3:
		return file_of(list_text);
	case 4:
		return fcntl(hole, F_DUPFD_CLOEXEC, 0);
	case 5:
		return open("/run", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	case 6:
		return open("/dev/zero", O_RDONLY | O_CLOEXEC);
	default:
		return memfd_create("empty", MFD_CLOEXEC);
	}
}

struct client {
	int fd, hole;
	VEC(char) heard;
};

/* False when the daemon hung up. */
static bool hear(struct client *c)
{
	for (;;) {
		ssize_t n;

		must(vec_reserve(&c->heard, 65536) == 0);
		n = recv(c->fd, c->heard.at + c->heard.count, 65535, MSG_DONTWAIT);
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		c->heard.count += (size_t)n;
	}
}

static void turn(uint64_t wait_usec)
{
	must(sd_event_run(d.event, wait_usec) >= 0);
}

/*
 * Whoever sends descriptors in the midst of a request may not be read to its end before API_IDLE_SECONDS: it gives up
 * earlier.
 */
static void say(struct client *c, const char *bytes, size_t len)
{
	for (int tries = 0; len && tries < PATIENCE; tries++) {
		ssize_t n = send(c->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return;
		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
			tries = 0;
			continue;
		}
		turn(1000);
		if (!hear(c))
			return;
	}
}

static void say_descriptor(struct client *c, unsigned int kind)
{
	int fd = descriptor_of_kind(kind, c->hole);

	(void)fdio_send(c->fd, 0, &fd, fd >= 0); /* fails when the daemon hung up */
	closep(&fd);
}

VEC_NAMED(text, char);

static void add(struct text *to, const char *bytes, size_t len)
{
	must(vec_reserve(to, len + 1) == 0);
	memcpy(to->at + to->count, bytes, len);
	to->count += len;
}

static void add_repeated(struct text *to, uint8_t c, uint8_t n)
{
	size_t len = 4u * n * n;

	if (to->count + len > SENT_MAX)
		return;
	must(vec_reserve(to, len + 1) == 0);
	memset(to->at + to->count, c, len);
	to->count += len;
}

static void say_text(struct client *c, struct text *head, struct text *body, bool has_body)
{
	char length[64];

	if (has_body) {
		(void)snprintf(length, sizeof(length), "Content-Length: %zu\r\n\r\n", body->count);
		add(head, length, strlen(length));
	}
	say(c, head->at, head->count);
	say(c, body->at, body->count);
	head->count = body->count = 0;
}

static void send_input(struct client *c, const uint8_t *at, const uint8_t *end)
{
	struct text head = {}, body = {};
	bool has_body = false;

	for (; at < end; at++) {
		struct text *to = has_body ? &body : &head;

		if (*at && *at <= KINDS) {
			say_text(c, &head, &body, has_body);
			has_body = false;
			say_descriptor(c, *at);
		} else if (*at == FS && end - at > 2) {
			add_repeated(to, at[1], at[2]);
			at += 2;
		} else if (*at == GS && !has_body) {
			has_body = true;
		} else if (*at == RS) {
			say_text(c, &head, &body, has_body);
			has_body = false;
			turn(0);
		} else {
			add(to, (const char *)at, 1);
		}
	}
	say_text(c, &head, &body, has_body);
	vec_done(&head);
	vec_done(&body);
}

/* ---- what it hears -------------------------------------------------------------------------------------- */

/* One answer, and where the next begins; NULL when it is cut. */
static const char *check_answer(const char *at, const char *end, unsigned int *ret_status)
{
	const char *head_end = memmem(at, (size_t)(end - at), "\r\n\r\n", 4), *length;
	struct json_object *json;
	size_t len = 0;

	if (!head_end)
		return NULL;
	must(sscanf(at, "HTTP/1.%*1[01] %3u ", ret_status) == 1);
	must(*ret_status == 100 || (*ret_status >= 200 && *ret_status < 600));
	length = memmem(at, (size_t)(head_end - at), "Content-Length: ", 16);
	if (length)
		len = strtoul(length + 16, NULL, 10);
	head_end += 4;
	if ((size_t)(end - head_end) < len)
		return NULL;
	if (!memmem(at, (size_t)(head_end - at), "application/json", 16))
		return head_end + len;
	json = json_read(head_end, len);
	must(json_member(json, "schema", json_type_int) != NULL);
	must(*ret_status == 200 || json_member(json, "error", json_type_object));
	json_put(&json);
	return head_end + len;
}

/* Gives the status of the first answer, 0 when there was none. */
static unsigned int check_heard(struct client *c)
{
	const char *at = c->heard.at, *end;
	unsigned int first = 0, status = 0;

	if (!c->heard.count)
		return 0;
	end = at + c->heard.count;
	c->heard.at[c->heard.count] = 0; /* hear() left room */
	while (at && at < end) {
		at = check_answer(at, end, &status);
		first = first ? first : status;
	}
	return first;
}

/* ---- a client ------------------------------------------------------------------------------------------- */

static void on_worked(void *ctx)
{
	*(bool *)ctx = true;
}

static void do_nothing(void *ctx)
{
	(void)ctx;
}

/*
 * Until the daemon has hung up, or nothing is done for the client any more: one that has sent half a request would
 * not be hung up on for API_IDLE_SECONDS.
 */
static void settle(struct client *c)
{
	for (int quiet = 0; quiet < 2;) {
		bool worked = false;

		must(worker_submit(d.worker, do_nothing, on_worked, &worked) == 0);
		while (!worked)
			turn(UINT64_MAX);
		if (c->fd >= 0 && !hear(c))
			return;
		if (d.changing || d.applies || d.set_calls) {
			turn(UINT64_MAX);
			quiet = 0;
		} else {
			quiet = sd_event_run(d.event, QUIET_USEC) > 0 ? 0 : quiet + 1;
		}
	}
}

static int dial(const char *name)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(at.sun_path, sizeof(at.sun_path), RUN_DIR "/%s", name);
	must(connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
	return fd;
}

static unsigned int run_client(const uint8_t *data, size_t len)
{
	bool reads = (*data & 0x1f) == ('r' & 0x1f), listens = *data & 0x20;
	struct client c = { .fd = dial(reads ? "read.sock" : "penstock.sock") };
	struct pollfd hole = { .events = POLLIN };
	unsigned int status;
	int ends[2];

	must(pipe2(ends, O_CLOEXEC) == 0);
	hole.fd = ends[0];
	c.hole = ends[1];
	send_input(&c, data + 1, data + len);
	closep(&c.hole);
	(void)shutdown(c.fd, SHUT_WR); /* fails when the daemon hung up */
	if (!listens)
		closep(&c.fd);
	/* What the fuzzer begins with must be there. */
	while (!ready && hear(&c) && !check_heard(&c))
		turn(100000);
	settle(&c);
	closep(&c.fd);
	status = check_heard(&c);
	while (poll(&hole, 1, 0) == 0)
		turn(100000);
	closep(&hole.fd);
	vec_done(&c.heard);
	return status;
}

/* ---- the daemon ------------------------------------------------------------------------------------------- */

/* A mount and a network namespace of its own: pins, state and devices go with the process. */
static void enter_namespaces(void)
{
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0) {
		perror("fuzz_api: namespaces need root");
		exit(1);
	}
	must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	must(mount("fuzz", "/run", "tmpfs", 0, "size=64m,mode=755") == 0);
	must(mount("fuzz", "/sys/fs/bpf", "bpf", 0, "mode=700") == 0);
}

static void on_devices(void *ctx, bool resync)
{
	(void)ctx, (void)resync;
}

/* As in daemon.c, but that rights are kept, because the fuzzer needs them, and nobody looks after pins. */
static void start(void)
{
	const struct api_user user = { .routes = routes, .ctx = &d };
	char *why = NULL;
	bool good = vec_push(&options.feed_dirs, (char *)"/run/feeds") == 0 &&
		    sd_event_new(&d.event) >= 0 && worker_new(&d.worker, d.event) == 0 &&
		    state_open(&d.state, "/run/state", &why) == 0 &&
		    api_new(&d.api, d.event, RUN_DIR, &user, &why) == 0 &&
		    loader_new(&d.loader, "/sys/fs/bpf/penstock/fuzz", LOADER_FLOW_SLOTS_MIN,
			       &why) == 0 &&
		    attach_new(&d.attach, d.loader, NULL, false) == 0 &&
		    netif_new(&d.netif, d.event, on_devices, NULL) == 0 &&
		    flows_watch_new(&d.flows, d.event, d.loader) == 0 &&
		    sets_new(&d.sets, d.event, d.worker, d.loader, &d.running, &why) == 0 &&
		    sets_given_new(&d.given, d.event, d.worker, d.state, &d.running) == 0 &&
		    feeds_new(&d.feeds, &d) == 0 && watch_new(&d.watch, &d) == 0 &&
		    accounting_new(&d.accounting, d.event, d.loader, &why) == 0 &&
		    api_serve(d.api) == 0;

	if (!good) {
		fprintf(stderr, "fuzz_api: the daemon cannot start: %s\n", why ? why : "no reason");
		exit(1);
	}
	d.ready = true;
}

static void ask(const char *text)
{
	must(run_client((const uint8_t *)text, strlen(text)) == 200);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	if (*argc == 2 && !strcmp((*argv)[1], JOB_CHILD_ARG))
		exit(job_child_main());
	(void)signal(SIGPIPE, SIG_IGN);
	log_init(LOG_LEVEL_ERROR);
	enter_namespaces();
	start();
	/* By its own interface: a policy, and what is made when it is first asked for. */
	ask("a\2POST /v1/apply HTTP/1.1\r\nHost: p\r\n\x1d{\"file\": \"p.yaml\"}");
	ask("aPOST /v1/explain HTTP/1.1\r\nHost: p\r\n\x1d{\"at\": \"wan.ingress\", "
	    "\"frames\": [\"ffffffffffffffffffffffff88b5\"]}");
	ready = true;
	return 0;
}

struct changeable {
	uint64_t members, generation;
	size_t overrides;
};

static struct changeable look(void)
{
	return (struct changeable){ sets_table(d.sets)->live, d.running->number,
				    d.overrides.count };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct changeable before = look(), after;

	if (!len)
		return 0;
	(void)run_client(data, len);
	after = look();
	must(after.generation == before.generation);
	if ((*data & 0x1f) == ('r' & 0x1f)) /* members may have come to their time */
		must(after.members <= before.members && after.overrides == before.overrides);
	return 0;
}
