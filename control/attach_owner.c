/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See attach_owner.h. A program's name is told by its number to penstock-inspect alone, and by its pin to whoever may
 * open that. libxdp pins what its dispatcher runs below LIBXDP_PINS, in a directory for each device and dispatcher.
 */
#include "attach_owner.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "cleanup.h"
#include "inspect.h"
#include "loader_log.h"
#include "netif.h"

#define LIBXDP_PINS         "/sys/fs/bpf/xdp"
#define LIBXDP_PROGRAMS_MAX 10
#define PATH_BYTES          96
#define NAMES_BYTES         256

#define BESIDE "'hook: tc' or 'hook: auto' filters what it passes"

static const char *prog_name(int fd, struct bpf_prog_info *info)
{
	uint32_t len = sizeof(*info);

	*info = (struct bpf_prog_info){};
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, info, &len) || !info->name[0])
		return "its name is not visible";
	return info->name;
}

/* Names of what the dispatcher runs, in order: how many. */
static unsigned int dispatched(const char *pins, char ret_names[NAMES_BYTES])
{
	size_t used = 0;
	unsigned int n;

	ret_names[0] = 0;
	for (n = 0; n < LIBXDP_PROGRAMS_MAX; n++) {
		char path[PATH_BYTES];
		struct bpf_prog_info info;
		_cleanup_close_ int fd = -1;

		(void)snprintf(path, sizeof(path), "%s/prog%u-prog", pins, n); /* always fits */
		if (access(path, F_OK))
			break;
		fd = bpf_obj_get(path);
		used += (size_t)snprintf(ret_names + used, NAMES_BYTES - used, "%s%s",
					 n ? ", " : "", prog_name(fd, &info));
		if (used >= NAMES_BYTES)
			used = NAMES_BYTES - 1; /* the last name is cut */
	}
	return n;
}

static void say_program(struct inspect *inspect, uint32_t ifindex, uint32_t id, char **ret_why)
{
	char pins[PATH_BYTES / 2], names[NAMES_BYTES], text[INSPECT_TEXT];
	struct inspect_program program;

	(void)snprintf(pins, sizeof(pins), LIBXDP_PINS "/dispatch-%u-%u", ifindex, id); /* fits */
	if (!access(pins, F_OK) && dispatched(pins, names)) {
		loader_say(ret_why,
			   "libxdp's dispatcher is attached: id %u, which runs %s; it is left "
			   "alone; " BESIDE,
			   id, names);
	} else {
		loader_say(ret_why,
			   "another XDP program is attached: id %u (%s); it is left alone; " BESIDE,
			   id,
			   inspect_text(inspect_program(inspect, id, &program), &program, text));
	}
}

void attach_owner_say(struct inspect *inspect, uint32_t ifindex, bool busy, char **ret_why)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, seen);
	char name[IF_NAMESIZE];
	uint32_t id;

	if (netif_name(ifindex, name) == -ENODEV)
		loader_say(ret_why, "there is no interface %u", ifindex);
	if (!busy || bpf_xdp_query((int)ifindex, 0, &seen))
		return;
	id = seen.drv_prog_id ?: seen.skb_prog_id ?: seen.hw_prog_id;
	if (id)
		say_program(inspect, ifindex, id, ret_why);
}
