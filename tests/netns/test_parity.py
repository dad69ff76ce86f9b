# SPDX-License-Identifier: Apache-2.0
"""One stage list at two hooks: what a frame meets does not depend on the door it comes in by, and explain says it
beforehand."""
import collections
import errno
import json
import random
import struct

import frames
import kernel
from frames import ACK, FIN, ICMP, ICMP6, IPV4, IPV6, QINQ, RST, SCTP, SYN, TCP, UDP, VLAN
from lab import LONG, wait_for

SEED = 4242
CROWD = 125  # senders of a chunk: no two of its frames are of one conversation, so none changes what the next meets
FEW, MANY, TALKS = (n * (10 if LONG else 1) for n in (32, 24, 24))  # chunks: 10 000 frames at each door
LIFE = 8  # chunks in which a sender keeps to one conversation
PORTS = [80, 443, 8099, 8100, 22, 23, 53, 0xBB01]
INGRESS, EGRESS = 0, 1

HEAD = """version: 1
attach:
  doora: {dev: a0, hook: xdp}
  doorb: {dev: b0, hook: tc}
safety:
  never-drop:
    - {proto: tcp, dport: 22, from: [198.51.1.96/28, 198.51.2.96/28]}
sets:
  bad: {items: [198.51.1.64/28, 198.51.2.64/28, "2001:db8:1::40/124", "2001:db8:2::40/124"]}
  banned: {max: 1k}
filter:
"""
BANNED = [f"198.51.{n}.{host}" for n in (1, 2) for host in ("80/29", "88")] + [f"2001:db8:{n}::50/125" for n in (1, 2)]

FEW_RULES = """  %(zone)s-in:
    at: %(zone)s.ingress
    default: drop
    rules:
      - {id: watch, proto: tcp, do: drop, mode: audit}
%(watchers)s
      - {id: bad, from: $bad, do: drop}
      - {id: banned, from: $banned, not-to: 192.0.2.12, do: drop}
      - {id: null-scan, proto: tcp, flags: {none-of: [syn, ack, rst, fin]}, do: drop}
      - {id: web, proto: tcp, dport: [80, 443, 8000-8099], do: pass}
      - {id: dns, proto: udp, dport: 53, do: pass}
      - {id: sig, proto: sctp, sport: 2905, do: pass}
      - {id: pmtu, proto: icmp, type: dest-unreachable, code: frag-needed, do: pass}
      - {id: pmtu6, proto: icmp6, type: packet-too-big, do: pass}
      - {id: guest, vlan: 7, proto: udp, do: pass}
      - {id: gre, proto: 47, do: pass}
"""
WATCHERS = "\n".join(f"      - {{id: watch-{i}, proto: udp, do: pass, mode: audit}}" for i in range(18))

MANY_RULES = """  %(zone)s-in:
    at: %(zone)s.ingress
    default: drop
    fragments: first-only
    rules:
%(rules)s
"""

TALK_RULES = """  %(zone)s-in:
    at: %(zone)s.ingress
    default: drop
    fragments: first-only
    rules:
      - {id: watch-known, state: established, do: drop, mode: audit}
      - {id: banned, from: $banned, do: drop}
      - {id: known, state: established, do: pass}
      - {id: odd, proto: tcp, flags: {all-of: [syn, fin]}, do: drop}
      - {id: web, proto: tcp, dport: [80, 443], do: pass}
      - {id: dns, proto: udp, dport: 53, do: pass}
      - {id: ping, proto: icmp, type: echo-request, do: pass}
      - {id: ping6, proto: icmp6, type: echo-request, do: pass}
  %(zone)s-out:
    at: %(zone)s.egress
    default: drop
    fragments: first-only
    rules:
      - {id: watch-all, do: drop, mode: audit}
      - {id: reply, state: established, do: pass}
      - {id: ask, proto: udp, dport: [53, 8100], do: pass}
      - {id: knock, proto: tcp, dport: 443, do: pass}
      - {id: ping-out, proto: icmp, type: echo-request, do: pass}
"""


def narrow_rule(rng, i):
    """One of many, about a few of the crowd; the sender's network is left open."""
    bits = rng.randrange(4)
    first = rng.randrange(0, CROWD, 1 << bits)
    six = rng.random() < 0.4
    keys = [f'from: "2001:db8:%(net)d::{first:x}/{128 - bits}"' if six else f"from: 198.51.%(net)d.{first}/{32 - bits}"]
    port = rng.choice(PORTS)
    keys += rng.choice([
        [f"proto: tcp, dport: {port}"], [f"proto: udp, dport: {port}"],
        [f"proto: {rng.choice(['tcp', 'udp'])}, dport: {port}-{port + rng.choice([1, 10, 99])}, sport: 1024-65535"],
        [f"proto: tcp, flags: {{all-of: [{rng.choice(['syn', 'ack', 'fin'])}]}}"],
        [f"proto: {'icmp6' if six else 'icmp'}"], ["proto: 47"], [f"vlan: {rng.choice([0, 7, 100])}"]])
    if rng.random() < 0.05:
        keys.append("mode: audit")
    return f"      - {{id: r{i}, {', '.join(keys)}, do: {rng.choice(['pass', 'drop'])}}}"


def many_rules(rng):
    """More than vectors have room for, so that most stand in trees, and between them what trees do not know."""
    rules = [narrow_rule(rng, i) for i in range(900)]
    rules[100:100] = ["      - {id: banned, from: $banned, do: drop}"]
    rules[500:500] = ["      - {id: known, state: established, do: pass}"]
    return "\n".join(rules + ["      - {id: dns, proto: udp, dport: 53, do: pass}"])


class Sender:
    """Somebody in the crowd, in the network of a door, and whom they speak to."""

    def __init__(self, net, number):
        self.four = f"198.51.{net}.{number}", f"192.0.2.{10 + number % 3}"
        self.six = f"2001:db8:{net}::{number:x}", "2001:db8::10"


# ---- frames of every kind -----------------------------------------------------------------------------------------


def transport(rng, src, dst):
    """(protocol, segment), some of them malformed."""
    dport = rng.choice(PORTS)
    cases = [
        lambda: (TCP, frames.tcp(src, dst, 40000, dport, rng.choice([SYN, ACK, FIN, 0, 0x3F]))),
        lambda: (TCP, frames.tcp(src, dst, 40000, dport, offset=rng.choice([4, 5, 6, 15]))),
        lambda: (UDP, frames.udp(src, dst, 40000, dport, bytes(rng.randrange(40)))),
        lambda: (UDP, struct.pack("!HHHH", 40000, 53, rng.choice([7, 8, 9, 500]), 0)),
        lambda: (SCTP, struct.pack("!HHII", rng.choice([2905, 2906]), 9, 0, 0)),
        lambda: (ICMP, frames.icmp(3, rng.choice([3, 4]))),
        lambda: (ICMP6, frames.icmp6(src, dst, rng.choice([2, 128, 133, 135, 136, 137]), 0)),
        lambda: (rng.choice([47, 50, 59]), bytes(16)),
    ]
    return rng.choice(cases)()


def ipv4(rng, sender):
    proto, segment = transport(rng, *sender.four)
    options = rng.choice([b"", b"", b"", b"\1\1\1\1", b"\x83\7\x08\x0a\x4d\0\x09\0", b"\7\5\0\0", b"\0\xff\xff\xff"])
    how = {"options": options, "fragment": rng.choice([0, 0, 0, 0x4000, 0x2000, 1])}
    if rng.random() < 0.15:
        how["total"] = rng.choice([19, 22, 200])
    if rng.random() < 0.05:
        how["first"] = rng.choice([0x55, 0x44, 0x4F])
    return IPV4, frames.ipv4(*sender.four, proto, segment, **how)


def extensions(rng):
    data = {0: b"\0\1\4\0\0\0\0", 60: bytes(7), 43: rng.choice([b"\0\4\0\0\0\0\0", b"\0\4\1\0\0\0\0", bytes(7)]),
            44: rng.choice([bytes(7), b"\0\0\1\0\0\0\0", b"\0\0\x08\0\0\0\0"])}
    kinds = rng.choice([[], [], [], [60], [0], [0, 60], [60] * 8, [60] * 9, [0, 0], [43], [44], [0, 43, 44, 60]])
    return [(kind, data[kind]) for kind in kinds]


def ipv6(rng, sender):
    proto, segment = transport(rng, *sender.six)
    how = {"extensions": extensions(rng), "hop_limit": rng.choice([64, 255])}
    if rng.random() < 0.1:
        how["length"] = rng.choice([0, 5, 300])
    if rng.random() < 0.05:
        how["first"] = 0x40
    return IPV6, frames.ipv6(*sender.six, proto, segment, **how)


def shortest(tags):
    """A veth takes no less than an Ethernet header. Of a tagged frame the kernel itself takes off the
    outermost tag before TC, and drops it there, unseen, when not the tag and two bytes are whole."""
    return 20 if tags else 14


def mixed(rng, sender):
    """Tagged, malformed, with options and extension headers, in fragments, ARP, not IP; one in six cut short."""
    tags = [(rng.choice([VLAN, VLAN, QINQ]), rng.choice([0, 7, 7 | 0xA000, 100]))
            for _ in range(rng.choice([0, 0, 0, 0, 1, 1, 2, 3, 8, 9]))]
    kind, packet = rng.choice([
        ipv4, ipv4, ipv6, ipv6, lambda r, s: (IPV4, ipv6(r, s)[1]), lambda r, s: (IPV6, ipv4(r, s)[1]),
        lambda r, s: (0x88CC, bytes(46)), lambda r, s: (60, bytes(60)),
        lambda r, s: (frames.ARP, frames.arp_request(*s.four)[14:])])(rng, sender)
    frame = frames.eth(kind, packet, tags)
    return frame[:rng.randrange(shortest(tags), len(frame))] if rng.random() < 1 / 6 else frame


def aimed(rng, sender):
    """Whole frames with what rules ask for."""
    src, dst = rng.choice([sender.four, sender.six])
    segment = transport(rng, src, dst)[1]
    kind, packet = frames.ip(src, dst, *rng.choice([
        (TCP, frames.tcp(src, dst, 40000, rng.choice(PORTS), rng.choice([SYN, SYN, ACK, FIN | ACK, RST]))),
        (UDP, frames.udp(src, dst, rng.choice([53, 40000]), rng.choice(PORTS))), (47, segment)]))
    return frames.eth(kind, packet, [(VLAN, rng.choice([0, 7, 100]))] if rng.random() < 0.2 else ())


# ---- conversations ------------------------------------------------------------------------------------------------


def tcp_step(rng, src, dst, sport, dport, inward):
    flags = [SYN, SYN, ACK, ACK, ACK, FIN | ACK, RST, SYN | ACK] if inward else \
        [SYN | ACK, SYN | ACK, SYN | ACK, ACK, ACK, FIN | ACK, RST | ACK, SYN]
    return frames.ip(src, dst, TCP, frames.tcp(src, dst, sport, dport, rng.choice(flags), seq=1000, ack=1000))


def udp_step(_rng, src, dst, sport, dport, _inward):
    return frames.ip(src, dst, UDP, frames.udp(src, dst, sport, dport, b"penstock"))


def echo_step(rng, src, dst, sport, _dport, inward):
    ask = rng.random() < (0.7 if inward else 0.3)
    if ":" in src:
        return frames.ip(src, dst, ICMP6, frames.icmp6(src, dst, 128 if ask else 129, 0, rest=sport << 16))
    return frames.ip(src, dst, ICMP, frames.icmp(8 if ask else 0, 0, rest=sport << 16))


def piece_step(rng, src, dst, sport, dport, _inward):
    """A first or later fragment of a datagram, sometimes one that overlaps or hides its header."""
    body = frames.udp(src, dst, sport, dport, bytes(64))
    at, end = rng.choice([(0, 32), (0, 32), (32, 72), (32, 72), (24, 72), (0, 4), (8, 40)])
    more = end < len(body)
    if ":" in src:
        header = struct.pack("!BHI", 0, at | more, 7)
        return IPV6, frames.ipv6(src, dst, UDP, body[at:end], extensions=[(44, header)])
    return IPV4, frames.ipv4(src, dst, UDP, body[at:end], fragment=more << 13 | at // 8)


def error_about(rng, quoted, src, dst):
    """An ICMP error to dst about a packet of the other direction, from its receiver or somebody on the way."""
    sender = rng.choice([src, "2001:db8:ff::1" if ":" in src else "203.0.113.1"])
    if ":" in src:
        return frames.ip(sender, dst, ICMP6, frames.icmp6(sender, dst, 1, 4, quoted))
    return frames.ip(sender, dst, ICMP, frames.icmp(3, 3, quoted))


def talking(rng, sender, number, life, inward):
    """The next frame of a sender's conversation: in order, out of order, or about it."""
    same = random.Random(f"{SEED} {number} {life}")  # what the conversation keeps to
    src, dst = same.choice([sender.four, sender.six])
    step = same.choice([tcp_step, tcp_step, tcp_step, udp_step, echo_step, piece_step])
    sport, dport = 40000 + life, same.choice([80, 443, 443, 8100] if step == tcp_step else [53, 53, 53, 8100])
    there, back = (src, dst, sport, dport), (dst, src, dport, sport)
    if not inward:
        there, back = back, there
    if rng.random() < 0.2:
        return frames.eth(*error_about(rng, step(rng, *back, not inward)[1], *there[:2]))
    return frames.eth(*step(rng, *there, inward))


# ---- doors --------------------------------------------------------------------------------------------------------


def test_every_frame_meets_the_same_at_xdp_and_tc(lab):
    """10 000 frames over one veth at XDP and another at TC, under a chain of few rules, one of so many that most of
    them are in trees, and one that knows flows and follows fragments, there also on the way out: explain says
    beforehand what each meets at either door, verdict, reason, rule and audit rules, and its walk agrees with that;
    explaining changes no counter; then the frame counts just so, with its bytes, and the same at both doors. Members
    of a run-time set are among the senders. Rules out a second parser for the second hook, a TC program that misses
    the tag which the kernel has taken off, an explain that is a matcher of its own, that knows the policy but neither
    flows, fragments nor run-time sets, that takes numbers of slots for rules, or that counts."""
    run = Run(lab)
    run.apply(lambda zone, _: FEW_RULES % {"zone": zone, "watchers": WATCHERS})
    for _ in range(FEW):
        run.chunk(lambda rng, sender, _: rng.choice([mixed, mixed, aimed])(rng, sender))
    assert len(run.seen) >= 14 and run.truncated > 100 and run.rules["banned"] > 50, run
    rules = many_rules(random.Random(SEED))
    run.apply(lambda zone, net: MANY_RULES % {"zone": zone, "rules": rules % {"net": net}})
    for _ in range(MANY):
        run.chunk(lambda rng, sender, _: rng.choice([aimed, aimed, aimed, mixed])(rng, sender))
    assert run.trees > 500 and len(run.rules) > 200, run
    run.apply(lambda zone, _: TALK_RULES % {"zone": zone})
    for n in range(TALKS):
        run.chunk(lambda rng, sender, i, n=n: talking(rng, sender, i, n // LIFE, n % 2 == INGRESS), n % 2)
    assert min(run.rules[rule] for rule in ("known", "reply", "watch-known", "watch-all")) > 50, run
    assert min(run.states[word] for word in ("not-asked", "no-flow", "live-flow")) > 50, run
    assert min(run.seen["pass", "fragment-follows"], run.seen["drop", "no-flow"]) > 10, run
    print(f"{run.frames} frames at each door, {run}")


class Run:
    """Two doors, and what the frames of a policy came to."""

    def __init__(self, lab):
        self.lab = lab
        self.host, self.peer = lab.namespace("host"), lab.namespace("peer")
        for dev in "a0", "b0":
            lab.quiet_veth(self.host, self.peer, dev)
        self.daemon = lab.daemon(self.host)
        self.wires = {dev: (lab.wire(self.peer, "to-" + dev), lab.wire(self.host, dev)) for dev in ("a0", "b0")}
        self.counters = [kernel.PerCpu(self.daemon.pin_dir, name) for name in ("chain_counters", "rule_counters")]
        lab.closing.extend(self.counters)
        self.frames = 0

    def apply(self, chains):
        """chains: of a zone and the number of its senders' network."""
        zones = [("doora", "a0", 1), ("doorb", "b0", 2)]
        self.daemon.apply(HEAD + "".join(chains(zone, net) for zone, _, net in zones))
        self.daemon.ok("set", "add", "banned", *BANNED)
        assert [self.daemon.attached(dev)["hook"] for _, dev, _ in zones] == ["xdp", "tc"]
        policy = self.daemon.get("/v1/policy")
        self.doors = [[Door(self, policy, zone, way, self.wires[dev][way], net) for zone, dev, net in zones]
                      for way in range(len(policy["chains"]) // 2)]
        self.seen, self.rules, self.states = (collections.Counter() for _ in range(3))
        self.truncated = self.trees = 0

    def __repr__(self):
        return f"{dict(self.seen)}, {dict(self.states)}, truncated {self.truncated}, by trees {self.trees}"

    def chunk(self, make, way=INGRESS):
        """The same frames at both doors, but for the network of their senders."""
        met, seed = [], f"{SEED} {self.frames}"
        for door in self.doors[way]:
            rng = random.Random(seed)
            sample = [make(rng, Sender(door.net, i), i) for i in range(CROWD)]
            said = door.explain(sample)
            met.append([door.meet(frame) for frame in sample])
            for frame, row, got in zip(sample, said, met[-1]):
                assert got == expected(row, len(frame)), \
                    f"seed {seed}, at {door.at}, {frame.hex()}: met {got}, explained {row}"
        assert met[0] == met[1], f"seed {seed}: {next(pair for pair in zip(*met) if pair[0] != pair[1])}"
        self.frames += CROWD
        for row in said:
            self.note(row)

    def note(self, row):
        walk = row["walk"]
        self.seen[row["verdict"], row["reason"]] += 1
        self.rules.update(row["audit"] + [row["rule"]])
        self.states[walk["state"]] += walk["judged"]
        self.truncated += outcomes(row, "truncated") != []
        self.trees += bool(walk["trees"] and walk["trees"]["rule"] and walk["trees"]["rule"] == row["rule"])


def outcomes(row, word):
    return [c["rule"] for c in row["walk"]["candidates"] if c["outcome"] == word]


def expected(row, size):
    """What a frame counts of which explain said this, as Door.meet() has it."""
    named, ids = outcomes(row, "counts") + outcomes(row, "decides"), row["audit"] + [row["rule"]] * bool(row["rule"])
    assert named == [id for id in ids if id != "default"] or row["walk"]["candidates_more"], row
    assert set(named) <= set(ids), row
    assert (row["walk"]["packets"], row["walk"]["bytes"]) == (1, size), row
    return {(row["verdict"], row["reason"]): (1, size)}, {id: (1, size) for id in ids}, len(outcomes(row, "truncated"))


class Door:
    """A device with a chain, and what its counters say of a frame."""

    def __init__(self, run, policy, zone, way, wire, net):
        self.daemon, self.wire, self.net = run.daemon, wire, net
        self.at = f"{zone}.{('ingress', 'egress')[way]}"
        self.chains, self.rules = run.counters
        number = [z["name"] for z in policy["zones"]].index(zone) + 1
        rows = next(c["rules"] for c in policy["chains"] if (c["zone"], c["dir"]) == tuple(self.at.split(".")))
        self.slot, slots, default = kernel.counter_slots(self.daemon.pin_dir, number, way)
        self.ids = dict(zip(slots, (r["id"] for r in rows))) | {default: "default"}
        self.blocks = sorted({slot // 64 for slot in self.ids})
        self.reasons = [(verdict, text) for text, verdict in kernel.reasons()]

    def look(self):
        return self.chains.raw(self.slot), [self.rules.raw(block) for block in self.blocks]

    def explain(self, sample):
        """In one go, as a capture file."""
        before = self.look()
        capture = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
        capture += b"".join(struct.pack("<IIII", 0, 0, len(f), len(f)) + f for f in sample)
        path = f"{self.daemon.lab.dir}/sample.pcap"
        with open(path, "wb") as f:
            f.write(capture)
        answer = self.daemon.cli("explain", "--at", self.at, "--pcap", path, "--json")
        assert answer.exit == 0, answer
        rows = [json.loads(line) for line in answer.stdout.splitlines()]
        assert all(r["cost_ns"] is None and r["cost_note"] for r in rows), "each was measured: that takes minutes"
        assert self.look() == before, "explaining was counted"
        return rows

    def meet(self, frame):
        """({(verdict, reason): (packets, bytes)}, {rule: (packets, bytes)}, audit rules too many to be counted)."""
        before = self.look()
        try:
            self.wire.send(frame)
        except OSError as why:  # on the way out the sender hears of a drop
            assert why.errno == errno.ENOBUFS, why
        wait_for(lambda: self.chains.raw(self.slot) != before[0], f"{frame.hex()} at {self.at}", every=0.001)
        now = self.look()
        chain = difference(self.chains, before[0], now[0])
        rules = {}
        for block, old, new in zip(self.blocks, before[1], now[1]):
            if old != new:
                words = difference(self.rules, old, new)
                rules |= {self.ids[64 * block + i]: tuple(words[4 * i:4 * i + 2]) for i in range(64) if words[4 * i]}
        pairs = zip(self.reasons, zip(chain[4::2], chain[5::2]))
        return {reason: count for reason, count in pairs if count[0]}, rules, chain[2]


def difference(counters, before, after):
    return [n - o for o, n in zip(counters.sums(before), counters.sums(after))]
