# SPDX-License-Identifier: Apache-2.0
"""What a row is, the policies it is judged by, and the parts that frames are made of."""
import dataclasses
import typing

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

HERE_MAC, THERE_MAC = "02:00:00:00:00:0b", "02:00:00:00:00:0a"
HERE4, HERE6 = "192.0.2.10", "2001:db8:1::10"
THERE4, THERE6 = "198.51.100.7", "2001:db8:2::7"
BAD4, BAD6 = "203.0.113.66", "2001:db8:bad::9"

C = Ether(src=THERE_MAC, dst=HERE_MAC)
I = IP(src=THERE4, dst=HERE4)  # noqa: E741
J = IPv6(src=THERE6, dst=HERE6)

# Default deny: two ports and nothing else. Blocklist: all but two ports and two prefixes.
DD = """    default: drop
    rules:
      - {id: web, proto: tcp, dport: 80, do: pass}
      - {id: dns, proto: udp, dport: 53, do: pass}
"""
BL = """    default: pass
    rules:
      - {id: source, from: [203.0.113.66, "2001:db8:bad::/48"], do: drop}
      - {id: telnet, proto: tcp, dport: 23, do: drop}
      - {id: tftp, proto: udp, dport: 69, do: drop}
"""
ESTABLISHED = "      - {id: established, state: established, do: pass}\n"
AIM = {"tcp": (80, 23), "udp": (53, 69)}  # the port that DD opens and the one that BL closes



def chain(policy, fragments="drop", stateful=False):
    """The policy's text with these settings."""
    text = f"    fragments: {fragments}\n" + policy
    return text.replace("rules:\n", "rules:\n" + ESTABLISHED) if stateful else text


# Verdict, reason, and the rule when there is one.
WEB, DNS, DENY = "pass rule web", "pass rule dns", "drop default default"
TELNET, TFTP, SOURCE, ALLOW = "drop rule telnet", "drop rule tftp", "drop rule source", "pass default default"
CUT, TOO_MANY, ROUTED = "drop truncated", "drop too-many-headers", "drop source-route"
BAD_TCP, BAD_UDP, BAD_IPV4, BAD_IPV6 = (f"drop bad-{what}-header" for what in ("tcp", "udp", "ipv4", "ipv6"))
BAD_EXT, BAD_OPTION = "drop bad-extension-header", "drop bad-ip-option"


@dataclasses.dataclass(frozen=True)
class Row:
    """make(port) gives the frames. dd, bl: what the policies answer, one text for all frames or one each.
    host: a host that filters nothing hears it. aim: the ports under DD and under BL when not the usual ones."""
    id: str
    make: typing.Callable
    dd: typing.Union[str, tuple]
    bl: typing.Union[str, tuple]
    host: bool = False
    aim: tuple = AIM["tcp"]

    def frames(self, port):
        made = self.make(port)
        return [bytes(frame) for frame in (made if isinstance(made, list) else [made])]

    def answers(self, policy):
        """[(frames, what is answered)] under "dd" or "bl"."""
        frames, answer = self.frames(self.aim[policy == "bl"]), getattr(self, policy)
        return list(zip(frames, (answer,) * len(frames) if isinstance(answer, str) else answer, strict=True))


def t(port, **how):
    return TCP(**{"sport": 40000, "dport": port, "flags": "S", "seq": 1000} | how)


def u(port, **how):
    return UDP(sport=40000, dport=port, **how)


def to(packet, **how):
    """A copy with other fields."""
    made = packet.copy()
    for name, value in how.items():
        setattr(made, name, value)
    return made


def options(text):
    """An IPv4 header with these option bytes."""
    return to(I, options=[Raw(bytes.fromhex(text))])


def prefix(packet, size):
    return bytes(packet)[:size]
