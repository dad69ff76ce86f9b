# SPDX-License-Identifier: Apache-2.0
"""When a rule was met first and last."""
import datetime
import time

import pytest

import frames
from lab import HOST4, PEER4, wait_for

POLICY = """version: 1
attach:
  wan: {dev: wan0, hook: %s}
filter:
  wan-in:
    at: wan.ingress
    default: drop
    rules:
      - {id: %s, proto: udp, dport: 7001, do: pass}
      - {id: never, proto: udp, dport: 7002, do: pass}
"""


def moment(text):
    assert text.endswith("Z") and text[19] == "." and len(text) == 24, text
    return datetime.datetime.fromisoformat(text[:-1] + "+00:00").timestamp()


def hits(daemon, id):
    row = daemon.rule("wan-in", id)
    return row["first_hit"], row["last_hit"]


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_hits_have_their_times(lab, hook):
    """A rule that was never met has no times. The first packet sets both, later ones the last alone, to the tick of
    the kernel's clock; both belong to the rule's name: they outlast an apply and a daemon, and a new rule in its
    place begins without. The default has times as well. Rules out times of the daemon's polling, and those of a
    counter slot."""
    host, peer = lab.quiet_pair()
    wire = lab.wire(peer, "to-wan0")
    daemon = lab.daemon(host)
    daemon.apply(POLICY % (hook, "here"))
    assert hits(daemon, "here") == (None, None) and daemon.rule("wan-in", "here")["last_hit_age_ms"] is None

    def meet(port, id):
        count = daemon.rule("wan-in", id)["packets"]
        before = time.time()
        wire.send(frames.udp_frame(PEER4, HOST4, port))
        wait_for(lambda: daemon.rule("wan-in", id)["packets"] == count + 1, "the frame")
        assert before - 0.02 <= moment(hits(daemon, id)[1]) <= time.time() + 0.02
        return hits(daemon, id)

    first, last = meet(7001, "here")
    assert first == last
    wait_for(lambda: time.time() > moment(first) + 0.05, "the clock")
    again = meet(7001, "here")
    assert close(again[0], first) and moment(again[1]) >= moment(last) + 0.03
    meet(9999, "default")
    daemon.apply(POLICY % (hook, "here") + "      - {id: more, proto: udp, dport: 7003, do: pass}\n")
    daemon.stop()
    daemon.start()
    kept = hits(daemon, "here")
    assert close(kept[0], again[0]) and close(kept[1], again[1])
    assert daemon.rule("wan-in", "here")["last_hit_age_ms"] < 60_000
    assert hits(daemon, "never") == (None, None)
    daemon.apply(POLICY % (hook, "other"))
    assert hits(daemon, "other") == (None, None)
    answer = daemon.cli("rules").stdout.splitlines()
    assert "LAST HIT" in answer[0] and next(row for row in answer if "default" in row).split()[-2] == "ago"


def close(a, b):
    """The wall clock is read anew each time: a millisecond may round the other way."""
    return abs(moment(a) - moment(b)) < 0.002


def test_drops_of_rules_that_are_gone_are_still_told(lab):
    """Two rules drop, then a policy without one of them is applied, and in the end one without both: what they dropped
    stays in the books of their chain, which add up. Rules out a list of drops that forgets."""
    host, peer = lab.quiet_pair()
    wire, daemon = lab.wire(peer, "to-wan0"), lab.daemon(host)
    policy = POLICY % ("tc", "here")
    one, two = (f"      - {{id: r{n}, proto: udp, dport: {9000 + n}, do: drop}}\n" for n in (1, 2))

    def send(count):
        for port in (9001, 9002, 9001):
            wire.send(frames.udp_frame(PEER4, HOST4, port))
        wait_for(lambda: daemon.chain("wan-in")["received_packets"] == count, "the frames")
        daemon.add_up("wan-in")
        return {row: packets for row, (packets, _) in daemon.drops("wan-in").items()}

    daemon.apply(policy + one + two)
    assert send(3) == {("rule", "r1"): 2, ("rule", "r2"): 1}
    daemon.apply(policy + two)
    assert send(6) == {("rule", None): 2, ("rule", "r2"): 2, ("default", "default"): 2}
    daemon.apply(policy)
    assert send(9) == {("rule", None): 4, ("default", "default"): 5}
