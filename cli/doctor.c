/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `penstock doctor`: what is broken or doubtful, and what to do about it. The kernel and its settings are looked at
 * as the caller; devices, tables and programs in the way are what the daemon sees in its network namespace.
 */
#include "doctor.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <string.h>

#include "client.h"
#include "output.h"
#include "table.h"
#include "term.h"
#include "verbs.h"

#define PINS "/sys/fs/bpf/penstock"

const char *const doctor_levels[DOCTOR_LEVEL_COUNT] = {
	[DOCTOR_BROKEN] = "broken",
	[DOCTOR_WARNING] = "warning",
	[DOCTOR_NOTE] = "note",
	[DOCTOR_OK] = "ok",
};

static void set_text(struct json_object *row, const char *key, const char *text)
{
	json_set(row, key, text ? json_object_new_string(text) : NULL);
}

void doctor_add(struct json_object *rows, const struct doctor_finding *f, const char *format, ...)
{
	struct json_object *row = json_object_new_object();
	_cleanup_free_ char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	set_text(row, "id", f->id);
	set_text(row, "level", doctor_levels[f->level]);
	set_text(row, "subject", f->subject);
	set_text(row, "text", text);
	set_text(row, "remedy", f->remedy);
	(void)json_object_array_add(rows, row); /* short of memory: a row less */
}

static enum doctor_level level_of(struct json_object *row)
{
	enum doctor_level level = 0;

	while (level < DOCTOR_OK && strcmp(json_text(row, "level"), doctor_levels[level]) != 0)
		level++;
	return level;
}

/* ---- the daemon ------------------------------------------------------------------------------------- */

/* What goes on without it: "; 2 programs of it are still attached". */
static const char *still_attached(const struct invocation *call, char text[static 96])
{
	const char *instance = call->value[OPTION_INSTANCE];
	char path[256];
	int count = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), PINS "/%s/links",
		       instance ?: "default"); /* cut: not there */
	dir = opendir(path);
	if (!dir) {
		(void)snprintf(text, 96, "%s",
			       errno == ENOENT ? "nothing of it is attached"
					       : "whether something of it is attached is not to be "
						 "seen");
		return text;
	}
	for (const struct dirent *e; (e = readdir(dir));)
		count += e->d_name[0] != '.' && !strstr(e->d_name, "qdisc");
	(void)closedir(dir); /* it was only read */
	(void)snprintf(text, 96, "%d attachments of it go on by the policy of then", count);
	return text;
}

static void add_unreachable(const struct invocation *call, struct json_object *rows)
{
	char text[96];

	doctor_add(rows,
		   &(struct doctor_finding){ DOCTOR_BROKEN, "daemon", "penstockd",
					     "start it: systemctl start penstockd; --instance or "
					     "--run-dir for another one" },
		   "no daemon answers; %s; devices, tables and other programs were not looked at",
		   still_attached(call, text));
}

static void add_refused(struct json_object *rows)
{
	doctor_add(rows,
		   &(struct doctor_finding){ DOCTOR_NOTE, "not-looked", "penstockd",
					     "be root or in the group penstock" },
		   "it may not be asked: devices, tables and other programs were not looked at");
}

static enum status ask_daemon(const struct invocation *call, struct json_object *rows)
{
	const struct request rq = { .path = "/v1/doctor", .quiet = true };
	_cleanup_answer_ struct answer answer = {};
	enum status status = client_send(call, &rq, &answer);

	if (status == STATUS_DONE && answer.http != 200)
		status = answer.http == 403 ? STATUS_NOT_PERMITTED : STATUS_FAILED;
	if (status == STATUS_NOT_PERMITTED)
		add_refused(rows);
	if (status == STATUS_UNREACHABLE)
		add_unreachable(call, rows);
	if (status == STATUS_FAILED)
		doctor_add(rows,
			   &(struct doctor_finding){ DOCTOR_BROKEN, "daemon", "penstockd",
						     "look into its log; restart it when it is "
						     "older than this program" },
			   "it answers, and not with what it finds");
	if (status != STATUS_DONE) {
		doctor_bpffs(rows);
		return status;
	}
	doctor_add(rows, &(struct doctor_finding){ DOCTOR_OK, "daemon", "penstockd", NULL },
		   "process %" PRIu64 " answers", json_number(answer.json, "pid"));
	doctor_rights(rows, (int)json_number(answer.json, "pid"),
		      (int)json_number(answer.json, "inspector_pid"));
	for (size_t i = 0; i < json_count(answer.json, "findings"); i++)
		(void)json_object_array_add(rows,
					    json_object_get(json_at(answer.json, "findings", i)));
	return STATUS_DONE;
}

/* ---- what is shown ---------------------------------------------------------------------------------- */

/* The worst first, the rest in order. */
static struct json_object *sorted(struct json_object *rows,
				  size_t counts[static DOCTOR_LEVEL_COUNT])
{
	struct json_object *all = json_object_new_array();

	for (int level = 0; level < DOCTOR_LEVEL_COUNT; level++) {
		for (size_t i = 0; i < json_object_array_length(rows); i++) {
			struct json_object *row = json_object_array_get_idx(rows, i);

			if ((int)level_of(row) != level)
				continue;
			counts[level]++;
			(void)json_object_array_add(all, json_object_get(row));
		}
	}
	return all;
}

static void show_row(struct json_object *row, bool color)
{
	static const char *const colors[] = { [DOCTOR_BROKEN] = "\033[31m",
					      [DOCTOR_WARNING] = "\033[33m",
					      [DOCTOR_NOTE] = "",
					      [DOCTOR_OK] = "\033[32m" };
	enum doctor_level level = level_of(row);

	printf("%s%-7s%s  ", color ? colors[level] : "", doctor_levels[level],
	       color ? "\033[0m" : "");
	term_write(stdout, json_text(row, "subject"), TERM_LINE);
	fputs(": ", stdout);
	term_write(stdout, json_text(row, "text"), TERM_LINE);
	if (*json_text(row, "remedy")) {
		fputs("\n         remedy: ", stdout);
		term_write(stdout, json_text(row, "remedy"), TERM_LINE);
	}
	putchar('\n');
}

/* What is good is counted, and shown with --all. */
static void show(const struct invocation *call, struct json_object *document,
		 const size_t counts[static DOCTOR_LEVEL_COUNT])
{
	size_t rows = json_count(document, "findings");
	bool all = call->value[OPTION_ALL];
	size_t bad = all ? rows : rows - counts[DOCTOR_OK];
	char text[3][TERM_COUNT];

	for (size_t i = 0; i < output_limit(call, bad); i++)
		show_row(json_at(document, "findings", i), table_colors(call));
	output_rest(call, bad);
	printf("%zu broken, %s, %s, %zu good%s\n", counts[DOCTOR_BROKEN],
	       term_count(counts[DOCTOR_WARNING], "warning", text[0]),
	       term_count(counts[DOCTOR_NOTE], "note", text[1]), counts[DOCTOR_OK],
	       all ? "" : " (--all shows them)");
}

enum status verb_doctor(const struct invocation *call)
{
	_cleanup_json_ struct json_object *rows = json_object_new_array();
	_cleanup_json_ struct json_object *document = json_document();
	size_t counts[DOCTOR_LEVEL_COUNT] = {};
	enum status status;

	if (!rows || !document) {
		term_error("out of memory");
		return STATUS_FAILED;
	}
	doctor_kernel(rows);
	doctor_host(rows);
	status = ask_daemon(call, rows);
	json_set(document, "findings", sorted(rows, counts));
	for (int level = 0; level < DOCTOR_LEVEL_COUNT; level++)
		json_set(document, doctor_levels[level], json_object_new_uint64(counts[level]));
	if (output_json(call))
		output_list(call, document, "findings");
	else
		show(call, document, counts);
	if (counts[DOCTOR_BROKEN])
		return STATUS_FAILED;
	return status == STATUS_NOT_PERMITTED ? status : STATUS_DONE;
}
