/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See client.h. libcurl connects and speaks HTTP; between the two its prereq callback sends descriptors.
 * (A socket that we connect ourselves is refused by libcurl 7.88, CURL_SOCKOPT_ALREADY_CONNECTED or not.)
 */
#include "client.h"

#include <curl/curl.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "output.h"
#include "term.h"

#define RUN_DIR          "/run/penstock"
#define SOCKET_PATH_MAX  sizeof(((struct sockaddr_un *)NULL)->sun_path)
#define PATIENCE_MS      4500 /* a daemon that works answers in milliseconds */
#define FDS_PER_MESSAGE  250  /* the kernel takes 253 */
#define ANSWER_MAX_BYTES (1024u * 1024 * 1024)

struct exchange {
	const struct request *request;
	char path[SOCKET_PATH_MAX];
	int fd;     /* curl's socket, borrowed */
	int error;  /* of connecting or of sending descriptors: -errno */
	char *text; /* the answer so far, NUL-terminated */
	size_t len, room;
};

static void exchange_done(struct exchange *x)
{
	free(x->text);
}

static void curl_donep(CURL **curl)
{
	curl_easy_cleanup(*curl);
}

static void slist_donep(struct curl_slist **list)
{
	curl_slist_free_all(*list);
}

void answer_done(struct answer *answer)
{
	json_putp(&answer->json);
}

/* ---- descriptors ------------------------------------------------------------------------------- */

static int send_some(int fd, const int *fds, size_t count)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(FDS_PER_MESSAGE * sizeof(int))];
	} control = {};
	struct iovec nul = { .iov_base = "", .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &nul,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_SPACE(count * sizeof(int)),
	};

	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(&control.head), fds, count * sizeof(int));
	return sendmsg(fd, &message, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

static int send_fds(int fd, const struct request *rq)
{
	for (size_t at = 0; at < rq->fd_count; at += FDS_PER_MESSAGE) {
		size_t left = rq->fd_count - at;
		int r = send_some(fd, rq->fds + at,
				  left < FDS_PER_MESSAGE ? left : FDS_PER_MESSAGE);

		if (r)
			return r;
	}
	return 0;
}

/* ---- HTTP -------------------------------------------------------------------------------------- */

static int note_socket(void *ctx, curl_socket_t fd, curlsocktype purpose)
{
	struct exchange *x = ctx;

	(void)purpose; /* there is one connection */
	x->fd = fd;
	return CURL_SOCKOPT_OK;
}

static int send_ahead(void *ctx, char *remote, char *local, int remote_port, int local_port)
{
	struct exchange *x = ctx;

	(void)remote; /* a unix socket has no such names */
	(void)local;
	(void)remote_port;
	(void)local_port;
	x->error = send_fds(x->fd, x->request);
	return x->error ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static size_t take_answer(char *bytes, size_t size, size_t count, void *ctx)
{
	struct exchange *x = ctx;
	size_t len = size * count, room = x->room ?: 16384;
	char *grown;

	if (len > ANSWER_MAX_BYTES - x->len - 1)
		return 0;
	while (room - x->len <= len)
		room *= 2;
	if (room > x->room) {
		grown = realloc(x->text, room);
		if (!grown)
			return 0;
		x->text = grown;
		x->room = room;
	}
	memcpy(x->text + x->len, bytes, len);
	x->len += len;
	x->text[x->len] = '\0';
	return len;
}

static long timeout_of(const struct request *rq)
{
	return rq->timeout_ms ?: PATIENCE_MS;
}

static CURLcode prepare(CURL *curl, struct exchange *x, struct curl_slist *headers,
			char error[static CURL_ERROR_SIZE])
{
	const struct request *rq = x->request;
	_cleanup_free_ char *url = NULL;
	const char *body = NULL;
	CURLcode r = CURLE_OK;

	if (asprintf(&url, "http://penstock%s", rq->path) < 0)
		return CURLE_OUT_OF_MEMORY;
	if (rq->body)
		body = json_object_to_json_string_ext(rq->body, JSON_C_TO_STRING_PLAIN);
	r |= curl_easy_setopt(curl, CURLOPT_URL, url);
	r |= curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, x->path);
	r |= curl_easy_setopt(curl, CURLOPT_PROXY, "");
	r |= curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
	r |= curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	r |= curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
	r |= curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_of(rq));
	r |= curl_easy_setopt(curl, CURLOPT_SOCKOPTFUNCTION, note_socket);
	r |= curl_easy_setopt(curl, CURLOPT_SOCKOPTDATA, x);
	r |= curl_easy_setopt(curl, CURLOPT_PREREQFUNCTION, send_ahead);
	r |= curl_easy_setopt(curl, CURLOPT_PREREQDATA, x);
	r |= curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_answer);
	r |= curl_easy_setopt(curl, CURLOPT_WRITEDATA, x);
	r |= curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	if (body) {
		r |= curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
		r |= curl_easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, body);
	}
	return r;
}

/* Without "Expect:" curl would wait for a 100 before a large body. */
static struct curl_slist *make_headers(void)
{
	struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json");
	struct curl_slist *grown = list ? curl_slist_append(list, "Expect:") : NULL;

	if (!grown)
		curl_slist_free_all(list);
	return grown;
}

static enum status no_answer(const struct exchange *x, bool late, const char *error)
{
	if (late && !x->request->quiet)
		term_error(
			"the daemon did not answer within %.1f s; is penstockd stopped or stuck?",
			(double)timeout_of(x->request) / 1000);
	else if (x->error && !x->request->quiet)
		term_error("cannot hand the files to the daemon: %s", strerror(-x->error));
	else if (!x->request->quiet)
		term_error("the daemon did not answer: %s", error);
	return STATUS_UNREACHABLE;
}

/* STATUS_DONE also when there was no connection; then x->error says why. */
static enum status perform(struct exchange *x, long *ret_http)
{
	_cleanup_(slist_donep) struct curl_slist *headers = make_headers();
	_cleanup_(curl_donep) CURL *curl = curl_easy_init();
	char error[CURL_ERROR_SIZE] = "";
	CURLcode r = CURLE_OUT_OF_MEMORY;
	long os_error = 0;

	if (curl && headers)
		r = prepare(curl, x, headers, error);
	if (r == CURLE_OK)
		r = curl_easy_perform(curl);
	if (r == CURLE_OK)
		r = curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_http);
	if (r == CURLE_OK)
		return STATUS_DONE;
	if (r == CURLE_COULDNT_CONNECT) {
		(void)curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_error); /* 0 if it fails */
		x->error = os_error ? -(int)os_error : -ECONNREFUSED;
		return STATUS_DONE;
	}
	if (r == CURLE_OUT_OF_MEMORY) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	return no_answer(x, r == CURLE_OPERATION_TIMEDOUT, *error ? error : curl_easy_strerror(r));
}

/* ---- which socket ------------------------------------------------------------------------------ */

static int socket_path(const struct invocation *call, const char *name,
		       char path[static SOCKET_PATH_MAX])
{
	const char *dir = call->value[OPTION_RUN_DIR] ?: RUN_DIR;
	const char *instance = call->value[OPTION_INSTANCE];
	int n;

	/* --run-dir names the directory of the sockets themselves. */
	if (instance && !call->value[OPTION_RUN_DIR])
		n = snprintf(path, SOCKET_PATH_MAX, "%s/%s/%s", dir, instance, name);
	else
		n = snprintf(path, SOCKET_PATH_MAX, "%s/%s", dir, name);
	return n < (int)SOCKET_PATH_MAX ? 0 : -ENAMETOOLONG;
}

static bool permitted(int r)
{
	return r != -EACCES && r != -EPERM;
}

static enum status no_connection(const struct exchange *x)
{
	if (!x->request->quiet && !permitted(x->error))
		term_error("not permitted to use %s: be root or in the group %s", x->path,
			   x->request->changes ? "penstock-admin" : "penstock");
	else if (!x->request->quiet)
		term_error("cannot reach the daemon at %s: %s; is penstockd running?", x->path,
			   strerror(-x->error));
	return permitted(x->error) ? STATUS_UNREACHABLE : STATUS_NOT_PERMITTED;
}

/* Tries the sockets in turn; one that refuses the caller counts more than one that isn't there. */
static enum status converse(const struct invocation *call, struct exchange *x, long *ret_http)
{
	static const char *const names[] = { "read.sock", "penstock.sock" };
	const char *refused = NULL;

	for (size_t i = x->request->changes ? 1 : 0; i < 2; i++) {
		enum status status = STATUS_DONE;

		x->error = socket_path(call, names[i], x->path);
		if (!x->error)
			status = perform(x, ret_http);
		if (status != STATUS_DONE || !x->error)
			return status;
		if (!permitted(x->error) && !refused)
			refused = names[i];
	}
	if (refused) {
		(void)socket_path(call, refused, x->path); /* it was short enough before */
		x->error = -EACCES;
	}
	return no_connection(x);
}

/* Before one waits for work that may take minutes: is there anybody who would do it? */
static enum status awake(const struct invocation *call, const struct request *request)
{
	const struct request ask = { .path = "/v1/version",
				     .changes = request->changes,
				     .quiet = request->quiet };
	_cleanup_(exchange_done) struct exchange x = { .request = &ask, .fd = -1 };
	long http;

	return request->timeout_ms > PATIENCE_MS ? converse(call, &x, &http) : STATUS_DONE;
}

enum status client_send(const struct invocation *call, const struct request *request,
			struct answer *ret)
{
	_cleanup_(exchange_done) struct exchange x = { .request = request, .fd = -1 };
	enum json_tokener_error parse_error = json_tokener_success;
	enum status status = awake(call, request);

	if (status == STATUS_DONE)
		status = converse(call, &x, &ret->http);
	if (status != STATUS_DONE)
		return status;
	ret->json = x.text ? json_tokener_parse_verbose(x.text, &parse_error) : NULL;
	if (json_object_is_type(ret->json, json_type_object))
		return STATUS_DONE;
	if (!request->quiet)
		term_error("the daemon's answer is not JSON: %s",
			   parse_error ? json_tokener_error_desc(parse_error) : "no object");
	return STATUS_FAILED;
}

enum status client_judge(const struct answer *answer)
{
	struct json_object *error = json_member(answer->json, "error");
	const char *message = json_text(error, "message");

	if (answer->http >= 200 && answer->http < 300)
		return STATUS_DONE;
	if (*message)
		term_error("%s", message);
	else
		term_error("the daemon answered with status %ld", answer->http);
	return answer->http == 403 ? STATUS_NOT_PERMITTED : STATUS_FAILED;
}

enum status client_ask(const struct invocation *call, const struct request *request,
		       struct json_object **ret)
{
	_cleanup_answer_ struct answer answer = {};
	enum status status = client_send(call, request, &answer);

	if (status == STATUS_DONE && !request->quiet)
		status = client_judge(&answer);
	else if (status == STATUS_DONE && answer.http != 200)
		status = STATUS_FAILED;
	if (status == STATUS_DONE)
		*ret = TAKE_PTR(answer.json);
	return status;
}

enum status client_get(const struct invocation *call, const char *path, struct json_object **ret)
{
	return client_ask(call, &(struct request){ .path = path }, ret);
}
