# SPDX-License-Identifier: Apache-2.0
"""What grows with time: nothing. PENSTOCK_LONG=1: 10 000 applies and 1000 restarts."""
import os
import signal
import time

import kernel
from lab import LONG
from promises import promise
from test_promise_apply import two_policies

APPLIES = 10_000 if LONG else 300
RESTARTS = 1000 if LONG else 30
WARM_APPLIES, WARM_RESTARTS = (1000, 20) if LONG else (60, 3)
RSS_SLACK_KIB = 512  # what an allocator may keep; a leak of a page an apply is more


def held(daemon):
    """(programs, maps, descriptors, files of state, RSS in KiB)"""
    pid = daemon.process.pid
    programs, maps = kernel.objects(daemon.pin_dir, pid)
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        rss = next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))
    return len(programs), len(maps), descriptors(pid), files_below(daemon.state_dir), rss


def descriptors(pid):
    """Without the one of a connection that is just being closed."""
    least = len(os.listdir(f"/proc/{pid}/fd"))
    for _ in range(10):
        time.sleep(0.02)
        least = min(least, len(os.listdir(f"/proc/{pid}/fd")))
    return least


def files_below(path):
    return sum(len(files) for _, _, files in os.walk(path))


def said(counts):
    return "programs {}, maps {}, descriptors {}, files {}, RSS {:,} KiB".format(*counts)


def is_flat(before, after):
    return before[:-1] == after[:-1] and after[-1] <= before[-1] + RSS_SLACK_KIB


def test_applies_and_restarts_leave_nothing_behind(lab):
    """Hundreds of applies and dozens of restarts, half of them by SIGKILL: as many programs, maps, descriptors and
    files as after the first ones, and no more memory. Rules out a bank, a link, a source or a generation that nobody
    puts away."""
    host, _ = lab.quiet_pair()
    paths = two_policies(lab, "tc")
    daemon = lab.daemon(host)
    for n in range(WARM_APPLIES):
        daemon.ok("apply", paths[n % 2])
    before = held(daemon)
    for n in range(APPLIES):
        daemon.ok("apply", paths[n % 2])
    after = held(daemon)
    assert is_flat(before, after), f"before: {said(before)}; after: {said(after)}"
    restarts = []
    for n in range(RESTARTS + WARM_RESTARTS):
        daemon.stop(signal.SIGKILL if n % 2 else signal.SIGTERM)
        daemon.start()
        daemon.get("/v1/status")
        restarts.append(held(daemon))
    first, last = restarts[WARM_RESTARTS - 1], restarts[-1]
    assert is_flat(first, last), f"first: {said(first)}; last: {said(last)}"
    promise("P40", "nothing grows with time", f"{APPLIES:,} applies, then {RESTARTS:,} restarts, every other by SIGKILL",
            "programs, maps, descriptors and files equal, RSS flat, after a warm-up",
            f"applies: {said(before)} → {said(after)}; restarts: {said(first)} → {said(last)}")
