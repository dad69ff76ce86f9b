/* SPDX-License-Identifier: Apache-2.0 */
/* See netif_offloads.h. Features have names, whose numbers differ from kernel to kernel. */
#include "netif_offloads.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>

#define FEATURES_MAX 256 /* kernels have some 60 */

struct strings {
	struct ethtool_gstrings head;
	char at[FEATURES_MAX][ETH_GSTRING_LEN];
};

struct features {
	struct ethtool_gfeatures head;
	struct ethtool_get_features_block at[FEATURES_MAX / 32];
};

static const struct {
	const char *name;
	size_t offset;
} wanted[] = {
	{ "tx-checksum-ipv4", offsetof(struct netif_offloads, tx_checksum) },
	{ "tx-checksum-ip-generic", offsetof(struct netif_offloads, tx_checksum) },
	{ "tx-checksum-ipv6", offsetof(struct netif_offloads, tx_checksum) },
	{ "tx-tcp-segmentation", offsetof(struct netif_offloads, tso) },
	{ "rx-gro", offsetof(struct netif_offloads, gro) },
	{ "rx-lro", offsetof(struct netif_offloads, lro) },
	{ "rx-gro-hw", offsetof(struct netif_offloads, gro_hw) },
};

static int ask(int socket, const char *dev, void *command)
{
	struct ifreq request = { .ifr_data = command };

	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", dev); /* it is a name */
	return ioctl(socket, SIOCETHTOOL, &request) < 0 ? -errno : 0;
}

static int count_features(int socket, const char *dev, uint32_t *ret)
{
	struct {
		struct ethtool_sset_info head;
		uint32_t count;
	} info = { .head = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ull << ETH_SS_FEATURES } };
	int r = ask(socket, dev, &info);

	if (!r && (!info.head.sset_mask || info.count > FEATURES_MAX))
		r = -EOPNOTSUPP;
	*ret = info.count;
	return r;
}

static void note(const struct strings *names, const struct features *features, uint32_t number,
		 struct netif_offloads *ret)
{
	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		if (!strncmp(names->at[number], wanted[i].name, ETH_GSTRING_LEN) &&
		    features->at[number / 32].active & 1u << number % 32)
			*(bool *)((char *)ret + wanted[i].offset) = true;
	}
}

int netif_offloads(const char *dev, struct netif_offloads *ret)
{
	struct strings names = { .head = { .cmd = ETHTOOL_GSTRINGS,
					   .string_set = ETH_SS_FEATURES } };
	struct features features = { .head = { .cmd = ETHTOOL_GFEATURES } };
	_cleanup_close_ int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint32_t count = 0;
	int r = s < 0 ? -errno : count_features(s, dev, &count);

	*ret = (struct netif_offloads){};
	names.head.len = count;
	features.head.size = (count + 31) / 32;
	if (!r)
		r = ask(s, dev, &names);
	if (!r)
		r = ask(s, dev, &features);
	for (uint32_t i = 0; !r && i < count; i++)
		note(&names, &features, i, ret);
	return r;
}
