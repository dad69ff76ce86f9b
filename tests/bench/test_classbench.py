# SPDX-License-Identifier: Apache-2.0
"""bench/classbench: what a rule and a header of ClassBench mean, and sets and headers from a seed."""
import collections
import itertools
import os
import random
import subprocess

import emit
import headers
import pytest
import rules as classbench
import shapes

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PENSTOCK = os.path.join(ROOT, os.environ.get("PENSTOCK_BUILD", "build"), "penstock")
DATA = os.path.join(os.environ.get("PENSTOCK_DATA", os.path.join(ROOT, "../shared/data")), "classbench")
REAL = [f"{shape}_{size}" for shape in ("acl1", "fw1", "ipc1") for size in ("1000", "10000", "50000.gz")]
SEED = int(os.environ.get("SEED", "7"))


def read_text(tmp_path, text):
    path = tmp_path / "rules"
    path.write_text(text)
    return classbench.read(str(path))


def real(name):
    path = os.path.join(DATA, name)
    if not os.path.exists(path):
        pytest.skip(f"no real rule sets: {path}")
    return path


# What a rule becomes. Each rules out a converter that reads the last column's low byte, that asks for all
# bits of the mask to be set, that forgets what must be clear, or that reads ICMP types as flags.
CASES = [
    ("@1.2.3.4/32\t5.6.0.0/16\t0 : 65535\t80 : 80\t0x06/0xFF\t0x0200/0x1200\t",
     "proto: tcp, from: 1.2.3.4/32, to: 5.6.0.0/16, dport: 80, flags: {all-of: [syn], none-of: [ack]}",
     "ip saddr 1.2.3.4/32 ip daddr 5.6.0.0/16 tcp dport 80 tcp flags & 0x12 == 0x02"),
    ("@0.0.0.0/0\t5.6.0.0/16\t1024 : 65535\t20 : 23\t0x06/0xFF\t0x0000/0x0200\t",
     "proto: tcp, to: 5.6.0.0/16, sport: 1024-65535, dport: 20-23, flags: {none-of: [syn]}",
     "ip daddr 5.6.0.0/16 tcp sport 1024-65535 tcp dport 20-23 tcp flags & 0x02 == 0x00"),
    ("@1.2.3.4/32\t0.0.0.0/0\t0 : 65535\t0 : 65535\t0x06/0xFF\t0x1000/0x1000\t",
     "proto: tcp, from: 1.2.3.4/32, flags: {all-of: [ack]}", "ip saddr 1.2.3.4/32 tcp flags & 0x10 == 0x10"),
    ("@0.0.0.0/0\t5.6.7.8/32\t0 : 65535\t0 : 65535\t0x01/0xFF\t0x0800/0xff00\t",
     "proto: icmp, to: 5.6.7.8/32, type: 8", "ip daddr 5.6.7.8/32 icmp type 8"),
    ("@0.0.0.0/0\t5.6.7.8/32\t0 : 65535\t0 : 65535\t0x01/0xFF\t0x0000/0xff00\t",
     "proto: icmp, to: 5.6.7.8/32, type: 0", "ip daddr 5.6.7.8/32 icmp type 0"),
    ("@0.0.0.0/0\t5.6.7.8/32\t53 : 53\t53 : 53\t0x11/0xFF\t0x0000/0x0000\t",
     "proto: udp, to: 5.6.7.8/32, sport: 53, dport: 53", "ip daddr 5.6.7.8/32 udp sport 53 udp dport 53"),
    ("@0.0.0.0/0\t5.6.7.8/32\t0 : 65535\t0 : 65535\t0x2f/0xFF\t0x0000/0x0000\t",
     "proto: 47, to: 5.6.7.8/32", "ip daddr 5.6.7.8/32 ip protocol 47"),
    ("@128.0.0.0/1\t0.0.0.0/0\t0 : 65535\t0 : 65535\t0x00/0x00\t0x0000/0x0000\t",
     "from: 128.0.0.0/1", "ip saddr 128.0.0.0/1"),
    ("@0.0.0.0/0\t0.0.0.0/0\t0 : 65535\t0 : 65535\t0x00/0x00\t0x0000/0x0000\t",
     "family: ipv4", "meta protocol ip"),
]


@pytest.mark.parametrize("line, penstock, nft", CASES)
def test_rule(tmp_path, line, penstock, nft):
    rules = read_text(tmp_path, line + "\n")
    assert list(emit.penstock(rules, "pass", "drop", "none"))[-1] == f"      - {{id: r1, {penstock}, do: pass}}"
    assert list(emit.nft(rules, "pass", "drop", "t"))[3] == f"  {nft} accept"
    assert read_text(tmp_path, rules[0].line()) == rules


@pytest.mark.parametrize("line, why", [
    ("@1.2.3.4/32\t5.6.0.0/16\t0 : 65535\t80 : 80\t0x00/0x00\t0x0000/0x0000", "ports of a protocol without ports"),
    ("@1.2.3.4/32\t5.6.0.0/16\t0 : 65535\t0 : 65535\t0x06/0xFF\t0x0002/0x0012", "bits that no header has"),
    ("@1.2.3.4/32\t5.6.0.0/16\t0 : 65535\t0 : 65535\t0x11/0xFF\t0x0200/0x0200", "flags without TCP"),
    ("@1.2.3.4/32\t5.6.0.0/16\t0 : 65535\t0 : 65535\t0x06/0x0F\t0x0000/0x0000", "neither 0x00 nor 0xFF"),
    ("@1.2.3.4/32\t5.6.0.0/16\t0 : 65535", "not a ClassBench rule"),
])
def test_what_cannot_be_said_is_refused(tmp_path, line, why):
    """A converter that drops what it cannot carry over would make another policy."""
    good = "@0.0.0.0/0\t0.0.0.0/0\t0 : 65535\t0 : 65535\t0x00/0x00\t0x0000/0x0000\n"
    with pytest.raises(classbench.Error, match=f"rules:2: .*{why}"):
        read_text(tmp_path, good + line + "\n")


def test_trace_word(tmp_path):
    """Value and mask, zeros or ones: the byte is the top one. Reading it from the low half gets all wrong."""
    path = tmp_path / "trace"
    words = {33559040: 0x02, 0x00000200: 0, 268439552: 0x10, 4294967295: 0xff, 0: 0, 0x1100ff00: 17}
    path.write_text("".join(f"1 2 3 4 6 {word} 0\n" for word in words))
    assert [header.word for header in classbench.read_trace(str(path))] == list(words.values())


@pytest.mark.parametrize("name", REAL)
def test_real_sets_are_carried_over_whole(name):
    path = real(name)
    with classbench.open_text(path) as lines:
        count = sum(1 for _ in lines)
    rules = classbench.read(path)
    assert len(rules) == len(set(rules)) == count
    assert sum("id: r" in line for line in emit.penstock(rules, "drop", "drop", "none")) == count


@pytest.mark.parametrize("name", ["acl1", "fw1", "ipc1"])
def test_real_traces_meet_their_rules(name):
    """Each header matches the rule it was drawn from: all six fields are read as they were written."""
    rules = classbench.read(real(f"{name}_10000"))
    trace = list(classbench.read_trace(real(f"{name}_10000_trace.gz")))
    assert trace and all(rules[header.rule].matches(header) for header in trace)
    assert {header.proto for header in trace} >= {0, 1, 6, 17, 255}


def pairs_share(shape):
    return sum(row[3] for row in shape["lengths"]) / sum(row[2] for row in shape["lengths"])


def deeper_than(depth, prefixes):
    """Of prefixes, the part that more than `depth` others cover."""
    covers = (sum((addr >> 32 - bits << 32 - bits, bits) in prefixes for bits in range(length))
              for addr, length in prefixes)
    return share(list(covers), lambda count: count > depth)


def share(rules, what):
    return sum(map(what, rules)) / len(rules)


@pytest.mark.parametrize("name", shapes.NAMES)
def test_generated_sets_have_their_shape(name):
    """Rules drawn evenly would bring a new prefix each, no nesting, and no order."""
    rules = shapes.generate(random.Random(SEED), name, 4000)
    assert len(set(rules)) == 4000 and rules == shapes.generate(random.Random(SEED), name, 4000)
    assert rules != shapes.generate(random.Random(SEED + 1), name, 4000)
    shape = shapes.measure(rules)
    model = shapes.load(name)
    assert pairs_share(shape) == pytest.approx(pairs_share(model), abs=0.1)
    for side in ("src", "dst"):
        distinct = sum(shape[side]["forks"]) / 4000
        assert distinct == pytest.approx(sum(model[side]["forks"]) / 9500, rel=0.35)
        assert deeper_than(model[side]["depth"], {rule[2 * (side == "dst"):][:2] for rule in rules}) < 0.25
    for proto in (classbench.TCP, classbench.UDP, classbench.ICMP, -1):
        modelled = sum(row[-1] for row in model["services"] if row[0] == proto)
        assert share(rules, lambda rule, proto=proto: rule.proto == proto) == pytest.approx(
            modelled / sum(row[-1] for row in model["services"]), abs=0.05)
    bits = [rule.src_len + rule.dst_len for rule in rules]
    assert sum(bits[:1000]) > sum(bits[-1000:]) + 1000 * 10


@pytest.mark.parametrize("name", shapes.NAMES)
def test_headers_lie_in_their_rule(name):
    """At its ends and between them: ends alone would leave most of a box untried."""
    rules = shapes.generate(random.Random(SEED), name, 1000)
    drawn = list(headers.headers(random.Random(SEED), rules, 20000, "uniform"))
    assert len(drawn) == 20000 and all(rules[header.rule].matches(header) for header in drawn)
    assert drawn == list(headers.headers(random.Random(SEED), rules, 20000, "uniform"))
    places = collections.Counter()
    for header in drawn:
        rule = rules[header.rule]
        if rule.dst_len < 31:
            last = rule.dst | (1 << 32 - rule.dst_len) - 1
            places["first" if header.dst == rule.dst else "last" if header.dst == last else "between"] += 1
    assert min(places["first"], places["last"], places["between"]) > sum(places.values()) / 10
    assert len({header.rule for header in drawn}) > 990
    assert {header.proto for header in drawn} >= {0, 255}


def longest_run(items):
    return max(len(list(run)) for _, run in itertools.groupby(items))


def test_trace_order_repeats_headers():
    """As the real traces: nine of ten stand alone, a few come many times. Uniform never repeats."""
    rules = shapes.generate(random.Random(SEED), "fw1", 1000)
    trace = list(headers.headers(random.Random(SEED), rules, 30000, "trace"))
    runs = [len(list(run)) for _, run in itertools.groupby(trace)]
    assert share(runs, lambda run: run == 1) == pytest.approx(0.9, abs=0.02) and max(runs) > 50
    assert longest_run(headers.headers(random.Random(SEED), rules, 30000, "uniform")) <= 3


@pytest.mark.parametrize("name", shapes.NAMES)
def test_penstock_takes_them(tmp_path, name):
    assert os.access(PENSTOCK, os.X_OK), f"no {PENSTOCK}: make first"
    path = tmp_path / "set.yaml"
    rules = shapes.generate(random.Random(SEED), name, 500)
    path.write_text("\n".join(emit.penstock(rules, "alternate", "drop", "none")) + "\n")
    said = subprocess.run([PENSTOCK, "check", str(path)], capture_output=True, text=True, check=False)
    assert said.returncode == 0 and " 500 rules" in said.stdout, said.stderr
