/* SPDX-License-Identifier: Apache-2.0 */
/* See diags.h. */
#include "diags.h"

#include <errno.h>
#include <json-c/json.h>

#include "diag.h"
#include "output.h"
#include "term.h"

#define SHOWN 20 /* for people */

static void show(const struct diag_list *diags)
{
	_cleanup_free_ char *text = diag_render(diags, SHOWN);

	term_write(stderr, text ?: "out of memory\n", TERM_BLOCK);
}

void diags_show_answer(struct json_object *answer)
{
	_cleanup_free_ char *text = diag_render_json(answer, SHOWN);

	term_write(stderr, text ?: "out of memory\n", TERM_BLOCK);
}

enum status diags_print(const struct diag_list *diags, const char *name, struct json_object *policy)
{
	_cleanup_json_ struct json_object *document = json_document();
	_cleanup_json_ struct json_object *found = diag_to_json(diags);

	if (!document || !found) {
		json_object_put(policy);
		term_error("out of memory");
		return STATUS_FAILED;
	}
	json_set(document, "file", json_object_new_string(name));
	json_object_object_foreach(found, key, value)
		json_set(document, key, json_object_get(value));
	json_set(document, "policy", policy);
	output_document(document);
	return STATUS_DONE;
}

static void show_verdict(const struct diag_list *diags, const char *name)
{
	char errors[TERM_COUNT], warnings[TERM_COUNT];

	term_write(stderr, name, TERM_LINE);
	fprintf(stderr, ": refused: %s, %s\n", term_count(diags->errors, "error", errors),
		term_count(diags->warnings, "warning", warnings));
}

enum status diags_result(const struct invocation *call, const struct diag_list *diags, int r,
			 const char *name)
{
	if (r == -ENOMEM || diags->out_of_memory) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	if (!output_json(call))
		show(diags);
	else if (r && diags_print(diags, name, NULL) != STATUS_DONE)
		return STATUS_FAILED;
	if (r && !output_json(call))
		show_verdict(diags, name);
	return r ? STATUS_FAILED : STATUS_DONE;
}
