/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See doctor.h: one device. In this order:
 *   1. where each direction is attached, and why there
 *   2. who else is there, before us
 *   3. what a veth does with its other end
 *   4. what hardware does before a program sees a packet
 */
#include "doctor.h"

#include <string.h>

/* A NIC's page holds no more of a frame; above it a driver needs to know of fragments. */
#define ONE_PAGE_MTU 3498

static const char *const dirs[DP_DIR_COUNT] = { [DP_INGRESS] = "ingress", [DP_EGRESS] = "egress" };

static const char *hook_of(enum attach_mode mode)
{
	switch (mode) {
	case ATTACH_XDP_NATIVE:
		return "XDP, native";
	case ATTACH_XDP_GENERIC:
		return "XDP, generic";
	case ATTACH_TCX:
		return "TC, by TCX";
	case ATTACH_CLSACT:
	case ATTACH_MODE_COUNT:
		break;
	}
	return "TC, by clsact";
}

static bool is_veth(const struct doctor_dev *dev)
{
	return !strcmp(dev->dev.kind, "veth");
}

/* The device runs our program at XDP in that mode. */
static bool runs(const struct doctor_dev *dev, enum attach_mode mode)
{
	return dev->at[DP_INGRESS].attached && dev->at[DP_INGRESS].mode == mode;
}

/* Above us in the order of packets, or anywhere when we are not there. */
static const struct attach_program *before_us(const struct doctor_dev *dev, enum dp_dir dir,
					      size_t *at)
{
	while (*at < dev->programs.count) {
		const struct attach_program *p = &dev->programs.at[(*at)++];

		if (p->dir != dir)
			continue;
		if (p->ours)
			return NULL;
		return p;
	}
	return NULL;
}

static void detach_remedy(const struct doctor_dev *dev, const struct attach_program *p,
			  char remedy[static DOCTOR_REMEDY])
{
	const char *name = dev->dev.name, *dir = dirs[p->dir];

	switch (p->mode) {
	case ATTACH_XDP_NATIVE:
	case ATTACH_XDP_GENERIC:
		(void)snprintf(remedy, DOCTOR_REMEDY,
			       "stop its owner, or detach it: ip link set dev %s %s off", name,
			       p->mode == ATTACH_XDP_NATIVE ? "xdpdrv" : "xdpgeneric");
		break;
	case ATTACH_TCX:
		(void)snprintf(remedy, DOCTOR_REMEDY,
			       "stop its owner, or detach it: bpftool net detach tcx_%s dev %s",
			       dir, name);
		break;
	case ATTACH_CLSACT:
	case ATTACH_MODE_COUNT:
		(void)snprintf(remedy, DOCTOR_REMEDY,
			       "stop its owner, or remove it: tc filter del dev %s %s pref %u",
			       name, dir, p->priority);
		break;
	}
}

/* ---- 1 ------------------------------------------------------------------------------------------- */

static const struct attach_program *foreign_xdp(const struct doctor_dev *dev)
{
	for (size_t i = 0; i < dev->programs.count; i++) {
		const struct attach_program *p = &dev->programs.at[i];

		if (is_xdp(p->mode) && !p->ours)
			return p;
	}
	return NULL;
}

static void say_taken(struct json_object *rows, const struct doctor_dev *dev,
		      const struct attach_program *other, doctor_name_fn *name, void *ctx)
{
	char remedy[DOCTOR_REMEDY], who[DOCTOR_WHO] = "";

	detach_remedy(dev, other, remedy);
	doctor_say(rows,
		   &(struct doctor_finding){ DOCTOR_BROKEN, "not-attached", dev->dev.name, remedy },
		   "%s is NOT filtered: another XDP program is attached: %s", dirs[other->dir],
		   name(ctx, other->prog, who));
}

static void say_not_attached(struct json_object *rows, const struct doctor_dev *dev,
			     enum dp_dir dir)
{
	const struct doctor_place *place = &dev->at[dir];
	char remedy[DOCTOR_REMEDY] = "penstock status follows it; it is tried again when a device "
				     "changes";

	if (is_xdp(place->mode) && dev->dev.mtu > ONE_PAGE_MTU)
		(void)snprintf(
			remedy, sizeof(remedy),
			"drivers take XDP up to an MTU of some %d: lower it: ip link set dev "
			"%s mtu 1500, or write 'hook: auto'",
			ONE_PAGE_MTU, dev->dev.name);
	else if (is_xdp(place->mode))
		(void)snprintf(remedy, sizeof(remedy), "write 'hook: auto' for its zone");
	doctor_say(rows,
		   &(struct doctor_finding){ DOCTOR_BROKEN, "not-attached", dev->dev.name, remedy },
		   "%s is NOT filtered: %s", dirs[dir],
		   place->why ? place->why : "no reason given");
}

static const char *why_there(const struct doctor_dev *dev, const struct doctor_place *place)
{
	if (dev->hook == MODEL_HOOK_TC)
		return "as the policy says";
	if (is_xdp(place->mode))
		return dev->hook == MODEL_HOOK_AUTO ? "the first choice of 'hook: auto' on a NIC"
						    : "as the policy says";
	if (is_veth(dev))
		return "'hook: auto' takes it on a veth, where native XDP turns off the peer's "
		       "segmentation offload";
	return "'hook: auto' takes it on all but NICs";
}

static void judge_ingress(struct json_object *rows, const struct doctor_dev *dev,
			  const struct doctor_place *place)
{
	const char *name = dev->dev.name;

	if (place->why && !is_xdp(place->mode))
		doctor_say(rows,
			   &(struct doctor_finding){ DOCTOR_WARNING, "mode", name,
						     "update the driver or its firmware, or write "
						     "'hook: tc' to have it so" },
			   "ingress at %s, which is slower than native XDP: %s",
			   hook_of(place->mode), place->why);
	else if (place->mode == ATTACH_XDP_GENERIC)
		doctor_say(
			rows,
			&(struct doctor_finding){ DOCTOR_NOTE, "mode", name,
						  "write 'hook: auto' for its zone" },
			"ingress at XDP, generic, as the policy says: later than native XDP, and "
			"no faster than TC");
	else
		doctor_say(rows, &(struct doctor_finding){ DOCTOR_OK, "mode", name, NULL },
			   "ingress at %s: %s", hook_of(place->mode), why_there(dev, place));
}

static void judge_place(struct json_object *rows, const struct doctor_dev *dev, enum dp_dir dir,
			doctor_name_fn *name, void *ctx)
{
	const struct attach_program *other = foreign_xdp(dev);
	const struct doctor_place *place = &dev->at[dir];

	if (!place->wanted)
		return;
	if (!place->attached && other && is_xdp(place->mode))
		say_taken(rows, dev, other, name, ctx);
	else if (!place->attached)
		say_not_attached(rows, dev, dir);
	else if (dir == DP_INGRESS)
		judge_ingress(rows, dev, place);
	else
		doctor_say(rows, &(struct doctor_finding){ DOCTOR_OK, "mode", dev->dev.name, NULL },
			   "egress at %s: XDP has no egress", hook_of(place->mode));
}

/* ---- 2 ------------------------------------------------------------------------------------------- */

static void judge_order(struct json_object *rows, const struct doctor_dev *dev, enum dp_dir dir,
			doctor_name_fn *name, void *ctx)
{
	const struct attach_program *p;
	size_t at = 0;

	if (!dev->at[dir].attached) /* then who is there is in the reason, or nobody asked for it */
		return;
	while ((p = before_us(dev, dir, &at))) {
		char remedy[DOCTOR_REMEDY], who[DOCTOR_WHO] = "";

		detach_remedy(dev, p, remedy);
		if (!p->prog)
			(void)snprintf(who, sizeof(who), "a filter '%s' of priority %u", p->kind,
				       p->priority);
		doctor_say(rows,
			   &(struct doctor_finding){ DOCTOR_WARNING, "in-front", dev->dev.name,
						     remedy },
			   "%s at %s comes first at %s: what it drops or takes away is neither "
			   "judged nor counted",
			   p->prog ? name(ctx, p->prog, who) : who, hook_of(p->mode), dirs[dir]);
	}
}

/* ---- 3 ------------------------------------------------------------------------------------------- */

static void judge_unseen_peer(struct json_object *rows, const struct doctor_dev *dev)
{
	if (is_xdp(dev->at[DP_INGRESS].mode) && dev->at[DP_INGRESS].attached)
		doctor_say(
			rows,
			&(struct doctor_finding){
				DOCTOR_NOTE, "veth-peer", dev->dev.name,
				"there: ethtool -k PEER shows its offloads, ip -d link its MTU" },
			"its other end is in another network namespace and cannot be looked at: "
			"native XDP turns off its segmentation offload, its packets may come "
			"with partial checksums, and what XDP sends back arrives only where it "
			"has a program at XDP or GRO");
}

static void judge_peer_xdp(struct json_object *rows, const struct doctor_dev *dev)
{
	const char *peer = dev->peer.name;
	char remedy[DOCTOR_REMEDY];

	if (runs(dev, ATTACH_XDP_NATIVE) && !dev->peer_offloads.tso)
		doctor_say(rows,
			   &(struct doctor_finding){ DOCTOR_WARNING, "veth-segmentation",
						     dev->dev.name,
						     "write 'hook: tc' for its zone" },
			   "native XDP here turns off segmentation offload of %s, its other end: "
			   "TCP from there is cut into segments one by one",
			   peer);
	if (runs(dev, ATTACH_XDP_NATIVE) && !dev->peer_xdp && !dev->peer_offloads.gro) {
		(void)snprintf(remedy, sizeof(remedy), "ethtool -K %s gro on", peer);
		doctor_say(
			rows,
			&(struct doctor_finding){ DOCTOR_NOTE, "veth-peer", dev->dev.name, remedy },
			"%s, its other end, has neither a program at XDP nor GRO: what a program "
			"sends back here at XDP is lost on the way",
			peer);
	}
	if (dev->peer_offloads.tx_checksum) {
		(void)snprintf(remedy, sizeof(remedy), "ethtool -K %s tx off", peer);
		doctor_say(rows,
			   &(struct doctor_finding){ DOCTOR_NOTE, "partial-checksums",
						     dev->dev.name, remedy },
			   "%s, its other end, leaves checksums to hardware that is not there: at "
			   "XDP they are wrong, which penstock does not mind, but whoever "
			   "rewrites or forwards such packets there does",
			   peer);
	}
}

static void judge_peer(struct json_object *rows, const struct doctor_dev *dev)
{
	char remedy[DOCTOR_REMEDY];

	if (dev->dev.peer_elsewhere)
		judge_unseen_peer(rows, dev);
	if (!dev->peer.ifindex)
		return;
	if (runs(dev, ATTACH_XDP_NATIVE) || runs(dev, ATTACH_XDP_GENERIC))
		judge_peer_xdp(rows, dev);
	if (dev->peer.mtu == dev->dev.mtu)
		return;
	(void)snprintf(remedy, sizeof(remedy), "ip link set dev %s mtu %u", dev->peer.name,
		       dev->dev.mtu);
	doctor_say(rows, &(struct doctor_finding){ DOCTOR_WARNING, "mtu", dev->dev.name, remedy },
		   "its MTU is %u, that of %s, its other end, %u: larger packets are lost between "
		   "them without a word",
		   dev->dev.mtu, dev->peer.name, dev->peer.mtu);
}

/* ---- 4 ------------------------------------------------------------------------------------------- */

static void judge_hardware(struct json_object *rows, const struct doctor_dev *dev)
{
	char remedy[DOCTOR_REMEDY];

	if (!runs(dev, ATTACH_XDP_NATIVE) || (!dev->offloads.lro && !dev->offloads.gro_hw))
		return;
	(void)snprintf(remedy, sizeof(remedy), "ethtool -K %s lro off rx-gro-hw off",
		       dev->dev.name);
	doctor_say(rows,
		   &(struct doctor_finding){ DOCTOR_WARNING, "receive-offload", dev->dev.name,
					     remedy },
		   "the hardware puts packets together (%s) before XDP sees them: they are counted "
		   "as one, larger than the MTU",
		   dev->offloads.lro ? "LRO" : "rx-gro-hw");
}

static void judge_link(struct json_object *rows, const struct doctor_dev *dev)
{
	char remedy[DOCTOR_REMEDY];

	if (dev->dev.up)
		return;
	(void)snprintf(remedy, sizeof(remedy), "ip link set dev %s up", dev->dev.name);
	doctor_say(rows, &(struct doctor_finding){ DOCTOR_NOTE, "down", dev->dev.name, remedy },
		   "it is down: no packet comes or goes");
}

void doctor_judge_dev(struct json_object *rows, const struct doctor_dev *dev, doctor_name_fn *name,
		      void *ctx)
{
	for (int dir = 0; dir < DP_DIR_COUNT; dir++)
		judge_place(rows, dev, (enum dp_dir)dir, name, ctx);
	for (int dir = 0; dir < DP_DIR_COUNT; dir++)
		judge_order(rows, dev, (enum dp_dir)dir, name, ctx);
	if (is_veth(dev))
		judge_peer(rows, dev);
	judge_hardware(rows, dev);
	judge_link(rows, dev);
}
