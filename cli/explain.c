/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `penstock explain`: hands frames to the daemon, which runs the loaded program on them, and prints which
 * rule would decide. The frame is built from a tuple, given in hexadecimal, or read from a capture.
 */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <pcap/pcap.h>
#include <string.h>

#include "client.h"
#include "explain_walk.h"
#include "frame.h"
#include "help.h"
#include "output.h"
#include "str.h"
#include "table.h"
#include "term.h"
#include "tuple.h"
#include "verbs.h"

#define ETHERNET_HEADER    14
#define FRAME_MAX_BYTES    65535
#define BATCH_FRAMES       256
#define BATCH_BYTES        (1024 * 1024) /* so that a request stays small, whatever the frames */
#define EXPLAIN_TIMEOUT_MS (60 * 1000)

/* Frames on their way to the daemon. */
struct batch {
	const struct invocation *call;
	struct json_object *frames;
	size_t bytes;
	uint64_t sent; /* frames of earlier batches */
	bool failed;   /* some frame could not be run */
};

static void batch_done(struct batch *b)
{
	json_putp(&b->frames);
}

static enum status out_of_memory(void)
{
	term_error("out of memory");
	return STATUS_FAILED;
}

static enum status batch_add(struct batch *b, const uint8_t *frame, size_t len)
{
	_cleanup_free_ char *hex = malloc(2 * len + 1);
	struct json_object *text;

	if (!b->frames)
		b->frames = json_object_new_array();
	if (!hex || !b->frames)
		return out_of_memory();
	hex_write(frame, len, hex);
	text = json_object_new_string(hex);
	if (!text || json_object_array_add(b->frames, text)) {
		json_object_put(text);
		return out_of_memory();
	}
	b->bytes += len;
	return STATUS_DONE;
}

/* Sends the batch; on success it is empty again and *ret holds one result for each frame. */
static enum status batch_send(struct batch *b, struct json_object **ret)
{
	_cleanup_json_ struct json_object *body = json_object_new_object(), *answer = NULL;
	size_t frames = json_object_array_length(b->frames);
	struct request rq = {
		.path = "/v1/explain",
		.body = body,
		.timeout_ms = EXPLAIN_TIMEOUT_MS,
	};
	enum status status;

	if (!body)
		return out_of_memory();
	json_set(body, "at", json_object_new_string(b->call->value[OPTION_AT]));
	json_set(body, "frames", TAKE_PTR(b->frames));
	b->bytes = 0;
	status = client_ask(b->call, &rq, &answer);
	if (status != STATUS_DONE)
		return status;
	if (json_count(answer, "results") != frames) {
		term_error("the daemon explained %zu of %zu frames", json_count(answer, "results"),
			   frames);
		return STATUS_FAILED;
	}
	*ret = TAKE_PTR(answer);
	return STATUS_DONE;
}

/* A frame that could not be run has an error for a result. */
static enum status judge_result(struct json_object *result, uint64_t number)
{
	const char *error = json_text(result, "error");

	if (!*error)
		return STATUS_DONE;
	term_error("frame %" PRIu64 ": %s", number, error);
	return STATUS_FAILED;
}

/* ---- one frame --------------------------------------------------------------------------------- */

static void print_audit(struct json_object *result)
{
	struct text ids = {};
	_cleanup_free_ char *line = NULL;

	for (size_t i = 0; i < json_count(result, "audit"); i++) {
		text_puts(&ids, i ? ", " : "");
		text_puts(&ids, json_object_get_string(json_at(result, "audit", i)) ?: "");
	}
	line = text_take(&ids);
	if (line && *line)
		explain_line("audit", line);
}

static void print_cost(struct json_object *result)
{
	const char *note = json_text(result, "cost_note");

	if (json_member(result, "cost_ns"))
		printf("%-8s %" PRIu64 " ns\n", "cost", json_number(result, "cost_ns"));
	else if (*note)
		explain_line("cost", note);
}

static enum status print_result(const struct invocation *call, struct json_object *result)
{
	static const char *const keys[] = { "reason", "chain", "rule", "source" };
	const char *verdict = json_text(result, "verdict");
	const char *color = strcmp(verdict, "drop") ? "\033[32m" : "\033[31m";
	bool colors = table_colors(call);

	fputs(colors ? color : "", stdout);
	explain_line("verdict", verdict);
	fputs(colors ? "\033[0m" : "", stdout);
	for (size_t i = 0; i < 4; i++)
		explain_line(keys[i], json_text(result, keys[i]));
	if (*json_text(result, "service"))
		explain_line("service", json_text(result, "service"));
	if (*json_text(result, "backend"))
		explain_line("backend", json_text(result, "backend"));
	print_audit(result);
	print_cost(result);
	return explain_walk_print(call, result);
}

static enum status explain_frame(const struct invocation *call, const uint8_t *frame, size_t len)
{
	_cleanup_(batch_done) struct batch batch = { .call = call };
	_cleanup_json_ struct json_object *answer = NULL;
	enum status status = batch_add(&batch, frame, len);
	struct json_object *result;

	if (status == STATUS_DONE)
		status = batch_send(&batch, &answer);
	if (status != STATUS_DONE)
		return status;
	result = json_at(answer, "results", 0);
	status = judge_result(result, 1);
	if (output_json(call))
		output_line(result);
	else if (status == STATUS_DONE)
		status = print_result(call, result);
	return status;
}

static enum status explain_hex(const struct invocation *call)
{
	_cleanup_free_ uint8_t *frame = malloc(FRAME_MAX_BYTES);
	size_t len;
	int r;

	if (!frame)
		return out_of_memory();
	r = frame_from_hex(call->value[OPTION_FRAME], frame, FRAME_MAX_BYTES, &len);
	if (r == -E2BIG)
		return help_usage_error(call->command, "the frame is over %d bytes",
					FRAME_MAX_BYTES);
	if (r)
		return help_usage_error(call->command,
					"'--frame' needs pairs of hexadecimal digits");
	if (len < ETHERNET_HEADER)
		return help_usage_error(call->command,
					"the frame has %zu bytes; an Ethernet header has %d", len,
					ETHERNET_HEADER);
	return explain_frame(call, frame, len);
}

static enum status explain_tuple(const struct invocation *call)
{
	uint8_t frame[FRAME_MAX];
	char error[TUPLE_ERROR];
	_cleanup_free_ char *words = NULL;
	struct text text = {};
	struct tuple tuple;

	for (size_t i = 0; i < call->arg_count; i++) {
		text_puts(&text, i ? " " : "");
		text_puts(&text, call->args[i]);
	}
	words = text_take(&text);
	if (!words)
		return out_of_memory();
	if (!tuple_parse(words, &tuple, error))
		return help_usage_error(call->command, "%s", error);
	return explain_frame(call, frame, frame_build(&tuple, frame));
}

/* ---- a capture --------------------------------------------------------------------------------- */

static void pcap_donep(pcap_t **pcap)
{
	if (*pcap)
		pcap_close(*pcap);
}

static enum status print_rows(const struct batch *b, struct json_object *answer)
{
	static const struct table_column columns[] = {
		{ "FRAME", true }, { "VERDICT", false }, { "REASON", false }, { "CHAIN", false },
		{ "RULE", false }, { "SOURCE", false },  { "NS", true },      {},
	};
	static const char *const keys[] = { "verdict", "reason", "chain", "rule", "source" };
	_cleanup_table_ struct table *table = table_new(b->call, columns);

	if (!table)
		return out_of_memory();
	for (size_t i = 0; i < json_count(answer, "results"); i++) {
		struct json_object *row = json_at(answer, "results", i);
		const char *verdict = json_text(row, "verdict");

		table_row(table);
		table_number(table, 0, b->sent + i + 1);
		for (size_t k = 0; k < 5; k++)
			table_text(table, 1 + k, json_text(row, keys[k]));
		if (json_member(row, "cost_ns"))
			table_number(table, 6, json_number(row, "cost_ns"));
		else /* a long capture is not measured */
			table_text(table, 6, "");
		table_color(table, 1, strcmp(verdict, "drop") ? TABLE_GREEN : TABLE_RED);
	}
	return table_print(table, b->sent == 0);
}

static enum status batch_print(struct batch *b)
{
	_cleanup_json_ struct json_object *answer = NULL;
	enum status status;
	size_t frames;

	if (!b->frames)
		return STATUS_DONE;
	status = batch_send(b, &answer);
	if (status != STATUS_DONE)
		return status;
	frames = json_count(answer, "results");
	if (!output_json(b->call))
		status = print_rows(b, answer);
	for (size_t i = 0; i < frames; i++) {
		struct json_object *row = json_at(answer, "results", i);

		if (judge_result(row, b->sent + i + 1) != STATUS_DONE)
			b->failed = true;
		if (!output_json(b->call))
			continue;
		json_set(row, "frame", json_object_new_uint64(b->sent + i + 1));
		output_line(row);
	}
	b->sent += frames;
	return status;
}

static enum status add_captured(struct batch *b, const struct pcap_pkthdr *header,
				const uint8_t *bytes, uint64_t number)
{
	enum status status = STATUS_DONE;

	if (header->caplen < ETHERNET_HEADER) {
		term_error("frame %" PRIu64 " has no whole Ethernet header", number);
		return STATUS_FAILED;
	}
	if (b->frames && (json_object_array_length(b->frames) == BATCH_FRAMES ||
			  b->bytes + header->caplen > BATCH_BYTES))
		status = batch_print(b);
	return status == STATUS_DONE ? batch_add(b, bytes, header->caplen) : status;
}

static enum status explain_frames(const struct invocation *call, pcap_t *pcap)
{
	_cleanup_(batch_done) struct batch batch = { .call = call };
	const char *file = call->value[OPTION_PCAP];
	enum status status = STATUS_DONE;
	uint64_t number = 0, cut = 0;
	struct pcap_pkthdr *header;
	const uint8_t *bytes;
	char count[TERM_COUNT];
	int r = 1;

	while (status == STATUS_DONE && !ferror(stdout)) {
		r = pcap_next_ex(pcap, &header, &bytes);
		if (r != 1)
			break;
		cut += header->caplen < header->len;
		status = add_captured(&batch, header, bytes, ++number);
	}
	if (status == STATUS_DONE)
		status = batch_print(&batch);
	if (cut)
		term_error("note: %s in %s end early: the capture kept only their beginning",
			   term_count(cut, "frame", count), file);
	if (r == PCAP_ERROR) {
		term_error("cannot read %s: %s", file, pcap_geterr(pcap));
		return STATUS_FAILED;
	}
	return status == STATUS_DONE && batch.failed ? STATUS_FAILED : status;
}

static enum status explain_pcap(const struct invocation *call)
{
	const char *file = call->value[OPTION_PCAP];
	char error[PCAP_ERRBUF_SIZE] = "";
	_cleanup_(pcap_donep) pcap_t *pcap = pcap_open_offline(file, error);
	const char *link;

	if (!pcap) {
		term_error("cannot read %s: %s", file, error);
		return STATUS_FAILED;
	}
	if (pcap_datalink(pcap) == DLT_EN10MB)
		return explain_frames(call, pcap);
	link = pcap_datalink_val_to_name(pcap_datalink(pcap));
	term_error("%s holds frames of type %s, not Ethernet", file, link ?: "unknown");
	return STATUS_FAILED;
}

static bool is_point(const char *at)
{
	const char *dot = strrchr(at, '.');

	return dot && dot > at && (!strcmp(dot, ".ingress") || !strcmp(dot, ".egress"));
}

enum status verb_explain(const struct invocation *call)
{
	const char *at = call->value[OPTION_AT];
	int given = !!call->value[OPTION_FRAME] + !!call->value[OPTION_PCAP] + !!call->arg_count;

	if (!at)
		return help_usage_error(call->command, "'--at' is missing");
	if (!is_point(at))
		return help_usage_error(call->command,
					"'%s' is neither ZONE.ingress nor ZONE.egress", at);
	if (given != 1)
		return help_usage_error(call->command,
					"one of '--frame', '--pcap' and TUPLE is needed");
	if (call->value[OPTION_FRAME])
		return explain_hex(call);
	if (call->value[OPTION_PCAP])
		return explain_pcap(call);
	return explain_tuple(call);
}
