# SPDX-License-Identifier: Apache-2.0
"""What bench/run prints: one table of cost against rules and against prefixes, what became of the aims, every row with
its figures, and a plot. Takes the plan (rows.py) and the answers of bench/drop."""
import math
import re
import subprocess

from data import SEED, SHAPES, short
from rows import EVERYWHERE

REFERENCE_EMPTY_NS = 6  # of the machine the aims were set on, as these: random read-modify-writes of a line
REFERENCE_LINES_NS = {1 << 10: 2, 1 << 16: 23, 1 << 18: 42, 1 << 20: 122}


class Report:
    def __init__(self, plan, answers):
        self.plan, self.answers = plan, answers
        self.rows = [{**about, **row} for about, row in zip(plan.about, answers["rows"])]
        self.by_name = {row["name"]: row for row in self.rows}
        self.banks = {policy["name"]: policy for policy in answers["policies"]}
        self.references = {each["lines"]: each["ns"] for each in answers["references"]}

    def floor(self, row):
        name = row.get("over") or ("empty program" if row["hot"] else f"XDP_DROP, {row['headers'] or EVERYWHERE}")
        return self.by_name.get(name, {}).get("ns")

    def net(self, row):
        floor = self.floor(row)
        return row["ns"] - floor if "ns" in row and floor is not None else None

    def share(self, row):
        """Per cent of the packets a second of the floor."""
        return 100 * self.floor(row) / row["ns"]

    def stretch(self, row):
        """Never below 1: a faster machine does not make an aim smaller."""
        by = row["stretch"]
        if by == "empty":
            return self.processor()
        if by == "bank":
            lines = self.banks[row["policy"]]["bytes"] / 64
            by = min(REFERENCE_LINES_NS, key=lambda known: abs(math.log2(known / lines)))
        return max(1, self.references[by] / REFERENCE_LINES_NS[by])

    def processor(self):
        """How much longer than there the empty program takes: what calls and branches cost."""
        return max(1, self.by_name["empty program"]["ns"] / REFERENCE_EMPTY_NS)

    # ---- text ---------------------------------------------------------------------------------------

    def head(self):
        machine = self.answers["machine"]
        lines = ", ".join(f"{ns:.1f} at 2^{math.log2(count):.0f} ({REFERENCE_LINES_NS[count]})"
                          for count, ns in sorted(self.references.items()))
        empty = self.by_name["empty program"]["ns"]
        yield f"{machine['cpu']}, kernel {machine['kernel']}, bpf_stats_enabled 0, {self.plan.spec['rounds']} rounds."
        yield ""
        yield "References, ns, in brackets those of the machine the aims were set on: a random read-modify-write of a"
        yield f"64-byte line {lines}; empty program {empty:.1f} ({REFERENCE_EMPTY_NS})."
        yield ""
        yield f"Data: {'; '.join(self.plan.data.used)}; all other sets and headers: generated, seed {SEED}."
        yield ""

    def cell_text(self, row):
        if not row:
            return ""
        if "absent" in row:
            return "refused" if "error:" in row["absent"] else "absent"
        net = self.net(row)
        return "lost" if net is None else f"{net:,.0f}".replace(",", " ")

    def table(self):
        cells = {(row["series"], row["size"]): row for row in self.rows if "series" in row}
        sizes = sorted({size for _, size in cells})
        if not sizes:
            return
        axes = {row["series"]: row["axis"] for row in self.rows if "series" in row}
        yield f"| ns a packet over XDP_DROP | {' | '.join(short(size) for size in sizes)} |"
        yield f"|---|{'---:|' * len(sizes)}"
        for axis in ("rules", "prefixes"):
            names = [name for name in axes if axes[name] == axis]
            if names:
                yield f"| **against {axis}** |{' |' * len(sizes)}"
            for name in names:
                yield f"| {name} | {' | '.join(self.cell_text(cells.get((name, size))) for size in sizes)} |"
        floors = [row["ns"] for row in self.rows if row.get("floor") and not row["hot"] and "ns" in row]
        alone = self.by_name["generator alone"]["ns"]
        yield ""
        if floors:
            yield (f"The floor, XDP_DROP, takes {min(floors):.0f} to {max(floors):.0f} ns with the generator that "
                   f"sends, which takes {alone:.0f} alone; every row stands over the floor with its own list of headers.")
        yield ""

    def aim_lines(self, row):
        name, net = row["name"] + (", hot" if row["hot"] else ""), self.net(row)
        if net is None:
            yield f"| {name} | {self.cell_text(row)} | | | | |"
            return
        if "aim" in row:
            here = row["aim"] * self.stretch(row)
            processor = row["aim"] * self.processor()
            met = "met" if net <= row["aim"] else "met at this speed" if net <= here else \
                "met at this processor's speed" if net <= processor else "**missed**"
            yield f"| {name} | {net:+.0f} ns | {row['aim']:+.0f} | {here:+.0f} | {processor:+.0f} | {met} |"
        if "share" in row:
            share = self.share(row)
            met = "met" if share >= row["share"] else "**missed**"
            yield f"| {name}: packets/s of XDP_DROP | {share:.0f} % | {row['share']} % | | | {met} |"

    def aims(self):
        yield "| | measured | aim | at the speed of its reference | at the processor's | |"
        yield "|---|---:|---:|---:|---:|---|"
        for row in self.rows:
            if {"aim", "share"} & row.keys():
                yield from self.aim_lines(row)
        yield ""

    def details(self):
        yield "| row | median ns | min | net | packets/s of XDP_DROP | frames | set up, ms |"
        yield "|---|---:|---:|---:|---:|---:|---:|"
        for row in self.rows:
            name = row["name"] + (", hot" if row["hot"] else "")
            setup = f"{row['setup_ms']:.0f}" if "setup_ms" in row else ""
            if "ns" not in row:
                yield f"| {name} | {self.cell_text(row)} | | | | | {setup} |"
                continue
            net = self.net(row)
            over = "|" if net is None else f"{net:+.1f} | {self.share(row):.0f} %"
            yield f"| {name} | {row['ns']:.1f} | {row['min_ns']:.1f} | {over} | {row['frames'] or ''} | {setup} |"
        yield ""
        for policy in self.answers["policies"]:
            if "bytes" in policy:
                yield (f"- bank of {policy['name']}: {policy['bytes'] / 2**20:.1f} MiB, compiled in "
                       f"{policy['compile_ms']:.0f} ms")
            else:
                yield f"- {policy['name']}: refused: {policy['refused'].splitlines()[0].split('error: ')[-1]}"
        lost = sum(row.get("lost", 0) for row in self.rows)
        if lost:
            yield f"- {lost} samples were thrown away: not every frame was accounted for"

    def markdown(self):
        yield "<!-- SPDX-License-Identifier: Apache-2.0; written by bench/run -->"
        yield "# What a packet costs"
        yield ""
        yield from self.head()
        yield from self.table()
        yield "## Aims"
        yield ""
        yield from self.aims()
        yield "## Every row"
        yield ""
        yield from self.details()

    # ---- plot ---------------------------------------------------------------------------------------

    def points(self, series):
        """(size, net), by size; below 1 ns there is nothing to tell from the floor."""
        return [(row["size"], max(1, self.net(row))) for row in self.rows
                if row.get("series") == series and self.net(row) is not None]

    def plot(self, path):
        """Two panels beside each other, both axes logarithmic."""
        curves = {"rules": RULE_CURVES, "prefixes": PREFIX_CURVES}
        titles = {"rules": "cost against rules",
                  "prefixes": f"cost against prefixes; sources: members (solid), {EVERYWHERE} (dashed)"}
        script, blocks = [PLOT_HEAD.format(path=path)], []
        for at, axis in enumerate(curves):
            parts = []
            for title, colour, dash, series in curves[axis]:
                points = self.points(series)
                if points:
                    block = f"$b{len(blocks)}"
                    blocks.append(f"{block} << EOD\n" + "".join(f"{x} {y:.1f}\n" for x, y in points) + "EOD")
                    parts.append(f'{block} with linespoints pt 7 lc rgb "{colour}" dt {dash} '
                                 + (f'title "{title}"' if title else "notitle"))
            script.append(PLOT_PANEL.format(axis=axis, title=titles[axis], left=0.08 + 0.5 * at, right=0.48 + 0.5 * at,
                                            last="1.2e6" if axis == "prefixes" else "6e4",
                                            curves=", ".join(parts) or "NaN notitle"))
        subprocess.run(["gnuplot"], input="\n".join(blocks + script) + "\n", text=True, check=True)
        adapt(path)


PENSTOCK, LINEAR, SET, INTERVAL, IPSET, IPSET_NET, XDP = (
    "#2f81f7", "#d29922", "#a371f7", "#db61a2", "#3fb950", "#0f9d8a", "#f85149")
RULE_CURVES = [("penstock, last match", PENSTOCK, 1, "penstock, last rule matches")]
RULE_CURVES += [("penstock, ClassBench, uniform" if shape == "acl1" else "", PENSTOCK, 2, f"penstock, {shape}, uniform")
                for shape in SHAPES]
RULE_CURVES += [("nft linear, last match", LINEAR, 1, "nft linear, last rule matches")]
RULE_CURVES += [("nft linear, ClassBench, trace" if shape == "acl1" else "", LINEAR, 2, f"nft linear, {shape}, trace")
                for shape in SHAPES]
RULE_CURVES += [("xdp-filter, one port", XDP, 1, "xdp-filter, UDP port")]
PREFIX_CURVES = [(f"{title}" if where == "members" else "", colour, 1 if where == "members" else 2,
                  f"{series}, {where}")
                 for title, colour, series in (("penstock", PENSTOCK, "penstock, prefixes"),
                                               ("xdp-filter", XDP, "xdp-filter, addresses"),
                                               ("nft set", SET, "nft set, addresses"),
                                               ("nft interval set", INTERVAL, "nft interval set, prefixes"),
                                               ("ipset hash:ip", IPSET, "ipset hash:ip, addresses"),
                                               ("ipset hash:net", IPSET_NET, "ipset hash:net, prefixes"),
                                               ("nft linear", LINEAR, "nft linear, prefixes"))
                 for where in ("members", EVERYWHERE)]

PLOT_HEAD = """set terminal svg size 1000,460 dynamic font "sans-serif,13" linewidth 1.5
set output "{path}"
set multiplot
set logscale xy
set tmargin 2
set bmargin 4
set grid
set key top left Left reverse samplen 2 font ",11"
set pointsize 0.5
set yrange [1:3e6]
set format y "%.0s %c"
set format x "%.0s %c" """
PLOT_PANEL = """set lmargin at screen {left}
set rmargin at screen {right}
set title "{title}" font ",12"
set xlabel "{axis}"
set ylabel "ns a packet over XDP\\\\_DROP"
set xrange [0.8:{last}]
plot {curves}"""


def adapt(path):
    """The same file on light and on dark ground: what gnuplot draws black takes the colour of the reader's text."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    text = re.sub(r"<(title|desc)>[^<]*</\1>\s*", "", text)  # gnuplot's version, which is no figure
    text = re.sub(r"rgb\( *0, *0, *0\)|(?<=['\"])black(?=['\"])", "currentColor", text)
    style = ("<style>svg { color: #1f2328; } @media (prefers-color-scheme: dark) { svg { color: #e6edf3; } }</style>")
    text = re.sub(r"(<svg[^>]*>)", r"\1\n" + style, text, count=1)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
