# SPDX-License-Identifier: Apache-2.0
"""Packets that claim to belong to a conversation, at both hooks: by TCP flags, by ports, by what an ICMP error
quotes."""
import socket

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import Ether
from scapy.packet import Raw

import lab as lab_module
from evasion import flows
from evasion.flows import ACCEPTS, ANSWERS, ASKED, CONNECTED, LIVE, NO_FLOW
from evasion.row import ALLOW, BL, C, DD, DENY, HERE4, HERE6, I, THERE4, THERE6, WEB, chain, t, to
from evasion.stand import OPEN, Stand
from lab import wait_for

CHAINS = {"dd": chain(DD, "first-only", stateful=True), "bl": chain(BL, "first-only")}
INSIDE, INSIDE_PORT, OUTSIDE_PORT = "10.9.9.9", 6000, 6001
OPENING, FOREIGN = 5002, 45000
TCP_ESTABLISHED = 1


@pytest.fixture(scope="module")
def stands():
    made = lab_module.Lab()
    try:
        yield {hook: talking(Stand(made, hook, CHAINS)) for hook in ("xdp", "tc")}
    finally:
        made.close()


def talking(stand):
    """The host has asked one other host by UDP, from sockets without a peer, and is connected to it by TCP."""
    stand.face("dd")
    door = stand.doors["dd"]
    stand.askers = []
    for family, here, there in (socket.AF_INET, HERE4, THERE4), (socket.AF_INET6, HERE6, THERE6):
        asker = stand.lab.socket(stand.host, family, socket.SOCK_DGRAM)
        asker.bind((here, ASKED))
        asker.sendto(b"question", (there, ANSWERS))
        seen_leaving(door, lambda f: UDP in f and f[UDP].dport == ANSWERS)
        stand.askers.append(asker)
    stand.sinks += stand.askers
    stand.connection = connecting(stand, CONNECTED, ACCEPTS)
    syn = seen_leaving(door, lambda f: TCP in f and f[TCP].sport == CONNECTED)
    accept = C / I / t(CONNECTED, sport=ACCEPTS, flags="SA", ack=behind(syn, 1))
    assert door.meet(bytes(accept)).answer == LIVE
    wait_for(lambda: stand.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_ESTABLISHED,
             "the connection")
    stand.sequence = behind(syn, 1)
    return stand


def connecting(stand, port, to_port):
    """A socket that has sent its SYN."""
    made = stand.lab.socket(stand.host, socket.AF_INET, socket.SOCK_STREAM)
    made.bind((HERE4, port))
    made.setblocking(False)
    try:
        made.connect((THERE4, to_port))
    except BlockingIOError:
        pass
    return made


def seen_leaving(door, wanted):
    """The first frame that the host sends out of the door's device and that is wanted, read by scapy."""
    while True:
        frame = Ether(door.back.frame())
        if wanted(frame):
            return frame


@pytest.mark.parametrize("row", flows.ROWS, ids=lambda row: row.id)
@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_row(stands, hook, row):
    """Only what belongs to a live conversation, or opens one at an open port, passes. Rules out a filter that takes
    an ACK bit for a connection, one that makes the port of a socket without a peer reachable to all, one that
    trusts any ICMP error, and one that reads what an error quotes past its end."""
    stand = stands[hook]
    wrong = [w for policy in CHAINS for w in stand.doors[policy].judge(row, policy)]
    if row.host:
        wrong += stand.unheard(row, "dd")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_a_reset_with_a_wrong_number_ends_nothing(stands, hook):
    """T5: of the host's own connection and of one that it forwards, a RST from outside with a number that nobody
    expects. Either goes on, and data of either passes both ways. Rules out a table that takes any RST for the end."""
    stand = stands[hook]
    door = stand.doors["dd"]
    assert door.meet(bytes(C / I / t(CONNECTED, sport=ACCEPTS, flags="R", seq=0x70000000))).answer == LIVE
    assert door.meet(bytes(C / I / t(CONNECTED, sport=ACCEPTS, flags="A", ack=stand.sequence))).answer == LIVE
    stand.connection.sendall(b"still here")
    assert seen_leaving(door, lambda f: Raw in f and f[Raw].load == b"still here")

    forwarded(stand, "S", 5000)
    assert door.meet(inward("SA", 9000, 5001)).answer == LIVE
    forwarded(stand, "A", 5001, 9001)
    assert door.meet(inward("R", 0x70000000, 5001)).answer == LIVE
    assert door.meet(inward("A", 9001, 5001)).answer == LIVE
    door.through(inward("A", 9001, 5001))
    assert stand.out.waiting(), "what passed was not forwarded"


def forwarded(stand, flags, seq, ack=0):
    """A packet from a host behind this one, out of the stateful chain's device."""
    packet = C / IP(src=INSIDE, dst=THERE4) / TCP(sport=INSIDE_PORT, dport=OUTSIDE_PORT, flags=flags, seq=seq, ack=ack)
    stand.doors[OPEN].wire.send(bytes(packet))
    seen_leaving(stand.doors["dd"], lambda f: TCP in f and f[TCP].sport == INSIDE_PORT and f[TCP].flags == flags)


def inward(flags, seq, ack):
    """One to it, as it comes from outside."""
    return bytes(C / to(I, dst=INSIDE) / TCP(sport=OUTSIDE_PORT, dport=INSIDE_PORT, flags=flags, seq=seq, ack=ack))


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_both_ends_open_at_once(stands, hook):
    """T8: the host's SYN is under way when the other's comes, which the rules judge as any other; the answer to the
    host's still passes, from the port that was asked alone. Rules out a SYN that is taken for an answer, and a
    closed port that opens to all when the host connects from it."""
    stand = stands[hook]
    door = stand.doors["dd"]
    connection = connecting(stand, OPENING, ACCEPTS)
    syn = seen_leaving(door, lambda f: TCP in f and f[TCP].sport == OPENING)
    accept = {"flags": "SA", "ack": behind(syn, 1)}
    assert met(door, t(OPENING, sport=ACCEPTS)) == DENY
    assert met(door, t(OPENING, sport=ACCEPTS + 1, **accept)) == DENY
    assert met(door, t(OPENING, sport=ACCEPTS, **accept)) == LIVE
    wait_for(lambda: connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_ESTABLISHED,
             "the connection")


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_a_new_syn_on_a_connection_to_an_open_port(stands, hook):
    """T8: from the handshake, by SYN cookie, on. A SYN with the ports of the live connection and a number of its own
    passes by the rule that opens the port, and ends nothing. Rules out a SYN that begins the flow anew, and a
    handshake that is ended by one who has not seen the host's number."""
    door = stands[hook].doors["dd"]
    accept = next(f for f in map(Ether, heard(door, t(80, sport=FOREIGN))) if f[TCP].dport == FOREIGN)
    forged, ours = ({"flags": "A", "seq": 1001, "ack": behind(accept, n)} for n in (1 << 30, 1))
    assert met(door, t(80, sport=FOREIGN, **forged)) == NO_FLOW
    assert met(door, t(80, sport=FOREIGN, **ours)) == WEB
    assert met(door, t(80, sport=FOREIGN, **ours) / Raw(b"GET")) == LIVE
    assert met(door, t(80, sport=FOREIGN, seq=0x70000000)) == WEB
    assert met(door, t(80, sport=FOREIGN, **ours | {"seq": 1004})) == LIVE


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_what_passed_unasked_is_no_connection(stands, hook):
    """T3 and T4 where another chain has passed the very packet before, and twice, while the policy is so new that
    what passes in mid-stream may begin a flow. To the host's own address it drops all the same. Rules out a flow that
    one end makes alone, and a new policy that lets a port scan by ACK through."""
    assert stands[hook].daemon.get("/v1/status")["state"]["adopt_seconds_left"]
    stand = stands[hook]
    for flags in "A", "SA", "PA":
        for port, answer in (40000, DENY), (80, NO_FLOW):
            packet = t(port, sport=81, flags=flags)
            assert [met(stand.doors[zone], packet) for zone in ("bl", "bl", "dd", "dd")] == [ALLOW] * 2 + [answer] * 2


def behind(segment, count):
    """A number so far behind the segment's; they go round."""
    return (segment[TCP].seq + count) % 2**32


def met(door, segment):
    """What becomes of it, and explain says the same."""
    met = door.meet(bytes(C / I / segment))
    assert met.said == met.answer
    return met.answer


def heard(door, segment):
    """What the host answers to what the open port lets in."""
    met = door.meet(bytes(C / I / segment))
    assert met.answer == met.said == WEB
    return met.heard


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_path_mtu_is_learnt_and_nothing_worse(stands, hook):
    """I1 and I5 end to end: the host takes the MTU that an error about its own flow names, and one below what IPv6
    allows makes it put no fragment header into small packets (RFC 8021). Rules out errors that are dropped."""
    stand = stands[hook]
    door = stand.doors["dd"]
    stand.ip(stand.host, "route flush cache")  # where a row has left a smaller one
    assert door.meet(bytes(flows.quoting(flows.asked4(), mtu=1300))).answer == LIVE
    wait_for(lambda: "mtu 1300" in stand.lab.ip(stand.host, f"route get {THERE4}").stdout, "the path's MTU")
    assert door.meet(bytes(flows.quoting6(flows.asked6(), 980))).answer == LIVE
    stand.askers[1].sendto(b"small", (THERE6, ANSWERS))
    seen = seen_leaving(door, lambda f: IPv6 in f and f[IPv6].dst == THERE6 and f[IPv6].plen < 100)
    assert IPv6ExtHdrFragment not in seen and UDP in seen
