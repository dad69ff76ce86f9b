# SPDX-License-Identifier: Apache-2.0
"""bench/drop accounts for every frame and says what it could not measure; bench/report.py holds aims against the
right floor and reference. What the figures are is not tested."""
import json
import os
import random
import subprocess

import emit
import headers
import pytest
import report
import shapes

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DROP = os.path.join(ROOT, os.environ.get("PENSTOCK_BUILD", "build"), "bench/drop")
SEED = int(os.environ.get("SEED", "7"))


# ---- bench/drop -------------------------------------------------------------------------------------


class Bench:
    """A rule set, its headers, and what bench/drop says of rows over them."""

    def __init__(self, where):
        self.where = where
        self.rules = shapes.generate(random.Random(SEED), "fw1", 300)
        self.write("rules.yaml", emit.penstock(self.rules, "drop", "pass", "none"))
        self.write("rules.trace", (header.line() for header in headers.headers(random.Random(SEED), self.rules, 5000,
                                                                              "uniform")))
        self.write("one.trace", ["1 2 3 4 17 0 0"])
        self.write("one.yaml", ["version: 1", "attach:", "  bench: {dev: none}", "filter:", "  in:",
                                "    at: bench.ingress", "    default: drop", "    rules:",
                                "      - {id: other, proto: tcp, do: drop}", "      - {id: udp, proto: udp, do: drop}"])
        self.write("ack.trace", (f"{addr} 99 40000 443 6 {0x10 << 24} 0" for addr in (1, 2, 3, 200, 1 << 31)))
        self.write("state.yaml", ["version: 1", "attach:", "  bench: {dev: none}", "filter:", "  in:",
                                  "    at: bench.ingress", "    default: pass", "    rules:",
                                  "      - {id: live, state: established, do: drop}"])
        self.write("bad.yaml", ["version: 1", "filters: {}"])

    def write(self, name, lines):
        (self.where / name).write_text("".join(f"{line}\n" for line in lines))

    def spec(self, rows):
        return {"rounds": 1, "frames": 20000, "sample_ms": 20, "cpu": 0, "rows": rows,
                "headers": [{"name": "trace", "file": "rules.trace"}, {"name": "one", "file": "one.trace"},
                            {"name": "ack", "file": "ack.trace"},
                            {"name": "drawn", "file": "rules.trace", "draw": 999}],
                "policies": [{"name": "rules", "file": "rules.yaml"}, {"name": "one", "file": "one.yaml"},
                             {"name": "state", "file": "state.yaml"}, {"name": "bad", "file": "bad.yaml"}]}

    def start(self, spec):
        (self.where / "spec").write_text(json.dumps(spec))
        return subprocess.run([DROP, "spec", "answers"], cwd=self.where, capture_output=True, text=True, check=False)

    def run(self, rows):
        done = self.start(self.spec(rows))
        assert done.returncode == 0, done.stderr
        answers = json.loads((self.where / "answers").read_text())
        assert [row["name"] for row in answers["rows"]] == [row["name"] for row in rows]
        return answers["rows"]


@pytest.fixture
def bench(tmp_path):
    if os.geteuid():
        pytest.skip("namespaces and BPF need root")
    assert os.access(DROP, os.X_OK), f"no {DROP}: make test-build first"
    with open("/proc/sys/kernel/bpf_stats_enabled", encoding="ascii") as f:
        assert f.read().strip() == "0", "kernel.bpf_stats_enabled is on"
    return Bench(tmp_path)


def test_every_target_is_measured(bench):
    rows = bench.run([
        {"name": "alone", "target": "nowhere", "headers": "trace"},
        {"name": "floor", "target": "xdp-drop"},
        {"name": "tc floor", "target": "tc-drop", "headers": "drawn"},
        {"name": "all", "target": "penstock", "policy": "rules", "headers": "trace", "by_rule": True},
        {"name": "tc", "target": "penstock-tc", "policy": "rules", "headers": "drawn", "by_rule": True},
        {"name": "last", "target": "penstock", "policy": "one", "headers": "one", "last_rule": 2},
        {"name": "flows", "target": "penstock", "policy": "state", "headers": "ack", "flows": "ack", "last_rule": 1},
        {"name": "hot", "target": "penstock", "policy": "one", "headers": "one", "hot": True},
    ])
    assert all(row["samples"] == 1 and not row["lost"] and row["ns"] > 0 for row in rows), rows


@pytest.mark.parametrize("row", [
    {"target": "penstock", "policy": "one", "headers": "one", "last_rule": 1},
    {"target": "penstock", "policy": "rules", "headers": "one", "by_rule": True},
    {"target": "penstock", "policy": "state", "headers": "ack", "flows": "one", "by_rule": True},
])
def test_a_sample_that_does_not_add_up_is_thrown_away(bench, row):
    """Another rule decides, or none, or the flow is not live: a harness that only measures time would give a figure."""
    assert bench.run([{"name": "wrong", **row}]) == [{"name": "wrong", "samples": 0, "lost": 1}]


def test_what_cannot_be_set_up_is_absent(bench):
    """Also a row without a set-up of its own, which stands on that of another whose tool is missing."""
    rows = bench.run([
        {"name": "refused", "target": "penstock", "policy": "bad", "headers": "one"},
        {"name": "missing", "target": "commands", "headers": "one", "setup": [["/nonexistent/peer"]]},
        {"name": "failing", "target": "commands", "headers": "one", "setup": [["false"]]},
        {"name": "on another's", "target": "commands", "headers": "one", "on": [["/nonexistent/peer"]]},
        {"name": "not today", "target": "commands", "headers": "one", "on": [["false"]]},
        {"name": "floor", "target": "xdp-drop", "headers": "one"},
    ])
    assert "unknown key 'filters'" in rows[0]["absent"] and "No such file" in rows[1]["absent"]
    assert "failed" in rows[2]["absent"] and "No such file" in rows[3]["absent"]
    assert "could not begin" in rows[4]["absent"] and rows[5]["samples"] == 1


def test_commands_have_their_turn_alone(bench):
    """`on` before the row's frames, `off` behind them: what stays on would slow all other rows."""
    log = bench.where / "log"

    def say(what):
        return [["sh", "-c", f"echo {what} >> {log}"]]

    bench.run([{"name": "a", "target": "commands", "headers": "one", "setup": say("set-a"), "on": say("a"),
                "off": say("not-a")},
               {"name": "b", "target": "commands", "headers": "one", "setup": say("set-b"), "on": say("b"),
                "off": say("not-b")}])
    assert log.read_text().split() == ["set-a", "set-b", "a", "not-a", "b", "not-b"]


@pytest.mark.parametrize("change, why", [
    ({"rows": [{"name": "a", "target": "xdp-drop", "header": "one"}]}, "unknown key 'header'"),
    ({"rows": [{"name": "a", "target": "xdp-drop", "headers": "two"}]}, "no headers 'two'"),
    ({"rows": [{"name": "a", "target": "xdp-dorp"}]}, "no target 'xdp-dorp'"),
    ({"rows": [{"name": "a", "target": "penstock"}]}, "penstock, which needs one"),
    ({"rows": [{"name": "a", "target": "xdp-drop"}], "turns": 3}, "unknown key 'turns'"),
    ({"rows": []}, "no rows"),
])
def test_a_wrong_specification_is_refused(bench, change, why):
    """A misspelt key that is passed over measures something else under the row's name."""
    done = bench.start({**bench.spec([]), **change})
    assert done.returncode == 1 and why in done.stderr


# ---- bench/report.py --------------------------------------------------------------------------------


class Plan:
    """As rows.Plan, as far as the report looks at it."""

    def __init__(self, about):
        self.spec = {"rounds": 1}
        self.data = type("Data", (), {"used": ["acl1 1 k: generated"]})
        self.about = [{"hot": False, "headers": None, "policy": None, **row} for row in about]


ABOUT = [
    {"name": "generator alone"}, {"name": "XDP_DROP, all IPv4", "floor": True},
    {"name": "XDP_DROP, list", "floor": True, "headers": "list"},
    {"name": "empty program", "floor": True, "hot": True, "headers": "empty"},
    {"name": "hot", "hot": True, "headers": "list", "aim": 8, "stretch": "empty"},
    {"name": "p 1 k", "series": "p", "axis": "rules", "size": 1000, "headers": "list", "policy": "big", "aim": 40,
     "stretch": "bank"},
    {"name": "p 10 k", "series": "p", "axis": "rules", "size": 10000, "headers": "list", "policy": "no", "aim": 60,
     "stretch": "bank"},
    {"name": "s 1 k", "series": "s", "axis": "prefixes", "size": 1000, "aim": 40, "stretch": 1 << 10, "share": 50},
]
NS = {"generator alone": 50, "XDP_DROP, all IPv4": 100, "XDP_DROP, list": 110, "empty program": 12, "hot": 26,
      "p 1 k": 165, "s 1 k": 210}


def make_report(**ns):
    answers = {
        "machine": {"cpu": "CPU", "kernel": "6"},
        "references": [{"lines": 1 << 10, "ns": 1}, {"lines": 1 << 16, "ns": 46}, {"lines": 1 << 18, "ns": 21},
                       {"lines": 1 << 20, "ns": 122}],
        "policies": [{"name": "big", "bytes": 64 << 16, "compile_ms": 1}, {"name": "no", "refused": "a: error: why\n"}],
        "rows": [{"name": row["name"], "ns": {**NS, **ns}[row["name"]], "min_ns": 1, "samples": 1, "lost": 0,
                  "frames": 1} if row["name"] in NS else {"name": row["name"], "absent": "a: error: why"}
                 for row in ABOUT],
    }
    return report.Report(Plan(ABOUT), answers)


def aims(result):
    return {line.split(" | ")[0].strip("| "): line for line in result.aims()}


def test_nets_are_over_the_row_s_own_floor():
    """Its list of headers, or the empty program: one floor for all would shift rows by what lists cost."""
    made = make_report()
    nets = {row["name"]: made.net(row) for row in made.rows}
    assert nets["p 1 k"] == 55 and nets["s 1 k"] == 110 and nets["hot"] == 14 and nets["p 10 k"] is None


def test_aims_are_stretched_by_their_reference_and_never_shrink():
    """By 46 / 23 for a bank of 2^16 lines, by 12 / 6 for a hot row; 2^10 is faster here than there: by 1."""
    lines = aims(make_report())
    assert "| +55 ns | +40 | +80 | +80 | met at this speed |" in lines["p 1 k"]
    assert "| +14 ns | +8 | +16 | +16 | met at this speed |" in lines["hot, hot"]
    assert "| +110 ns | +40 | +40 | +80 | **missed** |" in lines["s 1 k"]
    assert "| refused |" in lines["p 10 k"]
    assert "| 48 % | 50 % | | | **missed** |" in lines["s 1 k: packets/s of XDP_DROP"]
    lines = aims(make_report(**{"p 1 k": 200, "s 1 k": 139}))
    assert "| +80 | +80 | **missed** |" in lines["p 1 k"] and "| +40 | +80 | met |" in lines["s 1 k"]
    assert "| +40 | +80 | met at this processor's speed |" in aims(make_report(**{"s 1 k": 180}))["s 1 k"]
    assert "| met |" in lines["s 1 k: packets/s of XDP_DROP"]


def test_the_table_has_a_line_for_each_series():
    text = "\n".join(make_report().markdown())
    assert "| p | 55 | refused |" in text and "| s | 110 |  |" in text
    assert "acl1 1 k: generated" in text and "no: refused: why" in text
