# SPDX-License-Identifier: Apache-2.0
"""A change of the policy is all or nothing: seen from the wire, from a daemon that dies in its midst, and from a
file that is no policy."""
import contextlib
import glob
import json
import os
import random
import signal
import subprocess
import time

import pytest

import frames
import kernel
from lab import BUILD, HOST4, LONG, ROOT, SLOW, wait_for
from promises import promise

SWAPS = {"tc": 200 if SLOW == 1 else 6, "xdp": 200 if LONG else 40}
KILLS = 100 if LONG else 20
KILLED_COMPILERS = 60 if LONG else 15
PREFIXES = 500
PORT = 7000
MARK = "192.0.2.1"
SEED = 20261201

POLICY = """version: 1
attach:
  wan: {dev: wan0, hook: %(hook)s}
sets:
  good: {file: %(name)s.txt}
filter:
  wan-in:
    at: wan.ingress
    default: drop
    rules:
      - {id: good, from: $good, do: pass}
      - {id: mark, from: 192.0.2.1, do: pass}
"""


def prefix(which, n):
    """Those of a are of even networks, those of b of odd ones."""
    return f"100.{64 + n // 100}.{2 * (n % 100) + which}"


def two_policies(lab, hook):
    """The paths of a and b: no source passes both but the mark."""
    for which, name in enumerate("ab"):
        lab.write(name + ".txt", "".join(f"{prefix(which, n)}.0/24\n" for n in range(PREFIXES)))
    return [lab.write(name + ".yaml", POLICY % {"hook": hook, "name": name}) for name in "ab"]


def probe_frames(lab):
    """The file for the tool: the mark, then a pair for each pair of prefixes."""
    rng = random.Random(SEED)
    rows = [("m", MARK)]
    for n in range(PREFIXES):
        rows += [(name, f"{prefix(which, n)}.{rng.randrange(1, 255)}") for which, name in enumerate("ab")]
    path = lab.write("frames", "")
    with open(path, "wb") as f:
        for payload, source in rows:
            f.write(frames.udp_frame(source, HOST4, PORT, payload.encode().ljust(18)))
    return path


class Pairs:
    """The tool, watching."""

    def __init__(self, lab, host, peer):
        self.process = lab.spawn(peer, f"{BUILD}/tests/tools/pairs", "to-wan0", f"/run/netns/{host}", str(PORT),
                                 probe_frames(lab), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True)
        lab.closing += [self.process.stdout, self.process.stdin]

    def seen(self, changes):
        """Waits until it has seen the change of that number."""
        line = self.process.stdout.readline()
        assert line == f"{changes}\n", f"change {changes}: {line}"

    def end(self):
        """pairs, both, neither, changes, milliseconds"""
        self.process.stdin.close()
        words = self.process.stdout.readline().split()
        assert words and words[0] == "end", words
        return [int(word) for word in words[1:]]


@pytest.mark.parametrize("hook", [pytest.param("tc", marks=pytest.mark.guest), "xdp"])
def test_a_swap_is_one_moment(lab, hook):
    """Two policies that pass disjoint sets of 500 prefixes change places again and again while pairs of frames, one for
    either, follow each other on the wire: no pair passes whole, a swap costs at most the one pair that it meets, and
    once the new policy has been seen the old one never is. Rules out an apply rule by rule or set by set, one with a
    gap, and one that packets on another CPU see later."""
    host, peer = lab.quiet_pair()
    a, b = two_policies(lab, hook)
    daemon = lab.daemon(host)
    daemon.ok("apply", a)
    pairs, swaps = Pairs(lab, host, peer), SWAPS[hook]
    for swap in range(1, swaps + 1):
        daemon.ok("apply", (a, b)[swap % 2])
        pairs.seen(swap)
    done, both, neither, changes, took = pairs.end()
    rate = done * 1000 // took
    assert both == 0 and neither <= swaps and changes == swaps
    assert rate >= 20000 or not LONG
    promise("P1", f"a policy change is all or nothing, at {hook.upper()}",
            f"{swaps} swaps between two disjoint policies of {PREFIXES} prefixes under pairs of frames on the wire, "
            "≥ 20 000 pairs/s", "both pass: 0; neither: at most one a swap; old after new: 0",
            f"{done:,} pairs at {rate:,}/s: both pass {both}, neither {neither} in {swaps} swaps, "
            f"old after new {changes - swaps}")


def saved_parses(daemon):
    """Every file that the state directory shows under its own name is whole."""
    names = [n for n in os.listdir(daemon.state_dir) if n.endswith(".json") and n[0] != "."]
    for name in names:
        with open(f"{daemon.state_dir}/{name}", encoding="utf-8") as f:
            json.load(f)
    return len(names)


def apply_time(daemon, paths):
    """Leaves the last one in force; gives the seconds of an apply."""
    started = time.monotonic()
    for path in paths * 2:
        daemon.ok("apply", path)
    return (time.monotonic() - started) / (2 * len(paths))


class Verdicts:
    """What the wire says of a policy: the names of those that pass."""

    def __init__(self, lab, host, peer):
        self.wire, self.sink = lab.wire(peer, "to-wan0"), lab.udp_sink(host, PORT)

    def passing(self):
        for name, source in ("a", prefix(0, 7) + ".9"), ("b", prefix(1, 7) + ".9"), ("m", MARK):
            self.wire.send(frames.udp_frame(source, HOST4, PORT, name.encode()))
        got = []
        while "m" not in got:
            got.append(self.sink.recv(100).decode())
        return "".join(got[:-1])


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return f.read().split()


def killed_within(daemon, path, delay):
    """SIGKILL so many seconds after an apply of path began; gives the processes that the daemon had then."""
    client = daemon.lab.spawn(daemon.ns, f"{BUILD}/penstock", "--instance", daemon.instance, "--run-dir",
                              daemon.run_dir, "apply", path)
    time.sleep(delay)
    had = children(daemon.process.pid)
    daemon.stop(signal.SIGKILL)
    client.wait(20)
    return had


def test_a_killed_apply_is_done_or_not(lab):
    """SIGKILL at random points of an apply: what is in force is the old policy or the new one, byte for byte, in the
    bank and in its near lines, and what the wire says; every saved file parses; the next start says which policy it
    found, and the next apply works. Rules out an apply in place, names that are saved after the flip, and a state file
    that is written in place."""
    host, peer = lab.quiet_pair()
    paths = two_policies(lab, "tc")
    daemon = lab.daemon(host)
    took = apply_time(daemon, paths)
    known = {}
    for name, path in zip("ab", paths):
        daemon.ok("apply", path)
        policy = kernel.Policy(daemon.pin_dir)
        known[policy.digest] = name, policy.content
    wire, rng, found, parsed = Verdicts(lab, host, peer), random.Random(SEED), {"old": 0, "new": 0}, 0
    for kill in range(KILLS):
        before = kernel.Policy(daemon.pin_dir)
        to = paths["ba".index(known[before.digest][0])]
        had = killed_within(daemon, to, rng.uniform(0, 1.1 * took))
        after = kernel.Policy(daemon.pin_dir)
        name, content = known[after.digest]
        assert after.content == content, f"kill {kill}: a mixture"
        assert wire.passing() == name
        found["old" if after.digest == before.digest else "new"] += 1
        parsed += saved_parses(daemon)
        wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in had), "the compiler to end with its daemon")
        logged = len(daemon.logged())
        daemon.start()
        assert daemon.get("/v1/status")["policy"]["digest"] == after.digest
        assert f"adopted policy {after.digest}, generation {after.generation}\n" in daemon.logged()[logged:]
    daemon.ok("apply", paths["ba".index(known[kernel.Policy(daemon.pin_dir).digest][0])])
    assert min(found.values()) > 0, found
    promise("P1 P29 F1 F14", "an apply that dies leaves the old policy or the new one, whole",
            f"{KILLS} SIGKILLs of the daemon at random points of an apply", "old or new, byte for byte; saved files "
            "parse; the next start names it",
            f"old {found['old']}, new {found['new']}, mixed 0; {parsed} saved files parsed; "
            f"{KILLS} of {KILLS} starts named it")


def test_a_killed_compiler_changes_nothing(lab):
    """SIGKILL of the process that compiles, as the kernel does it that runs out of memory, at random points of an
    apply: the apply fails with a sentence or was done already, the policy in force is whole, the daemon lives and the
    next apply works. Rules out a daemon that compiles in its own process, and one that waits for ever."""
    host, peer = lab.quiet_pair()
    paths = two_policies(lab, "tc")
    daemon = lab.daemon(host)
    took, wire, rng = apply_time(daemon, paths), Verdicts(lab, host, peer), random.Random(SEED)
    failed, now, last = 0, "b", ""
    for _ in range(KILLED_COMPILERS):
        to = "ab"["ba".index(now)]
        client = lab.spawn(host, f"{BUILD}/penstock", "--instance", daemon.instance, "--run-dir", daemon.run_dir, "apply",
                           paths["ab".index(to)], stderr=subprocess.PIPE, text=True)
        while not (compilers := children(daemon.process.pid)) and client.poll() is None:
            pass
        time.sleep(rng.uniform(0, took / 4))
        for pid in compilers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        said = client.communicate(timeout=20)[1].strip()
        assert client.returncode == (1 if said else 0), said
        failed += client.returncode
        now, last = (now, said) if said else (to, last)
        assert wire.passing() == now
    daemon.ok("apply", paths["ba".index(now)])
    assert failed > 0 and daemon.process.poll() is None
    promise("F4", "an apply whose compiler is killed fails whole", f"SIGKILL of the compiler during {KILLED_COMPILERS} "
            "applies, at random points", "the old policy stays, or the new one is whole; the daemon lives",
            f"{failed} failed, {KILLED_COMPILERS - failed} were done already, 0 mixed: '{last}'")


def is_bad(path):
    """Some of the corpus only deserve a warning."""
    with open(path.replace(".yaml", ".expected"), encoding="utf-8") as f:
        return ": error: " in f.read()


def test_no_bad_file_changes_anything(lab):
    """Each file of the corpus that has an error, applied over a live policy: refused, and every byte of both banks,
    their near lines, the word and the zones is what it was, as are digest and generation; a good one then works. Rules
    out a refusal after half of the work, and an apply that is less strict than check."""
    host, peer = lab.quiet_pair()
    paths = two_policies(lab, "tc")
    daemon = lab.daemon(host)
    for path in paths:
        daemon.ok("apply", path)
    before, said = kernel.tables(daemon.pin_dir), daemon.get("/v1/status")["policy"]
    corpus = [p for p in sorted(glob.glob(f"{ROOT}/tests/policy/bad/*.yaml")) if is_bad(p)]
    for path in corpus:
        answer = daemon.cli("apply", path)
        assert answer.exit == 1, f"{path}: {answer}"
        assert kernel.tables(daemon.pin_dir) == before, path
    assert daemon.get("/v1/status")["policy"] == said
    wire = Verdicts(lab, host, peer)
    assert wire.passing() == "b"
    assert daemon.ok("apply", paths[0])["policy"]["generation"] == said["generation"] + 1
    assert wire.passing() == "a"
    assert len(corpus) >= 60
    promise("P2", "a bad file changes nothing", f"{len(corpus)} bad files of the corpus over a live policy",
            "exit 1; every byte of the tables, digest and generation as before; the next good apply works",
            f"{len(corpus)} refused, 0 bytes changed, generation {said['generation']} before and after; "
            "next apply good")
