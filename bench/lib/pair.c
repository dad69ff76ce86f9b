/* SPDX-License-Identifier: Apache-2.0 */
#include "pair.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

extern char **environ;

int pair_run(const char *const argv[])
{
	int r, status;
	pid_t pid;

	r = posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)argv, environ);
	if (r)
		return -r;
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}

int pair_enter_namespace(void)
{
	_cleanup_fclose_ FILE *f = NULL;

	if (unshare(CLONE_NEWNET))
		return -errno;
	/* Neighbour discovery of the pairs would count as frames. */
	f = fopen("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w");
	if (f && (fputs("1\n", f) < 0 || fflush(f)))
		return -EIO;
	return 0;
}

static int poll_without_xdp(const char *name)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ethtool_value on = { .cmd = ETHTOOL_SGRO, .data = 1 };
	struct ifreq request = { .ifr_data = (void *)&on };

	if (fd < 0)
		return -errno;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	return ioctl(fd, SIOCETHTOOL, &request) ? -errno : 0;
}

int pair_new(struct pair *pair)
{
	const char *const add[] = { "ip",   "link", "add",  "name",  PAIR_TX,   "type",
				    "veth", "peer", "name", PAIR_RX, "address", "02:00:00:00:00:02",
				    NULL };
	const char *const tx_up[] = { "ip", "link", "set", PAIR_TX, "up", NULL };
	const char *const rx_up[] = { "ip", "link", "set", PAIR_RX, "up", NULL };
	int r = pair_run(add) ?: pair_run(tx_up) ?: pair_run(rx_up);

	if (r)
		return r < 0 ? r : -EIO;
	pair->tx = if_nametoindex(PAIR_TX);
	pair->rx = if_nametoindex(PAIR_RX);
	return poll_without_xdp(PAIR_RX);
}

uint64_t pair_received(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/thread-self/net/dev", "r");
	char line[512], name[32];
	unsigned long long bytes, packets;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " %31[^:]: %llu %llu", name, &bytes, &packets) == 3 &&
		    !strcmp(name, PAIR_RX))
			return packets;
	return 0;
}
