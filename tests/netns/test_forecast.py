# SPDX-License-Identifier: Apache-2.0
"""`check --stats` says before an apply what the kernel holds after it. Rules out a forecast of the image alone,
of one bank where there are two, and one that leaves out what is there for every policy or every CPU."""
import os
import random
import subprocess

import pytest

from lab import DATA, LONG, ROOT

HEAD = """version: 1
attach:
  wan: {dev: eth0}
sets:
  listed: {file: list.txt}
  banned: {max: 50k}
filter:
  in:
    at: wan.ingress
    default: pass
    rules:
      - {id: listed, from: [$listed, $banned], do: drop}
"""
ROOM = 0.1


def address(source):
    return ".".join(str(source.randrange(1, 223)) for _ in range(4))


def policies(lab):
    """One of many prefixes and one of many rules, so that either part of the forecast must be right."""
    source = random.Random(1)
    lab.write("list.txt", "".join(f"{address(source)}\n" for _ in range(200000)))
    yield lab.write("prefixes.yaml", HEAD)
    lab.write("list.txt", "192.0.2.1\n")
    rules = (f"      - {{id: r{n}, proto: tcp, dport: {source.randrange(65536)}, from: {address(source)}, "
             f"to: {address(source)}, do: drop}}\n" for n in range(10000))
    yield lab.write("rules.yaml", HEAD + "".join(rules))


def test_forecast_is_what_the_kernel_holds(lab):
    ns = lab.namespace("host")
    for number, path in enumerate(policies(lab)):
        daemon = lab.daemon(ns, name=f"-{number}")
        forecast = daemon.ok("check", path, "--stats")["policy"]["forecast"]
        daemon.ok("apply", path)
        held = daemon.ok("status")["memory_bytes"]
        assert forecast["memory_bytes"] == pytest.approx(held, rel=ROOM)
        # The same once more, a little changed: now both banks have it.
        with open(path, encoding="utf-8") as f:
            changed = f.read().replace("id: listed", "id: renamed")
        daemon.ok("apply", lab.write("changed.yaml", changed.replace("192.0.2.1", "192.0.2.2")))
        held = daemon.ok("status")["memory_bytes"]
        assert forecast["memory_both_bytes"] == pytest.approx(held, rel=ROOM)
        daemon.stop()


def test_forecast_of_run_time_sets(lab):
    ns = lab.namespace("host")
    daemon = lab.daemon(ns)
    lab.write("list.txt", "192.0.2.1\n")
    path = lab.write("sets.yaml", HEAD)
    forecast = daemon.ok("check", path, "--stats")["policy"]["forecast"]
    assert forecast["run_time_sets"]["members"] == 50000
    daemon.ok("apply", path)
    source = random.Random(2)
    members = {address(source) for _ in range(49000)}
    before = daemon.ok("status")["memory_bytes"]
    answer = daemon.cli("set", "add", "banned", "-", stdin="\n".join(members) + "\n")
    assert answer.exit == 0, answer
    grown = daemon.ok("status")["memory_bytes"] - before
    assert forecast["run_time_sets"]["bytes"] == pytest.approx(grown, rel=ROOM)


@pytest.mark.skipif(not LONG, reason="the long form")
@pytest.mark.parametrize("shape", ["acl1", "fw1", "ipc1"])
def test_forecast_of_classbench(lab, shape):
    """Real rule sets of each size: no bank beyond 64 MiB, and no forecast that only holds for drawn rules."""
    daemon = lab.daemon(lab.namespace("host"))
    for count in "1000", "10000", "50000.gz":
        rules = f"{DATA}/classbench/{shape}_{count}"
        if not os.path.exists(rules):
            pytest.skip(f"no {rules}")
        text = subprocess.run(["/usr/bin/python3", "-B", f"{ROOT}/bench/classbench", "policy", rules, "--dev", "eth0"],
                              stdout=subprocess.PIPE, check=True, text=True).stdout
        path = lab.write("rules.yaml", text)
        forecast = daemon.ok("check", path, "--stats")["policy"]["forecast"]
        assert forecast["bank_bytes"] <= 64 << 20
        # The other bank has the smaller set before: by then it is a small part of the whole.
        daemon.ok("apply", path)
        held = daemon.ok("status")["memory_bytes"]
        assert forecast["memory_bytes"] == pytest.approx(held, rel=ROOM)
