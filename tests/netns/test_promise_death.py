# SPDX-License-Identifier: Apache-2.0
"""The daemon dies, again and again, and comes back as another build: enforcement, flows and counters go on."""
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import frames
import kernel
from lab import BUILD, LONG, datagrams, wait_for
from lines import FAR, PEER, Line, asked, router, says, udp
from promises import promise
from test_state_forward import WAN

DEATHS = {"tc": 50 if LONG else 15, "xdp": 50 if LONG else 5}
UPGRADES = 10 if LONG else 3
LIVES = 0.2  # seconds that a daemon lives, and at least that it is dead
FLOWS = 1000
STREAMS = 10
DENIED_RATE = 10_000
DENIED_PORT = 7777

# Looks once a millisecond whether each link holds a program on its device, until its input ends.
WATCH = """
import select, sys, time
sys.path.insert(0, sys.argv[1])
import kernel
links = [int(n) for n in sys.argv[2:]]
polls = absent = longest = 0
last = time.monotonic()
while not select.select([sys.stdin], [], [], 0.0005)[0]:
    now = time.monotonic()
    longest, last = max(longest, now - last), now
    polls += 1
    absent += not all(kernel.link_holds(n) for n in links)
print(polls, absent, int(longest * 1000000))
"""


class Presence:
    """Whether the programs were attached all the time, from a process of its own."""

    def __init__(self, lab, ns, pin_dir):
        self.links = kernel.link_ids(pin_dir)
        assert self.links
        self.process = lab.spawn(ns, sys.executable, "-B", "-c", WATCH, os.path.dirname(__file__),
                                 *map(str, self.links), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        lab.closing += [self.process.stdout, self.process.stdin]

    def end(self):
        """polls, absent, microseconds of the longest gap between two polls"""
        self.process.stdin.close()
        return [int(word) for word in self.process.stdout.readline().split()]


class Denied:
    """Frames from everywhere to a port that no rule passes and where somebody listens."""

    def __init__(self, lab, peer, far):
        mac = ":".join(f"{b:02x}" for b in frames.HOST_MAC)
        self.sink = lab.udp_sink(far, DENIED_PORT)
        self.process = lab.spawn(peer, f"{BUILD}/tests/tools/flood", "to-wan0", mac, FAR[4], str(10**9), "3600", "udp",
                                 str(DENIED_PORT), str(DENIED_RATE), stdout=subprocess.PIPE, text=True)
        lab.closing.append(self.process.stdout)

    def end(self):
        """sent, delivered"""
        self.process.terminate()
        return int(self.process.stdout.read()), len(datagrams(self.sink))


class Streams:
    """TCP connections of both directions that carry words there and back without a pause."""

    def __init__(self, lab, peer, far):
        self.lines = [Line(lab, far, peer, PEER[4], 2223) for _ in range(STREAMS // 2)]
        self.lines += [Line(lab, peer, far, FAR[4], 80) for _ in range(STREAMS // 2)]
        self.words, self.broken, self.over = 0, set(), threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        lab.closing.append(self)

    def run(self):
        while not self.over.is_set():
            for i, line in enumerate(self.lines):
                if not (says(line.client, line.server) and says(line.server, line.client)):
                    self.broken.add(i)
                self.words += 2
            time.sleep(0.002)

    def close(self):
        self.over.set()
        self.thread.join()


@pytest.fixture
def many_files(open_files):
    open_files(FLOWS + 500)


class Flows:
    """Exchanges that the inside began, each known to the table alone: nothing here has a peer."""

    def __init__(self, lab, peer, far):
        self.server = udp(lab, peer, PEER[4], 53)
        self.askers = [udp(lab, far, FAR[4]) for _ in range(FLOWS)]
        for _ in range(2):  # the second makes a flow established
            assert all(asked(asker, self.server, (PEER[4], 53)) for asker in self.askers)

    def kept(self):
        """How many hear a datagram from outside that they did not ask for."""
        for asker in self.askers:
            self.server.sendto(b"late", asker.getsockname())
        kept = 0
        for asker in self.askers:
            asker.settimeout(1)
            try:
                kept += asker.recv(100) == b"late"
            except TimeoutError:
                pass
        return kept


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_death_costs_nothing(lab, hook, many_files):
    """SIGKILL and start of the daemon, again and again, under 10,000 denied datagrams a second and ten streams: none of
    the denied arrives, no stream breaks, every link holds its program at each look once a millisecond, and afterwards
    each of 1000 flows still lets the outside speak first. Rules out a start that attaches anew or clears a table, and
    enforcement that lives in the daemon."""
    host, peer, far = router(lab)
    lab.ip(host, f"route add default via {PEER[4]}")
    daemon = lab.daemon(host)
    daemon.apply(WAN % hook)
    presence, streams, denied = Presence(lab, host, daemon.pin_dir), Streams(lab, peer, far), Denied(lab, peer, far)
    flows = Flows(lab, peer, far)  # last: select() knows no descriptor as high as theirs
    before = kernel.flow_count(daemon.pin_dir)
    links, started = kernel.link_ids(daemon.pin_dir), time.monotonic()
    for _ in range(DEATHS[hook]):
        time.sleep(LIVES)
        daemon.stop(signal.SIGKILL)
        words = streams.words
        time.sleep(LIVES)
        wait_for(lambda: streams.words >= words + 4 * STREAMS or streams.broken, "the streams without a daemon", 30)
        daemon.start()
    sent, delivered = denied.end()
    rate = int(sent / (time.monotonic() - started))
    streams.close()
    polls, absent, longest = presence.end()
    after, kept = kernel.flow_count(daemon.pin_dir), flows.kept()
    assert (delivered, streams.broken, absent) == (0, set(), 0)
    assert before >= FLOWS and after >= before and kept == FLOWS
    assert daemon.rule("wan-in", "default")["packets"] >= sent > 0
    assert kernel.link_ids(daemon.pin_dir) == links
    promise("P4 P5 F1", f"the daemon's death stops nothing, at {hook.upper()}",
            f"SIGKILL and start {DEATHS[hook]} times under {DENIED_RATE:,} denied frames/s and {STREAMS} allowed streams",
            "denied delivered 0; streams broken 0; program absent at 0 polls, one a ms; 1000 of 1000 flows kept",
            f"{sent:,} denied sent at {rate:,}/s, {delivered} delivered; {streams.words:,} words carried, {len(streams.broken)} streams "
            f"broken; absent at {absent} of {polls:,} polls (longest gap {longest / 1000:.1f} ms); {kept} of {FLOWS} "
            f"flows kept")


def test_another_build_goes_on_without_a_loss(lab, many_files):
    """Starts that find the pins of another build of the same layout, in the midst of traffic: the programs are
    replaced in their links, no denied frame arrives, no stream breaks, no flow is lost, and the start says so. Rules
    out an upgrade that detaches first, and one that empties what it did not make."""
    host, peer, far = router(lab)
    lab.ip(host, f"route add default via {PEER[4]}")
    daemon = lab.daemon(host)
    daemon.apply(WAN % "tc")
    presence, streams, denied = Presence(lab, host, daemon.pin_dir), Streams(lab, peer, far), Denied(lab, peer, far)
    flows = Flows(lab, peer, far)
    links, programs = kernel.link_ids(daemon.pin_dir), set()
    for _ in range(UPGRADES):
        time.sleep(LIVES)
        daemon.stop()
        kernel.forget_build(daemon.pin_dir)
        logged = len(daemon.logged())
        daemon.start()
        assert "programs loaded over an older build" in daemon.logged()[logged:]
        programs |= {kernel.link_holds(n) for n in links}
    sent, delivered = denied.end()
    streams.close()
    polls, absent, _ = presence.end()
    kept = flows.kept()
    assert (delivered, streams.broken, absent, kept) == (0, set(), 0, FLOWS)
    assert kernel.link_ids(daemon.pin_dir) == links and len(programs) == UPGRADES * len(links)
    promise("P6", "an upgrade between builds of one layout loses nothing",
            f"{UPGRADES} starts over pins that are marked as those of another build, under traffic",
            "denied delivered 0, streams broken 0, flows kept, said in the log",
            f"{sent:,} denied sent, {delivered} delivered; {len(streams.broken)} streams broken; absent at {absent} of "
            f"{polls:,} polls; {kept} of {FLOWS} flows kept")


def test_another_layout_is_refused_by_name(lab, many_files):
    """A daemon that finds maps of another layout does not start: it says which map and which number, and touches
    nothing. Enforcement goes on, with every flow; the build that made them then adopts them. Rules out a start that
    deletes what it does not understand."""
    host, peer, far = router(lab)
    daemon = lab.daemon(host)
    daemon.apply(WAN % "tc")
    denied, flows = Denied(lab, peer, far), Flows(lab, peer, far)
    daemon.stop()
    before, links = kernel.tables(daemon.pin_dir), kernel.link_ids(daemon.pin_dir)
    kernel.set_abi(daemon.pin_dir, 1)
    logged = len(daemon.logged())
    daemon.spawn()
    assert daemon.process.wait(20) == 1
    said = daemon.logged()[logged:]
    assert "'meta' has ABI version" in said, said
    assert (kernel.tables(daemon.pin_dir), kernel.link_ids(daemon.pin_dir)) == (before, links)
    sent, delivered = denied.end()
    kept = flows.kept()
    kernel.set_abi(daemon.pin_dir, -1)
    logged = len(daemon.logged())
    daemon.start()
    assert "programs adopted" in daemon.logged()[logged:]
    assert delivered == 0 and kept == FLOWS and flows.kept() == FLOWS
    promise("P6 F11", "pins of another layout are refused, never deleted in silence",
            "a start over maps that say another ABI version, under denied frames, and then one of the build that made them",
            "exit 1 with the map's name; nothing touched; enforcement and flows go on; adopted by its own build",
            f"refused by name, 0 bytes changed; {sent:,} denied sent, {delivered} delivered; {kept} of {FLOWS} flows kept")
