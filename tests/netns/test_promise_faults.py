# SPDX-License-Identifier: Apache-2.0
"""What goes wrong around the daemon: no room for its state, a disk that takes nothing, signals in hundreds, a daemon
that is stopped. The policy that runs stays, and everybody is told."""
import os
import random
import shutil
import signal
import subprocess
import time

import kernel
from lab import BUILD, LONG, end, wait_for
from promises import promise
from test_promise_apply import Verdicts, saved_parses, two_policies

HANGUPS = 1000
SAVES = 200 if LONG else 60
PATIENCE = 5.0  # seconds
SEED = 20261202


class Disk:
    """A small file system of its own under the daemon's state."""

    def __init__(self, lab, daemon, kib):
        self.path = daemon.state_dir
        os.mkdir(self.path, 0o700)
        lab.sh("mount", "-t", "tmpfs", "-o", f"size={kib}k,mode=700", "penstock-test", self.path)
        lab.closing.append(self)

    def fill(self):
        with open(f"{self.path}/filler", "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"\0" * 4096)
            except OSError:
                pass

    def free(self):
        os.unlink(f"{self.path}/filler")

    def remount(self, mode):
        subprocess.run(("mount", "-o", f"remount,{mode}", self.path), check=True)

    def close(self):
        subprocess.run(("umount", "-l", self.path), check=False)


def site(lab, disk_kib=1024):
    """A daemon with its state on a disk of its own; a runs."""
    host, peer = lab.quiet_pair()
    daemon = lab.daemon(host, start=False)
    disk = Disk(lab, daemon, disk_kib)
    a, b = two_policies(lab, "tc")
    daemon.start()
    daemon.ok("apply", a)
    return daemon, disk, a, b, Verdicts(lab, host, peer)


def refused_apply(daemon, path, wire):
    """Gives what it said; nothing has changed."""
    before, said = kernel.tables(daemon.pin_dir)[0], daemon.get("/v1/status")["policy"]
    answer = daemon.cli("apply", path)
    assert answer.exit == 1 and "state" in answer.stderr, answer
    assert kernel.tables(daemon.pin_dir)[0] == before and daemon.get("/v1/status")["policy"] == said
    assert wire.passing() == "a"
    return answer.stderr.strip()


def test_a_full_disk_refuses_and_loosens_nothing(lab):
    """The state directory has no room: an apply is refused with the reason and changes nothing; every saved file
    parses; a daemon that is killed then and started finds its policy; with room again the apply works. Rules out names
    that are saved after the flip, and a file that is emptied before it is written."""
    daemon, disk, _, b, wire = site(lab)
    disk.fill()
    said = refused_apply(daemon, b, wire)
    assert saved_parses(daemon) > 0
    daemon.stop(signal.SIGKILL)
    assert wire.passing() == "a"
    daemon.start()
    assert daemon.get("/v1/status")["policy"]["generation"] == 1
    refused_apply(daemon, b, wire)
    disk.free()
    daemon.ok("apply", b)
    assert wire.passing() == "b"
    promise("P29 F12", "a full state directory loosens nothing", "no room left, apply, SIGKILL, start, apply, then room",
            "apply refused; saved files parse; the running policy stays; with room it works", f"refused: '{said}'")


def degraded(daemon):
    return daemon.get("/v1/status")["degraded"]


def second_is_refused(lab, daemon):
    answer = lab.run(daemon.ns, f"{BUILD}/penstockd", "--foreground", "--instance", daemon.instance, "--run-dir",
                     f"{lab.dir}/second", "--state-dir", daemon.state_dir)
    assert answer.exit == 1 and "in use by" in answer.stderr, answer


def test_a_read_only_disk_keeps_enforcing(lab):
    """The state directory has become read-only, first under no daemon, then under one: the policy is adopted with its
    names and enforced, status says what is wrong, an apply is refused with the reason and changes nothing, a second
    daemon is kept out although no lock file can be made; when the disk can be written again this is noticed, an apply
    needs no restart, and what was missed is saved. Rules out a start that ends, one that takes the policy away, and
    a lock that needs to be written."""
    daemon, disk, _, b, wire = site(lab)
    daemon.stop(signal.SIGKILL)
    os.unlink(f"{daemon.state_dir}/lock")
    disk.remount("ro")
    before = kernel.tables(daemon.pin_dir)
    daemon.start()
    assert kernel.tables(daemon.pin_dir) == before and wire.passing() == "a"
    assert daemon.rule("wan-in", "good")["packets"] > 0
    said = degraded(daemon)
    assert len(said) == 1 and daemon.state_dir in said[0] and "Read-only file system" in said[0]
    assert f"degraded: {said[0]}\n" in daemon.cli("status").stdout
    assert "Read-only file system; nothing was changed" in refused_apply(daemon, b, wire)
    second_is_refused(lab, daemon)
    disk.remount("rw")
    daemon.ok("apply", b)
    assert wire.passing() == "b"
    wait_for(lambda: not degraded(daemon), "the disk's return to be noticed", PATIENCE)
    disk.remount("ro")
    started = time.monotonic()
    wait_for(lambda: degraded(daemon), "the read-only disk to be noticed", PATIENCE)
    noticed = time.monotonic() - started
    disk.remount("rw")
    wait_for(lambda: not degraded(daemon), "the disk's return to be noticed", PATIENCE)
    daemon.stop(signal.SIGKILL)
    daemon.start()
    assert daemon.get("/v1/status")["policy"]["generation"] == 2 and not degraded(daemon)
    promise("P29 F13", "a read-only state directory loosens nothing",
            "SIGKILL, remounted read-only, start, apply, writable, apply; read-only under the daemon",
            "enforcement goes on; degraded; applies refused until it can be written",
            f"enforced, 0 bytes changed; '{shorter(said[0], daemon)}'; noticed after {noticed:.1f} s; recovered")


def shorter(said, daemon):
    return said.replace(daemon.state_dir, "STATE-DIR")


def test_a_state_directory_that_cannot_be_made_keeps_enforcing(lab):
    """Not even the directory can be made: the daemon starts over its pins, whose lock keeps a second one out, enforces
    a policy whose names it cannot know, and says both; when the directory can be made it is, and an apply brings the
    names. Rules out a daemon that works without any lock, and one that never looks again."""
    daemon, disk, _, b, wire = site(lab)
    daemon.stop(signal.SIGKILL)
    disk.remount("ro")
    daemon.state_dir += "/deeper/down"
    before = kernel.tables(daemon.pin_dir)
    daemon.start()
    assert kernel.tables(daemon.pin_dir) == before and wire.passing() == "a"
    said = degraded(daemon)
    assert "Read-only file system" in said[0] and "names" in said[1], said
    refused_apply(daemon, b, wire)
    second_is_refused(lab, daemon)
    disk.remount("rw")
    wait_for(lambda: len(degraded(daemon)) == 1, "the directory to be made", PATIENCE)
    second_is_refused(lab, daemon)
    daemon.ok("apply", b)
    assert wire.passing() == "b" and not degraded(daemon)


def test_a_state_directory_that_is_gone_loosens_nothing(lab):
    """The state directory is deleted, first under the daemon: it is made anew with what is known, so that a daemon that
    is killed then is followed by one that knows the names, and applies go on. Then under no daemon: a start makes a
    new one, leaves the policy in force although nobody knows its names any more, and says so; the next apply brings
    them back. Rules out a start that takes no names for no policy, and one that works on in a directory nobody sees."""
    host, peer = lab.quiet_pair()
    a, b = two_policies(lab, "tc")
    daemon = lab.daemon(host)
    daemon.ok("apply", a)
    wire = Verdicts(lab, host, peer)
    shutil.rmtree(daemon.state_dir)
    started = time.monotonic()
    wait_for(lambda: os.path.exists(f"{daemon.state_dir}/history.json"), "what is known to be saved", PATIENCE)
    took = time.monotonic() - started
    wait_for(lambda: os.path.exists(f"{daemon.state_dir}/overrides.json"), "the overrides, too")
    assert saved_parses(daemon) > 0 and wire.passing() == "a"
    daemon.stop(signal.SIGKILL)
    daemon.start()
    assert not degraded(daemon) and daemon.rule("wan-in", "good")["packets"] > 0
    daemon.stop(signal.SIGKILL)
    shutil.rmtree(daemon.state_dir)
    before, logged = kernel.tables(daemon.pin_dir), len(daemon.logged())
    daemon.start()
    said = daemon.logged()[logged:].splitlines()
    said = next(line for line in said if line.startswith("error"))
    assert kernel.tables(daemon.pin_dir) == before and wire.passing() == "a"
    assert len(degraded(daemon)) == 1
    daemon.ok("apply", b)
    assert wire.passing() == "b" and daemon.rule("wan-in", "good")["packets"] > 0 and not degraded(daemon)
    promise("F13", "a state directory that is gone loosens nothing",
            "rm -r STATE-DIR under the daemon, then SIGKILL, rm -r, start, apply",
            "made anew and filled; without a daemon: enforcement goes on, the start says what is missing",
            f"filled after {took:.1f} s; enforced, 0 bytes changed; '{said}'")


def test_a_damaged_saved_policy_loosens_nothing(lab):
    """What was saved of the policy is damaged, or of another policy, or the file of --policy has become bad: the start
    keeps the kernel's state as it is, does not end, and status says what is degraded; the next good apply mends it.
    Rules out a start that takes what it cannot read for no policy."""
    host, peer = lab.quiet_pair()
    a, b = two_policies(lab, "tc")
    daemon = lab.daemon(host)
    daemon.ok("apply", a)
    wire, path = Verdicts(lab, host, peer), f"{daemon.state_dir}/generation-1.json"
    with open(path, encoding="utf-8") as f:
        good = f.read()
    bad = lab.write("bad.yaml", "version: 1\nfilter: 7\n")
    before, said = kernel.tables(daemon.pin_dir), []
    for text, options in ("", ()), (good[:len(good) // 2], ()), (good.replace('"digest":"', '"digest":"00', 1), ()), \
            (good, ("--policy", bad)):
        daemon.stop(signal.SIGKILL)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        daemon.start(*options)
        assert kernel.tables(daemon.pin_dir) == before and wire.passing() == "a"
        assert len(degraded(daemon)) == 1, degraded(daemon)
        said += degraded(daemon)
    assert "names" in said[0] and f"{bad} was refused" in said[-1]
    daemon.ok("apply", b)
    assert wire.passing() == "b" and not degraded(daemon)
    promise("F6", "a damaged saved policy loosens nothing", "generation file empty, cut, of another digest; bad --policy; start",
            "kernel state as found; degraded; health says so", f"0 bytes changed, 4 starts; '{said[0]}'")


def test_a_killed_save_leaves_files_that_parse(lab):
    """Run-time attachments are saved again and again while the daemon is killed at random points: every file of the
    state directory parses each time and each start reads it. Rules out a file that is written in place."""
    host, peer = lab.quiet_pair()
    lab.quiet_veth(host, peer, "spare0")
    daemon = lab.daemon(host)
    daemon.ok("apply", two_policies(lab, "tc")[0])
    rng, wire, parsed = random.Random(SEED), Verdicts(lab, host, peer), 0
    for n in range(SAVES):
        verb = ("attach", "spare0", "--as", "wan") if n % 2 else ("detach", "spare0")
        client = lab.spawn(host, f"{BUILD}/penstock", "--instance", daemon.instance, "--run-dir", daemon.run_dir, *verb)
        time.sleep(rng.uniform(0, 0.02))
        daemon.stop(signal.SIGKILL)
        end(client)
        parsed += saved_parses(daemon)
        logged = len(daemon.logged())
        daemon.start()
        assert "overrides" not in daemon.logged()[logged:]
    assert wire.passing() == "a"
    promise("P29 F14", "a save that dies leaves a file that parses", f"{SAVES} SIGKILLs around a save",
            "every file parses every time; the policy stays", f"{parsed} files read, 0 broken; policy in force")


def test_a_thousand_hangups_are_serialised(lab):
    """SIGHUP a thousand times while the file of --policy changes under the daemon: applies follow each other, none is
    lost half way, no daemon dies, and in the end the file as it is last is in force. Rules out two applies at once, a
    queue without an end, and a last signal that nobody hears."""
    host, peer = lab.quiet_pair()
    paths = two_policies(lab, "tc")
    texts = []
    for path in paths:
        with open(path, encoding="utf-8") as f:
            texts.append(f.read())
    live = lab.write("live.yaml", texts[0])
    daemon = lab.daemon(host, "--policy", live)
    wire = Verdicts(lab, host, peer)
    for n in range(HANGUPS):
        if n % 50 == 0:
            lab.write("next.yaml", texts[n // 50 % 2])
            os.rename(f"{lab.dir}/next.yaml", live)
        os.kill(daemon.process.pid, signal.SIGHUP)
        time.sleep(0.001)
    lab.write("next.yaml", texts[1])
    os.rename(f"{lab.dir}/next.yaml", live)
    os.kill(daemon.process.pid, signal.SIGHUP)
    wait_for(lambda: wire.passing() == "b", "the last file to be in force", 20)
    wait_for(lambda: daemon.cli("apply", paths[1], "--json").exit == 0, "no apply under way")
    applies = daemon.get("/v1/status")["policy"]["generation"]
    assert "error" not in daemon.logged() and applies <= HANGUPS
    saved_parses(daemon)
    promise("F44", "signals in hundreds are serialised", f"SIGHUP {HANGUPS + 1} times, the file changed 21 times",
            "one apply at a time; the last complete one wins", f"{applies} generations, the last file in force, 0 errors")


def test_a_stopped_daemon_is_said_in_time(lab):
    """The daemon is stopped by SIGSTOP: each verb that asks it, those that may work for minutes too, ends within five
    seconds with exit 3 and a sentence; the policy stays in force; afterwards everything works. Rules out a client that
    waits for as long as an apply may take."""
    host, peer = lab.quiet_pair()
    a, b = two_policies(lab, "tc")
    daemon = lab.daemon(host)
    daemon.ok("apply", a)
    wire = Verdicts(lab, host, peer)
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        verbs = ("status",), ("apply", b), ("set", "add", "good", "192.0.2.7"), ("attach", "wan0", "--as", "wan"), \
            ("explain", "--at", "wan.ingress", "udp 192.0.2.7:1 > 192.0.2.8:2")
        started = time.monotonic()
        clients = [lab.spawn(host, f"{BUILD}/penstock", "--instance", daemon.instance, "--run-dir", daemon.run_dir,
                             *verb, stderr=subprocess.PIPE, text=True) for verb in verbs]
        said = []
        for client in clients:
            said.append(client.communicate(timeout=20)[1].strip())
            assert client.returncode == 3
        took = time.monotonic() - started
        assert wire.passing() == "a"
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    assert took <= PATIENCE + 1
    assert set(said) == {"penstock: the daemon did not answer within 4.5 s; is penstockd stopped or stuck?"}, said
    assert daemon.ok("status")["policy"]["generation"] == 1
    daemon.ok("apply", b)
    assert wire.passing() == "b"
    promise("F3", "a stopped daemon is said in time", "SIGSTOP, then " + ", ".join(verb[0] for verb in verbs),
            "datapath unaffected; the command line ends ≤ 5 s with a clear text",
            f"exit 3 after {took:.1f} s: '{said[0]}'; enforced")
