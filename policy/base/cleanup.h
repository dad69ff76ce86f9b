/* SPDX-License-Identifier: Apache-2.0 */
/* Ownership that a reader can see: a local that owns says so, and gives it away by name. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn)  __attribute__((cleanup(fn)))
#define _must_check_   __attribute__((warn_unused_result))
#define _printf_(f, a) __attribute__((format(printf, f, a)))

#define TAKE_PTR(p)                 \
	({                          \
		typeof(p) p_ = (p); \
		(p) = NULL;         \
		p_;                 \
	})

#define TAKE_FD(fd)             \
	({                      \
		int fd_ = (fd); \
		(fd) = -1;      \
		fd_;            \
	})

static inline void freep(void *p)
{
	void **at = p;

	free(*at);
	*at = NULL;
}

static inline void closep(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd); /* nothing was written that a failed close could lose */
	*fd = -1;
}

static inline void fclosep(FILE **f)
{
	if (*f)
		(void)fclose(*f); /* callers that write check fflush() first */
	*f = NULL;
}

#define _cleanup_free_   _cleanup_(freep)
#define _cleanup_close_  _cleanup_(closep)
#define _cleanup_fclose_ _cleanup_(fclosep)
