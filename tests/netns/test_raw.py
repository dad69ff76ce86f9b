# SPDX-License-Identifier: Apache-2.0
"""Devices whose packets begin with the IP header: tunnels."""
import fcntl
import os
import socket
import struct

import pytest

import kernel
from evasion import extensions, headers
from evasion.row import BL, DD
from evasion.stand import difference
from lab import wait_for

HERE, THERE = "192.0.2.10", "192.0.2.7"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
ETHERNET = 14
POLICY = """version: 1
attach:
  dd: {dev: dd0, hook: %s}
  bl: {dev: bl0, hook: %s}
filter:
  dd-in:
    at: dd.ingress
""" + DD + """  bl-in:
    at: bl.ingress
""" + BL + """  bl-out:
    at: bl.egress
    default: pass
    rules:
      - {id: no-tftp, proto: udp, dport: 69, do: drop}
"""
# What an Ethernet header says is not there to be wrong, its bytes are not among those that are read at most, and a
# tunnel takes no part of a header and no other version.
ROWS = [row for row in headers.ROWS + extensions.ROWS
        if not row.id.startswith(("L8", "L9", "O9 version")) and row not in extensions.DEEPEST]


def tunnel(lab, ns, dev):
    """The other end of a new tunnel, as a descriptor."""
    with kernel.namespace(ns):
        end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    lab.closing.append(os.fdopen(end, "r+b", 0))
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH14x", dev.encode(), IFF_TUN | IFF_NO_PI))
    lab.run(ns, "sysctl", "-qw", f"net.ipv6.conf.{dev}.disable_ipv6=1")
    lab.ip(ns, f"link set {dev} mtu 9000 up")
    return end


class Way:
    """Into or out of a zone, and what its chain counts."""

    def __init__(self, daemon, counters, zone, way):
        self.counters, (self.slot, *_) = counters, kernel.counter_slots(daemon.pin_dir, zone, way)

    def met(self, send):
        """(verdict and reason, packets, bytes) of what is sent."""
        before = self.counters.by_reason(self.slot)
        send()
        wait_for(lambda: self.counters.by_reason(self.slot) != before, "a packet", every=0.001)
        (reason, count), = difference(before, self.counters.by_reason(self.slot)).items()
        return " ".join(reason), *count


def test_packets_without_a_link_header_are_judged(lab):
    """IPv4 and IPv6 in every shape of the evasion rows, written into a tunnel, get the verdict and the reason they
    get behind an Ethernet header, and count with their own bytes; the way out is judged too. Rules out a program that
    takes the addresses of such a packet for an Ethernet header, and passes it as something that is not IP."""
    host = lab.namespace("host")
    ends = {policy: tunnel(lab, host, f"{policy}0") for policy in ("dd", "bl")}
    daemon = lab.daemon(host)
    daemon.apply(POLICY % ("auto", "tc"))
    counters = lab.counters(daemon)
    for zone, (policy, end) in enumerate(ends.items(), 1):
        way = Way(daemon, counters, zone, 0)
        for row in ROWS:
            frame, answer = row.answers(policy)[0]
            reason, *count = way.met(lambda: os.write(end, frame[ETHERNET:]))
            assert answer.startswith(reason) and count == [1, len(frame) - ETHERNET], f"{row.id} {policy}: {reason}"
    lab.ip(host, f"addr add {HERE}/24 dev bl0")
    sender, out = lab.socket(host, socket.AF_INET, socket.SOCK_DGRAM), Way(daemon, counters, 2, 1)
    for port, answer in (70, "pass default"), (69, "drop rule"):
        assert out.met(lambda: sender.sendto(b"hello", (THERE, port))) == (answer, 1, 33)


def test_what_cannot_be_read_is_not_attached(lab):
    """XDP is not told what a packet without an Ethernet header is: the policy is refused, with the remedy. Rules out
    a chain that seems to be enforced and passes all."""
    host = lab.namespace("host")
    tunnel(lab, host, "dd0")
    daemon = lab.daemon(host)
    answer = daemon.cli("apply", lab.write("policy.yaml", POLICY % ("xdp-generic", "tc")))
    assert answer.exit == 1 and "dd0: its packets have no Ethernet header" in answer.stderr and \
        "use 'hook: tc'" in answer.stderr
    assert daemon.get("/v1/status")["attached"] == []
