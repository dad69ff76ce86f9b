/* SPDX-License-Identifier: Apache-2.0 */
/* What a device takes off the kernel's hands, as ethtool shows it. */
#pragma once

#include <stdbool.h>

#include "cleanup.h"

struct netif_offloads {
	bool tx_checksum; /* packets leave it without a checksum: hardware, or nobody, adds one */
	bool tso;         /* likewise segments of TCP, larger than the MTU */
	bool gro;         /* what comes in is put together */
	bool lro, gro_hw; /* likewise, by the hardware, before a program sees it */
};

/* -errno of the first question that failed; what cannot be asked of this kind of device is off. */
int netif_offloads(const char *dev, struct netif_offloads *ret);
