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

from lab import LONG, ROOT, wait_for
from lines import BANNED
from promises import promise

MESSAGES = 1_000_000 if LONG else 20_000
SENDERS = 4
SANITIZED = f"{ROOT}/build/san"
REPORTS = "Sanitizer:", "runtime error:"
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
    "set/add": {"set": "banned", "members": ["192.0.2.1"], "ttl_ms": 5000},
    "set/del": {"set": "banned", "members": ["192.0.2.0/24", "2001:db8::/32"]},
    "confirm": {"policy": None}, "rollback": {"to": 1},
}
# Behind a descriptor; a policy that is taken is the one that runs.
FILES = (BANNED.encode(), BANNED.replace("do: drop", "do: drip").encode(), b"192.0.2.1\n2001:db8::/32\n",
         b"\xff" * 5000, b"")
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


def banned(lab, **how):
    host, _ = lab.quiet_pair()
    daemon = lab.daemon(host, start=False)
    vars(daemon).update(how)
    daemon.start()
    daemon.apply(BANNED)
    # What is made once, when it is first asked for.
    daemon.ok("explain", "--at", "wan.ingress", "udp 192.0.2.1:1 > 192.0.2.2:2")
    daemon.ok("set", "add", "banned", "203.0.113.1")
    return daemon


@pytest.fixture
def daemon(lab):
    return banned(lab)


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


def file_of(content):
    fd = os.memfd_create("hostile")
    os.write(fd, content)
    return fd


def send_messages(daemon, seed, count, results):
    """So many, on many connections; gives how many descriptors went with them."""
    rng, sent, given = random.Random(seed), 0, 0
    files = [file_of(content) for content in FILES] + [os.open(path, os.O_RDONLY) for path in ("/dev/zero", "/")]
    while sent < count:
        with connect(daemon, rng.choice(["penstock.sock", "read.sock"])) as s, contextlib.suppress(OSError):
            if rng.random() < 0.1:
                passed = rng.choices(files, k=rng.choice([1, 1, 2, 30]))
                socket.send_fds(s, [b"\0"], passed)
                given += len(passed)
            for _ in range(min(rng.randrange(1, 12), count - sent)):
                sent += 1
                s.sendall(message(rng))
            if rng.random() < 0.3:
                s.settimeout(0.05)
                s.recv(65536)
    results.put(given)


def test_random_messages_harm_nobody(lab):
    """20 000 (10^6) random and mutated requests by four processes to a penstockd that was built with sanitizers, some
    of them one after the other on a connection, some with descriptors of policies, lists, devices and directories: no
    crash, no report, no change, no descriptor lost, and another client is served within a second, on both sockets.
    Rules out a parser that trusts, and a loop that is held up by one client."""
    if not os.access(f"{SANITIZED}/penstockd", os.X_OK):
        pytest.skip("no penstockd with sanitizers: make test-build")
    # The search for leaks at the end stops all threads by means that the daemon has given up by then.
    daemon = banned(lab, build=SANITIZED, environment=os.environ | {"ASAN_OPTIONS": "detect_leaks=0"})
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    before, results, started = descriptors(daemon), multiprocessing.SimpleQueue(), time.monotonic()
    senders = [multiprocessing.Process(target=send_messages, args=(daemon, seed + n, MESSAGES // SENDERS, results))
               for n in range(SENDERS)]
    with Served(daemon) as served:
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
    assert not any(sender.exitcode for sender in senders)
    took, given = time.monotonic() - started, sum(results.get() for _ in senders)
    served.verdict(f"{MESSAGES} messages")
    check_unharmed(daemon, before)
    assert daemon.stop() == 0 and not any(report in daemon.logged() for report in REPORTS), daemon.logged()[-3000:]
    promise("P33", "random messages at the sockets harm nobody",
            f"{MESSAGES:,} random and mutated messages by {SENDERS} clients at once to a penstockd with sanitizers",
            "no crash, no sanitizer report, others served in ≤ 1 s",
            f"0 crashes, 0 reports, {given:,} descriptors came and none is left, in {took:.0f} s; {served.count:,} "
            f"others served, the longest waited {served.longest * 1000:.0f} ms")


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
    promise("P33", "slow and deaf clients hold up nobody", "100 clients that send a byte each tenth of a second, 100 "
            "that do not read, then 1,000 that connect at once", "others served in ≤ 1 s", f"{served.count:,} others "
            f"served, the longest waited {served.longest * 1000:.0f} ms; at most {MOST} connections held")
