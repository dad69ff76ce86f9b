/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP on the two unix sockets (docs/api.md): listens, takes descriptors, reads requests whole, finds the
 * handler, answers. Knows nothing of policies: the routes come from its user.
 */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

#include "fdio.h"

struct api;
struct api_request;
struct json_object;
struct sd_event;

enum api_socket {
	API_ADMIN, /* penstock.sock: every route */
	API_READ,  /* read.sock: routes marked read */
	API_SOCKET_COUNT,
};

struct api_route {
	const char *method, *path;
	bool read;
	/*
	 * Must lead to exactly one api_answer() or api_error() for the request, at once or later; the
	 * request is gone then.
	 */
	void (*handle)(void *ctx, struct api_request *request);
};

/* The groups whose members may connect, by enum api_socket. Only root may where one does not exist. */
extern const char *const api_groups[API_SOCKET_COUNT];

struct api_user {
	const struct api_route *routes; /* up to one without a method; borrowed */
	void *ctx;                      /* for handlers */
};

#define API_BODY_MAX        (16u * 1024 * 1024)
#define API_CONNECTIONS     64                  /* on each socket; beyond, see drop_idlest() */
#define API_DROPPED         64                  /* likewise, on their way out */
#define API_BODIES_MAX      (64u * 1024 * 1024) /* of all connections of a socket; likewise */
#define API_WAITING         32 /* on each socket: connected, but no request begun */
#define API_DESCRIPTORS_MAX 1024
#define API_IDLE_SECONDS    30

/* For tests: how long a client may take before its request begins. */
#define API_FIRST_BYTE_MS 5000

/*
 * Makes run_dir and the sockets in it. -EADDRINUSE when one of them is alive, -EEXIST when its name is
 * taken by something else; *ret_why says which.
 */
int api_new(struct api **ret, struct sd_event *event, const char *run_dir,
	    const struct api_user *user, char **ret_why) _must_check_;

/* Clients that connected earlier are served from now on. */
int api_serve(struct api *api) _must_check_;

/* No more clients, the socket files are removed; requests that wait for an answer can still get it. */
void api_stop(struct api *api);

/* Every request has its answer by now. */
void api_free(struct api **api);

/* ---- requests -------------------------------------------------------------------------------------- */

struct fd_list *api_descriptors(struct api_request *r); /* of the request; may be taken out */
const struct ucred *api_peer(const struct api_request *r);

/* Takes json over; `schema` is added. */
void api_answer(struct api_request *r, unsigned int status, struct json_object *json);
void api_error(struct api_request *r, unsigned int status, const char *code, const char *format,
	       ...) _printf_(4, 5);

/* Answers 400 and returns NULL when the body is no JSON object. The caller owns the object. */
struct json_object *api_json(struct api_request *r);
