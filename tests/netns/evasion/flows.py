# SPDX-License-Identifier: Apache-2.0
"""Packets that claim to belong to a conversation, by their TCP flags or by what an ICMP error quotes. The host has
asked from ASKED and connected from CONNECTED before; the ports there are the other end's."""
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.packet import Raw

from evasion.row import (ALLOW, C, DENY, DNS, HERE4, HERE6, I, J, Row, TELNET, THERE4, THERE6, WEB, t, to, u)

ASKED, ANSWERS = 5000, 7000  # UDP: the host's port, the other's
CONNECTED, ACCEPTS = 5001, 7001  # TCP
STRANGER4, ROUTER4, ROUTER6 = "198.51.100.8", "198.51.100.1", "2001:db8:2::1"
NO_FLOW, LIVE, FRAGMENT = "drop no-flow web", "pass rule established", "drop fragment"
LEAST = 68  # bytes: the smallest MTU that IPv4 may have
LEAST6 = 1280
QUOTED = 8  # bytes of the transport that an ICMP error must quote

FLAGS = {"no flags": "", "FIN": "F", "SYN and FIN": "SF", "SYN and RST": "SR", "all of them": "FSRPAUEC",
         "FIN, PSH and URG": "FPU", "RST": "R", "ACK": "A", "SYN and ACK": "SA"}


def asked4(**how):
    """What the host once sent."""
    return IP(**{"src": HERE4, "dst": THERE4} | how) / UDP(sport=ASKED, dport=ANSWERS)


def asked6(**how):
    return IPv6(**{"src": HERE6, "dst": THERE6} | how) / UDP(sport=ASKED, dport=ANSWERS)


def connected4():
    return IP(src=HERE4, dst=THERE4) / TCP(sport=CONNECTED, dport=ACCEPTS, seq=1)


def quoting(quoted, kind=3, code=4, mtu=1300, cut=None, **outer):
    """An ICMP error from a router."""
    head = to(I, **{"src": ROUTER4} | outer)
    return C / head / ICMP(type=kind, code=code, nexthopmtu=mtu) / Raw(bytes(quoted)[:cut])


def quoting6(quoted, mtu=1400):
    return C / to(J, src=ROUTER6) / ICMPv6PacketTooBig(mtu=mtu) / Raw(bytes(quoted))


def answer(src=THERE4, sport=ANSWERS, dport=ASKED):
    return C / to(I, src=src) / UDP(sport=sport, dport=dport) / Raw(b"answer")


def answer6(src=THERE6):
    return C / to(J, src=src) / UDP(sport=ANSWERS, dport=ASKED) / Raw(b"answer")


def icmp(kind, data=b""):
    return lambda p: C / I / ICMP(type=kind) / Raw(data)


def never_given(p):
    """A question that passes and that nobody answers, then an error about its answer."""
    return [C / I / u(p), quoting(IP(src=HERE4, dst=THERE4) / UDP(sport=p, dport=40000))]


def redirect(p):
    return quoting(asked4(), 5, 1, 0)


TCP_ROWS = [
    *[Row(f"T1 {name}", lambda p, f=f: C / I / t(p, flags=f), NO_FLOW, TELNET) for name, f in FLAGS.items()],
    *[Row(f"T1 {name} over IPv6", lambda p, f=f: C / J / t(p, flags=f), NO_FLOW, TELNET) for name, f in FLAGS.items()],
    Row("T2 SYN, ECE and CWR", lambda p: C / I / t(p, flags="SEC"), WEB, TELNET, host=True),
    Row("T2 SYN, PSH and URG", lambda p: C / I / t(p, flags="SPU"), WEB, TELNET, host=True),
    Row("T2 SYN with data", lambda p: C / I / t(p) / Raw(b"GET / HTTP/1.0\r\n\r\n"), WEB, TELNET, host=True),
    Row("T3 ACK from port 80", lambda p: C / I / t(p, flags="A", sport=80), NO_FLOW, TELNET),
    Row("T3 ACK from port 80 to a high port", lambda p: C / I / t(p, flags="A", sport=80), DENY, ALLOW,
        aim=(40000, 40000)),
    Row("T4 SYN and ACK that nobody asked for", lambda p: C / I / t(p, flags="SA", sport=80), DENY, ALLOW,
        aim=(40000, 40000)),
    Row("T6 source port 0", lambda p: C / I / t(p, sport=0), WEB, ALLOW, host=True, aim=(80, 80)),
    Row("T6 destination port 0", lambda p: C / I / t(p), DENY, ALLOW, aim=(0, 0)),
]

ANSWER_ROWS = [
    Row("T7 the answer", lambda p: answer(), LIVE, ALLOW),
    Row("T7 the answer over IPv6", lambda p: answer6(), LIVE, ALLOW),
    Row("T7 from another address", lambda p: answer(STRANGER4), DENY, ALLOW),
    Row("T7 from another address over IPv6", lambda p: answer6("2001:db8:2::8"), DENY, ALLOW),
    Row("T7 from another port", lambda p: answer(sport=ANSWERS + 1), DENY, ALLOW),
    Row("T7 to another port", lambda p: answer(dport=ASKED + 1), DENY, ALLOW),
    Row("T7 by another protocol", lambda p: C / I / t(ASKED, sport=ANSWERS, flags="A"), DENY, ALLOW),
    Row("T7 on the connection", lambda p: C / I / t(CONNECTED, sport=ACCEPTS, flags="A"), LIVE, ALLOW),
    Row("T7 on the connection, another port", lambda p: C / I / t(CONNECTED, sport=ACCEPTS + 1, flags="A"), DENY,
        ALLOW),
    Row("T8 SYN on the connection", lambda p: C / I / t(CONNECTED, sport=ACCEPTS, seq=999999), DENY, ALLOW),
]

ERROR_ROWS = [
    Row("I1 fragmentation needed, UDP", lambda p: quoting(asked4()), LIVE, ALLOW),
    Row("I1 fragmentation needed, TCP", lambda p: quoting(connected4()), LIVE, ALLOW),
    Row("I1 fragmentation needed, eight bytes quoted", lambda p: quoting(connected4(), cut=20 + QUOTED), LIVE, ALLOW),
    Row("I1 packet too big", lambda p: quoting6(asked6()), LIVE, ALLOW),
    Row("I2 about an unknown flow", lambda p: quoting(asked4(dst=STRANGER4)), DENY, ALLOW),
    Row("I2 about an unknown flow over IPv6", lambda p: quoting6(asked6(dst="2001:db8:2::8")), DENY, ALLOW),
    *[Row(f"I2 quoting {cut} bytes", lambda p, cut=cut: quoting(asked4(), cut=cut), DENY, ALLOW)
      for cut in (0, 4, 19, 20, 22, 23, 24, 19 + QUOTED)],
    Row("I2 an MTU of 68", lambda p: quoting(asked4(), mtu=LEAST), LIVE, ALLOW),
    Row("I3 redirect", redirect, DENY, ALLOW),
    Row("I3 timestamp", icmp(13, bytes(12)), DENY, ALLOW),
    Row("I3 address mask", icmp(17, bytes(4)), DENY, ALLOW),
    Row("I4 quoting what another host sent", lambda p: quoting(asked4(src="192.0.2.11")), DENY, ALLOW),
    Row("I4 quoting the answer", lambda p: quoting(IP(src=THERE4, dst=HERE4) / UDP(sport=ANSWERS, dport=ASKED)), DENY,
        ALLOW),
    Row("I4 quoting an answer that was never given", never_given, (DNS, DENY), ALLOW, aim=(53, 53)),
    Row("I4 quoting a fragment", lambda p: quoting(asked4(frag=3)), DENY, ALLOW),
    Row("I4 quoting the other family", lambda p: quoting(asked6()), DENY, ALLOW),
    Row("I5 an IPv6 MTU below 1280", lambda p: quoting6(asked6(), LEAST6 - 300), LIVE, ALLOW),
    Row("I6 in a first fragment", lambda p: quoting(asked4(), flags="MF", id=6), DENY, ALLOW),
    Row("I6 in a later fragment", lambda p: quoting(asked4(), frag=1, id=7), FRAGMENT, FRAGMENT),
]

ROWS = TCP_ROWS + ANSWER_ROWS + ERROR_ROWS
