/* SPDX-License-Identifier: Apache-2.0 */
/* See sets_map.h. */
#include "sets_map.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <bpf/bpf.h>

#include "fail.h"
#include "loader.h"

#define MEMBERS_MAP "set_members" /* name of an inner map */

static void *map_shared(int fd, size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return at == MAP_FAILED ? NULL : at;
}

static int map_pages(int fd, uint32_t pages, struct sets_map *ret)
{
	struct dp_line *lines = map_shared(fd, (size_t)pages * DP_PAGE_BYTES);

	if (!lines)
		return -errno;
	*ret = (struct sets_map){ lines, pages * DP_PAGE_LINES };
	return 0;
}

int sets_map_open(const struct loader *l, struct sets_map *ret)
{
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);
	int r;

	*ret = (struct sets_map){};
	if (l->inner[LOADER_MEMBERS] < 0)
		return 0;
	r = bpf_obj_get_info_by_fd(l->inner[LOADER_MEMBERS], &info, &len);
	return r < 0 ? r : map_pages(l->inner[LOADER_MEMBERS], info.max_entries, ret);
}

int sets_map_make(const struct loader *l, uint32_t lines, struct sets_map *ret, int *ret_fd,
		  char **ret_why)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = l->bank_flags);
	uint32_t pages = (lines + DP_PAGE_LINES - 1) / DP_PAGE_LINES;
	_cleanup_close_ int fd = -1;
	int r;

	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, MEMBERS_MAP, sizeof(uint32_t), DP_PAGE_BYTES, pages,
			    &opts);
	r = fd < 0 ? -errno : map_pages(fd, pages, ret);
	if (r < 0)
		return fail(ret_why, r, "a table of %u KiB for members cannot be made: %s",
			    pages * (DP_PAGE_BYTES / 1024), strerrordesc_np(-r));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

void sets_map_done(struct sets_map *m)
{
	if (m->lines)
		(void)munmap(m->lines, (size_t)m->count * DP_LINE_BYTES); /* ours: cannot fail */
	*m = (struct sets_map){};
}

int sets_map_filter(const struct loader *l, struct dp_filter **ret)
{
	struct dp_filter *filter = map_shared(l->set_filter, sizeof(*filter));

	if (!filter)
		return -errno;
	*ret = filter;
	return 0;
}
