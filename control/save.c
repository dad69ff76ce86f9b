/* SPDX-License-Identifier: Apache-2.0 */
/* See save.h. */
#include "save.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "jsonobj.h"
#include "log.h"
#include "state.h"

struct save {
	struct daemon *d;
	char *name;
	const char *loss;
	struct json_object *json;
};

static void say(const char *name, int error, const char *loss)
{
	log_warning("state: %s: %s; %s", name, strerrordesc_np(-error), loss);
}

static void write_file(void *ctx)
{
	struct save *s = ctx;
	int r = state_write(s->d->state, s->name, s->json);

	if (r < 0)
		say(s->name, r, s->loss);
}

static void save_free(struct save **at)
{
	struct save *s = *at;

	if (!s)
		return;
	json_put(&s->json);
	free(s->name);
	free(s);
	*at = NULL;
}

static void on_written(void *ctx)
{
	struct save *s = ctx;

	save_free(&s);
}

void save_later(struct daemon *d, const char *name, struct json_object *json, const char *loss)
{
	_cleanup_(save_free) struct save *s = calloc(1, sizeof(*s));
	int r = -ENOMEM;

	if (!s) {
		json_put(&json);
	} else {
		*s = (struct save){ .d = d, .name = strdup(name), .loss = loss, .json = json };
		if (s->name && json)
			r = worker_submit(d->worker, write_file, on_written, s);
	}
	if (r < 0)
		say(name, r, loss);
	else
		TAKE_PTR(s);
}
