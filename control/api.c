/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See api.h. Each socket has its own libmicrohttpd in external epoll mode: its epoll descriptor is a
 * source of our loop, and its next timeout is asked for before the loop sleeps.
 */
#include "api.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <microhttpd.h>
#include <systemd/sd-event.h>

#include "api_client.h"
#include "api_listen.h"
#include "fail.h"
#include "jsonobj.h"
#include "log.h"

#define PAUSE_USEC       (100 * 1000) /* after accept() ran out of something */
#define CONNECTION_KB    64
#define ACCEPTED_AT_ONCE 8
#define DRAIN_STEPS      20
#define DRAIN_STEP_MS    50
#define AT_ONCE          4 /* requests that are begun in one turn of the loop, on each socket */

const char *const api_groups[] = { [API_ADMIN] = "penstock-admin", [API_READ] = "penstock" };

struct api_end {
	struct api *api;
	enum api_socket which;
	struct api_listen listen;
	struct MHD_Daemon *http;
	sd_event_source *accept, *resume, *io, *timer, *again;
	struct api_client *waiting;  /* no request yet; the newest first */
	struct api_client *starting; /* being handed to libmicrohttpd */
	struct api_client *serving;  /* handed over; who ended a request last is first */
	size_t bodies;               /* bytes of bodies that they sent */
	struct api_request *postponed, **postponed_last; /* to be begun in a later turn, in order */
	unsigned int waiting_count, connections, dropped, begun;
	unsigned int handled; /* requests that their route has, or whose answer is on its way */
};

struct api {
	struct sd_event *event;
	struct api_user user;
	int dir;
	struct api_end end[API_SOCKET_COUNT];
};

struct api_request {
	struct api_request *next; /* of those postponed */
	struct api_end *end;
	struct MHD_Connection *connection;
	const struct api_route *route;
	struct api_client *client;
	VEC(char) body;
	bool begun, handled, suspended, waited;
	unsigned int status; /* 0 until there is an answer */
	struct json_object *answer;
};

/*
 * In the next turn of the loop, after what else is ready now. Not by a deferred source: libsystemd takes that for
 * the one that has waited longest, each time, and nothing else would get a turn.
 */
static void run_again(struct api_end *end)
{
	/* The timer is there: neither can fail. */
	(void)sd_event_source_set_time_relative(end->again, 0);
	(void)sd_event_source_set_enabled(end->again, SD_EVENT_ONESHOT);
}

/* ---- requests -------------------------------------------------------------------------------------- */

struct fd_list *api_descriptors(struct api_request *r)
{
	return &r->client->fds;
}

const struct ucred *api_peer(const struct api_request *r)
{
	return &r->client->peer;
}

void api_answer(struct api_request *r, unsigned int status, struct json_object *json)
{
	json_add_u64(json, "schema", 1);
	r->status = status;
	r->answer = json;
	if (!r->suspended)
		return;
	r->suspended = false;
	r->client->busy = false;
	MHD_resume_connection(r->connection);
	/* In external mode nothing wakes libmicrohttpd up for it but we. */
	run_again(r->end);
}

void api_error(struct api_request *r, unsigned int status, const char *code, const char *format,
	       ...)
{
	struct json_object *json = json_object_new_object(), *error = json_object_new_object();
	struct json_object *message;
	va_list args;

	va_start(args, format);
	message = json_vtext(format, args);
	va_end(args);
	json_add_text(error, "code", code);
	json_add(error, "message", message ?: json_object_new_string(code));
	json_add(json, "error", error);
	api_answer(r, status, json);
}

struct json_object *api_json(struct api_request *r)
{
	struct json_object *json = json_read(r->body.at ? r->body.at : "", r->body.count);

	if (json_object_is_type(json, json_type_object))
		return json;
	json_put(&json);
	api_error(r, MHD_HTTP_BAD_REQUEST, "bad-json", "the body is no JSON object");
	return NULL;
}

static void request_free(struct api_request **at)
{
	struct api_request *r = *at;

	vec_done(&r->body);
	json_put(&r->answer);
	free(r);
	*at = NULL;
}

/* Finds the route, or answers why there is none: before a byte of the body is read. */
static void route(struct api_request *r, const char *method, const char *path)
{
	bool found = false;

	for (const struct api_route *at = r->end->api->user.routes; at->method; at++) {
		if (strcmp(at->path, path) != 0)
			continue;
		found = true;
		if (strcmp(at->method, method) != 0)
			continue;
		if (!at->read && r->end->which == API_READ) {
			api_error(r, MHD_HTTP_FORBIDDEN, "read-only",
				  "this socket is for reading; use penstock.sock");
			return;
		}
		r->route = at;
		return;
	}
	if (found)
		api_error(r, MHD_HTTP_METHOD_NOT_ALLOWED, "bad-method",
			  "the path does not take this method");
	else
		api_error(r, MHD_HTTP_NOT_FOUND, "no-such-path", "there is nothing at this path");
}

static void check_announced_length(struct api_request *r)
{
	const char *text = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND,
						       MHD_HTTP_HEADER_CONTENT_LENGTH);

	if (!r->status && text && strtoull(text, NULL, 10) > API_BODY_MAX)
		api_error(r, MHD_HTTP_CONTENT_TOO_LARGE, "too-large",
			  "the body is larger than %u bytes", API_BODY_MAX);
}

static enum MHD_Result send_answer(struct api_request *r)
{
	struct MHD_Response *response = NULL;
	enum MHD_Result sent = MHD_NO;
	const char *text;
	size_t len;

	text = json_object_to_json_string_length(r->answer, JSON_TEXT_FLAGS, &len);
	if (text)
		response = MHD_create_response_from_buffer(len, (void *)(uintptr_t)text,
							   MHD_RESPMEM_MUST_COPY);
	if (!response)
		return MHD_NO;
	if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json") ==
	    MHD_YES)
		sent = MHD_queue_response(r->connection, r->status, response);
	MHD_destroy_response(response);
	return sent;
}

static struct api_request *request_new(struct api_end *end, struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct api_request *r = calloc(1, sizeof(*r));

	if (!r || !info || !info->socket_context) {
		free(r);
		return NULL;
	}
	r->end = end;
	r->connection = connection;
	r->client = info->socket_context;
	return r;
}

/* ---- who has to go --------------------------------------------------------------------------------- */

static void link_client(struct api_client **list, struct api_client *c)
{
	c->prev = NULL;
	c->next = *list;
	if (c->next)
		c->next->prev = c;
	*list = c;
}

static void unlink_client(struct api_client **list, struct api_client *c)
{
	if (c->prev)
		c->prev->next = c->next;
	else
		*list = c->next;
	if (c->next)
		c->next->prev = c->prev;
	c->prev = c->next = NULL;
}

/* How many are of the same user, then of the same process: who starts many processes is one all the same. */
static unsigned int count_alike(const struct api_client *list, const struct api_client *as)
{
	unsigned int users = 0, processes = 0;

	for (; list; list = list->next) {
		users += list->peer.uid == as->peer.uid;
		processes += list->peer.pid == as->peer.pid;
	}
	return users * (API_CONNECTIONS + API_DROPPED + API_WAITING) + processes;
}

/*
 * Whoever sends byte by byte, does not read, or keeps a connection for later makes room for others: first those of
 * the user and the process that have most, of them those whose request does not wait for its turn, of them the one
 * that has been idle longest. One whose request is being worked on stays. libmicrohttpd sees the end of the stream
 * in its next run.
 */
static bool drop_idlest(struct api_end *end, bool with_body)
{
	struct api_client *found = NULL;
	unsigned int most = 0;

	for (struct api_client *c = end->serving; c; c = c->next) {
		unsigned int rank = 2 * count_alike(end->serving, c) + !c->postponed;

		if (c->busy || c->dropped || (with_body && !c->body) || rank < most)
			continue;
		most = rank;
		found = c;
	}
	if (!found)
		return false;
	found->dropped = true;
	end->dropped++;
	(void)shutdown(found->socket, SHUT_RDWR); /* fails when the client closed it: as well */
	return true;
}

static int append(struct api_request *r, const char *bytes, size_t len)
{
	int res;

	if (len > API_BODY_MAX - r->body.count)
		return -EMSGSIZE;
	res = vec_reserve(&r->body, len);
	if (res < 0)
		return res;
	memcpy(r->body.at + r->body.count, bytes, len);
	r->body.count += len;
	r->client->body += len;
	r->end->bodies += len;
	r->client->busy = true; /* not this one */
	while (r->end->bodies > API_BODIES_MAX && drop_idlest(r->end, true))
		;
	r->client->busy = false;
	return 0;
}

/* ---- taking turns ---------------------------------------------------------------------------------- */

/*
 * A client may send thousands of requests ahead, and libmicrohttpd would work on all of them at a stretch. In each
 * turn a few are begun; the others wait in the order in which they came, and the rest of the daemon gets its turn.
 */
static void postpone(struct api_request *r)
{
	struct api_end *end = r->end;

	r->next = NULL;
	*end->postponed_last = r;
	end->postponed_last = &r->next;
	r->client->postponed = true;
	MHD_suspend_connection(r->connection);
	run_again(end);
}

static struct api_request *take_postponed(struct api_end *end)
{
	struct api_request *r = end->postponed;

	if (!r)
		return NULL;
	end->postponed = r->next;
	if (!end->postponed)
		end->postponed_last = &end->postponed;
	r->waited = true;
	r->client->postponed = false;
	return r;
}

/* New requests queue behind those that wait. */
static void run_http(struct api_end *end)
{
	if (!end->postponed)
		end->begun = 0;
	(void)MHD_run(end->http); /* what it could not do now comes back as an event */
	if (end->postponed)
		run_again(end);
}

static enum MHD_Result handle_whole(struct api_request *r)
{
	if (!r->handled && !r->waited && (r->end->postponed || r->end->begun >= AT_ONCE)) {
		postpone(r);
		return MHD_YES;
	}
	if (!r->handled) {
		r->end->begun++;
		r->handled = true;
		r->end->handled++;
		log_debug("api: %s %s", r->route->method, r->route->path);
		r->route->handle(r->end->api->user.ctx, r);
		if (!r->status) {
			r->suspended = true;
			r->client->busy = true;
			MHD_suspend_connection(r->connection);
			return MHD_YES;
		}
	}
	return r->status ? send_answer(r) : MHD_YES;
}

/* libmicrohttpd's handler: once for the head, then for each piece of the body, then for its end. */
static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *data_len, void **at)
{
	struct api_request *r = *at;

	(void)version;
	if (!r) {
		r = request_new(ctx, connection);
		*at = r;
		if (!r)
			return MHD_NO;
		route(r, method, url);
		check_announced_length(r);
		return r->status ? send_answer(r) : MHD_YES;
	}
	if (*data_len) {
		/* A body without a length that grows too large: there is no way to answer it. */
		if (append(r, data, *data_len) < 0)
			return MHD_NO;
		*data_len = 0;
		return MHD_YES;
	}
	return handle_whole(r);
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **at,
			 enum MHD_RequestTerminationCode how)
{
	struct api_request *r = *at;

	(void)ctx, (void)connection, (void)how;
	if (!r)
		return;
	r->end->handled -= r->handled;
	fd_list_done(&r->client->fds); /* they came with this request, not with a later one */
	r->end->bodies -= r->client->body;
	r->client->body = 0;
	r->client->busy = false;
	unlink_client(&r->end->serving, r->client);
	link_client(&r->end->serving, r->client);
	request_free(&r);
	*at = NULL;
}

/* ---- connections ----------------------------------------------------------------------------------- */

static void on_connection(void *ctx, struct MHD_Connection *connection, void **at,
			  enum MHD_ConnectionNotificationCode what)
{
	struct api_end *end = ctx;
	struct api_client *c = *at;

	(void)connection;
	switch (what) {
	case MHD_CONNECTION_NOTIFY_STARTED:
		link_client(&end->serving, end->starting);
		*at = TAKE_PTR(end->starting);
		end->connections++;
		return;
	case MHD_CONNECTION_NOTIFY_CLOSED:
		unlink_client(&end->serving, c);
		end->dropped -= c->dropped;
		api_client_free(&c);
		*at = NULL;
		end->connections--;
		return;
	}
}

static void stop_waiting(struct api_end *end, struct api_client *c)
{
	unlink_client(&end->waiting, c);
	end->waiting_count--;
}

/*
 * At once, without waiting: a client that does not read it loses nothing else. With a length: what the
 * client sent stays unread, so it must not look for the end of the stream, where it would meet a reset.
 */
static void refuse(int fd, const char *status, const char *code, const char *message)
{
	char body[256], text[512];
	int len = snprintf(body, sizeof(body),
			   "{\"schema\": 1, \"error\": {\"code\": \"%s\", \"message\": \"%s\"}}",
			   code, message); /* both are ours and short */

	len = snprintf(text, sizeof(text),
		       "HTTP/1.1 %s\r\nContent-Type: application/json\r\n"
		       "Content-Length: %d\r\nConnection: close\r\n\r\n%s",
		       status, len, body);

	(void)send(fd, text, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void on_ready(struct api_client *c, bool request)
{
	struct sockaddr any = { .sa_family = AF_UNIX };
	struct api_end *end = c->ctx;
	int fd;

	stop_waiting(end, c);
	api_client_quiet(c);
	request = request && !c->refused;
	if (request && end->connections - end->dropped >= API_CONNECTIONS)
		(void)drop_idlest(end, false); /* or there is none: then there is no room */
	if (request &&
	    (end->connections - end->dropped >= API_CONNECTIONS || end->dropped >= API_DROPPED)) {
		refuse(c->fd, "503 Service Unavailable", "busy", "too many requests; try again");
		request = false;
	}
	if (!request) {
		api_client_free(&c);
		return;
	}
	/* libmicrohttpd owns the descriptor from here on, also when it refuses it. */
	fd = TAKE_FD(c->fd);
	end->starting = c;
	if (MHD_add_connection(end->http, fd, &any, sizeof(any.sa_family)) != MHD_YES)
		log_warning("api: a client could not be taken: %s; it was dropped",
			    strerrordesc_np(errno));
	run_http(end);
	/* Only now: libmicrohttpd 1.0 starts an added connection in MHD_run(), 0.9 when it is added. */
	api_client_free(&end->starting);
}

/* The longest waiting one of the user, and of the process of that user's, that has most of them. */
static void drop_waiting(struct api_end *end)
{
	struct api_client *found = NULL;
	unsigned int most = 0;

	for (struct api_client *c = end->waiting; c; c = c->next) {
		unsigned int count = count_alike(end->waiting, c);

		if (count < most)
			continue;
		most = count;
		found = c;
	}
	if (!found)
		return;
	stop_waiting(end, found);
	api_client_free(&found);
}

static void add_waiting(struct api_end *end, int fd)
{
	struct api_client *c = NULL;

	if (end->waiting_count >= API_WAITING)
		drop_waiting(end);
	if (api_client_new(&c, end->api->event, fd, on_ready, end) < 0)
		return;
	if (!api_listen_permits(&end->listen, c->fd, &c->peer)) {
		log_warning("api: %s: uid %u, pid %d is not permitted and was refused",
			    end->listen.name, (unsigned int)c->peer.uid, (int)c->peer.pid);
		refuse(c->fd, "403 Forbidden", "not-permitted",
		       "be root or in the group of the socket");
		c->refused =
			true; /* closed when its request comes: it would not read the answer before */
	}
	link_client(&end->waiting, c);
	end->waiting_count++;
}

static int on_resume(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct api_end *end = ctx;

	(void)s, (void)usec;
	return sd_event_source_set_enabled(end->accept, SD_EVENT_ON);
}

/* Out of descriptors or memory: the socket stays readable, so looking again at once would spin. */
static int pause_accepting(struct api_end *end, int why)
{
	int r;

	log_warning("api: %s: clients cannot be accepted: %s; trying again in 100 ms",
		    end->listen.name, strerrordesc_np(why));
	r = sd_event_source_set_enabled(end->accept, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_source_set_time_relative(end->resume, PAUSE_USEC);
	if (r >= 0)
		r = sd_event_source_set_enabled(end->resume, SD_EVENT_ONESHOT);
	return r;
}

/* Several: between two turns of this, requests are carried out. */
static int on_accept(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	(void)s, (void)revents;
	for (int i = 0; i < ACCEPTED_AT_ONCE; i++) {
		int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (client >= 0)
			add_waiting(ctx, client);
		else if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return 0;
		else
			return pause_accepting(ctx, errno);
	}
	return 0;
}

/* ---- libmicrohttpd in the loop ------------------------------------------------------------------------ */

static int on_http(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	struct api_end *end = ctx;

	(void)s, (void)fd, (void)revents;
	run_http(end);
	return 0;
}

static int on_http_timer(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct api_end *end = ctx;

	(void)s, (void)usec;
	run_http(end);
	return 0;
}

static int on_again(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct api_end *end = ctx;

	(void)s, (void)usec;
	end->begun = 0;
	for (unsigned int i = 0; i < AT_ONCE; i++) {
		struct api_request *r = take_postponed(end);

		if (r)
			MHD_resume_connection(r->connection);
	}
	(void)MHD_run(end->http);
	if (end->postponed)
		run_again(end);
	return 0;
}

/* Called each time before the loop sleeps. */
static int on_prepare(sd_event_source *s, void *ctx)
{
	struct api_end *end = ctx;
	MHD_UNSIGNED_LONG_LONG ms;
	int r;

	(void)s;
	if (MHD_get_timeout(end->http, &ms) != MHD_YES)
		return sd_event_source_set_enabled(end->timer, SD_EVENT_OFF);
	r = sd_event_source_set_time_relative(end->timer, ms * 1000);
	return r < 0 ? r : sd_event_source_set_enabled(end->timer, SD_EVENT_ONESHOT);
}

static int start_http(struct api_end *end)
{
	const union MHD_DaemonInfo *info;
	int r;

	end->http = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
		on_request, end, MHD_OPTION_NOTIFY_COMPLETED, on_completed, end,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, end, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned int)(API_CONNECTIONS + API_DROPPED), MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned int)API_IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)CONNECTION_KB * 1024, MHD_OPTION_END);
	if (!end->http)
		return -EIO;
	info = MHD_get_daemon_info(end->http, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info || info->epoll_fd < 0)
		return -EIO;
	r = sd_event_add_io(end->api->event, &end->io, info->epoll_fd, EPOLLIN, on_http, end);
	if (r >= 0)
		r = sd_event_add_time_relative(end->api->event, &end->timer, CLOCK_MONOTONIC, 0,
					       1000, on_http_timer, end);
	if (r >= 0)
		r = sd_event_source_set_enabled(end->timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time_relative(end->api->event, &end->again, CLOCK_MONOTONIC, 0, 1,
					       on_again, end);
	if (r >= 0)
		r = sd_event_source_set_enabled(end->again, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_source_set_prepare(end->io, on_prepare);
	return r < 0 ? r : 0;
}

static int check_run_dir(int dir, const char *path, char **ret_why)
{
	struct stat st;

	if (fstat(dir, &st) < 0)
		return -errno;
	if (st.st_uid != geteuid() || (st.st_mode & 022))
		return fail(ret_why, -EPERM,
			    "%s: others could replace the sockets; make it 0755 and ours", path);
	return 0;
}

int api_new(struct api **ret, struct sd_event *event, const char *run_dir,
	    const struct api_user *user, char **ret_why)
{
	static const char *const names[] = { "penstock.sock", "read.sock" };
	_cleanup_(api_free) struct api *api = calloc(1, sizeof(*api));
	int r = 0;

	if (!api)
		return -ENOMEM;
	*api = (struct api){ .event = event, .user = *user };
	for (int i = 0; i < API_SOCKET_COUNT; i++) {
		api->end[i] = (struct api_end){ .api = api,
						.which = i,
						.listen = { .fd = -1,
							    .run_dir = run_dir,
							    .name = names[i],
							    .group = api_groups[i] } };
		api->end[i].postponed_last = &api->end[i].postponed;
	}
	api->dir = fdio_make_dir(run_dir, 0755);
	if (api->dir < 0)
		return fail(ret_why, api->dir, "%s: %s", run_dir, strerror(-api->dir));
	r = check_run_dir(api->dir, run_dir, ret_why);
	for (int i = 0; !r && i < API_SOCKET_COUNT; i++) {
		api->end[i].listen.dir = api->dir;
		r = api_listen_open(&api->end[i].listen, ret_why);
		if (!r)
			r = start_http(&api->end[i]);
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(api);
	return 0;
}

int api_serve(struct api *api)
{
	int r = 0;

	for (int i = 0; r >= 0 && i < API_SOCKET_COUNT; i++) {
		struct api_end *end = &api->end[i];

		r = sd_event_add_io(api->event, &end->accept, end->listen.fd, EPOLLIN, on_accept,
				    end);
		if (r >= 0)
			r = sd_event_add_time_relative(api->event, &end->resume, CLOCK_MONOTONIC, 0,
						       0, on_resume, end);
		if (r >= 0)
			r = sd_event_source_set_enabled(end->resume, SD_EVENT_OFF);
	}
	return r < 0 ? r : 0;
}

/* Nobody is left who could carry them out. */
static void refuse_postponed(struct api_end *end)
{
	struct api_request *r;

	while ((r = take_postponed(end))) {
		r->handled = r->suspended = true;
		end->handled++;
		api_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "stopping", "the daemon is stopping");
	}
}

static void end_stop(struct api_end *end)
{
	refuse_postponed(end);
	end->accept = sd_event_source_disable_unref(end->accept);
	end->resume = sd_event_source_disable_unref(end->resume);
	while (end->waiting)
		drop_waiting(end);
	api_listen_close(&end->listen);
}

void api_stop(struct api *api)
{
	for (int i = 0; i < API_SOCKET_COUNT; i++)
		end_stop(&api->end[i]);
}

/* Last answers go out; a client that does not take its own is not waited for. */
static void drain(struct api_end *end)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(end->http, MHD_DAEMON_INFO_EPOLL_FD);
	struct pollfd p = { .fd = info ? info->epoll_fd : -1, .events = POLLIN };

	(void)MHD_run(end->http);
	for (unsigned int i = 0; end->handled && i < DRAIN_STEPS; i++) {
		(void)poll(&p, 1, DRAIN_STEP_MS);
		(void)MHD_run(end->http);
	}
}

void api_free(struct api **at)
{
	struct api *api = *at;

	if (!api)
		return;
	api_stop(api);
	for (int i = 0; i < API_SOCKET_COUNT; i++) {
		struct api_end *end = &api->end[i];

		sd_event_source_disable_unref(end->io);
		sd_event_source_disable_unref(end->timer);
		sd_event_source_disable_unref(end->again);
		if (end->http)
			drain(end);
		if (end->http)
			MHD_stop_daemon(end->http);
	}
	closep(&api->dir);
	free(api);
	*at = NULL;
}
