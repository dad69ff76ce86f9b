# SPDX-License-Identifier: Apache-2.0
"""The walk that explain shows: what was read, looked up and asked, and which rules matched."""
import json
import socket
import threading

import pytest

import frames
import kernel
from frames import ACK, FIN, SYN
from lab import HOST4, HOST6, PEER4, PEER6
from lines import HOST, PEER, Line

HOOKS = pytest.mark.parametrize("hook", ["tc", "xdp"])
NOTHING = dict.fromkeys(["family", "src", "dst", "proto", "sport", "dport", "flags", "type", "code", "vlan", "fragment",
                         "network_offset", "transport_offset"])
WATCHERS = 24
RULES = """version: 1
attach:
  wan: {dev: wan0, hook: %(hook)s}
  lan: {dev: none0}
sets:
  banned: {max: 100}
  slow: {max: 100, ttl: 1h}
  empty: {max: 100}
filter:
  wan-in:
    at: wan.ingress
    default: drop
    fragments: first-only
    rules:
      - {id: banned, from: [$banned, $empty], do: drop, mode: audit}
%(more)s
      - {id: slow, from: $slow, to: $banned, proto: udp, do: drop}
      - {id: dns, proto: udp, dport: 53, do: pass}
      - {id: any-udp, proto: udp, do: pass}
      - {id: unreachable, proto: icmp, type: dest-unreachable, do: pass}
"""


def ask(daemon, frame, at="wan.ingress", **more):
    """Unmeasured, which is faster."""
    question = {"at": at, "frames": [frame.hex()], "measure": False} | more
    status, answer = daemon.request("POST", "/v1/explain", json.dumps(question))
    assert status == 200, answer
    return answer["results"][0]


def brief(walk):
    return [(c["rule"], c["outcome"]) for c in walk["candidates"]]


@HOOKS
def test_the_walk_tells_what_was_read(lab, hook):
    """Headers of packets of each family and kind, behind tags and extension headers, whole, in fragments, cut short
    and not IP, one after the other: each has what it has and null for what it has not. Rules out an explain that
    shows of a packet what the one before had, and one that shows zero for none."""
    host, _ = lab.quiet_pair()
    daemon = lab.daemon(host)
    daemon.apply(RULES % {"hook": hook, "more": ""})
    datagram = frames.udp(PEER4, HOST4, 40000, 53, bytes(64))
    four = NOTHING | {"family": "ipv4", "src": PEER4, "dst": HOST4, "fragment": "whole", "network_offset": 14,
                      "transport_offset": 34}
    udp = four | {"proto": 17, "sport": 40000, "dport": 53}
    six = NOTHING | {"family": "ipv6", "src": PEER6, "dst": HOST6, "fragment": "whole", "network_offset": 14,
                     "transport_offset": 54}
    destination_options = [(60, b"\0\1\4\0\0\0\0")]
    rows = [
        (frames.udp_frame(PEER4, HOST4, 53), udp),
        (frames.eth(0x88CC, bytes(46)), NOTHING),
        (frames.tcp_frame(PEER6, HOST6, 80, flags=SYN | ACK, tags=[(frames.VLAN, 7), (frames.VLAN, 8)]),
         six | {"proto": 6, "sport": 40000, "dport": 80, "flags": ["syn", "ack"], "vlan": 7, "network_offset": 22,
                "transport_offset": 62}),
        (frames.tcp_frame(PEER4, HOST4, 80, flags=0, tags=[(frames.VLAN, 0)]),
         four | {"proto": 6, "sport": 40000, "dport": 80, "flags": [], "vlan": 0, "network_offset": 18,
                 "transport_offset": 38}),
        (frames.eth(frames.IPV6, frames.ipv6(PEER6, HOST6, frames.ICMP6, frames.icmp6(PEER6, HOST6, 1, 4),
                                             extensions=destination_options)),
         six | {"proto": 58, "type": 1, "code": 4, "transport_offset": 62}),
        (frames.eth(frames.IPV4, frames.ipv4(PEER4, HOST4, 17, datagram[:32], fragment=0x2000, options=bytes(4))),
         udp | {"fragment": "first", "transport_offset": 38}),
        (frames.eth(frames.IPV4, frames.ipv4(PEER4, HOST4, 17, datagram[32:], fragment=4)),
         four | {"proto": 17, "fragment": "later", "transport_offset": None}),
        (frames.udp_frame(PEER4, HOST4, 53)[:20], NOTHING),
        (frames.tcp_frame(PEER4, HOST4, 80)[:40] + bytes(14), four | {"proto": 6}),
        (frames.eth(frames.IPV6, frames.ipv6(PEER6, HOST6, 17, datagram, extensions=destination_options * 9)),
         six | {"fragment": None, "transport_offset": None}),
        (frames.eth(frames.IPV4, frames.ipv4(PEER4, HOST4, 47, bytes(8))), four | {"proto": 47}),
    ]
    for frame, packet in rows:
        row = ask(daemon, frame)
        assert row["walk"]["packet"] == packet, row
        assert row["walk"]["judged"] == (row["reason"] in ("rule", "default")), row
        assert (row["walk"]["packets"], row["walk"]["bytes"]) == (1, len(frame))


@HOOKS
def test_the_walk_names_sets_and_rules(lab, hook):
    """A packet of two run-time sets and of more rules than are listed: both sets by name, on the side where they hold
    it, and no longer when the member is deleted; rules in order, audit ones too, with what becomes of each, and how
    many there are besides. Another generation's names are gone at once. Rules out one list of sets for both sides,
    and an explain that knows a set's members of the time when it was loaded."""
    host, _ = lab.quiet_pair()
    daemon = lab.daemon(host)
    daemon.apply(RULES % {"hook": hook, "more": ""})
    frame = frames.udp_frame(PEER4, HOST4, 53)
    assert ask(daemon, frame)["walk"]["sets"] == {"source": [], "destination": []}
    daemon.ok("set", "add", "banned", PEER4, "10.77.1.0/31")
    daemon.ok("set", "add", "slow", "10.77.0.0/16")
    row = ask(daemon, frame)
    walk = row["walk"]
    assert walk["sets"] == {"source": ["banned", "slow"], "destination": ["banned", "slow"]}
    assert brief(walk) == [("banned", "counts"), ("slow", "decides"), ("dns", "not-reached"),
                           ("any-udp", "not-reached")]
    assert (row["audit"], row["rule"], walk["candidates_more"], walk["trees"]) == (["banned"], "slow", 0, None)
    keys = {"rule", "source", "do", "mode", "outcome"}
    assert all(set(c) == keys and c["source"].endswith(f":{n}") for c, n in zip(walk["candidates"], (15, 17, 18, 19)))
    assert [(c["do"], c["mode"]) for c in walk["candidates"][:3]] == [("drop", "audit"), ("drop", "enforce"),
                                                                    ("pass", "enforce")]
    assert "proto" in walk["classes"] and "src4" in walk["classes"] and "src6" not in walk["classes"]
    daemon.ok("set", "del", "slow", "10.77.0.0/16")
    walk = ask(daemon, frame)["walk"]
    assert walk["sets"] == {"source": ["banned"], "destination": ["banned"]} and brief(walk)[1] == ("dns", "decides")
    watchers = "\n".join(f"      - {{id: w{i}, proto: udp, do: drop, mode: audit}}" for i in range(WATCHERS))
    daemon.apply(RULES % {"hook": hook, "more": watchers})
    walk = ask(daemon, frame)["walk"]
    assert brief(walk) == [("banned", "counts")] + [(f"w{i}", "counts" if i < 15 else "truncated") for i in range(19)]
    assert walk["candidates_more"] == 1 + WATCHERS + 2 - 20
    text = daemon.cli("explain", "--at", "wan.ingress", f"udp {PEER4}:40000 > {HOST4}:53").stdout
    assert f"packet   udp {PEER4}:40000 > {HOST4}:53\n" in text and text.endswith("\nand 7 more\n"), text


STATE = """version: 1
attach:
  wan: {dev: wan0, hook: %s}
  lan: {dev: lan0}
filter:
  wan-in:
    at: wan.ingress
    default: drop
    rules:
      - {id: known, state: established, do: pass}
      - {id: watch, state: established, do: drop, mode: audit}
      - {id: web, proto: tcp, dport: 80, do: pass}
      - {id: multicast, proto: icmp6, type: 143, do: pass}
"""


def state_of(daemon, frame, at="wan.ingress"):
    row = ask(daemon, frame, at)
    return row["walk"]["state"], row["verdict"], row["reason"], row["rule"]


@HOOKS
def test_the_walk_tells_what_the_state_said(lab, hook):
    """A SYN: nobody asked. A stray segment: no flow, for the rules that want one and for the one that passes openings
    alone. Segments of connections of both families, and of one between link-local addresses, whose sockets are bound
    to their device: a live flow. Rules out an explain that looks for sockets from nowhere, and one that begins
    flows."""
    host, peer = lab.talking_pair()
    local = ("fe80::1", "wan0"), ("fe80::2", "to-wan0")
    for ns, (address, dev) in zip((host, peer), local):
        lab.ip(ns, f"addr add {address}/64 dev {dev} nodad")
    daemon = lab.daemon(host)
    daemon.apply(STATE % hook)
    assert state_of(daemon, frames.tcp_frame(PEER4, HOST4, 80)) == ("not-asked", "pass", "rule", "web")
    for _ in range(2):
        stray = frames.tcp_frame(PEER4, HOST4, 80, flags=ACK)
        assert state_of(daemon, stray) == ("no-flow", "drop", "no-flow", "web")
        assert brief(ask(daemon, stray)["walk"]) == [("known", "no-flow"), ("watch", "no-flow"), ("web", "decides")]
    for n in 4, 6:
        line = Line(lab, peer, host, HOST[n], 80)
        segment = frames.tcp_frame(PEER[n], HOST[n], 80, line.client.getsockname()[1], ACK)
        assert state_of(daemon, segment) == ("live-flow", "pass", "rule", "known")
        assert brief(ask(daemon, segment)["walk"])[:2] == [("known", "decides"), ("watch", "not-reached")]
    port = bound_line(lab, peer, host, *local)
    assert state_of(daemon, frames.tcp_frame("fe80::2", "fe80::1", 80, port, FIN | ACK))[0] == "live-flow"


def bound_line(lab, client_ns, server_ns, server, client):
    """A connection between link-local addresses, each (address, device); the client's port."""
    listener = lab.socket(server_ns, socket.AF_INET6, socket.SOCK_STREAM)
    listener.bind((server[0], 80, 0, ifindex(server_ns, server[1])))
    listener.listen(1)
    connection = lab.socket(client_ns, socket.AF_INET6, socket.SOCK_STREAM)
    connection.connect((server[0], 80, 0, ifindex(client_ns, client[1])))
    lab.closing.append(listener.accept()[0])
    return connection.getsockname()[1]


def ifindex(ns, dev):
    with kernel.namespace(ns):
        return socket.if_nametoindex(dev)


@HOOKS
def test_the_walk_tells_a_cookie(lab, hook):
    """The ACK that brings back a listener's SYN cookie, given before the policy came, ends a handshake; with another
    number it is of no flow. Then, on the wire, it does. Rules out an explain that takes any ACK to a listener for an
    answer."""
    host, peer = lab.talking_pair()
    lab.run(host, "sysctl", "-qw", "net.ipv4.tcp_syncookies=2")
    listener = lab.socket(host, socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("", 80))
    listener.listen(4)
    sender = "10.77.1.99"  # an address that nobody answers for
    lab.ip(host, f"neigh add {sender} lladdr 02:00:00:00:00:02 dev wan0 nud permanent")
    wire = lab.wire(peer, "to-wan0", receive=True)
    wire.send(frames.tcp_frame(sender, HOST4, 80, 41000))
    answer = wire.received(lambda f: f[12:14] == b"\x08\0" and f[23] == 6 and f[47] == SYN | ACK)
    cookie = int.from_bytes(answer[38:42], "big")
    daemon = lab.daemon(host)
    daemon.apply(STATE % hook)
    good = frames.tcp_frame(sender, HOST4, 80, 41000, ACK, seq=1001, ack=(cookie + 1) % 2**32)
    assert state_of(daemon, good) == ("syn-cookie", "pass", "rule", "web")
    forged = frames.tcp_frame(sender, HOST4, 80, 41000, ACK, seq=1001, ack=(cookie + 1001) % 2**32)
    assert state_of(daemon, forged)[:3] == ("no-flow", "drop", "no-flow")
    wire.send(good)
    assert listener.accept()[1] == (sender, 41000)


def test_places_without_a_chain(lab):
    """The way out of the zone, which has no chain but where flows are seen, and a zone whose device is not there: the
    packet passes for there being no chain, and is read only where somebody asks about flows. Nothing is counted."""
    host, _ = lab.quiet_pair()
    daemon = lab.daemon(host)
    daemon.apply(STATE % "tc")
    frame = frames.udp_frame(HOST4, PEER4, 53)
    for at, tracks in ("wan.egress", True), ("lan.ingress", True), ("lan.egress", False):
        row = ask(daemon, frame, at)
        walk = row["walk"]
        assert (row["verdict"], row["reason"], row["chain"], row["rule"]) == ("pass", "no-chain", None, None)
        assert (walk["judged"], walk["candidates"], walk["tracks"], walk["state"]) == (False, [], tracks, "not-asked")
        assert (walk["packet"] or {}).get("dport") == (53 if tracks else None), row
    assert daemon.chain("wan-in")["received_packets"] == 0


def test_cost_is_a_number_or_a_reason(lab):
    """Measured when asked for and when frames are few, at the hook where the frame can be run. Rules out a zero for
    what was not measured."""
    host, _ = lab.quiet_pair()
    daemon = lab.daemon(host)
    daemon.apply(RULES % {"hook": "tc", "more": ""})
    frame = frames.udp_frame(PEER4, HOST4, 53)
    row = ask(daemon, frame, measure=True)
    assert row["cost_ns"] > 0 and row["cost_note"] is None and row["walk"]["run_at"] == "tc"
    row = ask(daemon, frame[:20], measure=True)  # the kernel runs no such frame at TC
    assert row["cost_ns"] > 0 and row["reason"] == "truncated" and row["walk"]["run_at"] == "xdp"
    assert ask(daemon, frame) | {"walk": None} == ask(daemon, frame) | {"walk": None, "cost_ns": None,
                                                                       "cost_note": "not asked for"}
    row = ask(daemon, frame, frames=[frame.hex()] * 17, measure=True)
    assert row["cost_ns"] is None and "more than 16 frames" in row["cost_note"]
    assert daemon.chain("wan-in")["received_packets"] == 0


MANY = """version: 1
attach:
  wan: {dev: wan0, hook: tc}
filter:
  wan-in:
    at: wan.ingress
    default: drop
    rules:
"""
APPLIES = 12


def many(name, step):
    """More rules than vectors have room for; those that all packets meet are every step-th, another one each time."""
    rules = [f"{{id: {name}-{i}, from: 10.{i % 256}.0.0/16, to: 10.{i // 256}.0.0/16, do: pass}}" if i % step else
             f"{{id: {name}-all-{i}, do: pass, mode: audit}}" for i in range(1, 700)]
    return MANY + "".join(f"      - {rule}\n" for rule in rules)


def test_names_are_of_the_policy_that_answered(lab):
    """While one long policy takes the place of another again and again, every answer names rules of one of them alone,
    the ones that match every packet, and the one of the trees. Rules out numbers of one bank looked up in another."""
    host, _ = lab.quiet_pair()
    daemon = lab.daemon(host)
    frame = frames.udp_frame("10.77.0.2", "10.1.0.2", 53)
    policies = [("a", 50), ("b", 47)]
    paths = [lab.write(f"{name}.yaml", many(name, step)) for name, step in policies]
    daemon.ok("apply", paths[1])
    applying = threading.Thread(target=lambda: [daemon.ok("apply", paths[n % 2]) for n in range(APPLIES)])
    applying.start()
    names = set()
    while applying.is_alive():
        status, answer = daemon.request("POST", "/v1/explain", json.dumps(
            {"at": "wan.ingress", "frames": [frame.hex()] * 20}))
        assert status == 200 or answer["error"]["code"] == "busy", answer
        for row in answer.get("results", []):
            name = row["rule"][0]
            step = dict(policies)[name]
            audits = [f"{name}-all-{i}" for i in range(step, 700, step)]
            matching = sorted(audits + [f"{name}-{256 + 77}"], key=lambda id: int(id.split("-")[-1]))
            assert (row["rule"], row["walk"]["trees"]["rule"]) == (f"{name}-333", f"{name}-333"), row
            assert [c["rule"] for c in row["walk"]["candidates"]] == matching, row
            assert row["audit"] == [id for id in matching if int(id.split("-")[-1]) < 333], row
            names.add(name)
    applying.join()
    assert names == {"a", "b"}
