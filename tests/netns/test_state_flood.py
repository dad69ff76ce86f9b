# SPDX-License-Identifier: Apache-2.0
"""Floods of spoofed packets against established flows. PENSTOCK_LONG=1: five million SYNs."""
import select
import socket
import subprocess
import sys
import time

import pytest

import frames
from lab import BUILD, LONG, wait_for
from lines import FAR, HOST, PEER, asked, router, udp
from test_state_forward import WAN

CONNECTIONS, TALKS = 10_000, 200
SYNS = {"tc": 5_000_000, "xdp": 5_000_000} if LONG else {"tc": 400_000, "xdp": 200_000}
OTHERS = 2_000_000 if LONG else 200_000
SECONDS = 600 if LONG else 90
ALIVE = 0.999
COUNTED = 40.0  # seconds: the daemon counts in slices, and a pass that began too early must end first


OUTSIDE = """
import resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
listener = socket.create_server((sys.argv[1], 7001), backlog=512)
print("ready", flush=True)
ends = [listener.accept()[0] for _ in range(int(sys.argv[2]))]
while sys.stdin.readline():
    for end in ends:
        end.send(b"alive?")
"""


@pytest.fixture
def many_files(open_files):
    open_files(CONNECTIONS + 1000)


class Connections:
    """Many that the inside began. The outer ends are another process's: one may not have as many files open."""

    def __init__(self, lab, far, peer):
        self.outside = lab.spawn(peer, sys.executable, "-c", OUTSIDE, PEER[4], str(CONNECTIONS), stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)
        assert self.outside.stdout.readline() == "ready\n"
        self.inside = [lab.socket(far, socket.AF_INET, socket.SOCK_STREAM) for _ in range(CONNECTIONS)]
        for inside in self.inside:
            inside.connect((PEER[4], 7001))
        lab.closing += [self.outside.stdin, self.outside.stdout]

    def heard(self, limit=30.0):
        """How many inner ends hear what the outer ones say now; the outer ones first."""
        self.outside.stdin.write("say\n")
        self.outside.stdin.flush()
        silent, waiting = {}, select.poll()
        for inside in self.inside:
            silent[inside.fileno()] = inside
            waiting.register(inside.fileno(), select.POLLIN)
        end = time.monotonic() + limit
        while silent and time.monotonic() < end:
            for fd, _ in waiting.poll(100):
                assert silent.pop(fd).recv(100) == b"alive?"
                waiting.unregister(fd)
        return CONNECTIONS - len(silent)


def flood(lab, peer, count, kind, port):
    mac = ":".join(f"{b:02x}" for b in frames.HOST_MAC)
    answer = lab.run(peer, f"{BUILD}/tests/tools/flood", "to-wan0", mac, FAR[4], str(count), str(SECONDS), kind,
                     str(port), timeout=SECONDS + 30)
    assert int(answer.stdout) == count, answer


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_a_flood_evicts_no_flow(lab, hook, many_files):
    """10,000 idle TCP connections and some UDP ones through a router, then SYNs, datagrams and echo requests from
    everywhere to what rules pass, so that each makes an entry and is answered: at least 99.9 % of the flows go on
    although the outside speaks first, the memory is what it was, and the losses among the unanswered are counted
    and said. Rules out one table for all, least recently used, which loses every idle flow."""
    host, peer, far = router(lab)
    lab.ip(peer, f"route add {FAR[4]} via {HOST[4]}")
    lab.ip(peer, "route replace blackhole default")  # where the answers to the flood go
    lab.ip(host, f"route add default via {PEER[4]}")
    lab.run(far, "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0")
    daemon = lab.daemon(host)
    daemon.apply(WAN % hook + "      - {id: ping, proto: icmp, type: echo-request, do: pass}\n")
    connections = Connections(lab, far, peer)
    server = udp(lab, peer, PEER[4], 53)
    askers = [udp(lab, far, FAR[4]) for _ in range(TALKS)]
    assert all(asked(asker, server, (PEER[4], 53)) for asker in askers * 2)
    before = daemon.get("/v1/status")
    wait_for(lambda: daemon.get("/v1/status")["state"]["flows"]["used"] == CONNECTIONS + TALKS,
             lambda: f"{CONNECTIONS + TALKS} flows: {daemon.get('/v1/status')['state']}", limit=COUNTED)
    flood(lab, peer, SYNS[hook], "syn", 80)
    flood(lab, peer, OTHERS, "udp", 123)
    flood(lab, peer, OTHERS, "icmp", 0)
    after = daemon.get("/v1/status")
    assert daemon.rule("wan-in", "web")["packets"] >= SYNS[hook]
    assert after["memory_bytes"] == before["memory_bytes"]
    assert after["state"]["pending"]["lost_count"] > 0
    assert any(warning.startswith("unanswered flows") for warning in after["state"]["warnings"])
    assert connections.heard() >= ALIVE * CONNECTIONS
    for asker in askers:
        server.sendto(b"alive?", asker.getsockname())
    assert all(asker.recv(100) == b"alive?" for asker in askers)
    assert after["state"]["flows"]["full_count"] == 0
    daemon.add_up("wan-in")
