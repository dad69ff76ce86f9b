/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The facts that doctor.h judges. What the daemon knows is copied on the loop; what the kernel must be asked for,
 * which may wait behind others, on the worker.
 */
#pragma once

#include "doctor.h"

struct daemon;

struct doctor_facts {
	struct doctor_devs devs;   /* that are wanted or attached */
	struct netif_devs present; /* all there are */
	const struct loader *loader;
	const char *pin_dir;
	int pins; /* 0: they are where the next start looks; -errno; -EMEDIUMTYPE: that is no bpffs */
};

int doctor_begin(const struct daemon *d, struct doctor_facts *ret) _must_check_;

/* On the worker. What cannot be found out is left as it is when nothing is there. */
void doctor_look(struct doctor_facts *facts);
void doctor_done(struct doctor_facts *facts);
