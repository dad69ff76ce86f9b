/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy text is read by a child that can do nothing but compute: this program started again as
 * `penstockd --compile-child`, without capabilities, with limits on time and memory, and with no
 * descriptors but those it was given. It answers with one sealed memfd. Whatever becomes of it, the
 * daemon gets an answer or a sentence.
 */
#pragma once

#include <stdint.h>

#include "abi.h"
#include "fdio.h"

struct json_object;
struct sd_event;
struct sets_keys;
struct job;

enum job_task {
	JOB_COMPILE, /* policy and set files -> image, manifest, diagnostics */
	JOB_PATHS,   /* policy -> the set files it names, as a JSON array in `manifest` */
	/* The next two answer with struct sets_key in `lines`, sorted, and {keys, duplicates} in `manifest`. */
	JOB_PREFIXES, /* a text like a set file -> its prefixes, diagnostics */
	JOB_MEMBERS,  /* policy and set files -> what they give to one set */
	JOB_TASK_COUNT,
};

/* How the child is started; tests have ways of their own. */
struct job_limits {
	const char *arg; /* what makes this program a child */
	uint64_t timeout_ms;
};
#define JOB_CHILD_ARG "--compile-child"

/* This program: what is executed as a child, and by this pointer only. */
extern const char job_program[];

/* What the child is to do. Descriptors: the policy, then one for each path, in order. */
struct job_input {
	enum job_task task;
	const char *file;          /* the policy's name in messages */
	struct json_object *paths; /* array of texts as they stand in the policy; NULL for none */
	const struct fd_list *fds; /* borrowed until job_start() returns */
	const struct job_limits *limits; /* NULL: the daemon's */
	const char *set;                 /* JOB_MEMBERS */
	uint64_t max;                    /* JOB_PREFIXES: prefixes that are read at most */
};

/* The child's memfd, checked and mapped. lines is a private copy-on-write mapping: patch at will. */
struct job_result {
	struct dp_line *lines; /* 0 of them when the policy was refused */
	uint32_t count;
	const char *manifest, *diagnostics; /* JSON texts, not terminated */
	size_t manifest_len, diagnostics_len;
	void *map;
	size_t map_len;
};

void job_result_done(struct job_result *result);

/*
 * What JOB_PREFIXES and JOB_MEMBERS found, checked and copied; takes long for many. -EBADMSG when it is not what
 * they answer with.
 */
int job_result_keys(const struct job_result *result, struct sets_keys *ret,
		    uint64_t *ret_duplicates) _must_check_;

/*
 * done() is called once, on the loop: with 0 and a result that it takes over, or with -errno and a
 * sentence (borrowed). The job is gone then. took_ms: from start to end of the child.
 */
typedef void job_done_fn(void *ctx, int r, struct job_result *result, uint64_t took_ms,
			 const char *why);

int job_start(struct job **ret, struct sd_event *event, const struct job_input *input,
	      job_done_fn *done, void *ctx) _must_check_;

/* Kills the child and forgets it; done() is not called. */
void job_cancel(struct job **job);

/* ---- the child's side ---------------------------------------------------------------------------- */

#define JOB_SOCKET_FD 3
#define JOB_MAGIC     0x626f6a70 /* "pjob" */

enum job_status {
	JOB_STATUS_OK,
	JOB_STATUS_SETUP = 2, /* capabilities could not be dropped */
	JOB_STATUS_MEMORY,
	JOB_STATUS_INPUT, /* the request or the policy file cannot be read */
};

/* Most files of one policy, the policy itself included. */
#define JOB_FILES 1024

/* The beginning of the memfd; image lines follow, then the manifest, then the diagnostics. */
struct job_header {
	uint32_t magic;
	uint32_t count; /* image lines */
	uint64_t manifest_len, diagnostics_len;
	uint8_t pad[40];
};
_Static_assert(sizeof(struct job_header) == DP_LINE_BYTES, "image lines stay aligned");

#define JOB_TEXT_MAX (64u * 1024 * 1024) /* of the manifest, and of the diagnostics */

/* The request travels as a JSON memfd: {task, file, paths, set, max}. */
#define JOB_REQUEST_MAX (16u * 1024 * 1024)

/* main() of the child; returns its exit status, but a child that answered does not return. */
int job_child_main(void);

/* Makes the memfd of an answer and hands it over. What tests use to lie with, too. */
int job_child_answer(int socket, const struct job_header *header, const void *lines,
		     const char *manifest, const char *diagnostics,
		     unsigned int seals) _must_check_;
