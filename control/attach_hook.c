/* SPDX-License-Identifier: Apache-2.0 */
/* See attach_hook.h. The pin comes before the filter and goes after it, so a crash leaves no stray. */
#include "attach_hook.h"

#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>

#include "attach_owner.h"
#include "attach_programs.h"
#include "inspect.h"
#include "loader_log.h"
#include "loader_pins.h"

#define LINK_TYPE_TCX 11 /* the headers of Debian 12 are of 6.1; the number is the kernel's */

/* Ours among the filters of a clsact qdisc: "pen". */
#define FILTER_HANDLE   0x70656e
#define FILTER_PRIORITY 10

#define PIN_BYTES        40
#define LOOPBACK_IFINDEX 1

static const char *const mode_texts[ATTACH_MODE_COUNT] = {
	[ATTACH_XDP_NATIVE] = "xdp",
	[ATTACH_XDP_GENERIC] = "xdp-generic",
	[ATTACH_TCX] = "tcx",
	[ATTACH_CLSACT] = "clsact",
};

static const char *const dir_texts[DP_DIR_COUNT] = {
	[DP_INGRESS] = "ingress",
	[DP_EGRESS] = "egress",
};

static int prog_of(const struct loader *l, const struct hook_at *at)
{
	if (at->dir == DP_EGRESS)
		return l->prog[LOADER_TC_EGRESS];
	return l->prog[is_xdp(at->mode) ? LOADER_XDP_INGRESS : LOADER_TC_INGRESS];
}

bool hook_kernel_has_tcx(void)
{
	uint32_t count = 0;

	return bpf_prog_query(LOOPBACK_IFINDEX, attach_tcx_type(DP_INGRESS), 0, NULL, NULL,
			      &count) != -EINVAL;
}

/* ---- pins ---------------------------------------------------------------------------------------- */

static void pin_name(const struct hook_at *at, char ret[PIN_BYTES])
{
	(void)snprintf(ret, PIN_BYTES, "%u-%s-%s", at->ifindex, dir_texts[at->dir],
		       mode_texts[at->mode]); /* always fits */
}

static void qdisc_pin_name(uint32_t ifindex, char ret[PIN_BYTES])
{
	(void)snprintf(ret, PIN_BYTES, "%u-qdisc", ifindex); /* always fits */
}

/* Names are few: the one that would be written like this is the one that was read. */
static bool parse_pin(const char *pin, struct hook_at *ret)
{
	char same[PIN_BYTES];
	unsigned int ifindex;

	if (sscanf(pin, "%u-", &ifindex) != 1)
		return false;
	for (unsigned int i = 0; i < DP_DIR_COUNT * ATTACH_MODE_COUNT; i++) {
		*ret = (struct hook_at){ ifindex, i % DP_DIR_COUNT, i / DP_DIR_COUNT };
		pin_name(ret, same);
		if (!strcmp(pin, same))
			return true;
	}
	return false;
}

static bool is_qdisc_pin(const char *pin)
{
	size_t digits = strspn(pin, "0123456789");

	return digits && !strcmp(pin + digits, "-qdisc");
}

static int unpin(const struct loader *l, const struct hook_at *at)
{
	char pin[PIN_BYTES];

	pin_name(at, pin);
	return pins_remove(l->pin_dir, PINS_LINKS, pin);
}

/* ---- links: XDP and TCX -------------------------------------------------------------------------- */

static const char *name_of(struct inspect *inspect, uint32_t prog, char buf[static INSPECT_TEXT])
{
	struct inspect_program program;

	return inspect_text(inspect_program(inspect, prog, &program), &program, buf);
}

static void say_link_failure(struct inspect *inspect, const struct hook_at *at, int r,
			     char **ret_why)
{
	/* XDP says EINVAL of a device that went. */
	attach_owner_say(inspect, at->ifindex, is_xdp(at->mode) && (r == -EBUSY || r == -EEXIST),
			 ret_why);
	if (at->mode == ATTACH_XDP_NATIVE && (r == -EOPNOTSUPP || r == -ERANGE || r == -EINVAL))
		loader_say(ret_why, "the driver refused native XDP: %s", strerror(-r));
	loader_say(ret_why, "%s: %s", mode_texts[at->mode], strerror(-r));
}

static int link_attach(const struct loader *l, struct inspect *inspect, const struct hook_at *at,
		       int *ret_fd, char **ret_why)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts);
	_cleanup_close_ int fd = -1;
	char pin[PIN_BYTES];
	int r;

	if (is_xdp(at->mode))
		opts.flags =
			at->mode == ATTACH_XDP_NATIVE ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
	fd = bpf_link_create(prog_of(l, at), (int)at->ifindex,
			     is_xdp(at->mode) ? BPF_XDP : attach_tcx_type(at->dir), &opts);
	if (fd < 0) {
		r = -errno;
		say_link_failure(inspect, at, r, ret_why);
		return r;
	}
	pin_name(at, pin);
	r = pins_replace(l->pin_dir, PINS_LINKS, pin, fd);
	if (r) {
		loader_say(ret_why, "cannot pin the link: %s", strerror(-r));
		return r;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* A link whose device went says interface 0. TCX says its interface where XDP says its own. */
static enum hook_health link_health(const struct loader *l, const struct hook *h)
{
	struct bpf_link_info info = {};
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(h->fd, &info, &len))
		return HOOK_DEAD;
	if (info.type != (is_xdp(h->at.mode) ? BPF_LINK_TYPE_XDP : LINK_TYPE_TCX) ||
	    info.xdp.ifindex != h->at.ifindex)
		return HOOK_DEAD;
	return info.prog_id == attach_prog_id(prog_of(l, &h->at)) ? HOOK_CURRENT : HOOK_STALE;
}

/*
 * A link names its interface by number, and every network namespace has its own numbers: does the
 * device of that number here run the link's program?
 */
static bool link_is_here(const struct hook *h)
{
	uint32_t seen[ATTACH_TCX_SEEN], count, len;
	LIBBPF_OPTS(bpf_xdp_query_opts, xdp);
	struct bpf_link_info info = {};

	len = sizeof(info);
	if (bpf_obj_get_info_by_fd(h->fd, &info, &len))
		return false;
	if (is_xdp(h->at.mode))
		return !bpf_xdp_query((int)h->at.ifindex, 0, &xdp) &&
		       (xdp.drv_prog_id == info.prog_id || xdp.skb_prog_id == info.prog_id);
	count = attach_tcx_programs(h->at.ifindex, h->at.dir, seen);
	for (uint32_t i = 0; i < count; i++) {
		if (seen[i] == info.prog_id)
			return true;
	}
	return false;
}

/* ---- filters: clsact ----------------------------------------------------------------------------- */

static struct bpf_tc_hook tc_hook(const struct hook_at *at)
{
	return (struct bpf_tc_hook){
		.sz = sizeof(struct bpf_tc_hook),
		.ifindex = (int)at->ifindex,
		.attach_point = at->dir == DP_INGRESS ? BPF_TC_INGRESS : BPF_TC_EGRESS,
	};
}

static struct bpf_tc_opts tc_opts(void)
{
	return (struct bpf_tc_opts){
		.sz = sizeof(struct bpf_tc_opts),
		.handle = FILTER_HANDLE,
		.priority = FILTER_PRIORITY,
	};
}

/* Program of the filter at our handle and priority, whoever's it is; 0: there is no filter. */
static uint32_t filter_prog(const struct hook_at *at)
{
	struct bpf_tc_hook hook = tc_hook(at);
	struct bpf_tc_opts opts = tc_opts();

	return bpf_tc_query(&hook, &opts) ? 0 : opts.prog_id;
}

static int filter_put(const struct loader *l, const struct hook_at *at, uint32_t flags)
{
	struct bpf_tc_hook hook = tc_hook(at);
	struct bpf_tc_opts opts = tc_opts();

	opts.prog_fd = prog_of(l, at);
	opts.flags = flags;
	return bpf_tc_attach(&hook, &opts);
}

/* A mark without any filter of ours beside it is of a device that had this number before. */
static void drop_old_mark(const struct loader *l, uint32_t ifindex)
{
	const struct hook_at in = { ifindex, DP_INGRESS, ATTACH_CLSACT };
	const struct hook_at out = { ifindex, DP_EGRESS, ATTACH_CLSACT };
	char pin[PIN_BYTES];

	qdisc_pin_name(ifindex, pin);
	if (!filter_prog(&in) && !filter_prog(&out))
		(void)pins_remove(l->pin_dir, PINS_LINKS, pin); /* a mark alone does nothing */
}

static int make_qdisc(const struct loader *l, const struct hook_at *at, char **ret_why)
{
	struct bpf_tc_hook hook = tc_hook(at);
	char pin[PIN_BYTES];
	bool clsact = false;
	int r;

	qdisc_pin_name(at->ifindex, pin);
	r = bpf_tc_hook_create(&hook);
	if (!r) {
		r = pins_replace(l->pin_dir, PINS_LINKS, pin, prog_of(l, at));
	} else if (r == -EEXIST) {
		r = netif_has_clsact(at->ifindex, &clsact);
		if (!r &&
		    !clsact) { /* an ingress qdisc would take our egress filter for one of its own */
			loader_say(ret_why, "another ingress qdisc is in the place of clsact");
			return -EBUSY;
		}
		drop_old_mark(l, at->ifindex);
	}
	if (r)
		loader_say(ret_why, "cannot make a clsact qdisc: %s", strerror(-r));
	return r;
}

/* The qdisc goes only with the mark that we made it, and only when nobody else uses it by now. */
static void drop_qdisc(const struct loader *l, const struct hook_at *at)
{
	struct bpf_tc_hook hook = tc_hook(at);
	_cleanup_close_ int mark = -1;
	char pin[PIN_BYTES];
	bool used = true;

	qdisc_pin_name(at->ifindex, pin);
	mark = pins_open(l->pin_dir, PINS_LINKS, pin);
	if (mark < 0 || netif_has_tc_filters(at->ifindex, &used) || used)
		return;
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
	if (bpf_tc_hook_destroy(&hook)) /* an empty qdisc that stays, with its mark, does no harm */
		return;
	(void)pins_remove(l->pin_dir, PINS_LINKS,
			  pin); /* likewise a mark: it is checked against filters */
}

static int filter_attach(const struct loader *l, struct inspect *inspect, const struct hook_at *at,
			 int *ret_fd, char **ret_why)
{
	_cleanup_close_ int fd = -1;
	char pin[PIN_BYTES], name[INSPECT_TEXT];
	uint32_t there;
	int r;

	r = make_qdisc(l, at, ret_why);
	if (r)
		return r;
	pin_name(at, pin);
	r = pins_replace(l->pin_dir, PINS_LINKS, pin, prog_of(l, at));
	if (!r)
		fd = r = pins_open(l->pin_dir, PINS_LINKS, pin);
	if (r >= 0)
		r = filter_put(l, at, 0);
	there = r ? filter_prog(at) : 0;
	if (!r ||
	    there == attach_prog_id(prog_of(l, at))) { /* ours already: somebody removed the pin */
		*ret_fd = TAKE_FD(fd);
		return 0;
	}
	if (there) {
		loader_say(ret_why, "filter %#x of priority %u runs another program: id %u (%s)",
			   FILTER_HANDLE, FILTER_PRIORITY, there, name_of(inspect, there, name));
		r = -EBUSY;
	}
	loader_say(ret_why, "clsact: %s", strerror(-r));
	(void)unpin(l, at); /* a pin that stays names a dead hook: the next start removes it */
	drop_qdisc(l, at);
	return r;
}

static enum hook_health filter_health(const struct loader *l, const struct hook *h)
{
	uint32_t there = filter_prog(&h->at);

	if (!there)
		return HOOK_DEAD;
	if (there == attach_prog_id(prog_of(l, &h->at)))
		return HOOK_CURRENT;
	return there == attach_prog_id(h->fd) ? HOOK_STALE : HOOK_DEAD;
}

/* The pin keeps the old program until the filter runs the new one: either is known to be ours. */
static int filter_update(const struct loader *l, struct hook *h)
{
	char pin[PIN_BYTES];
	int r;

	r = filter_put(l, &h->at, BPF_TC_F_REPLACE);
	if (r)
		return r;
	pin_name(&h->at, pin);
	r = pins_replace(l->pin_dir, PINS_LINKS, pin, prog_of(l, &h->at));
	if (r)
		return r;
	r = pins_open(l->pin_dir, PINS_LINKS, pin);
	if (r < 0)
		return r;
	closep(&h->fd);
	h->fd = r;
	return 0;
}

/* ---- both ---------------------------------------------------------------------------------------- */

int hook_attach(const struct loader *l, struct inspect *inspect, const struct hook_at *at,
		struct hook *ret, char **ret_why)
{
	struct hook h = { .at = *at, .fd = -1 };
	int r;

	loader_log_begin();
	if (at->mode == ATTACH_CLSACT)
		r = filter_attach(l, inspect, at, &h.fd, ret_why);
	else
		r = link_attach(l, inspect, at, &h.fd, ret_why);
	if (!r)
		*ret = h;
	return r;
}

enum hook_health hook_health(const struct loader *l, const struct hook *h)
{
	return h->at.mode == ATTACH_CLSACT ? filter_health(l, h) : link_health(l, h);
}

int hook_update(const struct loader *l, struct hook *h)
{
	loader_log_begin();
	if (h->at.mode == ATTACH_CLSACT)
		return filter_update(l, h);
	return bpf_link_update(h->fd, prog_of(l, &h->at), NULL);
}

int hook_repin(const struct loader *l, const struct hook *h)
{
	char pin[PIN_BYTES];
	int r;

	pin_name(&h->at, pin);
	if (pins_has(l->pin_dir, PINS_LINKS, pin))
		return 0;
	r = pins_replace(l->pin_dir, PINS_LINKS, pin, h->fd);
	return r ? r : 1;
}

int hook_detach(const struct loader *l, struct hook *h)
{
	struct bpf_tc_hook hook = tc_hook(&h->at);
	struct bpf_tc_opts opts = tc_opts();
	int r;

	loader_log_begin();
	if (hook_health(l, h) == HOOK_DEAD) {
		hook_forget(l, h);
		return 0;
	}
	if (h->at.mode == ATTACH_CLSACT) {
		r = bpf_tc_detach(&hook, &opts);
		drop_qdisc(l, &h->at);
	} else {
		r = bpf_link_detach(h->fd); /* at once, whoever else holds the link */
	}
	(void)unpin(l, &h->at); /* a pin that stays names a dead hook: the next start removes it */
	closep(&h->fd);
	return r;
}

void hook_forget(const struct loader *l, struct hook *h)
{
	char pin[PIN_BYTES];

	(void)unpin(l, &h->at); /* as above */
	if (h->at.mode == ATTACH_CLSACT) {
		/* Whoever took the filter may have made the qdisc anew: it is nobody's we know. */
		qdisc_pin_name(h->at.ifindex, pin);
		(void)pins_remove(l->pin_dir, PINS_LINKS, pin); /* as above */
	}
	closep(&h->fd);
}

bool hook_is_here(const struct hook *h)
{
	return h->at.mode == ATTACH_CLSACT ||
	       link_is_here(h); /* filters are only looked for here */
}

uint32_t hook_prog(const struct hook *h)
{
	struct bpf_link_info info = {};
	uint32_t len = sizeof(info);

	if (h->at.mode == ATTACH_CLSACT)
		return attach_prog_id(h->fd);
	return bpf_obj_get_info_by_fd(h->fd, &info, &len) ? 0 : info.prog_id;
}

bool hook_prog_lives(uint32_t id)
{
	_cleanup_close_ int fd = bpf_prog_get_fd_by_id(id);

	return fd >= 0;
}

bool hook_has_qdisc(const struct loader *l, uint32_t ifindex)
{
	char pin[PIN_BYTES];

	qdisc_pin_name(ifindex, pin);
	return pins_has(l->pin_dir, PINS_LINKS, pin);
}

int hook_open(const struct loader *l, const char *pin, struct hook *ret)
{
	struct hook h = { .fd = -1 };

	if (is_qdisc_pin(pin))
		return -ENOENT;
	if (!parse_pin(pin, &h.at)) {
		(void)pins_remove(l->pin_dir, PINS_LINKS,
				  pin); /* of a crash within pins_replace() */
		return -ENOENT;
	}
	h.fd = pins_open(l->pin_dir, PINS_LINKS, pin);
	if (h.fd < 0)
		return h.fd;
	*ret = h;
	return 0;
}

int hook_adopt(const struct loader *l, const char *pin, struct hook *ret)
{
	struct hook h = { .fd = -1 };
	int r = hook_open(l, pin, &h);

	if (r)
		return r;
	loader_log_begin();
	if (hook_health(l, &h) == HOOK_DEAD) {
		hook_forget(l, &h);
		return -ENOENT;
	}
	if (!hook_is_here(&h)) {
		(void)hook_detach(l, &h); /* of another network namespace, with its pin */
		return -ENOENT;
	}
	*ret = h;
	return 0;
}
