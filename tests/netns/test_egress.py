# SPDX-License-Identifier: Apache-2.0
"""What leaves the host, its own and forwarded, and tags that should hide nothing."""
import socket

import pytest

import frames
from lab import HOST4, PEER4, Echo, datagrams, echoed, wait_for

EGRESS = """version: 1
attach:
  wan: {dev: wan0, hook: %s}
sets:
  office: {items: [10.77.1.3, "2001:db8:77:1::3"]}
filter:
  wan-out:
    at: wan.egress
    default: pass
    rules:
      - {id: no-smtp, proto: tcp, dport: 25, not-to: $office, do: drop}
      - {id: no-syslog, proto: udp, dport: 514, do: drop}
"""


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_an_egress_rule_holds(lab, hook):
    """Connections of the host to port 25 work before the policy and afterwards only to the office, in both
    families; port 80 works on; so do connections from the peer to the host's own port 25. A thousand datagrams
    that the rule drops are counted exactly, and none arrives. With hook xdp as well: XDP has no egress, the
    chain runs at TC. Rules out an egress chain that reads the packet as if it came in."""
    host, peer = lab.talking_pair()
    for address in "10.77.1.3/24", "2001:db8:77:1::3/64":
        lab.ip(peer, f"addr add {address} dev to-wan0 {'nodad' if ':' in address else ''}")
    for ns, port in (peer, 25), (peer, 80), (host, 25):
        Echo(lab, ns, port)
    ways = [(host, "10.77.1.2", 80), (host, "10.77.1.3", 25), (host, "2001:db8:77:1::3", 25), (peer, HOST4, 25),
            (host, "10.77.1.2", 25), (host, "2001:db8:77:1::2", 25)]
    assert all(echoed(lab, *way) for way in ways)
    daemon = lab.daemon(host)
    daemon.apply(EGRESS % hook)
    assert daemon.attached("wan0", "egress")["hook"] == "tc"
    assert [echoed(lab, *way, limit=5 if i < 4 else 0.7) for i, way in enumerate(ways)] == [True] * 4 + [False] * 2
    sink = {port: lab.udp_sink(peer, port) for port in (514, 515)}
    sender = lab.socket(host, socket.AF_INET, socket.SOCK_DGRAM)
    for n in range(1000):
        try:
            sender.sendto(b"x" * (n % 100), (PEER4, 514))
        except OSError:
            pass  # TC egress tells a local sender that its datagram was dropped
    sender.sendto(b"end", (PEER4, 515))
    wait_for(lambda: datagrams(sink[515]), "the last datagram")
    assert not datagrams(sink[514])
    assert daemon.drops("wan-out")[("rule", "no-syslog")] == (1000, sum(42 + n % 100 for n in range(1000)))
    daemon.add_up("wan-out")


FORWARD = """version: 1
attach:
  lan: {dev: lan0}
filter:
  lan-out:
    at: lan.egress
    default: drop
    rules:
      - {id: web, proto: udp, dport: 7001, do: pass}
"""


def test_forwarded_frames_meet_the_egress_chain(lab):
    """A host between two networks filters what it forwards out of one device: one port passes, another does
    not, and what leaves by the other device meets no chain. Rules out an egress hook for local senders only."""
    host, peer = lab.talking_pair()
    far = lab.namespace("far")
    lab.veth(host, "lan0", far, "to-lan0")
    lab.address_pair(host, "lan0", far, 2)
    for ns, n in (peer, 1), (far, 2):
        lab.ip(ns, f"route add default via 10.77.{n}.1")
    daemon = lab.daemon(host)
    daemon.apply(FORWARD)
    sinks = {port: lab.udp_sink(far, port) for port in (7001, 7002)}
    back = lab.udp_sink(peer, 7002)
    sender, reply = (lab.socket(ns, socket.AF_INET, socket.SOCK_DGRAM) for ns in (peer, far))
    for port in 7002, 7001:
        sender.sendto(b"forward", ("10.77.2.2", port))
    wait_for(lambda: datagrams(sinks[7001]), "the passed datagram")
    assert not datagrams(sinks[7002])
    assert daemon.drops("lan-out")[("default", "default")][0] >= 1
    reply.sendto(b"back", (PEER4, 7002))
    wait_for(lambda: datagrams(back), "the way back")


TAGS = """version: 1
attach:
  wan: {dev: wan0, hook: %s}
filter:
  wan-in:
    at: wan.ingress
    default: drop
    rules:
      - {id: allowed, proto: udp, dport: 7001, do: pass}
"""


@pytest.mark.parametrize("hook", ["tc", "xdp", "xdp-generic"])
def test_priority_tags_hide_no_denied_port(lab, hook):
    """The kernel takes off tags with id 0, also two of them, and hands the packet to the socket: before the
    policy a doubly tagged datagram arrives. Under it a denied port stays denied and a passed one passes with
    no, one and two tags of either type. Rules out a parser of one tag that passes what it cannot read, which
    let a denied port through."""
    host, peer = lab.quiet_pair()
    sinks, wire = {port: lab.udp_sink(host, port) for port in (7001, 7002)}, lab.wire(peer, "to-wan0")
    tags = [[(t, 0) for t in kinds] for kinds in
            ((), (0x8100,), (0x88A8,), (0x8100, 0x8100), (0x88A8, 0x8100), (0x8100, 0x88A8), (0x88A8, 0x88A8))]

    def arrivals():
        for port in 7002, 7001:
            for n, tag in enumerate(tags):
                wire.send(frames.udp_frame(PEER4, HOST4, port, bytes([n]), tags=tag))
        got = []
        wait_for(lambda: got.extend(datagrams(sinks[7001])) or bytes([len(tags) - 1]) in got, "the last frame")
        return sorted(d[0] for d in datagrams(sinks[7002])), sorted(d[0] for d in got)

    everyone = list(range(len(tags)))
    assert arrivals() == (everyone, everyone)
    daemon = lab.daemon(host)
    daemon.apply(TAGS % hook)
    assert arrivals() == ([], everyone)
    sent = sum(len(frames.udp_frame(PEER4, HOST4, 7001, b"x", tags=tag)) for tag in tags)
    assert daemon.drops("wan-in") == {("default", "default"): (len(tags), sent)}
    row = daemon.add_up("wan-in")
    assert (row["received_packets"], row["received_bytes"]) == (2 * len(tags), 2 * sent)
