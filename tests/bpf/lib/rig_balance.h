/* SPDX-License-Identifier: Apache-2.0 */
/* What packets left in the accounts, against what the counters of chains say of the same packets. */
#pragma once

#include <bpf/libbpf.h>

#include "rig.h"

static inline uint32_t rig_per_cpu(uint32_t count)
{
	return count * (uint32_t)libbpf_num_possible_cpus();
}

/* Of the loaded programs. */
void rig_account_maps_new(struct rig *rig);
void rig_account_maps_clear(struct rig *rig);
void rig_account_maps_free(struct rig *rig);
