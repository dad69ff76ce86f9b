# SPDX-License-Identifier: Apache-2.0
"""Tunnels of a real kernel: their devices, whose packets begin with an IP header and no Ethernet header, and their
packets at the device below, where they are of the tunnel's protocol whatever they carry."""
import pytest

from lab import HOST4, PEER4, datagrams, ping, wait_for

pytestmark = pytest.mark.guest
PORT = 7000
# Type: (protocol number below, arguments of the device without those of addresses, families that it carries)
TUNNELS = {
    "ipip": (4, "", (4,)),
    "sit": (41, "", (6,)),
    "gre": (47, "", (4, 6)),
    "ip6gre": (47, "", (4, 6)),
}
BELOW = {4: (HOST4, PEER4), 6: ("2001:db8:77:1::1", "2001:db8:77:1::2")}
INSIDE = {4: ("10.99.0.1", "10.99.0.2", 24), 6: ("2001:db8:99::1", "2001:db8:99::2", 64)}
INNER = """version: 1
attach:
  tun: {dev: tun0, hook: %s}
filter:
  tun-in:
    at: tun.ingress
    default: drop
    rules:
      - {id: bad, proto: udp, dport: 7000, do: drop}
      - {id: established, state: established, do: pass}
      - {id: good, proto: udp, dport: 7001, do: pass}
  tun-out:
    at: tun.egress
    default: pass
    rules:
      - {id: quiet, proto: udp, dport: 7002, do: drop}
"""
OUTER = """version: 1
attach:
  wan: {dev: wan0, hook: %s}
filter:
  wan-in:
    at: wan.ingress
    default: pass
    rules:
      - {id: inner, proto: udp, dport: 7001, do: drop}
      - {id: tunnel, proto: %d, do: %s}
"""


def tunnel(shared, kind):
    """tun0 on both sides, over wan0, with addresses of what it carries."""
    _, more, families = TUNNELS[kind]
    shared.pair(quiet=False)
    below = BELOW[6 if kind.startswith("ip6") else 4]
    for ns, mine, other in (shared.host, 0, 1), (shared.peer, 1, 0):
        shared.lab.ip(ns, f"link add tun0 type {kind} local {below[mine]} remote {below[other]} {more}")
        shared.lab.ip(ns, "link set tun0 up")
        for family in families:
            ends = INSIDE[family]
            shared.lab.ip(ns, f"addr add {ends[mine]}/{ends[2]} dev tun0" + (" nodad" if family == 6 else ""))
    return families


def mapped(address):
    return address if ":" in address else "::ffff:" + address


class Sender:
    """Datagrams from the peer through the tunnel."""

    def __init__(self, shared, family):
        self.to = mapped(INSIDE[family][0])
        self.out = shared.lab.udp_sink(shared.peer, 0)
        self.sinks = {port: shared.lab.udp_sink(shared.host, port) for port in (PORT, 7001)}

    def send(self, port, word):
        self.out.sendto(word, (self.to, port))

    def wait(self, port):
        got = []
        wait_for(lambda: got.extend(self.got(port)) or got, "the datagram")
        return got

    def got(self, port):
        return datagrams(self.sinks[port])

    def close(self):
        for sink in self.sinks.values():
            sink.close()


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.needs(kind)) for kind in TUNNELS])
def test_a_tunnel_is_a_device(shared, kind):
    """A zone on the tunnel's device: rules find addresses and ports of what it carries, both families, both directions, what
    the host asked for comes back, and the bytes are those of the inner packets. At XDP nothing says what such a packet is:
    refused with what to write instead. Rules out a program that takes the first 14 bytes for an Ethernet header, and a zone
    that is open without a word."""
    families = tunnel(shared, kind)
    if kind == "ipip":
        for hook in "xdp", "xdp-generic":
            answer = shared.daemon.cli("apply", shared.lab.write("xdp.yaml", INNER % hook))
            assert answer.exit == 1 and "tun0" in answer.stderr and "hook: tc" in answer.stderr, answer
            assert not shared.daemon.attached("tun0")
    shared.daemon.apply(INNER % "auto")
    assert shared.daemon.attached("tun0")["hook"] == "tc"
    for family in families:
        assert ping(shared.lab, shared.host, INSIDE[family][1])  # asked by the host: established
        bad, good = shared.counts("tun-in", "bad"), shared.counts("tun-in", "good")
        sender, quiet = Sender(shared, family), shared.counts("tun-out", "quiet")
        sender.send(PORT, b"bad")
        sender.send(7001, b"good!")
        assert sender.wait(7001) == [b"good!"] and not sender.got(PORT)
        sender.close()
        head = 28 if family == 4 else 48
        assert (bad(), good()) == ((1, head + 3), (1, head + 5))
        shared.lab.udp_sink(shared.host, 0).sendto(b"quiet", (mapped(INSIDE[family][1]), 7002))
        wait_for(lambda: quiet() == (1, head + 5), lambda: f"the drop at egress: {quiet()}")
    shared.add_up("tun-in")
    shared.add_up("tun-out")


@pytest.mark.parametrize("kind, hook", [pytest.param(kind, hook, marks=pytest.mark.needs(kind))
                                        for kind, hook in (("ipip", "xdp"), ("gre", "tc"), ("sit", "xdp"))])
def test_what_a_tunnel_carries_is_not_looked_into(shared, kind, hook):
    """At the device below a tunnel's packet is of the tunnel's protocol: the rule for the inner port does not match, the
    one for the protocol counts it whole, then drops it, while what is in no tunnel passes. Rules out a rule for a port that
    finds bytes inside of something else."""
    number, family = TUNNELS[kind][0], tunnel(shared, kind)[0]
    sender = Sender(shared, family)
    shared.daemon.apply(OUTER % (hook, number, "pass"))
    inner, passed = shared.counts("wan-in", "inner"), shared.counts("wan-in", "tunnel")
    sender.send(7001, b"in the tunnel")
    assert sender.wait(7001) == [b"in the tunnel"] and inner() == (0, 0)
    size = 14 + 20 + (4 if kind == "gre" else 0) + (28 if family == 4 else 48) + len(b"in the tunnel")
    packets, bytes = passed()
    assert packets == 1 and bytes == size or packets > 1 and bytes > size  # the tunnel's own groups may come in between
    shared.daemon.apply(OUTER % (hook, number, "drop"))
    dropped = shared.counts("wan-in", "tunnel")
    sender.send(7001, b"in the tunnel")
    wait_for(lambda: dropped()[0], "the drop")
    assert not sender.got(7001) and ping(shared.lab, shared.peer, HOST4)
