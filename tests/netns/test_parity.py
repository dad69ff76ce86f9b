# SPDX-License-Identifier: Apache-2.0
"""One stage list at two hooks: what a frame meets does not depend on the door it comes in by."""
import collections
import json
import random
import struct

import frames
from frames import ICMP, ICMP6, IPV4, IPV6, QINQ, SCTP, SYN, TCP, UDP, VLAN
from lab import wait_for

SEED = 4242
WANTED = 500
S4, D4, S6, D6 = "198.51.100.7", "192.0.2.10", "2001:db8:2::7", "2001:db8:1::10"
BAD4, BAD6, SAFE4 = "203.0.113.66", "2001:db8:bad::9", "198.18.0.5"

POLICY = """version: 1
attach:
  doora: {dev: a0, hook: xdp}
  doorb: {dev: b0, hook: tc}
safety:
  never-drop:
    - {proto: tcp, dport: 22, from: 198.18.0.0/24}
sets:
  bad: {items: [203.0.113.66, 198.18.0.0/15, "2001:db8:bad::/48"]}
filter:
"""
CHAIN = """  %(zone)s-in:
    at: %(zone)s.ingress
    default: drop
    rules:
      - {id: watch, proto: tcp, do: drop, mode: audit}
      - {id: bad, from: $bad, do: drop}
      - {id: null-scan, proto: tcp, flags: {none-of: [syn, ack, rst, fin]}, do: drop}
      - {id: web, proto: tcp, dport: [80, 443, 8000-8099], do: pass}
      - {id: dns, proto: udp, dport: 53, do: pass}
      - {id: sig, proto: sctp, sport: 2905, do: pass}
      - {id: pmtu, proto: icmp, type: dest-unreachable, code: frag-needed, do: pass}
      - {id: pmtu6, proto: icmp6, type: packet-too-big, do: pass}
      - {id: guest, vlan: 7, proto: udp, do: pass}
      - {id: gre, proto: 47, do: pass}
"""


def transport(rng, src, dst):
    """(protocol, segment), some of them malformed."""
    dport = rng.choice([80, 443, 8099, 8100, 22, 23, 53, 0xBB01])
    cases = [
        lambda: (TCP, frames.tcp(src, dst, 40000, dport, rng.choice([SYN, 0x10, 0x01, 0, 0x3F]))),
        lambda: (TCP, frames.tcp(src, dst, 40000, dport, offset=rng.choice([4, 5, 6, 15]))),
        lambda: (UDP, frames.udp(src, dst, 40000, dport, bytes(rng.randrange(40)))),
        lambda: (UDP, struct.pack("!HHHH", 40000, 53, rng.choice([7, 8, 9, 500]), 0)),
        lambda: (SCTP, struct.pack("!HHII", rng.choice([2905, 2906]), 9, 0, 0)),
        lambda: (ICMP, frames.icmp(3, rng.choice([3, 4]))),
        lambda: (ICMP6, frames.icmp6(src, dst, rng.choice([2, 128, 133, 135, 136, 137]), 0)),
        lambda: (rng.choice([47, 50, 59]), bytes(16)),
    ]
    return rng.choice(cases)()


def ipv4(rng):
    src = rng.choice([S4, S4, BAD4, SAFE4])
    proto, segment = transport(rng, src, D4)
    options = rng.choice([b"", b"", b"", b"\1\1\1\1", b"\x83\7\x08\x0a\x4d\0\x09\0", b"\7\5\0\0", b"\0\xff\xff\xff"])
    how = {"options": options, "fragment": rng.choice([0, 0, 0, 0x4000, 0x2000, 1])}
    if rng.random() < 0.15:
        how["total"] = rng.choice([19, 22, 200])
    if rng.random() < 0.05:
        how["first"] = rng.choice([0x55, 0x44, 0x4F])
    return IPV4, frames.ipv4(src, D4, proto, segment, **how)


def extensions(rng):
    data = {0: b"\0\1\4\0\0\0\0", 60: bytes(7), 43: rng.choice([b"\0\4\0\0\0\0\0", b"\0\4\1\0\0\0\0", bytes(7)]),
            44: rng.choice([bytes(7), b"\0\0\1\0\0\0\0", b"\0\0\x08\0\0\0\0"])}
    kinds = rng.choice([[], [], [], [60], [0], [0, 60], [60] * 8, [60] * 9, [0, 0], [43], [44], [0, 43, 44, 60]])
    return [(kind, data[kind]) for kind in kinds]


def ipv6(rng):
    src = rng.choice([S6, S6, BAD6])
    proto, segment = transport(rng, src, D6)
    how = {"extensions": extensions(rng), "hop_limit": rng.choice([64, 255])}
    if rng.random() < 0.1:
        how["length"] = rng.choice([0, 5, 300])
    if rng.random() < 0.05:
        how["first"] = 0x40
    return IPV6, frames.ipv6(src, D6, proto, segment, **how)


def shortest(tags):
    """A veth takes no less than an Ethernet header. Of a tagged frame the kernel itself takes off the
    outermost tag before TC, and drops it there, unseen, when not the tag and two bytes are whole."""
    return 20 if tags else 14


def mixed_frames(rng):
    """Frames of every kind, each cut short one time in six."""
    while True:
        tags = [(rng.choice([VLAN, VLAN, QINQ]), rng.choice([0, 7, 7 | 0xA000, 100]))
                for _ in range(rng.choice([0, 0, 0, 0, 1, 1, 2, 3, 8, 9]))]
        kind, packet = rng.choice([ipv4, ipv4, ipv6, ipv6, lambda r: (IPV4, ipv6(r)[1]), lambda r: (IPV6, ipv4(r)[1]),
                                   lambda r: (0x88CC, bytes(46)), lambda r: (60, bytes(60)),
                                   lambda r: (frames.ARP, frames.arp_request(S4, D4)[14:])])(rng)
        frame = frames.eth(kind, packet, tags)
        yield frame[:rng.randrange(shortest(tags), len(frame))] if rng.random() < 1 / 6 else frame


def test_every_frame_meets_the_same_at_xdp_and_tc(lab):
    """500 mixed frames (tagged, IPv6 with extension headers, fragments, malformed, cut short, ARP, not
    IP), over one veth at XDP and another at TC: the same one reason, the same rule, the same bytes for
    every frame, and explain says just that of both doors and changes no counter. Rules out a second parser
    for the second hook, a TC program that misses the tag which the kernel has taken off, an explain that is
    a matcher of its own, and one that counts."""
    rng = random.Random(SEED)
    sample = [frame for frame, _ in zip(mixed_frames(rng), range(WANTED))]
    host, peer = lab.namespace("host"), lab.namespace("peer")
    for dev in "a0", "b0":
        lab.quiet_veth(host, peer, dev)
    daemon = lab.daemon(host)
    daemon.apply(POLICY + "".join(CHAIN % {"zone": zone} for zone in ("doora", "doorb")))
    assert [daemon.attached(dev)["hook"] for dev in ("a0", "b0")] == ["xdp", "tc"]
    doors = {zone: Door(lab, daemon, zone, peer, dev) for zone, dev in (("doora", "a0"), ("doorb", "b0"))}

    assert daemon.ok("explain", "--at", "doora.ingress", "--frame", sample[0].hex())["cost_ns"] > 0
    untouched = lab.counters(daemon).all()
    for door in doors.values():
        door.explain(sample)
    assert lab.counters(daemon).all() == untouched

    differences, seen = [], collections.Counter()
    for number, frame in enumerate(sample):
        a, b = (door.meet(frame) for door in doors.values())
        said = [door.said[number] for door in doors.values()]
        seen[a[0]] += 1
        if a != b or any(s != a[:2] for s in said) or a[2] != (1, len(frame)):
            differences.append(f"seed {SEED}, frame {number} {frame.hex()}: XDP {a}, TC {b}, explain {said}")
    assert not differences, f"{len(differences)} differences, the first:\n" + "\n".join(differences[:10])
    assert len(seen) >= 14, f"the sample is too plain: {seen}"
    for zone in doors:
        assert daemon.add_up(f"{zone}-in")["received_packets"] == WANTED + 1  # and the one that showed the slot
    print(f"{WANTED} frames, {len(seen)} reasons: " +
          ", ".join(f"{verdict} {reason} {n}" for (verdict, reason), n in seen.most_common()))


class Door:
    """A device with a chain, and what its counters say of one frame."""

    def __init__(self, lab, daemon, zone, peer, dev):
        self.daemon, self.zone = daemon, zone
        self.wire = lab.wire(peer, "to-" + dev)
        self.counters = lab.counters(daemon)
        before = self.counters.all()
        self.wire.send(frames.eth(0x88CC, bytes(46)))  # shows which slot is the chain's
        wait_for(lambda: self.counters.all() != before, f"a frame at {zone}")
        self.slot = next(i for i, slot in enumerate(self.counters.all()) if slot != before[i])
        self.said = []
        self.offset = self.counters.by_reason(self.slot)

    def explain(self, sample):
        """In one go, as a capture file."""
        capture = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
        capture += b"".join(struct.pack("<IIII", 0, 0, len(f), len(f)) + f for f in sample)
        path = f"{self.daemon.lab.dir}/sample.pcap"
        with open(path, "wb") as f:
            f.write(capture)
        results = self.daemon.cli("explain", "--at", f"{self.zone}.ingress", "--pcap", path, "--json")
        assert results.exit == 0, results
        rows = [json.loads(line) for line in results.stdout.splitlines()]
        assert all(r["cost_ns"] is None for r in rows), "each frame was measured: that takes minutes"
        self.said = [((r["verdict"], r["reason"]), r["rule"]) for r in rows]

    def rules(self):
        return {r["id"]: r["packets"] for r in self.daemon.get("/v1/rules")["rules"]
                if r["chain"] == f"{self.zone}-in" and r["mode"] != "audit"}

    def meet(self, frame):
        """((verdict, reason), rule, (packets, bytes)); asserts that there is exactly one reason."""
        before, rules = self.counters.by_reason(self.slot), self.rules()
        self.wire.send(frame)
        wait_for(lambda: self.counters.by_reason(self.slot) != before, "the frame", limit=5, every=0.001)
        after, now = self.counters.by_reason(self.slot), self.rules()
        new = {k: tuple(n - o for n, o in zip(v, before.get(k, (0, 0)))) for k, v in after.items()
               if v != before.get(k)}
        hit = [id for id in now if now[id] != rules[id]]
        assert len(new) == 1 and len(hit) <= 1, f"{new} {hit} for {frame.hex()}"
        (reason, count), = new.items()
        return reason, hit[0] if hit else None, count
