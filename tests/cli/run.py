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
      - {id: known, state: established, do: pass}
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
    contains(c.run("help", "set", "add", online=False)[0], "usage: penstock set add [--ttl TIME] NAME [ADDR…]")
    contains(c.run("rules", "--help", online=False)[0], "--chain NAME")
    same(c.run("--version", online=False)[0].split()[0], "penstock")


def mistakes_are_usage(c):
    for args in ([], ["chek", "x"], ["check"], ["check", "a", "b"], ["rules", "--nope"],
                 ["help", "nope"], ["completion", "tcsh"], ["set"], ["explain", "--at", "wan"],
                 ["explain", "--at", "wan.ingress"], ["explain", "--at", "wan.ingress", "--frame", "0g"],
                 ["explain", "--at", "wan.ingress", "tcp 1.2.3.4 > 5.6.7.8"], ["attach", "eth0"],
                 ["apply", "x", "--confirm", "1s", "--no-confirm"], ["fmt", "-w", "-"],
                 ["set", "add"], ["set", "add", "x", "1.2.3.400"], ["set", "del", "x", "10.0.0.1/8"],
                 ["set", "add", "x", "192.0.2.1", "-"], ["set", "add", "x", "192.0.2.1", "--ttl", "5"],
                 ["set", "del", "x", "192.0.2.1", "--ttl", "5s"]):
        out, err = c.run(*args, status=2, online=False)
        same(out, "", f"stdout of {args}")
        contains(err, "penstock: ")


def check_says_good(c):
    out, err = c.run("check", c.policy(), online=False)
    same(err, "")
    contains(out, "1 zone, 1 chain, 3 rules, 1 set, 2 members")
    document = json.loads(c.run("check", "edge.yaml", "--json", online=False)[0])
    same((document["schema"], document["errors"], document["diagnostics"]), (1, 0, []))
    same(document["policy"]["members"], 2)


def check_forecasts_memory(c):
    """Every part is shown, and parts add up to sums: rules out a table that leaves some out."""
    document = json.loads(c.run("check", c.policy(), "--stats", "--json", online=False)[0])
    stats, forecast = document["policy"]["stats"], document["policy"]["forecast"]
    same(sum(m["bytes"] for m in forecast["maps"]), forecast["fixed_bytes"])
    same(forecast["fixed_bytes"] + forecast["bank_bytes"], forecast["memory_bytes"])
    same(forecast["memory_bytes"] + forecast["bank_bytes"], forecast["memory_both_bytes"])
    same(stats["image_bytes"] <= forecast["bank_bytes"], True)
    same(forecast["apply_peak_bytes"] > forecast["memory_both_bytes"], True)
    same([(chain["name"], chain["rules"]) for chain in stats["chains"]], [("wan-in", 3)])
    out, _ = c.run("check", "edge.yaml", "--stats", online=False)
    for part in ("memory: ", "apply: ", "DIMENSION", "CHAIN", "map bank", "map flows", "vectors of rules",
                 f"{stats['image_bytes']:,}", f"{forecast['bank_bytes']:,}"):
        contains(out, part)


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
                 ["set", "add", "x", "192.0.2.1"],
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


def rules_tell_the_last_hit(c):
    ages = {"never": None, "now": 999, "seconds": 59_999, "minutes": 60_000, "hours": 3_600_000 * 23,
            "days": 3_600_000 * 49}
    c.serve({"GET /v1/rules": (200, {"rules": [RULES[0] | {"id": id, "last_hit_age_ms": age}
                                               for id, age in ages.items()]})})
    rows = [line.split() for line in c.run("rules")[0].splitlines()[1:]]
    same([" ".join(row[6:-1]) for row in rows], ["-", "0s ago", "59s ago", "1m ago", "23h ago", "2d ago"])


def drops_are_sorted(c):
    rows = [{"reason": "rule", "chain": "in", "rule": "a", "packets": 1, "bytes": 60},
            {"reason": "truncated", "chain": "in", "rule": None, "packets": 9, "bytes": 90}]
    c.serve({"GET /v1/drops": (200, {"schema": 1, "drops": rows})})
    out, _ = c.run("drops")
    same([line.split()[0] for line in out.splitlines()], ["REASON", "truncated", "rule"])
    same(json.loads(c.run("drops", "--json", "--reason", "rule")[0])["drops"], rows[:1])


def sets_show_both_kinds_of_members(c):
    feed = {"refreshed_at": "2024-01-01T00:00:00Z", "refused_at": "2024-01-02T00:00:00Z", "why": "it is empty", "held": True}
    rows = [{"name": "us", "file": "us.txt", "members": 3, "runtime": False, "feed": feed},
            {"name": "banned", "runtime": True, "members": 0, "runtime_members": 1234, "max": 500000, "ttl_ms": 3600000}]
    table = {"members": 1234, "limit": 4194303, "memory_bytes": 21 << 20}
    c.serve({"GET /v1/sets": (200, {"schema": 1, "sets": rows, "table": table})})
    out, _ = c.run("sets")
    same(out.splitlines()[2].split(), ["banned", "0", "1,234", "500,000", "1h", "0", "0", "-"])
    contains(out, "run-time members: 1,234 of 4,194,303, 21.0 MiB")
    contains(out, "feed us.txt: read again 2024-01-01T00:00:00Z; refused 2024-01-02T00:00:00Z: it is empty")
    feed["held"] = False
    same("refused" in c.run("sets")[0], False)


def page(first, count, following, **more):
    rows = [{"prefix": f"10.0.{i >> 8}.{i & 255}", "expires_in_ms": None if i % 2 else i * 1000, "static": i > 2900}
            for i in range(first, first + count)]
    return {"schema": 1, "set": "banned", "runtime": True, "static_members": 100, "runtime_members": 2900,
            "max": 5000, "ttl_ms": None, "next": following, "members": rows, **more}


def members_are_listed_by_pages(c):
    daemon = c.serve({"POST /v1/set/list": lambda body: page(
        0, 2000, "m2000") if "after" not in body else page(2000, 1000, None)})
    out, err = c.run("set", "list", "banned")
    same((len(out.splitlines()), out.splitlines()[3].split()), (1001, ["10.0.0.2", "2s", "run", "time"]))
    contains(err, "1,000 of 3,000 rows")
    same(daemon.requests[-1], {**daemon.requests[-1], "socket": "read.sock", "body": {"set": "banned", "limit": 1000}})
    document = json.loads(c.run("set", "list", "banned", "--json")[0])
    same((len(document["members"]), document["rows_total"], "next" in document), (1000, 3000, False))
    same(document["members"][1], {"prefix": "10.0.0.1", "expires_in_ms": None, "static": False})
    lines = [json.loads(line) for line in c.run("set", "list", "banned", "--json", "--all")[0].splitlines()]
    same((len(lines), lines[2950]["static"], lines[0]["schema"]), (3000, True, 1))
    same(daemon.requests[-1]["body"]["after"], "m2000")
    same(len(c.run("set", "list", "banned", "--all")[0].splitlines()), 3001)
    same(len(json.loads(c.run("set", "list", "banned", "--json", "--limit", "7")[0])["members"]), 7)


ADDED = {"schema": 1, "set": "banned", "runtime_members": 3, "static_members": 1, "max": 5000, "added": 2, "refreshed": 1}


def members_travel_in_the_request(c):
    daemon = c.serve({"POST /v1/set/add": (200, ADDED)})
    same(c.run("set", "add", "banned", "192.0.2.1", "2001:db8::/32", "--ttl", "5m"),
         ("banned: 2 added, 1 refreshed; 4 of 5,000 members\n", ""))
    same(daemon.requests[0], {"key": "POST /v1/set/add", "socket": "penstock.sock", "files": [], "messages": 0,
                              "body": {"set": "banned", "members": ["192.0.2.1", "2001:db8::/32"], "ttl_ms": 300000}})
    same(json.loads(c.run("set", "add", "banned", "192.0.2.1", "--ttl", "never", "--json")[0]), ADDED)
    same(daemon.requests[1]["body"], {"set": "banned", "members": ["192.0.2.1"], "ttl_ms": None})
    c.run("set", "add", "banned", *[f"10.1.{i >> 8}.{i & 255}" for i in range(1001)])
    same((daemon.requests[2]["files"][0].count(b"\n"), "members" in daemon.requests[2]["body"]), (1001, False))


def lists_travel_as_descriptors(c):
    daemon = c.serve({"POST /v1/set/add": (200, ADDED), "POST /v1/set/del": (200, {**ADDED, "removed": 2})})
    text = b"# a feed\n192.0.2.1 ; one\r\n\n2001:db8::/32\n"
    c.run("set", "add", "banned", stdin=text)
    c.run("set", "del", "banned", "-", stdin=text)
    for request in daemon.requests:
        same((request["files"], request["body"]), ([text], {"set": "banned", "file": "<stdin>"}))
    out, err = c.run("set", "add", "banned", status=1, stdin=b"192.0.2.1\n  192.0.2.1/24 # x\n10.0.0.300\n")
    same((out, len(daemon.requests)), ("", 2))
    contains(err, "<stdin>:2:3: error: host bits are set")
    contains(err, "<stdin>:3:")
    document = json.loads(c.run("set", "add", "banned", "--json", status=1, stdin=b"nonsense\n")[0])
    same((document["errors"], document["diagnostics"][0]["line"]), (1, 1))
    master, slave = pty.openpty()
    done = subprocess.run([c.penstock, "--run-dir", c.run_dir, "set", "add", "banned"], stdin=slave,
                          capture_output=True, timeout=20, check=False)
    os.close(master), os.close(slave)
    same(done.returncode, 2)
    contains(done.stderr.decode(), "no address is given")


def what_was_not_deleted_is_told(c):
    absent = [{"prefix": "192.0.2.1", "static": False}, {"prefix": "192.0.2.0/24", "static": True}]
    c.serve({"POST /v1/set/del": (200, {**ADDED, "removed": 1, "absent": 3, "absent_members": absent})})
    out, err = c.run("set", "del", "banned", "192.0.2.1", "192.0.2.0/24", "192.0.2.2", "192.0.2.3", status=1)
    same(out, "banned: 1 removed; 4 of 5,000 members\n")
    contains(err, "'192.0.2.1' is no member of 'banned'")
    contains(err, "'192.0.2.0/24' is a member of 'banned' by the policy")
    contains(err, "1 more were no members")
    refusal = {"schema": 1, "error": {"code": "over-max", "message": "set 'banned' holds 5 of 5 members"}}
    c.daemon.answers["POST /v1/set/del"] = (409, refusal)
    contains(c.run("set", "del", "banned", "192.0.2.1", status=1)[1], "holds 5 of 5 members")


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
    same("state" in out, False)


def status_warns_of_full_tables(c):
    state = {"stateful": True, "adopt_seconds_left": 93, "flows": {"slots": 262144, "used": 200000},
             "pending": {"slots": 65536, "used": 12}, "fragments": {"slots": 8192, "used": None},
             "warnings": ["established flows: 200000 of 262144 slots are in use\x1b"]}
    c.serve({"GET /v1/status": (200, {"state": state})})
    out, _ = c.run("status")
    for part in ("state: 200,000 of 262,144 established flows, 12 of 65,536 unanswered, ? of 8,192 fragmented",
                 "for 93 s more", "\nwarning: established flows: 200000 of 262144 slots are in use\\x1b\n"):
        contains(out, part)


def finding(level, n=0):
    return {"id": f"id-{n}", "level": level, "subject": f"eth{n}\x1b", "text": f"text {n}",
            "remedy": None if level == "ok" else f"remedy {n}"}


def doctor_sorts_counts_and_exits(c):
    """What is broken comes first and is exit 1; a warning is none; what is good is shown when asked for."""
    rows = [finding("ok", 1), finding("note", 2), finding("warning", 3), finding("broken", 4)]
    answer = {"findings": rows, "pid": 1, "inspector_pid": None}
    daemon = c.serve({"GET /v1/doctor": (200, answer)})
    out, err = c.run("doctor", status=1)
    same((err, daemon.requests[0]["socket"]), ("", "read.sock"))
    same(out.startswith("broken   eth4\\x1b: text 4\n         remedy: remedy 4\n"), True)
    same(out.index("text 4") < out.index("text 3") < out.index("text 2"), True)
    same("text 1" in out, False)
    contains(c.run("doctor", "--all", status=1)[0], "ok       eth1\\x1b: text 1\n")
    contains(out.splitlines()[-1], "1 broken, ")
    said = json.loads(c.run("doctor", "--json", status=1)[0])
    same((said["schema"], said["broken"], said["findings"][0]), (1, 1, rows[3]))
    same(all({"id", "level", "subject", "text", "remedy"} == set(row) for row in said["findings"]), True)
    same(sum(said[level] for level in ("broken", "warning", "note", "ok")), len(said["findings"]))
    lines = c.run("doctor", "--json", "--all", status=1)[0].splitlines()
    same(json.loads(lines[0])["id"], "id-4")
    answer["findings"] = rows[:3]
    contains(c.run("doctor")[0], "0 broken, ")
    same(json.loads(c.run("doctor", "--json", "--limit", "1")[0])["rows_total"] > 1, True)


def doctor_without_a_daemon(c):
    """Not a failure of the verb: a broken finding, beside what the caller can see; exit 1 and never 3."""
    out, err = c.run("doctor", status=1)
    same(err, "")
    contains(out, "broken   penstockd: no daemon answers; nothing of it is attached")
    contains(out, "remedy: start it")
    said = json.loads(c.run("doctor", "--json", status=1)[0])
    same({"kernel", "btf", "lockdown", "daemon"} <= {row["id"] for row in said["findings"]}, True)
    c.serve({"GET /v1/doctor": (404, {"error": {"code": "no-such-path"}})})
    contains(c.run("doctor", status=1)[0], "it answers, and not with what it finds")


def doctor_may_not_ask(c):
    """A daemon that refuses the caller is not broken, and not healthy: exit 4."""
    c.serve({"GET /v1/doctor": (403, {"error": {"code": "not-permitted", "message": "no"}})})
    out, err = c.run("doctor", status=4)
    same(err, "")
    contains(out, "note     penstockd: it may not be asked: devices")
    contains(out, "remedy: be root or in the group penstock")


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
    same(request["body"], {"file": "edge.yaml", "dir": os.path.realpath(c.dir), "paths": ["lists/block.txt"],
                           "confirm_ms": 0})
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


def apply_says_until_when_to_confirm(c):
    """A time of a day at most; without a terminal of a remote login nothing is asked for."""
    c.policy()
    confirm = {"left_ms": 300_000, "previous": {"digest": "77d0", "generation": 6}}
    daemon = c.serve({"POST /v1/apply": (200, {"policy": {"digest": "4f2a"}, "confirm": confirm})})
    out, _ = c.run("apply", "edge.yaml", "--confirm", "5m")
    contains(out, "'penstock confirm' within 5m, or policy 77d0 comes back")
    same(daemon.requests[0]["body"]["confirm_ms"], 300_000)
    daemon.answers["POST /v1/apply"] = (200, {"policy": {}, "confirm": {"left_ms": 1000, "previous": None}})
    contains(c.run("apply", "edge.yaml")[0], "or nothing is filtered again")
    same({"confirm_ms", "confirm_preset_ms"} & set(daemon.requests[-1]["body"] or {}), set())
    for wrong in "25h", "60", "soon":
        contains(c.run("apply", "edge.yaml", "--confirm", wrong, status=2)[1], "takes a time of a day at most")


def confirm_and_rollback(c):
    policy = {"policy": {"digest": "4f2a", "generation": 7, "file": "edge\x1b.yaml"}}
    daemon = c.serve({"POST /v1/confirm": (200, policy), "POST /v1/rollback": (200, {"policy": None})})
    contains(c.run("confirm")[0], "confirmed: policy 4f2a, generation 7, edge\\x1b.yaml\n")
    contains(c.run("rollback")[0], "rolled back: no policy runs\n")
    same([r["socket"] for r in daemon.requests], ["penstock.sock"] * 2)
    rows = [{"generation": 7, "applied_at": "2026-01-02T03:04:05Z", "uid": 0, "file": "b.yaml", "digest": "4f2a",
             "undone": False},
            {"generation": 6, "applied_at": "2026-01-01T03:04:05Z", "uid": 1000, "file": "a.yaml", "digest": "77d0",
             "undone": True}]
    daemon.answers["GET /v1/history"] = (200, {"history": rows, "running": 7, "confirm": {"left_ms": 1}})
    out, _ = c.run("rollback", "--list")
    contains(out, "running, to be confirmed")
    contains(out, "1000  a.yaml")
    contains(out, "undone")
    late = {"error": {"code": "too-late", "message": "the time to confirm in is over"}}
    daemon.answers["POST /v1/confirm"] = (409, late)
    contains(c.run("confirm", status=1)[1], "the time to confirm in is over")


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


def purge_asks_and_tells(c):
    rows = {"removed": [{"what": "attachment", "name": "ingress of eth0, tcx"}],
            "kept": [{"what": "qdisc", "name": "clsact of eth1", "why": "others have filters there"}], "failed": []}
    daemon = c.serve({"POST /v1/purge": (200, {"schema": 1, **rows})})
    contains(c.run("purge", status=2)[1], "'--yes' is needed where nobody can be asked")
    same(daemon.requests, [])
    lines = c.run("purge", "--yes", "--keep-state")[0].splitlines()
    same([line.split() for line in lines[1:]], ["removed attachment ingress of eth0, tcx -".split(),
                                                "kept qdisc clsact of eth1 others have filters there".split()])
    same((daemon.requests[-1]["socket"], daemon.requests[-1]["body"]), ("penstock.sock", {"keep_state": True}))
    same(json.loads(c.run("purge", "-y", "--json")[0])["removed"], rows["removed"])
    daemon.answers["POST /v1/purge"] = (409, {"error": {"code": "busy", "message": "another change is being carried out"}})
    contains(c.run("purge", "-y", status=1)[1], "another change is being carried out")


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
    rules.insert(0, rules.pop(1))
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


WALK = {
    "packet": {"family": "ipv6", "src": "2001:db8::1", "dst": "2001:db8::2", "proto": 6, "sport": 40000, "dport": 80,
               "flags": ["syn", "ack"], "type": None, "code": None, "vlan": 7, "fragment": "first",
               "network_offset": 18, "transport_offset": 66},
    "judged": True, "classes": {"proto": 2, "src6": 70}, "sets": {"source": ["banned", "slow"], "destination": []},
    "candidates": [{"rule": "a\x1b", "source": "a.yaml:7", "do": "drop", "mode": "audit", "outcome": "counts"},
                   {"rule": "web", "source": "a.yaml:9", "do": "drop", "mode": "enforce", "outcome": "decides"}],
    "candidates_more": 3, "trees": {"boxes": 12, "rule": "web"}, "state": "live-flow", "tracks": True,
    "packets": 1, "bytes": 1234, "run_at": "xdp"}


def explain_shows_the_walk(c):
    """Every part has its line, what there is not has none: rules out a walk that leaves something out, that shows
    null as a zero, and one that comes with each frame of a capture."""
    daemon = c.serve({"POST /v1/explain": (200, {"results": [RESULT | {"walk": WALK}]})})

    def lines():
        return c.run("explain", "--at", "wan.ingress", "--frame", "00" * 60)[0].split("\n\n", 1)[1].splitlines()

    same([" ".join(line.split()) for line in lines()], [
        "packet tcp [2001:db8::1]:40000 > [2001:db8::2]:80 syn ack vlan 7, first fragment",
        "headers network at byte 18, transport at byte 66", "classes proto 2, src6 70",
        "sets source in banned, slow; destination in none that is filled at run time", "state of a live flow",
        "trees 12 boxes looked through, the first that matches is of web", "flows what passes here may begin one",
        "counters untouched; on the wire it is 1 packet of 1,234 bytes", "",
        "MATCHES DO MODE SOURCE OUTCOME", "a\\x1b drop audit a.yaml:7 is counted",
        "web drop enforce a.yaml:9 decides", "and 3 more"])
    bare = {key: None for key in WALK["packet"]}
    daemon.answers["POST /v1/explain"] = (200, {"results": [RESULT | {"walk": WALK | {
        "packet": bare, "judged": False, "candidates": [], "candidates_more": 0, "trees": None, "tracks": False}}]})
    same([" ".join(line.split()) for line in lines()], [
        "packet without IP addresses that can be read", "counters untouched; on the wire it is 1 packet of 1,234 bytes",
        "rules not asked: what the packet is decides"])
    icmp = bare | {"family": "ipv4", "src": "192.0.2.1", "dst": "192.0.2.2", "proto": 1, "type": 3, "code": 4}
    daemon.answers["POST /v1/explain"] = (200, {"results": [RESULT | {"walk": WALK | {"packet": icmp}}]})
    same(lines()[0], "packet   icmp 192.0.2.1 > 192.0.2.2 type dest-unreachable code frag-needed")
    unmeasured = RESULT | {"cost_ns": None, "cost_note": "the kernel cannot repeat the run"}
    daemon.answers["POST /v1/explain"] = (200, {"results": [unmeasured]})
    contains(c.run("explain", "--at", "wan.ingress", "--frame", "00" * 60)[0], "cost     the kernel cannot repeat")
    daemon.answers["POST /v1/explain"] = (200, {"results": [RESULT | {"walk": WALK}] * 2})
    c.file("a.pcap", pcap([b"\0" * 60] * 2))
    same(len(c.run("explain", "--at", "wan.ingress", "--pcap", "a.pcap")[0].splitlines()), 3)


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
