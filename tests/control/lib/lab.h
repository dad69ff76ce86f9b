/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A place of its own for tests of the daemon's kernel side: a process in a new network namespace and a
 * new mount namespace without bpffs. Devices and pins go with the process, however it ends.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "abi.h"
#include "attach.h"
#include "loader.h"

#define LAB_PINS       "/sys/fs/bpf/penstock/lab"
#define LAB_FLOW_SLOTS 1024

/* Group setup. Skips the whole program, and says so, where namespaces are refused. */
int lab_enter(void **state);

/* Runs a shell command; fails the test when it fails. */
void lab_run(const char *format, ...) _printf_(1, 2);

/* Starts a loader on LAB_PINS; the test fails with the reason when that is refused. */
struct loader *lab_load(void);

/* Removes every pin, and with them links: the next lab_load() is a fresh start. */
void lab_wipe(void);

/*
 * Detaches everything and empties the banks, but keeps maps and programs for the next lab_load(): a
 * load takes the verifier most of a second.
 */
void lab_reset(void);

/*
 * An image of `lines` lines (at least 32): zone 1 drops by default in both directions, zone 2 passes,
 * with chain counters 1 to 4 in the order of (zone, dir). From line 32 on lines hold `fill`.
 */
struct dp_line *lab_image(uint32_t lines, uint64_t generation, uint32_t fill);

/* Writes and activates lab_image(): what a policy that drops on zone 1 comes to. */
void lab_policy(struct loader *l);

#define LAB_CHAIN_COUNTER(zone, dir) (1 + 2 * ((zone)-1) + (dir))

/* A veth pair NAME and NAME-p, both up. */
void lab_veth(const char *name);

uint32_t lab_ifindex(const char *name);

/* The device as netif_list() would give it. */
struct netif_dev lab_dev(const char *name, const char *kind);

/* Sends `count` UDP frames into NAME-p, so that they come in at NAME; egress: out of NAME. */
void lab_send(const char *name, enum dp_dir dir, unsigned int count);

/* Waits until a chain counter's received packets have reached `packets`, at most a second; what it is. */
uint64_t lab_received(const struct loader *l, uint32_t slot, uint64_t packets);

/* The same for something that must not happen: received packets after a short while. */
uint64_t lab_received_later(const struct loader *l, uint32_t slot);
