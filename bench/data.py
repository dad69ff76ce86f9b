# SPDX-License-Identifier: Apache-2.0
"""What bench/run filters by and sends: rule sets, prefixes and headers, as files in one directory.

Real rule sets and feeds are taken where they are (PENSTOCK_DATA); all else is drawn from a seed, the same in every
run. `used` says which it was.
"""
import os
import random
import subprocess
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "classbench"))

import emit  # noqa: E402
import headers  # noqa: E402
import rules as classbench  # noqa: E402
import shapes  # noqa: E402

REAL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../shared/data")
SHAPES = ("acl1", "fw1", "ipc1")
SEED = 1
HEADERS = 131072  # drawn from rules, where there is no real trace
LAST_HEADERS = 16
FEED = "blocklists/ipsum.txt"
FEED_ADDRESSES = 120430
SIZES = {1000: "1 k", 10000: "10 k", 50000: "50 k", 128 * 1024: "128 k", 1000000: "1 M"}
TARGET = classbench.number("192.0.2.1")
ACK = 0x10


def short(size):
    return SIZES.get(size, str(size))


def udp_header(addr):
    """As the generator sends from all of IPv4."""
    return classbench.Header(addr, TARGET, 40000, 53, classbench.UDP, 0, 0)


def real_data():
    """Where real rule sets and feeds are; None where there is no such directory."""
    path = os.environ.get("PENSTOCK_DATA", REAL)
    return path if os.path.isdir(path) else None


class Data:
    def __init__(self, where, build, real):
        self.where, self.build, self.real = where, build, real
        self.used = []
        self.draw = random.Random(SEED)
        self.sets = {}

    def path(self, name):
        return os.path.join(self.where, name)

    def write(self, name, lines):
        with open(self.path(name), "w", encoding="ascii") as f:
            f.writelines(f"{line}\n" for line in lines)
        return self.path(name)

    def find(self, name):
        """A real file, also packed; None when there is none."""
        for path in (os.path.join(self.real or "", name), os.path.join(self.real or "", f"{name}.gz")):
            if self.real and os.path.exists(path):
                return path
        return None

    # ---- rules --------------------------------------------------------------------------------------

    def rules(self, shape, size):
        """Of ClassBench, the real ones when they are there; read once."""
        if (shape, size) not in self.sets:
            path = self.find(f"classbench/{shape}_{size}")
            self.sets[shape, size] = (classbench.read(path) if path else
                                      shapes.generate(random.Random(SEED), shape, size))
            count = len(self.sets[shape, size])
            self.used.append(f"{shape} {short(size)}: " + (f"real, {count} rules" if path else "generated"))
        return self.sets[shape, size]

    def policy(self, name, rules):
        return self.write(f"{name}.yaml", emit.penstock(rules, "drop", "drop", "none"))

    def nft(self, name, rules):
        return self.write(f"{name}.nft", emit.nft(rules, "drop", "drop", name))

    def trace(self, shape, size, order):
        """Headers of the rules, repeated as in traces, or uniform."""
        path = self.find(f"classbench/{shape}_{size}_trace") if order == "trace" else None
        lines = (classbench.read_trace(path) if path else
                 headers.headers(random.Random(SEED), self.rules(shape, size), HEADERS, order))
        if path:
            self.used.append(f"{shape} {short(size)}: real trace")
        return self.write(f"{shape}-{size}-{order}.trace", (header.line() for header in lines))

    def last_match(self, name, rules):
        """Headers that match the last rule that any can reach, and its place from 0."""
        for last in range(len(rules) - 1, -1, -1):
            drawn = [headers.draw_header(self.draw, rules[last:last + 1]) for _ in range(LAST_HEADERS)]
            reach = [header for header in drawn if classbench.first_match(rules, header) == last]
            if reach:
                return self.write(f"{name}.trace", (header.line() for header in reach)), last
        raise ValueError("no rule can be reached")

    # ---- prefixes -----------------------------------------------------------------------------------

    def addresses(self, count):
        """Distinct, evenly from all of IPv4."""
        return self.draw.sample(range(1 << 32), count)

    def prefixes(self, count):
        """(first, length), each in /24s of its own: of ten 6 are /32, 3 are /24, 1 is /20 to /23. Evenly, too."""
        taken, drawn = set(), []
        while len(drawn) < count:
            length = self.draw.choice((32,) * 24 + (24,) * 12 + (20, 21, 22, 23))
            addr = self.draw.getrandbits(32) >> 32 - length << 32 - length
            blocks = range(addr >> 8, (addr >> 8) + (1 << max(0, 24 - length)))
            if taken.isdisjoint(blocks):
                taken.update(blocks)
                drawn.append((addr, length))
        return drawn

    def feed(self):
        """Path of a set file, and its addresses."""
        path = self.find(FEED)
        if not path:
            path = self.path("feed.txt")
            with open(path, "w", encoding="ascii") as f:
                subprocess.run([f"{self.build}/bench/gen/feed-gen", "--seed", str(SEED), "--count",
                                str(FEED_ADDRESSES)], stdout=f, check=True)
        self.used.append("feed: generated" if path == self.path("feed.txt") else "feed: real")
        with open(path, encoding="ascii") as f:
            lines = [line.split()[0] for line in f if line[:1].isdigit()]
        return path, [classbench.number(line) for line in lines]

    def members(self, name, addrs):
        return self.write(f"{name}.trace", (udp_header(addr).line() for addr in addrs))

    def flows(self, name, count):
        """TCP in mid-stream, each header of another connection to one server."""
        ends = self.draw.sample(range(1 << 48), count)
        return self.write(f"{name}.trace", (
            classbench.Header(end >> 16, TARGET, end & 0xffff, 443, classbench.TCP, ACK, 0).line() for end in ends))
