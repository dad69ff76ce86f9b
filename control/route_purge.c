/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/purge: everything of the instance goes, the daemon last. It is carried out when the loop has ended and
 * the worker is done, so that nobody attaches, pins or saves behind it; the answer comes then.
 */
#include "daemon.h"
#include "jsonobj.h"
#include "log.h"
#include "routes.h"

void route_purge(void *ctx, struct api_request *r)
{
	_cleanup_json_ struct json_object *json = api_json(r);
	struct json_object *keep = NULL;
	const struct ucred *peer = api_peer(r);
	struct daemon *d = ctx;

	if (!json)
		return;
	if (json_object_object_get_ex(json, "keep_state", &keep) &&
	    !json_object_is_type(keep, json_type_boolean)) {
		api_error(r, 400, "bad-request", "'keep_state' must be true or false");
		return;
	}
	if (d->changing || d->stopping) {
		api_error(r, 409, "busy", "another change is being carried out; try again");
		return;
	}
	log_warning("purge: asked for by pid %d, uid %u; everything of %s goes, then we do",
		    (int)peer->pid, (unsigned int)peer->uid, d->loader->pin_name);
	d->purge = r;
	d->purge_keeps_state = json_object_get_boolean(keep);
	daemon_stop(d, EXIT_SUCCESS);
}
