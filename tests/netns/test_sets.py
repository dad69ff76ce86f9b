# SPDX-License-Identifier: Apache-2.0
"""Hundreds of thousands of real prefixes against real frames."""
import bisect
import collections
import glob
import ipaddress
import os
import random
import struct
import subprocess

import pytest

import frames
from lab import BUILD, DATA, HOST4, HOST6, datagrams, wait_for

SEED = 20260822
MEMBERS = OTHERS = 2000
LISTED, COUNTRY_PREFIXES, GENERATED_FILES = 120430, 243034, 234
PORT = 7000
# What a stack never takes as a source, and the networks of the pair itself.
UNUSABLE = [ipaddress.ip_network(n) for n in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "10.77.0.0/16", "::/3",
                                              "fc00::/6", "2001:db8:77::/48")]


class Ranges:
    """Prefixes of one family as sorted ranges; the reference that the product is compared with."""

    def __init__(self, prefixes):
        self.starts, self.ends = [], []
        for first, last in sorted((int(p[0]), int(p[-1])) for p in prefixes):
            if self.ends and first <= self.ends[-1] + 1:
                self.ends[-1] = max(self.ends[-1], last)
            else:
                self.starts.append(first)
                self.ends.append(last)

    def __contains__(self, number):
        i = bisect.bisect_right(self.starts, number) - 1
        return i >= 0 and number <= self.ends[i]


class List:
    """A rule's prefixes: as the policy names them and as the reference knows them."""

    def __init__(self, id, paths):
        self.id, self.paths, self.prefixes = id, paths, []
        for path in paths:
            with open(path, encoding="utf-8") as f:
                words = (line.split()[0] for line in f if line.strip() and line[0] not in "#;")
                self.prefixes += [ipaddress.ip_network(word) for word in words]
        self.ranges = {v: Ranges(p for p in self.prefixes if p.version == v) for v in (4, 6)}


def generate(count, path, *options):
    tool = f"{BUILD}/bench/gen/feed-gen"
    if not os.access(tool, os.X_OK):
        pytest.skip(f"neither {DATA} nor {tool} is there")
    with open(path, "wb") as f:
        subprocess.run((tool, "--seed", str(SEED), "--count", str(count), *options), stdout=f, check=True)


@pytest.fixture(scope="module")
def all_lists(tmp_path_factory):
    """The blocklist first, then one list a country."""
    feed = f"{DATA}/blocklists/ipsum.txt"
    if os.access(feed, os.R_OK):
        codes = sorted({os.path.basename(p).split(".")[0] for p in glob.glob(f"{DATA}/country/*.txt")})
        countries = [List("in-" + c, sorted(glob.glob(f"{DATA}/country/{c}.*"))) for c in codes]
        return [List("listed", [feed])] + countries
    print(f"no {DATA}: generated lists of the same size and shape instead")
    made = tmp_path_factory.mktemp("lists")
    feed, whole = f"{made}/listed.txt", f"{made}/countries.txt"
    generate(LISTED, feed)
    generate(COUNTRY_PREFIXES, whole, "--prefixes")
    with open(whole, encoding="utf-8") as f:
        lines = f.readlines()
    step = -(-len(lines) // GENERATED_FILES)
    countries = []
    for i in range(GENERATED_FILES):
        path = made / f"part{i}.txt"
        path.write_text("".join(lines[i * step:(i + 1) * step]))
        countries.append(List(f"in-{i}", [str(path)]))
    return [List("listed", [feed])] + countries


def usable(address):
    return not any(address in network for network in UNUSABLE if network.version == address.version)


def rule_of(address, all_lists):
    """First match wins."""
    return next((l.id for l in all_lists if int(address) in l.ranges[address.version]), None)


def members(rng, all_lists):
    """Half of them from the blocklist, half from the countries' prefixes, often at an edge of one."""
    listed = rng.sample(all_lists[0].prefixes, MEMBERS)
    others = [p for l in all_lists[1:] for p in l.prefixes]
    found = [p[0] for p in listed if usable(p[0])][:MEMBERS // 2]
    while len(found) < MEMBERS:
        prefix = rng.choice(others)
        address = prefix[rng.choice([0, -1, rng.randrange(prefix.num_addresses)])]
        if usable(address):
            found.append(address)
    return [(a, rule_of(a, all_lists)) for a in found]


def non_members(rng, all_lists):
    """A third right beside a prefix, a third random IPv4, a third random IPv6: none in any list."""
    prefixes = [p for l in all_lists for p in l.prefixes]
    found = []
    while len(found) < OTHERS:
        prefix = rng.choice(prefixes)
        wide = 2 ** prefix.max_prefixlen
        address = rng.choice([
            lambda: type(prefix[0])((int(prefix[rng.choice([0, -1])]) + rng.choice([-1, 1])) % wide),
            lambda: ipaddress.IPv4Address(rng.getrandbits(32)),
            lambda: ipaddress.IPv6Address(0x2 << 124 | rng.getrandbits(124)),
        ])()
        if usable(address) and not rule_of(address, all_lists):
            found.append(address)
    return [(a, None) for a in found]


def policy(lab, all_lists, hook):
    sets, rules = [], []
    for l in all_lists:
        names = [f"{l.id}-{i}" for i in range(len(l.paths))]
        sets += [f"  {name}: {{file: {os.path.relpath(path, lab.dir)}}}" for name, path in zip(names, l.paths)]
        rules.append(f"      - {{id: {l.id}, from: [{', '.join('$' + n for n in names)}], do: drop}}")
    return "\n".join([f"version: 1\nattach:\n  wan: {{dev: wan0, hook: {hook}}}\nsets:", *sets,
                      "filter:\n  wan-in:\n    at: wan.ingress\n    default: pass\n    rules:", *rules, ""])


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_every_listed_address_is_met_by_its_rule(lab, hook, all_lists):
    """120 430 real addresses and the prefixes of all countries load as they are, one rule a country; 2 000
    random members drop under the id of the first rule that lists them, 2 000 random non-members arrive at
    a socket, and counters are exact in packets and bytes. Rules out a set that is cut at a size, a hash
    of /32s only, prefixes matched at a wrong edge or byte order, and a rule number for a rule id."""
    rng = random.Random(SEED)
    given = [len(l.prefixes) for l in all_lists]
    assert given[0] >= LISTED and sum(given[1:]) >= COUNTRY_PREFIXES
    host, peer = lab.quiet_pair()
    daemon = lab.daemon(host)
    applied = daemon.apply(policy(lab, all_lists, hook))
    assert daemon.attached("wan0")["hook"] == hook
    assert sum(s["given"] for s in daemon.ok("sets", "--limit", "10000")["sets"]) == sum(given)

    probes = members(rng, all_lists) + non_members(rng, all_lists)
    rng.shuffle(probes)
    sink, wire = lab.udp_sink(host, PORT), lab.wire(peer, "to-wan0")
    by_rule = collections.defaultdict(lambda: [0, 0])
    for number, (address, rule) in enumerate(probes):
        payload = struct.pack("!I", number) + bytes(rng.randrange(200))
        frame = frames.udp_frame(address, HOST4 if address.version == 4 else HOST6, PORT, payload)
        wire.send(frame)
        by_rule[rule or "default"][0] += 1
        by_rule[rule or "default"][1] += len(frame)
    wait_for(lambda: daemon.chain("wan-in")["received_packets"] >= len(probes), "all frames to arrive")

    arrived = {struct.unpack_from("!I", d)[0] for d in datagrams(sink)}
    assert arrived == {n for n, (_, rule) in enumerate(probes) if not rule}
    counted = {r["id"]: [r["packets"], r["bytes"]] for r in daemon.get("/v1/rules")["rules"] if r["packets"]}
    assert counted == by_rule
    row = daemon.add_up("wan-in")
    assert [row["received_packets"], row["received_bytes"]] == [sum(c) for c in zip(*by_rule.values())]
    print(f"{hook}: {sum(given)} prefixes in {len(given)} rules, compiled in {applied['compile_ms']} ms, installed in "
          f"{applied['install_ms']} ms; {MEMBERS} members dropped under {len(by_rule) - 1} rules, {len(arrived)} of "
          f"{OTHERS} others passed, {sum(a.version == 6 for a, _ in probes)} of all IPv6")
