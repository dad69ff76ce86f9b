# SPDX-License-Identifier: Apache-2.0
"""Files that are changed, replaced, or no files at all while the daemon reads them."""
import contextlib
import glob
import json
import multiprocessing
import os
import shutil
import signal
import stat
import time

import pytest

import kernel
from lab import LONG, wait_for
from promises import promise
from test_promise_apply import Verdicts, two_policies

TRIES = 1000 if LONG else 20
GIBIBYTE = 1 << 30


class Meddler:
    """A process that calls step(0), step(1), step(2), …, each of which leaves the processor to others for a while."""

    def __init__(self, lab, step):
        self.process = multiprocessing.Process(target=self.run, args=(step,), daemon=True)
        self.process.start()
        lab.closing.append(self)

    def run(self, step):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        n = 0
        while True:
            step(n)
            n += 1

    def close(self):
        self.process.terminate()
        self.process.join()


def put(path, text):
    """In the place of what is there, by one rename."""
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text)
    os.rename(path + ".new", path)


def kept_copy(daemon, lab):
    """The texts of the running policy, as the daemon keeps them, under the names that the policy has for them."""
    generation = daemon.get("/v1/status")["policy"]["generation"]
    with open(f"{daemon.state_dir}/generation-{generation}.json", encoding="utf-8") as f:
        number = json.load(f)["sources"]["number"]
    os.makedirs(f"{lab.dir}/kept", exist_ok=True)
    for name, to in ("0", "policy.yaml"), ("1", "list.txt"):
        shutil.copy(f"{daemon.state_dir}/sources-{number}/{name}", f"{lab.dir}/kept/{to}")
    return f"{lab.dir}/kept/policy.yaml"


def test_what_was_read_is_what_runs(lab):
    """Another process writes to the policy and its set file in place, a member at a time, cuts them and replaces them,
    without a pause, while they are applied again and again: each time the digest that the answer reports is that of
    the bank, and the texts that the daemon keeps are that very policy; what could not be read as a policy is refused and
    changes nothing. Rules out a second look at a file, and a digest of something else than what was compiled."""
    host, _ = lab.quiet_pair()
    text = """version: 1
attach:
  wan: {dev: wan0, hook: tc}
sets:
  good: {file: list.txt}
filter:
  wan-in:
    at: wan.ingress
    default: %s
    rules:
      - {id: good, from: $good, do: %s}
"""
    texts = [text % ("drop", "pass"), text % ("pass", "drop"), (text % ("drop", "pass"))[:-9]]
    lists = ["".join(f"100.{64 + n // 100}.{2 * (n % 100) + which}.0/24\n" for n in range(500)) for which in range(2)]
    path, listed = lab.write("policy.yaml", texts[0]), lab.write("list.txt", lists[0])
    daemon = lab.daemon(host)
    daemon.ok("apply", path)

    def step(n):
        with open(listed, "r+", encoding="utf-8") as f:
            f.write(lists[n % 2][:1 + n * 977 % 7000])
        if n % 5 == 0:
            with open(path, "w", encoding="utf-8") as f:
                f.write(texts[n % 3])
        if n % 7 == 0:
            put(listed, lists[n % 2])
            put(path, texts[n % 2])
        time.sleep(0.001)

    Meddler(lab, step)
    taken, refused, digests = 0, 0, set()
    for _ in range(TRIES):
        before = kernel.Policy(daemon.pin_dir).digest
        answer = daemon.cli("apply", path, "--json")
        assert answer.exit in (0, 1), answer
        now = kernel.Policy(daemon.pin_dir).digest
        if answer.exit:
            assert now == before
            refused += 1
            continue
        taken += 1
        digests.add(now)
        assert answer.json["policy"]["digest"] == now == daemon.get("/v1/status")["policy"]["digest"]
        if not answer.json["unchanged"]:
            assert daemon.cli("diff", kept_copy(daemon, lab)).exit == 0
    assert min(taken, refused) > 0 and len(digests) > 2, (taken, refused, digests)
    promise("F45", "what was read is what runs", f"{TRIES} applies of a policy and a set file that another process "
            "writes to, cuts and replaces without a pause", "one read; the digest reported is that of what runs",
            f"{taken} taken, of {len(digests)} contents, digest and texts kept those of the bank each time; {refused} "
            "refused, 0 changes by them")


OUTCOMES = "is active already", "active as generation", "nothing was changed", "the running policy stays"


def reloaded(daemon):
    """How often the daemon has said how a start or a SIGHUP went."""
    return sum(daemon.logged().count(outcome) for outcome in OUTCOMES)


def test_a_link_in_the_place_of_the_policy(lab):
    """The file of --policy, its set file in turn, is replaced by a link to one of somebody else's and back, without a
    pause, while the daemon is told to read it again and again: it reads the file, or refuses the link by name, and what
    the link points to is never in force. Rules out a look at the name before it is opened."""
    host, peer = lab.quiet_pair()
    a, b = two_policies(lab, "tc")
    with open(a, encoding="utf-8") as f:
        text = f.read()
    with open(f"{lab.dir}/a.txt", encoding="utf-8") as f:
        members = f.read()
    live = lab.write("live/live.yaml", text)
    listed = lab.write("live/a.txt", members)
    daemon = lab.daemon(host, "--policy", live)
    good = daemon.get("/v1/status")["policy"]["digest"]
    wire = Verdicts(lab, host, peer)

    def step(n):
        for path, content, other in (live, text, b), (listed, members, f"{lab.dir}/b.txt"):
            with contextlib.suppress(FileExistsError):
                os.symlink(other, path + ".link")
            os.rename(path + ".link", path)
            time.sleep(n % 3 / 1000)
            put(path, content)
            time.sleep(n % 5 / 1000)

    Meddler(lab, step)
    for _ in range(TRIES):
        said = reloaded(daemon)
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: reloaded(daemon) > said, "the daemon to say how it went", every=0.002)
        assert daemon.get("/v1/status")["policy"]["digest"] == good
    assert wire.passing() == "a" and daemon.process.poll() is None
    links = daemon.logged().count("it is a symbolic link")
    assert min(links, daemon.logged().count("is active already")) > 0, daemon.logged()
    promise("F45", "a link in the place of the policy is not followed",
            f"{TRIES} times SIGHUP while the policy and its set file are replaced by links and back", "the file, or a refusal; never what the link points to",
            f"{links} links refused, 0 followed; the policy in force stays")


def remove(path):
    if os.path.isdir(path):
        os.rmdir(path)
    else:
        os.unlink(path)


def test_what_is_no_file_is_refused_at_once(lab):
    """A FIFO that nobody writes to, a device without an end, a directory and a socket in the place of the file of
    --policy and of its set file: each is refused with its name, nothing waits, and the policy stays. An apply of the
    device ends, too. Rules out an open that blocks, and a read without a limit."""
    host, peer = lab.quiet_pair()
    policy, _ = two_policies(lab, "tc")
    daemon = lab.daemon(host, "--policy", policy)
    wire, kinds = Verdicts(lab, host, peer), (
        os.mkfifo, lambda path: os.mknod(path, 0o600 | stat.S_IFCHR, os.stat("/dev/zero").st_rdev), os.mkdir,
        lambda path: os.mknod(path, 0o600 | stat.S_IFSOCK))
    for path in policy, f"{lab.dir}/a.txt":
        os.rename(path, path + ".good")
        for make in kinds:
            make(path)
            os.truncate(daemon.log, 0)
            daemon.process.send_signal(signal.SIGHUP)
            wait_for(lambda: reloaded(daemon), daemon.logged)
            assert f"{os.path.basename(path)}: " in daemon.logged()
            assert "no regular file" in daemon.logged() or "No such device" in daemon.logged(), daemon.logged()
            remove(path)
        os.rename(path + ".good", path)
    answer = daemon.cli("apply", "/dev/zero")
    assert answer.exit == 1 and "/dev/zero" in answer.stderr, answer
    assert wire.passing() == "a" and daemon.ok("status")["policy"]["generation"] == 1


NAMES = "history.json", "overrides.json", "generation-2.json", ".history.json.new", ".generation-3.json.new"


def as_link(path, outside):
    os.symlink(outside, path)


def as_big(path, _):
    with open(path, "wb") as f:
        f.truncate(GIBIBYTE)


ODD = {"links": as_link, "directories": lambda path, _: os.mkdir(path), "FIFOs": lambda path, _: os.mkfifo(path),
       "GiB files": as_big}


@pytest.mark.parametrize("what", ODD)
def test_odd_entries_of_the_state_directory_loosen_nothing(lab, what):
    """What the state directory holds was replaced, while the daemon was dead, by links to a file outside, directories,
    FIFOs, files of a GiB, and there are names with the last number of all: it starts, says which ones it could not read,
    the policy stays in force, what a link points to is untouched, and the next apply works, under the next number, unless
    a directory is in its way. Rules out a start that hangs, follows, or reads without a limit, and a number that wraps."""
    host, peer = lab.quiet_pair()
    a, b = two_policies(lab, "tc")
    daemon = lab.daemon(host)
    for path in b, a:
        daemon.ok("apply", path)
    wire = Verdicts(lab, host, peer)
    daemon.stop(signal.SIGKILL)
    outside = lab.write("outside", '{"schema": 1}')
    before, logged = kernel.tables(daemon.pin_dir), len(daemon.logged())
    for name in NAMES:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{daemon.state_dir}/{name}")
        ODD[what](f"{daemon.state_dir}/{name}", outside)
    os.symlink(lab.dir, f"{daemon.state_dir}/sources-7")
    for last in f"sources-{2**64 - 1}", f"generation-{2**64 - 1}.json":
        os.mkdir(f"{daemon.state_dir}/{last}")
    daemon.start()
    said = daemon.logged()[logged:]
    for name in "history", "overrides", "generation 2":
        assert name in said, said
    assert kernel.tables(daemon.pin_dir) == before and wire.passing() == "a"
    answer = daemon.cli("apply", b)
    assert answer.exit == 0 or (what == "directories" and "nothing was changed" in answer.stderr), answer
    assert wire.passing() == ("a" if answer.exit else "b")
    assert daemon.get("/v1/status")["policy"]["generation"] == (2 if answer.exit else 3)
    with open(outside, encoding="utf-8") as f:
        assert f.read() == '{"schema": 1}'
    assert glob.glob(f"{lab.dir}/a.yaml")
    promise("P29 F13", f"odd entries of the state directory loosen nothing: {what}",
            f"SIGKILL, {len(NAMES)} entries replaced by {what}, start, apply", "said at the start; the policy stays in force; nothing outside is touched",
            f"started and enforced, 0 bytes changed; {'applied again' if not answer.exit else answer.stderr.strip()}")
