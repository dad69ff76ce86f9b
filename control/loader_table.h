/* SPDX-License-Identifier: Apache-2.0 */
/* Of the loader's own files: which maps and programs there are, and how their pins are opened. */
#pragma once

#include <stddef.h>

#include "loader.h"

struct penstock;

struct loader_named {
	const char *name;
	size_t offset; /* of its descriptor in struct loader */
};

#define LOADER_MAPS 18
extern const struct loader_named loader_maps[LOADER_MAPS];
extern const struct loader_named loader_progs[LOADER_PROG_COUNT];
extern const char *const loader_bank_pins[DP_BANKS];
extern const char *const loader_inner_pins[LOADER_INNERS];

static inline int *loader_fd(struct loader *l, const struct loader_named *n)
{
	return (int *)((char *)l + n->offset);
}

static inline int loader_fd_now(const struct loader *l, const struct loader_named *n)
{
	return *(const int *)((const char *)l + n->offset);
}

/* Pins the descriptors of a table below `sub`. */
int loader_pin(struct loader *l, const char *sub, const struct loader_named *table, size_t count,
	       char **ret_why) _must_check_;

/* From the skeleton, whose descriptors go with it. */
int loader_keep_map(struct loader *l, const struct penstock *skel,
		    const struct loader_named *map) _must_check_;
int loader_keep_progs(struct loader *l, const struct penstock *skel) _must_check_;

/* Before its maps are shared or made: flows of the size that l says. */
int loader_size_flows(const struct loader *l, struct penstock *skel) _must_check_;

int loader_load(struct penstock *skel, char **ret_why) _must_check_;

/* Writes meta: complete, of this build; else with the layouts, and of no build until its programs are pinned. */
int loader_write_meta(const struct loader *l, bool complete) _must_check_;

bool loader_is_flow_slots(uint32_t slots);
struct bpf_map_info;
int loader_map_info(int fd, struct bpf_map_info *ret) _must_check_;

/* -ENODATA when they are of an unfinished first start. A meta of another size says 0 of everything. */
int loader_read_meta(int fd, struct dp_meta *ret) _must_check_;
