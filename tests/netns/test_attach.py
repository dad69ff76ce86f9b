# SPDX-License-Identifier: Apache-2.0
"""Where the programs sit: hooks, devices that come, go and change their names, other owners, restarts."""
import signal

import pytest

import frames
import kernel
from lab import BPFFS, BUILD, HOST4, PEER4, datagrams, wait_for
from promises import promise

PORT = 7000
POLICY = """version: 1
attach:
  wan: {dev: %s, hook: %s}
filter:
  wan-in:
    at: wan.ingress
    default: pass
    rules:
      - {id: bad, from: 203.0.113.0/24, do: drop}
"""
BOTH_WAYS = POLICY % ("wan0", "tc") + """  wan-out:
    at: wan.egress
    default: pass
    rules:
      - {id: quiet, proto: udp, dport: 9999, do: drop}
"""


def policy(dev="wan0", hook="tc"):
    return POLICY % (dev, hook)


class Probe:
    """A listed and a free sender on one wire; the socket beyond the hook hears the free one alone."""

    def __init__(self, lab, host, peer, dev="wan0", sink=None):
        self.wire, self.sink, self.sent = lab.wire(peer, "to-" + dev), sink or lab.udp_sink(host, PORT), 0

    def send(self):
        self.sent += 1
        for source in "203.0.113.9", PEER4:
            self.wire.send(frames.udp_frame(source, HOST4, PORT, f"{source} {self.sent}".encode()))

    def heard(self):
        """The sources of this round, once the free one was heard: frames stay in order."""
        got = []
        end = f"{PEER4} {self.sent}".encode()
        wait_for(lambda: got.extend(datagrams(self.sink)) or end in got, "the free sender's datagram")
        return [d.split()[0].decode() for d in got]

    def enforced(self, daemon=None):
        """The listed one is kept out; with a daemon: and counted."""
        before = daemon.rule("wan-in", "bad")["packets"] if daemon else 0
        self.send()
        assert self.heard() == [PEER4]
        assert not daemon or daemon.rule("wan-in", "bad")["packets"] == before + 1

    def open(self):
        self.send()
        assert self.heard() == ["203.0.113.9", PEER4]


@pytest.mark.parametrize("hook, seen, options", [
    ("auto", ("tc", "tcx"), ()),
    ("tc", ("tc", "tcx"), ()),
    ("tc", ("tc", "clsact"), ("--tc-attach", "clsact")),
    ("xdp", ("xdp", "native"), ()),
    ("xdp-generic", ("xdp", "generic"), ()),
], ids=lambda value: value if isinstance(value, str) else "-".join(value) or None)
def test_each_hook_enforces(lab, hook, seen, options):
    """Before the policy both senders arrive, under it the free one alone, at the hook that status names; a
    stopped daemon changes nothing; detached, both arrive again. A veth gets TC by itself: native XDP there
    would cost its peer the segmentation offload. Rules out a hook that is shown and not used."""
    host, peer = lab.quiet_pair()
    probe, daemon = Probe(lab, host, peer), lab.daemon(host, *options)
    probe.open()
    daemon.apply(policy(hook=hook))
    row = daemon.attached("wan0")
    assert (row["zone"], row["hook"], row["mode"]) == ("wan", *seen)
    probe.enforced(daemon)
    assert daemon.stop() == 0
    probe.enforced()
    daemon.start()
    assert daemon.attached("wan0")["mode"] == seen[1]
    assert daemon.rule("wan-in", "bad")["packets"] == 2
    probe.enforced(daemon)
    daemon.ok("detach", "wan0")
    probe.open()
    assert not daemon.attached("wan0")


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_devices_come_and_go(lab, hook):
    """A device that the policy names or a pattern of it fits is pending until it is there, then attached; so
    it is when it was deleted and made again; a device that nothing names is left alone. Rules out names that
    are resolved once, at the apply, and an attachment remembered by name that the device no longer has."""
    host, peer = lab.namespace("host"), lab.namespace("peer")
    daemon = lab.daemon(host)
    daemon.apply(policy('[wan0, "cust*"]', hook))
    assert daemon.get("/v1/status")["pending"] == [{"zone": "wan", "dev": "wan0"}]
    for dev in "wan0", "cust1", "other0":
        lab.quiet_veth(host, peer, dev)
    wait_for(lambda: daemon.attached("wan0") and daemon.attached("cust1"), "both devices to be attached")
    assert not daemon.get("/v1/status")["pending"] and not daemon.attached("other0")
    lab.ip(host, f"addr add {HOST4}/24 dev wan0")
    probe = Probe(lab, host, peer)
    probe.enforced(daemon)

    old = daemon.attached("wan0")["ifindex"]
    lab.ip(host, "link del wan0")
    wait_for(lambda: not daemon.attached("wan0"), "the device to be forgotten")
    assert daemon.get("/v1/status")["pending"] == [{"zone": "wan", "dev": "wan0"}]
    assert daemon.attached("cust1")
    lab.quiet_veth(host, peer, "wan0")
    wait_for(lambda: daemon.attached("wan0"), "the new device to be attached")
    assert daemon.attached("wan0")["ifindex"] != old
    lab.ip(host, f"addr add {HOST4}/24 dev wan0")
    probe.sink.close()
    Probe(lab, host, peer).enforced(daemon)
    assert daemon.rule("wan-in", "bad")["packets"] == 2


@pytest.mark.parametrize("hook", [pytest.param("tc", marks=pytest.mark.guest), "xdp"])
def test_a_renamed_device_stays_filtered(lab, hook):
    """A rename while the daemon watches, and one while it is away: the filter stays on the device and the
    name in status follows. Rules out a filter that falls off with the name."""
    host, peer = lab.quiet_pair()
    daemon = lab.daemon(host)
    daemon.apply(policy("[wan0, uplink, ppp9]", hook))
    probe = Probe(lab, host, peer)
    probe.enforced(daemon)
    lab.rename(host, "wan0", "uplink")
    wait_for(lambda: daemon.attached("uplink"), "the new name in status")
    assert not daemon.attached("wan0")
    probe.enforced(daemon)
    daemon.stop()
    lab.rename(host, "uplink", "ppp9")
    probe.enforced()
    daemon.start()
    wait_for(lambda: daemon.attached("ppp9"), "the name of now in status")
    probe.enforced(daemon)


def test_another_owners_xdp_program_is_left_alone(lab):
    """hook xdp on a device that carries somebody else's program: the apply is refused and says which device, whose
    program, and what to do; the program stays; hook auto and tc live beside it. Rules out a filter that throws others
    out."""
    host, peer = lab.quiet_pair()
    daemon = lab.daemon(host)
    pin = f"{BPFFS}/{lab.id}/foreign"
    kernel.pin_foreign(pin, "theirs")
    lab.ip(host, f"link set dev wan0 xdpdrv pinned {pin}")
    before = lab.ip(host, "-o link show wan0").stdout.split("prog/xdp")[1].split()[:2]
    file = lab.write("policy.yaml", policy(hook="xdp"))
    named = "('theirs', loaded by uid 0); it is left alone"
    answer = wait_for(lambda: next((a for a in [daemon.cli("apply", file)] if named in a.stderr), None), "the name")
    assert answer.exit == 1 and "wan0: another XDP program is attached: id " in answer.stderr, answer
    assert "'hook: tc'" in answer.stderr, answer
    assert daemon.get("/v1/status")["policy"] is None
    assert lab.ip(host, "-o link show wan0").stdout.split("prog/xdp")[1].split()[:2] == before
    daemon.apply(policy(hook="auto"))
    assert daemon.attached("wan0")["hook"] == "tc"
    Probe(lab, host, peer).enforced(daemon)
    assert lab.ip(host, "-o link show wan0").stdout.split("prog/xdp")[1].split()[:2] == before
    promise("F24", "another owner's XDP program is respected", "a foreign program first, then hook xdp, then hook auto",
            "refuse, or live beside it; never replace", f"xdp refused: '{answer.stderr.strip()}'; auto at tc enforced; "
            "the foreign program is where it was")


def test_overrides_last_until_the_device_is_named(lab):
    """detach opens a device that the policy names, attach puts one under a zone that does not name it; both
    hold over a restart and until an apply that names the device. A zone or device that is not there is an
    error by name. Rules out overrides that are lost with the daemon, or for ever."""
    host, peer = lab.quiet_pair()
    lab.quiet_veth(host, peer, "spare0")
    daemon = lab.daemon(host)
    daemon.apply(policy())
    probe = Probe(lab, host, peer)
    probe.enforced(daemon)
    daemon.ok("detach", "wan0")
    daemon.ok("attach", "spare0", "--as", "wan")
    assert daemon.attached("spare0") and not daemon.attached("wan0")
    probe.open()
    daemon.stop()
    daemon.start()
    assert daemon.attached("spare0") and not daemon.attached("wan0")
    probe.open()
    for arguments, named in (("attach", "wan0", "--as", "none"), "none"), (("attach", "no0", "--as", "wan"), "no0"), \
            (("detach", "wan0"), "wan0"):
        answer = daemon.cli(*arguments)
        assert answer.exit == 1 and named in answer.stderr, answer
    daemon.apply(policy().replace("203.0.113.0/24", "203.0.113.0/25"))  # names wan0, not spare0
    assert daemon.attached("spare0") and daemon.attached("wan0")
    probe.enforced(daemon)


@pytest.mark.guest
def test_a_new_daemon_goes_on_where_the_killed_one_was(lab):
    """Clean stop, SIGKILL, a crash, restart: both directions stay enforced throughout, without a daemon, the same
    attachments are adopted, and counters, generation and rule names go on. Rules out a second program beside
    the first and counters that start again."""
    host, peer = lab.quiet_pair()
    daemon = lab.daemon(host)
    daemon.apply(BOTH_WAYS)
    probe = Probe(lab, host, peer)
    probe.enforced(daemon)
    attached, made = daemon.get("/v1/status")["attached"], daemon.get("/v1/status")["policy"]
    assert {a["dir"] for a in attached} == {"ingress", "egress"}
    for n, how in enumerate((signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV), 1):
        daemon.stop(how)
        probe.enforced()
        daemon.start()
        assert daemon.get("/v1/status")["attached"] == attached
        assert daemon.get("/v1/status")["policy"] == made
        probe.enforced(daemon)
        assert daemon.rule("wan-in", "bad")["packets"] == 1 + 2 * n
        daemon.add_up("wan-in")
    promise("F5 F2 P4", "a clean stop, a SIGKILL and a crash leave enforcement, counters and names", "SIGTERM, SIGKILL, SIGSEGV; frames "
            "with and without a daemon", "enforced throughout; adopted; counters and generation go on",
            f"7 of 7 listed frames dropped and counted; generation {made['generation']} before and after")
    daemon.apply(BOTH_WAYS + "      - {id: more, proto: udp, dport: 9998, do: drop}\n")
    assert daemon.get("/v1/status")["policy"]["generation"] == made["generation"] + 1
    assert daemon.rule("wan-in", "bad")["packets"] == 7


def test_a_second_daemon_of_the_instance_is_refused(lab):
    """Exit 1 with the reason; the first one answers on, its sockets are its own. Rules out a start that takes
    the socket away before it asks for the lock."""
    host, peer = lab.quiet_pair()
    daemon = lab.daemon(host)
    daemon.apply(policy())
    second = lab.run(host, f"{BUILD}/penstockd", "--foreground", "--instance", daemon.instance, "--run-dir",
                     daemon.run_dir, "--state-dir", daemon.state_dir, timeout=20)
    assert second.exit == 1 and second.stderr.strip(), second
    Probe(lab, host, peer).enforced(daemon)
    assert daemon.cli("status").exit == 0
    promise("F9", "a second daemon of an instance is refused", "penstockd twice", "the second refuses and touches nothing",
            f"exit 1: '{second.stderr.strip().replace(daemon.state_dir, 'STATE-DIR')}'; the first answers and enforces")


def test_two_instances_do_not_meet(lab):
    """Two daemons by name, in two namespaces of one machine, on devices with one name: each enforces its own
    policy and counts its own frames; one stopped and cleared leaves the other alone. Rules out pins and
    sockets that two share."""
    hosts = [lab.namespace(f"host{i}") for i in (0, 1)]
    peers = [lab.namespace(f"peer{i}") for i in (0, 1)]
    for host, peer in zip(hosts, peers):
        lab.quiet_veth(host, peer, "wan0")
        lab.ip(host, f"addr add {HOST4}/24 dev wan0")
    daemons = [lab.daemon(host, name=name) for host, name in zip(hosts, "ab")]
    probes = [Probe(lab, host, peer) for host, peer in zip(hosts, peers)]
    daemons[0].apply(policy())
    probes[0].enforced(daemons[0])
    probes[1].open()
    daemons[1].apply(policy(hook="xdp"))
    probes[1].enforced(daemons[1])
    probes[1].enforced(daemons[1])
    assert [d.rule("wan-in", "bad")["packets"] for d in daemons] == [1, 2]
    assert [d.attached("wan0")["hook"] for d in daemons] == ["tc", "xdp"]
    daemons[0].ok("detach", "wan0")
    daemons[0].stop()
    probes[0].open()
    probes[1].enforced(daemons[1])
