# SPDX-License-Identifier: Apache-2.0
"""Devices that run no program of their own, and ones that grow."""
import pytest

from lab import datagrams, wait_for

pytestmark = [pytest.mark.guest, pytest.mark.needs("dummy")]
OUT = """version: 1
attach:
  off: {dev: dum0, hook: %s}
filter:
  off-in:
    at: off.ingress
    default: pass
    rules:
      - {id: any, proto: udp, dport: 9, do: pass}
  off-out:
    at: off.egress
    default: pass
    rules:
      - {id: quiet, proto: udp, dport: 7002, do: drop}
"""


def dummy(shared):
    shared.lab.ip(shared.host, "link add dum0 type dummy")
    shared.lab.ip(shared.host, "addr add 10.88.0.1/24 dev dum0")
    shared.lab.ip(shared.host, "link set dum0 up")


def sent(shared):
    """Packets that the device itself has taken from the host."""
    rows = shared.lab.run(shared.host, "cat", "/proc/self/net/dev").stdout.splitlines()
    return int(next(row for row in rows if row.strip().startswith("dum0:")).split()[10])


def test_what_goes_to_a_dummy_is_judged(shared):
    """A dummy device, whose driver runs no programs: native XDP is refused by name with what the kernel said; auto and generic
    XDP are attached, and the chain at egress keeps one port from the device, counted exactly, before and after its MTU grows
    to 9000, small and large. Rules out a zone that is open without a word, and an egress where a driver helps alone."""
    dummy(shared)
    answer = shared.daemon.cli("apply", shared.lab.write("native.yaml", OUT % "xdp"))
    assert answer.exit == 1 and "dum0: the driver refused native XDP" in answer.stderr, answer
    assert not shared.daemon.attached("dum0")
    out = shared.lab.udp_sink(shared.host, 0)
    for hook, mode, size, mtu in ("xdp-generic", "generic", 100, 1500), ("auto", None, 100, 9000), ("auto", None, 8000, 9000):
        shared.daemon.apply(OUT % hook)
        shared.lab.ip(shared.host, f"link set dum0 mtu {mtu}")
        before, quiet = sent(shared), shared.counts("off-out", "quiet")
        for port in 7002, 7001:
            out.sendto(bytes(size), ("::ffff:10.88.0.2", port))
        wait_for(lambda: sent(shared) == before + 1, "the datagram to the other port")
        assert quiet() == (1, 14 + 28 + size)
        assert shared.daemon.attached("dum0")["hook"] == ("tc" if hook == "auto" else "xdp")
        assert mode in (None, shared.daemon.attached("dum0")["mode"]) and shared.daemon.attached("dum0", "egress")
    shared.add_up("off-out")


def test_an_mtu_that_native_xdp_cannot_have(shared):
    """A veth under native XDP goes to an MTU of 9000 and to the largest there is, and back: at each, either the kernel
    refuses it or frames of that size are judged. Rules out a program that falls off without a word."""
    policy = (OUT % "xdp").replace("dum0", "wan0").replace("dport: 9, do: pass", "dport: 7000, do: drop")
    shared.pair(quiet=False)
    shared.daemon.apply(policy)
    out = shared.lab.udp_sink(shared.peer, 0)
    sinks = {port: shared.lab.udp_sink(shared.host, port) for port in (7000, 7001)}
    for mtu in 9000, 65535, 1500:
        took = [shared.lab.ip(ns, f"link set {dev} mtu {mtu}", check=False).exit == 0
                for ns, dev in ((shared.host, "wan0"), (shared.peer, "to-wan0"))]
        dropped = shared.counts("off-in", "any")
        for port in 7000, 7001:
            out.sendto(bytes((mtu if all(took) else 1500) - 28), ("::ffff:10.77.1.1", port))
        got = []
        wait_for(lambda: got.extend(datagrams(sinks[7001])) or got, f"the free datagram at {mtu}")
        assert not datagrams(sinks[7000])
        assert dropped()[0] == 1
        assert shared.daemon.attached("wan0")["mode"] == "native"
