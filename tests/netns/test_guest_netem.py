# SPDX-License-Identifier: Apache-2.0
"""A bad line: what is lost, comes twice or in another order breaks no connection, and is counted as it came."""
import hashlib
import os
import threading

import pytest

from lab import datagrams, wait_for
from lines import HOST, PEER, Line, asked, udp

pytestmark = [pytest.mark.guest, pytest.mark.needs("netem")]
BAD_LINE = "delay 4ms 3ms loss 4% duplicate 6% reorder 20% 50%"
BYTES = 60_000
STATEFUL = """version: 1
attach:
  wan: {dev: wan0, hook: %s}
filter:
  line-in:
    at: wan.ingress
    default: drop
    rules:
      - {id: established, state: established, do: pass}
      - {id: web, proto: tcp, dport: 8080, do: pass}
      - {id: dns, proto: udp, dport: 53, do: pass}
      - {id: neighbours, proto: icmp6, do: pass}
"""


def bad_line(shared):
    """In both directions, and without segments that the kernel joins: a packet is a frame is a count."""
    for ns, dev in (shared.host, "wan0"), (shared.peer, "to-wan0"):
        answer = shared.lab.run(ns, "ethtool", "-K", dev, "tso", "off", "gso", "off", "gro", "off")
        assert answer.exit == 0, answer
        answer = shared.lab.run(ns, "tc", "qdisc", "add", "dev", dev, "root", "netem", *BAD_LINE.split())
        assert answer.exit == 0, answer


class Stream:
    """Random bytes from one end of a connection to the other."""

    def __init__(self, sender, receiver):
        self.sender, self.receiver, self.data = sender, receiver, os.urandom(BYTES)
        self.sender.settimeout(100)
        self.receiver.settimeout(100)
        self.digest, self.threads = hashlib.sha256(), [threading.Thread(target=f) for f in (self._send, self._receive)]
        for thread in self.threads:
            thread.start()

    def _send(self):
        self.sender.sendall(self.data)

    def _receive(self):
        left = BYTES
        while left:
            got = self.receiver.recv(min(left, 65536))
            if not got:
                return
            left -= len(got)
            self.digest.update(got)

    def whole(self):
        for thread in self.threads:
            thread.join(110)
        return self.digest.digest() == hashlib.sha256(self.data).digest()


def came_in(shared, dev="wan0"):
    """Packets, as the device has counted them."""
    rows = shared.lab.run(shared.host, "cat", "/proc/self/net/dev").stdout
    return int(next(line for line in rows.splitlines() if line.strip().startswith(dev + ":")).split()[2])


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_a_bad_line_breaks_nothing(shared, hook):
    """Connections of both families that either side began, and conversations without one, over a line that loses, repeats
    and reorders: all bytes arrive as they were, nothing of them is dropped, and as many packets are counted as the device
    took in. Rules out state that goes with the first packet out of turn, and a repeated packet that is counted once or as
    another's."""
    shared.pair(quiet=False)
    bad_line(shared)
    shared.daemon.apply(STATEFUL % hook)
    seen, before, established = came_in(shared), shared.daemon.chain("line-in"), shared.counts("line-in", "established")
    received = lambda: shared.daemon.chain("line-in")["received_packets"] - before["received_packets"]  # noqa: E731
    lines = [Line(shared.lab, shared.peer, shared.host, HOST[4], 8080),
             Line(shared.lab, shared.host, shared.peer, PEER[6], 8081)]
    streams = [Stream(*pair) for line in lines for pair in ((line.client, line.server), (line.server, line.client))]
    server, client = udp(shared.lab, shared.host, HOST[4], 53), udp(shared.lab, shared.peer, PEER[4])

    def answered():
        for end in server, client:
            datagrams(end)  # what was repeated, of the conversation before
        return asked(client, server, (HOST[4], 53), limit=0.5)

    for _ in range(5):
        wait_for(answered, "an answer")
    assert all(stream.whole() for stream in streams)
    assert shared.daemon.chain("line-in")["dropped_packets"] == before["dropped_packets"], shared.daemon.drops("line-in")
    assert established()[0] > 2 * BYTES // 1500
    wait_for(lambda: came_in(shared) - seen == received(), lambda: f"device {came_in(shared) - seen}, chain {received()}")
    shared.add_up("line-in")
