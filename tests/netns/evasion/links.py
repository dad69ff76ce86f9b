# SPDX-License-Identifier: Apache-2.0
"""Tags, neighbours, other protocols and tunnels on the link, and addresses that look like others."""
from scapy.layers.inet import IP
from scapy.layers.inet6 import (ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6ND_RS, ICMPv6NDOptSrcLLAddr,
                                IPv6ExtHdrFragment)
from scapy.layers.l2 import ARP, GRE, LLC, SNAP, STP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from evasion.row import (AIM, ALLOW, BAD4, BAD6, C, CUT, DENY, DNS, HERE4, HERE6, HERE_MAC, I, J, Row, SOURCE, TELNET,
                         TFTP, THERE4, THERE6, THERE_MAC, TOO_MANY, WEB, prefix, t, to, u)

UDP = AIM["udp"]
OLD_TAG = 0x9100
BUDGET = 8  # tags that are walked
ALL, GROUP, GROUP6 = "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "33:33:00:00:00:01"
PASS_ARP, PASS_ND = "pass arp", "pass neighbour-discovery"
FRAGMENT = "drop fragment"


def tagged(packet, count, kind=Dot1Q, vid=0):
    made = C
    for _ in range(count):
        made = made / kind(vlan=vid)
    return made / packet


def who_has():
    return ARP(op=1, hwsrc=THERE_MAC, psrc=THERE4, pdst=HERE4)


def old_tag(packet):
    return to(C, type=OLD_TAG) / Raw(b"\0\0\x08\0" + bytes(packet))


TAGS = [
    Row("V1 a priority tag", lambda p: tagged(I / t(p), 1), WEB, TELNET, host=True),
    *[Row(f"V2 {n} priority tags", lambda p, n=n: tagged(I / t(p), n), WEB, TELNET, host=True) for n in (2, 3, BUDGET)],
    # Whether a host hears it depends on the kernel: newer 6.18 ones take off no more than eight either.
    Row(f"V2 {BUDGET + 1} priority tags", lambda p: tagged(I / t(p), BUDGET + 1), TOO_MANY, TOO_MANY),
    Row("V3 802.1ad priority tag", lambda p: tagged(I / t(p), 1, Dot1AD), WEB, TELNET, host=True),
    Row("V3 802.1ad over 802.1Q", lambda p: C / Dot1AD(vlan=0) / Dot1Q(vlan=0) / I / t(p), WEB, TELNET, host=True),
    Row("V4 tag type 0x9100", lambda p: old_tag(I / t(p)), WEB, TELNET),
    Row("V5 tag of a VLAN without a device", lambda p: tagged(I / t(p), 1, vid=5), WEB, TELNET),
    *[Row(f"V6 {size - 14} of {4 * n} tag bytes", lambda p, n=n, size=size: prefix(tagged(I / t(p), n), size), CUT, CUT)
      for n in (1, 2, 8) for size in range(14, 14 + 4 * n)],
    *[Row(f"V6 {size - 14} of 4 bytes of tag 0x9100", lambda p, size=size: prefix(old_tag(I / t(p)), size), CUT, CUT)
      for size in range(14, 18)],
    Row("V7 tagged IPv6", lambda p: tagged(J / t(p), 1), WEB, TELNET, host=True),
    Row("V7 tagged ARP", lambda p: tagged(who_has(), 1), PASS_ARP, PASS_ARP, host=True),
    Row("V7 tagged fragment", lambda p: tagged(to(I, frag=3) / Raw(bytes(24)), 1), FRAGMENT, FRAGMENT),
]


def solicitation(hops=255, head=None):
    return (head or to(J, hlim=hops)) / ICMPv6ND_NS(tgt=HERE6) / ICMPv6NDOptSrcLLAddr(lladdr=THERE_MAC)


def fragmented_nd():
    """Both halves of a solicitation."""
    whole = bytes(solicitation().payload)
    return [C / to(J, hlim=255) / IPv6ExtHdrFragment(nh=58, offset=at // 8, m=not at, id=0x6980) /
            Raw(whole[at:at + 16]) for at in (0, 16)]


def atomic_nd():
    return C / to(J, hlim=255) / IPv6ExtHdrFragment(nh=58) / Raw(bytes(solicitation().payload))


def snap(packet):
    return Dot3(src=THERE_MAC, dst=HERE_MAC) / LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0, code=0x0800) / packet


NEIGHBOURS = [
    Row("N1 ARP request", lambda p: to(C, dst=ALL) / who_has(), PASS_ARP, PASS_ARP, host=True),
    Row("N2 neighbour solicitation", lambda p: C / solicitation(), PASS_ND, PASS_ND, host=True),
    Row("N2 neighbour advertisement", lambda p: C / to(J, hlim=255) / ICMPv6ND_NA(tgt=THERE6), PASS_ND, PASS_ND),
    Row("N2 router solicitation", lambda p: C / to(J, hlim=255) / ICMPv6ND_RS(), PASS_ND, PASS_ND),
    Row("N3 solicitation from beyond the link", lambda p: C / solicitation(64), DENY, ALLOW),
    Row("N3 solicitation in fragments", lambda p: fragmented_nd(), FRAGMENT, FRAGMENT),
    Row("N3 solicitation in an atomic fragment", lambda p: atomic_nd(), FRAGMENT, FRAGMENT),
    Row("N4 router advertisement, lifetime 0", lambda p: C / to(J, hlim=255) / ICMPv6ND_RA(routerlifetime=0), PASS_ND,
        PASS_ND),
    Row("N5 spanning tree", lambda p: Dot3(src=THERE_MAC, dst="01:80:c2:00:00:00") / LLC() / STP(), DENY, ALLOW),
    Row("N5 LLDP", lambda p: to(C, dst="01:80:c2:00:00:0e", type=0x88CC) / Raw(bytes(46)), DENY, ALLOW),
    Row("N5 PPPoE", lambda p: to(C, type=0x8864) / Raw(bytes.fromhex("11000001002a0021") + bytes(I / t(p))), DENY,
        ALLOW),
    Row("N5 MPLS", lambda p: to(C, type=0x8847) / Raw(bytes.fromhex("00010140") + bytes(I / t(p))), DENY, ALLOW),
    Row("N5 IPv4 in SNAP", lambda p: snap(I / t(p)), DENY, ALLOW),
]

TUNNELS = [
    Row("N6 IPv4 in IPv4", lambda p: C / I / IP(src=THERE4, dst=HERE4) / t(p), DENY, ALLOW),
    Row("N6 IPv6 in IPv4", lambda p: C / I / J / t(p), DENY, ALLOW),
    Row("N6 IPv4 in IPv6", lambda p: C / J / I / t(p), DENY, ALLOW),
    Row("N6 GRE", lambda p: C / I / GRE() / I / t(p), DENY, ALLOW),
    Row("N6 VXLAN", lambda p: C / I / u(4789) / VXLAN(vni=7) / Ether(src=THERE_MAC, dst=HERE_MAC) / I / t(p), DENY,
        ALLOW),
]

WIDE = [("255.255.255.255", ALL), ("192.0.2.255", ALL)]

BROADCASTS = [
    *[Row(f"N7 unicast UDP in a frame to {mac}", lambda p, mac=mac: to(C, dst=mac) / I / u(p) / Raw(b"hello"), DNS,
          TFTP, host=True, aim=UDP) for mac in (ALL, GROUP)],
    Row("N7 unicast TCP in a broadcast frame", lambda p: to(C, dst=ALL) / I / t(p), WEB, TELNET),
    *[Row(f"N8 UDP to {address}", lambda p, a=address, mac=mac: to(C, dst=mac) / to(I, dst=a) / u(p) / Raw(b"hello"),
          DNS, TFTP, host=True, aim=UDP) for address, mac in WIDE],
    Row("N8 UDP to ff02::1", lambda p: to(C, dst=GROUP6) / to(J, dst="ff02::1") / u(p) / Raw(b"hello"), DNS, TFTP,
        host=True, aim=UDP),
    *[Row(f"N8 UDP to {address}, another port", lambda p, a=address, mac=mac: to(C, dst=mac) / to(I, dst=a) / u(p) /
          Raw(b"hello"), DENY, ALLOW, host=True, aim=(69, 53)) for address, mac in WIDE],
    *[Row(f"N8 UDP to {address} from a blocked source", lambda p, a=address, mac=mac: to(C, dst=mac) /
          to(I, src=BAD4, dst=a) / u(p) / Raw(b"hello"), DNS, SOURCE, host=True, aim=(53, 53))
      for address, mac in WIDE],
    Row("N8 UDP to ff02::1 from a blocked source", lambda p: to(C, dst=GROUP6) / to(J, src=BAD6, dst="ff02::1") / u(p) /
        Raw(b"hello"), DNS, SOURCE, host=True, aim=(53, 53)),
]

# 203.0.113.66 in hexadecimal is cb00:7142.
MAPPED = "::ffff:203.0.113.66"  # a host takes no such source
LIKE_BAD4 = (MAPPED, "::203.0.113.66", "2002:cb00:7142::1", "64:ff9b::cb00:7142", "2001:db8::cb00:7142",
             "cb00:7142::1")
ODD_SOURCES = (HERE4, "127.0.0.1", "0.0.0.0", "240.0.0.1", "224.0.0.1")
SWAPPED = ("66.113.0.203", "113.66.203.0", "0.203.66.113")
SWAPPED6 = ("120:b80d:ad0b::9", "b80d:120:0:ad0b::9", "::ad0b:b80d:120")


def swapped(port):
    return port >> 8 | (port & 0xFF) << 8


ADDRESSES = [
    Row("A0 blocked IPv4 source", lambda p: C / to(I, src=BAD4) / t(p), WEB, SOURCE, host=True, aim=(80, 80)),
    Row("A0 blocked IPv6 source", lambda p: C / to(J, src=BAD6) / t(p), WEB, SOURCE, host=True, aim=(80, 80)),
    *[Row(f"A1 A2 source {a}", lambda p, a=a: C / to(J, src=a) / t(p), WEB, ALLOW, aim=(80, 80)) for a in LIKE_BAD4],
    *[Row(f"A1 A2 source {a}, closed port", lambda p, a=a: C / to(J, src=a) / t(p), DENY, TELNET,
          host=a != MAPPED, aim=(23, 23)) for a in LIKE_BAD4],
    *[Row(f"A3 source {a}", lambda p, a=a: C / to(I, src=a) / t(p), WEB, TELNET) for a in ODD_SOURCES],
    Row("A3 LAND over IPv6", lambda p: C / to(J, src=HERE6) / t(p), WEB, TELNET),
    *[Row(f"A4 swapped source {a}", lambda p, a=a: C / to(I, src=a) / t(p), DENY, ALLOW, aim=(swapped(80), 80))
      for a in SWAPPED],
    *[Row(f"A4 swapped source {a}", lambda p, a=a: C / to(J, src=a) / t(p), DENY, ALLOW, aim=(swapped(80), 80))
      for a in SWAPPED6],
    Row("A4 swapped port", lambda p: C / I / t(p), DENY, ALLOW, aim=(swapped(80), swapped(23))),
    Row("A4 swapped UDP port", lambda p: C / I / u(p), DENY, ALLOW, aim=(swapped(53), swapped(69))),
    Row("A4 the open port as source", lambda p: C / I / t(p, sport=80), DENY, ALLOW, aim=(8080, 8080)),
]

ROWS = TAGS + NEIGHBOURS + TUNNELS + BROADCASTS + ADDRESSES
