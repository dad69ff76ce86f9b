/* SPDX-License-Identifier: Apache-2.0 */
#include "sample.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void samples_add(struct samples *s, double ns)
{
	if (s->count < SAMPLES_MAX)
		s->ns[s->count++] = ns;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double samples_median(const struct samples *s)
{
	struct samples sorted = *s;

	if (!s->count)
		return 0;
	qsort(sorted.ns, sorted.count, sizeof(*sorted.ns), compare);
	return (sorted.ns[(s->count - 1) / 2] + sorted.ns[s->count / 2]) / 2;
}

double samples_min(const struct samples *s)
{
	double min = s->count ? s->ns[0] : 0;

	for (size_t i = 1; i < s->count; i++)
		min = s->ns[i] < min ? s->ns[i] : min;
	return min;
}

double sample_cpu_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* cannot fail for this clock */
	return t.tv_sec * 1e9 + t.tv_nsec;
}

void sample_pin(int cpu)
{
	struct sched_param ahead = { .sched_priority = 1 };
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fprintf(stderr, "drop: cannot pin to CPU %d: %s; figures will scatter\n", cpu,
			strerror(errno));
	if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &ahead))
		fprintf(stderr, "drop: no real-time priority: %s; figures will scatter\n",
			strerror(errno));
}
