/* SPDX-License-Identifier: Apache-2.0 */
/* What the command table calls: one function a verb, one file each. They return the exit code. */
#pragma once

#include "command.h"

enum status verb_apply(const struct invocation *call);
enum status verb_attach(const struct invocation *call);
enum status verb_check(const struct invocation *call);
enum status verb_complete(const struct invocation *call);
enum status verb_completion(const struct invocation *call);
enum status verb_confirm(const struct invocation *call);
enum status verb_detach(const struct invocation *call);
enum status verb_diff(const struct invocation *call);
enum status verb_doctor(const struct invocation *call);
enum status verb_flows(const struct invocation *call);
enum status verb_drops(const struct invocation *call);
enum status verb_explain(const struct invocation *call);
enum status verb_fmt(const struct invocation *call);
enum status verb_help(const struct invocation *call);
enum status verb_manual(const struct invocation *call);
enum status verb_purge(const struct invocation *call);
enum status verb_rollback(const struct invocation *call);
enum status verb_rules(const struct invocation *call);
enum status verb_set_change(const struct invocation *call);
enum status verb_set_list(const struct invocation *call);
enum status verb_sets(const struct invocation *call);
enum status verb_status(const struct invocation *call);
enum status verb_version(const struct invocation *call);

struct json_object;

/* A line about a file that is read again on change, when there is something to say. */
void sets_show_feed(struct json_object *feed, const char *file);
