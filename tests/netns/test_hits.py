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
