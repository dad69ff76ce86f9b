# SPDX-License-Identifier: Apache-2.0
"""ClassBench rule and trace files (Taylor and Turner, 2007): what a line says, and what a packet is.

A rule is one line of tab separated columns, the first match wins, the file says nothing of verdicts:

    @SRC/LEN  DST/LEN  LOW : HIGH  LOW : HIGH  0xPROTO/0xMASK  0xWORD/0xMASK

The last column is value and mask of a 16-bit word whose high byte is the TCP flags byte where the protocol
is TCP, the type where it is ICMP, and nothing elsewhere; its low byte is never asked for. A protocol mask
is 0xFF (this one) or 0x00 (any). Rules that name ports name TCP or UDP.

A header of a trace is one line too, addresses as decimal numbers:

    SRC  DST  SPORT  DPORT  PROTO  WORD  RULE

RULE is the line, from 0, that the header was drawn from: it matches, but need not be the first that does.
WORD is 32 bits: the value in the upper half; traces have the mask or all ones in the lower. So the flags
byte or type is WORD >> 24, in every case.

A header becomes an IPv4 packet like this:
  TCP    its ports, and the flags byte as it is, also combinations that no stack sends
  UDP    its ports
  ICMP   its type, code 0; a trace has ports here too, a packet has none
  others none of it: the protocol number stands in the IPv4 header and zeros behind, also for 0 and 255,
         which traces have as the ends of "any protocol"
So a rule that names ports never matches a packet of a protocol without, and a rule with a type matches
ICMP alone; reading the six columns as six numbers gives the same, for all rules that read() lets through.
"""
import gzip
import re
from typing import NamedTuple

ICMP, TCP, UDP = 1, 6, 17
ALL_PORTS = (0, 65535)
LINE = re.compile(r"@(\S+)/(\d+)\s+(\S+)/(\d+)\s+(\d+) : (\d+)\s+(\d+) : (\d+)\s+"
                  r"0x(\w\w)/0x(\w\w)\s+0x(\w{4})/0x(\w{4})\s*$")


class Error(Exception):
    """Of a file: its name, the line, and why."""


class Rule(NamedTuple):
    src: int
    src_len: int
    dst: int
    dst_len: int
    sport: tuple  # first, last
    dport: tuple
    proto: int  # -1: any
    word: int  # TCP flags or ICMP type
    word_mask: int  # of its 8 bits, 0: not asked for

    def line(self):
        proto = f"0x{self.proto:02x}/0xFF" if self.proto >= 0 else "0x00/0x00"
        return (f"@{dotted(self.src)}/{self.src_len}\t{dotted(self.dst)}/{self.dst_len}\t"
                f"{self.sport[0]} : {self.sport[1]}\t{self.dport[0]} : {self.dport[1]}\t{proto}\t"
                f"0x{self.word:02x}00/0x{self.word_mask:02x}00")

    def matches(self, header):
        return (header.src >> 32 - self.src_len == self.src >> 32 - self.src_len
                and header.dst >> 32 - self.dst_len == self.dst >> 32 - self.dst_len
                and self.proto in (-1, header.proto)
                and self.sport[0] <= header.sport <= self.sport[1]
                and self.dport[0] <= header.dport <= self.dport[1]
                and header.word & self.word_mask == self.word & self.word_mask)


class Header(NamedTuple):
    src: int
    dst: int
    sport: int
    dport: int
    proto: int
    word: int  # its 8 bits
    rule: int  # from 0

    def line(self):
        return (f"{self.src}\t{self.dst}\t{self.sport}\t{self.dport}\t{self.proto}\t"
                f"{self.word << 24}\t{self.rule}")


def dotted(addr):
    return f"{addr >> 24}.{addr >> 16 & 255}.{addr >> 8 & 255}.{addr & 255}"


def number(text):
    a, b, c, d = (int(part) for part in text.split("."))
    return a << 24 | b << 16 | c << 8 | d


def open_text(path):
    return gzip.open(path, "rt") if path.endswith(".gz") else open(path, encoding="ascii")


def _rule(text):
    """A Rule, or why not."""
    fields = LINE.match(text)
    if not fields:
        return "not a ClassBench rule"
    src, src_len, dst, dst_len = fields.group(1, 2, 3, 4)
    ports = [int(port) for port in fields.group(5, 6, 7, 8)]
    proto, proto_mask, word, word_mask = (int(x, 16) for x in fields.group(9, 10, 11, 12))
    rule = Rule(number(src), int(src_len), number(dst), int(dst_len), tuple(ports[:2]), tuple(ports[2:]),
                proto if proto_mask else -1, word >> 8, word_mask >> 8)
    if proto_mask not in (0, 0xff):
        return "a protocol mask that is neither 0x00 nor 0xFF"
    if word_mask & 0xff:
        return "a word mask with bits that no header has"
    if rule.word_mask and rule.proto not in (TCP, ICMP):
        return "flags without TCP, or a type without ICMP"
    if rule.proto == ICMP and rule.word_mask not in (0, 0xff):
        return "a part of an ICMP type"
    if (rule.sport, rule.dport) != (ALL_PORTS, ALL_PORTS) and rule.proto not in (TCP, UDP):
        return "ports of a protocol without ports"
    return rule


def read(path):
    rules = []
    with open_text(path) as lines:
        for at, text in enumerate(lines, 1):
            if not text.strip():
                continue
            rule = _rule(text)
            if isinstance(rule, str):
                raise Error(f"{path}:{at}: {rule}")
            rules.append(rule)
    if not rules:
        raise Error(f"{path}: no rules")
    return rules


def read_trace(path):
    with open_text(path) as lines:
        for text in lines:
            src, dst, sport, dport, proto, word, rule = (int(x) for x in text.split())
            yield Header(src, dst, sport, dport, proto, word >> 24, rule)


def first_match(rules, header):
    """The plain scan: the rule's place from 0, -1 when none matches."""
    return next((at for at, rule in enumerate(rules) if rule.matches(header)), -1)
