# SPDX-License-Identifier: Apache-2.0
"""Pieces of datagrams, in and out of order, too small, doubled and overlapping. The answers are those under
`fragments: first-only`; under `fragments: drop` every one of them is dropped as a fragment."""
import itertools

from scapy.layers.inet import ICMP, IPOption_NOP
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, PadN
from scapy.layers.l2 import Dot1Q
from scapy.packet import Raw

from evasion.extensions import hbh
from evasion.row import (AIM, ALLOW, BAD4, BAD6, BAD_EXT, C, DENY, DNS, I, J, Row, SOURCE, TELNET, TFTP, WEB, t, to, u)

TCP, UDP, DESTOPT = 6, 17, 60
FOLLOWS, FRAGMENT, TINY = "pass fragment-follows", "drop fragment", "drop tiny-fragment"
HEAD = 24  # bytes of a first fragment that holds the TCP header
LAST = 8189  # of the offsets that a fragment header can say; what lies there is past the greatest datagram

numbers = itertools.count(1)  # of datagrams: no two have the same


def segment(p, ip=I):
    """The bytes that are cut, their checksum over the whole."""
    return bytes((ip / t(p) / Raw(b"A" * 24)).payload)


def datagram(p, ip=I):
    return bytes((ip / u(p) / Raw(b"A" * 24)).payload)


class Pieces4:
    """Cuts one payload; each piece says its place, and whether more follow."""

    def __init__(self, payload, proto=TCP, link=C, **how):
        self.payload, self.head, self.link = payload, to(I, proto=proto, id=next(numbers), **how), link

    def __call__(self, start, end=None, more=None, content=None, **how):
        part = self.payload[start:end] if content is None else content
        more = start + len(part) < len(self.payload) if more is None else more
        flags = "+".join((["MF"] if more else []) + (["DF"] if how.pop("whole", False) else []))
        return self.link / to(self.head, flags=flags, frag=start // 8, **how) / Raw(part)


class Pieces6:
    def __init__(self, payload, proto=TCP, head=None, link=C):
        self.payload, self.proto, self.id, self.head, self.link = payload, proto, next(numbers), head or J, link

    def __call__(self, start, end=None, more=None, content=None, proto=None):
        part = self.payload[start:end] if content is None else content
        more = start + len(part) < len(self.payload) if more is None else more
        number = self.proto if proto is None else proto
        place = IPv6ExtHdrFragment(nh=number, offset=start // 8, m=int(more), id=self.id)
        return self.link / self.head / place / Raw(part)


def two4(p, **how):
    cut = Pieces4(segment(p), **how)
    return [cut(0, HEAD), cut(HEAD)]


def two6(p, **how):
    cut = Pieces6(segment(p, J), **how)
    return [cut(0, HEAD), cut(HEAD)]


def from_size(size, pieces=Pieces4, ip=I):
    """A first fragment of so many bytes, and the rest."""
    def make(p):
        cut = pieces(segment(p, ip))
        return [cut(0, size), cut(size)]
    return make


def rewriting(p):
    """RFC 1858: after a whole header, eight bytes from offset 8 on that hold its flags; then the rest."""
    cut = Pieces4(segment(p))
    return [cut(0, HEAD), cut(8, 16, content=bytes(4) + b"\x50\x10\x20\0"), cut(HEAD)]


def alone(start, end=None, payload=segment):
    return lambda p: Pieces4(payload(p))(start, end)


def two_heads(p):
    """To the open port, then by the same number to the closed one, and a tail for either."""
    cut = Pieces4(segment(80))
    return [cut(0, HEAD), cut(0, HEAD, content=segment(23)[:HEAD]), cut(HEAD)]


def udp_backwards(p):
    cut = Pieces4(datagram(p), UDP)
    return [cut(16), cut(0, 16)]


def three_backwards(p):
    cut = Pieces4(segment(p))
    return [cut(32), cut(HEAD, 32), cut(0, HEAD)]


def overlapping(pieces, ip):
    """The second piece writes other bytes over the last eight of the first."""
    def make(p):
        cut = pieces(segment(p, ip))
        return [cut(0, HEAD), cut(16, content=b"B" * 28)]
    return make


def doubled(p):
    first, second = two4(p)
    return [first, first, second, second]


def other_proto(p):
    cut = Pieces4(segment(p))
    return [cut(0, HEAD), cut(HEAD, proto=UDP)]


def not_to_be_cut(p):
    cut = Pieces4(segment(p))
    return [cut(0, HEAD, whole=True), cut(HEAD)]


def options_later(p):
    cut = Pieces4(segment(p))
    return [cut(0, HEAD), cut(HEAD, options=[IPOption_NOP()] * 4)]


def three(p, **how):
    cut = Pieces4(segment(p), **how)
    return [cut(0, HEAD), cut(HEAD, 32), cut(32)]


def three_from_bad6(p):
    cut = Pieces6(segment(p, to(J, src=BAD6)), head=to(J, src=BAD6))
    return [cut(0, HEAD), cut(HEAD, 32), cut(32)]


def ping_of_death(p):
    cut = Pieces4(bytes(ICMP(type=8) / Raw(bytes(1472))), 1)
    return [cut(0, more=True), cut(8 * LAST, more=False, content=bytes(64))]


def web_of_death(p):
    cut = Pieces4(segment(p))
    return [cut(0, HEAD), cut(8 * LAST, more=False, content=bytes(64))]


def tail_says_udp(p):
    cut = Pieces6(segment(p, J))
    return [cut(0, HEAD), cut(HEAD, proto=UDP)]


def tail_like_udp(p):
    return Pieces6(segment(p, J))(HEAD, content=bytes(u(53)), proto=UDP)


def options_alone(p):
    """The header that names TCP is in the first piece, TCP is not."""
    cut = Pieces6(bytes(IPv6ExtHdrDestOpt(nh=TCP, options=[PadN(optdata=b"\0" * 4)])) + segment(p, J), DESTOPT)
    return [cut(0, 8), cut(8)]


def options_cut(p):
    """Nor is all of that header."""
    cut = Pieces6(bytes(IPv6ExtHdrDestOpt(nh=TCP, options=[PadN(optdata=b"\0" * 12)])) + segment(p, J), DESTOPT)
    return [cut(0, 8), cut(8)]


def behind_options(p):
    """The same with TCP whole in the first piece."""
    cut = Pieces6(bytes(IPv6ExtHdrDestOpt(nh=TCP, options=[PadN(optdata=b"\0" * 4)])) + segment(p, J), DESTOPT)
    return [cut(0, 32), cut(32)]


def after_hop_by_hop(p):
    return two6(p, head=J / hbh())


def in_tag(make):
    return lambda p: make(p, link=C / Dot1Q(vlan=0))


ROWS = [
    Row("F1 first fragment", lambda p: two4(p)[0], WEB, TELNET),
    Row("F2 both fragments", two4, (WEB, FOLLOWS), (TELNET, FRAGMENT), host=True),
    Row("F3 later fragment without a first", alone(HEAD), FRAGMENT, FRAGMENT),
    Row("F4 first fragment of 8 bytes", from_size(8), (TINY, FRAGMENT), (TINY, FRAGMENT), host=True),
    Row("F5 first fragment of 16 bytes", from_size(16), (TINY, FRAGMENT), (TINY, FRAGMENT), host=True),
    Row("F6 fragment at offset 1, alone", alone(8, 16), FRAGMENT, FRAGMENT),
    Row("F6 fragment that rewrites the flags", rewriting, (WEB, FRAGMENT, FOLLOWS), (TELNET, FRAGMENT, FRAGMENT)),
    Row("F7 two first fragments", two_heads, (WEB, DENY, FRAGMENT), (ALLOW, TELNET, FRAGMENT)),
    Row("F8 UDP, the tail first", udp_backwards, (FRAGMENT, DNS), (FRAGMENT, TFTP), host=True, aim=AIM["udp"]),
    Row("F9 three fragments backwards", three_backwards, (FRAGMENT, FRAGMENT, WEB), (FRAGMENT, FRAGMENT, TELNET),
        host=True),
    Row("F10 second fragment over the first", overlapping(Pieces4, I), (WEB, FRAGMENT), (TELNET, FRAGMENT)),
    Row("F11 every fragment twice", doubled, (WEB, WEB, FOLLOWS, FOLLOWS), (TELNET, TELNET, FRAGMENT, FRAGMENT),
        host=True),
    Row("F12 second fragment of another protocol", other_proto, (WEB, FRAGMENT), (TELNET, FRAGMENT)),
    Row("F13 don't fragment, on a fragment", not_to_be_cut, (WEB, FOLLOWS), (TELNET, FRAGMENT), host=True),
    Row("F14 IP options on the second fragment", options_later, (WEB, FOLLOWS), (TELNET, FRAGMENT), host=True),
    Row("F15 fragments from a blocked source", lambda p: three(p, src=BAD4), (WEB, FOLLOWS, FOLLOWS),
        (SOURCE, FRAGMENT, FRAGMENT), aim=(80, 80)),
    Row("F15 fragments from a blocked prefix", three_from_bad6, (WEB, FOLLOWS, FOLLOWS),
        (SOURCE, FRAGMENT, FRAGMENT), aim=(80, 80)),
    Row("F16 ping of death", ping_of_death, (DENY, FRAGMENT), (ALLOW, FRAGMENT)),
    Row("F16 as TCP, its first fragment passed", web_of_death, (WEB, FRAGMENT), (TELNET, FRAGMENT)),
    Row("X17 IPv6 fragments", two6, (WEB, FOLLOWS), (TELNET, FRAGMENT), host=True),
    Row("X17 IPv6 fragments backwards", lambda p: two6(p)[::-1], (FRAGMENT, WEB), (FRAGMENT, TELNET), host=True),
    Row("X18 tail that names another protocol", tail_says_udp, (WEB, FOLLOWS), (TELNET, FRAGMENT), host=True),
    Row("X19 tail that imitates UDP", tail_like_udp, FRAGMENT, FRAGMENT),
    Row("X20 first fragment of 8 bytes", from_size(8, Pieces6, J), (TINY, FRAGMENT), (TINY, FRAGMENT)),
    Row("X21 first fragment of options alone", options_alone, (TINY, FRAGMENT), (TINY, FRAGMENT)),
    Row("X21 first fragment of half the options", options_cut, (BAD_EXT, FRAGMENT), (BAD_EXT, FRAGMENT)),
    Row("X21 options and TCP in the first fragment", behind_options, (WEB, FOLLOWS), (TELNET, FRAGMENT), host=True),
    Row("X22 overlapping IPv6 fragments", overlapping(Pieces6, J), (WEB, FRAGMENT), (TELNET, FRAGMENT)),
    Row("X23 first fragment behind hop-by-hop options", lambda p: after_hop_by_hop(p)[0], WEB, TELNET),
    Row("X23 both fragments", after_hop_by_hop, (WEB, FOLLOWS), (TELNET, FRAGMENT)),
    Row("V7 tagged fragments", in_tag(two4), (WEB, FOLLOWS), (TELNET, FRAGMENT), host=True),
    Row("V7 tagged IPv6 fragments", in_tag(two6), (WEB, FOLLOWS), (TELNET, FRAGMENT), host=True),
]
