/* SPDX-License-Identifier: Apache-2.0 */
/* See worker.h. Two lists under one lock; an eventfd wakes the loop, a condition wakes the thread. */
#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>

#include <systemd/sd-event.h>

struct task {
	struct task *next;
	void (*run)(void *ctx);
	void (*done)(void *ctx);
	void *ctx;
};

struct tasks {
	struct task *head, **tail;
};

struct worker {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct tasks todo, finished;
	bool stopping;
	int wake;
	sd_event_source *source;
};

static void push(struct tasks *list, struct task *t)
{
	t->next = NULL;
	*list->tail = t;
	list->tail = &t->next;
}

static struct task *pop(struct tasks *list)
{
	struct task *t = list->head;

	if (!t)
		return NULL;
	list->head = t->next;
	if (!list->head)
		list->tail = &list->head;
	return t;
}

static void *thread(void *ctx)
{
	struct worker *w = ctx;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct task *t = pop(&w->todo);

		if (!t && w->stopping)
			break;
		if (!t) {
			pthread_cond_wait(&w->more, &w->lock);
			continue;
		}
		pthread_mutex_unlock(&w->lock);
		t->run(t->ctx);
		pthread_mutex_lock(&w->lock);
		push(&w->finished, t);
		(void)eventfd_write(w->wake, 1); /* full only when the loop is already woken */
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static void deliver(struct worker *w)
{
	for (;;) {
		struct task *t;

		pthread_mutex_lock(&w->lock);
		t = pop(&w->finished);
		pthread_mutex_unlock(&w->lock);
		if (!t)
			return;
		t->done(t->ctx);
		free(t);
	}
}

static int on_wake(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	eventfd_t count;

	(void)s, (void)revents;
	(void)eventfd_read(fd, &count); /* the count says nothing that the list does not */
	deliver(ctx);
	return 0;
}

/* Signals are the loop's: the thread is born with all of them blocked. */
static int start(struct worker *w)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	r = -pthread_sigmask(SIG_SETMASK, &all, &before);
	if (r < 0)
		return r;
	r = -pthread_create(&w->thread, NULL, thread, w);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL); /* it could be set a moment ago */
	return r;
}

int worker_new(struct worker **ret, struct sd_event *event)
{
	struct worker *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->todo.tail = &w->todo.head;
	w->finished.tail = &w->finished.head;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->more, NULL);
	w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = w->wake < 0 ? -errno : 0;
	if (!r)
		r = sd_event_add_io(event, &w->source, w->wake, EPOLLIN, on_wake, w);
	if (r >= 0)
		r = start(w);
	if (r < 0) {
		sd_event_source_disable_unref(w->source);
		closep(&w->wake);
		free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void worker_free(struct worker **at)
{
	struct worker *w = *at;

	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stopping = true;
	pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	deliver(w);
	sd_event_source_disable_unref(w->source);
	closep(&w->wake);
	pthread_cond_destroy(&w->more);
	pthread_mutex_destroy(&w->lock);
	free(w);
	*at = NULL;
}

int worker_submit(struct worker *w, void (*run)(void *ctx), void (*done)(void *ctx), void *ctx)
{
	struct task *t;

	if (w->stopping) /* written by this thread only */
		return -ESHUTDOWN;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	*t = (struct task){ .run = run, .done = done, .ctx = ctx };
	pthread_mutex_lock(&w->lock);
	push(&w->todo, t);
	pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->lock);
	return 0;
}
