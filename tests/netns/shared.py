# SPDX-License-Identifier: Apache-2.0
"""One host, one peer and one daemon for many tests: where a load of the programs takes ten seconds, each test
cannot have its own. A test makes its devices, applies its policy, and leaves none of both."""
import contextlib
import subprocess

import pytest

from lab import HOST4, Lab, wait_for

EMPTY = "version: 1\n"
DEVICES = "tun0", "dum0", "wan0"
# How to see whether it is there, in namespaces that end with the command.
TRIES = {
    "vlan": "ip link add link lo name try0 type vlan id 1",  # lo carries none, but that is said only by who has them
    "netem": "tc qdisc add dev lo root netem delay 1ms",
    # Where the kernel has no freplace, libxdp attaches the program itself. The bpffs goes with the command.
    "dispatcher of libxdp": "mount -t bpf bpf /sys/fs/bpf && ip link add try0 type veth && "
                            "xdp-loader load -m native try0 /usr/lib/*/bpf/xdpfilt_alw_udp.o && ls /sys/fs/bpf/xdp/dispatch-*",
}
MISSING = "Unknown device type", "qdisc kind is unknown", "not found", "No such file or directory"


def need(what):
    """Skips the test when this machine lacks a device, by its type in `ip link add`, or another thing of TRIES."""
    command = TRIES.get(what, f"ip link add try0 type {what}")
    done = subprocess.run(["unshare", "--net", "--mount", "sh", "-c", command], capture_output=True, text=True, check=False)
    if done.returncode and any(text in done.stderr for text in MISSING):
        pytest.skip(f"there is no {what} here")


class Shared:
    def __init__(self):
        self.lab = Lab("s")
        self.host, self.peer = self.lab.namespace("host"), self.lab.namespace("peer")
        self.daemon = self.lab.daemon(self.host)

    def pair(self, quiet=True):
        """wan0 of the host, HOST4, and to-wan0 of the peer: PEER4, unless it is to say nothing by itself."""
        self.lab.run(self.peer, "sysctl", "-qw", f"net.ipv6.conf.default.disable_ipv6={int(quiet)}")
        if quiet:
            self.lab.quiet_veth(self.host, self.peer, "wan0")
            self.lab.ip(self.host, f"addr add {HOST4}/24 dev wan0")
        else:
            self.lab.veth(self.host, "wan0", self.peer, "to-wan0")
            self.lab.address_pair(self.host, "wan0", self.peer, 1)

    def both(self, words):
        """The same command on both sides: {dev}, {last}, the end of the own address, and {other} are what differs."""
        for ns, dev, last in (self.host, "wan0", 1), (self.peer, "to-wan0", 2):
            self.lab.ip(ns, words.format(dev=dev, last=last, other=3 - last))

    def counts(self, chain, id):
        """The rule's packets and bytes from now on: a chain that comes back after two applies goes on counting."""
        before = self.daemon.rule(chain, id)

        def since():
            now = self.daemon.rule(chain, id)
            return tuple(now[unit] - before[unit] for unit in ("packets", "bytes"))

        return since

    def add_up(self, chain):
        """As that of the daemon, at a moment when nothing comes in: a peer has groups to report. A chain of a name keeps the
        counts of rules that a test before had in it: tests that add up have names of their own."""

        def adds_up():
            with contextlib.suppress(AssertionError):
                return self.daemon.add_up(chain)

        wait_for(adds_up, f"{chain} to add up", limit=2.0)

    def clean(self, kept):
        """Nothing of a test: neither its policy nor its devices nor what it opened. Others went with these."""
        while len(self.lab.closing) > kept:
            self.lab.closing.pop().close()
        self.daemon.apply(EMPTY, "empty.yaml")
        for ns in self.host, self.peer:
            subprocess.run(["ip", "-n", ns, "-force", "-batch", "-"], capture_output=True, text=True, check=False,
                           input="".join(f"link del {dev}\n" for dev in DEVICES))
