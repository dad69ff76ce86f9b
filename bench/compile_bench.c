/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a set costs on its way from text to image, stage by stage, and the peak memory of it all:
 *   compile_bench FILE        one rule that drops what the file lists
 * Feeds of any size come from bench/gen/feed-gen.
 */
#include <sys/resource.h>
#include <time.h>

#include "image.h"
#include "setfile.h"
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

static int run(struct kit *k, const char *path, const char *text, size_t len)
{
	struct prefix_set set = {};
	struct image image = {};
	double start, read, seal, compile;
	uint32_t source = diag_add_source(&k->diags, path, text, len), chain;
	int r;

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
	(void)kit_set(k, "set", &set);
	chain = kit_chain(k, "in", kit_zone(k, "wan"), DP_INGRESS, DP_PASS);
	kit_operand(kit_rule(k, chain, DP_DROP), MODEL_KEY_FROM, "$0");
	compile = now_ms();
	r = image_compile(&k->model, &k->diags, &image);
	if (!r)
		printf("read %.1f ms, sort and merge %.1f ms, compile %.1f ms, together %.1f ms\n"
		       "image %.2f MiB, peak memory %.1f MiB\n",
		       read - start, seal - read, now_ms() - compile,
		       seal - start + now_ms() - compile, image.count * 64.0 / (1 << 20),
		       peak_kib() / 1024.0);
	image_done(&image);
	return r;
}

int main(int argc, char *argv[])
{
	_cleanup_(kit_done) struct kit kit = {};
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	if (argc != 2) {
		fprintf(stderr, "usage: compile_bench FILE\n");
		return 2;
	}
	text = slurp(argv[1], &len);
	if (!text) {
		fprintf(stderr, "compile_bench: cannot read %s\n", argv[1]);
		return 1;
	}
	r = run(&kit, argv[1], text, len);
	if (r)
		fprintf(stderr, "compile_bench: %s: %s\n", argv[1], strerror(-r));
	return r ? 1 : 0;
}
