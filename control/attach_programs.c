/* SPDX-License-Identifier: Apache-2.0 */
/* See attach_programs.h. At ingress XDP comes first, then TCX, then clsact; at egress TCX, then clsact. */
#include "attach_programs.h"

#include <errno.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "loader_log.h"

uint32_t attach_prog_id(int fd)
{
	struct bpf_prog_info info = {};
	uint32_t len = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &len) ? 0 : info.id;
}

uint32_t attach_tcx_programs(uint32_t ifindex, enum dp_dir dir,
			     uint32_t ret[static ATTACH_TCX_SEEN])
{
	uint32_t count = ATTACH_TCX_SEEN;
	int r = bpf_prog_query((int)ifindex, (enum bpf_attach_type)attach_tcx_type(dir), 0, NULL,
			       ret, &count);

	if (r && r != -ENOSPC) /* ENOSPC: the first ones are there, and count is that of all */
		return 0;
	return count < ATTACH_TCX_SEEN ? count : ATTACH_TCX_SEEN;
}

static bool is_ours(const struct loader *l, uint32_t prog)
{
	for (int i = 0; prog && i < LOADER_PROG_COUNT; i++) {
		if (attach_prog_id(l->prog[i]) == prog)
			return true;
	}
	return false;
}

/* Offloaded to the NIC counts as native: it comes first, and keeps others from there. */
static int add_xdp(const struct loader *l, const struct netif_xdp *xdp, struct attach_programs *ret)
{
	const struct attach_program all[] = {
		{ .mode = ATTACH_XDP_NATIVE, .prog = xdp->offload },
		{ .mode = ATTACH_XDP_NATIVE, .prog = xdp->native },
		{ .mode = ATTACH_XDP_GENERIC, .prog = xdp->generic },
	};
	int r = 0;

	for (size_t i = 0; !r && i < sizeof(all) / sizeof(*all); i++) {
		struct attach_program program = all[i];

		program.ours = is_ours(l, program.prog);
		if (program.prog)
			r = vec_push(ret, program);
	}
	return r;
}

static int add_tcx(const struct loader *l, uint32_t ifindex, enum dp_dir dir,
		   struct attach_programs *ret)
{
	uint32_t seen[ATTACH_TCX_SEEN], count = attach_tcx_programs(ifindex, dir, seen);
	int r = 0;

	for (uint32_t i = 0; !r && i < count; i++)
		r = vec_push(ret, (struct attach_program){ .dir = dir,
							   .mode = ATTACH_TCX,
							   .prog = seen[i],
							   .ours = is_ours(l, seen[i]) });
	return r;
}

static int add_clsact(const struct loader *l, uint32_t ifindex, enum dp_dir dir,
		      struct attach_programs *ret)
{
	struct netif_filters filters = {};
	int r = netif_list_filters(ifindex, dir == DP_INGRESS, &filters);

	if (r != -ENOMEM)
		r = 0; /* a device without the qdisc, or one that just went */
	for (size_t i = 0; !r && i < filters.count; i++) {
		const struct netif_filter *f = &filters.at[i];
		struct attach_program program = { .dir = dir,
						  .mode = ATTACH_CLSACT,
						  .prog = f->prog,
						  .priority = f->priority,
						  .ours = is_ours(l, f->prog) };

		(void)snprintf(program.kind, sizeof(program.kind), "%s", f->kind); /* as long */
		r = vec_push(ret, program);
	}
	vec_done(&filters);
	return r;
}

int attach_list_programs(const struct loader *l, const struct netif_xdps *xdps, uint32_t ifindex,
			 struct attach_programs *ret)
{
	int r = 0;

	loader_log_begin();
	for (size_t i = 0; !r && i < xdps->count; i++) {
		if (xdps->at[i].ifindex == ifindex)
			r = add_xdp(l, &xdps->at[i], ret);
	}
	for (int dir = 0; !r && dir < DP_DIR_COUNT; dir++) {
		r = add_tcx(l, ifindex, (enum dp_dir)dir, ret);
		if (!r)
			r = add_clsact(l, ifindex, (enum dp_dir)dir, ret);
	}
	return r;
}
