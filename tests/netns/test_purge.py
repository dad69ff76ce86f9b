# SPDX-License-Identifier: Apache-2.0
"""Nothing is left: the machine before the first start and after `penstock purge`, or after the last `detach` and a
stop, is compared in full."""
import os
import re
import signal
import socket
import subprocess

import pytest

import frames
import kernel
from lab import BPFFS, BUILD, HOST4, PEER4, datagrams, wait_for
from promises import promise
from test_attach import Probe, policy

PORT = 7000
TC = "/usr/sbin/tc"
HOOKS = {"tcx": ("tc", ()), "clsact": ("tc", ("--tc-attach", "clsact")), "xdp-native": ("xdp", ()),
         "xdp-generic": ("xdp-generic", ())}
BUSY = """version: 1
attach:
  wan: {dev: wan0, hook: %s}
sets:
  banned: {max: 1k, ttl: 1h}
filter:
  wan-in:
    at: wan.ingress
    default: drop
    rules:
      - {id: banned, from: $banned, do: drop}
      - {id: established, state: established, do: pass}
      - {id: free, proto: udp, dport: 7000, do: pass}
  wan-out:
    at: wan.egress
    default: pass
    rules:
      - {id: no-syslog, proto: udp, dport: 514, do: drop}
"""
LIVELY = re.compile(r"net\.(netfilter\.nf_conntrack_count|.*\.(stable_secret|lo_|fib_generation))")


def tree(path):
    """Everything below, with kinds, modes and owners; None: not there."""
    found = subprocess.run(("find", path, "-printf", "%y %m %U:%G %P %l\n"), capture_output=True, text=True, check=False)
    return sorted(found.stdout.splitlines()) if found.returncode == 0 else None


# Devices, qdiscs, programs, sockets of ours, sysctls; of each device offloads and filters.
LOOK = r"""PATH=/usr/sbin:/sbin:/usr/bin:/bin
ip -d link; tc qdisc show; bpftool net; ss -Halnx | grep -F "$0" | sort
sysctl -ar '^(net[.]|kernel[.](bpf|unprivileged_bpf))'
for dev in $(ip -o link | sed 's/^[0-9]*: \([^:@]*\).*/\1/'); do
  echo "$dev:"; ethtool -k $dev && tc filter show dev $dev ingress && tc filter show dev $dev egress || exit 1
done"""


class Machine:
    """What could show that penstock was there."""

    def __init__(self, lab, namespaces, daemons):
        self.lab, self.namespaces, self.daemons = lab, namespaces, daemons

    def says(self, ns, *command):
        answer = self.lab.run(ns, *command)
        assert answer.exit == 0, answer
        return answer.stdout

    def network(self, ns):
        return [line for line in self.says(ns, "sh", "-c", LOOK, self.lab.dir).splitlines() if not LIVELY.match(line)]

    def look(self):
        with open("/proc/mounts", encoding="ascii") as f:
            seen = {"mounts": [line for line in f if " bpf " in line or self.lab.dir in line]}
        for ns in self.namespaces:
            seen[ns] = self.network(ns)
        for daemon in self.daemons:
            seen[daemon.instance] = {path: tree(path) for path in (daemon.pin_dir, daemon.state_dir, daemon.run_dir)}
        return seen


class Objects:
    """The programs, maps and links of a daemon, by their numbers."""

    def __init__(self, daemon):
        programs, maps = kernel.objects(daemon.pin_dir, daemon.process.pid)
        assert programs and len(maps) > 10
        links = [number for name, number in zip(os.listdir(daemon.pin_dir + "/links"), kernel.link_ids(daemon.pin_dir))
                 if "clsact" not in name and "qdisc" not in name]
        self.ours = programs, maps, set(links)

    def alive(self):
        return [ours & there for ours, there in zip(self.ours, kernel.everything())]

    def gone(self):
        wait_for(lambda: not any(self.alive()), lambda: f"{self.alive()} to be freed")


def use(lab, daemon, hook, probe):
    """A policy, members, flows, an override, a change to go back to: all that leaves something."""
    daemon.apply(BUSY % hook)
    daemon.apply((BUSY % hook).replace("no-syslog", "syslog"))
    daemon.ok("set", "add", "banned", "203.0.113.0/24")
    daemon.ok("attach", "spare0", "--as", "wan")
    probe.send()
    assert probe.heard() == [PEER4]
    lab.socket(daemon.ns, socket.AF_INET, socket.SOCK_DGRAM).sendto(b"?", (PEER4, 9))
    wait_for(lambda: tree(daemon.state_dir + "/overrides.json"), "the override to be saved")


def purge(daemon, *more, exit=0):
    answer = daemon.cli("purge", "--yes", "--json", "--state-dir", daemon.state_dir, *more)
    assert answer.exit == exit, f"{answer}\n{daemon.logged()}"
    return answer.json


def named(answer, key="removed"):
    return [f"{row['what']} {row['name']}" for row in answer[key]]


@pytest.mark.parametrize("how", HOOKS)
def test_purge_leaves_the_machine_as_found(lab, how):
    """Applies, members, flows, an attached device; then purge, with the daemon and without one that was killed, gives
    back devices, qdiscs, filters, offloads, sysctls, mounts, sockets, files and pins as they were before the first
    start, no program, map or link lives, packets pass, and each thing was named. Rules out a purge that forgets what
    was made at run time, one that needs a daemon, and one that needs the daemon to be dead."""
    hook, options = HOOKS[how]
    host, peer = lab.quiet_pair()
    lab.quiet_veth(host, peer, "spare0")
    probe = Probe(lab, host, peer)
    daemon = lab.daemon(host, *options, start=False)
    machine = Machine(lab, (host, peer), (daemon,))
    probe.open()
    before, shown = machine.look(), []
    for killed in False, True:
        daemon.start()
        use(lab, daemon, hook, probe)
        objects = Objects(daemon)
        assert killed or machine.network(host) != before[host]
        if killed:
            daemon.stop(signal.SIGKILL)
            assert closed(probe)
        shown = named(answer := purge(daemon))
        assert daemon.process.wait(10) == (-signal.SIGKILL if killed else 0)
        assert not answer["failed"] and not answer["kept"], answer
        for side in "ingress", "egress":
            for dev in "wan0", "spare0":
                assert any(row.startswith(f"attachment {side} of {dev}, ") for row in shown), shown
        assert (how == "clsact") == ("qdisc clsact of wan0" in shown), shown
        for row in (f"state {daemon.state_dir}/history.json", f"directory {daemon.pin_dir}", f"directory {daemon.run_dir}"):
            assert row in shown, shown
        objects.gone()
        after = machine.look()
        assert after == before, difference(before, after)
        probe.open()
    answer = daemon.cli("purge", "--yes", "--state-dir", daemon.state_dir)
    assert answer.exit == 0 and answer.stdout == "there was nothing to remove\n", answer
    promise("P37", f"purge leaves the machine as found, {how}",
            "two applies, run-time members, flows, a device attached at run time; purge, and once more after SIGKILL",
            "devices, qdiscs, filters, offloads, sysctls, mounts, sockets, files, pins, programs, maps as before",
            f"0 differences; {len(shown)} things named")


def closed(probe):
    probe.send()
    return probe.heard() == [PEER4]


def difference(a, b, path=""):
    """What differs, not all that was looked at."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [line for key in a.keys() | b.keys() for line in difference(a.get(key), b.get(key), f"{path}/{key}")]
    if isinstance(a, list) and isinstance(b, list):
        return [f"{path}: -{line}" for line in a if line not in b] + [f"{path}: +{line}" for line in b if line not in a]
    return [] if a == b else [f"{path}: {a!r} -> {b!r}"]


def test_detaching_everything_and_a_stop_leave_devices_as_found(lab):
    """detach of every device, then a clean stop: devices, qdiscs and filters are those of before, and nothing is on
    a packet's way any more; saved state and pins are not devices and stay. Rules out a detach that leaves its qdisc."""
    host, peer = lab.quiet_pair()
    lab.quiet_veth(host, peer, "spare0")
    daemon = lab.daemon(host, "--tc-attach", "clsact", start=False)
    machine = Machine(lab, (host, peer), ())
    before = machine.look()
    daemon.start()
    probe = Probe(lab, host, peer)
    use(lab, daemon, "tc", probe)
    for dev in "wan0", "spare0":
        daemon.ok("detach", dev)
    assert daemon.stop() == 0
    after = machine.look()
    assert after == before, difference(before, after)
    probe.open()


def test_what_others_have_stays(lab):
    """Somebody's filters below the qdisc that we made, a clsact qdisc that was there before us, a file of somebody's
    in the state directory: purge takes ours and leaves theirs, and says what it kept. Rules out a purge that deletes
    whole qdiscs and directories."""
    host, peer = lab.quiet_pair()
    lab.quiet_veth(host, peer, "spare0")
    machine = Machine(lab, (host, peer), ())
    machine.says(host, TC, "qdisc", "add", "dev", "spare0", "clsact")
    daemon = lab.daemon(host, "--tc-attach", "clsact")
    daemon.apply(policy())
    daemon.ok("attach", "spare0", "--as", "wan")
    foreign = "filter", "add", "dev", "wan0", "egress", "prio", "20", "protocol", "ip", "u32", "match", "u32", "0", "0", \
        "classid", "1:1"
    machine.says(host, TC, *foreign)
    lab.write(f"state-{daemon.instance}/notes.txt", "mine\n")
    answer = purge(daemon)
    assert named(answer, "kept") == ["qdisc clsact of wan0", f"directory {daemon.state_dir}"], answer
    for dev in "wan0", "spare0":
        assert "clsact" in machine.says(host, TC, "qdisc", "show", "dev", dev)
        assert "bpf" not in machine.says(host, TC, "filter", "show", "dev", dev, "ingress")
    assert "u32" in machine.says(host, TC, "filter", "show", "dev", "wan0", "egress")
    assert os.listdir(daemon.state_dir) == ["notes.txt"]
    Probe(lab, host, peer).open()


def test_purge_of_one_instance_leaves_the_other(lab):
    """Two instances in one namespace, the second one's directories below the first one's, each with a device: purge
    of the first, then its start and purge after a SIGKILL, cost the second nothing, which enforces, answers and is
    adopted. Rules out a purge by what programs are called, and one that removes directories with all that is below."""
    host, peer = lab.quiet_pair()
    lab.quiet_veth(host, peer, "other0")
    lab.ip(host, "addr add 10.77.9.1/24 dev other0")
    first, second = lab.daemon(host, name="a"), lab.daemon(host, name="b", start=False)
    second.run_dir, second.state_dir = f"{first.run_dir}/b", f"{first.state_dir}/b"
    second.start()
    first.apply(policy())
    second.apply(policy("other0"), "other.yaml")
    one = Probe(lab, host, peer)
    other = Probe(lab, host, peer, "other0", one.sink)
    for killed in False, True:
        if killed:
            first.start()
            first.apply(policy())
            first.stop(signal.SIGKILL)
        mine = tree(second.pin_dir), tree(second.state_dir), tree(second.run_dir)
        answer = purge(first)
        assert not answer["failed"] and sorted(named(answer, "kept")) == sorted(
            f"directory {path}" for path in (first.run_dir, first.state_dir)), answer
        assert (tree(second.pin_dir), tree(second.state_dir), tree(second.run_dir)) == mine
        one.open()
        other.enforced(second)
    second.stop(signal.SIGKILL)
    second.start()
    assert "programs adopted" in second.logged() and second.get("/v1/status")["policy"]["generation"] == 1
    other.enforced(second)


def test_the_saved_policy_can_be_kept(lab):
    """--keep-state: enforcement ends and pins go, the texts and the history stay; a new daemon enforces nothing and
    shows the history, and 'rollback' brings the policy back from it. Rules out a keep that keeps a directory nobody
    can use."""
    host, peer = lab.quiet_pair()
    daemon, probe = lab.daemon(host), Probe(lab, host, peer)
    daemon.apply(policy())
    saved = wait_for(lambda: [row for row in tree(daemon.state_dir) if "history.json" in row] and tree(daemon.state_dir),
                     "the history to be saved")
    answer = purge(daemon, "--keep-state")
    assert named(answer, "kept") == [f"state {daemon.state_dir}"] and not answer["failed"]
    daemon.process.wait(10)
    assert tree(daemon.state_dir) == saved and tree(daemon.pin_dir) is None
    probe.open()
    daemon.start()
    probe.open()
    rows = daemon.cli("rollback", "--list")
    assert daemon.get("/v1/status")["policy"] is None and "running" not in rows.stdout, rows
    assert daemon.ok("rollback")["policy"]["generation"] == 2
    probe.enforced(daemon)


def test_a_daemon_of_a_service_user_is_purged_whole(lab):
    """The daemon is nobody's user and may not remove directories above its own: root's purge does what it could not,
    and nothing is left. Rules out a purge that leaves empty directories in the packaged setup."""
    host, peer = lab.quiet_pair()
    daemon = lab.daemon(host, "--user", "nobody", start=False)
    machine = Machine(lab, (host,), (daemon,))
    before = machine.look()
    daemon.start()
    daemon.apply(policy())
    answer = purge(daemon)
    assert not answer["failed"] and not answer["kept"], answer
    assert named(answer).count(f"directory {daemon.pin_dir}") == 1
    daemon.process.wait(10)
    after = machine.look()
    assert after == before, difference(before, after)


def test_purge_asks_and_takes_its_turn(lab):
    """Nobody to ask and no --yes: exit 2 and nothing happens. On a terminal 'n' ends it. A daemon that is stopped keeps
    its lock: purge gives up, touching nothing; and a second instance by the same pins is refused. Rules out a purge
    that anything in a pipe confirms, and one that works behind a daemon's back."""
    host, peer = lab.quiet_pair()
    daemon, probe = lab.daemon(host), Probe(lab, host, peer)
    daemon.apply(policy())
    answer = daemon.cli("purge", stdin="y\n")
    assert answer.exit == 2 and "--yes" in answer.stderr, answer
    ask = f"{BUILD}/penstock --instance {daemon.instance} --run-dir {daemon.run_dir} purge"
    answer = lab.run(host, "script", "-qec", ask, "/dev/null", stdin="n\n")
    assert answer.exit == 1 and "[y/N]" in answer.stdout, answer
    probe.enforced(daemon)
    second = lab.run(host, f"{BUILD}/penstockd", "--foreground", "--run-dir", f"{lab.dir}/r2", "--state-dir",
                     f"{lab.dir}/s2", "--pin-dir", daemon.pin_dir)
    assert second.exit == 1 and "in use by another penstockd" in second.stderr, second
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        answer = lab.run(host, f"{BUILD}/penstockd", "--purge", "--instance", daemon.instance, "--run-dir", daemon.run_dir,
                         "--state-dir", daemon.state_dir)
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    assert answer.exit == 1 and f"in use by the penstockd with pid {daemon.process.pid}" in answer.stderr, answer
    probe.enforced(daemon)


def test_a_purge_from_another_namespace_says_what_it_cannot_reach(lab):
    """No daemon, and purge is run outside its network namespace: links are ended from anywhere; a filter of clsact
    cannot be, and that is said and is a failure. Rules out a purge that reports success over a filter that stays."""
    host, peer = lab.quiet_pair()
    daemon, probe = lab.daemon(host, "--tc-attach", "clsact"), Probe(lab, host, peer)
    daemon.apply(policy())
    daemon.stop(signal.SIGKILL)
    daemon.ns = peer
    answer = purge(daemon, exit=1)
    assert [row["why"] for row in answer["failed"] if "not in this network namespace" in row["why"]], answer
    assert closed(probe)
