# SPDX-License-Identifier: Apache-2.0
"""The daemon as a service: the unit, what it promises to whoever starts it, and the same without systemd."""
import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

import frames
from lab import BUILD, HOST4, ROOT, datagrams, wait_for
from test_inspect import inspector_of

PORT = 5353
UNIT = f"{ROOT}/packaging/systemd/penstockd.service.in"
POLICY = """version: 1
attach:
  wan: {dev: wan0, hook: tc}
filter:
  wan-in:
    at: wan.ingress
    default: pass
    rules:
      - {id: bad, from: 203.0.113.0/24, do: drop}
"""
systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")


def unit():
    """{key: all its words}"""
    found = {}
    with open(UNIT, encoding="ascii") as f:
        for key, value in re.findall(r"^(\w+)=(.*)$", f.read(), re.M):
            found.setdefault(key, []).extend(value.split())
    return found


def calls_of(group):
    text = subprocess.run(("systemd-analyze", "syscall-filter", group), capture_output=True, text=True,
                          check=True).stdout
    words = [line.strip() for line in text.splitlines()[1:]]
    return set().union(*(calls_of(word) if word.startswith("@") else {word} for word in words if word))


@systemd
def test_the_unit_is_sound_and_hardened(lab):
    """systemd finds nothing wrong with it and rates its exposure at most 2.5 of 10; it allows every system call that
    the daemon allows itself; it is ordered before networks. Rules out a unit that is hardened until it fails."""
    with open(UNIT, encoding="ascii") as f:
        path = lab.write("penstockd.service", f.read().replace("@SBIN@", BUILD))
    done = subprocess.run(("systemd-analyze", "verify", "--man=no", path), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run(("systemd-analyze", "security", "--offline=yes", "--threshold=25", "--no-pager", path),
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-400:]
    print(done.stdout.splitlines()[-1])
    words = unit()
    calls = {w: calls_of(w.lstrip("~")) if "@" in w else {w} for w in ("@default", *words["SystemCallFilter"])}
    allowed = set().union(*(c for w, c in calls.items() if w[0] != "~"))
    allowed -= set().union(*(c for w, c in calls.items() if w[0] == "~"))
    with open(f"{ROOT}/control/sandbox.c", encoding="ascii") as f:
        own = set(re.findall(r"SCMP_SYS\((\w+)\)", f.read()))
    assert len(own) > 100 and own | {"setresuid", "setresgid", "setgroups"} <= allowed, own - allowed
    assert {"network-pre.target", "shutdown.target"} <= set(words["Before"])
    assert words["Type"] == ["notify"] and words["DefaultDependencies"] == ["no"]


class Service:
    """Starts penstockd as the unit does: its capabilities, its arguments, a socket to be told at."""

    def __init__(self, lab):
        self.lab = lab
        self.host, self.peer = lab.quiet_pair()
        self.told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.told.bind(f"{lab.dir}/notify")
        self.told.settimeout(10)
        os.chmod(f"{lab.dir}/notify", 0o777)
        lab.closing.append(self.told)
        self.daemon = lab.daemon(self.host, start=False)
        self.arguments = ("--instance", self.daemon.instance, "--run-dir", self.daemon.run_dir, "--state-dir",
                          self.daemon.state_dir, "--user", "nobody", "--policy", lab.write("policy.yaml", POLICY))
        self.sink, self.wire = lab.udp_sink(self.host, PORT), lab.wire(self.peer, "to-wan0")

    def start(self):
        capabilities = ",".join("+" + c.lower().removeprefix("cap_") for c in unit()["CapabilityBoundingSet"])
        with open(self.daemon.log, "ab") as log:
            self.daemon.process = self.lab.spawn(
                self.host, "setpriv", f"--bounding-set=-all,{capabilities}", "env",
                f"NOTIFY_SOCKET={self.lab.dir}/notify", "WATCHDOG_USEC=200000", f"{BUILD}/penstockd",
                *self.arguments, stderr=log)

    def wait_told(self, word):
        words = []
        while word not in words:
            words += self.told.recv(4096).decode().split("\n")
        return words

    def send_both(self):
        """What arrives of a frame that the policy drops, and of one that it passes, sent after it."""
        for source in "203.0.113.1", "192.0.2.1":
            self.wire.send(frames.udp_frame(source, HOST4, PORT, source.encode()))
        got = []
        wait_for(lambda: got.extend(datagrams(self.sink)) or b"192.0.2.1" in got, "the frame that passes")
        return got


def test_ready_means_enforced(lab):
    """With the unit's capabilities and a device that is down until penstockd is ready: not one frame gets past the
    policy. penstock-inspect runs beside it. It tells its watchdog that it lives, says that it stops, leaves the policy enforced, and starts again
    in directories that are the user's by now. Rules out a service that is ready before it filters."""
    service = Service(lab)
    lab.ip(service.host, "link set wan0 down")
    for _ in range(2):
        service.start()
        service.wait_told("READY=1")
        assert inspector_of(service.daemon)
        lab.ip(service.host, "link set wan0 up")
        assert service.send_both() == [b"192.0.2.1"]
        for _ in range(2):
            service.wait_told("WATCHDOG=1")
        service.daemon.process.send_signal(signal.SIGTERM)
        service.wait_told("STOPPING=1")
        assert service.daemon.process.wait(10) == 0
        assert service.send_both() == [b"192.0.2.1"]
    assert "programs adopted" in service.daemon.logged()


def test_the_same_without_systemd(lab):
    """A script that runs penstockd gets its prompt back with 0 when the policy is enforced, with 1 when it was
    refused. Rules out a daemon that returns before it filters."""
    service = Service(lab)
    command = (f"{BUILD}/penstockd", *service.arguments)
    broken = lab.write("broken.yaml", "version: 2\n")
    assert lab.run(service.host, *command, "--policy", broken).exit == 1
    try:
        answer = lab.run(service.host, *command)
        assert answer.exit == 0, answer
        assert service.send_both() == [b"192.0.2.1"]
        assert service.daemon.cli("status").exit == 0
    finally:
        with open(f"{service.daemon.state_dir}/lock", encoding="ascii") as f:
            os.kill(int(f.read()), signal.SIGTERM)
    wait_for(lambda: service.daemon.cli("status").exit == 3, "the daemon to end")
    assert service.send_both() == [b"192.0.2.1"]


def test_install_and_uninstall(lab):
    """make install puts unit, user and directories in place, with the prefix in the unit; uninstall takes every
    file away. Rules out a unit that starts a program that is not there."""
    make = ("make", "-s", "-C", ROOT, f"DESTDIR={lab.dir}/root", "PREFIX=/opt/p")
    for target in "install", "uninstall":
        done = subprocess.run((*make, target), capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        found = {os.path.join(folder, name).removeprefix(f"{lab.dir}/root/opt/p/")
                 for folder, _, files in os.walk(f"{lab.dir}/root") for name in files}
        if target == "uninstall":
            assert not found
            continue
        assert {"sbin/penstockd", "sbin/penstock-inspect", "lib/systemd/system/penstockd.service", "lib/sysusers.d/penstock.conf",
                "lib/tmpfiles.d/penstock.conf"} <= found
        with open(f"{lab.dir}/root/opt/p/lib/systemd/system/penstockd.service", encoding="ascii") as f:
            assert "ExecStart=/opt/p/sbin/penstockd " in f.read()
