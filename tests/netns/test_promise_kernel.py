# SPDX-License-Identifier: Apache-2.0
"""What the kernel takes away: memory, from a cgroup that has none left, and the bpffs with all pins."""
import contextlib
import os
import signal
import subprocess
import time

import pytest

import kernel
from lab import BUILD, LONG, PEER4, wait_for
from promises import promise
from test_attach import Probe, policy
from test_promise_apply import Verdicts, children, saved_parses, two_policies

PATIENCE = 5.0  # seconds
OOM_KILLS = 10 if LONG else 3
ATTEMPTS = 5 * OOM_KILLS
LARGE = 300_000
V1, V2 = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"


class Cgroup:
    """A memory cgroup of our own, of either version, with a limit that nothing can grow in."""

    def __init__(self, lab):
        self.v2 = os.path.exists(f"{V2}/cgroup.controllers")
        if not self.v2 and not os.path.exists(f"{V1}/memory.limit_in_bytes"):
            pytest.skip("no memory cgroups are mounted here")
        if self.v2:
            with open(f"{V2}/cgroup.subtree_control", encoding="ascii") as f:
                if "memory" not in f.read().split():
                    pytest.skip("the memory controller is not for children of the root cgroup here")
        self.top = V2 if self.v2 else V1
        with open("/proc/self/cgroup", encoding="ascii") as f:
            groups = [line.rstrip("\n").split(":", 2) for line in f]
        self.home = next(self.top + path for _, kinds, path in groups if kinds == ("" if self.v2 else "memory"))
        self.path = f"{self.top}/penstock-{lab.id}"
        os.mkdir(self.path)
        lab.closing.append(self)

    def limit(self, size):
        self.write("memory.max" if self.v2 else "memory.limit_in_bytes", size)

    def write(self, name, value):
        with open(f"{self.path}/{name}", "w", encoding="ascii") as f:
            f.write(str(value))

    def pids(self):
        with open(f"{self.path}/cgroup.procs", encoding="ascii") as f:
            return f.read().split()

    def take(self, pid):
        with contextlib.suppress(ProcessLookupError):
            self.write("cgroup.procs", pid)

    def release(self, pid):
        """Back to where the tests are."""
        with contextlib.suppress(ProcessLookupError), open(f"{self.home}/cgroup.procs", "w", encoding="ascii") as f:
            f.write(str(pid))

    def killed(self):
        with open(f"{self.path}/{'memory.events' if self.v2 else 'memory.oom_control'}", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("oom_kill "))

    def close(self):
        for pid in self.pids():
            self.release(pid)

        def empty():
            with contextlib.suppress(OSError):
                os.rmdir(self.path)
            return not os.path.exists(self.path)
        wait_for(empty, "the cgroup to be empty")


class Large:
    """a runs; c is so large that its compiler, and the daemon that installs it, ask for megabytes."""

    def __init__(self, lab):
        self.lab, self.group = lab, Cgroup(lab)
        self.host, peer = lab.quiet_pair()
        self.a, self.b = two_policies(lab, "tc")
        lab.write("c.txt", "".join(f"100.{65 + (i >> 17) * 2}.{i >> 9 & 255}.{i & 255}/32\n" for i in range(0, LARGE)))
        with open(self.b, encoding="utf-8") as f:
            self.c = lab.write("c.yaml", f.read().replace("b.txt", "c.txt"))
        self.daemon = lab.daemon(self.host)
        self.daemon.ok("apply", self.a)
        self.wire = Verdicts(lab, self.host, peer)
        self.others = set(children(self.daemon.process.pid))  # who asks for it what it may not

    def apply(self, path):
        daemon = self.daemon
        return self.lab.spawn(self.host, f"{BUILD}/penstock", "--instance", daemon.instance, "--run-dir", daemon.run_dir,
                              "apply", path, stderr=subprocess.PIPE, text=True)

    def compiler(self, client):
        """The process that compiles, as soon as it is there; None: it has been."""
        while not (found := set(children(self.daemon.process.pid)) - self.others):
            if client.poll() is not None:
                return None
        return found.pop()


def test_a_compiler_without_memory_fails_the_apply_whole(lab):
    """The compiling child is put into a memory cgroup that has no room for its work, and the kernel ends it: the apply
    says so and changes nothing, the daemon lives, and the same file is applied when there is room. Rules out an apply
    that waits for an answer that never comes, and half a list."""
    site = Large(lab)
    site.group.limit(2 << 20)
    before, kills = kernel.tables(site.daemon.pin_dir)[0], 0
    for _ in range(ATTEMPTS):
        killed, client = site.group.killed(), site.apply(site.c)
        if pid := site.compiler(client):
            site.group.take(pid)
        words = client.communicate(timeout=60)[1].strip()
        if site.group.killed() == killed:  # it had all it needed before it was moved
            site.daemon.ok("apply", site.a)
            before = kernel.tables(site.daemon.pin_dir)[0]
            continue
        said = words
        assert client.returncode == 1 and "killed, maybe out of memory; nothing was changed" in said, said
        assert kernel.tables(site.daemon.pin_dir)[0] == before and site.wire.passing() == "a"
        kills += 1
        if kills == OOM_KILLS:
            break
    assert kills == OOM_KILLS and site.daemon.process.poll() is None
    site.daemon.ok("apply", site.c)
    site.daemon.ok("apply", site.b)
    assert site.wire.passing() == "b"
    promise("F4", "an apply whose compiler runs out of memory fails whole",
            f"a memory cgroup of 2 MiB for the compiler of {LARGE:,} prefixes, until {OOM_KILLS} OOM kills",
            "apply fails whole, old policy kept", f"{kills} kills, 0 bytes changed: '{said}'")


def test_a_daemon_without_memory_leaves_the_old_policy(lab):
    """The daemon is in a memory cgroup in which its compiling child finds no room, and the kernel ends the larger of the
    two, which is the daemon: every time the policy of before is in force whole, what was saved parses, the next daemon
    adopts it by name, and in the end the apply works. Rules out an install over what packets read, and a child that
    lives on without its daemon."""
    site = Large(lab)
    daemon, kills = site.daemon, 0
    site.group.limit(4 << 20)
    before = kernel.tables(daemon.pin_dir)[0]
    for _ in range(ATTEMPTS):
        site.group.take(daemon.process.pid)
        client = site.apply(site.c)
        client.communicate(timeout=60)
        assert client.returncode in (1, 3) and site.wire.passing() == "a"
        assert kernel.tables(daemon.pin_dir)[0] == before and saved_parses(daemon) > 0
        if client.returncode == 1:  # the child was ended
            site.group.release(daemon.process.pid)
            continue
        assert daemon.process.wait(20) == -signal.SIGKILL
        wait_for(lambda: not site.group.pids(), "the child to follow")
        daemon.start()
        assert not daemon.get("/v1/status")["degraded"] and daemon.get("/v1/status")["policy"]["generation"] == 1
        kills += 1
        if kills == OOM_KILLS:
            break
    assert kills == OOM_KILLS and site.group.killed() >= kills
    daemon.ok("apply", site.c)
    daemon.ok("apply", site.b)
    assert site.wire.passing() == "b"
    promise("F4", "a daemon that runs out of memory in an apply leaves the old policy",
            f"a memory cgroup of 4 MiB for daemon and compiler of {LARGE:,} prefixes, until {OOM_KILLS} OOM kills of the "
            "daemon", "apply fails whole, old policy kept", f"{kills} kills, 0 bytes changed, adopted by name each time")


class Mounts:
    """The mount namespace of a daemon, with a bpffs that is nobody else's; it outlives the daemon."""

    def __init__(self, lab, daemon):
        self.lab, self.ns = lab, daemon.ns
        self.holder = lab.spawn(daemon.ns, "unshare", "--mount", "sh", "-c", "umount -l /sys/fs/bpf; mount -t bpf bpf "
                                "/sys/fs/bpf && echo ready && exec sleep 1000", stdout=subprocess.PIPE)
        lab.closing.append(self.holder.stdout)
        assert self.holder.stdout.readline() == b"ready\n"
        self.enter = "nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt"

    def run(self, *command):
        answer = self.lab.run(self.ns, *self.enter, *command)
        assert answer.exit == 0, answer

    def start(self, daemon):
        with open(daemon.log, "ab") as log:
            daemon.process = self.lab.spawn(
                daemon.ns, *self.enter, f"{BUILD}/penstockd", "--foreground", "--instance", daemon.instance, "--run-dir",
                daemon.run_dir, "--state-dir", daemon.state_dir, *daemon.options, stderr=log)
        wait_for(lambda: daemon.cli("status").exit == 0, "the daemon to answer")


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_an_unmounted_bpffs_is_noticed(lab, user):
    """The bpffs with every pin is unmounted under the daemon: packets are judged and counted by what it holds open, and
    it says within five seconds that the next one would find nothing, which for a service user, whose descriptor of
    the directory still shows all pins, takes a look at the mounts. When a bpffs is there again, root's daemon pins
    everything, and one that follows a SIGKILL adopts it. Rules out a daemon that looks at its own descriptors."""
    host, peer = lab.quiet_pair()
    daemon = lab.daemon(host, *(() if user == "root" else ("--user", user)), start=False)
    mounts, probe = Mounts(lab, daemon), Probe(lab, host, peer)
    mounts.start(daemon)
    daemon.apply(policy())
    probe.enforced(daemon)
    assert not os.path.exists(daemon.pin_dir)  # on the machine's own bpffs
    mounts.run("umount", "-l", "/sys/fs/bpf")
    started = time.monotonic()
    said = wait_for(lambda: daemon.get("/v1/status")["degraded"], "it to be noticed", PATIENCE)
    took = time.monotonic() - started
    assert "mount" in said[0] and "ends with this daemon" in said[0], said
    assert [line for line in daemon.logged().splitlines() if line.startswith("error pins: ")]
    probe.enforced(daemon)
    mounts.run("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
    if user == "root":
        wait_for(lambda: not daemon.get("/v1/status")["degraded"], "the pins to be made again", PATIENCE)
        daemon.stop(signal.SIGKILL)
        probe.send()
        assert probe.heard() == [PEER4]
        mounts.start(daemon)
        assert "programs adopted" in daemon.logged()
    probe.enforced(daemon)
    promise("F10", f"an unmounted bpffs is noticed, as {user}", "umount -l /sys/fs/bpf under the daemon, then a mount",
            "noticed within 5 s; datapath kept alive by held descriptors; repair or alarm",
            f"enforced and counted; said after {took:.1f} s: '{said[0].replace(daemon.pin_dir, 'PINS')}'"
            + ("; pinned again, adopted after SIGKILL" if user == "root" else ""))
