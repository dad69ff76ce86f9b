# SPDX-License-Identifier: Apache-2.0
"""Tags as a real kernel makes and takes them: 802.1Q devices on either end, tags beside the frame and in it, a VLAN
device as a zone's own."""
import pytest

import frames
from lab import HOST4, PEER4, datagrams, ping, wait_for

pytestmark = [pytest.mark.guest, pytest.mark.needs("vlan")]
PORT = 7000
BY_TAG = """version: 1
attach:
  wan: {dev: wan0, hook: %s}
filter:
  tagged-in:
    at: wan.ingress
    default: pass
    rules:
      - {id: guests, vlan: %d, proto: udp, do: drop}
"""
ON_DEVICE = """version: 1
attach:
  guests: {dev: %s, hook: %s}
filter:
  guests-in:
    at: guests.ingress
    default: pass
    rules:
      - {id: bad, proto: udp, dport: 7000, do: drop}
  guests-out:
    at: guests.egress
    default: pass
    rules:
      - {id: quiet, proto: udp, dport: 7001, do: drop}
"""


def vlans(shared, *tags, kind="802.1Q"):
    """The devices wan0.TAG and to-wan0.TAG, with the addresses 10.77.TAG.1 and .2. Frames that a test sends on to-wan0.TAG
    are tagged by the kernel, beside the frame as long as the device below says that it could do it."""
    for tag in tags:
        shared.both(f"link add link {{dev}} name {{dev}}.{tag} type vlan proto {kind} id {tag}")
        shared.both(f"link set {{dev}}.{tag} up")
        shared.both(f"addr add 10.77.{tag}.{{last}}/24 dev {{dev}}.{tag}")


def tags_in_frames(shared):
    """From now on the peer's device says that it cannot put tags in: the kernel does it before."""
    answer = shared.lab.run(shared.peer, "ethtool", "-K", "to-wan0", "txvlan", "off", "tx-vlan-stag-hw-insert", "off")
    assert answer.exit == 0, answer


def sends(shared, tag, sink, dport=PORT):
    """One datagram through to-wan0.TAG. True when it arrived."""
    word = f"{tag} {dport}".encode()
    out = shared.lab.wire(shared.peer, f"to-wan0.{tag}" if tag else "to-wan0")
    out.send(frames.udp_frame(f"10.77.{tag}.2" if tag else PEER4, f"10.77.{tag}.1" if tag else HOST4, dport, word))
    marker = shared.lab.wire(shared.peer, "to-wan0")
    marker.send(frames.udp_frame(PEER4, HOST4, dport, b"marker"))
    got = []
    wait_for(lambda: got.extend(datagrams(sink)) or b"marker" in got, "the datagram behind it")
    return word in got


def ready(shared, *tags, kind="802.1Q", quiet=True):
    """The wire and its VLANs, and a socket of the host's beyond the hook."""
    shared.pair(quiet)
    vlans(shared, *tags, kind=kind)
    return shared.lab.udp_sink(shared.host, PORT)


def length(tag):
    """Bytes of what sends() sends, without tags."""
    return 14 + 20 + 8 + len(f"{tag} {PORT}")


def test_a_rule_finds_a_tag(shared):
    """A tag of a VLAN device, beside the frame as hardware leaves it or in it: the rule drops VLAN 7 and counts it with the
    tag's four bytes, at either hook; VLAN 8 arrives. Rules out a program that looks for tags in the frame alone, at TC, and
    bytes that depend on where the tag is."""
    sink = ready(shared, 7, 8)
    assert sends(shared, 7, sink)
    for hook, beside in ("tc", True), ("tc", False), ("xdp", False), ("xdp-generic", False):
        if not beside:
            tags_in_frames(shared)
        shared.daemon.apply(BY_TAG % (hook, 7))
        dropped = shared.counts("tagged-in", "guests")
        assert not sends(shared, 7, sink) and dropped() == (1, length(7) + 4), (hook, beside)
        assert sends(shared, 8, sink) and dropped()[0] == 1, (hook, beside)
        shared.add_up("tagged-in")


def test_a_tag_beside_the_frame_is_not_seen_at_xdp(shared):
    """What the manual warns of: at XDP a tag that the device keeps beside the frame is no part of it, so that the rule
    does not find it; hook auto finds it. Rules out a manual that is wrong either way."""
    sink = ready(shared, 7)
    shared.daemon.apply(BY_TAG % ("xdp", 7))
    dropped = shared.counts("tagged-in", "guests")
    assert sends(shared, 7, sink) and dropped() == (0, 0)
    shared.daemon.apply(BY_TAG % ("auto", 7))
    assert not sends(shared, 7, sink) and dropped() == (1, length(7) + 4)
    assert shared.daemon.attached("wan0")["hook"] == "tc"


def test_a_vlan_device_is_a_device(shared):
    """A zone whose device is wan0.7: in both directions it meets that VLAN alone, without its tag; VLAN 8 of the same
    wire, and the wire itself, meet nothing. Native XDP, for which it has no driver, is refused by name. Rules out a filter
    that sits on the device below, and a zone that is open without a word."""
    sink = ready(shared, 7, 8, quiet=False)
    answer = shared.daemon.cli("apply", shared.lab.write("native.yaml", ON_DEVICE % ("wan0.7", "xdp")))
    assert answer.exit == 1 and "wan0.7: the driver refused native XDP" in answer.stderr, answer
    assert not shared.daemon.attached("wan0.7")
    far, out = shared.lab.udp_sink(shared.peer, 7001), shared.lab.udp_sink(shared.host, 0)
    for hook in "xdp-generic", "auto":
        shared.daemon.apply(ON_DEVICE % ("wan0.7", hook))
        bad, quiet = shared.counts("guests-in", "bad"), shared.counts("guests-out", "quiet")
        assert not sends(shared, 7, sink) and bad() == (1, length(7)), hook
        assert sends(shared, 8, sink) and sends(shared, 0, sink) and bad()[0] == 1, hook
        assert ping(shared.lab, shared.host, "10.77.7.2")
        for tag in 7, 8:
            out.sendto(b"from %d" % tag, (f"::ffff:10.77.{tag}.2", 7001))
        got = []
        wait_for(lambda: got.extend(datagrams(far)) or got, "the datagram of the other VLAN")
        assert got == [b"from 8"] and quiet()[0] == 1, hook
        shared.add_up("guests-in")


def test_a_tag_in_a_tag(shared):
    """802.1ad around 802.1Q, both made by devices: a rule at the wire finds the outer id, not the inner one, wherever the
    outer tag is; a zone on the innermost device meets what it carries. Rules out a program that reads the first tag in the
    frame as the outermost."""
    sink = ready(shared, 100, kind="802.1ad")
    shared.both("link add link {dev}.100 name {dev}.7 type vlan id 7")
    shared.both("link set {dev}.7 up")
    shared.both("addr add 10.77.7.{last}/24 dev {dev}.7")
    for _ in 1, 2:
        shared.daemon.apply(BY_TAG % ("tc", 7))
        assert sends(shared, 7, sink)
        shared.daemon.apply(BY_TAG % ("tc", 100))
        dropped = shared.counts("tagged-in", "guests")
        assert not sends(shared, 7, sink) and dropped() == (1, length(7) + 8)
        tags_in_frames(shared)
    shared.daemon.apply(ON_DEVICE % ("wan0.7", "auto"))
    dropped = shared.counts("guests-in", "bad")
    assert not sends(shared, 7, sink) and dropped() == (1, length(7))
