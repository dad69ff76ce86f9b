/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs and maps of one instance: loads the embedded object or adopts what is pinned. The only
 * module, with explain, that knows the skeleton.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi.h"
#include "cleanup.h"

enum loader_prog {
	LOADER_XDP_INGRESS,
	LOADER_TC_INGRESS,
	LOADER_TC_EGRESS,
	LOADER_PROG_COUNT,
};

enum loader_start {
	LOADER_FRESH,   /* nothing was pinned */
	LOADER_ADOPTED, /* same build: the pinned programs and maps are used as they are */
	LOADER_UPGRADED, /* same layout, another build: maps kept, new programs; links are to be updated */
	LOADER_MIGRATED, /* other layouts: some maps are new, too; nothing is in force before loader_commit() */
};

/* Maps of counters. What was counted in maps of another layout stands beside them. */
enum loader_counters {
	LOADER_COUNTERS_RULES,
	LOADER_COUNTERS_CHAINS,
	LOADER_COUNTERS_STATE,
	LOADER_COUNTERS_COUNT,
};
extern const char *const loader_counters_names[LOADER_COUNTERS_COUNT];
extern const char *const loader_carried_pins[LOADER_COUNTERS_COUNT];

/* Inner maps whose size changes at run time. */
enum loader_inner {
	LOADER_MEMBERS,  /* of run-time sets: pages */
	LOADER_ACCOUNTS, /* groups */
	LOADER_INNERS,
};

struct loader {
	char *pin_dir;  /* /sys/fs/bpf/penstock/INSTANCE, 0700; maps/, progs/ and links/ below it */
	char *pin_name; /* the same for messages: pin_dir may be PINS_BY_FD */
	int prog[LOADER_PROG_COUNT];
	int ctl, banks, near, devs, rule_counters, chain_counters, meta, layouts;
	int set_filter, set_table, flows, pending, fragments, state_counters;
	int account_table, dropped, records, account_totals;
	int bank[DP_BANKS]; /* inner maps as in the slots of banks, -1 for an empty slot; pinned too,
				  * because opening a map by its id takes more than CAP_BPF */
	int inner[LOADER_INNERS]; /* likewise, of the slots of other tables */
	int carried
		[LOADER_COUNTERS_COUNT]; /* arrays with the values of the maps of counters, or -1 */
	const char *maps; /* where maps are pinned: PINS_MAPS, or PINS_NEXT until loader_commit() */
	uint32_t serial;  /* of the maps, see struct dp_meta */
	bool uncompiled;  /* the banks are new and empty; `bank` is of those that are in force */
	char *changes;    /* of a migration: what became of which maps */
	uint32_t bank_flags;     /* of an inner map, from the template in the object */
	uint32_t flow_slots;     /* of flows */
	struct dp_ctl *ctl_page; /* mapped */
	enum loader_start start;
};

/* Of flows: powers of two. */
#define LOADER_FLOW_SLOTS_MIN 1024u
#define LOADER_FLOW_SLOTS_MAX (16u * 1024 * 1024)

/*
 * Opens, loads or adopts, and pins. flow_slots, a power of two within the limits above, is for maps that are
 * made now: pinned ones keep their size, see l->flow_slots. Pinned maps of another ABI version, key or value size are refused
 * with -EPROTO and a sentence in *ret_why (owned by the caller) that names the map and both values;
 * nothing is changed then. Pins that a crash left half made are started over when nothing is attached,
 * and refused when something is. A verifier refusal puts the last lines of its log into *ret_why.
 */
int loader_new(struct loader **ret, const char *pin_dir, uint32_t flow_slots,
	       char **ret_why) _must_check_;
void loader_free(
	struct loader *
		*l); /* leaves pins and links alone, but for those of a migration not committed */

/*
 * After LOADER_MIGRATED: the new maps take the place of the pinned ones, which stay aside as leftovers. Programs on
 * devices go on with those until attach_reconcile().
 */
int loader_commit(struct loader *l, char **ret_why) _must_check_;

/* The word that says which bank packets read (DP_ACTIVE_*), and which bank that is at this moment. */
uint64_t loader_active(const struct loader *l);
unsigned int loader_active_bank(const struct loader *l);

/*
 * Header of a bank that holds a policy; false when the bank is empty, or was left half written. Not for
 * the inactive bank while install_write() runs.
 */
bool loader_bank_header(const struct loader *l, unsigned int bank, struct dp_bank_header *ret);

/*
 * Puts a map (flags as bank_flags) into the slot of its table, in the place of the one that was there, and pins it.
 * Waits until no packet reads the old one, which is then closed. Takes fd over when it succeeds; nothing is changed
 * when it fails.
 */
int loader_put_inner(struct loader *l, enum loader_inner which, int fd,
		     char **ret_why) _must_check_;

/* Empties the slot likewise. */
int loader_drop_inner(struct loader *l, enum loader_inner which) _must_check_;

/*
 * Pins again what has lost its pin: maps, programs, banks. Gives how many there were, or -errno and a sentence. Not while one of
 * the functions that replace pins runs, but for those of inner maps: any thread may call them at any time.
 */
int loader_repin(const struct loader *l, char **ret_why) _must_check_;

/* Digest of the embedded object, as in dp_meta. */
void loader_build(uint8_t ret[16]);

/* Bytes of kernel memory held by the maps, by bpf_map_info and fdinfo memlock. */
uint64_t loader_memory_bytes(const struct loader *l);
