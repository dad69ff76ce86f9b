# SPDX-License-Identifier: Apache-2.0
"""IPv6 extension headers, and protocols whose bytes imitate ports. Fragments have their own file."""
from scapy.layers.inet6 import (HBHOptUnknown, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop,
                                IPv6ExtHdrRouting, PadN)
from scapy.packet import Raw

from evasion.row import (ALLOW, BAD_EXT, C, CUT, DENY, I, J, ROUTED, Row, TELNET, TOO_MANY, WEB, t, to, u)

TCP = 6
BUDGET = 8  # extension headers that are walked
MANY_OPTIONS = 34_000
HBH_OPTIONS = 1360  # one-byte options in a frame that fits the link


def hbh():
    return IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)])


def destopts(count):
    made = J
    for _ in range(count):
        made = made / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])
    return made


def routing(kind, left):
    """Of eight bytes, without an address."""
    return to(J, nh=43) / Raw(bytes([TCP, 0, kind, left, 0, 0, 0, 0]))


def raw_tcp(p):
    """With its right checksum, for places where scapy does not see the pseudo header."""
    return Raw(bytes((J / t(p)).payload))


def checked(head, p):
    return C / head / raw_tcp(p)


def unknown_option(number):
    return IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=number, optlen=4, optdata=b"\0" * 4)])


def wrapped(p):
    """The header says 256 bytes and the datagram has fewer. Whoever counts them in 8 bits reads the header itself
    as TCP, whose port is the aimed one."""
    return C / to(J, nh=0) / Raw(bytes([TCP, 31]) + p.to_bytes(2, "big") + bytes(t(p))[4:] + bytes(8))


def long_hbh(p, length):
    """A hop-by-hop header of (length + 1) * 8 bytes of one-byte options."""
    return checked(to(J, nh=0) / Raw(bytes([TCP, length]) + bytes(length * 8 + 6)), p)


def deep(proto, length):
    return C / to(J, nh=0) / Raw(bytes([proto, length]) + bytes(length * 8 + 6)) / imitating(proto)


def in_tag(frame):
    """The frame in VLAN 0."""
    return bytes(frame)[:12] + b"\x81\0\0\0" + bytes(frame)[12:]


def authenticated(p):
    """RFC 4302: the length counts 4-byte words, less two."""
    return checked(to(J, nh=51) / Raw(bytes([TCP, 4, 0, 0]) + bytes(20)), p)


def imitating(proto):
    """First eight bytes that look like an extension header in front of UDP, then that UDP."""
    return Raw(b"\x11" + bytes(7) + bytes(u(53)))


def many_options(p):
    return [long_hbh(p, (HBH_OPTIONS - 6) // 8) for _ in range(0, MANY_OPTIONS, HBH_OPTIONS)]


NUMBERS6 = (132, 47, 4, 41, 33, 136, 135, 139, 140, 253, 255)
NUMBERS4 = (43, 44, 60)

ROWS = [
    Row("X1 hop-by-hop options", lambda p: C / J / hbh() / t(p), WEB, TELNET, host=True),
    *[Row(f"X2 {n} destination options", lambda p, n=n: C / destopts(n) / t(p), WEB if n <= BUDGET else TOO_MANY,
          TELNET if n <= BUDGET else TOO_MANY, host=True) for n in (1, 4, 8, 9, 16)],
    Row("X3 64 destination options", lambda p: C / destopts(64) / t(p), TOO_MANY, TOO_MANY, host=True),
    Row("X4 the order of RFC 8200", lambda p: checked(J / hbh() / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)]) /
        IPv6ExtHdrRouting(type=4, segleft=0) / IPv6ExtHdrDestOpt(nh=TCP, options=[PadN(optdata=b"\0" * 4)]), p), WEB,
        TELNET, host=True),
    Row("X5 routing type 0, used up", lambda p: checked(routing(0, 0), p), ROUTED, ROUTED, host=True),
    Row("X5 routing type 253, used up", lambda p: checked(routing(253, 0), p), WEB, TELNET, host=True),
    Row("X6 routing type 0, one hop left", lambda p: checked(routing(0, 1), p), ROUTED, ROUTED),
    Row("X6 routing type 253, one hop left", lambda p: checked(routing(253, 1), p), ROUTED, ROUTED),
    Row("X7 hop-by-hop options twice", lambda p: C / J / hbh() / hbh() / t(p), BAD_EXT, BAD_EXT),
    Row("X7 hop-by-hop options second", lambda p: C / destopts(1) / hbh() / t(p), BAD_EXT, BAD_EXT),
    Row("X8 extension header past the packet", lambda p: checked(to(J, nh=60) / Raw(bytes([TCP, 9]) + bytes(6)), p),
        BAD_EXT, BAD_EXT),
    Row("X8 length that wraps in 8 bits", wrapped, BAD_EXT, BAD_EXT),
    Row("X8 length of 256 bytes, all there", lambda p: long_hbh(p, 31), WEB, TELNET),
    Row("X8 nothing behind the extension header", lambda p: C / to(J, nh=60) / Raw(bytes([TCP, 0]) + bytes(6)), CUT,
        CUT),
    Row("X9 authentication header", authenticated, WEB, TELNET),
    Row("X10 ESP that imitates ports", lambda p: C / to(J, nh=50) / raw_tcp(p), DENY, ALLOW),
    Row("X11 no next header, then TCP", lambda p: C / to(J, nh=59) / raw_tcp(p), DENY, ALLOW),
    *[Row(f"X12 IPv6 protocol {n} that imitates UDP", lambda p, n=n: C / to(J, nh=n) / imitating(n), DENY, ALLOW)
      for n in NUMBERS6],
    *[Row(f"X13 IPv4 protocol {n} that imitates UDP", lambda p, n=n: C / to(I, proto=n) / imitating(n), DENY, ALLOW)
      for n in NUMBERS4],
    Row("X14 atomic fragment", lambda p: checked(J / IPv6ExtHdrFragment(nh=TCP), p), WEB, TELNET, host=True),
    Row("X15 atomic fragment, reserved bits", lambda p: checked(J / IPv6ExtHdrFragment(nh=TCP, res1=255, res2=3), p),
        WEB, TELNET, host=True),
    Row("X16 two atomic fragment headers", lambda p: checked(J / IPv6ExtHdrFragment() / IPv6ExtHdrFragment(nh=TCP), p),
        BAD_EXT, BAD_EXT),
    Row("X24 unknown option to skip", lambda p: C / J / unknown_option(0x1E) / t(p), WEB, TELNET, host=True),
    Row("X24 unknown option to discard at", lambda p: C / J / unknown_option(0x9E) / t(p), WEB, TELNET),
    Row(f"X25 {MANY_OPTIONS} options in a flood", many_options, WEB, TELNET),
    Row("X25 more options than are read", lambda p: long_hbh(p, 255), TOO_MANY, TOO_MANY),
]

# The last header that is read begins in the first 2048 bytes, tags included, also one that is in metadata.
DEEPEST = [
    Row("X25 as many options as are read", lambda p: long_hbh(p, 248), WEB, TELNET),
    Row("X25 eight bytes more", lambda p: long_hbh(p, 249), TOO_MANY, TOO_MANY),
    Row("X25 as many behind a tag", lambda p: in_tag(long_hbh(p, 247)), WEB, TELNET),
    Row("X25 eight bytes more behind a tag", lambda p: in_tag(long_hbh(p, 248)), TOO_MANY, TOO_MANY),
    *[Row(f"X25 as many options before protocol {n}", lambda p, n=n: deep(n, 248), DENY, ALLOW) for n in (47, 253)],
    *[Row(f"X25 eight bytes more before protocol {n}", lambda p, n=n: deep(n, 249), TOO_MANY, TOO_MANY)
      for n in (47, 253)],
]
ROWS += DEEPEST
