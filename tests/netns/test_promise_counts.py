# SPDX-License-Identifier: Apache-2.0
"""Counters lose nothing, limits are known before they bite, and the loop of the daemon does not wait."""
import subprocess
import sys
import time

import pytest

import frames
from lab import BUILD, HOST4, LONG, wait_for
from promises import promise
from test_attach import policy

DENIED = 1_000_000
PORT = 7000
MEMBERS = 2_000_000 if LONG else 200_000
BLOCK_MS = 10


@pytest.mark.parametrize("hook", ["tc"])
def test_counters_of_two_cpus_are_exact(lab, hook):
    """A million denied frames from two processors at once: the rule, the chain and the reason count exactly so many.
    Rules out a counter that two processors share without care."""
    host, peer = lab.quiet_pair()
    daemon = lab.daemon(host)
    daemon.apply(policy(hook=hook).replace("default: pass", "default: drop"))
    mac = ":".join(f"{b:02x}" for b in frames.HOST_MAC)
    floods = [lab.spawn(peer, "taskset", "-c", str(cpu), f"{BUILD}/tests/tools/flood", "to-wan0", mac, HOST4,
                        str(DENIED // 2), "120", "udp", str(PORT), stdout=subprocess.PIPE, text=True) for cpu in (0, 1)]
    sent = sum(int(flood.communicate(timeout=150)[0]) for flood in floods)
    wait_for(lambda: daemon.chain("wan-in")["received_packets"] >= sent, "all frames", 20)
    row = daemon.add_up("wan-in")
    rules = daemon.rule("wan-in", "bad")["packets"] + daemon.rule("wan-in", "default")["packets"]
    assert (sent, row["received_packets"], row["dropped_packets"], rules) == (DENIED,) * 4
    promise("P11", "counters lose nothing", f"{DENIED:,} denied frames from 2 CPUs at once", f"+{DENIED:,} exactly",
            f"received {row['received_packets']:,}, dropped {row['dropped_packets']:,}, by rules {rules:,}")


def sets(count):
    names = [f"s{n}" for n in range(count)]
    return policy().replace("filter:", "sets:\n" + "".join(f"  {name}: {{max: 10}}\n" for name in names) + "filter:") + \
        "".join(f"      - {{id: r-{name}, from: ${name}, do: drop}}\n" for name in names)


def zones(count):
    return "version: 1\nattach:\n" + "".join(f"  z{n}: {{dev: dev{n}}}\n" for n in range(count)) + \
        "filter:\n  first:\n    at: z0.ingress\n    default: drop\n"


def members(count):
    items = ", ".join(f"192.0.2.{n}" for n in range(count))
    return policy().replace("filter:", f"sets:\n  s: {{items: [{items}], max: 100}}\nfilter:") + \
        "      - {id: s, from: $s, do: drop}\n"


# What is limited: (a policy of so much, the limit).
LIMITS = {"run-time sets": (sets, 64), "zones": (zones, 255), "members of a set": (members, 100)}


def test_a_limit_is_known_before_it_bites(lab):
    """A policy at each limit is taken, one beyond is refused with both numbers, by check and by apply alike, and what
    runs stays; status shows used and limit. Rules out a limit that is met by a table in the kernel."""
    daemon = lab.daemon(lab.namespace("host"))
    said = []
    for what, (make, limit) in LIMITS.items():
        most, more = lab.write("most.yaml", make(limit)), lab.write("more.yaml", make(limit + 1))
        daemon.ok("apply", most)
        before = daemon.get("/v1/status")["policy"]
        checked, applied = daemon.cli("check", more), daemon.cli("apply", more)
        assert (checked.exit, applied.exit) == (1, 1), f"{what}: {checked} {applied}"
        errors = [answer.stderr.splitlines()[0] for answer in (checked, applied)]
        assert errors[0] == errors[1] and str(limit) in errors[0], f"{what}: {checked} {applied}"
        assert daemon.get("/v1/status")["policy"] == before
        said.append(errors[0].split("error: ")[1])
    capacity = daemon.get("/v1/status")["capacity"]
    assert all(0 <= row["used"] <= row["limit"] for row in capacity.values())
    promise("P39", "capacity is known before it bites", "policies of a limit and of one more: " + ", ".join(LIMITS),
            "accepted; refused with counts, nothing changed; status shows used and limit",
            "; ".join(f"'{text}'" for text in said) + f"; status shows {len(capacity)} limits")


# Asks the daemon for its version without a pause; its input's end ends it. Of each wait, the time is taken off that the
# two of them were ready to run and had no processor. Prints the count, and waits in milliseconds.
ASK = """
import select, socket, sys, time
def ask(s):
    s.sendall(b"GET /v1/version HTTP/1.1\\r\\nHost: p\\r\\n\\r\\n")
    got = b""
    while b"\\r\\n\\r\\n" not in got or len(got) < 150:
        got += s.recv(65536)
        if got.endswith(b"}") or got.endswith(b"}\\n"):
            break
def unserved():
    sums = 0
    for pid in "self", sys.argv[2]:
        with open(f"/proc/{pid}/schedstat") as f:
            sums += int(f.read().split()[1])
    return sums / 1000000
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
waits = []
while not select.select([sys.stdin], [], [], 0.0005)[0]:
    started, before = time.monotonic(), unserved()
    ask(s)
    waits.append(max(0, 1000 * (time.monotonic() - started) - (unserved() - before)))
waits.sort()
print(len(waits), waits[len(waits) // 2], waits[-1 - len(waits) // 100], waits[-1])
"""


class Asking:
    def __init__(self, lab, daemon):
        self.process = lab.spawn(daemon.ns, sys.executable, "-c", ASK, f"{daemon.run_dir}/read.sock",
                                 str(daemon.process.pid), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        lab.closing += [self.process.stdout, self.process.stdin]

    def end(self):
        """requests, and the milliseconds of the middle one, of all but one in a hundred, and of the longest"""
        self.process.stdin.close()
        return [float(word) for word in self.process.stdout.readline().split()]


def test_the_loop_goes_on_during_a_large_apply(lab):
    """Hundreds of thousands of lines are applied while somebody asks for the version without a pause: how long the longest
    answer takes, less the time for which the scheduler kept the two of them waiting. Rules out a daemon that compiles,
    writes or verifies in its loop."""
    daemon = lab.daemon(lab.namespace("host"))
    path = f"{lab.dir}/list.txt"
    with open(path, "wb") as f:
        subprocess.run((f"{BUILD}/bench/gen/feed-gen", "--count", str(MEMBERS)), stdout=f, check=True)
    text = policy().replace("filter:", "sets:\n  listed: {file: list.txt}\nfilter:") + \
        "      - {id: listed, from: $listed, do: drop}\n"
    asking = Asking(lab, daemon)
    time.sleep(1)
    idle = asking.end()
    asking, started = Asking(lab, daemon), time.monotonic()
    daemon.apply(text)
    took = time.monotonic() - started
    busy = asking.end()
    assert busy[-1] <= BLOCK_MS or not LONG
    promise("D10", "the daemon's loop does not wait", f"an apply of {MEMBERS:,} lines, the version asked for without a pause",
            f"no answer takes more than {BLOCK_MS} ms, waits for a processor taken off",
            f"longest answer {busy[-1]:.1f} ms, 99 % within {busy[2]:.1f} ms, of {int(busy[0]):,} in {took:.1f} s; "
            f"while nothing happened {idle[-1]:.1f} ms, 99 % within {idle[2]:.1f} ms")
