# SPDX-License-Identifier: Apache-2.0
"""A policy changes under traffic, or does not change at all."""
import glob
import os
import shutil
import signal
import threading
import time

import pytest

import frames
import kernel
from lab import BPFFS, DATA, LONG, ROOT, datagrams, wait_for
from promises import promise

APPLIES = 100
SECONDS = 60 if LONG else 20
DENIED_PORT, ALLOWED_PORT = 7001, 7002
SERVER = "10.77.9.2"
LISTED = "203.0.113.66"

POLICY = """version: 1
attach:
  wan: {dev: [wan0, bad0], hook: %(hook)s}
  lan: {dev: lan0}
sets:
  blocklist: {file: %(list)s}
filter:
  wan-in:
    at: wan.ingress
    default: drop
    rules:
      - {id: extra, from: 203.0.113.66, do: drop}
      - {id: blocklist, from: $blocklist, do: drop}
      - {id: web, proto: tcp, dport: [80, 443%(more)s], do: pass}
      - {id: allowed, proto: udp, dport: 7002, do: pass}
  lan-in:
    at: lan.ingress
    default: drop
    rules:
      - {id: replies, proto: tcp, sport: 80, do: pass}
"""


def site(lab):
    """A client and an attacker, a host between them and a web server."""
    client, attacker, host, server = (lab.namespace(n) for n in ("client", "attacker", "host", "server"))
    for dev, where, n in ("wan0", client, 7), ("bad0", attacker, 8), ("lan0", server, 9):
        lab.veth(host, dev, where, "to-" + dev)
        lab.address_pair(host, dev, where, n)
        lab.ip(where, f"route add default via 10.77.{n}.1")
    # Nothing but the test's own frames: multicast reports would drop by default and be counted.
    for ns, dev in (host, "wan0"), (host, "bad0"), (client, "to-wan0"), (attacker, "to-bad0"):
        lab.run(ns, "sysctl", "-qw", f"net.ipv6.conf.{dev}.disable_ipv6=1")
    return client, attacker, host, server


def web_server(lab, ns):
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if not nginx:
        pytest.skip("nginx is not installed: make deps")
    lab.write("www/index.html", "hello through penstock\n")
    config = lab.write("nginx.conf", f"""daemon off; master_process off; pid {lab.dir}/nginx.pid; error_log {lab.dir}/nginx.log;
        worker_processes 1; events {{ worker_connections 512; }}
        http {{ access_log off; client_body_temp_path {lab.dir}/t; proxy_temp_path {lab.dir}/t;
          fastcgi_temp_path {lab.dir}/t; uwsgi_temp_path {lab.dir}/t; scgi_temp_path {lab.dir}/t;
          server {{ listen 80; root {lab.dir}/www; location /post {{ return 204; }} }} }}""")
    lab.spawn(ns, nginx, "-c", config, "-e", f"{lab.dir}/nginx.log")
    wait_for(lambda: lab.run(ns, "curl", "-s", "-o", "/dev/null", f"http://{SERVER}/").exit == 0, "nginx")


class Requests:
    """curl in a loop, a connection a request, no retries: what failed has failed."""
    LOOP = """while [ ! -e "$1" ]; do
        curl -sS -o /dev/null --max-time 5 "$2" 2>> "$1.errors" && echo ok || echo failed
    done"""

    def __init__(self, lab, ns):
        self.end = f"{lab.dir}/requests-over"
        self.output = open(f"{lab.dir}/requests", "w", encoding="utf-8")
        lab.closing.append(self.output)
        self.process = lab.spawn(ns, "sh", "-c", self.LOOP, "sh", self.end, f"http://{SERVER}/", stdout=self.output)

    def made(self):
        with open(self.output.name, encoding="utf-8") as f:
            return f.read().count("\n")

    def stop(self):
        """(made, failed)"""
        open(self.end, "w").close()
        self.process.wait(20)
        with open(self.output.name, encoding="utf-8") as f:
            said = f.read().split()
        return len(said), said.count("failed")

    def errors(self):
        with open(self.end + ".errors", encoding="utf-8") as f:
            return f.read()


class Attacker:
    """Sends, without a pause, frames that no policy of the test lets through, to a port where somebody
    would hear them."""

    def __init__(self, lab, ns):
        self.wire = lab.wire(ns, "to-bad0")
        self.sent, self.over = 0, threading.Event()
        self.frames = [frames.udp_frame(*flow, b"denied") for flow in (
            ("198.51.100.9", SERVER, DENIED_PORT), (LISTED, SERVER, DENIED_PORT), (LISTED, SERVER, ALLOWED_PORT))]
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        lab.closing.append(self)

    def by_rule(self):
        return {("default", "default"): -(-self.sent // 3), ("rule", "extra"): self.sent - -(-self.sent // 3)}

    def run(self):
        while not self.over.is_set():
            self.wire.send(self.frames[self.sent % len(self.frames)])
            self.sent += 1
            time.sleep(0.0005)  # a few thousand a second leave the processors to the others

    def close(self):
        self.over.set()
        self.thread.join()


@pytest.fixture
def busy_site(lab, request):
    """The site with a server, two policies, and a list that differs between them."""
    client, attacker, host, server = site(lab)
    web_server(lab, server)
    daemon = lab.daemon(host)
    feed = f"{DATA}/blocklists/ipsum.txt"
    lines = [f"100.{a}.{b}.{c}\n" for a in range(64, 72) for b in range(60) for c in range(1, 251)]
    if os.access(feed, os.R_OK):
        with open(feed, encoding="utf-8") as f:
            lines = f.readlines()
    else:
        print(f"no {DATA}: a generated list of the same size instead")
    policies = []
    for name, more, members in ("one", "", lines), ("two", ", 8080", lines[:len(lines) // 2]):
        lab.write(f"{name}.txt", "".join(members))
        text = POLICY % {"hook": request.param, "list": f"{name}.txt", "more": more}
        policies.append(lab.write(f"{name}.yaml", text))
    daemon.ok("apply", policies[0])
    return lab, daemon, policies, (client, attacker, server), request.param, len(lines)


def hears_nothing_denied(sinks):
    heard = {port: datagrams(sink) for port, sink in sinks.items()}
    assert not heard[DENIED_PORT]
    assert b"denied" not in heard[ALLOWED_PORT]
    return heard[ALLOWED_PORT]


def allowed_passes(lab, attacker, sinks, daemon, text):
    """The way to the server is open, but for the policy: else the test would show nothing."""
    wire = lab.wire(attacker, "to-bad0")
    wire.send(frames.udp_frame("198.51.100.9", SERVER, ALLOWED_PORT, text))
    wait_for(lambda: text in hears_nothing_denied(sinks), "an allowed datagram to arrive")


@pytest.mark.parametrize("busy_site", ["tc", "xdp"], indirect=True)
def test_changes_under_traffic_cost_no_request_and_let_nothing_in(busy_site):
    """100 alternating applies and a SIGKILL of the daemon in their midst, while curl asks in a loop and an
    attacker sends without a pause: no request fails, no denied frame arrives, no frame is without its
    reason. Rules out an apply that detaches and attaches, one that empties a set before it fills it, a
    default that shows between two tables, and enforcement that ends with the daemon."""
    lab, daemon, policies, (client, attacker, server), hook, members = busy_site
    sinks = {port: lab.udp_sink(server, port) for port in (DENIED_PORT, ALLOWED_PORT)}
    allowed_passes(lab, attacker, sinks, daemon, b"before")
    requests, sender = Requests(lab, client), Attacker(lab, attacker)
    wait_for(lambda: requests.made() > 5, "the first requests")
    started, generations, dead_for = time.monotonic(), [], 0
    for i in range(APPLIES):
        if i == APPLIES // 2:
            dead_for = self_made_accident(daemon, requests)
        generations.append(daemon.ok("apply", policies[(i + 1) % 2])["policy"]["generation"])
        wait_for(lambda: time.monotonic() - started >= (i + 1) * SECONDS / APPLIES, "the next apply's time", 60, 0.005)
    made, failed = requests.stop()
    sender.close()
    assert failed == 0, requests.errors()
    hears_nothing_denied(sinks)
    allowed_passes(lab, attacker, sinks, daemon, b"after")
    assert generations == list(range(2, APPLIES + 2))
    row = daemon.add_up("wan-in")
    drops = daemon.drops("wan-in")
    assert {k: v[0] for k, v in drops.items()} == sender.by_rule(), drops
    promise("P35 P1", f"changes cost no request and let nothing in, at {hook.upper()}",
            f"{APPLIES} applies of a policy with a list of {members:,} in {SECONDS} s and a SIGKILL in their midst, curl in a "
            "loop, an attacker without a pause", "requests failed 0; denied frames arrived 0; every frame accounted",
            f"{made:,} requests, {failed} failed; {sender.sent:,} denied frames sent, 0 arrived; "
            f"{row['received_packets']:,} frames accounted; no daemon for {dead_for:.1f} s")


def self_made_accident(daemon, requests):
    daemon.stop(signal.SIGKILL)
    died, made = time.monotonic(), requests.made()
    wait_for(lambda: requests.made() > made + 50, "requests without a daemon")
    assert daemon.cli("status").exit == 3
    daemon.start()
    return time.monotonic() - died


SMALL = """version: 1
attach:
  wan: {dev: wan0, hook: tc}
sets:
  bad: {items: [203.0.113.0/24]}
filter:
  wan-in:
    at: wan.ingress
    default: drop
    rules:
      - {id: bad, from: $bad, do: drop}
      - {id: web, proto: tcp, dport: %s, do: pass}
"""
TUPLES = ("tcp 198.51.100.7:40000 > 10.77.1.1:80 syn", "tcp 203.0.113.7:40000 > 10.77.1.1:80 syn",
          "tcp 198.51.100.7:40000 > 10.77.1.1:81 syn")


def everything(daemon):
    """What runs, by every way of asking; not the time that explain took."""
    said = [daemon.ok("explain", "--at", "wan.ingress", t) for t in TUPLES]
    for row in said:
        row.pop("cost_ns")
    status = daemon.ok("status")
    return [status["policy"], status["attached"], daemon.ok("rules"), daemon.ok("sets"), said, daemon.get("/v1/policy"),
            *kernel.tables(daemon.pin_dir)]


def no_way_in(lab, host):
    """A policy that compiles and cannot be attached: the place at XDP is somebody else's."""
    lab.ip(host, "link add foreign0 type veth peer name foreign1")
    pin = f"{BPFFS}/{lab.id}/foreign"
    kernel.pin_foreign(pin)
    lab.ip(host, f"link set dev foreign0 xdpdrv pinned {pin}")
    return SMALL.replace("wan0, hook: tc", "foreign0, hook: xdp") % 80


def test_a_refused_policy_changes_nothing(lab):
    """Whatever is wrong with it (its text, a set file, a key of a later version, a size, the place on a
    device), exit 1, and generation, digest, rules, explain and each byte of the kernel's tables are what
    they were. Rules out a refusal after half of the work."""
    host, _ = lab.quiet_pair()
    daemon = lab.daemon(host)
    daemon.apply(SMALL % 80)
    daemon.apply(SMALL % 443)  # so that either bank holds one
    before = everything(daemon)
    lab.write("feed.txt", "203.0.113.1\n203.0.113.999\n")
    bad = {
        "unknown key": (SMALL % 80).replace("dport", "dprot"), "port": SMALL % 70000, "no YAML": "filter: {",
        "set file": (SMALL % 80).replace("{items: [203.0.113.0/24]}", "{file: feed.txt}"),
        "no set file": (SMALL % 80).replace("{items: [203.0.113.0/24]}", "{file: none.txt}"),
        "over max": (SMALL % 80).replace("{items: [203.0.113.0/24]}", "{items: [192.0.2.1, 192.0.2.9], max: 1}"),
        "not yet": SMALL % 80 + "telemetry:\n  http: {ports: auto}\n",
        "too many audit rules": SMALL % 80 + "".join(
            f"      - {{id: r{i}, proto: tcp, dport: {i}, do: pass, mode: audit}}\n" for i in range(1000, 1600)),
    }
    for what, text in bad.items():
        answer = daemon.cli("apply", lab.write("bad.yaml", text), "--json")
        assert answer.exit == 1, f"{what}: {answer}"
        assert everything(daemon) == before, what
    answer = daemon.cli("apply", lab.write("bad.yaml", no_way_in(lab, host)))
    assert (answer.exit, "foreign0" in answer.stderr) == (1, True), answer
    assert everything(daemon)[:-1] == before[:-1]  # the next bank was written, and is not in force


def test_the_same_policy_again_is_said_to_be_unchanged(lab):
    """The digest is of the content: a copy elsewhere with other comments is the same policy. Its generation
    stays; another content has the next. Rules out a digest of the text and one of the path."""
    host, _ = lab.quiet_pair()
    daemon = lab.daemon(host)
    first = daemon.apply(SMALL % 80)
    again = daemon.apply("# moved\n" + SMALL.replace(", do", ",  do") % 80, "elsewhere/copy.yaml")
    assert (first["unchanged"], again["unchanged"]) == (False, True)
    for key in "digest", "generation":
        assert first["policy"][key] == again["policy"][key]
    assert daemon.cli("diff", f"{lab.dir}/policy.yaml").exit == 0
    changed = daemon.apply(SMALL % 443)
    assert changed["policy"]["generation"] == 2 and not changed["unchanged"]
    assert changed["policy"]["digest"] != first["policy"]["digest"]
    assert daemon.cli("diff", f"{lab.dir}/elsewhere/copy.yaml").exit == 1


def test_check_and_apply_accept_the_same(lab):
    """Each policy of tests/policy and examples: check and apply give one exit code and the same diagnostics
    at the same places. Rules out two readers."""
    daemon = lab.daemon(lab.namespace("host"))
    paths = sorted(glob.glob(f"{ROOT}/tests/policy/**/*.yaml", recursive=True) + glob.glob(f"{ROOT}/examples/*.yaml"))
    verdicts = {0: 0, 1: 0}
    for path in paths:
        checked, applied = (daemon.cli(verb, path, "--json") for verb in ("check", "apply"))
        assert checked.exit == applied.exit, f"{path}: check {checked}, apply {applied}"
        assert checked.json["diagnostics"] == applied.json["diagnostics"], path
        verdicts[checked.exit] += 1
    assert min(verdicts.values()) > 5, verdicts
    promise("P3", "check equals apply", f"every policy of the tests and examples, {len(paths)} files",
            "one exit code and the same diagnostics from both", f"{verdicts[0]} accepted and {verdicts[1]} refused by both")


def chains_named(name, count):
    zones = range((count + 1) // 2)
    return "version: 1\nattach:\n" + "".join(f"  z{i}: {{dev: none{i}}}\n" for i in zones) + "filter:\n" + "".join(
        f"  {name}{i}: {{at: z{i // 2}.{('ingress', 'egress')[i % 2]}, default: pass}}\n" for i in range(count))


def test_counters_of_two_policies_must_fit_together(lab):
    """The names of a running policy keep their counters until it is replaced: chains that are all renamed are taken
    where both policies have room, exactly; one more is refused, with limit and need, and changes nothing. Rules out
    a daemon that finds out after the flip, and one that gives away counters in use."""
    daemon = lab.daemon(lab.namespace("host"))
    daemon.apply(chains_named("a", 128))
    before = daemon.ok("status")["policy"]
    answer = daemon.cli("apply", lab.write("more.yaml", chains_named("b", 128)))
    assert answer.exit == 1, answer
    assert "counters of chains: no free slot" in answer.stderr, answer
    assert "together need 256, 1 more than the limit of 255; apply a smaller one first" in answer.stderr, answer
    assert daemon.ok("status")["policy"] == before
    daemon.apply(chains_named("b", 127))
    daemon.apply(chains_named("b", 255))
    assert daemon.ok("status")["policy"]["generation"] == before["generation"] + 2
