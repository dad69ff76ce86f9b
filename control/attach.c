/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See attach.h. The new attachment is made before the old one goes, so a change of the hook leaves no
 * gap; a packet may then meet both programs and be counted twice, with the same verdict. Native and
 * generic XDP exclude each other: there the old one goes first, and comes back when the new one fails.
 */
#include "attach.h"

#include <errno.h>
#include <string.h>

#include "attach_devs.h"
#include "attach_hook.h"
#include "loader_log.h"
#include "loader_pins.h"

/* Modes to try for one want, in order. */
#define TRIES_MAX 2

/*
 * A TCX link waits for a grace period of the kernel, 10 ms and more, with everybody else's network configuration
 * behind it; a filter of clsact does not. More than so many at once become filters.
 */
#define TCX_AT_ONCE 32

struct attachment {
	struct hook hook;
	bool decided; /* for the hook below; false: found at the start */
	enum model_hook decided_for;
	bool used;
	bool stale; /* still runs the program of an earlier build */
	char *why;
};

VEC_NAMED(attachments, struct attachment);
VEC_NAMED(places, struct hook_at);

struct attach {
	struct loader *l; /* borrowed, as the next */
	struct inspect *inspect;
	enum attach_mode tc;
	bool crowd; /* this reconcile has more than TCX_AT_ONCE to attach */
	struct attachments attachments;
	struct attach_states states;
	struct places taken; /* where this reconcile found nothing any more */
	struct attach_devs devs;
};

struct tries {
	enum attach_mode mode[TRIES_MAX];
	unsigned int count;
};

static void states_done(struct attach_states *states)
{
	for (size_t i = 0; i < states->count; i++)
		free(states->at[i].why);
	vec_done(states);
}

void attach_free(struct attach **at)
{
	struct attach *a = *at;

	if (!a)
		return;
	for (size_t i = 0; i < a->attachments.count; i++) {
		closep(&a->attachments.at[i].hook.fd);
		free(a->attachments.at[i].why);
	}
	vec_done(&a->attachments);
	vec_done(&a->taken);
	states_done(&a->states);
	free(a);
	*at = NULL;
}

static int adopt_one(void *ctx, const char *pin)
{
	struct attach *a = ctx;
	struct attachment found = {};
	int r;

	r = vec_reserve(&a->attachments, 1); /* nothing may fail once the descriptor is open */
	if (r)
		return r;
	r = hook_adopt(a->l, pin, &found.hook);
	if (r)
		return r == -ENOENT ? 0 : r;
	return vec_push(&a->attachments, found);
}

int attach_new(struct attach **ret, struct loader *l, struct inspect *inspect, bool force_clsact)
{
	_cleanup_(attach_free) struct attach *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	loader_log_begin();
	a->l = l;
	a->inspect = inspect;
	a->tc = force_clsact || !hook_kernel_has_tcx() ? ATTACH_CLSACT : ATTACH_TCX;
	r = devs_init(&a->devs, l->devs);
	if (!r)
		r = pins_each(l->pin_dir, PINS_LINKS, adopt_one, a);
	if (r)
		return r;
	*ret = TAKE_PTR(a);
	return 0;
}

const struct attach_states *attach_states(const struct attach *a)
{
	return &a->states;
}

/* ---- zones --------------------------------------------------------------------------------------- */

static bool is_wanted(const struct attach_wants *wants, uint32_t ifindex)
{
	for (size_t i = 0; i < wants->count; i++) {
		if (wants->at[i].dev.ifindex == ifindex)
			return true;
	}
	return false;
}

static bool unwanted(void *ctx, uint32_t ifindex)
{
	return !is_wanted(ctx, ifindex);
}

int attach_set_zones(struct attach *a, unsigned int bank, const struct attach_wants *wants)
{
	int r = devs_unzone_if(&a->devs, bank, unwanted, (void *)wants);

	for (size_t i = 0; !r && i < wants->count; i++) {
		r = devs_set(&a->devs, &wants->at[i], bank);
		if (r == -ENOSPC)
			r = 0; /* of this device alone: the next reconcile says so */
	}
	return r;
}

struct leaving {
	const struct attach *a;
	const struct attach_wants *wants;
};

static bool has_left(void *ctx, uint32_t ifindex)
{
	const struct leaving *leaving = ctx;
	const struct attachments *all = &leaving->a->attachments;

	for (size_t i = 0; i < all->count; i++) {
		if (all->at[i].hook.at.ifindex == ifindex)
			return false;
	}
	return !is_wanted(leaving->wants, ifindex);
}

/* ---- attachments --------------------------------------------------------------------------------- */

static void drop(struct attach *a, size_t i)
{
	free(a->attachments.at[i].why);
	a->attachments.at[i] = a->attachments.at[--a->attachments.count];
}

static void detach_mode(struct attach *a, const struct hook_at *at)
{
	for (size_t i = 0; i < a->attachments.count; i++) {
		struct attachment *one = &a->attachments.at[i];

		if (memcmp(&one->hook.at, at, sizeof(*at)) != 0)
			continue;
		(void)hook_detach(a->l, &one->hook); /* what stays is found by the next attach */
		drop(a, i);
		return;
	}
}

bool attach_is_whole(const struct attach *a)
{
	for (size_t i = 0; i < a->attachments.count; i++) {
		if (hook_health(a->l, &a->attachments.at[i].hook) == HOOK_DEAD)
			return false;
	}
	return true;
}

bool attach_any_stale(const struct attach *a)
{
	for (size_t i = 0; i < a->attachments.count; i++) {
		if (a->attachments.at[i].stale)
			return true;
	}
	return false;
}

int attach_repin(const struct attach *a)
{
	int count = 0;

	for (size_t i = 0; i < a->attachments.count; i++) {
		int r = hook_repin(a->l, &a->attachments.at[i].hook);

		if (r < 0)
			return r;
		count += r;
	}
	return count;
}

/* Forgets what is dead and brings the rest to this build's programs. */
static void refresh(struct attach *a)
{
	for (size_t i = a->attachments.count; i-- > 0;) {
		struct attachment *one = &a->attachments.at[i];
		enum hook_health health = hook_health(a->l, &one->hook);

		one->used = false;
		one->stale = health == HOOK_STALE && hook_update(a->l, &one->hook);
		if (health != HOOK_DEAD)
			continue;
		a->taken.at[a->taken.count++] = one->hook.at; /* room was reserved */
		hook_forget(a->l, &one->hook);
		drop(a, i);
	}
}

static struct attachment *find(struct attach *a, const struct hook_at *at)
{
	for (size_t i = 0; i < a->attachments.count; i++) {
		if (!memcmp(&a->attachments.at[i].hook.at, at, sizeof(*at)))
			return &a->attachments.at[i];
	}
	return NULL;
}

/* What stands in this direction already, in whatever mode. */
static struct attachment *find_any(struct attach *a, uint32_t ifindex, enum dp_dir dir)
{
	for (size_t i = 0; i < a->attachments.count; i++) {
		const struct hook_at *at = &a->attachments.at[i].hook.at;

		if (at->ifindex == ifindex && at->dir == dir)
			return &a->attachments.at[i];
	}
	return NULL;
}

static bool has_tcx(struct attach *a, uint32_t ifindex, enum dp_dir dir)
{
	return find(a, &(struct hook_at){ ifindex, dir, ATTACH_TCX });
}

static struct tries tc_tries(struct attach *a, const struct attach_want *want, enum dp_dir dir)
{
	if (a->crowd && !has_tcx(a, want->dev.ifindex, dir))
		return (struct tries){ { ATTACH_CLSACT, a->tc }, 2 };
	return (struct tries){ { a->tc }, 1 };
}

static struct tries tries_for(struct attach *a, const struct attach_want *want, enum dp_dir dir)
{
	if (dir == DP_EGRESS)
		return tc_tries(a, want, dir);
	switch (want->hook) {
	case MODEL_HOOK_XDP:
		return (struct tries){ { ATTACH_XDP_NATIVE }, 1 };
	case MODEL_HOOK_XDP_GENERIC:
		return (struct tries){ { ATTACH_XDP_GENERIC }, 1 };
	case MODEL_HOOK_AUTO:
		if (!want->dev.kind[0] && !want->dev.loopback && want->dev.link == NETIF_ETHERNET)
			return (struct tries){ { ATTACH_XDP_NATIVE, a->tc }, 2 };
		break;
	case MODEL_HOOK_TC:
		break;
	}
	return tc_tries(a, want, dir);
}

/* Nothing is there, or a filter whose place was not decided by us: then it was one of a crowd. */
static bool is_new(struct attach *a, const struct attach_want *want, enum dp_dir dir)
{
	const struct attachment *have = find_any(a, want->dev.ifindex, dir);

	return !have || (!have->decided && have->hook.at.mode == ATTACH_CLSACT);
}

static bool is_crowd(struct attach *a, const struct attach_wants *wants)
{
	size_t fresh = 0;

	if (a->tc != ATTACH_TCX || wants->count * DP_DIR_COUNT <= TCX_AT_ONCE)
		return false;
	for (size_t i = 0; i < wants->count; i++) {
		const struct attach_want *w = &wants->at[i];

		fresh += w->ingress && w->hook != MODEL_HOOK_XDP &&
			 w->hook != MODEL_HOOK_XDP_GENERIC && is_new(a, w, DP_INGRESS);
		fresh += w->egress && is_new(a, w, DP_EGRESS);
	}
	return fresh > TCX_AT_ONCE;
}

static enum attach_mode other_xdp(enum attach_mode mode)
{
	return mode == ATTACH_XDP_NATIVE ? ATTACH_XDP_GENERIC : ATTACH_XDP_NATIVE;
}

/* Room for it was reserved by attach_reconcile(). */
static int attach_one(struct attach *a, const struct hook_at *at, char **ret_why)
{
	bool xdp = is_xdp(at->mode);
	struct hook_at other = *at;
	struct attachment made = {};
	bool had;
	int r;

	other.mode = xdp ? other_xdp(at->mode) : at->mode;
	had = xdp && find(a, &other);
	if (had)
		detach_mode(a, &other);
	r = hook_attach(a->l, a->inspect, at, &made.hook, ret_why);
	if (!r)
		return vec_push(&a->attachments, made);
	if (had && !hook_attach(a->l, a->inspect, &other, &made.hook, ret_why)) {
		int pushed = vec_push(&a->attachments, made);

		return pushed ? pushed : r;
	}
	return r;
}

/* The reasons of all failed tries, one after the other. */
static void add_reason(char **why, const char *reason)
{
	char *both;

	if (!*why) {
		*why = strdup(reason);
		return;
	}
	if (asprintf(&both, "%s; %s", *why, reason) < 0)
		return; /* out of memory: the first reason is better than none */
	free(*why);
	*why = both;
}

static struct attachment *try_all(struct attach *a, const struct tries *tries, struct hook_at at,
				  char **ret_why)
{
	for (unsigned int i = 0; i < tries->count; i++) {
		_cleanup_free_ char *reason = NULL;

		at.mode = tries->mode[i];
		if (find(a, &at) || !attach_one(a, &at, &reason))
			return find(a, &at);
		add_reason(ret_why, reason ? reason : "out of memory");
	}
	return NULL;
}

static bool was_taken(const struct attach *a, const struct hook_at *at)
{
	for (size_t i = 0; i < a->taken.count; i++) {
		if (a->taken.at[i].ifindex == at->ifindex && a->taken.at[i].dir == at->dir)
			return true;
	}
	return false;
}

/* One want in one direction: what is there and was decided for this hook stays, else it is decided anew. */
static void place(struct attach *a, const struct attach_want *want, struct attach_state *state)
{
	const struct hook_at at = { .ifindex = want->dev.ifindex, .dir = state->dir };
	struct tries tries = tries_for(a, want, state->dir);
	struct attachment *have = find_any(a, at.ifindex, at.dir), *one = have;
	_cleanup_free_ char *why = NULL;

	state->mode = tries.mode[0];
	if (!have || !have->decided || have->decided_for != want->hook) {
		one = try_all(a, &tries, at, &why);
		state->failed = !one;
		if (!one)
			one = find_any(a, at.ifindex,
				       at.dir); /* enforcement stays while nothing better does */
		if (!one) {
			state->why = TAKE_PTR(why);
			return;
		}
		free(one->why);
		one->why = TAKE_PTR(why);
		one->decided = !state->failed;
		one->decided_for = want->hook;
	}
	one->used = true;
	state->again = !have && was_taken(a, &at);
	state->mode = one->hook.at.mode;
	if (one->why)
		state->why = strdup(one->why);
	if (one->stale) {
		state->failed = true;
		add_reason(&state->why, "still runs the program of an earlier build");
	}
}

/* Why no program could read the device's packets there; NULL when one can. */
static const char *unreadable(const struct attach_want *want, enum attach_mode mode)
{
	if (want->dev.link == NETIF_OTHER)
		return "its packets begin with neither an Ethernet nor an IP header";
	if (want->dev.link == NETIF_RAW && is_xdp(mode))
		return "its packets have no Ethernet header to tell XDP what they are; use 'hook: tc'";
	return NULL;
}

static void place_or_fail(struct attach *a, const struct attach_want *want, enum dp_dir dir)
{
	struct attach_state state = {
		.dev = want->dev,
		.zone = want->zone,
		.dir = dir,
		.mode = tries_for(a, want, dir).mode[0],
	};
	const char *why = unreadable(want, state.mode);
	int r = why ? 0 : devs_ensure(&a->devs, want, loader_active_bank(a->l));

	if (!why && !r) {
		place(a, want, &state);
	} else {
		state.failed = true;
		if (why)
			state.why = strdup(why);
		else if (asprintf(
				 &state.why,
				 "interface number %u has no free slot in the table of devices: %s",
				 want->dev.ifindex, strerror(-r)) < 0)
			state.why = NULL;
	}
	a->states.at[a->states.count++] = state; /* room was reserved */
}

int attach_reconcile(struct attach *a, const struct attach_wants *wants)
{
	struct leaving leaving = { a, wants };
	size_t most = DP_DIR_COUNT * wants->count;
	int r;

	states_done(&a->states);
	r = vec_reserve(&a->states, most);
	if (!r)
		r = vec_reserve(&a->attachments, most);
	if (!r) {
		a->taken.count = 0;
		r = vec_reserve(&a->taken, a->attachments.count);
	}
	if (r)
		return r;
	refresh(a);
	a->crowd = is_crowd(a, wants);
	r = devs_clear_if(&a->devs, has_left,
			  &leaving); /* of devices that went: others may need the slots */
	if (r)
		return r;
	for (size_t i = 0; i < wants->count; i++) {
		if (wants->at[i].ingress)
			place_or_fail(a, &wants->at[i], DP_INGRESS);
		if (wants->at[i].egress)
			place_or_fail(a, &wants->at[i], DP_EGRESS);
	}
	for (size_t i = a->attachments.count; i-- > 0;) {
		if (a->attachments.at[i].used)
			continue;
		(void)hook_detach(a->l, &a->attachments.at[i].hook); /* as above */
		drop(a, i);
	}
	return devs_clear_if(&a->devs, has_left, &leaving);
}
