/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See install.h. A bank's map only ever changes while packets read the other bank: in place when the
 * image fits, else by a new map that takes over the slot. The header line is taken away first and comes
 * back last, so a bank that a crash left half written has none.
 *
 * Lines beyond the header's count keep what an earlier, longer image left there. No reference of an
 * image leads to them, and zeroing them would cost a large image's worth of stores for nothing.
 */
#include "install.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <bpf/bpf.h>
#include <linux/membarrier.h>

#include "flows.h"
#include "footprint.h"
#include "loader_log.h"
#include "loader_pins.h"

/* A map this many times larger than the image needs is given back. */
#define SHRINK_FACTOR 8

#define BANK_MAP "bank" /* name of an inner map */

struct view {
	struct dp_line *lines;
	size_t bytes;
};

static void view_done(struct view *v)
{
	if (v->lines)
		(void)munmap(v->lines, v->bytes); /* fails only for an address that is not ours */
	v->lines = NULL;
}

/* Without a mapping lines stays NULL. */
static int view_init(struct view *v, int fd, uint32_t pages, int prot)
{
	size_t bytes = (size_t)pages * DP_PAGE_BYTES;
	void *at = mmap(NULL, bytes, prot, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		return -errno;
	*v = (struct view){ at, bytes };
	return 0;
}

static int map_info(int fd, struct bpf_map_info *ret)
{
	uint32_t len = sizeof(*ret);

	*ret = (struct bpf_map_info){};
	return bpf_obj_get_info_by_fd(fd, ret, &len);
}

static int check_image(const struct dp_line *lines, uint32_t count, char **ret_why)
{
	const struct dp_bank_header *header = (const void *)lines;

	if (count && header->magic == DP_BANK_MAGIC && header->abi_version == DP_ABI_VERSION &&
	    header->lines == count && count <= UINT32_MAX / 2)
		return 0;
	loader_say(ret_why, "the image of %u lines has no header that says so", count);
	return -EINVAL;
}

/* Only what differs is stored: a small change of a large policy leaves its cache lines alone. */
static uint32_t write_lines(struct dp_line *to, const struct dp_line *from, uint32_t count)
{
	uint32_t changed = !!memcmp(to, from, sizeof(*to));

	__atomic_store_n(&to[0].word[0], 0, __ATOMIC_SEQ_CST);
	for (uint32_t n = 1; n < count; n++) {
		if (!memcmp(&to[n], &from[n], sizeof(*to)))
			continue;
		to[n] = from[n];
		changed++;
	}
	memcpy(&to[0].word[1], &from[0].word[1], sizeof(*to) - sizeof(to[0].word[0]));
	__atomic_store_n(&to[0].word[0], from[0].word[0], __ATOMIC_RELEASE);
	return changed;
}

/* Reads back through a mapping of its own, of the map that the slot of the bank really holds. */
static int verify(const struct loader *l, unsigned int bank, int fd, const struct dp_line *lines,
		  uint32_t count, char **ret_why)
{
	_cleanup_(view_done) struct view v = {};
	struct bpf_map_info info;
	uint32_t id;
	int r;

	r = map_info(fd, &info);
	if (!r)
		r = bpf_map_lookup_elem(l->banks, &bank, &id);
	if (!r && id != info.id) {
		loader_say(ret_why, "bank %u holds map %u, not map %u that was written", bank, id,
			   info.id);
		return -EIO;
	}
	if (!r)
		r = view_init(&v, fd, info.max_entries, PROT_READ);
	if (!v.lines)
		return r;
	for (uint32_t n = 0; n < count; n++) {
		if (!memcmp(&v.lines[n], &lines[n], sizeof(*lines)))
			continue;
		loader_say(ret_why,
			   "bank %u: line %u of %u reads back different from what was written",
			   bank, n, count);
		return -EIO;
	}
	return 0;
}

static int write_in_place(struct loader *l, uint32_t pages, const struct dp_line *lines,
			  uint32_t count, struct install_result *result, char **ret_why)
{
	_cleanup_(view_done) struct view v = {};
	int r = view_init(&v, l->bank[result->bank], pages, PROT_READ | PROT_WRITE);

	if (!v.lines)
		return r;
	result->lines_changed = write_lines(v.lines, lines, count);
	r = verify(l, result->bank, l->bank[result->bank], lines, count, ret_why);
	if (r) /* nobody may take it for a bank */
		__atomic_store_n(&v.lines[0].word[0], 0, __ATOMIC_SEQ_CST);
	return r;
}

static int make_map(const struct loader *l, const struct dp_line *lines, uint32_t count,
		    int *ret_fd, char **ret_why)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = l->bank_flags);
	_cleanup_(view_done) struct view v = {};
	_cleanup_close_ int fd = -1;
	uint32_t pages = footprint_bank_pages(count);
	int r;

	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, BANK_MAP, sizeof(uint32_t), DP_PAGE_BYTES, pages,
			    &opts);
	if (fd < 0) {
		r = -errno;
		loader_say(ret_why, "cannot make a bank of %u KiB: %s",
			   pages * (DP_PAGE_BYTES / 1024), strerror(-r));
		return r;
	}
	r = view_init(&v, fd, pages, PROT_READ | PROT_WRITE);
	if (!v.lines) {
		loader_say(ret_why, "cannot map a bank of %u KiB: %s",
			   pages * (DP_PAGE_BYTES / 1024), strerror(-r));
		return r;
	}
	memcpy(v.lines, lines, (size_t)count * sizeof(*lines));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static void restore_slot(const struct loader *l, unsigned int bank)
{
	/* The bank is inactive: should this fail too, its next writer finds another id and makes a new map. */
	if (l->bank[bank] >= 0)
		(void)bpf_map_update_elem(l->banks, &bank, &l->bank[bank], BPF_ANY);
	else
		(void)bpf_map_delete_elem(l->banks, &bank);
}

/* The slot's change waits for a grace period in the kernel; the pin follows it, see open_bank(). */
static int write_new_map(struct loader *l, const struct dp_line *lines, uint32_t count,
			 struct install_result *result, char **ret_why)
{
	_cleanup_close_ int fd = -1;
	unsigned int bank = result->bank;
	char pin[16];
	int r;

	r = make_map(l, lines, count, &fd, ret_why);
	if (r)
		return r;
	r = bpf_map_update_elem(l->banks, &bank, &fd, BPF_ANY);
	if (r) {
		loader_say(ret_why, "cannot put a map into bank %u: %s", bank, strerror(-r));
		return r;
	}
	r = verify(l, bank, fd, lines, count, ret_why);
	if (!r) {
		(void)snprintf(pin, sizeof(pin), "bank-%u", bank); /* always fits */
		r = pins_replace(l->pin_dir, l->maps, pin, fd);
	}
	if (r) {
		loader_say(ret_why, "cannot pin bank %u: %s", bank, strerror(-r));
		restore_slot(l, bank);
		return r;
	}
	closep(&l->bank[bank]);
	l->bank[bank] = TAKE_FD(fd);
	result->lines_changed = count;
	result->new_map = true;
	return 0;
}

/* The first lines once more, where packets read them without a call. */
static int write_near(const struct loader *l, unsigned int bank, const struct dp_line *lines,
		      uint32_t count)
{
	size_t bytes = DP_BANKS * sizeof(struct dp_near);
	struct dp_near *near = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, l->near, 0);
	int r = 0;

	if (near == MAP_FAILED)
		return errno ? -errno : -EIO;
	count = count < DP_NEAR_LINES ? count : DP_NEAR_LINES;
	(void)write_lines(near[bank].line, lines, count);
	if (memcmp(near[bank].line, lines, (size_t)count * sizeof(*lines)) != 0) {
		__atomic_store_n(&near[bank].line[0].word[0], 0, __ATOMIC_SEQ_CST);
		r = -EIO;
	}
	(void)munmap(near, bytes);
	return r;
}

/* Entries of the bank's map when it can take the image, 0 when it cannot or should not. */
static uint32_t room_for(const struct loader *l, unsigned int bank, uint32_t count)
{
	struct bpf_map_info info;
	uint32_t id, want = footprint_bank_pages(count);

	if (l->bank[bank] < 0 || map_info(l->bank[bank], &info))
		return 0;
	if (bpf_map_lookup_elem(l->banks, &bank, &id) || id != info.id)
		return 0;
	if (info.max_entries < want || info.max_entries / SHRINK_FACTOR > want)
		return 0;
	return info.max_entries;
}

int install_write(struct loader *l, const struct dp_line *lines, uint32_t count,
		  struct install_result *ret, char **ret_why)
{
	struct install_result result = { .lines = count };
	uint32_t room;
	int r;

	*ret_why = NULL;
	loader_log_begin();
	r = check_image(lines, count, ret_why);
	if (r)
		return r;
	result.bank = !loader_active_bank(l);
	room = room_for(l, result.bank, count);
	if (room)
		r = write_in_place(l, room, lines, count, &result, ret_why);
	else
		r = write_new_map(l, lines, count, &result, ret_why);
	if (!r)
		r = write_near(l, result.bank, lines, count);
	if (r) {
		loader_say(ret_why, "bank %u: %s", result.bank, strerror(-r));
		return r;
	}
	*ret = result;
	return 0;
}

int install_active(struct loader *l, const struct dp_line *lines, uint32_t count, char **ret_why)
{
	struct install_result result = { .lines = count, .bank = loader_active_bank(l) };
	int r;

	*ret_why = NULL;
	loader_log_begin();
	r = check_image(lines, count, ret_why);
	if (!r)
		r = write_new_map(l, lines, count, &result, ret_why);
	if (!r)
		r = write_near(l, result.bank, lines, count);
	if (r) {
		loader_say(ret_why, "bank %u: %s", result.bank, strerror(-r));
		return r;
	}
	closep(&l->bank[!result.bank]); /* it is of the banks in force */
	l->uncompiled = false;
	return 0;
}

void install_flip(struct loader *l, unsigned int bank, uint32_t deadline)
{
	uint64_t active = bank & DP_ACTIVE_BANK;

	if (deadline)
		active |= DP_ACTIVE_PENDING | (uint64_t)deadline << DP_ACTIVE_DEADLINE_SHIFT;
	__atomic_store_n(&l->ctl_page->active, active, __ATOMIC_RELEASE);
}

/* A processor's clock may be a tick ahead of ours: what is that late has been undone for some packets. */
int install_confirm(struct loader *l)
{
	uint64_t active = loader_active(l);

	if (!(active & DP_ACTIVE_PENDING))
		return -ENOENT;
	if (flows_now() + 1 >= active >> DP_ACTIVE_DEADLINE_SHIFT)
		return -ETIME;
	install_flip(l, active & DP_ACTIVE_BANK, 0);
	return 0;
}

int install_nothing(struct loader *l, char **ret_why)
{
	struct dp_line lines[DP_CHAIN_LINE(1, 0)] = {};
	struct dp_bank_header *header = (struct dp_bank_header *)lines;
	struct install_result result;
	int r;

	*header = (struct dp_bank_header){
		.magic = DP_BANK_MAGIC,
		.abi_version = DP_ABI_VERSION,
		.lines = DP_CHAIN_LINE(1, 0),
		.zones = 1,
	};
	r = install_write(l, lines, header->lines, &result, ret_why);
	if (r)
		return r;
	install_flip(l, result.bank, 0);
	return install_settle();
}

/* The kernel waits for a grace period whenever a slot of a map of maps changes: any such map will do. */
static int settle_by_map(void)
{
	_cleanup_close_ int inner = -1, outer = -1;
	uint32_t key = 0;

	inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, "settle", sizeof(key), sizeof(key), 1, NULL);
	if (inner < 0)
		return -errno;
	LIBBPF_OPTS(bpf_map_create_opts, opts, .inner_map_fd = (uint32_t)inner);

	outer = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "settle", sizeof(key), sizeof(key), 1,
			       &opts);
	if (outer < 0)
		return -errno;
	return bpf_map_update_elem(outer, &key, &inner, BPF_ANY);
}

/* membarrier is refused on kernels with nohz_full CPUs and by a strict seccomp filter. */
int install_settle(void)
{
	if (!syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
		return 0;
	return settle_by_map();
}
