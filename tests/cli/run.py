# SPDX-License-Identifier: Apache-2.0
"""penstock as a user meets it: exit codes, what goes to stdout and what to stderr, JSON, completion.

usage: run.py PATH-OF-PENSTOCK [NAME…]. Online verbs speak to fake_daemon.py; nothing needs privilege.
The last line is `N passed, N failed, N skipped`.
"""
import errno
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from fake_daemon import FakeDaemon  # noqa: E402

GOOD = """\
version: 1
attach:
  wan: {dev: eth0}
sets:
  block: {file: lists/block.txt}
filter:
  wan-in:
    at: wan.ingress
    default: drop
    rules:
      - {id: block, from: $block, do: drop}
      - {id: web, proto: tcp, dport: [80, 443], do: pass}
"""
RULES = [{"chain": "in", "id": f"r{i}", "source": f"a.yaml:{i}", "do": "pass", "mode": "enforce",
          "packets": i, "bytes": 2**63 + i} for i in range(1500)]
RESULT = {"verdict": "drop", "reason": "rule", "chain": "wan-in", "rule": "web", "source": "a.yaml:9",
          "service": None, "backend": None, "cost_ns": 31, "audit": []}


class Case:
    def __init__(self, penstock):
        self.penstock = penstock
        self.dir = tempfile.mkdtemp(prefix="penstock-cli-")
        self.run_dir = os.path.join(self.dir, "run")
        os.mkdir(self.run_dir)
        self.daemon = None

    def close(self):
        if self.daemon:
            self.daemon.close()
        shutil.rmtree(self.dir)

    def serve(self, answers, **more):
        self.daemon = FakeDaemon(self.run_dir, **more)
        self.daemon.answers = answers
        return self.daemon

    def file(self, name, text):
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        return path

    def policy(self, text=GOOD):
        self.file("lists/block.txt", "192.0.2.0/24 # a feed\n2001:db8::/32\n192.0.2.0/24\n")
        return self.file("edge.yaml", text)

    def run(self, *args, status=0, online=True, env=None, stdin=b""):
        """Runs a verb and checks its exit code; returns (stdout, stderr)."""
        command = [self.penstock] + (["--run-dir", self.run_dir] if online else []) + list(args)
        done = subprocess.run(command, input=stdin, capture_output=True, cwd=self.dir, timeout=60,
                              env={**os.environ, **(env or {})}, check=False)
        out, err = done.stdout.decode(), done.stderr.decode()
        same(done.returncode, status, f"exit code of {args}: {out}{err}")
        return out, err


def same(got, want, what="value"):
    if got != want:
        raise AssertionError(f"{what}: {got!r}, not {want!r}")


def contains(text, part):
    if part not in text:
        raise AssertionError(f"{part!r} is not in {text!r}")


# ---- offline ---------------------------------------------------------------------------------------

def help_is_data(c):
    out, err = c.run("--help", online=False)
    contains(out, "explain")
    same(err, "")
    same(c.run("help", online=False)[0], out)
    contains(c.run("help", "set", "add", online=False)[0], "usage: penstock set add NAME ADDR…")
    contains(c.run("rules", "--help", online=False)[0], "--chain NAME")
    same(c.run("--version", online=False)[0].split()[0], "penstock")


def mistakes_are_usage(c):
    for args in ([], ["chek", "x"], ["check"], ["check", "a", "b"], ["rules", "--nope"],
                 ["help", "nope"], ["completion", "tcsh"], ["set"], ["explain", "--at", "wan"],
                 ["explain", "--at", "wan.ingress"], ["explain", "--at", "wan.ingress", "--frame", "0g"],
                 ["explain", "--at", "wan.ingress", "tcp 1.2.3.4 > 5.6.7.8"], ["attach", "eth0"],
                 ["apply", "x", "--confirm", "1s", "--no-confirm"], ["fmt", "-w", "-"]):
        out, err = c.run(*args, status=2, online=False)
        same(out, "", f"stdout of {args}")
        contains(err, "penstock: ")


def check_says_good(c):
    out, err = c.run("check", c.policy(), online=False)
    same(err, "")
    contains(out, "1 zone, 1 chain, 2 rules, 1 set, 2 members")
    out, _ = c.run("check", "edge.yaml", "--stats", online=False)
    contains(out, "DIMENSION")
    document = json.loads(c.run("check", "edge.yaml", "--json", online=False)[0])
    same((document["schema"], document["errors"], document["diagnostics"]), (1, 0, []))
    same(document["policy"]["members"], 2)


def check_reads_stdin(c):
    c.policy()
    contains(c.run("check", "-", online=False, stdin=GOOD.encode())[0], "<stdin>: good")


def check_places_errors(c):
    c.policy(GOOD.replace("443", "70000").replace("default", "defualt"))
    out, err = c.run("check", "edge.yaml", status=1, online=False)
    same(out, "")
    contains(err, "edge.yaml:12:43: error: ")
    contains(err, "edge.yaml:9:5: error: ")
    out, err = c.run("check", "edge.yaml", "--json", status=1, online=False)
    same(err, "")
    document = json.loads(out)
    same(document["errors"], len([d for d in document["diagnostics"] if d["severity"] == "error"]))
    same({d["file"] for d in document["diagnostics"]}, {"edge.yaml"})


def check_cuts_after_20(c):
    rules = "".join(f"      - {{id: r{i}, dport: 70000, proto: tcp, do: pass}}\n" for i in range(30))
    c.policy(GOOD + rules)
    _, err = c.run("check", "edge.yaml", status=1, online=False)
    contains(err, "and 10 more")
    document = json.loads(c.run("check", "edge.yaml", "--json", status=1, online=False)[0])
    same(len(document["diagnostics"]), 30)


def unreadable_files_are_errors(c):
    out, err = c.run("check", "absent.yaml", status=1, online=False)
    same(out, "")
    contains(err, "absent.yaml:1:1: error: ")
    c.policy()
    os.unlink(os.path.join(c.dir, "lists/block.txt"))
    contains(c.run("check", "edge.yaml", status=1, online=False)[1], "edge.yaml:5:")
    os.mkfifo(os.path.join(c.dir, "lists/block.txt"))
    contains(c.run("check", "edge.yaml", status=1, online=False)[1], "edge.yaml:5:")
    contains(c.run("fmt", "absent.yaml", status=1, online=False)[1], "cannot read absent.yaml")


def hostile_names_are_escaped(c):
    name = "a\x1b[31m\nb.yaml"
    for verb in ("check", "fmt", "apply"):
        _, err = c.run(verb, name, status=1)
        if "\x1b" in err or "a\nb" in err:
            raise AssertionError(f"{verb} let an escape through: {err!r}")


def fmt_is_canonical(c):
    c.policy(GOOD.replace("do: drop}", "do:   drop}"))
    out, err = c.run("fmt", "edge.yaml", online=False)
    same(err, "")
    same(c.run("fmt", "-", online=False, stdin=out.encode())[0], out)
    _, err = c.run("fmt", "--check", "edge.yaml", status=1, online=False)
    contains(err, "edge.yaml is not in canonical form")
    os.chmod(os.path.join(c.dir, "edge.yaml"), 0o640)
    os.symlink("edge.yaml", os.path.join(c.dir, "link.yaml"))
    same(c.run("fmt", "-w", "link.yaml", online=False), ("", ""))
    c.run("fmt", "--check", "edge.yaml", online=False)
    same(os.stat(os.path.join(c.dir, "edge.yaml")).st_mode & 0o777, 0o640)
    same(os.path.islink(os.path.join(c.dir, "link.yaml")), True)
    same(sorted(os.listdir(c.dir)), ["edge.yaml", "link.yaml", "lists", "run"])


def fmt_leaves_broken_files(c):
    path = c.policy("version: [1\n")
    c.run("fmt", "-w", path, status=1, online=False)
    with open(path, encoding="utf-8") as file:
        same(file.read(), "version: [1\n")


def completion_scripts_are_valid(c):
    for shell in ("bash", "zsh", "fish"):
        out, _ = c.run("completion", shell, online=False)
        path = c.file(f"penstock.{shell}", out)
        if shutil.which(shell):
            subprocess.run([shell, "-n", path], check=True)


def complete(c, *words, online=True):
    out, err = c.run(*(["__complete"] + (["--run-dir", c.run_dir] if online else []) + list(words)),
                     online=False)
    same(err, "")
    return [line.split("\t")[0] for line in out.splitlines()]


def completion_knows_the_table(c):
    verbs = complete(c, "")
    same(("set" in verbs, "check" in verbs, "__manual" in verbs), (True, True, False))
    same(verbs.count("set"), 1)
    same(complete(c, "set", ""), ["add", "del", "list"])
    same(complete(c, "check", ""), [":file"])
    same(complete(c, "completion", ""), ["bash", "zsh", "fish"])
    same("--chain" in complete(c, "rules", "-"), True)
    same("--chain" in complete(c, "-"), False)
    same("truncated" in complete(c, "drops", "--reason", ""), True)
    same("lo" in complete(c, "attach", ""), True)
    same(complete(c, "rules", "--chain", ""), [])


def completion_asks_the_daemon(c):
    manifest = {"zones": [{"name": "wan"}], "chains": [{"name": "in"}]}
    rules = [{"chain": "in", "id": "web"}, {"chain": "out", "id": "mail"}, {"chain": "out", "id": "web"}]
    c.serve({"GET /v1/policy": (200, manifest), "GET /v1/rules": (200, {"rules": rules}),
             "GET /v1/sets": (200, {"sets": [{"name": "us"}]}),
             "GET /v1/status": (200, {"attached": [{"dev": "eth0"}]})})
    same(complete(c, "explain", "--at", ""), ["wan.ingress", "wan.egress"])
    same(complete(c, "rules", "--chain", "i"), ["in"])
    same(complete(c, "rules", "--rule", ""), ["web", "mail"])
    same(complete(c, "rules", "--chain", "in", "--rule", ""), ["web"])
    same(complete(c, "set", "list", ""), ["us"])
    same(complete(c, "detach", ""), ["eth0"])
    same(complete(c, "attach", "eth1", "--as", ""), ["wan"])


def bash_completes(c):
    c.policy()
    script = c.file("comp.bash", c.run("completion", "bash", online=False)[0])
    program = f". {script}; COMP_WORDS=({c.penstock} \"$@\"); COMP_CWORD=$#; _penstock; " \
              "printf '%s\\n' \"${COMPREPLY[@]}\""
    for words, want in ((["che"], "check"), (["check", "edge"], "edge.yaml"), (["set", "d"], "del")):
        done = subprocess.run(["bash", "-c", program, "bash"] + words, cwd=c.dir, check=True,
                              capture_output=True)
        same(done.stdout.decode().split(), [want], f"completion of {words}")


# ---- online ----------------------------------------------------------------------------------------

def unreachable_is_3(c):
    path = c.policy()
    for args in (["status"], ["rules"], ["sets"], ["drops"], ["detach", "eth0"], ["apply", path],
                 ["attach", "eth0", "--as", "wan"], ["diff", path], ["set", "list", "x"],
                 ["explain", "--at", "wan.ingress", "--frame", "00" * 60]):
        out, err = c.run(*args, status=3)
        same(out, "")
        contains(err, "is penstockd running?")
    contains(c.run("version")[0], "penstockd: not reachable")
    same(json.loads(c.run("version", "--json")[0])["daemon"], None)
    c.run("status", "--run-dir", "/" + "x" * 200, status=3, online=False)


def not_permitted_is_4(c):
    refusal = {"schema": 1, "error": {"code": "not-permitted", "message": "use penstock.sock"}}
    c.serve({"GET /v1/status": (403, refusal)})
    contains(c.run("status", status=4)[1], "use penstock.sock")


def daemon_that_dies_is_3(c):
    c.serve({"GET /v1/status": (None, None), "GET /v1/rules": (200, b"not json")})
    contains(c.run("status", status=3)[1], "did not answer")
    contains(c.run("rules", status=1)[1], "not JSON")


def reads_use_the_read_socket(c):
    daemon = c.serve({"GET /v1/sets": (200, {"sets": []}), "POST /v1/detach": (200, {"attached": []})})
    c.run("sets")
    c.run("detach", "eth0")
    same([(r["key"], r["socket"]) for r in daemon.requests],
         [("GET /v1/sets", "read.sock"), ("POST /v1/detach", "penstock.sock")])
    os.unlink(os.path.join(c.run_dir, "read.sock"))
    c.run("sets")
    same(daemon.requests[-1]["socket"], "penstock.sock")
    c.file("run/read.sock", "")


def lists_are_limited(c):
    c.serve({"GET /v1/rules": (200, {"schema": 1, "rules": RULES})})
    out, err = c.run("rules")
    same(len(out.splitlines()), 1001)
    contains(err, "1,000 of 1,500 rows")
    document = json.loads(c.run("rules", "--json")[0])
    same((len(document["rules"]), document["rows_total"], document["schema"]), (1000, 1500, 1))
    same(document["rules"][7]["bytes"], 2**63 + 7)
    same(len(json.loads(c.run("rules", "--json", "--limit", "5")[0])["rules"]), 5)
    lines = [json.loads(line) for line in c.run("rules", "--json", "--all")[0].splitlines()]
    same((len(lines), lines[3]["id"], lines[3]["schema"]), (1500, "r3", 1))
    same(len(json.loads(c.run("rules", "--json", "--rule", "r7")[0])["rules"]), 1)
    contains(c.run("rules", "--rule", "r7")[0], "9,223,372,036,854,775,815")


def drops_are_sorted(c):
    rows = [{"reason": "rule", "chain": "in", "rule": "a", "packets": 1, "bytes": 60},
            {"reason": "truncated", "chain": "in", "rule": None, "packets": 9, "bytes": 90}]
    c.serve({"GET /v1/drops": (200, {"schema": 1, "drops": rows})})
    out, _ = c.run("drops")
    same([line.split()[0] for line in out.splitlines()], ["REASON", "truncated", "rule"])
    same(json.loads(c.run("drops", "--json", "--reason", "rule")[0])["drops"], rows[:1])


def sets_can_be_listed_one_by_one(c):
    c.serve({"GET /v1/sets": (200, {"schema": 1, "sets": [{"name": "us", "members": 3}]})})
    contains(c.run("set", "list", "us")[0], "us")
    contains(c.run("set", "list", "uk", status=1)[1], "there is no set 'uk'")
    for verb in ("add", "del"):
        out, err = c.run("set", verb, "us", "192.0.2.1", status=1)
        same(out, "")
        contains(err, "run-time sets are not carried out yet")


def status_shows_all(c):
    answer = {"schema": 1, "policy": {"file": "e\x1b.yaml", "digest": "4f2a", "generation": 7},
              "attached": [{"dev": "eth0", "zone": "wan", "dir": "ingress", "hook": "xdp", "mode": "native"}],
              "failed": [{"dev": "eth2", "zone": "wan", "dir": "ingress", "why": "in use"}],
              "pending": [{"zone": "lan", "dev": "eth1"}], "memory_bytes": 1 << 20,
              "chains": [{"chain": "in", "zone": "wan", "dir": "ingress", "received_packets": 1234567}]}
    c.serve({"GET /v1/status": (200, answer)})
    out, err = c.run("status")
    same(err, "")
    for part in ("digest 4f2a, generation 7", "waiting for: eth1 (lan)", "native", "1,234,567",
                 "not attached: eth2 (wan): in use", "1.0 MiB", "e\\x1b.yaml"):
        contains(out, part)
    same(json.loads(c.run("status", "--json")[0]), answer)


def apply_hands_over_descriptors(c):
    path = c.policy()
    answer = {"schema": 1, "policy": {"file": path, "digest": "4f2a", "generation": 7}, "changed": 37,
              "unchanged": 3, "compile_ms": 2, "install_ms": 1, "diagnostics": []}
    daemon = c.serve({"POST /v1/apply": (200, answer),
                      "GET /v1/status": (200, {"pending": [{"zone": "wan", "dev": "eth0"}]})})
    out, err = c.run("apply", "edge.yaml", "--no-confirm")
    contains(out, "policy 4f2a, generation 7, 37 lines changed, 3 ms")
    contains(err, "device eth0 of zone wan is not there")
    request = daemon.requests[0]
    same(request["body"], {"file": "edge.yaml", "dir": os.path.realpath(c.dir), "paths": ["lists/block.txt"]})
    same(request["files"][0].decode(), GOOD)
    same(request["files"][1].startswith(b"192.0.2.0/24"), True)
    same((request["messages"], request["socket"]), (1, "penstock.sock"))
    c.run("apply", "-", stdin=GOOD.encode())
    same(daemon.requests[2]["files"][0].decode(), GOOD)


def apply_hands_over_many_descriptors(c):
    sets = "".join(f"  s{i}: {{file: lists/s{i}.txt}}\n" for i in range(600))
    for i in range(600):
        c.file(f"lists/s{i}.txt", f"{i}\n")
    c.policy(GOOD.replace("filter:", sets + "filter:"))
    daemon = c.serve({"POST /v1/apply": (200, {"policy": {}})})
    c.run("apply", "edge.yaml")
    request = daemon.requests[0]
    same((len(request["files"]), request["messages"], len(request["body"]["paths"])), (602, 3, 601))
    same(request["files"][request["body"]["paths"].index("lists/s599.txt") + 1], b"599\n")


def refused_apply_is_1(c):
    place = {"severity": "error", "code": "bad-port", "file": "edge.yaml", "line": 3, "column": 4,
             "length": 2, "message": "port is wrong", "notes": [], "text": "abcdefgh", "caret": 3,
             "caret_length": 2}
    answer = {"schema": 1, "error": {"code": "refused", "message": "no"}, "errors": 1, "warnings": 0,
              "diagnostics": [place]}
    c.policy()
    c.serve({"POST /v1/apply": (422, answer)})
    out, err = c.run("apply", "edge.yaml", status=1)
    same(out, "")
    contains(err, "edge.yaml:3:4: error: port is wrong\n    3 | abcdefgh\n      |    ^~\n")
    same(json.loads(c.run("apply", "edge.yaml", "--json", status=1)[0]), answer)
    busy = {"schema": 1, "error": {"code": "busy", "message": "another apply is running"}}
    c.daemon.answers["POST /v1/apply"] = (409, busy)
    contains(c.run("apply", "edge.yaml", status=1)[1], "another apply is running")
    contains(c.run("apply", "edge.yaml", "--confirm", "60s", status=1)[1], "not carried out yet")
    os.unlink(os.path.join(c.dir, "lists/block.txt"))
    contains(c.run("apply", "edge.yaml", status=1)[1], "edge.yaml:5:")


def attach_and_detach(c):
    answer = {"attached": [{"dev": "eth0", "zone": "wan", "dir": "ingress", "hook": "xdp", "mode": "native"}]}
    daemon = c.serve({"POST /v1/attach": (200, answer), "POST /v1/detach": (200, {"attached": []})})
    contains(c.run("attach", "eth0", "--as", "wan")[0], "eth0")
    same(daemon.requests[0]["body"], {"dev": "eth0", "zone": "wan"})
    c.run("detach", "eth0")
    same(daemon.requests[1]["body"], {"dev": "eth0"})
    contains(c.run("attach", "eth0", "--role", "decap", status=1)[1], "not carried out yet")


def diff_is_semantic(c):
    c.policy()
    daemon = c.serve({})
    out, _ = c.run("diff", "edge.yaml", status=1)
    contains(out, "+ wan-in: {id: web")
    changes = json.loads(c.run("diff", "edge.yaml", "--json", status=1)[0])
    same((changes["same"], changes["running"]), (False, None))
    added = {row["name"]: row.get("to") for row in changes["changes"] if row["kind"] == "rule"}
    rules = [{"id": name, "source": "elsewhere:1", "do": "drop" if name == "block" else "pass",
              "mode": "enforce", "text": text} for name, text in added.items()]
    manifest = {"zones": [{"name": "wan", "hook": "auto", "devs": ["eth0"]}], "sets": [],
                "digest": "4f2a", "generation": 3,
                "chains": [{"name": "wan-in", "zone": "wan", "dir": "ingress", "default": "drop",
                            "rules": rules}]}
    daemon.answers["GET /v1/policy"] = (200, manifest)
    out, _ = c.run("diff", "edge.yaml", status=1)
    same([line[:12] for line in out.splitlines()], ["+ set block:"])
    digest = json.loads(c.run("diff", "edge.yaml", "--json", status=1)[0])["changes"][0]["to"]
    manifest["sets"] = [{"name": "block", "members": 2, "digest": digest.split()[3].rstrip(",}")}]
    same(c.run("diff", "edge.yaml"), ("", ""))
    same(json.loads(c.run("diff", "edge.yaml", "--json")[0])["same"], True)
    rules.reverse()
    same(c.run("diff", "edge.yaml", status=1)[0].splitlines(), ["> wan-in: block: place 2 -> place 1"])


def pcap(frames, link=1):
    head = struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, link)
    return head + b"".join(struct.pack("<IIII", 0, 0, len(f), len(f)) + f for f in frames)


def explain_one_frame(c):
    daemon = c.serve({"POST /v1/explain": (200, {"schema": 1, "results": [RESULT]})})
    out, _ = c.run("explain", "--at", "wan.ingress", "tcp 198.51.100.7:40000 > 192.0.2.10:80 syn")
    same(out.splitlines(), ["verdict  drop", "reason   rule", "chain    wan-in", "rule     web",
                            "source   a.yaml:9", "cost     31 ns"])
    same(daemon.requests[0]["body"]["at"], "wan.ingress")
    frame = bytes.fromhex(daemon.requests[0]["body"]["frames"][0])
    same((len(frame), frame[47]), (60, 0x02))
    document = json.loads(c.run("explain", "--at", "wan.ingress", "--frame", "00" * 60, "--json")[0])
    same(document, {"schema": 1, **RESULT})


def explain_a_capture(c):
    daemon = c.serve({"POST /v1/explain": (200, {"schema": 1, "results": [RESULT] * 3})})
    c.file("a.pcap", pcap([b"\0" * 60] * 3))
    out, _ = c.run("explain", "--at", "wan.ingress", "--pcap", "a.pcap")
    same([line.split()[0] for line in out.splitlines()], ["FRAME", "1", "2", "3"])
    out, _ = c.run("explain", "--at", "wan.ingress", "--pcap", "a.pcap", "--json")
    same([json.loads(line)["frame"] for line in out.splitlines()], [1, 2, 3])
    c.file("b.pcap", pcap([b"\0" * 60], link=113))
    contains(c.run("explain", "--at", "wan.ingress", "--pcap", "b.pcap", status=1)[1], "LINUX_SLL")
    contains(c.run("explain", "--at", "wan.ingress", "--pcap", "no.pcap", status=1)[1], "no.pcap")
    c.file("c.pcap", pcap([b"\0" * 60] * 4))
    contains(c.run("explain", "--at", "wan.ingress", "--pcap", "c.pcap", status=1)[1], "3 of 4 frames")
    same(len(daemon.requests), 3)


def closed_pipe_is_no_failure(c):
    c.serve({"GET /v1/rules": (200, {"schema": 1, "rules": RULES})})
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([c.penstock, "--run-dir", c.run_dir, "rules", "--all", "--json"], stdout=writer,
                          stderr=subprocess.PIPE, check=False)
    os.close(writer)
    same((done.returncode, done.stderr), (0, b""))
    with open("/dev/full", "wb") as full:
        done = subprocess.run([c.penstock, "help"], stdout=full, stderr=subprocess.PIPE, check=False)
    same(done.returncode, 1)
    contains(done.stderr.decode(), "could not be written")


def on_terminal(command, env):
    """stdout of a command that believes it writes to a terminal of 40 columns."""
    master, slave = pty.openpty()
    child = subprocess.Popen(command, stdout=slave, stderr=subprocess.DEVNULL, env=env)
    os.close(slave)
    out = b""
    try:
        while piece := os.read(master, 65536):
            out += piece
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    child.wait()
    os.close(master)
    return out.decode()


def color_is_for_terminals(c):
    c.serve({"GET /v1/rules": (200, {"schema": 1, "rules": RULES[:3]})})
    command = [c.penstock, "--run-dir", c.run_dir, "rules"]
    env = {**os.environ, "TERM": "xterm"}
    env.pop("NO_COLOR", None)
    same("\033[" in on_terminal(command, env), True)
    same("\033[" in on_terminal(command, {**env, "NO_COLOR": "1"}), False)
    same("\033[" in on_terminal(command + ["--no-color"], env), False)
    same("\033[" in c.run("rules", env={"TERM": "xterm"})[0], False)


CASES = [value for value in list(globals().values())
         if callable(value) and getattr(value, "__code__", None) and value.__code__.co_varnames[:1] == ("c",)
         and value is not complete]


def main():
    penstock, wanted = os.path.abspath(sys.argv[1]), sys.argv[2:]
    passed = failed = 0
    for case in CASES:
        if wanted and case.__name__ not in wanted:
            continue
        c = Case(penstock)
        try:
            case(c)
            passed += 1
        except (AssertionError, subprocess.SubprocessError, OSError, ValueError, LookupError) as error:
            failed += 1
            print(f"failed: {case.__name__}: {error}")
        finally:
            c.close()
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
