# SPDX-License-Identifier: Apache-2.0
"""A change that must be confirmed: what nobody confirms is undone, with the daemon alive, stopped or gone."""
import json
import os
import pty
import signal
import socket
import subprocess
import time

import pytest

import frames
from lab import BUILD, HOST4, PEER4, wait_for
from lines import BLOCKED

SLACK = 2.0  # seconds that undoing may be late
T = 2  # seconds to confirm in

OPEN = """version: 1
attach:
  wan: {dev: wan0, hook: %s}
filter:
  wan-in:
    at: wan.ingress
    default: pass
    rules:
      - {id: noise, proto: udp, dport: 9, do: drop}
"""
SHUT = """version: 1
attach:
  wan: {dev: wan0, hook: %s}
filter:
  wan-in:
    at: wan.ingress
    default: drop
    rules:
      - {id: nothing, proto: udp, dport: 9, do: drop}
"""


class Probe:
    """A datagram to a listener behind the chain, over and over: whether packets pass at this moment."""

    def __init__(self, lab, host, peer):
        self.sink = lab.udp_sink(host, 7)
        self.wire = lab.wire(peer, "to-wan0")
        self.frame = frames.udp_frame(PEER4, HOST4, 7)
        self.sink.settimeout(0.1)

    def passes(self):
        self.wire.send(self.frame)
        try:
            self.sink.recv(100)
        except socket.timeout:
            return False
        return True

    def until_passes(self, limit):
        began = time.monotonic()
        wait_for(self.passes, "packets to pass again", limit=limit)
        return time.monotonic() - began


@pytest.fixture
def hook(request):
    """TC, where a test does not ask for both: what is tried is the word, which both read alike."""
    return getattr(request, "param", "tc")


BOTH = pytest.mark.parametrize("hook", ["xdp", "tc"], indirect=True)


@pytest.fixture
def stand(lab, hook):
    host, peer = lab.quiet_pair()
    daemon = lab.daemon(host)
    daemon.apply(OPEN % hook)
    probe = Probe(lab, host, peer)
    assert probe.passes()
    return daemon, probe


def shut(daemon, lab, hook, *how):
    return daemon.cli("apply", lab.write("shut.yaml", SHUT % hook), "--json", *how)


def test_what_is_confirmed_stays(lab, stand, hook):
    daemon, probe = stand
    answer = shut(daemon, lab, hook, "--confirm", "60s")
    assert answer.exit == 0 and answer.json["confirm"]["previous"]["generation"] == 1, answer
    assert not probe.passes()
    assert daemon.get("/v1/status")["confirm"]["left_ms"] > 50_000
    assert daemon.ok("confirm")["policy"]["generation"] == 2
    assert daemon.get("/v1/status")["confirm"] is None and not probe.passes()
    assert daemon.cli("confirm").exit == 1  # once is enough


@BOTH
@pytest.mark.parametrize("how", ["alive", "killed", "stopped"])
def test_what_nobody_confirms_is_undone_in_time(lab, stand, hook, how):
    """Promise 21. By the program: a killed daemon and one that hangs undo it as well. Rules out a timer in the
    daemon. The next start says what happened and has the names of before."""
    daemon, probe = stand
    before = daemon.get("/v1/status")["policy"]
    assert shut(daemon, lab, hook, "--confirm", f"{T}s").exit == 0
    began = time.monotonic()
    assert not probe.passes()
    if how == "killed":
        daemon.stop(signal.SIGKILL)
    if how == "stopped":
        daemon.process.send_signal(signal.SIGSTOP)
    probe.until_passes(T + SLACK)
    assert time.monotonic() - began <= T + SLACK
    if how == "stopped":
        daemon.process.send_signal(signal.SIGCONT)
    if how == "killed":
        daemon.start()
        assert "was not confirmed in time" in daemon.logged()
    wait_for(lambda: daemon.get("/v1/status")["confirm"] is None, "the daemon to have gone back")
    assert daemon.get("/v1/status")["policy"] == before
    assert daemon.rule("wan-in", "noise")["packets"] == 0 and probe.passes()
    history = daemon.ok("rollback", "--list")["history"]
    assert [(h["generation"], h["undone"]) for h in history] == [(2, True), (1, False)]
    assert daemon.apply(SHUT % hook)["policy"]["generation"] == 3  # numbers go on
    assert not probe.passes()


def test_a_daemon_that_was_killed_goes_on_waiting(lab, stand, hook):
    """A start in the time to confirm in: the change can still be confirmed. Rules out a start that takes what is
    active for what was decided."""
    daemon, probe = stand
    assert shut(daemon, lab, hook, "--confirm", "60s").exit == 0
    daemon.stop(signal.SIGKILL)
    daemon.start()
    status = daemon.get("/v1/status")
    assert status["confirm"]["previous"]["generation"] == 1 and status["policy"]["generation"] == 2
    assert daemon.ok("rollback")["policy"]["generation"] == 1 and probe.passes()


def test_no_other_change_begins_meanwhile(lab, stand, hook):
    daemon, _ = stand
    assert shut(daemon, lab, hook, "--confirm", "60s").exit == 0
    other = lab.write("open.yaml", OPEN % hook)
    for verb in ("apply", other), ("attach", "lo", "--as", "wan"), ("detach", "wan0"):
        answer = daemon.cli(*verb)
        assert answer.exit == 1 and "waits to be confirmed" in answer.stderr, answer
    assert daemon.ok("check", other)["errors"] == 0
    daemon.ok("rollback")
    assert daemon.cli("apply", other).exit == 0


@BOTH
def test_a_first_policy_goes_back_to_nothing(lab, hook):
    """Where no policy was, none is again, and nothing is attached once the daemon has gone back. Rules out a fall
    back to an empty bank, which would drop all."""
    host, peer = lab.quiet_pair()
    daemon = lab.daemon(host)
    probe = Probe(lab, host, peer)
    answer = shut(daemon, lab, hook, "--confirm", f"{T}s")
    assert answer.exit == 0 and answer.json["confirm"]["previous"] is None
    assert not probe.passes()
    daemon.stop(signal.SIGKILL)
    assert probe.until_passes(T + SLACK)
    daemon.start()
    status = daemon.get("/v1/status")
    assert status["policy"] is None and not status["attached"]
    assert daemon.apply(SHUT % hook)["policy"]["generation"] == 2 and not probe.passes()


def test_devices_of_both_policies_wait(lab, stand, hook):
    """The device that only the policy of before names stays attached until the change is confirmed, and is
    filtered again when it is undone; one that appears meanwhile gets its zone in both."""
    daemon, probe = stand
    elsewhere = (SHUT % hook).replace("wan0", "wan9")
    path = lab.write("elsewhere.yaml", elsewhere)
    assert daemon.cli("apply", path, "--confirm", "60s").exit == 0
    assert daemon.attached("wan0") and probe.passes()
    daemon.ok("rollback")
    assert daemon.attached("wan0")["zone"] == "wan"
    assert daemon.cli("apply", path, "--confirm", "60s").exit == 0
    daemon.ok("confirm")
    assert not daemon.attached("wan0")


def test_counters_of_rules_survive_what_is_undone(lab, stand, hook):
    """What an undone policy counted is not another rule's: its counters get no new owner unseen."""
    daemon, probe = stand
    wire = probe.wire
    for _ in range(3):
        wire.send(frames.udp_frame(PEER4, HOST4, 9))
    wait_for(lambda: daemon.rule("wan-in", "noise")["packets"] == 3, "three packets")
    assert shut(daemon, lab, hook, "--confirm", "60s").exit == 0
    for _ in range(5):
        wire.send(frames.udp_frame(PEER4, HOST4, 9))
    wait_for(lambda: daemon.rule("wan-in", "nothing")["packets"] == 5, "five packets")
    daemon.ok("rollback")
    assert daemon.rule("wan-in", "noise")["packets"] == 3
    daemon.apply((OPEN % hook).replace("noise", "fresh"))
    assert daemon.rule("wan-in", "fresh")["packets"] == 0


def test_rollback_applies_what_ran_before(lab, stand, hook):
    """From the daemon's own copies: the files may be gone. And forth again."""
    daemon, probe = stand
    path = lab.write("gone.yaml", SHUT % hook)
    assert daemon.cli("apply", path).exit == 0
    os.unlink(path)
    assert daemon.ok("rollback")["policy"]["generation"] == 3 and probe.passes()
    assert daemon.ok("rollback")["policy"]["generation"] == 4 and not probe.passes()
    daemon.stop(signal.SIGKILL)
    daemon.start()
    assert daemon.ok("rollback")["policy"]["generation"] == 5 and probe.passes()
    history = daemon.ok("rollback", "--list")["history"]
    assert [h["generation"] for h in history] == [5, 4, 3, 2, 1]
    assert all(h["uid"] == 0 and h["applied_at"] for h in history)
    assert len({h["digest"] for h in history}) == 2


def test_the_policy_may_ask_for_it(lab, stand, hook):
    """`safety.confirm`, unless the command says otherwise."""
    daemon, probe = stand
    text = (SHUT % hook).replace("filter:", "safety: {confirm: 60s}\nfilter:")
    path = lab.write("asks.yaml", text)
    assert daemon.cli("apply", path, "--no-confirm").exit == 0
    assert daemon.get("/v1/status")["confirm"] is None
    daemon.apply(OPEN % hook)
    assert daemon.cli("apply", path).exit == 0
    assert daemon.get("/v1/status")["confirm"]["left_ms"] > 50_000
    daemon.ok("rollback")
    assert probe.passes()


LOGIN = """
import os, pty, socket, sys
listener = socket.create_server((sys.argv[1], 2222), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
print("ready", flush=True)
line, _ = listener.accept()
pty.spawn(sys.argv[2:])
"""


class Login:
    """What a person types who came from the peer by TCP: at a terminal, below a process that has the connection,
    and with an environment that says nothing of it, as under sudo."""

    def __init__(self, lab, daemon, peer, address=HOST4):
        self.lab, self.daemon, self.peer, self.address = lab, daemon, peer, address

    def types(self, *arguments, through=()):
        d = self.daemon
        command = (*through, f"{BUILD}/penstock", "--instance", d.instance, "--run-dir", d.run_dir, *arguments)
        shell = self.lab.spawn(d.ns, "env", "-i", "TERM=xterm", "PATH=/usr/bin:/bin", "/usr/bin/python3", "-c", LOGIN,
                               self.address, "/bin/sh", "-c", " ".join(command), stdout=subprocess.PIPE, text=True)
        assert shell.stdout.readline() == "ready\n"
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        client = self.lab.socket(self.peer, family, socket.SOCK_STREAM)
        client.connect((self.address, 2222))
        said = shell.stdout.read()
        shell.wait(10)
        client.close()
        return said


SSH = """version: 1
attach:
  wan: {dev: wan0, hook: %s}
filter:
  wan-in:
    at: wan.ingress
    default: drop
    rules:
      - {id: established, state: established, do: pass}
      - {id: ssh, proto: tcp, dport: 2222, from: %s, do: pass}
  wan-out:
    at: wan.egress
    default: pass
    rules:
      - {id: later, proto: tcp, dport: 25, do: drop}
"""


@pytest.fixture
def login(lab, hook):
    host, peer = lab.talking_pair()
    daemon = lab.daemon(host)
    daemon.apply(OPEN % hook)
    return Login(lab, daemon, peer)


@BOTH
@pytest.mark.parametrize("address, peer, stranger", [(HOST4, "10.77.1.2", "10.77.9.9"),
                                                     ("2001:db8:77:1::1", "'2001:db8:77:1::2'", "'2001:db8:9::9'")])
def test_nobody_locks_himself_out(lab, login, hook, address, peer, stranger):
    """Refused with the rule that would, before anything is changed: what drops the login's next packet, one that
    drops its reply, and one under which the login goes on, since it is established, but no new one would come in.
    What passes all four is applied. Rules out a look at the next packet alone, and one at the rules' text."""
    login.address = address
    text = SSH % (hook, peer)
    bad = {"shut": (SHUT % hook, "default"), "stranger": (SSH % (hook, stranger), "new connection"),
           "reply": (text.replace("dport: 25", "sport: 2222"), "rule 'later' of wan-out")}
    for name, (policy, why) in bad.items():
        path = lab.write(f"{name}.yaml", policy)
        said = login.types("apply", path)
        assert "would lock you out" in said and why in said and f"{name}.yaml" in said, said
        assert login.daemon.get("/v1/status")["policy"]["generation"] == 1
    assert "applied" in login.types("apply", lab.write("good.yaml", text), "--no-confirm")
    assert "applied" in login.types("apply", lab.write("shut.yaml", SHUT % hook), "--force", "--no-confirm")


def test_a_login_from_elsewhere_must_confirm(lab, login, hook):
    """60 s, from a terminal below a process with an inbound connection, also from a nested shell and through a
    terminal multiplexer; without a terminal nobody is asked. Rules out a look at SSH_CONNECTION alone."""
    daemon, path = login.daemon, lab.write("ssh.yaml", SSH % (hook, "10.77.1.2"))
    said = login.types("apply", path, through=("/bin/sh", "-c", '\'exec "$@"\'', "sh"))
    assert "'penstock confirm' within 1m" in said or "'penstock confirm' within 59s" in said, said
    daemon.ok("rollback")
    assert daemon.cli("apply", path).exit == 0
    assert daemon.get("/v1/status")["confirm"] is None
