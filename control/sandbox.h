/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allow-lists of system calls. What is not on them fails with ENOSYS, as on a kernel that does not have it, which
 * every caller can cope with. They hold for good, for threads and children made later, and set no_new_privs.
 */
#pragma once

#include "cleanup.h"

/* program: the one path that may be executed, by this very pointer. */
int sandbox_daemon(const char *program) _must_check_;

/* Reads and writes what is open, and asks for memory. */
int sandbox_child(void) _must_check_;

/* Answers on the socket that is open, and asks the kernel about BPF programs. */
int sandbox_inspector(void) _must_check_;
