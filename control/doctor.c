/* SPDX-License-Identifier: Apache-2.0 */
/* See doctor.h: the policy, tables and sets. Devices are in doctor_dev.c. */
#include "doctor.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "jsonobj.h"

#define PRESSURE_PERCENT 80

void doctor_say(struct json_object *rows, const struct doctor_finding *f, const char *format, ...)
{
	static const char *const levels[] = { [DOCTOR_OK] = "ok",
					      [DOCTOR_NOTE] = "note",
					      [DOCTOR_WARNING] = "warning",
					      [DOCTOR_BROKEN] = "broken" };
	struct json_object *row = json_object_new_object();
	struct json_object *text;
	va_list args;

	va_start(args, format);
	text = json_vtext(format, args);
	va_end(args);
	json_add_text(row, "id", f->id);
	json_add_text(row, "level", levels[f->level]);
	json_add_text(row, "subject", f->subject);
	json_add(row, "text", text);
	json_add_text(row, "remedy", f->remedy);
	json_object_array_add(rows, row);
}

static uint64_t number(struct json_object *from, const char *key)
{
	struct json_object *value = json_member(from, key, json_type_int);

	return value ? json_object_get_uint64(value) : 0;
}

static bool is_true(struct json_object *from, const char *key)
{
	return json_object_get_boolean(json_member(from, key, json_type_boolean));
}

static size_t count(struct json_object *from, const char *key)
{
	struct json_object *rows = json_member(from, key, json_type_array);

	return rows ? json_object_array_length(rows) : 0;
}

static struct json_object *at(struct json_object *from, const char *key, size_t i)
{
	return json_object_array_get_idx(json_member(from, key, json_type_array), i);
}

/* Full or nearly full; whether it was worth a word. f: what to say then, of a table with this use. */
static bool judge_use(struct json_object *rows, struct doctor_finding *f, uint64_t used,
		      uint64_t limit)
{
	if (!limit || used * 100 < limit * PRESSURE_PERCENT)
		return false;
	if (used < limit) {
		f->level = DOCTOR_WARNING;
		doctor_say(rows, f, "%" PRIu64 " of %" PRIu64 " in use, %" PRIu64 " %%", used,
			   limit, used * 100 / limit);
	} else {
		doctor_say(rows, f, "full: %" PRIu64 " of %" PRIu64 " in use", used, limit);
	}
	return true;
}

/* ---- the policy ------------------------------------------------------------------------------------ */

static void judge_policy(struct json_object *rows, struct json_object *status)
{
	struct json_object *policy = json_member(status, "policy", json_type_object);
	const char *refused = json_text(status, "refused");

	if (!policy)
		doctor_say(rows,
			   &(struct doctor_finding){ DOCTOR_WARNING, "no-policy", "policy",
						     "penstock apply FILE" },
			   "there is none: every packet passes");
	else if (!json_text(policy, "file"))
		doctor_say(rows,
			   &(struct doctor_finding){ DOCTOR_WARNING, "names-lost", "policy",
						     "penstock apply FILE, with the same policy" },
			   "it is enforced as it was found in the kernel, but the state "
			   "directory does not know its names: devices are not followed");
	else
		doctor_say(rows, &(struct doctor_finding){ DOCTOR_OK, "policy", "policy", NULL },
			   "%s, generation %" PRIu64, json_text(policy, "file"),
			   number(policy, "generation"));
	if (refused)
		doctor_say(rows,
			   &(struct doctor_finding){ DOCTOR_BROKEN, "policy-refused", "policy",
						     "penstock check shows what is wrong; mend it, "
						     "then send penstockd SIGHUP" },
			   "%s, the file of --policy, was refused when it was read last; %s",
			   refused, policy ? "the policy of before stays" : "nothing is enforced");
	if (json_member(status, "confirm", json_type_object))
		doctor_say(
			rows,
			&(struct doctor_finding){ DOCTOR_NOTE, "to-confirm", "policy",
						  "penstock confirm" },
			"it waits to be confirmed; the one of before comes back in %" PRIu64 " s",
			number(json_member(status, "confirm", json_type_object), "left_ms") / 1000);
}

static bool has_zone(struct json_object *status, const char *zone)
{
	static const char *const lists[] = { "attached", "failed", "pending" };

	for (size_t k = 0; k < sizeof(lists) / sizeof(*lists); k++) {
		for (size_t i = 0; i < count(status, lists[k]); i++) {
			const char *name = json_text(at(status, lists[k], i), "zone");

			if (name && !strcmp(name, zone))
				return true;
		}
	}
	return false;
}

static void judge_zones(struct json_object *rows, struct json_object *status)
{
	for (size_t i = 0; i < count(status, "pending"); i++) {
		const char *dev = json_text(at(status, "pending", i), "dev");
		char remedy[DOCTOR_REMEDY];

		(void)snprintf(remedy, sizeof(remedy),
			       "bring it up, it is attached at once; or correct the policy: "
			       "ip -br link shows what is there");
		doctor_say(
			rows,
			&(struct doctor_finding){ DOCTOR_WARNING, "device-missing", dev, remedy },
			"zone '%s' names it, and it is not in this network namespace",
			json_text(at(status, "pending", i), "zone"));
	}
	for (size_t i = 0; i < count(status, "zones"); i++) {
		const char *zone = json_text(at(status, "zones", i), "name");

		if (zone && !has_zone(status, zone))
			doctor_say(rows,
				   &(struct doctor_finding){
					   DOCTOR_WARNING, "zone-empty", zone,
					   "correct its 'dev', or penstock attach DEV --as ZONE" },
				   "no device belongs to the zone: its chains see no packet");
	}
}

static void judge_feeds(struct json_object *rows, struct json_object *status)
{
	for (size_t i = 0; i < count(status, "feeds"); i++) {
		struct json_object *feed = at(status, "feeds", i);
		const char *why = json_text(feed, "why");

		if (is_true(feed, "held"))
			doctor_say(rows,
				   &(struct doctor_finding){
					   DOCTOR_WARNING, "feed-refused", json_text(feed, "set"),
					   "mend the file: it is read again when it changes" },
				   "%s was refused: %s; what was read before stays",
				   json_text(feed, "file"), why ? why : "no reason given");
	}
}

/* ---- tables ---------------------------------------------------------------------------------------- */

static void judge_flow_tables(struct json_object *rows, struct json_object *state)
{
	static const struct {
		const char *key, *name, *remedy, *losing;
	} tables[] = {
		{ "flows", "established flows",
		  "a larger table for a fresh start: --flow-slots in penstockd(8)",
		  "found no slot" },
		{ "pending", "unanswered flows",
		  "drop who floods before the rules with 'state': penstock set add, or a rule",
		  "gave way to newer ones while they were live" },
		{ "fragments", "fragmented datagrams",
		  "'fragments: drop' in chains that can do without them",
		  "gave way to newer ones while they were live" },
	};

	if (!is_true(state, "stateful"))
		return;
	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
		struct json_object *table = json_member(state, tables[i].key, json_type_object);
		/* The tables that a flood can fill give way, as they are meant to. */
		struct doctor_finding f = { i ? DOCTOR_WARNING : DOCTOR_BROKEN, "table-pressure",
					    tables[i].name, tables[i].remedy };
		bool said = judge_use(rows, &f, number(table, "used"), number(table, "slots"));

		f.level = DOCTOR_WARNING;
		f.id = "table-losing";
		if (is_true(table, "losing"))
			doctor_say(rows, &f, "some %s, the last within a minute", tables[i].losing);
		else if (!said)
			doctor_say(rows,
				   &(struct doctor_finding){ DOCTOR_OK, "table-pressure",
							     tables[i].name, NULL },
				   "%" PRIu64 " of %" PRIu64 " in use", number(table, "used"),
				   number(table, "slots"));
	}
}

static void judge_capacity(struct json_object *rows, struct json_object *capacity)
{
	if (!capacity)
		return;
	json_object_object_foreach(capacity, key, use)
	{
		struct doctor_finding f = { DOCTOR_WARNING, "capacity", key,
					    "fewer of them in the policy" };

		(void)judge_use(rows, &f, number(use, "used"), number(use, "limit"));
	}
}

void doctor_judge_status(struct json_object *rows, struct json_object *status)
{
	judge_policy(rows, status);
	judge_zones(rows, status);
	judge_feeds(rows, status);
	judge_flow_tables(rows, json_member(status, "state", json_type_object));
	judge_capacity(rows, json_member(status, "capacity", json_type_object));
}

void doctor_judge_sets(struct json_object *rows, struct json_object *sets)
{
	struct json_object *table = json_member(sets, "table", json_type_object);
	struct doctor_finding all = { DOCTOR_BROKEN, "set-pressure", "run-time sets together",
				      "remove members: penstock set del" };

	for (size_t i = 0; i < count(sets, "sets"); i++) {
		struct json_object *set = at(sets, "sets", i);
		uint64_t members = number(set, "members") + number(set, "runtime_members");
		char remedy[DOCTOR_REMEDY];
		struct doctor_finding f = { DOCTOR_BROKEN, "set-pressure", json_text(set, "name"),
					    remedy };

		(void)snprintf(remedy, sizeof(remedy),
			       "raise its 'max' in the policy, or remove members: "
			       "penstock set del %s ADDR",
			       f.subject ? f.subject : "NAME"); /* names are short */
		if (is_true(set, "runtime"))
			(void)judge_use(rows, &f, members, number(set, "max"));
	}
	(void)judge_use(rows, &all, number(table, "members"), number(table, "limit"));
}
