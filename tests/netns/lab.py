# SPDX-License-Identifier: Apache-2.0
"""A sandbox of network namespaces with a penstock of its own. Everything that a test makes here, by name
or by process id, is gone when it is closed, also when the test failed. The outside is not touched."""
import contextlib
import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import frames
import kernel

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
BUILD = os.path.abspath(os.path.join(ROOT, os.environ.get("PENSTOCK_BUILD", "build")))
DATA = os.environ.get("PENSTOCK_DATA", os.path.join(ROOT, "../shared/data"))
BPFFS = "/sys/fs/bpf/penstock"
ETH_P_ALL = 3
PACKET_OUTGOING = 4
SO_RCVBUFFORCE = 33
HOST4, PEER4 = "10.77.1.1", "10.77.1.2"
HOST6, PEER6 = "2001:db8:77::1", "2001:db8:77::2"
LONG = os.environ.get("PENSTOCK_LONG") == "1"
SLOW = float(os.environ.get("PENSTOCK_SLOW", "1"))  # how many times slower than others this machine is, at most


def wait_for(condition, what, limit=10.0, every=0.02):
    """The first true value of condition(). what: a text, or what makes one when it is too late."""
    limit *= SLOW
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {limit} s for {what() if callable(what) else what}"
        time.sleep(every)


class Answer:
    """What a command said."""

    def __init__(self, exit, stdout, stderr):
        self.exit, self.stdout, self.stderr = exit, stdout, stderr

    @property
    def json(self):
        return json.loads(self.stdout)

    def __repr__(self):
        return f"exit {self.exit}\n{self.stdout}{self.stderr}"


class Unix(http.client.HTTPConnection):
    """HTTP over a unix socket: the daemon without the command line."""

    def __init__(self, path):
        super().__init__("penstock", timeout=20)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self.path)


class Daemon:
    def __init__(self, lab, ns, name, options):
        self.lab, self.ns, self.instance = lab, ns, name
        self.run_dir, self.state_dir = f"{lab.dir}/run-{name}", f"{lab.dir}/state-{name}"
        self.pin_dir = f"{BPFFS}/{name}"
        self.options = options
        self.log = f"{lab.dir}/{name}.log"
        self.build = BUILD  # of the daemon alone
        self.environment = None  # of the daemon, when it is not that of the tests
        self.process = None
        self.api = None

    def spawn(self, *more):
        with open(self.log, "ab") as log:
            self.process = self.lab.spawn(
                self.ns, f"{self.build}/penstockd", "--foreground", "--instance", self.instance, "--run-dir",
                self.run_dir, "--state-dir", self.state_dir, *self.options, *more, stderr=log,
                env=self.environment)

    def start(self, *more, limit=10.0):
        self.spawn(*more)
        wait_for(self._answers, "the daemon to answer", limit)
        return self

    def _answers(self):
        assert self.process.poll() is None, f"penstockd ended with {self.process.returncode}: {self.logged()}"
        return self.cli("status").exit == 0

    def logged(self):
        with open(self.log, encoding="utf-8") as f:
            return f.read()

    def stop(self, signal_number=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal_number)
            self.process.wait(20)
        if self.api:
            self.api.close()
        return self.process.returncode

    def cli(self, *arguments, **how):
        return self.lab.run(self.ns, f"{BUILD}/penstock", "--instance", self.instance, "--run-dir",
                            self.run_dir, *arguments, **how)

    def ok(self, *arguments):
        """The JSON of a command that must succeed."""
        answer = self.cli(*arguments, "--json")
        assert answer.exit == 0, f"penstock {arguments}: {answer}\n{self.logged()}"
        return answer.json

    def apply(self, text, name="policy.yaml"):
        return self.ok("apply", self.lab.write(name, text))

    def request(self, method, path, body=None, socket_name="penstock.sock"):
        """(status, json), on a connection of its own."""
        connection = Unix(f"{self.run_dir}/{socket_name}")
        try:
            with contextlib.suppress(BrokenPipeError):  # refused by its head alone, before the body was sent
                connection.request(method, path, body=body)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def get(self, path):
        """The same for many reads: one connection, a new one when the daemon closed it for being idle."""
        for last in False, True:
            self.api = self.api or Unix(f"{self.run_dir}/penstock.sock")
            try:
                self.api.request("GET", path)
                return json.loads(self.api.getresponse().read())
            except (BrokenPipeError, ConnectionResetError, http.client.HTTPException):
                self.api = self.api.close()
                if last:
                    raise
        return None

    def chain(self, name):
        return next(c for c in self.get("/v1/status")["chains"] if c["chain"] == name)

    def rule(self, chain, id):
        return next(r for r in self.get("/v1/rules")["rules"] if (r["chain"], r["id"]) == (chain, id))

    def drops(self, chain):
        """{(reason, rule): (packets, bytes)}"""
        return {(d["reason"], d["rule"]): (d["packets"], d["bytes"])
                for d in self.get("/v1/drops")["drops"] if d["chain"] == chain}

    def attached(self, dev, direction="ingress"):
        return next((a for a in self.get("/v1/status")["attached"]
                     if (a["dev"], a["dir"]) == (dev, direction)), None)

    def add_up(self, chain):
        """Received = passed + sum of the drops, in packets and in bytes; gives the chain's row."""
        row, drops = self.chain(chain), self.drops(chain).values()
        for unit, column in ("packets", 0), ("bytes", 1):
            dropped = sum(d[column] for d in drops)
            assert row["received_" + unit] == row["passed_" + unit] + dropped
            assert dropped == row["dropped_" + unit]
        return row


class Wire:
    """A raw socket on a device: frames as they are."""

    def __init__(self, ns, dev, receive=False):
        with kernel.namespace(ns):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                                        socket.htons(ETH_P_ALL) if receive else 0)
            self.socket.bind((dev, ETH_P_ALL if receive else 0))
        self.socket.settimeout(5)

    def send(self, frame):
        self.socket.send(frame)

    def received(self, wanted, limit=2.0):
        """The first frame from the other side that wanted() likes, else None."""
        end = time.monotonic() + limit
        while select.select([self.socket], [], [], max(0, end - time.monotonic()))[0]:
            frame, address = self.socket.recvfrom(65535)
            if address[2] != PACKET_OUTGOING and wanted(frame):
                return frame
        return None

    def close(self):
        self.socket.close()


class Lab:
    def __init__(self, name=""):
        self.id = f"pn{os.getpid()}{name}"
        self.dir = tempfile.mkdtemp(prefix="penstock-netns.")
        os.chmod(self.dir, 0o755)  # nginx serves from here as another user
        self.namespaces, self.daemons, self.processes, self.closing = [], [], [], []

    # ---- namespaces and devices

    def namespace(self, name):
        """Gives its full name. No router, no address by itself, no reverse path check. Reports of joined groups are
        repeated at once, not within a second: no test that counts frames meets one long after the setup."""
        full = f"{self.id}-{name}"
        self.sh("ip", "netns", "add", full)
        self.namespaces.append(full)
        self.run(full, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
                 "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.router_solicitations=0",
                 "net.ipv6.conf.default.addr_gen_mode=1", "net.ipv6.conf.default.mldv2_unsolicited_report_interval=1",
                 "net.ipv4.ip_forward=1",
                 "net.ipv6.conf.all.forwarding=1")
        self.ip(full, "link set lo up")
        return full

    def ip(self, ns, words, check=True):
        answer = self.run(ns, "ip", *words.split())
        assert not check or answer.exit == 0, f"ip {words}: {answer}"
        return answer

    def rename(self, ns, dev, name):
        """While the device is up, where the kernel lets it be."""
        if self.ip(ns, f"link set {dev} name {name}", check=False).exit == 0:
            return
        self.ip(ns, f"link set {dev} down")
        self.ip(ns, f"link set {dev} name {name} up")

    def veth(self, ns, dev, peer_ns, peer_dev, up=True):
        """A pair with fixed addresses: ns has HOST_MAC, the other side PEER_MAC."""
        mac = [":".join(f"{b:02x}" for b in m) for m in (frames.HOST_MAC, frames.PEER_MAC)]
        self.sh("ip", "link", "add", dev, "address", mac[0], "netns", ns, "type", "veth", "peer", "name", peer_dev,
                "address", mac[1], "netns", peer_ns)
        for where, name in (ns, dev), (peer_ns, peer_dev):
            self.ip(where, f"link set {name} up" if up else f"link set {name} down")

    def quiet_pair(self, dev="wan0"):
        """A host that has addresses and a peer that says nothing by itself: every frame on the wire
        towards the host is one that the test sent. Gives the names of both namespaces."""
        host, peer = self.namespace("host"), self.namespace("peer")
        self.quiet_veth(host, peer, dev)
        self.ip(host, f"addr add {HOST4}/24 dev {dev}")
        self.ip(host, f"addr add {HOST6}/64 dev {dev} nodad")
        return host, peer

    def quiet_veth(self, host, peer, dev):
        self.run(peer, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        self.veth(host, dev, peer, "to-" + dev)
        self.ip(peer, f"link set to-{dev} arp off")

    def talking_pair(self, dev="wan0", n=1):
        """A host and a peer with addresses of both families that can talk to each other."""
        host, peer = self.namespace("host"), self.namespace("peer")
        self.veth(host, dev, peer, "to-" + dev)
        self.address_pair(host, dev, peer, n)
        return host, peer

    def address_pair(self, host, dev, peer, n):
        for where, name, last in (host, dev, 1), (peer, "to-" + dev, 2):
            self.ip(where, f"addr add 10.77.{n}.{last}/24 dev {name}")
            self.ip(where, f"addr add 2001:db8:77:{n}::{last}/64 dev {name} nodad")

    # ---- processes

    def sh(self, *command):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def run(self, ns, *command, timeout=60, stdin=None):
        done = subprocess.run(("nsenter", f"--net=/run/netns/{ns}", *command), capture_output=True, text=True,
                              timeout=timeout, input=stdin)
        return Answer(done.returncode, done.stdout, done.stderr)

    def spawn(self, ns, *command, **how):
        """nsenter becomes the command: the process id is the command's."""
        how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | how
        process = subprocess.Popen(("nsenter", f"--net=/run/netns/{ns}", *command), **how)
        self.processes.append(process)
        return process

    def daemon(self, ns, *options, name=None, start=True):
        daemon = Daemon(self, ns, f"{self.id}{name or ''}", options)
        self.daemons.append(daemon)
        return daemon.start() if start else daemon

    # ---- files and sockets

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def wire(self, ns, dev, receive=False):
        wire = Wire(ns, dev, receive)
        self.closing.append(wire)
        return wire

    def socket(self, ns, family, kind, proto=0):
        with kernel.namespace(ns):
            made = socket.socket(family, kind, proto)
        made.settimeout(5 * SLOW)
        self.closing.append(made)
        return made

    def udp_sink(self, ns, port):
        """A socket for datagrams of both families with room for thousands."""
        sink = self.socket(ns, socket.AF_INET6, socket.SOCK_DGRAM)
        sink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        sink.bind(("::", port))
        return sink

    def counters(self, daemon):
        counters = kernel.ChainCounters(daemon.pin_dir)
        self.closing.append(counters)
        return counters

    def close(self):
        """Last made, first undone; what fails on the way does not keep the rest."""
        with contextlib.ExitStack() as undo:
            undo.callback(shutil.rmtree, self.dir, ignore_errors=True)
            undo.callback(self.remove_pins)
            for ns in self.namespaces:
                undo.callback(subprocess.run, ("ip", "netns", "del", ns), check=False)
            for process in self.processes:
                undo.callback(end, process)
            for thing in self.closing:
                undo.callback(thing.close)

    def remove_pins(self):
        for name in {self.id} | {daemon.instance for daemon in self.daemons}:
            shutil.rmtree(f"{BPFFS}/{name}", ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(BPFFS)  # only when nobody else's pins are there


def end(process):
    if process.poll() is None:
        process.kill()
    process.wait()


def datagrams(sink):
    """What waits in the socket's queue."""
    got = []
    while select.select([sink], [], [], 0)[0]:
        got.append(sink.recv(65535))
    return got


class Echo:
    """A TCP server of both families that gives back what it gets, until the lab closes it."""

    def __init__(self, lab, ns, port):
        self.listener = lab.socket(ns, socket.AF_INET6, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("::", port))
        self.listener.listen(16)
        self.listener.settimeout(0.2)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        lab.closing.append(self)

    def run(self):
        while not self.over.is_set():
            try:
                connection, _ = self.listener.accept()
                connection.settimeout(5)
                with connection:
                    connection.sendall(connection.recv(65535))
            except OSError:
                pass  # nobody came, or they went away

    def close(self):
        self.over.set()
        self.thread.join()


def echoed(lab, ns, address, port, source=None, limit=5.0):
    """True when a real TCP connection carries data there and back in time."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    client = lab.socket(ns, family, socket.SOCK_STREAM)
    client.settimeout(limit)
    try:
        if source:
            client.bind((source, 0))
        client.connect((address, port))
        client.sendall(b"hello")
        return client.recv(100) == b"hello"
    except OSError:
        return False
    finally:
        client.close()


def ping(lab, ns, address, limit=5.0):
    """One echo request; true when its reply comes in time."""
    six = ":" in address
    family, proto = (socket.AF_INET6, frames.ICMP6) if six else (socket.AF_INET, frames.ICMP)
    raw = lab.socket(ns, family, socket.SOCK_RAW, proto)
    raw.sendto(frames.icmp(128 if six else 8, 0, b"penstock"), (address, 0))  # the kernel fills in ICMPv6's checksum
    end = time.monotonic() + limit
    while select.select([raw], [], [], max(0, end - time.monotonic()))[0]:
        data, source = raw.recvfrom(1500)
        head = data if six else data[20:]
        if source[0] == address and head[0] == (129 if six else 0) and head[8:] == b"penstock":
            return True
    return False
