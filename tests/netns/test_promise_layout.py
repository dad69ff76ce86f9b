# SPDX-License-Identifier: Apache-2.0
"""Builds whose maps lie differently follow each other: forth and back, in the midst of traffic, and killed on the way."""
import glob
import os
import random
import re
import signal
import time

import pytest

import kernel
from lab import BUILD, LONG, wait_for
from lines import PEER, router
from promises import promise
from test_promise_death import FLOWS, STREAMS, Denied, Flows, Presence, Streams
from test_state_forward import WAN

OTHER = f"{BUILD}/other-layout"
ROUNDS = 5 if LONG else 1
KILLS = 100 if LONG else 8
DYING = 0.15  # seconds after the new maps appear within which a start is killed
SEED = 20261201
STRAY = 10  # packets that nobody here sent: reports of joined groups, router solicitations
BANNED = "198.51.100.66", "203.0.113.0/24", "2001:db8:66::/48"
POLICY = WAN.replace("filter:", "sets:\n  banned: {max: 1000}\nfilter:", 1).replace(
    "    rules:\n", "    rules:\n      - {id: banned, from: $banned, do: drop}\n", 1)
MOVED = "banks, near: compiled anew; rule_counters, flows, pending: carried over; "
KEPT = "ctl, devs, chain_counters, fragments, state_counters, set_filter, set_table, "\
       "account_table, dropped, records, account_totals: go on"


@pytest.fixture
def many_files(open_files):
    open_files(FLOWS + 500)


class Site:
    """A router with all that a start could lose, under traffic."""

    def __init__(self, lab, hook):
        host, peer, far = router(lab)
        lab.ip(host, f"route add default via {PEER[4]}")
        self.daemon = lab.daemon(host)
        self.daemon.apply(POLICY % hook)
        self.daemon.ok("set", "add", "banned", *BANNED)
        self.daemon.ok("set", "add", "banned", "192.0.2.99", "--ttl", "1h")
        self.members = self.listed()
        assert len(self.members) == len(BANNED) + 1
        self.links = kernel.link_ids(self.daemon.pin_dir)
        self.presence, self.streams = Presence(lab, host, self.daemon.pin_dir), Streams(lab, peer, far)
        self.denied = Denied(lab, peer, far)
        self.flows = Flows(lab, peer, far)  # last: select() knows no descriptor as high as theirs

    def listed(self):
        return {(m["prefix"], m["expires_in_ms"] is None) for m in self.daemon.ok("set", "list", "banned")["members"]}

    def counted(self):
        return {r["id"]: (r["packets"], r["bytes"]) for r in self.daemon.get("/v1/rules")["rules"]
                if r["chain"] == "wan-in"}

    def start(self, build):
        """Gives what it logged."""
        logged = len(self.daemon.logged())
        self.daemon.build = build
        self.daemon.start(limit=40)  # it loads programs and compiles, beside all this traffic
        return self.daemon.logged()[logged:]

    def asides(self):
        return [name for name in os.listdir(self.daemon.pin_dir) if name.startswith("maps-")]

    def goes_on(self):
        words = self.streams.words
        wait_for(lambda: self.streams.words >= words + 40 or self.streams.broken, "the streams", 30)

    def end(self):
        """What is said of it, when nothing was lost."""
        sent, delivered = self.denied.end()
        self.streams.close()
        polls, absent, longest = self.presence.end()
        assert (delivered, self.streams.broken, absent) == (0, set(), 0)
        kept = self.flows.kept()
        assert kept == FLOWS and self.listed() == self.members
        assert kernel.link_ids(self.daemon.pin_dir) == self.links and self.asides() == []
        # The counters of chains go on in their map, those of rules were carried: they agree when each packet counted once.
        self.daemon.add_up("wan-in")
        drops = self.daemon.drops("wan-in")
        assert set(drops) == {("default", "default")} and drops["default", "default"] == self.counted()["default"]
        others = drops["default", "default"][0] - sent
        assert sent > 0 and 0 <= others <= STRAY, others
        return (f"{sent:,} denied sent, {delivered} delivered; {self.streams.words:,} words carried, "
                f"{len(self.streams.broken)} streams broken; absent at {absent} of {polls:,} polls (longest gap "
                f"{longest / 1000:.1f} ms); {kept} of {FLOWS} flows kept; {others} other drops; each packet counted once")


@pytest.mark.parametrize("hook", ["xdp", "tc"] if LONG else ["xdp"])  # at egress both run at TC
def test_another_layout_is_migrated(lab, hook, many_files):
    """A build whose flows, rule counters and banks lie differently starts over the maps of this one, then this one over
    its maps, under 10,000 denied datagrams a second and ten streams: no denied frame arrives, no stream breaks, every
    link holds a program at each look once a millisecond, each of 1000 flows lets the outside speak first, members of
    sets and counts go on, and each start says of each map what became of it. Rules out new maps that begin empty,
    flows that are copied byte by byte, counts that are lost or doubled, and old maps that stay."""
    site = Site(lab, hook)
    daemon = site.daemon
    programs, maps = kernel.objects(daemon.pin_dir, daemon.process.pid)
    took = []
    for build in (OTHER, BUILD) * ROUNDS:
        before, generation = site.counted(), daemon.get("/v1/status")["policy"]["generation"]
        site.goes_on()
        daemon.stop()
        started = time.monotonic()
        said = site.start(build)
        took.append(time.monotonic() - started)
        assert "migrated from another layout: " + MOVED + KEPT in said, said
        carried, lost = re.search(r"before: (\d+) established flows, .*lost: (\d+),", said).groups()
        assert int(carried) >= FLOWS + STREAMS and lost == "0", said
        assert "error" not in said and "warning" not in said, said
        status = daemon.get("/v1/status")
        assert status["start"]["how"] == "migrated" and status["policy"]["generation"] == generation + 1
        after = site.counted()
        assert all(a >= b for rule in before for a, b in zip(after[rule], before[rule])), (before, after)
        assert site.listed() == site.members and site.asides() == []
        site.goes_on()
    measured = site.end()
    now_programs, now_maps = kernel.objects(daemon.pin_dir, daemon.process.pid)
    assert len(now_programs) == len(programs) and len(now_maps) == len(maps) + 1  # counts of before
    promise("P6 F11", f"another layout of maps is migrated, forth and back, at {hook.upper()}",
            f"{2 * ROUNDS} starts of two builds with other flows, rule counters and banks, over each other's maps, under "
            "traffic", "denied delivered 0; streams broken 0; flows and counts kept; said of each map; nothing left behind",
            f"{measured}; the longest start {max(took):.1f} s")


def test_a_migration_may_die_anywhere(lab, many_files):
    """SIGKILL at random moments of starts of one build or the other over whatever the one before left: enforcement is
    whole each time, and the start that is let live has every flow, member and count. Rules out a migration that is
    known only to the process that began it, and counters that are added twice when it is taken up again."""
    site = Site(lab, "tc")
    rng, seen = random.Random(SEED), set()
    for _ in range(KILLS):
        site.daemon.stop(signal.SIGKILL)
        site.daemon.build = rng.choice((OTHER, BUILD))
        logged = len(site.daemon.logged())
        site.daemon.spawn()
        wait_for(lambda: site.asides() or "ready" in site.daemon.logged()[logged:], "new maps", 30, every=0.002)
        time.sleep(rng.uniform(0, DYING))
        site.daemon.stop(signal.SIGKILL)
        seen |= {"prepared" if name == "maps-next" else "half way" for name in site.asides()} or {"before or after"}
    site.goes_on()
    said = site.start(BUILD)
    assert "error" not in said, said
    measured = site.end()
    promise("P6 F11 F1", "a migration that dies is taken up by the next start", f"SIGKILL {KILLS} times in starts of two builds",
            "as if it had not died", f"found after a kill: {', '.join(sorted(seen))}; {measured}")


def refused(daemon, why):
    """A start of the other build: gives what it said. Nothing has changed."""
    before, links, logged = kernel.tables(daemon.pin_dir), kernel.link_ids(daemon.pin_dir), len(daemon.logged())
    daemon.stop()
    daemon.build = OTHER
    daemon.spawn()
    assert daemon.process.wait(30) == 1
    said = daemon.logged()[logged:]
    assert "pinned maps are of another layout" in said and why in said and "it stays enforced" in said, said
    assert (kernel.tables(daemon.pin_dir), kernel.link_ids(daemon.pin_dir)) == (before, links)
    assert sorted(os.listdir(daemon.pin_dir)) == ["links", "maps", "progs"]
    daemon.build = BUILD
    return why


def test_what_cannot_be_migrated_is_refused(lab):
    """Other banks need the policy compiled anew: where it waits to be confirmed, or its texts or names are gone, the
    other build does not start, says which it is, and changes nothing; this build then adopts what it made. Rules out
    a migration to an empty policy."""
    host, _ = lab.quiet_pair()
    daemon = lab.daemon(host)
    daemon.ok("apply", "--confirm", "1h", lab.write("policy.yaml", WAN % "tc"))
    reasons = [refused(daemon, "it waits to be confirmed")]
    daemon.start()
    assert daemon.get("/v1/status")["start"]["how"] == "adopted"
    daemon.ok("confirm")
    for gone, why in ("sources-*", "its texts are not in the state directory"), \
            ("generation-*", "its names are not in the state directory"):
        hidden = [(path, f"{lab.dir}/{os.path.basename(path)}") for path in glob.glob(f"{daemon.state_dir}/{gone}")]
        assert hidden
        for path, away in hidden:
            os.rename(path, away)
        reasons.append(refused(daemon, why))
        for path, away in hidden:
            os.rename(away, path)
    daemon.start()
    assert daemon.get("/v1/status")["start"]["how"] == "adopted"
    promise("P6 F11", "what cannot be migrated is refused", "starts of a build with other banks over a policy that it cannot "
            "compile anew", "exit 1 with the reason; nothing changed, enforced", "; ".join(reasons))
