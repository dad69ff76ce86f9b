# SPDX-License-Identifier: Apache-2.0
"""The daemon's sockets and the command's exit codes, with a daemon that runs."""
import array
import grp
import json
import os
import random
import shutil
import socket
import stat

import pytest

from lab import BUILD, Unix, wait_for

POLICY = """version: 1
attach:
  wan: {dev: wan0}
sets:
  bad: {file: bad.txt}
filter:
  wan-in:
    at: wan.ingress
    default: pass
    rules:
      - {id: bad, from: $bad, do: drop}
"""
CONNECTIONS = 64
GROUPS = {"penstock.sock": "penstock-admin", "read.sock": "penstock"}


def group_exists(name):
    return name in (entry.gr_name for entry in grp.getgrall())


@pytest.fixture
def daemon(lab):
    host, _ = lab.quiet_pair()
    lab.write("bad.txt", "203.0.113.0/24\n")
    daemon = lab.daemon(host)
    daemon.apply(POLICY)
    return daemon


def still_well(daemon):
    """Nobody's nonsense changed the policy or took the daemon down."""
    status = daemon.ok("status")
    assert status["policy"]["generation"] == 1 and daemon.attached("wan0")
    assert daemon.process.poll() is None


def raw_request(daemon, path, body, descriptors=(), length=None):
    """A request as docs/api.md has it, descriptors before it: (status, error code)."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(f"{daemon.run_dir}/penstock.sock")
        if descriptors:
            s.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))])
        length = len(body) if length is None else length
        s.sendall(f"POST {path} HTTP/1.1\r\nHost: p\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n".encode() +
                  body)
        answer = b""
        while data := s.recv(65536):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body).get("error", {}).get("code")


def test_the_read_socket_changes_nothing(daemon):
    """read.sock answers what reads and says 403 to what changes, whoever asks; either socket is closed to
    others. Rules out rights that are a matter of the client's manners."""
    for path in "version", "status", "rules", "drops", "sets", "policy", "doctor":
        status, answer = daemon.request("GET", f"/v1/{path}", socket_name="read.sock")
        assert (status, answer["schema"]) == (200, 1), path
    for path in "apply", "attach", "detach":
        status, answer = daemon.request("POST", f"/v1/{path}", body='{"dev": "wan0"}', socket_name="read.sock")
        assert (status, "error" in answer) == (403, True), path
    question = json.dumps({"at": "wan.ingress", "frames": ["ff" * 14]})
    assert daemon.request("POST", "/v1/explain", body=question, socket_name="read.sock")[0] == 200
    for name in GROUPS:
        mode = stat.S_IMODE(os.stat(f"{daemon.run_dir}/{name}").st_mode)
        assert mode == (0o660 if group_exists(GROUPS[name]) else 0o600), name
    still_well(daemon)


def test_descriptors_must_fit_the_request(lab, daemon):
    """As many descriptors as files, and regular ones: one too few, one too many, none, a directory and a pipe
    are refused with 4xx, and nothing changes; the right ones are taken. Rules out a daemon that reads the next
    request's descriptor, or waits for a pipe for ever."""
    with open(lab.write("next.yaml", POLICY.replace("bad:", "bad: ")), "rb") as policy, \
            open(f"{lab.dir}/bad.txt", "rb") as feed:
        body = json.dumps({"file": "next.yaml", "dir": lab.dir, "paths": ["bad.txt"]}).encode()
        directory, pipe = os.open(lab.dir, os.O_RDONLY), os.pipe()
        p, f = policy.fileno(), feed.fileno()
        for descriptors in (p,), (p, f, f), (), (p, directory), (p, pipe[0]), (f, p):
            status, code = raw_request(daemon, "/v1/apply", body, descriptors)
            assert 400 <= status < 500 and code, (descriptors, status, code)
            still_well(daemon)
        assert raw_request(daemon, "/v1/apply", body, (p, f)) == (200, None)
        for fd in directory, *pipe:
            os.close(fd)
    for _ in range(20):
        with open(f"{lab.dir}/bad.txt", "rb") as feed:
            raw_request(daemon, "/v1/check", b"{}", (feed.fileno(),) * 200)
    held = f"/proc/{daemon.process.pid}/fd"
    wait_for(lambda: sum(os.path.realpath(f"{held}/{n}") == f"{lab.dir}/bad.txt" for n in os.listdir(held)) == 0,
             "the refused requests' descriptors to be closed")
    still_well(daemon)


def test_garbage_gets_an_error_or_nothing(daemon):
    """Unknown paths, wrong verbs, bodies that are no JSON or not the right one, too large ones, random bytes,
    halves of requests: an error with a code or a closed connection, and the daemon goes on."""
    assert raw_request(daemon, "/v1/nothing", b"{}")[0] == 404
    assert daemon.request("DELETE", "/v1/status")[0] == 405
    assert daemon.request("GET", "/v1/apply")[0] == 405
    for path in "apply", "attach", "detach", "explain", "check":
        for body in (b"", b"{", b"[]", b"null", b"\xff\xfe",
                     b'{"dev": 7, "zone": {}, "at": [], "frames": "x", "paths": 1}'):
            status, code = raw_request(daemon, f"/v1/{path}", body)
            assert status in (400, 409, 422) and code, (path, body, status)
    for frames in [], ["f"], ["zz"], [7], ["00"] * 1025, ["00" * 65536]:
        body = json.dumps({"at": "wan.ingress", "frames": frames}).encode()
        assert raw_request(daemon, "/v1/explain", body)[0] == 400, str(frames)[:20]
    assert raw_request(daemon, "/v1/apply", b"", length=17 << 20)[0] == 413
    rng = random.Random(1)
    for _ in range(2 * CONNECTIONS):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(f"{daemon.run_dir}/{rng.choice(['penstock', 'read'])}.sock")
            s.sendall(rng.choice([b"GET /v1/status HTT", b"POST /v1/apply HTTP/1.1\r\nContent-Length: 99\r\n\r\n{",
                                  rng.randbytes(rng.randrange(1, 3000)), b"\0" * 50, b"GET / HTTP/9.9\r\n\r\n"]))
    still_well(daemon)


def test_connections_are_bounded(daemon):
    """Clients that stay are served, however many, and no more than 64 of them keep their connection. Rules out a
    daemon that a local user can starve of descriptors, or keep from others."""
    clients, statuses = [Unix(f"{daemon.run_dir}/read.sock") for _ in range(3 * CONNECTIONS)], []
    for client in clients:
        client.request("GET", "/v1/version")
        answer = client.getresponse()
        answer.read()
        statuses.append(answer.status)
    assert statuses == [200] * 3 * CONNECTIONS
    held = f"/proc/{daemon.process.pid}/fd"
    assert sum(os.readlink(f"{held}/{n}").startswith("socket:") for n in os.listdir(held)) < 2 * CONNECTIONS
    assert daemon.request("GET", "/v1/version")[0] == 200  # the other socket has places of its own
    for client in clients:
        client.close()
    wait_for(lambda: daemon.request("GET", "/v1/version", socket_name="read.sock")[0] == 200, "a free place")


def test_exit_codes(lab, daemon):
    """0 done, 1 failed or different, 2 usage, 3 no daemon, 4 not permitted, and a message that names what was
    asked for. Rules out a script that takes an error for an answer."""
    good, bad = f"{lab.dir}/policy.yaml", lab.write("bad.yaml", "version: 2\n")
    expected = [
        (0, "status"), (0, "rules"), (0, "drops"), (0, "sets"), (0, "set", "list", "bad"), (0, "version"),
        (0, "check", good), (0, "apply", good), (0, "diff", good),
        (0, "explain", "--at", "wan.ingress", "tcp 203.0.113.1:1 > 10.77.1.1:80"),
        (1, "check", bad), (1, "apply", bad), (1, "diff", bad), (1, "apply", "no-such-file.yaml"),
        (1, "set", "list", "none"),
        (1, "attach", "no0", "--as", "wan"), (1, "attach", "wan0", "--as", "none"), (1, "detach", "no0"),
        (1, "explain", "--at", "none.ingress", "udp 192.0.2.1:1 > 192.0.2.2:2"),
        (2, "none"), (2,), (2, "apply"), (2, "apply", good, good), (2, "rules", "--none"), (2, "rules", "--limit", "x"),
        (2, "explain", "--at", "wan.sideways", "udp 192.0.2.1:1 > 192.0.2.2:2"), (2, "attach", "wan0"),
        (2, "explain", "--at", "wan.ingress", "tcp none"), (2, "explain", "--at", "wan.ingress", "--frame", "xyz"),
    ]
    for code, *arguments in expected:
        answer = daemon.cli(*arguments)
        assert answer.exit == code, f"{arguments}: {answer}"
        assert bool(answer.stderr) == (code != 0) or code == 1, f"{arguments}: {answer}"
        assert code != 1 or "none" not in arguments[-2:] or "'none'" in answer.stderr, f"{arguments}: {answer}"
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    penstock = shutil.copy(f"{BUILD}/penstock", lab.dir)  # where nobody can reach it
    for verb, code in (("status",), 4), (("apply", good), 4), (("detach", "wan0"), 4), (("check", good), 0):
        assert lab.run(daemon.ns, *nobody, penstock, "--run-dir", daemon.run_dir, *verb).exit == code, verb
    daemon.stop()
    for verb in ("status",), ("rules", "--json"), ("apply", good), ("detach", "wan0"), ("diff", good):
        answer = daemon.cli(*verb)
        assert answer.exit == 3 and answer.stderr, f"{verb}: {answer}"
    assert daemon.cli("check", good).exit == 0 and daemon.cli("version").exit == 0


def test_two_applies_at_once(lab, daemon):
    """Many at the same time: each is carried out or told that another one runs (409, exit 1); the policy in
    force at the end is one of them, whole. Rules out two installers in one bank."""
    started = [lab.spawn(daemon.ns, f"{BUILD}/penstock", "--run-dir", daemon.run_dir, "apply", "--json",
                         lab.write(f"p{i}.yaml", POLICY.replace("- {id: bad,", f"- {{id: bad{i},")))
               for i in range(12)]
    codes = [process.wait(30) for process in started]
    assert set(codes) <= {0, 1} and 0 in codes
    status = daemon.ok("status")
    assert status["policy"]["generation"] == 1 + codes.count(0) and not status["applying"]
    ids = [r["id"] for r in daemon.ok("rules")["rules"]]
    assert ids == [f"bad{os.path.basename(status['policy']['file'])[1:-5]}", "default"]
