# SPDX-License-Identifier: Apache-2.0
"""The way in that no rule can close, and what keeps a link alive."""
import socket

import pytest

import frames
from lab import Echo, echoed, ping, wait_for

HOST, PEER, OTHER = "10.77.1.1", "10.77.1.2", "10.77.1.3"
HOST6, PEER6 = "2001:db8:77:1::1", "2001:db8:77:1::2"
BLOCKED = 0.7  # seconds until a connection attempt counts as blocked: the first SYN is repeated after one

POLICY = """version: 1
attach:
  wan: {dev: wan0, hook: %s}
safety:
  never-drop:
    - {proto: tcp, dport: 22, from: [10.77.1.2, "2001:db8:77:1::2"]}
sets:
  all: {items: [0.0.0.0/0, "::/0"]}
filter:
  wan-in:
    at: wan.ingress
    default: drop
    rules:
      - {id: nobody, proto: tcp, from: $all, do: drop}
  wan-out:
    at: wan.egress
    default: drop
    rules:
      - {id: nowhere, proto: tcp, to: $all, do: drop}
"""


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_the_protected_peer_gets_in_whatever_the_rules_say(lab, hook):
    """Chains of both directions drop everything. Real TCP to port 22 from the protected address works in both
    families, there and, mirrored, back; another port, another address and the host's own way out to port 22 do
    not. A malformed segment of the protected peer is dropped all the same. Rules out a guard that stands
    behind the rules, one that forgets the replies, and one that mirrors the wrong port."""
    host, peer = lab.talking_pair()
    lab.ip(peer, f"addr add {OTHER}/24 dev to-wan0")
    for ns, port in (host, 22), (host, 23), (peer, 22):
        Echo(lab, ns, port)
    ways = [(peer, HOST, 22, PEER), (peer, HOST6, 22, PEER6), (peer, HOST, 23, PEER), (peer, HOST, 22, OTHER),
            (host, PEER, 22, None)]
    assert all(echoed(lab, ns, to, port, source) for ns, to, port, source in ways)
    daemon = lab.daemon(host)
    daemon.apply(POLICY % hook)
    open_now = [echoed(lab, ns, to, port, source, limit=5 if i < 2 else BLOCKED)
                for i, (ns, to, port, source) in enumerate(ways)]
    assert open_now == [True, True, False, False, False]
    assert ("rule", "nobody") in daemon.drops("wan-in") and ("rule", "nowhere") in daemon.drops("wan-out")
    bad = frames.ipv4(PEER, HOST, frames.TCP, frames.tcp(PEER, HOST, 40000, 22, offset=4))
    lab.wire(peer, "to-wan0").send(frames.eth(frames.IPV4, bad))
    wait_for(lambda: daemon.drops("wan-in").get(("bad-tcp-header", None)), "the malformed segment to be dropped")
    for chain in "wan-in", "wan-out":
        daemon.add_up(chain)


ECHO = """version: 1
attach:
  wan: {dev: wan0, hook: %s}
filter:
  wan-in:
    at: wan.ingress
    default: drop
    rules:
      - {id: ping, proto: icmp, type: [echo-request, echo-reply], do: pass}
      - {id: ping6, proto: icmp6, type: [echo-request, echo-reply], do: pass}
  wan-out:
    at: wan.egress
    default: drop
    rules:
      - {id: ping, proto: icmp, type: [echo-request, echo-reply], do: pass}
      - {id: ping6, proto: icmp6, type: [echo-request, echo-reply], do: pass}
"""


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_neighbours_are_found_under_default_drop(lab, hook):
    """With empty neighbour tables and chains that pass echo alone, ping works in both families and from both
    ends: ARP and neighbour discovery pass by themselves. UDP does not. Rules out a default that cuts the link
    some minutes after the apply, when the neighbour entries age."""
    host, peer = lab.talking_pair()
    daemon = lab.daemon(host)
    daemon.apply(ECHO % hook)
    counters = lab.counters(daemon)
    for ns, to in (peer, HOST), (peer, HOST6), (host, PEER), (host, PEER6):
        for where in host, peer:
            lab.ip(where, "neigh flush all")
        assert ping(lab, ns, to), to
    passed = {reason for slot in range(1, 3) for reason in counters.by_reason(slot)}
    assert {("pass", "arp"), ("pass", "neighbour-discovery"), ("pass", "rule")} <= passed
    lab.udp_sink(peer, 7000)
    quiet = lab.socket(host, socket.AF_INET, socket.SOCK_DGRAM)
    try:
        quiet.sendto(b"x", (PEER, 7000))
    except OSError:
        pass  # TC egress tells a local sender that its datagram was dropped
    wait_for(lambda: ("default", "default") in daemon.drops("wan-out"), "the datagram to be dropped")
