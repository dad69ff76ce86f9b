/* SPDX-License-Identifier: Apache-2.0 */
/* A failure and its sentence, for functions that return -errno and say why in a char **. */
#pragma once

#include <stdarg.h>
#include <stdio.h>

#include "cleanup.h"

/* Returns r. *ret_why is left NULL when there is no memory for it. */
static inline _printf_(3, 4) int fail(char **ret_why, int r, const char *format, ...)
{
	va_list args;
	char *why = NULL;

	va_start(args, format);
	if (vasprintf(&why, format, args) < 0)
		why = NULL;
	va_end(args);
	free(*ret_why);
	*ret_why = why;
	return r;
}
