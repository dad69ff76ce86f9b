/* SPDX-License-Identifier: Apache-2.0 */
/* Times of one thing, taken again and again, and what is printed of them. */
#pragma once

#include <stddef.h>

#define SAMPLES_MAX 256

struct samples {
	double ns[SAMPLES_MAX];
	size_t count;
};

void samples_add(struct samples *s, double ns); /* beyond SAMPLES_MAX they are not kept */
double samples_median(const struct samples *s);
double samples_min(const struct samples *s);

/* CPU time of this thread: what others do meanwhile is not in it. */
double sample_cpu_ns(void);

/*
 * Pins the thread to a CPU and puts it ahead of ordinary work there: packets are then received where they
 * are sent. Says on stderr what could not be had.
 */
void sample_pin(int cpu);
