/* SPDX-License-Identifier: Apache-2.0 */
/* See flows_import.h. */
#include "flows_import.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "conntrack.h"
#include "flows.h"
#include "loader.h"
#include "log.h"

struct import {
	struct flows flows;
	uint32_t now;
	struct flows_import *result;
};

static void import_one(void *ctx, const struct flows_entry *e)
{
	const struct import *all = ctx;

	switch (flows_put(&all->flows, e, all->now)) {
	case FLOWS_PUT_NEW:
		all->result->put++;
		return;
	case FLOWS_PUT_FULL:
		all->result->full++;
		return;
	case FLOWS_PUT_KNOWN:
	case FLOWS_PUT_COUNT:
		return;
	}
}

static int import_all(struct flows_import *i, const struct loader *l)
{
	size_t bytes = (size_t)l->flow_slots * sizeof(struct dp_flow);
	struct import all = { .flows = { .slots = l->flow_slots,
					 .hash_key = l->ctl_page->hash_key },
			      .now = flows_now(),
			      .result = i };
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, l->flows, 0);
	int r;

	if (at == MAP_FAILED)
		return -errno;
	all.flows.at = at;
	r = conntrack_each(import_one, &all);
	if (i->put) /* packets look from now on */
		__atomic_store_n(&l->ctl_page->has_flows, 1, __ATOMIC_RELEASE);
	(void)munmap(at, bytes); /* fails only for an address that is not ours */
	return r;
}

void flows_import(struct flows_import *i, const struct loader *l)
{
	int r;

	if (!conntrack_count())
		return;
	r = import_all(i, l);
	if (r < 0) {
		log_warning("flows: the kernel's connection tracking cannot be read: %s; for %u s "
			    "packets in mid-stream may make a flow",
			    strerrordesc_np(-r), FLOWS_ADOPT_SECONDS);
		return;
	}
	i->tracked = true;
	if (i->full)
		log_warning("flows: %" PRIu64
			    " tracked connections found no room among %u slots; they "
			    "must begin anew, see --flow-slots",
			    i->full, l->flow_slots);
}

uint32_t flows_adopt(const struct loader *l, uint32_t until)
{
	return __atomic_exchange_n(&l->ctl_page->adopt_until, until, __ATOMIC_RELAXED);
}
