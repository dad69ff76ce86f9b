/* SPDX-License-Identifier: Apache-2.0 */
/* See daemon.h: how the daemon starts, what wakes it up, and how it stops. */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "accounting.h"
#include "accounts.h"
#include "api.h"
#include "confirm.h"
#include "fail.h"
#include "feeds.h"
#include "inspect.h"
#include "install.h"
#include "job.h"
#include "jsonobj.h"
#include "loader_pins.h"
#include "log.h"
#include "migrate.h"
#include "options.h"
#include "privilege.h"
#include "purge.h"
#include "routes.h"
#include "sandbox.h"
#include "save.h"
#include "state.h"
#include "watch.h"

#define FLOW_IDLE_MS 60000 /* where no policy is known to say it */

/* ---- devices ------------------------------------------------------------------------------------------- */

static bool is_wanted(const struct attach_wants *wants, uint32_t ifindex)
{
	for (size_t i = 0; i < wants->count; i++) {
		if (wants->at[i].dev.ifindex == ifindex)
			return true;
	}
	return false;
}

char *daemon_attach_failures(const struct daemon *d, const struct attach_wants *wants)
{
	const struct attach_states *states = attach_states(d->attach);
	char *text = NULL;

	for (size_t i = 0; i < states->count; i++) {
		const struct attach_state *s = &states->at[i];
		char *longer = NULL;

		if (!s->failed || !is_wanted(wants, s->dev.ifindex))
			continue;
		if (asprintf(&longer, "%s%s%s of %s: %s", text ? text : "", text ? "; " : "",
			     s->dir == DP_INGRESS ? "ingress" : "egress", s->dev.name,
			     s->why ? s->why : "no reason given") < 0)
			return text;
		free(text);
		text = longer;
	}
	return text;
}

/* Says text unless it was the last thing said; *said remembers it. */
static void say_once(char **said, char *text, const char *after)
{
	if (text && *text && (!*said || strcmp(*said, text) != 0))
		log_warning("attach: %s%s", text, after);
	free(*said);
	*said = text;
}

static bool is_present(const struct netif_devs *devs, uint32_t ifindex)
{
	for (size_t i = 0; i < devs->count; i++) {
		if (devs->at[i].ifindex == ifindex)
			return true;
	}
	return false;
}

/* Of a thousand that go at once the first is named. */
static void say_lost(const struct attach_states *before, const struct netif_devs *now)
{
	const struct netif_dev *first = NULL, *last = NULL;
	size_t count = 0;

	for (size_t i = 0; i < before->count; i++) {
		const struct netif_dev *dev = &before->at[i].dev;

		if ((last && last->ifindex == dev->ifindex) || is_present(now, dev->ifindex))
			continue; /* both directions of a device stand together */
		first = first ? first : dev;
		last = dev;
		count++;
	}
	if (count == 1)
		log_warning("attach: %s, interface %u, is lost: it is no longer in this network "
			    "namespace; attached again when it is back",
			    first->name, first->ifindex);
	else if (count)
		log_warning(
			"attach: %s and %zu others are lost: they are no longer in this network "
			"namespace; attached again when they are back",
			first->name, count - 1);
}

static void say_again(const struct attach_states *states)
{
	for (size_t i = 0; i < states->count; i++) {
		if (states->at[i].again)
			log_warning("attach: %s of %s was taken away by somebody else; attached "
				    "again",
				    states->at[i].dir == DP_INGRESS ? "ingress" : "egress",
				    states->at[i].dev.name);
	}
}

/* Of both policies while one waits to be confirmed: ret_both is what is to be attached. */
static int set_zones(struct daemon *d, struct attach_wants *ret_now, struct attach_wants *ret_both,
		     char **ret_doubts)
{
	_cleanup_free_ char *ignored = NULL;
	struct attach_wants before = {};
	struct netif_devs devs = {};
	unsigned int bank = loader_active(d->loader) & DP_ACTIVE_BANK;
	int r = netif_list(d->netif, &devs);

	if (!r)
		say_lost(attach_states(d->attach), &devs);
	if (!r)
		r = wants_compute(d->running, &d->overrides, &devs, ret_now, ret_doubts);
	if (!r)
		r = attach_set_zones(d->attach, bank, ret_now);
	if (!r && confirm_previous(d) && !confirm_previous(d)->nameless) {
		r = wants_compute(confirm_previous(d), confirm_overrides(d), &devs, &before,
				  &ignored);
		if (!r)
			r = attach_set_zones(d->attach, !bank, &before);
	}
	if (!r)
		r = wants_union(&before, ret_now, ret_both);
	vec_done(&before);
	vec_done(&devs);
	return r;
}

int daemon_refresh_devices(struct daemon *d, char **ret_why)
{
	struct attach_wants now = {}, both = {};
	char *doubts = NULL;
	int r = 0;

	/* Without names there is nothing to compare with: what is attached stays. */
	if (d->running && d->running->nameless)
		return 0;
	if (d->running)
		r = set_zones(d, &now, &both, &doubts);
	if (!r)
		r = attach_reconcile(d->attach, &both);
	if (r < 0)
		r = fail(ret_why, r, "devices cannot be looked at: %s", strerrordesc_np(-r));
	if (!r) {
		say_again(attach_states(d->attach));
		say_once(&d->doubts, TAKE_PTR(doubts), "; name it in one of them");
		say_once(&d->failures, daemon_attach_failures(d, &now),
			 "; it is NOT filtered, 'penstock status' shows it");
	}
	free(doubts);
	vec_done(&now);
	vec_done(&both);
	return r;
}

static void on_devices(void *ctx, bool resync)
{
	_cleanup_free_ char *why = NULL;
	struct daemon *d = ctx;
	int r;

	if (resync)
		log_warning("netif: events were lost (%" PRIu64 " times so far); all devices are "
			    "looked at again",
			    netif_overruns(d->netif));
	r = daemon_refresh_devices(d, &why);
	if (r < 0)
		log_error("attach: %s; the next change of a device tries again",
			  why ? why : strerrordesc_np(-r));
}

/* ---- ready, and not any more --------------------------------------------------------------------------- */

/*
 * Whoever reads our output would wait for its end for ever. A log in a file goes on, a terminal or a pipe
 * is left alone.
 */
static void leave_terminal(void)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct stat st;

	if (null < 0)
		return;
	(void)dup2(null, STDIN_FILENO); /* all three are open: cannot fail */
	(void)dup2(null, STDOUT_FILENO);
	if (fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode))
		return;
	log_to_syslog();
	(void)dup2(null, STDERR_FILENO);
}

static void tell_parent(struct daemon *d, int status)
{
	unsigned char byte = (unsigned char)status;

	if (d->tell_parent < 0)
		return;
	if (status == EXIT_SUCCESS)
		leave_terminal();
	(void)!write(d->tell_parent, &byte, 1); /* a parent that is gone needs no answer */
	closep(&d->tell_parent);
}

void daemon_stop(struct daemon *d, int status)
{
	if (d->stopping)
		return;
	d->stopping = true;
	d->status = status;
	(void)sd_notify(0, "STOPPING=1");
	(void)sd_event_exit(d->event, 0); /* the loop is running: cannot fail */
}

void daemon_started(struct daemon *d, bool good)
{
	int r;

	if (!good && !d->running) {
		daemon_stop(d, EXIT_FAILURE);
		return;
	}
	r = api_serve(d->api);
	if (r < 0) {
		log_error("api: clients cannot be served: %s", strerrordesc_np(-r));
		daemon_stop(d, EXIT_FAILURE);
		return;
	}
	d->ready = true;
	(void)sd_notify(0, good ? "READY=1\nSTATUS=enforcing"
				: "READY=1\nSTATUS=degraded: the policy file was refused");
	log_info("daemon: ready; %s", d->running ? "a policy is enforced" : "no policy yet");
	tell_parent(d, EXIT_SUCCESS);
}

static void want_accounts(struct daemon *d)
{
	accounting_want(d->accounting, d->running ? d->running->flow_slots : 0,
			d->running ? d->running->flow_idle_ms : 0);
}

void daemon_policy_changed(struct daemon *d)
{
	feeds_follow(d->feeds);
	if (flows_watch_run(d->flows, generation_is_stateful(d->running)) < 0)
		log_warning(
			"flows: cannot be counted; 'penstock status' does not know how many there are");
	want_accounts(d);
}

void daemon_state_renewed(struct daemon *d)
{
	const struct generation *g = d->running;
	char name[STATE_NAME_BYTES];

	if (g && !g->nameless) {
		state_generation_name(g->number, name);
		save_later(d, name, generation_to_json(g), "the next start may not know all names");
	}
	save_later(d, HISTORY_FILE, history_to_json(&d->history), HISTORY_LOSS);
	save_later(d, OVERRIDES_FILE, overrides_to_json(&d->overrides), OVERRIDES_LOSS);
	d->reload_wanted |= d->policy_refused;
	daemon_changed(d);
}

void daemon_changed(struct daemon *d)
{
	if (d->stopping || d->changing || d->confirm)
		return;
	if (d->reload_wanted) {
		d->reload_wanted = false;
		daemon_reload(d);
		return;
	}
	feeds_go_on(d->feeds);
}

static int on_stop_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *ctx)
{
	(void)s;
	log_info("daemon: signal %u from pid %u; stopping, what is attached stays", si->ssi_signo,
		 si->ssi_pid);
	daemon_stop(ctx, EXIT_SUCCESS);
	return 0;
}

/* A thousand of them during an apply are one: the file is read after the last. */
static int on_reload_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *ctx)
{
	struct daemon *d = ctx;

	(void)s, (void)si;
	if (!d->options->policy) {
		log_warning("daemon: SIGHUP: there is no --policy to read again");
		return 0;
	}
	d->reload_wanted = true;
	daemon_changed(d);
	return 0;
}

/* ---- what was there before us -------------------------------------------------------------------------- */

/* Finds the names of the policy that the kernel enforces. */
static int adopt(struct daemon *d, char **ret_why)
{
	struct dp_bank_header header;
	char digest[DIGEST_TEXT];
	int r;

	d->last_number = state_last_generation(d->state);
	/* New maps, as after a reboot, or what a first policy went back to: numbers go on from what was saved. */
	if (!loader_bank_header(d->loader, loader_active_bank(d->loader), &header) ||
	    !header.generation)
		return 0;
	if (header.generation > d->last_number)
		d->last_number = header.generation;
	digest_format(header.digest, digest);
	r = state_find_generation(d->state, header.generation, header.digest, &d->running);
	if (!r) {
		log_info("daemon: adopted policy %s, generation %llu", digest, header.generation);
		return 0;
	}
	log_error("state: names of policy %s, generation %llu: %s; it stays enforced, its "
		  "rules have no names until the next apply",
		  digest, header.generation, strerrordesc_np(-r));
	r = generation_new_nameless(&d->running, &header);
	if (r < 0)
		return fail(ret_why, r, "out of memory");
	/* What its 'telemetry' said is lost, too; packets are accounted as they were. */
	d->running->flow_slots = accounts_flows(d->loader->ctl_page->account_groups);
	d->running->flow_idle_ms = FLOW_IDLE_MS;
	return 0;
}

static int start_kernel_side(struct daemon *d, char **ret_why)
{
	static const char *const starts[] = { [LOADER_FRESH] = "loaded",
					      [LOADER_ADOPTED] = "adopted",
					      [LOADER_UPGRADED] = "loaded over an older build",
					      [LOADER_MIGRATED] = "loaded over another layout" };
	uint32_t slots = d->options->flow_slots ? d->options->flow_slots : DP_FLOW_SLOTS;
	int r = loader_new(&d->loader, d->handover.pin_path, slots, ret_why);

	if (r < 0)
		return r;
	log_info("loader: %s: programs %s; %u slots for flows", d->options->pin_dir,
		 starts[d->loader->start], d->loader->flow_slots);
	if (d->options->flow_slots && d->loader->flow_slots != d->options->flow_slots)
		log_warning(
			"loader: flows: pinned with %u slots, --flow-slots asks for %u; the pinned "
			"size stays until a fresh start",
			d->loader->flow_slots, d->options->flow_slots);
	/* Who was killed after a flip did not wait for packets in the bank we write next. */
	r = install_settle();
	if (r < 0)
		return fail(ret_why, r, "waiting for packets: %s", strerrordesc_np(-r));
	r = attach_new(&d->attach, d->loader, d->inspect, d->options->clsact);
	if (r < 0)
		return fail(ret_why, r, "what is attached cannot be read: %s", strerrordesc_np(-r));
	r = netif_new(&d->netif, d->event, on_devices, d);
	if (r < 0)
		return fail(ret_why, r, "devices cannot be watched: %s", strerrordesc_np(-r));
	return 0;
}

/* Whoever was killed after a flip may have left members of sets that nobody names any more. */
static int start_sets(struct daemon *d, char **ret_why)
{
	int r = sets_new(&d->sets, d->event, d->worker, d->loader, &d->running, ret_why);

	if (r < 0)
		return r;
	if (!d->confirm)
		(void)sets_drop_unnamed(d->sets); /* it has said how many */
	r = sets_given_new(&d->given, d->event, d->worker, d->state, &d->running);
	if (!r)
		r = feeds_new(&d->feeds, d);
	if (!r)
		feeds_follow(d->feeds); /* what changed while nobody looked is found out, too */
	return r;
}

static int start_loop(struct daemon *d, char **ret_why)
{
	int r = sd_event_new(&d->event);

	if (r >= 0)
		r = sd_event_add_signal(d->event, NULL, SIGTERM, on_stop_signal, d);
	if (r >= 0)
		r = sd_event_add_signal(d->event, NULL, SIGINT, on_stop_signal, d);
	if (r >= 0)
		r = sd_event_add_signal(d->event, NULL, SIGHUP, on_reload_signal, d);
	if (r >= 0)
		r = sd_event_set_watchdog(d->event, true);
	return r < 0 ? fail(ret_why, r, "the event loop: %s", strerrordesc_np(-r)) : 0;
}

/* What a crash kept the one before us from saving is not in the history. */
static void load_saved(struct daemon *d)
{
	int r = overrides_load(&d->overrides, d->state);

	if (r < 0)
		log_warning("state: overrides: %s; they are forgotten", strerrordesc_np(-r));
	r = history_load(&d->history, d->state);
	if (d->migrated_from)
		history_forget(&d->history, d->migrated_from);
	if (!r && d->running && !d->running->nameless &&
	    !history_has(&d->history, d->running->number))
		r = history_add(&d->history, d->running, geteuid());
	if (!r && d->migrated_from)
		save_later(d, HISTORY_FILE, history_to_json(&d->history), HISTORY_LOSS);
	if (r < 0)
		log_warning("state: history: %s; it begins anew", strerrordesc_np(-r));
}

/* All that comes after this is done with what the daemon keeps; threads inherit it. */
static int give_up_rights(struct daemon *d, char **ret_why)
{
	struct privilege_user user;
	int r = privilege_find_user(d->options->user, &user, ret_why);

	if (!r)
		r = privilege_check(ret_why);
	if (!r)
		r = privilege_take_files(ret_why);
	if (!r)
		r = handover_make(&d->handover, d->options, &user, ret_why);
	if (!r)
		r = inspect_new(&d->inspect, d->event, &user, !d->options->no_inspect);
	if (!r)
		r = privilege_drop(&user, api_groups, API_SOCKET_COUNT, ret_why);
	if (r < 0)
		return r;
	r = sandbox_daemon(job_program);
	if (r < 0)
		return fail(ret_why, r, "system calls cannot be limited: %s", strerrordesc_np(-r));
	r = worker_new(&d->worker, d->event);
	return r < 0 ? fail(ret_why, r, "the worker: %s", strerrordesc_np(-r)) : 0;
}

/* Of maps and pins that stay as they are from now on. */
static int start_watching(struct daemon *d, char **ret_why)
{
	int r = flows_watch_new(&d->flows, d->event, d->loader);

	if (!r)
		r = flows_watch_run(d->flows, generation_is_stateful(d->running));
	if (r < 0)
		return fail(ret_why, r, "flows cannot be watched: %s", strerrordesc_np(-r));
	r = accounting_new(&d->accounting, d->event, d->loader, ret_why);
	if (r < 0)
		return r;
	want_accounts(d);
	r = watch_new(&d->watch, d);
	return r < 0 ? fail(ret_why, r, "pins cannot be watched: %s", strerrordesc_np(-r)) : 0;
}

static int start(struct daemon *d, char **ret_why)
{
	const struct api_user user = { .routes = routes, .ctx = d };
	int r = start_loop(d, ret_why);

	if (!r)
		r = give_up_rights(d, ret_why);
	if (!r)
		r = state_open(&d->state, d->options->state_dir, ret_why);
	if (!r)
		r = api_new(&d->api, d->event, d->options->run_dir, &user, ret_why);
	if (!r)
		r = start_kernel_side(d, ret_why);
	if (!r)
		r = adopt(d, ret_why);
	if (!r)
		r = migrate_begin(d, ret_why);
	if (!r)
		load_saved(d);
	if (!r)
		r = confirm_adopt(d, ret_why);
	if (!r)
		r = start_sets(d, ret_why);
	if (!r)
		r = migrate_carry(d, ret_why);
	if (!r)
		r = daemon_refresh_devices(d, ret_why);
	if (!r)
		r = migrate_end(d, ret_why);
	return r < 0 ? r : start_watching(d, ret_why);
}

/* Nobody else works any more, and what was to be saved is. */
static void answer_purge(struct daemon *d)
{
	struct options o = *d->options;
	struct json_object *json;

	if (!d->purge)
		return;
	o.keep_state = d->purge_keeps_state;
	json = purge_run(&o, d->loader, state_dir(d->state));
	log_info("purge: %zu things removed, %zu kept, %zu could not be",
		 json_object_array_length(json_object_object_get(json, "removed")),
		 json_object_array_length(json_object_object_get(json, "kept")),
		 json_object_array_length(json_object_object_get(json, "failed")));
	/* The locks, too: who hears the answer may start another one. */
	state_free(&d->state);
	handover_done(&d->handover);
	api_answer(TAKE_PTR(d->purge), 200, json);
}

/* A start that failed leaves nothing behind where it found nothing. */
static void unpin_unused(const struct daemon *d)
{
	if (!d->loader || d->loader->start != LOADER_FRESH || d->running || !d->status)
		return;
	pins_clear(d->loader->pin_dir, PINS_PROGS);
	pins_clear(d->loader->pin_dir, PINS_MAPS);
}

/* Everybody who waits is answered, then everything goes in the order of who uses whom. */
static void done(struct daemon *d)
{
	d->stopping = true;
	daemon_reload_cancel(d);
	if (d->api)
		api_stop(d->api);
	apply_cancel_all(d);
	route_set_cancel_all(d);
	sets_given_stop(d->given);
	sets_stop(d->sets);
	worker_free(&d->worker);
	accounting_free(&d->accounting);
	answer_purge(d);
	api_free(&d->api);
	explain_free(&d->explain);
	sets_free(&d->sets);
	sets_given_free(&d->given);
	feeds_free(&d->feeds);
	flows_watch_free(&d->flows);
	watch_free(&d->watch);
	netif_free(&d->netif);
	attach_free(&d->attach);
	unpin_unused(d);
	confirm_free(&d->confirm);
	generation_free(&d->running);
	history_done(&d->history);
	loader_free(&d->loader);
	state_free(&d->state);
	handover_done(&d->handover);
	inspect_free(&d->inspect);
	vec_done(&d->overrides);
	free(d->doubts);
	free(d->failures);
	sd_event_unref(d->event);
	tell_parent(d, d->status);
}

static void block_signals(void)
{
	sigset_t ours;

	sigemptyset(&ours);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &ours, NULL); /* the set is valid: cannot fail */
	(void)signal(SIGPIPE, SIG_IGN);
}

int daemon_run(const struct options *options, int parent)
{
	struct daemon d = { .options = options, .tell_parent = parent, .handover = { .pins = -1 } };
	_cleanup_free_ char *why = NULL;
	int r;

	block_signals();
	r = start(&d, &why);
	if (r < 0) {
		log_error("daemon: start failed: %s", why ? why : strerrordesc_np(-r));
		d.status = EXIT_FAILURE;
		done(&d);
		return d.status;
	}
	if (options->policy && !d.confirm) {
		daemon_reload(&d);
	} else {
		d.reload_wanted =
			options->policy; /* once the change that waits is confirmed or undone */
		daemon_started(&d, true);
	}
	r = d.stopping ? 0 : sd_event_loop(d.event);
	if (r < 0) {
		log_error("daemon: the loop ended: %s", strerrordesc_np(-r));
		d.status = EXIT_FAILURE;
	}
	done(&d);
	return d.status;
}
