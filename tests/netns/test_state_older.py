# SPDX-License-Identifier: Apache-2.0
"""Forwarded connections that are older than the first stateful policy: imported from the kernel's tracking where
there is one, else taken over when they show themselves."""
import shutil

import pytest

import frames
from frames import ACK, FIN, RST, SYN
from lab import Echo, echoed, ping, wait_for
from lines import BLOCKED, FAMILIES, FAR, HOST, PEER, Line, asked, router, says, udp
from test_state_forward import WAN

NFT = shutil.which("nft") or "/usr/sbin/nft"
TRACK = "table inet t { chain c { type filter hook forward priority 0; ct state established accept; }; }"
MASQUERADE = TRACK + '\ntable ip n { chain c { type nat hook postrouting priority 100; oifname "wan0" masquerade; }; }'
STATELESS = WAN.replace("      - {id: established, state: established, do: pass}\n", "")


def nft(lab, ns, text):
    answer = lab.run(ns, NFT, "-f", "-", stdin=text)
    if answer.exit:
        pytest.skip(f"this kernel tracks no connections: {answer.stderr.strip()}")


def state(daemon):
    return daemon.get("/v1/status")["state"]


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_tracked_connections_are_imported(lab, hook):
    """TCP and UDP that the kernel tracks go on under the first stateful policy although the outside speaks first, in
    both families and whoever began; one that a rule would not let in is among them. Nothing is taken over beside
    them: a segment in mid-stream of nothing drops. Rules out a policy that waits for the inside to speak."""
    host, peer, far = router(lab)
    nft(lab, host, TRACK)
    lines, talks = [], []
    for n in FAMILIES:
        lines += [Line(lab, far, peer, PEER[n], 2223), Line(lab, peer, far, FAR[n], 2222)]
        talks.append((udp(lab, far, FAR[n]), udp(lab, peer, PEER[n], 53), n))
        assert all(line.carries() for line in lines)
        assert asked(*talks[-1][:2], (PEER[n], 53))
    daemon = lab.daemon(host)
    daemon.apply(WAN % hook)
    said = state(daemon)
    assert said["adopt_seconds_left"] == 0 and said["flows"]["imported_count"] == 6
    wire = lab.wire(peer, "to-wan0")
    wire.send(frames.tcp_frame(PEER[4], FAR[4], 80, flags=ACK, ack=1))
    wait_for(lambda: daemon.drops("wan-in").get(("no-flow", None)), "the stray segment to be dropped")
    for line in lines:
        assert says(line.server, line.client) and line.carries()
    for asker, server, n in talks:
        server.sendto(b"late", asker.getsockname()[:2])
        assert asker.recv(100) == b"late"
    assert daemon.drops("wan-in")[("no-flow", None)] == (1, 54)
    assert not echoed(lab, peer, FAR[4], 2222, limit=BLOCKED)
    assert all(line.ends() for line in lines)


def test_a_translated_connection_has_two_names(lab):
    """Behind a masquerading router, the outside sees the router's address: its segments, seen before they are
    translated back, go on although they come first. Rules out an import of the inside's name alone."""
    host, peer, far = router(lab)
    nft(lab, host, MASQUERADE)
    line = Line(lab, far, peer, PEER[4], 2223)
    assert line.server.getpeername()[0] == HOST[4]
    daemon = lab.daemon(host)
    daemon.apply(WAN % "tc")
    assert state(daemon)["flows"]["imported_count"] == 2
    assert says(line.server, line.client) and line.carries()
    assert line.ends()
    assert ping(lab, far, PEER[4])


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_untracked_connections_are_taken_over_for_a_while(lab, hook):
    """Without tracking, a connection of before goes on, in both families: once its inner end has spoken, whoever began
    it, and where a rule passes its port also when the outer one speaks first. Status shows the seconds that are
    left. To the router itself nothing is taken over: its sockets are known. Rules out a router that drops all
    connections at its first policy, and one that for a while lets everything in."""
    host, peer, far = router(lab)
    lines = [Line(lab, *way, port) for n in FAMILIES for way, port in
             (((far, peer, PEER[n]), 2223), ((peer, far, FAR[n]), 2222), ((peer, far, FAR[n]), 80))]
    daemon = lab.daemon(host)
    daemon.apply(WAN % hook)
    said = state(daemon)
    assert 0 < said["adopt_seconds_left"] <= 120 and said["flows"]["imported_count"] == 0
    assert "older than the policy" in daemon.cli("status").stdout
    for i, line in enumerate(lines):
        inner, outer = (line.client, line.server) if i % 3 == 0 else (line.server, line.client)
        first, second = (outer, inner) if i % 3 == 2 else (inner, outer)
        assert says(first, second) and line.carries()
    assert state(daemon)["flows"]["adopted_count"] >= len(lines)
    assert all(line.ends() for line in lines)
    Echo(lab, host, 80)
    wire, dropped = lab.wire(peer, "to-wan0"), daemon.drops("wan-in").get(("no-flow", None), (0, 0))[0]
    stray = [frames.tcp_frame(PEER[n], HOST[n], 80, flags=ACK, ack=1) for n in FAMILIES]
    stray += [frames.tcp_frame(PEER[n], FAR[n], 80, flags=flags, ack=1) for n in FAMILIES
              for flags in (SYN | ACK, RST | ACK, FIN)]
    for frame in stray:
        wire.send(frame)
    wait_for(lambda: daemon.drops("wan-in")[("no-flow", None)][0] == dropped + len(stray), "the stray to be dropped")


def test_taking_over_is_for_the_first_stateful_policy(lab):
    """A policy without state opens no window, the first with it does, and neither another apply of its kind nor a
    new daemon opens it again. Rules out a window at each apply, through which anybody gets in."""
    host, _, _ = router(lab)
    daemon = lab.daemon(host)
    daemon.apply(STATELESS % "tc")
    assert state(daemon)["adopt_seconds_left"] == 0 and not state(daemon)["stateful"]
    daemon.apply(WAN % "tc")
    left = state(daemon)["adopt_seconds_left"]
    assert left > 100 and state(daemon)["stateful"]
    wait_for(lambda: state(daemon)["adopt_seconds_left"] < left, "a second to pass")
    daemon.apply(WAN % "tc" + "      - {id: more, proto: udp, dport: 9, do: pass}\n")
    assert state(daemon)["adopt_seconds_left"] < left
    daemon.stop()
    daemon.start()
    assert state(daemon)["adopt_seconds_left"] < left
