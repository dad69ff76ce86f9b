# SPDX-License-Identifier: Apache-2.0
"""All of bench/run's rows once, with small sets: each is measured, and penstock's rows add up to the last frame.
So this also holds the converter, the headers and the filter against each other: a header that no rule decides
makes its row lost."""
import json
import os
import shutil
import subprocess
import xml.etree.ElementTree

import data
import pytest
import report
import rows

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("PENSTOCK_BUILD", "build"))
PEERS = ("nft", "ipset", "xdp-filter")


def no_real_data(where):
    return data.Data(str(where), BUILD, None)


def test_data_says_what_it_is(tmp_path):
    """A run on generated sets must not look like one on real ones."""
    made = no_real_data(tmp_path)
    made.rules("fw1", 1000)
    made.trace("fw1", 10000, "trace")
    assert made.used == ["fw1 1 k: generated", "fw1 10 k: generated"]


def test_last_match_is_decided_by_that_rule(tmp_path):
    """Headers of the last rule's box that an earlier rule takes would make a long list look short."""
    made = no_real_data(tmp_path)
    rules = made.rules("ipc1", 1000)
    path, last = made.last_match("last", rules)
    sent = list(data.classbench.read_trace(path))
    assert sent and last > 900 and all(data.classbench.first_match(rules, header) == last for header in sent)


def test_prefixes_are_disjoint(tmp_path):
    """nft refuses intervals that overlap; the count must not shrink by what was merged."""
    prefixes = no_real_data(tmp_path).prefixes(3000)
    ranges = sorted((addr, addr | (1 << 32 - length) - 1) for addr, length in prefixes)
    assert len(prefixes) == 3000 and all(a[1] < b[0] for a, b in zip(ranges, ranges[1:]))
    assert {length for _, length in prefixes} == {20, 21, 22, 23, 24, 32}


@pytest.fixture
def small(monkeypatch):
    for module, name, value in ((rows, "RULE_SIZES", (1, 10, 1000)), (rows, "SET_SIZES", (1000,)),
                                (rows, "PREFIX_SIZES", (1, 1000, 128 * 1024)), (rows, "FLOW_AIMS", {1 << 10: 10}),
                                (rows, "BANNED", 3000), (rows, "DRAWN", 1 << 12), (data, "HEADERS", 1 << 13), (data, "FEED_ADDRESSES", 5000)):
        monkeypatch.setattr(module, name, value)


def run(where):
    plan = rows.make(no_real_data(where), None, 1, 0)
    plan.spec["sample_ms"] = 3
    plan.save(str(where / "spec"))
    done = subprocess.run([f"{BUILD}/bench/drop", "spec", "answers"], cwd=where, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    return report.Report(plan, json.loads((where / "answers").read_text()))


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and BPF need root")
def test_every_row_is_measured(tmp_path, small):
    assert os.access(f"{BUILD}/bench/drop", os.X_OK), f"no {BUILD}/bench/drop: make test-build first"
    result = run(tmp_path)
    for row in result.rows:
        if not row["name"].startswith(PEERS):
            assert row.get("samples") == 1 and not row["lost"], row
    text = "\n".join(result.markdown())
    assert "| penstock, fw1, uniform |" in text and "| penstock, prefixes, members |" in text
    assert "fw1 1 k: generated" in text
    assert "a member of a run-time set of" in text
    if shutil.which("gnuplot"):
        result.plot(str(tmp_path / "plot.svg"))
        plot = (tmp_path / "plot.svg").read_text()
        xml.etree.ElementTree.fromstring(plot)
        assert "currentColor" in plot and "prefers-color-scheme: dark" in plot and "black" not in plot
