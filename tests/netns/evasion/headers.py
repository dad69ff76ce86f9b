# SPDX-License-Identifier: Apache-2.0
"""Whole packets, IPv4 options, and lengths that lie."""
from scapy.packet import Raw

from evasion.row import (AIM, ALLOW, BAD_IPV4, BAD_IPV6, BAD_OPTION, BAD_TCP, BAD_UDP, C, CUT, DENY, DNS, I, J, ROUTED,
                         Row, TELNET, TFTP, WEB, options, prefix, t, to, u)

UDP = AIM["udp"]

BASE = [
    Row("B1 TCP over IPv4", lambda p: C / I / t(p), WEB, TELNET, host=True),
    Row("B2 TCP over IPv6", lambda p: C / J / t(p), WEB, TELNET, host=True),
    Row("B3 the other port", lambda p: C / I / t(p), DENY, ALLOW, host=True, aim=(8080, 80)),
]

OPTIONS = [
    Row("O1 four NOPs", lambda p: C / options("01" * 4) / t(p), WEB, TELNET, host=True),
    Row("O2 forty NOPs", lambda p: C / options("01" * 40) / t(p), WEB, TELNET, host=True),
    Row("O3 options that imitate port 80 before port 23", lambda p: C / options("00 00 00 50 9c 40 00 50") / t(p),
        DENY, TELNET, host=True, aim=(23, 23)),
    Row("O4 options that imitate port 23 before port 80", lambda p: C / options("00 00 00 17") / t(p), WEB, ALLOW,
        host=True, aim=(80, 80)),
    Row("O5 loose source route", lambda p: C / options("83 07 08 0a 4d 00 09 00") / t(p), ROUTED, ROUTED),
    Row("O5 strict source route", lambda p: C / options("89 07 08 0a 4d 00 09 00") / t(p), ROUTED, ROUTED),
    Row("O5 source route behind NOPs", lambda p: C / options("01 01 01 83 07 04 0a 4d 00 09 00 00") / t(p), ROUTED,
        ROUTED),
    Row("O6 record route", lambda p: C / options("07 0b 04" + "00" * 8 + "00") / t(p), WEB, TELNET, host=True),
    Row("O6 timestamp", lambda p: C / options("44 0c 05 00" + "00" * 8) / t(p), WEB, TELNET, host=True),
    Row("O7 option of length 0", lambda p: C / options("07 00 04 00") / t(p), BAD_OPTION, BAD_OPTION),
    Row("O7 option of length 1", lambda p: C / options("07 01 04 00") / t(p), BAD_OPTION, BAD_OPTION),
    Row("O7 option past the header", lambda p: C / options("07 0b 04 00") / t(p), BAD_OPTION, BAD_OPTION),
    Row("O7 option without a length", lambda p: C / options("01 01 01 07") / t(p), BAD_OPTION, BAD_OPTION),
    Row("O8 end of options, then ff", lambda p: C / options("00 ff ff ff") / t(p), WEB, TELNET, host=True),
    Row("O9 header length 16", lambda p: C / to(I, ihl=4) / t(p), BAD_IPV4, BAD_IPV4),
    Row("O9 header length 60 of 40", lambda p: C / to(I, ihl=15, len=40) / t(p), BAD_IPV4, BAD_IPV4),
    Row("O9 version 5", lambda p: C / to(I, version=5) / t(p), BAD_IPV4, BAD_IPV4),
]


def imitating_trailer(p):
    """40 bytes that say so, then bytes that look like a packet to port 80."""
    return Raw(bytes(C / I / t(p)) + bytes(I / t(80))[10:])


LENGTHS = [
    Row("L1 200 bytes claimed of 40", lambda p: C / to(I, len=200) / t(p), CUT, CUT),
    Row("L2 datagram ends inside TCP", lambda p: C / to(I, len=30) / t(p), BAD_TCP, BAD_TCP),
    Row("L2 datagram ends before the port", lambda p: C / to(I, len=22) / t(p), BAD_TCP, BAD_TCP),
    Row("L2 datagram ends inside IPv4", lambda p: C / to(I, len=19) / t(p), BAD_IPV4, BAD_IPV4),
    Row("L3 trailer imitates a packet", imitating_trailer, WEB, TELNET, host=True),
    Row("L4 TCP header of 16", lambda p: C / I / t(p, dataofs=4), BAD_TCP, BAD_TCP),
    Row("L4 TCP header of 60", lambda p: C / I / t(p, dataofs=15), BAD_TCP, BAD_TCP),
    Row("L5 UDP length 7", lambda p: C / I / u(p, len=7), BAD_UDP, BAD_UDP, aim=UDP),
    Row("L5 UDP length 500", lambda p: C / I / u(p, len=500), BAD_UDP, BAD_UDP, aim=UDP),
    Row("L6 UDP length below the datagram's", lambda p: C / I / u(p, len=12, chksum=0) / Raw(b"12345678"), DNS, TFTP,
        host=True, aim=UDP),
    Row("L7 payload length 5", lambda p: C / to(J, plen=5) / t(p), BAD_TCP, BAD_TCP),
    Row("L7 payload length 400", lambda p: C / to(J, plen=400) / t(p), CUT, CUT),
    Row("L7 payload length 0", lambda p: C / to(J, plen=0) / t(p), BAD_IPV6, BAD_IPV6),
    Row("L8 IPv4 called IPv6", lambda p: to(C, type=0x86DD) / Raw(bytes(I / t(p)) + bytes(20)), BAD_IPV6, BAD_IPV6),
    Row("L8 IPv6 called IPv4", lambda p: to(C, type=0x0800) / Raw(bytes(J / t(p))), BAD_IPV4, BAD_IPV4),
    *[Row(f"L9 frame of {size} bytes", lambda p, size=size: prefix(C / I / t(p), size), CUT, CUT)
      for size in (14, 15, 33, 53)],
    Row("L10 wrong IPv4 checksum", lambda p: C / to(I, chksum=0xDEAD) / t(p), WEB, TELNET),
    Row("L11 UDP without checksum over IPv4", lambda p: C / I / u(p, chksum=0) / Raw(b"hello"), DNS, TFTP, host=True,
        aim=UDP),
    Row("L12 UDP without checksum over IPv6", lambda p: C / J / u(p, chksum=0) / Raw(b"hello"), DNS, TFTP, aim=UDP),
    Row("L13 TTL 0", lambda p: C / to(I, ttl=0) / t(p), WEB, TELNET, host=True),
    Row("L13 TTL 1", lambda p: C / to(I, ttl=1) / t(p), WEB, TELNET, host=True),
    Row("L13 hop limit 0", lambda p: C / to(J, hlim=0) / t(p), WEB, TELNET, host=True),
    Row("L14 reserved flag", lambda p: C / to(I, flags="evil") / t(p), WEB, TELNET, host=True),
    Row("L14 TOS 255", lambda p: C / to(I, tos=255) / t(p), WEB, TELNET, host=True),
    Row("L14 traffic class and flow label", lambda p: C / to(J, tc=255, fl=0xFFFFF) / t(p), WEB, TELNET, host=True),
]

ROWS = BASE + OPTIONS + LENGTHS
