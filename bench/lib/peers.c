/* SPDX-License-Identifier: Apache-2.0 */
#include "peers.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include <json-c/json.h>

#include "pair.h"

/* Of xdp-filter's map values and sections; they have been the same since its first release. */
#define XDPFILT_BY_SOURCE 0x1u
#define XDPFILT_BY_DPORT  0x2u
#define XDPFILT_BY_UDP    0x8u
#define BENCH_PORT        53

static const char *const objects[] = {
	[XDP_FILTER_DENY] = "xdpfilt_alw_ip.o",
	[XDP_FILTER_ALLOW] = "xdpfilt_dny_ip.o",
	[XDP_FILTER_PORT] = "xdpfilt_alw_udp.o",
};

static struct bpf_object *open_object(enum xdp_filter_mode mode)
{
	struct utsname host;
	char path[256];

	(void)uname(&host); /* fails for a bad pointer alone */
	snprintf(path, sizeof(path), "/usr/lib/%s-linux-gnu/bpf/%s", host.machine, objects[mode]);
	return bpf_object__open_file(path, NULL);
}

static int fill(int map, uint64_t value, const struct headers *members)
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ uint64_t *values = calloc((size_t)cpus, sizeof(*values));

	if (!values)
		return -ENOMEM;
	for (int c = 0; c < cpus; c++)
		values[c] = value;
	for (uint32_t i = 0; i < members->count; i++)
		if (bpf_map_update_elem(map, &members->at[i].src, values, 0))
			return -errno;
	return 0;
}

static int fill_port(int map)
{
	uint32_t key = htons(BENCH_PORT);
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ uint64_t *values = calloc((size_t)cpus, sizeof(*values));

	if (!values)
		return -ENOMEM;
	for (int c = 0; c < cpus; c++)
		values[c] = XDPFILT_BY_DPORT | XDPFILT_BY_UDP;
	return bpf_map_update_elem(map, &key, values, 0) ? -errno : 0;
}

int xdp_filter_new(struct xdp_filter *x, enum xdp_filter_mode mode, const struct headers *members)
{
	struct bpf_object *object = open_object(mode);
	struct bpf_map *map, *addresses;
	int r;

	if (!object)
		return -ENOENT;
	x->object = object;
	bpf_object__for_each_map(map, object)(void)
		bpf_map__set_pin_path(map, NULL); /* the real one's pins are not ours */
	addresses = bpf_object__find_map_by_name(object, "filter_ipv4");
	if (addresses && members)
		(void)bpf_map__set_max_entries(addresses, members->count); /* not loaded yet */
	r = bpf_object__load(object);
	if (r)
		return r;
	x->prog = bpf_program__fd(bpf_object__next_program(object, NULL));
	if (mode == XDP_FILTER_PORT)
		return fill_port(bpf_object__find_map_fd_by_name(object, "filter_ports"));
	return members ? fill(bpf_map__fd(addresses), XDPFILT_BY_SOURCE, members) : -EINVAL;
}

void xdp_filter_done(struct xdp_filter *x)
{
	bpf_object__close(x->object);
	*x = (struct xdp_filter){};
}

uint64_t xdp_filter_dropped(const struct xdp_filter *x)
{
	struct {
		uint64_t packets, bytes;
	} * cpu;
	int cpus = libbpf_num_possible_cpus(), map;
	uint32_t action = XDP_DROP;
	uint64_t sum = 0;

	map = bpf_object__find_map_fd_by_name(x->object, "xdp_stats_map");
	cpu = calloc((size_t)cpus, sizeof(*cpu));
	if (cpu && !bpf_map_lookup_elem(map, &action, cpu))
		for (int c = 0; c < cpus; c++)
			sum += cpu[c].packets;
	free(cpu);
	return sum;
}

static int command_run(struct json_object *words)
{
	size_t count = json_object_array_length(words);
	_cleanup_free_ const char **argv = calloc(count + 1, sizeof(*argv));

	if (!argv)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		argv[i] = json_object_get_string(json_object_array_get_idx(words, i));
	return count ? pair_run(argv) : -EINVAL;
}

int commands_run(struct json_object *commands)
{
	size_t count = commands ? json_object_array_length(commands) : 0;
	int r = 0;

	for (size_t i = 0; i < count && !r; i++)
		r = command_run(json_object_array_get_idx(commands, i));
	return r;
}
