/* SPDX-License-Identifier: Apache-2.0 */
/* `penstock version`: of this program and, when it can be reached, of the daemon. */
#include <inttypes.h>
#include <json-c/json.h>

#include "abi.h"
#include "client.h"
#include "output.h"
#include "term.h"
#include "verbs.h"

#define PATIENCE_MS 2000

static enum status print_json(struct json_object *daemon)
{
	_cleanup_json_ struct json_object *document = json_document();
	struct json_object *client = json_object_new_object();

	if (!document || !client) {
		json_object_put(client);
		term_error("out of memory");
		return STATUS_FAILED;
	}
	json_set(client, "version", json_object_new_string(PENSTOCK_VERSION));
	json_set(client, "abi", json_object_new_int(DP_ABI_VERSION));
	json_set(document, "client", client);
	json_set(document, "daemon", json_object_get(daemon));
	output_document(document);
	return STATUS_DONE;
}

enum status verb_version(const struct invocation *call)
{
	_cleanup_json_ struct json_object *daemon = NULL;
	struct request rq = { .path = "/v1/version", .quiet = true, .timeout_ms = PATIENCE_MS };
	enum status status = client_ask(call, &rq, &daemon);

	if (output_json(call))
		return print_json(daemon);
	printf("penstock %s, abi %d\n", PENSTOCK_VERSION, DP_ABI_VERSION);
	if (status != STATUS_DONE) {
		puts(status == STATUS_NOT_PERMITTED ? "penstockd: not permitted to ask"
						    : "penstockd: not reachable");
		return STATUS_DONE;
	}
	fputs("penstockd ", stdout);
	term_write(stdout, json_text(daemon, "version"), TERM_LINE);
	printf(", abi %" PRIu64 ", build ", json_number(daemon, "abi"));
	term_write(stdout, json_text(daemon, "build"), TERM_LINE);
	fputs(", kernel ", stdout);
	term_write(stdout, json_text(daemon, "kernel"), TERM_LINE);
	putchar('\n');
	return STATUS_DONE;
}
