# SPDX-License-Identifier: Apache-2.0
"""Where the frames are sent: a host with a door for each policy, at one hook. Behind every door a copy of what
came through goes to a tap, and the host listens. One door has no chain: what comes in there unfiltered."""
import dataclasses
import ipaddress
import json
import os
import socket
import struct

from scapy.layers.inet import TCP
from scapy.layers.inet6 import ICMPv6ND_NA
from scapy.layers.l2 import ARP, Ether

import frames
from evasion.row import HERE4, HERE6, HERE_MAC, THERE4, THERE6, THERE_MAC
from lab import datagrams

OPEN = "open"  # the door without a chain
LISTEN_TCP, LISTEN_UDP = (80, 23, 8080), (53, 69)
MTU = 9000  # a header of the greatest length fits
SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23
VLAN_VALID, VLAN_TPID_VALID = 0x10, 0x40
ARP_BYTES = 42
UNMEASURED = 17  # frames in a request from which on explain takes no time for their cost
UNTAGGED = 20  # bytes up to which a frame must go for the kernel to take off its tag


def unseen(hook, frame):
    """Of a frame with an 802.1Q or 802.1ad tag the kernel itself takes off the outermost before TC, and drops it
    there, where nobody counts it, unless the tag and two bytes behind it are whole."""
    return hook == "tc" and frame[12:14] in (b"\x81\0", b"\x88\xa8") and len(frame) < UNTAGGED


class Tap:
    """What comes out of a device, in order, with the tag back in its place."""

    def __init__(self, lab, ns, dev):
        self.socket = lab.socket(ns, socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.socket.bind((dev, 3))

    def frame(self):
        data, extra, _, _ = self.socket.recvmsg(65535, 256)
        for level, kind, value in extra:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", value)
                if status & VLAN_VALID:
                    tpid = tpid if status & VLAN_TPID_VALID else frames.VLAN
                    return data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
        return data

    def waiting(self):
        """All that is there now."""
        got = []
        self.socket.setblocking(False)
        try:
            while True:
                got.append(self.frame())
        except BlockingIOError:
            return got
        finally:
            self.socket.settimeout(5)


def is_answer(frame):
    """A host says this only when somebody heard."""
    seen = Ether(frame)
    return (TCP in seen and seen[TCP].flags.S and seen[TCP].flags.A) or (ARP in seen and seen[ARP].op == 2) or \
        ICMPv6ND_NA in seen


class Stand:
    """chains: {zone: the chain's text below 'at'}. All on one processor, so that what was sent first is done
    first: when a later frame has come out of the tap, nothing of an earlier one is still to come."""

    def __init__(self, lab, hook, chains):
        self.lab, self.hook = lab, hook
        self.processors = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(self.processors)})
        lab.closing.append(self)
        self.host, self.peer = lab.namespace(hook + "-host"), lab.namespace(hook + "-peer")
        for zone in (*chains, OPEN):
            self.door_device(zone)
        self.way_out()
        self.listen()
        self.daemon = lab.daemon(self.host, name=hook)
        self.daemon.apply(self.policy(chains))
        self.counters = lab.counters(self.daemon)
        self.out = Tap(lab, self.peer, "to-out0")
        self.ways_out = [self.out]
        self.fences = 0
        self.doors = {zone: Door(self, zone) for zone in (*chains, OPEN)}

    def close(self):
        os.sched_setaffinity(0, self.processors)

    def policy(self, chains):
        attach = "".join(f"  {zone}: {{dev: {zone}0, hook: {self.hook}}}\n" for zone in chains)
        filters = "".join(f"  {zone}-in:\n    at: {zone}.ingress\n{text}" for zone, text in chains.items())
        return f"version: 1\nattach:\n{attach}filter:\n{filters}"

    def ip(self, ns, words):
        self.lab.ip(ns, words)

    def door_device(self, zone):
        """No GRO: it may hold a segment back behind a later frame."""
        door, tap = f"{zone}0", f"{zone}-t"
        for dev in door, tap:
            self.lab.quiet_veth(self.host, self.peer, dev)
            self.ip(self.host, f"link set {dev} mtu {MTU}")
            self.ip(self.peer, f"link set to-{dev} mtu {MTU}")
        self.lab.run(self.host, "sysctl", "-qw", f"net.ipv6.conf.{tap}.disable_ipv6=1",
                     f"net.ipv6.conf.{door}.accept_ra=0", f"net.ipv6.conf.{door}.seg6_enabled=1")
        self.ip(self.host, f"link set {door} address {HERE_MAC}")
        self.lab.run(self.host, "ethtool", "-K", door, "gro", "off")
        self.ip(self.host, f"addr add {HERE4}/24 dev {door}")
        self.ip(self.host, f"addr add {HERE6}/128 dev {door} nodad")
        for words in (f"qdisc add dev {door} clsact",
                      f"filter add dev {door} ingress prio 60000 protocol all u32 match u32 0 0 at -12 "
                      f"action mirred egress mirror dev {tap}"):
            answer = self.lab.run(self.host, "tc", *words.split())
            assert answer.exit == 0, f"tc {words}: {answer}"

    def way_out(self):
        """Whatever the host answers leaves here, and nobody is asked who the receiver is. Cookies: it answers
        every SYN, also the second with the same ports, and keeps no state."""
        self.lab.quiet_veth(self.host, self.peer, "out0")
        self.ip(self.host, "addr add 10.77.1.1/24 dev out0")
        self.ip(self.host, "addr add 2001:db8:77::1/64 dev out0 nodad")
        for family, gateway in ("-4", "10.77.1.2"), ("-6", "2001:db8:77::2"):
            self.ip(self.host, f"{family} neigh add {gateway} lladdr {THERE_MAC} dev out0 nud permanent")
            self.ip(self.host, f"{family} route add default via {gateway} dev out0")
        self.lab.run(self.host, "sysctl", "-qw", "net.ipv4.tcp_syncookies=2", "net.ipv6.conf.all.seg6_enabled=1")

    def face(self, zone):
        """What the host sends to the other side leaves by this zone's device, from now on."""
        for family, net, address in ("-4", THERE4 + "/24", THERE4), ("-6", THERE6 + "/64", THERE6):
            net = str(ipaddress.ip_interface(net).network)
            self.ip(self.host, f"{family} route add {net} dev {zone}0")
            self.ip(self.host, f"{family} neigh add {address} lladdr {THERE_MAC} dev {zone}0 nud permanent")
        self.ways_out.append(self.doors[zone].back)

    def listen(self):
        for port in LISTEN_TCP:
            listener = self.lab.socket(self.host, socket.AF_INET6, socket.SOCK_STREAM)
            listener.bind(("::", port))
            listener.listen(64)
        self.sinks = [self.lab.udp_sink(self.host, port) for port in LISTEN_UDP]

    def unheard(self, row, policy):
        """[what is wrong] when a host that filters nothing does not hear a row that it should hear."""
        sent = row.frames(row.aim[policy == "bl"])
        for frame in sent:
            self.doors[OPEN].through(frame)
        return [] if self.doors[OPEN].heard() else [f"unfiltered, nobody heard {[f.hex() for f in sent]}"]

    def heard(self):
        """What reached a listener since the last call."""
        return [d for sink in self.sinks for d in datagrams(sink)] + \
            [f for way in self.ways_out for f in way.waiting() if is_answer(f)]

    def fence(self):
        """A frame that passes every door and that nobody answers; no two are the same."""
        self.fences += 1
        return frames.arp_request("0.0.0.0", self.fences)


@dataclasses.dataclass
class Met:
    """What became of one frame: the answer, what explain says, and what listeners heard."""
    answer: str
    said: str
    heard: list


class Door:
    def __init__(self, stand, zone):
        self.stand, self.zone = stand, zone
        lab = stand.lab
        self.wire = lab.wire(stand.peer, f"to-{zone}0")
        self.back = Tap(lab, stand.peer, f"to-{zone}0")
        self.tap = Tap(lab, stand.peer, f"to-{zone}-t")
        if zone != OPEN:
            attached = stand.daemon.attached(f"{zone}0")
            assert (attached["hook"], attached["zone"]) == (stand.hook, zone)
            self.find_slot()

    def find_slot(self):
        """The chain that counts a fence: a host also sends what nobody asked for, which other slots count."""
        counters = self.stand.counters

        def fences():
            return [counters.by_reason(i).get(("pass", "arp"), (0, 0)) for i in range(counters.SLOTS)]

        before = fences()
        self.wire.send(self.stand.fence())
        self.tap.frame()
        self.slot, = [i for i, (now, then) in enumerate(zip(fences(), before)) if now != then]

    def counts(self):
        """({(verdict, reason): (packets, bytes)}, {rule: (packets, bytes)}); of rules also those that counted none."""
        rules = {r["id"]: (r["packets"], r["bytes"]) for r in self.stand.daemon.get("/v1/rules")["rules"]
                 if r["chain"] == f"{self.zone}-in"}
        return self.stand.counters.by_reason(self.slot), rules

    def explain(self, sample):
        """[answer] of frames, as meet() gives them. Frames alike are added where few would be measured."""
        asked = {"at": f"{self.zone}.ingress",
                 "frames": [f.hex() for f in sample + sample[:1] * max(0, UNMEASURED - len(sample))]}
        status, answer = self.stand.daemon.request("POST", "/v1/explain", json.dumps(asked))
        assert status == 200, answer
        return [" ".join(filter(None, (r["verdict"], r["reason"], r["rule"]))) if "error" not in r else r["error"]
                for r in answer["results"][:len(sample)]]

    def through(self, frame):
        """Sends; gives what came out of the tap once all is done."""
        fence = self.stand.fence()
        self.wire.send(frame)
        self.wire.send(fence)
        arrived = []
        while True:
            arrived.append(self.tap.frame())
            if arrived[-1] == fence:
                return arrived[:-1]

    def counted(self, frame):
        """(answer, arrived): by exactly one reason, its verdict the frame's fate, and at most one rule, all with
        the frame's bytes."""
        before = self.counts()
        arrived = self.through(frame)
        new, hit = (difference(*pair) for pair in zip(before, self.counts()))
        packets, size = new.pop(("pass", "arp"))  # the fence, and the frame if it was ARP
        if packets > 1:
            new["pass", "arp"] = packets - 1, size - ARP_BYTES
        if not new:
            assert not hit and not arrived, f"{hit} {arrived} of a frame that no reason has: {frame.hex()}"
            return "unseen", arrived
        assert len(new) == 1 and len(hit) <= 1, f"{new} {hit} for {frame.hex()}"
        assert {*new.values(), *hit.values()} == {(1, len(frame))}, f"{new} {hit} for {frame.hex()}"
        return " ".join([*next(iter(new)), *hit]), arrived

    def meet(self, frame):
        """Explains, then sends."""
        said = self.explain([frame])[0]
        answer, arrived = self.counted(frame)
        assert arrived == ([frame] if answer.startswith("pass") else []), f"{answer}, but behind the hook: " \
            f"{[a.hex() for a in arrived]}, sent {frame.hex()}"
        return Met(answer, said, self.heard())

    def heard(self):
        return self.stand.heard() + [f for f in self.back.waiting() if is_answer(f)]

    def judge(self, row, policy):
        """[what is wrong], "dd" or "bl": each frame's answer, the same by explain, and whether the host heard."""
        wrong, heard, answers = [], [], row.answers(policy)
        for frame, answer in answers:
            met = self.meet(frame)
            heard += met.heard
            if not unseen(self.stand.hook, frame) and (met.answer, met.said) != (answer, answer):
                wrong.append(f"{self.zone} {frame.hex()}: {met.answer}, explain: {met.said}, expected: {answer}")
        if row.host and bool(heard) != all(answer.startswith("pass") for _, answer in answers):
            wrong.append(f"{self.zone}: {[answer for _, answer in answers]}, heard: {heard}")
        return wrong


def difference(before, after):
    return {k: tuple(n - o for n, o in zip(v, before.get(k, (0, 0)))) for k, v in after.items() if v != before.get(k)}
