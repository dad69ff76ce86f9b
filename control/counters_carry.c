/* SPDX-License-Identifier: Apache-2.0 */
/* See counters_carry.h. All fields of counters are 64 bits wide. */
#include "counters_carry.h"

#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "layouts.h"

/* How two counts of one field become one. */
enum join {
	JOIN_SUM,
	JOIN_FIRST, /* the earlier time, 0 being none */
	JOIN_LAST,
};

static const enum join rule_joins[DP_LAYOUT_FIELDS] = { JOIN_SUM, JOIN_SUM, JOIN_FIRST, JOIN_LAST };
static const enum join plain_joins[DP_LAYOUT_FIELDS] = { JOIN_SUM, JOIN_SUM };

static const struct {
	uint32_t keys;
	const enum join *joins;
} kinds[LOADER_COUNTERS_COUNT] = {
	[LOADER_COUNTERS_RULES] = { DP_RULE_BLOCKS, rule_joins },
	[LOADER_COUNTERS_CHAINS] = { DP_CHAIN_SLOTS, plain_joins },
	[LOADER_COUNTERS_STATE] = { 1, plain_joins },
};

static uint64_t joined(enum join how, uint64_t a, uint64_t b)
{
	switch (how) {
	case JOIN_SUM:
		return a + b;
	case JOIN_FIRST:
		return a && (!b || a < b) ? a : b;
	case JOIN_LAST:
		break;
	}
	return a > b ? a : b;
}

/* Adds one value of another layout to one of ours. */
static void add_value(const enum join *joins, const struct dp_layout *own, uint8_t *to,
		      const struct dp_layout *layout, const uint8_t *from)
{
	for (uint32_t n = 0; n < own->entries * (uint32_t)DP_LAYOUT_FIELDS; n++) {
		uint32_t e = n / DP_LAYOUT_FIELDS, f = n % DP_LAYOUT_FIELDS;
		uint64_t a, b;
		uint8_t *at = to + e * own->entry_bytes + own->field[f].offset;

		if (!own->field[f].bytes || !layout->field[f].bytes)
			continue;
		memcpy(&a, at, sizeof(a));
		memcpy(&b, from + e * layout->entry_bytes + layout->field[f].offset, sizeof(b));
		a = joined(joins[f], a, b);
		memcpy(at, &a, sizeof(a));
	}
}

/* What a map holds at a key, of all CPUs, is added. values: room for it; stride: from one CPU's to the next. */
struct part {
	int fd;
	const struct dp_layout *layout;
	uint32_t cpus;
	size_t stride;
};

static int add_part(const struct part *p, const enum join *joins, const struct dp_layout *own,
		    uint32_t key, uint8_t *values, uint8_t *sum)
{
	int r = bpf_map_lookup_elem(p->fd, &key, values);

	for (uint32_t cpu = 0; !r && cpu < p->cpus; cpu++)
		add_value(joins, own, sum, p->layout, values + cpu * p->stride);
	return r;
}

/* The kernel's values begin at multiples of eight bytes. */
static size_t stride_of(const struct dp_layout *layout)
{
	return (layout->value_bytes + 7u) & ~(size_t)7;
}

int counters_carry(const struct loader *l, enum loader_counters which,
		   const struct counters_from *from, int *ret_fd)
{
	const struct dp_layout *own = layouts_find(&layouts_own, loader_counters_names[which]);
	int cpus = libbpf_num_possible_cpus();
	struct part parts[] = {
		{ from->live, from->layout, (uint32_t)cpus, stride_of(from->layout) },
		{ from->carried, from->layout, 1, 0 },
		{ l->carried[which], own, 1, 0 },
	};
	_cleanup_free_ uint8_t *values = NULL, *sum = NULL;
	_cleanup_close_ int fd = -1;
	int r = 0;

	if (cpus < 0)
		return cpus;
	values = calloc((size_t)cpus, stride_of(own) + stride_of(from->layout));
	sum = malloc(own->value_bytes);
	if (!values || !sum)
		return -ENOMEM;
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "carried", sizeof(uint32_t), own->value_bytes,
			    kinds[which].keys, NULL);
	if (fd < 0)
		return -errno;
	for (uint32_t key = 0; !r && key < kinds[which].keys; key++) {
		memset(sum, 0, own->value_bytes);
		for (size_t i = 0; !r && i < sizeof(parts) / sizeof(*parts); i++) {
			if (parts[i].fd >= 0)
				r = add_part(&parts[i], kinds[which].joins, own, key, values, sum);
		}
		if (!r)
			r = bpf_map_update_elem(fd, &key, sum, BPF_ANY);
	}
	if (!r)
		*ret_fd = TAKE_FD(fd);
	return r;
}
