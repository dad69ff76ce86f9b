/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One program at one place of one device: attach, update, ask, detach. Every attachment has a pin in
 * links/, named <ifindex>-<dir>-<mode>: the link itself, or for clsact, which has no links, the program
 * that our filter runs. <ifindex>-qdisc says that the clsact qdisc is of our making.
 */
#pragma once

#include "attach.h"

struct hook_at {
	uint32_t ifindex;
	enum dp_dir dir;
	enum attach_mode mode;
};

struct hook {
	struct hook_at at;
	int fd; /* owned: the link, or the program behind a filter */
};

enum hook_health {
	HOOK_CURRENT,
	HOOK_STALE, /* runs an earlier program of ours: hook_update() */
	HOOK_DEAD,  /* the device is gone, or somebody took it off: hook_forget() */
	HOOK_HEALTH_COUNT,
};

bool hook_kernel_has_tcx(void);

/*
 * Attaches and pins. -EBUSY when the place is another owner's, whose program inspect (may be NULL) names. *ret_why
 * always gets a reason.
 */
int hook_attach(const struct loader *l, struct inspect *inspect, const struct hook_at *at,
		struct hook *ret, char **ret_why) _must_check_;

enum hook_health hook_health(const struct loader *l, const struct hook *h);

/* 1 when it had lost its pin and has it again, 0 when it was there. */
int hook_repin(const struct loader *l, const struct hook *h) _must_check_;

/* Swaps the program without a gap. */
int hook_update(const struct loader *l, struct hook *h) _must_check_;

/* Takes the program off the device, and the qdisc when it is ours and empty. Closes h, also when it fails. */
int hook_detach(const struct loader *l, struct hook *h);

/* Removes the pins of what is dead. Closes h. */
void hook_forget(const struct loader *l, struct hook *h);

/* The pin says that the clsact qdisc of the device is of our making. */
bool hook_has_qdisc(const struct loader *l, uint32_t ifindex);

/* Of what is not dead: its device is of this network namespace, each of which has numbers of its own. */
bool hook_is_here(const struct hook *h);

/* The program that it runs, by number; 0 when that cannot be told. */
uint32_t hook_prog(const struct hook *h);

/* A program of this number is there; false also to who may not ask: that takes all rights. */
bool hook_prog_lives(uint32_t id);

/* Opens a pin of links/, whatever became of its hook. -ENOENT when it is none of an attachment. */
int hook_open(const struct loader *l, const char *pin, struct hook *ret) _must_check_;

/*
 * The same for what is attached here. -ENOENT when it is none of an attachment in this network namespace, or dead;
 * what a crash left of it is then removed, except for a qdisc's mark.
 */
int hook_adopt(const struct loader *l, const char *pin, struct hook *ret) _must_check_;
