# SPDX-License-Identifier: Apache-2.0
"""What the running daemon may do, as the kernel says, and that it is enough for all that it does."""
import glob
import os
import shutil
import signal
import stat

import pytest

import frames
from lab import BPFFS, BUILD, HOST4, datagrams, wait_for
from lines import BANNED
from promises import promise

PORT = 5353
THREE = 1 << 12 | 1 << 38 | 1 << 39  # CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF
NOBODY = 65534
POLICY = """version: 1
attach:
  wan: {dev: wan0, hook: %(hook)s}
sets:
  listed: {file: feeds/listed.txt, refresh: on-change}
  banned: {max: 1k}
filter:
  wan-in:
    at: wan.ingress
    default: pass
    rules:
      - {id: established, state: established, do: pass}
      - {id: listed, from: $listed, do: drop}
      - {id: banned, from: $banned, do: drop}
  wan-out:
    at: wan.egress
    default: pass
    rules:
      - {id: no-syslog, proto: udp, dport: 514, do: drop}
"""


def process_status(path):
    with open(f"{path}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f)


def options(user):
    return ("--user", "nobody") if user else ()


class Site:
    def __init__(self, lab, user, hook="tc"):
        self.lab, self.user, self.hook = lab, user, hook
        self.host, self.peer = lab.quiet_pair()
        self.feed = lab.write("feeds/listed.txt", "198.51.100.1\n")
        self.policy = lab.write("policy.yaml", POLICY % {"hook": hook})
        self.daemon = lab.daemon(self.host, "--policy", self.policy, "--feed-dir", f"{lab.dir}/feeds", *options(user))
        self.sink, self.wire = lab.udp_sink(self.host, PORT), lab.wire(self.peer, "to-wan0")
        self.sent = 0

    def arrives(self, source):
        before = self.daemon.chain("wan-in")["received_packets"]
        self.wire.send(frames.udp_frame(source, HOST4, PORT, source.encode()))
        wait_for(lambda: self.daemon.chain("wan-in")["received_packets"] > before, "the frame")
        return source.encode() in datagrams(self.sink)

    def check_process(self):
        """Every thread: exactly the three capabilities, in every set that counts, and both locks."""
        for thread in glob.glob(f"/proc/{self.daemon.process.pid}/task/*"):
            status = process_status(thread)
            sets = {name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
            assert sets == {"CapInh": 0, "CapPrm": THREE, "CapEff": THREE, "CapBnd": THREE, "CapAmb": 0}, thread
            assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), thread
            assert status["Uid"].split() == [str(self.user)] * 4, thread
            assert status["Gid"].split() == [str(self.user)] * 4, thread


@pytest.mark.parametrize("hook,user", [("tc", 0), ("xdp", NOBODY)], ids=["tc-root", "xdp-nobody"])
def test_three_capabilities_are_enough(lab, hook, user):
    """With CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON alone, no_new_privs and a list of system calls, as root and as a
    service user: it loads, attaches (XDP or TCX, and egress), applies, bans, explains, reads a feed and its policy
    again, is killed, adopts what it left, detaches. Rules out rights dropped by the unit file alone, and a list of
    system calls that ends a later verb."""
    site = Site(lab, user, hook)
    daemon = site.daemon
    site.check_process()
    assert daemon.attached("wan0")["hook"] == hook and daemon.attached("wan0", "egress")["hook"] == "tc"
    assert site.arrives("192.0.2.1") and not site.arrives("198.51.100.1")
    daemon.ok("set", "add", "banned", "192.0.2.1")
    assert not site.arrives("192.0.2.1")
    assert daemon.ok("explain", "--at", "wan.ingress", f"udp 192.0.2.1:1 > {HOST4}:{PORT}")
    with open(site.feed, "a", encoding="ascii") as f:
        f.write("198.51.100.2\n")
    wait_for(lambda: not site.arrives("198.51.100.2"), "the feed to be read again")
    daemon.process.kill()
    daemon.process.wait()
    daemon.start()
    site.check_process()
    assert "programs adopted" in daemon.logged()
    assert not site.arrives("192.0.2.1") and site.arrives("192.0.2.3")
    generation = daemon.ok("status")["policy"]["generation"]
    lab.write("policy.yaml", (POLICY % {"hook": hook}).replace("no-syslog", "syslog"))
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: daemon.ok("status")["policy"]["generation"] > generation, "the policy to be read again")
    for verb in ("set", "list", "banned"), ("set", "del", "banned", "192.0.2.1"), ("drops",), ("rules",), ("sets",):
        daemon.ok(*verb)
    daemon.ok("detach", "wan0")
    assert not daemon.attached("wan0")
    assert daemon.stop() == 0


def test_the_compiler_has_no_rights(lab):
    """While a long policy is compiled, the child that reads it has no capability, no_new_privs and, above the
    daemon's list of system calls, one of its own. Rules out text read with the daemon's rights."""
    site = Site(lab, 0)
    lab.write("feeds/listed.txt", "".join(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}\n" for i in range(300000)))
    children = f"/proc/{site.daemon.process.pid}/task/{site.daemon.process.pid}/children"
    apply = lab.spawn(site.host, f"{BUILD}/penstock", "--run-dir", site.daemon.run_dir, "apply", site.policy)

    def child():
        with open(children, encoding="ascii") as f:
            for pid in f.read().split():
                status = process_status(f"/proc/{pid}")
                if status.get("Seccomp_filters") == "2":
                    return status
        return None

    status = wait_for(child, "the compiling child with its own list", every=0)
    assert [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0] * 4
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert apply.wait(30) == 0


def test_a_missing_capability_is_named(lab):
    """Without CAP_PERFMON or CAP_BPF, with none at all, and as an ordinary user, also to purge: one line that names it,
    exit 1, nothing made. Rules out a start that finds out half way."""
    host, _ = lab.quiet_pair()
    program = shutil.copy(f"{BUILD}/penstockd", lab.dir)  # where anybody can reach it
    for limits, missing in ("--bounding-set=-perfmon", "CAP_PERFMON"), ("--bounding-set=-bpf", "CAP_BPF"), \
            ("--bounding-set=-all", "CAP_BPF"), ("--reuid=65534", "CAP_BPF"):
        for verb in "--foreground", "--purge":
            answer = lab.run(host, "setpriv", limits, program, verb, "--instance", lab.id, "--run-dir", f"{lab.dir}/run",
                             "--state-dir", f"{lab.dir}/state")
            assert answer.exit == 1 and f"{missing} is missing" in answer.stderr, answer
            assert len(answer.stderr.splitlines()) == 1 and not answer.stdout, answer
    assert not made(lab)
    promise("F42", "a missing right is named", "penstockd without CAP_PERFMON, without CAP_BPF, as an ordinary user",
            "one-line reason, exit code, no half state", f"exit 1, nothing made: '{answer.stderr.strip()}'")
    answer = lab.run(host, f"{BUILD}/penstockd", "--foreground", "--user", "no-such-user")
    assert answer.exit == 1 and "no user 'no-such-user'" in answer.stderr, answer


def made(lab):
    return [path for path in (f"{lab.dir}/run", f"{lab.dir}/state", f"{BPFFS}/{lab.id}") if os.path.exists(path)]


def test_too_few_files_are_named(lab):
    """At most 32 files may be open: one line that says how many are needed, exit 1, nothing made. With as many as it
    asks for, and a limit of locked memory that was too small for maps once, it starts, and enforces on a device. Where
    the limit can be raised it is. Rules out a verifier's log as the answer, and a loop around accept()."""
    host, _ = lab.quiet_pair()
    daemon = "--foreground", "--instance", lab.id, "--run-dir", f"{lab.dir}/run", "--state-dir", f"{lab.dir}/state"
    answer = lab.run(host, "prlimit", "--nofile=32", f"{BUILD}/penstockd", *daemon)
    assert answer.exit == 1 and len(answer.stderr.splitlines()) == 1, answer
    assert "128 files must be open at a time" in answer.stderr and "the limit is 32" in answer.stderr, answer
    assert not made(lab)
    few = lab.daemon(host, start=False)
    with open(few.log, "ab") as log:
        few.process = lab.spawn(host, "prlimit", "--nofile=64:128", "--memlock=65536", f"{BUILD}/penstockd", "--foreground",
                                "--instance", few.instance, "--run-dir", few.run_dir, "--state-dir", few.state_dir,
                                stderr=log)
    wait_for(lambda: few.cli("status").exit == 0, "the daemon to answer")
    few.apply(BANNED)
    assert few.attached("wan0")
    with open(f"/proc/{few.process.pid}/limits", encoding="ascii") as f:
        assert next(line for line in f if line.startswith("Max open files")).split()[3:5] == ["128", "128"]
    promise("F43", "too few open files are named", "RLIMIT_NOFILE 32, then 128 with RLIMIT_MEMLOCK 64 KiB",
            "stated need, no busy loop", f"exit 1, nothing made: '{answer.stderr.strip()}'; with 128 it enforces")


def owners(daemon):
    found = set()
    for top in daemon.run_dir, daemon.state_dir, daemon.pin_dir:
        for folder, _, files in os.walk(top):
            found |= {os.lstat(path).st_uid for path in [folder, *(f"{folder}/{name}" for name in files)]}
    return found


def test_what_root_left_is_handed_over(lab):
    """A daemon of root's is killed; the next one of its instance, as a service user, owns directories, saved state
    and pins, adopts the policy and goes on. Not while the first one lives: that is refused, and no owner changes.
    A third user's directory is refused, too. Rules out a change of user that loses the policy, and one that can be
    made to give away what is somebody else's."""
    site = Site(lab, 0)
    daemon = site.daemon
    second = lab.run(site.host, f"{BUILD}/penstockd", "--foreground", "--instance", daemon.instance, "--run-dir",
                     daemon.run_dir, "--state-dir", daemon.state_dir, "--user", "nobody")
    assert second.exit == 1 and "in use by the penstockd with pid" in second.stderr, second
    assert owners(daemon) == {0}
    daemon.stop(signal.SIGKILL)
    os.symlink("/etc/hostname", f"{daemon.state_dir}/link")
    daemon.options = (*daemon.options, "--user", "nobody")
    site.user = NOBODY
    daemon.start()
    site.check_process()
    assert owners(daemon) == {NOBODY} and os.stat("/etc/hostname").st_uid == 0
    for path, mode in (daemon.state_dir, 0o700), (daemon.run_dir, 0o755), (daemon.pin_dir, 0o700):
        assert stat.S_IMODE(os.stat(path).st_mode) == mode, path
    assert "programs adopted" in daemon.logged() and not site.arrives("198.51.100.1")
    daemon.stop()
    os.chown(daemon.state_dir, 1, 1)
    daemon.spawn()
    assert daemon.process.wait(10) == 1 and "belongs to user 1" in daemon.logged()
    assert owners(daemon) == {1, NOBODY}


def test_a_policy_that_others_can_write_is_refused(lab):
    """--policy FILE in the hands of others: of another user, writable to all, below a directory that is either, or
    a link. Each is refused by name at the start, and on SIGHUP costs nothing but a line in the log. A set file
    likewise is missing. A sticky directory will do. Rules out a check of the file alone."""
    host, _ = lab.quiet_pair()
    text = """version: 1
attach:
  wan: {dev: wan0, hook: tc}
sets:
  listed: {file: listed.txt}
filter:
  wan-in:
    at: wan.ingress
    default: pass
    rules:
      - {id: listed, from: $listed, do: drop}
"""
    path, top = lab.write("a/b/policy.yaml", text), f"{lab.dir}/a"
    listed = lab.write("a/b/listed.txt", "198.51.100.1\n")
    daemon = lab.daemon(host, "--policy", path, start=False)
    wrong = [(os.chmod, path, 0o666, 0o644), (os.chmod, top, 0o777, 0o755),
             (lambda p, uid: os.chown(p, uid, 0), path, 1, 0), (lambda p, uid: os.chown(p, uid, 0), top, 1, 0),
             (os.chmod, listed, 0o622, 0o644)]
    for change, what, bad, good in wrong:
        change(what, bad)
        daemon.spawn()
        assert daemon.process.wait(10) == 1 and "others than root" in daemon.logged(), what
        os.truncate(daemon.log, 0)
        change(what, good)
    os.chmod(top, 0o1777)
    daemon.start()
    os.chmod(path, 0o666)
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "the running policy stays" in daemon.logged(), "the refusal")
    assert daemon.ok("status")["policy"]["generation"] == 1 and daemon.attached("wan0")
