/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockets, by raw clients: requests, descriptors before them, and clients that are slow, wrong or
 * gone. The server runs in a child; a test that hangs is ended by the alarm.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>
#include <json-c/json.h>
#include <systemd/sd-event.h>

#include "control/api.h"
#include "control/log.h"

static char dir[] = "/tmp/penstock-api-XXXXXX";
static char run_dir[64];
static pid_t server;

/* ---- the server ------------------------------------------------------------------------------------ */

struct serving {
	sd_event *event;
	struct api *api;
};

static void handle_hello(void *ctx, struct api_request *r)
{
	struct json_object *json = json_object_new_object();

	(void)ctx;
	json_object_object_add(json, "hello", json_object_new_int((int)api_peer(r)->uid));
	api_answer(r, 200, json);
}

/* The first byte of each descriptor's file. */
static void handle_files(void *ctx, struct api_request *r)
{
	struct json_object *json = json_object_new_object(), *list = json_object_new_array();
	struct fd_list *fds = api_descriptors(r);

	(void)ctx;
	for (size_t i = 0; i < fds->count; i++) {
		char byte[2] = "";

		(void)!pread(fds->at[i], byte, 1, 0);
		json_object_array_add(list, json_object_new_string(byte));
	}
	json_object_object_add(json, "files", list);
	api_answer(r, 200, json);
}

static int on_later(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct api_request *r = ctx;

	(void)usec;
	sd_event_source_unref(s);
	api_answer(r, 200, json_object_new_object());
	return 0;
}

static void answer_later(struct serving *s, struct api_request *r, uint64_t us)
{
	sd_event_source *timer = NULL;

	if (sd_event_add_time_relative(s->event, &timer, CLOCK_MONOTONIC, us, 0, on_later, r) < 0)
		api_error(r, 500, "no-timer", "no timer");
}

static void handle_later(void *ctx, struct api_request *r)
{
	answer_later(ctx, r, 50000);
}

/* Shared with the server: requests of the kind below that it has begun. */
static int *begun;

static void handle_much_later(void *ctx, struct api_request *r)
{
	__atomic_fetch_add(begun, 1, __ATOMIC_RELAXED);
	answer_later(ctx, r, 3000000);
}

static void handle_json(void *ctx, struct api_request *r)
{
	struct json_object *json = api_json(r);

	(void)ctx;
	if (json)
		api_answer(r, 200, json);
}

/* How many descriptors the server has: what clients leave behind shows here. */
static void handle_open(void *ctx, struct api_request *r)
{
	struct json_object *json = json_object_new_object();
	int count = 0;

	(void)ctx;
	for (int fd = 0; fd < 4096; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	json_object_object_add(json, "open", json_object_new_int(count));
	api_answer(r, 200, json);
}

static const struct api_route table[] = {
	{ "GET", "/hello", true, handle_hello },
	{ "POST", "/files", true, handle_files },
	{ "POST", "/later", true, handle_later },
	{ "POST", "/much-later", true, handle_much_later },
	{ "POST", "/json", true, handle_json },
	{ "GET", "/open", true, handle_open },
	{ "POST", "/change", false, handle_hello },
	{},
};

static int on_term(sd_event_source *source, const struct signalfd_siginfo *si, void *ctx)
{
	struct serving *s = ctx;

	(void)source, (void)si;
	return sd_event_exit(s->event, 0);
}

static int serve(int tell)
{
	struct serving s = {};
	const struct api_user user = { .routes = table, .ctx = &s };
	char *why = NULL;
	sigset_t term;
	int r;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log_init(LOG_LEVEL_ERROR);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	r = sd_event_new(&s.event);
	if (r >= 0)
		r = sd_event_add_signal(s.event, NULL, SIGTERM, on_term, &s);
	if (r >= 0)
		r = api_new(&s.api, s.event, run_dir, &user, &why);
	if (r >= 0)
		r = api_serve(s.api);
	if (r < 0)
		fprintf(stderr, "server: %s\n", why ? why : strerror(-r));
	(void)!write(tell, "r", r >= 0);
	close(tell);
	if (r >= 0)
		r = sd_event_loop(s.event);
	api_free(&s.api);
	sd_event_unref(s.event);
	free(why);
	return r < 0;
}

static int start_server(void **state)
{
	int ends[2];
	char byte;

	(void)state;
	if (!mkdtemp(dir) || pipe(ends) < 0)
		return -1;
	(void)snprintf(run_dir, sizeof(run_dir), "%s/run", dir);
	begun = mmap(NULL, sizeof(*begun), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (begun == MAP_FAILED)
		return -1;
	server = fork();
	if (!server) {
		close(ends[0]);
		_exit(serve(ends[1]));
	}
	close(ends[1]);
	return read(ends[0], &byte, 1) == 1 ? 0 : -1;
}

static int stop_server(void **state)
{
	char command[96];
	int status;

	(void)state;
	kill(server, SIGTERM);
	if (waitpid(server, &status, 0) != server || status)
		return -1;
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

/* ---- clients ------------------------------------------------------------------------------------------ */

static int dial_to(const char *name)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval patience = { .tv_sec = 10 };

	(void)snprintf(at.sun_path, sizeof(at.sun_path), "%s/%s", run_dir, name);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

static int dial(void)
{
	return dial_to("penstock.sock");
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* The status of the answer; 0 when the server hung up without one. *ret_body is static. */
static int hear(int fd, const char **ret_body)
{
	static char text[65536];
	size_t len = 0;
	char *body = NULL;
	int status = 0;

	for (;;) {
		ssize_t n = recv(fd, text + len, sizeof(text) - 1 - len, 0);
		const char *length;

		if (n <= 0)
			break;
		len += (size_t)n;
		text[len] = 0;
		body = strstr(text, "\r\n\r\n");
		length = strcasestr(text, "content-length: ");
		if (body && length &&
		    len >= (size_t)(body + 4 - text) + strtoul(length + 16, NULL, 10))
			break;
	}
	if (len)
		(void)sscanf(text, "HTTP/1.1 %d", &status);
	if (ret_body)
		*ret_body = body ? body + 4 : "";
	return status;
}

static int ask(const char *socket, const char *text, const char **ret_body)
{
	int fd = dial_to(socket), status;

	say(fd, text);
	status = hear(fd, ret_body);
	close(fd);
	return status;
}

static int file_of(const char *text)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static int open_in_server(void)
{
	const char *body;

	assert_int_equal(ask("penstock.sock", "GET /open HTTP/1.1\r\nHost: a\r\n\r\n", &body), 200);
	return atoi(strchr(body, ':') + 1);
}

/* Dropped clients are noticed by the loop, not by us: waits until they are. */
static void assert_nothing_left(int before)
{
	for (int i = 0; i < 100; i++) {
		if (open_in_server() <= before)
			return;
		usleep(20000);
	}
	fail_msg("%d descriptors open, %d before", open_in_server(), before);
}

#define FILES "POST /files HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
#define HELLO "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

/* ---- requests ------------------------------------------------------------------------------------------ */

static void plain_requests(void **state)
{
	const char *body;

	(void)state;
	assert_int_equal(ask("penstock.sock", HELLO, &body), 200);
	assert_non_null(strstr(body, "\"hello\""));
	assert_non_null(strstr(body, "\"schema\":1"));
	assert_int_equal(ask("penstock.sock", "GET /none HTTP/1.1\r\nHost: a\r\n\r\n", &body), 404);
	assert_non_null(strstr(body, "no-such-path"));
	assert_int_equal(ask("penstock.sock", "DELETE /hello HTTP/1.1\r\nHost: a\r\n\r\n", NULL),
			 405);
	assert_int_equal(ask("penstock.sock",
			     "POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 0"
			     "\r\n\r\n",
			     NULL),
			 200);
}

static void the_read_socket_only_reads(void **state)
{
	static const char change[] =
		"POST /change HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";

	(void)state;
	assert_int_equal(ask("read.sock", HELLO, NULL), 200);
	assert_int_equal(ask("read.sock", change, NULL), 403);
	assert_int_equal(ask("penstock.sock", change, NULL), 200);
}

/* Refused by its first line: the body never comes, and nobody waits for it. */
static void refused_before_the_body(void **state)
{
	(void)state;
	assert_int_equal(ask("read.sock",
			     "POST /change HTTP/1.1\r\nHost: a\r\n"
			     "Content-Length: 1000000\r\n\r\n",
			     NULL),
			 403);
	assert_int_equal(ask("penstock.sock",
			     "POST /json HTTP/1.1\r\nHost: a\r\n"
			     "Content-Length: 999999999\r\n\r\n",
			     NULL),
			 413);
}

static void bodies(void **state)
{
	const char *body;

	(void)state;
	assert_int_equal(ask("penstock.sock",
			     "POST /json HTTP/1.1\r\nHost: a\r\nContent-Length: 7"
			     "\r\n\r\n{\"a\":1}",
			     &body),
			 200);
	assert_non_null(strstr(body, "\"a\":1"));
	assert_int_equal(ask("penstock.sock",
			     "POST /json HTTP/1.1\r\nHost: a\r\nContent-Length: 3"
			     "\r\n\r\n[1]",
			     &body),
			 400);
	assert_non_null(strstr(body, "bad-json"));
	assert_int_equal(ask("penstock.sock",
			     "POST /json HTTP/1.1\r\nHost: a\r\nContent-Length: 4"
			     "\r\n\r\n{\"a\"",
			     NULL),
			 400);
}

static void requests_follow_each_other(void **state)
{
	const char *body;
	int fd = dial();

	(void)state;
	say(fd, HELLO);
	assert_int_equal(hear(fd, NULL), 200);
	say(fd, HELLO);
	assert_int_equal(hear(fd, &body), 200);
	close(fd);
}

static void garbage(void **state)
{
	int before = open_in_server(), fd = dial();

	(void)state;
	say(fd, "\x16\x03\x01 this is no http at all\r\n\r\n");
	(void)hear(fd, NULL); /* an error or a closed connection: both are fine */
	close(fd);
	assert_int_equal(ask("penstock.sock", HELLO, NULL), 200);
	assert_nothing_left(before);
}

/* ---- descriptors ------------------------------------------------------------------------------------------ */

static void descriptors_come_in_order(void **state)
{
	int before = open_in_server(), fd = dial(), files[3];
	const char *body;

	(void)state;
	files[0] = file_of("x");
	files[1] = file_of("y");
	files[2] = file_of("z");
	assert_int_equal(fdio_send(fd, 0, files, 2), 0);
	assert_int_equal(fdio_send(fd, 0, files + 2, 1), 0);
	say(fd, FILES);
	assert_int_equal(hear(fd, &body), 200);
	assert_non_null(strstr(body, "[\"x\",\"y\",\"z\"]"));
	/* They were of that request. */
	say(fd, FILES);
	assert_int_equal(hear(fd, &body), 200);
	assert_non_null(strstr(body, "\"files\":[]"));
	close(fd);
	for (int i = 0; i < 3; i++)
		close(files[i]);
	assert_nothing_left(before);
}

/* The request may come in the same segment, or long after. */
static void the_first_byte_may_be_late(void **state)
{
	int fd = dial(), file = file_of("q");
	const char *body;

	(void)state;
	usleep(200000);
	assert_int_equal(fdio_send(fd, 0, &file, 1), 0);
	usleep(200000);
	say(fd, "POST /files HT");
	usleep(100000);
	say(fd, "TP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{");
	usleep(100000);
	say(fd, "}");
	assert_int_equal(hear(fd, &body), 200);
	assert_non_null(strstr(body, "[\"q\"]"));
	close(fd);
	close(file);
}

static void descriptors_without_a_request_are_closed(void **state)
{
	int before = open_in_server(), file = file_of("q");

	(void)state;
	for (int i = 0; i < 20; i++) {
		int fd = dial();

		assert_int_equal(fdio_send(fd, 0, &file, 1), 0);
		close(fd);
	}
	close(file);
	assert_nothing_left(before);
}

/* Too many of them, and NUL bytes without end: the client is dropped, descriptors and all. */
static void too_many_descriptors(void **state)
{
	int before = open_in_server(), fd = dial(), file = file_of("q"), files[250], r = 0;

	(void)state;
	for (int i = 0; i < 250; i++)
		files[i] = file;
	for (int i = 0; i < 8 && !r; i++) {
		r = fdio_send(fd, 0, files, 250);
		usleep(10000);
	}
	assert_true(r < 0);
	close(fd);
	assert_nothing_left(before);
	fd = dial();
	for (int i = 0; i < 20000 && send(fd, "\0\0\0\0", 4, MSG_NOSIGNAL) == 4; i++)
		;
	assert_int_equal(hear(fd, NULL), 0);
	close(fd);
	close(file);
	assert_nothing_left(before);
}

/* Descriptors on a byte that is not NUL are none; whether the request gets through is not promised. */
static void descriptors_inside_a_request_are_lost(void **state)
{
	int before = open_in_server(), fd = dial(), file = file_of("q");

	(void)state;
	assert_int_equal(fdio_send(fd, 'P', &file, 1), 0);
	say(fd, &FILES[1]);
	assert_int_equal(ask("penstock.sock", HELLO, NULL), 200);
	close(fd);
	close(file);
	assert_nothing_left(before);
}

/* ---- clients that do not go on ------------------------------------------------------------------------------ */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* More silent clients than there are places, and half requests beside them: others are served at once. */
static void silent_clients_stop_nobody(void **state)
{
	int before = open_in_server(), silent[80], half[40];
	double start;

	(void)state;
	for (int i = 0; i < 40; i++) {
		half[i] = dial();
		say(half[i], "GET /hel");
	}
	for (int i = 0; i < 80; i++)
		silent[i] = dial();
	start = now();
	assert_int_equal(ask("penstock.sock", HELLO, NULL), 200);
	assert_int_equal(ask("read.sock", HELLO, NULL), 200);
	assert_true(now() - start < 1.0);
	for (int i = 0; i < 80; i++)
		close(silent[i]);
	for (int i = 0; i < 40; i++)
		close(half[i]);
	assert_nothing_left(before);
}

/* Twice as many clients as places stay connected: each is served, the ones that waited longest go. */
static void the_idlest_makes_room(void **state)
{
	int before = open_in_server(), fds[2 * API_CONNECTIONS];
	char byte;

	(void)state;
	for (int i = 0; i < 2 * API_CONNECTIONS; i++) {
		fds[i] = dial();
		say(fds[i], HELLO);
		assert_int_equal(hear(fds[i], NULL), 200);
		say(fds[0], HELLO); /* this one does something all the time */
		assert_int_equal(hear(fds[0], NULL), 200);
	}
	assert_int_equal(recv(fds[1], &byte, 1, 0), 0);
	say(fds[API_CONNECTIONS + 1], HELLO);
	assert_int_equal(hear(fds[API_CONNECTIONS + 1], NULL), 200);
	assert_int_equal(ask("read.sock", HELLO, NULL), 200);
	for (int i = 0; i < 2 * API_CONNECTIONS; i++)
		close(fds[i]);
	assert_nothing_left(before);
}

/* Requests that are being worked on keep their places: one more is told so, and theirs are answered. */
static void a_full_house_says_so(void **state)
{
	int before = open_in_server(), busy[API_CONNECTIONS], fd;

	(void)state;
	for (int i = 0; i < API_CONNECTIONS; i++) {
		busy[i] = dial();
		say(busy[i], "POST /much-later HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
	}
	for (int i = 0; i < 200 && __atomic_load_n(begun, __ATOMIC_RELAXED) < API_CONNECTIONS; i++)
		usleep(10000);
	fd = dial();
	say(fd, HELLO);
	assert_int_equal(hear(fd, NULL), 503);
	close(fd);
	assert_int_equal(ask("read.sock", HELLO, NULL), 200);
	for (int i = 0; i < API_CONNECTIONS; i++) {
		assert_int_equal(hear(busy[i], NULL), 200);
		close(busy[i]);
	}
	assert_nothing_left(before);
}

/* A quarter of a gigabyte of bodies that never end: others get theirs through, and what is held is bounded. */
static void endless_bodies_are_bounded(void **state)
{
	enum {
		BYTES = API_BODY_MAX - 1000,
		COUNT = 2 * (API_BODIES_MAX / API_BODY_MAX)
	};
	int before = open_in_server(), fds[COUNT], gone = 0;
	char *bytes = calloc(1, BYTES), head[128], byte;

	(void)state;
	assert_non_null(bytes);
	(void)snprintf(head, sizeof(head),
		       "POST /json HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", BYTES + 1);
	for (int i = 0; i < COUNT; i++) {
		fds[i] = dial();
		say(fds[i], head);
		for (ssize_t sent = 0, n = 1; n > 0 && sent < BYTES; sent += n)
			n = send(fds[i], bytes + sent, (size_t)(BYTES - sent), MSG_NOSIGNAL);
	}
	assert_int_equal(ask("penstock.sock",
			     "POST /json HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", NULL),
			 200);
	for (int i = 0; i < COUNT; i++) {
		gone += recv(fds[i], &byte, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET;
		close(fds[i]);
	}
	assert_true(gone >= COUNT / 2);
	free(bytes);
	assert_nothing_left(before);
}

static void a_silent_client_is_dropped(void **state)
{
	int fd = dial();
	double start = now();
	char byte;

	(void)state;
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	assert_true(now() - start < API_FIRST_BYTE_MS / 1000.0 + 2);
	close(fd);
}

/* The client of a request that is being carried out goes away. */
static void gone_before_the_answer(void **state)
{
	int before = open_in_server();

	(void)state;
	for (int i = 0; i < 10; i++) {
		int fd = dial(), file = file_of("q");

		assert_int_equal(fdio_send(fd, 0, &file, 1), 0);
		say(fd, "POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
		close(file);
		close(fd);
	}
	assert_int_equal(ask("penstock.sock", HELLO, NULL), 200);
	assert_nothing_left(before);
}

/* ---- the files ------------------------------------------------------------------------------------------------ */

static void sockets_are_private(void **state)
{
	static const char *const names[] = { "penstock.sock", "read.sock" };
	char path[96];
	struct stat st;

	(void)state;
	assert_int_equal(stat(run_dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	for (int i = 0; i < 2; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", run_dir, names[i]);
		assert_int_equal(stat(path, &st), 0);
		assert_true(S_ISSOCK(st.st_mode));
		assert_true((st.st_mode & 07777) == 0660 || (st.st_mode & 07777) == 0600);
	}
}

/* What api_new() says in another directory, prepared by the caller. */
static int try_in(const char *where, char **ret_why)
{
	const struct api_user user = { .routes = table };
	struct api *api = NULL;
	sd_event *event = NULL;
	int r;

	assert_true(sd_event_new(&event) >= 0);
	r = api_new(&api, event, where, &user, ret_why);
	api_free(&api);
	sd_event_unref(event);
	return r;
}

static void live_sockets_and_files_are_left_alone(void **state)
{
	char other[96], path[128], *why = NULL;
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct stat st;
	int fd;

	(void)state;
	assert_int_equal(try_in(run_dir, &why), -EADDRINUSE);
	assert_non_null(strstr(why, "penstock.sock"));
	assert_int_equal(ask("penstock.sock", HELLO, NULL), 200);
	(void)snprintf(other, sizeof(other), "%s/other", dir);
	(void)snprintf(path, sizeof(path), "%s/penstock.sock", other);
	assert_int_equal(mkdir(other, 0755), 0);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	assert_int_equal(try_in(other, &why), -EEXIST);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(unlink(path), 0);
	/* One that nobody listens on was left behind, and is replaced; it is gone after a clean end. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(strlen(path) < sizeof(at.sun_path));
	strcpy(at.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	close(fd);
	assert_int_equal(try_in(other, &why), 0);
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(chmod(other, 0777), 0);
	assert_int_equal(try_in(other, &why), -EPERM);
	free(why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_requests),
		cmocka_unit_test(the_read_socket_only_reads),
		cmocka_unit_test(refused_before_the_body),
		cmocka_unit_test(bodies),
		cmocka_unit_test(requests_follow_each_other),
		cmocka_unit_test(garbage),
		cmocka_unit_test(descriptors_come_in_order),
		cmocka_unit_test(the_first_byte_may_be_late),
		cmocka_unit_test(descriptors_without_a_request_are_closed),
		cmocka_unit_test(too_many_descriptors),
		cmocka_unit_test(descriptors_inside_a_request_are_lost),
		cmocka_unit_test(silent_clients_stop_nobody),
		cmocka_unit_test(the_idlest_makes_room),
		cmocka_unit_test(a_full_house_says_so),
		cmocka_unit_test(endless_bodies_are_bounded),
		cmocka_unit_test(a_silent_client_is_dropped),
		cmocka_unit_test(gone_before_the_answer),
		cmocka_unit_test(sockets_are_private),
		cmocka_unit_test(live_sockets_and_files_are_left_alone),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	alarm(120);
	return cmocka_run_group_tests(tests, start_server, stop_server);
}
