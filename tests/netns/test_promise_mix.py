# SPDX-License-Identifier: Apache-2.0
"""Applications that go on while policies change under them. PENSTOCK_LONG=1: ten minutes, an apply every 5 s."""
import os
import subprocess
import sys
import time

from lab import LONG
from promises import promise
from test_apply import SERVER, site, web_server

SECONDS, EVERY = (600, 5) if LONG else (10, 1)
FAILURES = 1e-5
MEMBERS = 20_000
BIG_BYTES = 16 << 20
POST_BYTES = 200_000

POLICY = """version: 1
attach:
  wan: {dev: wan0, hook: xdp}
  lan: {dev: lan0}
sets:
  blocklist: {file: %(name)s.txt}
filter:
  wan-in:
    at: wan.ingress
    default: drop
    rules:
      - {id: blocklist, from: $blocklist, do: drop}
      - {id: established, state: established, do: pass}
      - {id: web, proto: tcp, dport: %(ports)s, do: pass}
  lan-in:
    at: lan.ingress
    default: drop
    rules:
      - {id: established, state: established, do: pass}
"""

# One application, until its input ends; says how many requests it made, how many failed and the last failure. None is
# made twice: what failed has failed.
APPLICATION = """
import hashlib, http.client, select, subprocess, sys
kind, server, big, post, digest = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
connection = None

def exchange(method, path, body=None):
    answer = None
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        if not answer or not answer.isclosed():
            connection.close()

def curl():
    subprocess.run(["curl", "-sSf", "--max-time", "10", "-o", "/dev/null", f"http://{server}/"], check=True,
                   capture_output=True)

def keep_alive():
    assert exchange("GET", "/index.html") == (200, b"hello through penstock\\n")

def upload():
    assert exchange("POST", "/post", bytes(post)) == (204, b"")

def download():
    status, body = exchange("GET", "/big")
    assert (status, len(body)) == (200, big) and hashlib.sha256(body).hexdigest() == digest

made = failed = 0
last = "none"
if kind != "curl":
    connection = http.client.HTTPConnection(server, timeout=10)
while not select.select([sys.stdin], [], [], 0)[0]:
    made += 1
    try:
        globals()[kind]()
    except Exception as e:
        failed += 1
        last = repr(e) + repr(getattr(e, "stderr", ""))
print(made, failed, last)
"""
KINDS = "curl", "keep_alive", "upload", "download"


def big_file(lab):
    """Gives what its content hashes to."""
    lab.write("www/big", "")
    with open(f"{lab.dir}/www/big", "wb") as f:
        f.write(os.urandom(BIG_BYTES))
    return lab.sh("sha256sum", f"{lab.dir}/www/big").split()[0]


def two_policies(lab):
    for name, members in ("one", MEMBERS), ("two", MEMBERS // 2):
        lab.write(name + ".txt", "".join(f"100.64.{n // 200}.{1 + n % 200}\n" for n in range(members)))
    return [lab.write(f"{name}.yaml", POLICY % {"name": name, "ports": ports})
            for name, ports in (("one", "80"), ("two", "[80, 8080]"))]


def test_applications_do_not_notice_changes(lab):
    """nginx, and through a stateful policy at XDP and TC a curl a connection, requests on a kept connection, uploads
    and large downloads, while one policy takes the other's place again and again: at most one request in 100 000
    fails, which in the short form is none, and every byte is right. Rules out an apply that forgets flows, one that
    has a gap, and a test whose client tries again."""
    client, _, host, server = site(lab)
    digest = big_file(lab)
    web_server(lab, server)
    daemon, policies, applies = lab.daemon(host), two_policies(lab), 1
    daemon.ok("apply", policies[0])
    started = time.monotonic()
    applications = [lab.spawn(client, sys.executable, "-c", APPLICATION, kind, SERVER, str(BIG_BYTES), str(POST_BYTES),
                              digest, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for kind in KINDS]
    while time.monotonic() - started < SECONDS:
        time.sleep(max(0, started + applies * EVERY - time.monotonic()))
        daemon.ok("apply", policies[applies % 2])
        applies += 1
    said = [application.communicate(timeout=60)[0].split(maxsplit=2) for application in applications]
    made, failed = ([int(row[column]) for row in said] for column in (0, 1))
    assert min(made) > 3 and sum(failed) <= FAILURES * sum(made), said
    assert daemon.rule("lan-in", "established")["packets"] > sum(made)
    promise("P35", "applications do not notice changes",
            f"{SECONDS} s of curl, kept connections, uploads and downloads of {BIG_BYTES >> 20} MiB through a stateful "
            f"policy, an apply every {EVERY} s, no request made twice", "failures ≤ 0.001 %",
            ", ".join(f"{count:,} {kind}" for kind, count in zip(KINDS, made)).replace("_", "-") +
            f": {sum(failed)} failed in {applies - 1} applies")
