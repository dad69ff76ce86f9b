/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What compiling costs, stage by stage, and the peak memory of it all:
 *   compile_bench set FILE      one rule that drops what the file lists
 *   compile_bench rules FILE    a chain of the rules of a ClassBench set, also .gz
 * Feeds of any size come from bench/gen/feed-gen, rule sets from bench/classbench.
 */
#include <inttypes.h>
#include <sys/resource.h>
#include <time.h>

#include "image.h"
#include "setfile.h"
#include "tests/lib/classbench.h"
#include "tests/lib/model_kit.h"

static double now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock */
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static long peak_kib(void)
{
	struct rusage usage = {};

	(void)getrusage(RUSAGE_SELF, &usage); /* likewise */
	return usage.ru_maxrss;
}

/* The whole file, as the command line reads it. */
static char *slurp(const char *path, size_t *ret_len)
{
	_cleanup_fclose_ FILE *f = fopen(path, "r");
	char *text;
	long len;

	if (!f || fseek(f, 0, SEEK_END) || (len = ftell(f)) < 0)
		return NULL;
	rewind(f);
	text = malloc(len + 1);
	if (!text || fread(text, 1, len, f) != (size_t)len) {
		free(text);
		return NULL;
	}
	*ret_len = len;
	return text;
}

/* Compiles the model and prints what came of it; before: what the stages before took. */
static int compile(struct kit *k, double before_ms)
{
	struct image image = {};
	double start = now_ms(), took;
	int r = image_compile(&k->model, &k->diags, &image);

	took = now_ms() - start;
	if (k->diags.errors)
		fprintf(stderr, "compile_bench: %s\n", k->diags.diags.at[0].message);
	if (r)
		return r;
	printf("compile %.1f ms, together %.1f ms\n"
	       "image %.2f MiB, peak memory %.1f MiB\n",
	       took, before_ms + took, image.count * (double)DP_LINE_BYTES / (1 << 20),
	       peak_kib() / 1024.0);
	printf("vectors %" PRIu32 " lines, tries %" PRIu32 ", trees %" PRIu32 "; %" PRIu32
	       " slots in use\n",
	       image.stats.vector_lines, image.stats.trie_lines, image.stats.tree_lines,
	       image.chain_slots[0]);
	if (image.stats.tree_lines)
		printf("%" PRIu32 " boxes, %" PRIu32 " in the largest leaf, %" PRIu32
		       " references on the longest way\n",
		       image.stats.boxes, image.stats.largest_leaf, image.stats.tree_depth);
	image_done(&image);
	return 0;
}

static int run_set(struct kit *k, const char *path)
{
	_cleanup_free_ char *text = NULL;
	struct prefix_set set = {};
	double start, read, seal;
	uint32_t source, chain;
	size_t len;
	int r;

	text = slurp(path, &len);
	if (!text)
		return -EIO;
	source = diag_add_source(&k->diags, path, text, len);
	start = now_ms();
	r = setfile_read(&k->diags, source, 0, &set);
	read = now_ms();
	if (!r)
		r = prefix_set_seal(&set);
	seal = now_ms();
	if (r || k->diags.errors) {
		prefix_set_done(&set);
		return r ?: -EINVAL;
	}
	printf("%s: %zu prefixes, %zu IPv4 and %zu IPv6 ranges\n", path, (size_t)set.given,
	       set.v4.count, set.v6.count);
	printf("read %.1f ms, sort and merge %.1f ms\n", read - start, seal - read);
	(void)kit_set(k, "set", &set);
	chain = kit_chain(k, "in", kit_zone(k, "wan"), DP_INGRESS, DP_PASS);
	kit_operand(kit_rule(k, chain, DP_DROP), MODEL_KEY_FROM, "$0");
	return compile(k, seal - start);
}

static int run_rules(struct kit *k, const char *path)
{
	uint32_t chain = kit_chain(k, "in", kit_zone(k, "wan"), DP_INGRESS, DP_PASS);
	char command[512];

	(void)snprintf(command, sizeof(command), "gzip -dcf '%s'", path);
	printf("%s: %zu rules\n", path, classbench_rules(k, chain, command));
	return compile(k, 0);
}

int main(int argc, char *argv[])
{
	_cleanup_(kit_done) struct kit kit = {};
	int r;

	if (argc != 3 || (strcmp(argv[1], "set") != 0 && strcmp(argv[1], "rules") != 0)) {
		fprintf(stderr, "usage: compile_bench set FILE | compile_bench rules FILE\n");
		return 2;
	}
	r = strcmp(argv[1], "set") ? run_rules(&kit, argv[2]) : run_set(&kit, argv[2]);
	if (r)
		fprintf(stderr, "compile_bench: %s: %s\n", argv[2], strerror(-r));
	return r ? 1 : 0;
}
