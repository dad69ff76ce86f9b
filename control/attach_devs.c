/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See attach_devs.h. The kernel copies an entry without a lock. Changing a zone changes one byte, so a
 * packet meets the old or the new zone. A slot is filled before its device has our program and freed
 * after, so a half-copied interface number meets no packet of that device.
 */
#include "attach_devs.h"

#include <errno.h>

#include <bpf/bpf.h>

#include "attach.h"

int devs_init(struct attach_devs *d, int map)
{
	_cleanup_free_ uint32_t *keys = calloc(DP_DEV_SLOTS, sizeof(*keys));
	uint32_t count = DP_DEV_SLOTS, end;
	int r;

	if (!keys)
		return -ENOMEM;
	d->map = map;
	r = bpf_map_lookup_batch(map, NULL, &end, keys, d->at, &count, NULL);
	if (r && r != -ENOENT) /* the end of the map is no failure */
		return r;
	return count == DP_DEV_SLOTS ? 0 : -EIO;
}

static uint32_t slot_of(uint32_t ifindex, uint32_t probe)
{
	return (ifindex + probe) % DP_DEV_SLOTS;
}

/* The slot of this interface number; with 0 for `whose` a free one. DP_DEV_SLOTS: there is none. */
static uint32_t find(const struct attach_devs *d, uint32_t ifindex, uint32_t whose)
{
	for (uint32_t probe = 0; probe < DP_DEV_PROBES; probe++) {
		uint32_t slot = slot_of(ifindex, probe);

		if (d->at[slot].ifindex == whose)
			return slot;
	}
	return DP_DEV_SLOTS;
}

static int write_slot(struct attach_devs *d, uint32_t slot, struct dp_dev dev)
{
	int r = bpf_map_update_elem(d->map, &slot, &dev, BPF_EXIST);

	if (!r)
		d->at[slot] = dev;
	return r;
}

static bool is_raw(const struct attach_want *want)
{
	return want->dev.link == NETIF_RAW;
}

static int add(struct attach_devs *d, const struct attach_want *want, unsigned int bank)
{
	struct dp_dev dev = { .ifindex = want->dev.ifindex,
			      .raw = is_raw(want),
			      .ingress = want->ingress };
	uint32_t slot = find(d, dev.ifindex, 0);

	if (slot == DP_DEV_SLOTS)
		return -ENOSPC;
	dev.zone[bank] = want->zone;
	return write_slot(d, slot, dev);
}

static int set_zone(struct attach_devs *d, uint32_t slot, unsigned int bank, uint8_t zone)
{
	struct dp_dev dev = d->at[slot];

	if (dev.zone[bank] == zone)
		return 0;
	dev.zone[bank] = zone;
	return write_slot(d, slot, dev);
}

/* Whatever an earlier policy or build, or another kind of device with this number, has left. */
static int set_kind(struct attach_devs *d, uint32_t slot, const struct attach_want *want)
{
	struct dp_dev dev = d->at[slot];

	if (dev.raw == is_raw(want) && dev.ingress == want->ingress)
		return 0;
	dev.raw = is_raw(want);
	dev.ingress = want->ingress;
	return write_slot(d, slot, dev);
}

int devs_ensure(struct attach_devs *d, const struct attach_want *want, unsigned int bank)
{
	uint32_t ifindex = want->dev.ifindex, slot = find(d, ifindex, ifindex);

	return slot == DP_DEV_SLOTS ? add(d, want, bank) : set_kind(d, slot, want);
}

int devs_set(struct attach_devs *d, const struct attach_want *want, unsigned int bank)
{
	uint32_t ifindex = want->dev.ifindex, slot = find(d, ifindex, ifindex);

	if (slot == DP_DEV_SLOTS)
		return add(d, want, bank);
	return set_zone(d, slot, bank, want->zone);
}

int devs_clear_if(struct attach_devs *d, bool (*gone)(void *ctx, uint32_t ifindex), void *ctx)
{
	int r = 0;

	for (uint32_t slot = 0; slot < DP_DEV_SLOTS; slot++) {
		if (!d->at[slot].ifindex || !gone(ctx, d->at[slot].ifindex))
			continue;
		r = write_slot(d, slot, (struct dp_dev){});
		if (r)
			break;
	}
	return r;
}

int devs_unzone_if(struct attach_devs *d, unsigned int bank,
		   bool (*gone)(void *ctx, uint32_t ifindex), void *ctx)
{
	int r = 0;

	for (uint32_t slot = 0; !r && slot < DP_DEV_SLOTS; slot++) {
		if (d->at[slot].ifindex && gone(ctx, d->at[slot].ifindex))
			r = set_zone(d, slot, bank, 0);
	}
	return r;
}
