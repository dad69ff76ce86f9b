/* SPDX-License-Identifier: Apache-2.0 */
/* See accounts.h. */
#include "accounts.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "fail.h"
#include "footprint.h"
#include "install.h"
#include "loader.h"

#define GROUP_BYTES sizeof(struct dp_account_group)

static uint32_t cpu_count(void)
{
	return (uint32_t)libbpf_num_possible_cpus();
}

uint32_t accounts_groups(uint64_t flows)
{
	return footprint_account_groups(flows, cpu_count());
}

uint64_t accounts_flows(uint32_t groups)
{
	return (uint64_t)groups * DP_ACCOUNT_WAYS * cpu_count() / 2;
}

static int map_groups(int fd, struct accounts_map *ret)
{
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);
	void *at;

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	at = mmap(NULL, info.max_entries * GROUP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	*ret = (struct accounts_map){ .groups = at, .count = info.max_entries };
	ret->epoch = ret->groups[0].birth[0].epoch;
	return 0;
}

void accounts_unmap(struct accounts_map *m)
{
	if (m->groups)
		(void)munmap(m->groups, m->count * GROUP_BYTES);
	*m = (struct accounts_map){};
}

int accounts_open(const struct loader *l, struct accounts_map *ret)
{
	*ret = (struct accounts_map){};
	return l->inner[LOADER_ACCOUNTS] < 0 ? 0 : map_groups(l->inner[LOADER_ACCOUNTS], ret);
}

/* ---- another size ----------------------------------------------------------------------------------- */

/* Of no other map whose records may still be in the ring, but for one in four billions. */
static int draw_epoch(uint32_t *ret)
{
	return getrandom(ret, sizeof(*ret), 0) == sizeof(*ret) ? 0 : -EIO;
}

static int make(const struct loader *l, uint32_t groups, struct accounts_map *ret, int *ret_fd,
		char **ret_why)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = l->bank_flags);
	uint32_t count = groups * cpu_count();
	_cleanup_close_ int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "accounts", sizeof(uint32_t),
						GROUP_BYTES, count, &opts);
	int r = fd < 0 ? -errno : map_groups(fd, ret);

	if (!r)
		r = draw_epoch(&ret->epoch);
	if (r)
		return fail(ret_why, r, "a table of %zu MiB for flows cannot be made: %s",
			    count * GROUP_BYTES >> 20, strerrordesc_np(-r));
	for (uint32_t g = 0; g < count; g++)
		for (unsigned int way = 0; way < DP_ACCOUNT_WAYS; way++)
			ret->groups[g].birth[way].epoch = ret->epoch;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static void look_at(struct loader *l, uint32_t groups)
{
	l->ctl_page->account_cpus = cpu_count();
	__atomic_store_n(&l->ctl_page->account_groups, groups, __ATOMIC_RELEASE);
}

static int stop(struct loader *l)
{
	uint32_t groups = l->ctl_page->account_groups;
	int r;

	look_at(l, 0);
	r = install_settle();
	if (!r)
		r = loader_drop_inner(l, LOADER_ACCOUNTS);
	if (r < 0)
		look_at(l, groups);
	return r;
}

int accounts_resize(struct loader *l, uint32_t groups, struct accounts_map *map,
		    struct accounts_map *ret_before, char **ret_why)
{
	uint32_t before = l->ctl_page->account_groups;
	struct accounts_map made = {};
	int fd = -1, r;

	*ret_before = (struct accounts_map){};
	if (!groups) {
		r = stop(l);
	} else {
		r = make(l, groups, &made, &fd, ret_why);
		if (!r && groups < before) { /* packets keep within what both have */
			look_at(l, groups);
			r = install_settle();
		}
		if (!r)
			r = loader_put_inner(l, LOADER_ACCOUNTS, fd, ret_why);
		if (!r) {
			fd = -1;
			look_at(l, groups);
		} else {
			look_at(l, before);
		}
	}
	closep(&fd);
	if (r < 0) {
		accounts_unmap(&made);
		if (!*ret_why)
			return fail(ret_why, r, "the table of flows cannot be changed: %s",
				    strerrordesc_np(-r));
		return r;
	}
	*ret_before = *map;
	*map = made;
	return 0;
}

/* ---- what is read ------------------------------------------------------------------------------------- */

int accounts_totals(const struct loader *l, struct dp_account_totals *ret)
{
	_cleanup_free_ struct dp_account_totals *all = calloc(cpu_count(), sizeof(*all));
	uint64_t *sum = (uint64_t *)ret, *words = (uint64_t *)all;
	uint32_t key = 0;

	if (!all)
		return -ENOMEM;
	if (bpf_map_lookup_elem(l->account_totals, &key, all))
		return -errno;
	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < cpu_count() * sizeof(*all) / sizeof(*words); i++)
		sum[i % (sizeof(*all) / sizeof(*words))] += words[i];
	return 0;
}

const struct dp_account *accounts_map_dropped(const struct loader *l, uint32_t *ret_count)
{
	size_t bytes = (size_t)cpu_count() * DP_DROPPED_SLOTS * sizeof(struct dp_account);
	void *at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, l->dropped, 0);

	*ret_count = cpu_count() * DP_DROPPED_SLOTS;
	return at == MAP_FAILED ? NULL : at;
}

struct accounts_ring {
	struct ring_buffer *ring;
	bool (*on_record)(void *ctx, const struct dp_record *r);
	void *ctx;
};

/* Stopping counts the record as read. */
static int on_sample(void *ctx, void *data, size_t len)
{
	struct accounts_ring *ring = ctx;

	if (len < sizeof(struct dp_record))
		return 0;
	return ring->on_record(ring->ctx, data) ? 0 : -EAGAIN;
}

int accounts_ring_new(struct accounts_ring **ret, const struct loader *l,
		      bool (*on_record)(void *ctx, const struct dp_record *r), void *ctx)
{
	struct accounts_ring *ring = calloc(1, sizeof(*ring));
	int r;

	if (!ring)
		return -ENOMEM;
	*ring = (struct accounts_ring){ .on_record = on_record, .ctx = ctx };
	ring->ring = ring_buffer__new(l->records, on_sample, ring, NULL);
	if (!ring->ring) {
		r = -errno;
		free(ring);
		return r;
	}
	*ret = ring;
	return 0;
}

void accounts_ring_free(struct accounts_ring **at)
{
	if (!*at)
		return;
	ring_buffer__free((*at)->ring);
	free(*at);
	*at = NULL;
}

int accounts_ring_read(struct accounts_ring *ring)
{
	int r = ring_buffer__consume(ring->ring);

	return r < 0 && r != -EAGAIN ? r : 0;
}
