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
	const char *name, *loss;
	struct json_object *json;
};

static void say(const struct save *s, int error)
{
	log_warning("state: %s: %s; %s", s->name, strerrordesc_np(-error), s->loss);
}

static void write_file(void *ctx)
{
	struct save *s = ctx;
	int r = state_write(s->d->state, s->name, s->json);

	if (r < 0)
		say(s, r);
}

static void on_written(void *ctx)
{
	struct save *s = ctx;

	json_put(&s->json);
	free(s);
}

void save_later(struct daemon *d, const char *name, struct json_object *json, const char *loss)
{
	const struct save what = { .d = d, .name = name, .loss = loss, .json = json };
	struct save *s = json ? malloc(sizeof(*s)) : NULL;
	int r = -ENOMEM;

	if (s) {
		*s = what;
		r = worker_submit(d->worker, write_file, on_written, s);
	}
	if (r < 0) {
		say(&what, r);
		json_object_put(json);
		free(s);
	}
}
