# SPDX-License-Identifier: Apache-2.0
"""ClassBench rules as a policy of penstock and as rulesets of nftables, one rule a line, in file order.

Rule n of the file, counted from 1, is `rN`. ClassBench says nothing of verdicts, so the caller does:
`drop` and `pass` for all of them, `alternate` for drop, pass, drop, ... so that a wrong rule is mostly a
wrong verdict too.
"""
from rules import ALL_PORTS, ICMP, TCP, UDP, dotted

FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr")  # bit 0 first
NAMES = {ICMP: "icmp", TCP: "tcp", UDP: "udp"}


def verdict(do, at):
    return ("drop", "pass")[at % 2] if do == "alternate" else do


def flag_names(bits):
    return [name for bit, name in enumerate(FLAGS) if bits >> bit & 1]


def _ports(ports):
    return str(ports[0]) if ports[0] == ports[1] else f"{ports[0]}-{ports[1]}"


def _penstock_flags(rule):
    asked = {"all-of": rule.word & rule.word_mask, "none-of": ~rule.word & rule.word_mask}
    parts = [f"{key}: [{', '.join(flag_names(bits))}]" for key, bits in asked.items() if bits]
    return f"flags: {{{', '.join(parts)}}}"


def _penstock_keys(rule):
    if not rule.src_len and not rule.dst_len:
        yield "family: ipv4"
    if rule.proto >= 0:
        yield f"proto: {NAMES.get(rule.proto, rule.proto)}"
    if rule.src_len:
        yield f"from: {dotted(rule.src)}/{rule.src_len}"
    if rule.dst_len:
        yield f"to: {dotted(rule.dst)}/{rule.dst_len}"
    if rule.sport != ALL_PORTS:
        yield f"sport: {_ports(rule.sport)}"
    if rule.dport != ALL_PORTS:
        yield f"dport: {_ports(rule.dport)}"
    if rule.word_mask:
        yield f"type: {rule.word}" if rule.proto == ICMP else _penstock_flags(rule)


def penstock(rules, do, default, dev):
    """Lines of a policy with one chain, `in`, at ingress of one zone."""
    yield from ("version: 1", "attach:", f"  bench: {{dev: {dev}}}", "filter:", "  in:", "    at: bench.ingress",
                f"    default: {default}", "    rules:")
    for at, rule in enumerate(rules):
        keys = ", ".join(_penstock_keys(rule))
        yield f"      - {{id: r{at + 1}, {keys}, do: {verdict(do, at)}}}"


def _nft_matches(rule):
    """As people write it: nft adds the tests of family and protocol that a match implies."""
    if rule.src_len:
        yield f"ip saddr {dotted(rule.src)}/{rule.src_len}"
    if rule.dst_len:
        yield f"ip daddr {dotted(rule.dst)}/{rule.dst_len}"
    if rule.proto < 0:
        if not rule.src_len and not rule.dst_len:
            yield "meta protocol ip"
        return
    name = NAMES.get(rule.proto)
    matches = []
    if rule.sport != ALL_PORTS:
        matches.append(f"{name} sport {_ports(rule.sport)}")
    if rule.dport != ALL_PORTS:
        matches.append(f"{name} dport {_ports(rule.dport)}")
    if rule.word_mask and rule.proto == ICMP:
        matches.append(f"icmp type {rule.word}")
    elif rule.word_mask:
        matches.append(f"tcp flags & 0x{rule.word_mask:02x} == 0x{rule.word & rule.word_mask:02x}")
    yield from matches or [f"ip protocol {rule.proto}"]


def nft(rules, do, default, table):
    """Lines of a ruleset at netdev ingress of the device that `nft -D dev=NAME` names."""
    words = {"drop": "drop", "pass": "accept"}
    yield f"table netdev {table} {{"
    yield " chain in {"
    yield f"  type filter hook ingress device $dev priority 0; policy {words[default]};"
    for at, rule in enumerate(rules):
        yield f"  {' '.join(_nft_matches(rule))} {words[verdict(do, at)]}"
    yield " }"
    yield "}"
