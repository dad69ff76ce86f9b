# SPDX-License-Identifier: Apache-2.0
"""Clients that mean no good, at the sockets of a live daemon, while another one is served."""
import contextlib
import http.client
import json
import multiprocessing
import os
import random
import socket
import time

import pytest

from lab import LONG, wait_for
from lines import BANNED

MESSAGES = 1000000 if LONG else 10000
# Connects a thousand times at once and says nothing, or next to nothing.
MANY = """import socket, sys, time
clients = [socket.socket(socket.AF_UNIX) for _ in range(1000)]
for n, client in enumerate(clients):
    client.connect(sys.argv[1])
    if n % 7 == 0:
        try:
            client.send(b"G")
        except OSError:
            pass
time.sleep(1)"""
MOST = 64 + 64 + 32 + 16  # connections, those on their way out, those that wait; and Served's own
READS = ["version", "status", "rules", "drops", "sets", "policy", "doctor"]
BODIES = {
    "apply": {"file": "p.yaml", "dir": "/", "paths": []},
    "check": {"file": "p.yaml", "dir": "/", "paths": ["a.txt"]},
    "explain": {"at": "wan.ingress", "frames": ["ff" * 60]},
    "attach": {"dev": "none0", "zone": "wan"},
    "detach": {"dev": "none0"},
    "set/list": {"set": "banned", "limit": 10},
    "set/add": {"set": "none", "members": ["192.0.2.1"], "ttl_seconds": 5},
    "set/del": {"set": "none", "members": ["192.0.2.0/24", "2001:db8::/32"]},
}
JUNK = [b"\0", b"\r\n", b"\xff\xfe", b"{", b"[" * 200, b'"', b"%00", b"Content-Length: 99999999999\r\n", b"..", b" ",
        b"Transfer-Encoding: chunked\r\n", b"-1", b"9" * 30, b"Expect: 100-continue\r\n", b"\\ud800", b"null", b"1e999"]


def well_formed(rng):
    if rng.random() < 0.3:
        return f"GET /v1/{rng.choice(READS)} HTTP/1.1\r\nHost: p\r\n\r\n".encode()
    name = rng.choice(list(BODIES))
    body = dict(BODIES[name])
    if rng.random() < 0.5:
        body[rng.choice(list(body))] = rng.choice([None, -1, 2**70, "", "x" * 3000, [], [[]], {}, True, [None] * 50])
    body = json.dumps(body).encode()
    return f"POST /v1/{name} HTTP/1.1\r\nHost: p\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def message(rng):
    """Well formed, mutated, or noise."""
    kind = rng.random()
    if kind < 0.05:
        return rng.randbytes(rng.randrange(1, 2000))
    data = bytearray(well_formed(rng))
    for _ in range(rng.randrange(0, 5) if kind < 0.8 else 0):
        at = rng.randrange(len(data) + 1)
        how = rng.randrange(4)
        if how == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            data[at:at] = rng.choice(JUNK)
        elif how == 2:
            del data[at:at + rng.randrange(1, 20)]
        else:
            data = data[:at]
    return bytes(data) or b"\0"


class Served:
    """A process that asks again and again, on a connection of its own each time, and keeps the longest wait."""

    def __init__(self, daemon):
        self.daemon, self.count, self.longest, self.failed = daemon, 0, 0.0, []
        self.over, self.results = multiprocessing.Event(), multiprocessing.SimpleQueue()
        self.process = multiprocessing.Process(target=self.run)

    def ask(self, name):
        try:
            status = self.daemon.request("GET", "/v1/version", socket_name=name)[0]
        except (OSError, http.client.HTTPException, ValueError) as e:
            status = repr(e)
        if status != 200:
            self.failed.append(status)

    def run(self):
        while not self.over.is_set():
            for name in "penstock.sock", "read.sock":
                start = time.monotonic()
                self.ask(name)
                self.longest = max(self.longest, time.monotonic() - start)
                self.count += 1
            time.sleep(0.02)
        self.results.put((self.count, self.longest, self.failed))

    def __enter__(self):
        self.process.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.count, self.longest, self.failed = self.results.get()
        self.process.join()

    def verdict(self, what):
        print(f"{what}: {self.count} others served, the longest waited {self.longest * 1000:.0f} ms")
        assert not self.failed and self.count > 5 and self.longest <= 1.0, (self.count, self.longest, self.failed[:3])


@pytest.fixture
def daemon(lab):
    host, _ = lab.quiet_pair()
    daemon = lab.daemon(host)
    daemon.apply(BANNED)
    daemon.ok("explain", "--at", "wan.ingress", "udp 192.0.2.1:1 > 192.0.2.2:2")  # loads its programs once
    return daemon


def connect(daemon, name="read.sock"):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(5)
    s.connect(f"{daemon.run_dir}/{name}")
    return s


def descriptors(daemon):
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))


def check_unharmed(daemon, before):
    assert daemon.process.poll() is None, daemon.logged()[-2000:]
    status = daemon.ok("status")
    assert status["policy"]["generation"] == 1 and daemon.attached("wan0")
    daemon.api = daemon.api.close()
    wait_for(lambda: descriptors(daemon) <= before, lambda: f"{descriptors(daemon)} descriptors, {before} before")


def test_random_messages_harm_nobody(daemon):
    """10^4 (10^6) random and mutated requests, some of them one after the other on a connection, some with a
    descriptor: no crash, no change, no descriptor lost, and another client is served within a second, on both
    sockets. Rules out a parser that trusts, and a loop that is held up by one client."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    before, sent = descriptors(daemon), 0
    with Served(daemon) as served, open("/dev/null", "rb") as null:
        while sent < MESSAGES:
            with connect(daemon, rng.choice(["penstock.sock", "read.sock"])) as s, contextlib.suppress(OSError):
                if rng.random() < 0.1:
                    socket.send_fds(s, [b"\0"], [null.fileno()])
                for _ in range(rng.randrange(1, 12)):
                    sent += 1
                    s.sendall(message(rng))
                if rng.random() < 0.3:
                    s.settimeout(0.05)
                    s.recv(65536)
    served.verdict(f"{sent} messages")
    check_unharmed(daemon, before)


def test_slow_and_many_clients_hold_up_nobody(lab, daemon):
    """A hundred clients that send a byte each tenth of a second and a hundred that do not read what they asked for,
    then a thousand that connect at once and say next to nothing: another process is served within a second, and the
    daemon holds no more of them than it says. Rules out limits that the first comers keep for themselves."""
    before = descriptors(daemon)
    with Served(daemon) as served, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(daemon)) for _ in range(100)]
        deaf = [stack.enter_context(connect(daemon)) for _ in range(100)]
        for s in deaf:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            with contextlib.suppress(OSError):
                s.sendall(b"GET /v1/status HTTP/1.1\r\nHost: p\r\n\r\n" * 50)
        for byte in b"GET /v1/status HTTP/1.1\r\nHos":
            for s in slow:
                with contextlib.suppress(OSError):
                    s.send(bytes([byte]))
            time.sleep(0.1)
        assert descriptors(daemon) <= before + MOST
        many = lab.spawn(daemon.ns, "/usr/bin/python3", "-c", MANY, f"{daemon.run_dir}/read.sock")
        assert many.wait(20) == 0
        assert descriptors(daemon) <= before + MOST
    served.verdict("slow clients")
    check_unharmed(daemon, before)
