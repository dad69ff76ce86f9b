# SPDX-License-Identifier: Apache-2.0
"""Rule sets of ClassBench's shape, from a seed: for those who lack the data, and for sizes it has not.

A shape is what was counted in a real set, in shapes/NAME.json (`classbench shape RULES` counts it anew):

  lengths   [source length, destination length, rules, pairs of addresses]: short sources go with long
            destinations, and a pair has several rules when both are short
  services  [protocol, flags or type, its mask, source ports, destination ports, rules]
  src, dst  `distinct`: of the pairs with a prefix of this length, from /0, the part that brings a new one;
            `forks`: how many prefixes leave the tree of all the others at each bit, which says how they
            cluster; `depth`: the most prefixes that cover one

A set is drawn rule by rule: its lengths, then an earlier pair of addresses of these lengths or a new one, as
often as in the real set, and a service. Each side of a new pair is an earlier prefix of the same length
or a new one, likewise: that follows an earlier prefix up to a fork and goes its own way from there, or,
when it is shorter, ends on the way and covers it. Then the rules are put in the order of real sets, narrow
ones first, so that few are dead; no two are alike.
"""
import collections
import itertools
import json
import os

from rules import Rule

WHERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shapes")
NAMES = sorted(name[:-5] for name in os.listdir(WHERE) if name.endswith(".json"))
TRIES = 1000  # at a rule that is new: a set has far fewer rules than the shape has room for
DEPTH_TRIES = 32  # at a prefix that does not nest too deep, near others; and as many anywhere
ORDER_NOISE = 8  # bits: real sets are ordered roughly


# ---- counting ---------------------------------------------------------------------------------------


def _forks(prefixes):
    """How often the tree of the prefixes has two branches, by bit."""
    nodes = {(addr >> 32 - bits if bits else 0, bits) for addr, length in prefixes for bits in range(length + 1)}
    forks = [0] * 32
    for path, bits in nodes:
        if bits < 32 and (path << 1, bits + 1) in nodes and (path << 1 | 1, bits + 1) in nodes:
            forks[bits] += 1
    return forks


def _covers(known, addr, length):
    """How many known prefixes cover this one."""
    return sum((addr >> 32 - bits, bits) in known for bits in range(length))


def _side(prefixes):
    """Of distinct pairs."""
    distinct = set(prefixes)
    known = {(addr >> 32 - length, length) for addr, length in distinct}
    pairs, new = (collections.Counter(length for _, length in some) for some in (prefixes, distinct))
    return {"distinct": [round(new[length] / pairs[length], 3) if pairs[length] else 0 for length in range(33)],
            "forks": _forks(distinct),
            "depth": max(_covers(known, *prefix) for prefix in distinct)}


def measure(rules):
    pairs = {((rule.src, rule.src_len), (rule.dst, rule.dst_len)) for rule in rules}
    lengths = collections.Counter((rule.src_len, rule.dst_len) for rule in rules)
    of_lengths = collections.Counter((src[1], dst[1]) for src, dst in pairs)
    services = collections.Counter((rule.proto, rule.word, rule.word_mask, rule.sport, rule.dport)
                                   for rule in rules)
    return {
        "lengths": [[*both, count, of_lengths[both]] for both, count in sorted(lengths.items())],
        "services": [[*service, count] for service, count in sorted(services.items())],
        "src": _side([src for src, _ in pairs]),
        "dst": _side([dst for _, dst in pairs]),
    }


def dump(shape):
    """JSON with one row of a table a line."""
    parts = []
    for key in ("lengths", "services"):
        rows = ",\n  ".join(json.dumps(row) for row in shape[key])
        parts.append(f'"{key}": [\n  {rows}]')
    parts += [f'"{key}": {json.dumps(shape[key])}' for key in ("src", "dst")]
    return "{" + ",\n".join(parts) + "}\n"


# ---- drawing ----------------------------------------------------------------------------------------


class Table:
    """Rows of a table; `count` names the column that says how often one came."""

    def __init__(self, rows, count):
        self.rows = rows
        self.sums = list(itertools.accumulate(row[count] for row in rows))

    def pick(self, draw):
        return draw.choices(self.rows, cum_weights=self.sums)[0]


class Side:
    """The prefixes of one side, as far as they are drawn."""

    def __init__(self, shape):
        self.distinct, self.depth = shape["distinct"], shape["depth"]
        self.forks = Table(list(enumerate(shape["forks"])), 1)
        self.addrs = []
        self.by_length = collections.defaultdict(list)
        self.known = set()
        self.below = collections.Counter()  # at a node of the tree: the longest chain of nested prefixes

    def pick(self, draw, length):
        known = self.by_length[length]
        if known and draw.random() >= self.distinct[length]:
            return draw.choice(known)
        for tries in range(2 * DEPTH_TRIES):
            addr = self.grow(draw) if tries < DEPTH_TRIES else draw.getrandbits(32)
            addr = addr >> 32 - length << 32 - length
            if self.fits(addr, length):
                break
        else:
            addr = draw.choice(known) if known else addr
        if (addr >> 32 - length, length) not in self.known:
            self.add(addr, length)
        return addr

    def fits(self, addr, length):
        return _covers(self.known, addr, length) + self.below[addr >> 32 - length, length] <= self.depth

    def grow(self, draw):
        addr = draw.getrandbits(32)
        if not self.addrs:
            return addr
        own = 31 - self.forks.pick(draw)[0]  # bits behind the fork
        return (draw.choice(self.addrs) ^ 1 << own) >> own << own | addr & (1 << own) - 1

    def add(self, addr, length):
        self.known.add((addr >> 32 - length, length))
        self.addrs.append(addr)
        self.by_length[length].append(addr)
        chain = self.below[addr >> 32 - length, length]
        for bits in range(length, -1, -1):
            node = addr >> 32 - bits, bits
            chain = self.below[node] = max(self.below[node], chain + (node in self.known))


def load(name):
    """What measure() counted in the real set."""
    with open(os.path.join(WHERE, f"{name}.json"), encoding="ascii") as f:
        return json.load(f)


def _width(rule):
    """Small for narrow rules."""
    ports = sum((last - first + 1).bit_length() for first, last in (rule.sport, rule.dport))
    return 64 - rule.src_len - rule.dst_len + ports / 8 + (8 if rule.proto < 0 else 0)


class Pairs:
    """Pairs of addresses, as far as they are drawn."""

    def __init__(self, shape):
        self.lengths = Table(shape["lengths"], 2)
        self.src, self.dst = Side(shape["src"]), Side(shape["dst"])
        self.known = collections.defaultdict(list)

    def pick(self, draw):
        src_len, dst_len, rules, pairs = self.lengths.pick(draw)
        known = self.known[src_len, dst_len]
        if known and draw.random() * rules >= pairs:
            return draw.choice(known)
        known.append((self.src.pick(draw, src_len), src_len, self.dst.pick(draw, dst_len), dst_len))
        return known[-1]


def generate(draw, name, count):
    """`count` distinct rules; draw is a random.Random."""
    shape = load(name)
    pairs, services = Pairs(shape), Table(shape["services"], 5)
    rules = {}
    for _ in range(count * TRIES):
        if len(rules) == count:
            break
        proto, word, mask, sport, dport, _ = services.pick(draw)
        rules.setdefault(Rule(*pairs.pick(draw), tuple(sport), tuple(dport), proto, word, mask))
    return sorted(rules, key=lambda rule: _width(rule) + draw.random() * ORDER_NOISE)
