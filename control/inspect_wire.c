/* SPDX-License-Identifier: Apache-2.0 */
/* See inspect_wire.h. */
#include "inspect_wire.h"

#include <errno.h>
#include <string.h>

int inspect_read_request(const void *bytes, size_t len, struct inspect_request *ret)
{
	struct inspect_request got;

	if (len != sizeof(got))
		return -EINVAL;
	memcpy(&got, bytes, sizeof(got));
	if (got.magic != INSPECT_MAGIC || got.kind != INSPECT_PROGRAM || !got.number || !got.id ||
	    got.pad)
		return -EINVAL;
	*ret = got;
	return 0;
}

int inspect_read_answer(const void *bytes, size_t len, struct inspect_answer *ret)
{
	static const char good[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.";
	struct inspect_answer got;

	if (len != sizeof(got))
		return -EINVAL;
	memcpy(&got, bytes, sizeof(got));
	if (got.magic != INSPECT_MAGIC || got.error > 0 ||
	    (got.kind != INSPECT_READY && got.kind != INSPECT_PROGRAM))
		return -EINVAL;
	if (!memchr(got.name, '\0', sizeof(got.name)) || got.name[strspn(got.name, good)])
		return -EINVAL;
	*ret = got;
	return 0;
}
