# SPDX-License-Identifier: Apache-2.0
"""Frames that end too early. Each of these is headers and nothing else, so that whatever is missing is missing from a
header."""
import struct

from scapy.layers.inet import ICMP
from scapy.layers.inet6 import ICMPv6EchoRequest
from scapy.layers.sctp import SCTP

from evasion import extensions, headers, links
from evasion.row import ALLOW, C, DENY, DNS, I, J, Row, TELNET, TFTP, WEB, t, u

TAGS = (b"\x81\0", b"\x88\xa8", b"\x91\0")
MALFORMED = {"truncated", "bad-ipv4-header", "bad-ipv6-header", "bad-ip-option", "bad-extension-header",
             "bad-tcp-header", "bad-udp-header"}
SHORTEST = 14  # an Ethernet header; no device sends less
MORE = b"123456"


def of(rows, *ids):
    return [next(row for row in rows if row.id == id) for id in ids]


ROWS = [
    *of(headers.ROWS, "B1 TCP over IPv4", "B2 TCP over IPv6", "O2 forty NOPs", "O6 timestamp",
        "O3 options that imitate port 80 before port 23"),
    *of(extensions.ROWS, "X1 hop-by-hop options", "X2 8 destination options", "X4 the order of RFC 8200",
        "X9 authentication header", "X14 atomic fragment"),
    *of(links.ROWS, "V1 a priority tag", "V2 8 priority tags", "V3 802.1ad priority tag", "V4 tag type 0x9100",
        "V7 tagged IPv6"),
    Row("UDP over IPv4", lambda p: C / I / u(p), DNS, TFTP, aim=headers.UDP),
    Row("UDP over IPv6", lambda p: C / J / u(p), DNS, TFTP, aim=headers.UDP),
    Row("TCP with options", lambda p: C / I / t(p, options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0))]),
        WEB, TELNET),
    Row("ICMP echo", lambda p: C / I / ICMP(), DENY, ALLOW),
    Row("ICMPv6 echo", lambda p: C / J / ICMPv6EchoRequest(), DENY, ALLOW),
    Row("SCTP", lambda p: C / I / SCTP(sport=40000, dport=p), DENY, ALLOW),
]
NOT_IP = of(links.ROWS, "N1 ARP request", "V7 tagged ARP")


def ip_at(frame):
    at = 12
    while frame[at:at + 2] in TAGS:
        at += 4
    return at + 2


def fitted(frame):
    """The same with the length that its IP header must then claim, when it is whole enough to claim one."""
    at = ip_at(frame)
    if len(frame) < at + 20:
        return frame
    if frame[at] >> 4 == 4:
        return frame[:at + 2] + struct.pack("!H", len(frame) - at) + frame[at + 4:]
    return frame[:at + 4] + struct.pack("!H", max(0, len(frame) - at - 40)) + frame[at + 6:]
