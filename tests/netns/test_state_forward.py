# SPDX-License-Identifier: Apache-2.0
"""`state: established` for what a router forwards: no socket of its own knows these."""
import errno
import socket

import pytest

import frames
from frames import ACK, RST
from lab import BUILD, Echo, datagrams, echoed, ping, wait_for
from lines import BLOCKED, FAMILIES, FAR, PEER, Line, asked, router, udp

WAN = """version: 1
attach:
  wan: {dev: wan0, hook: %s}
filter:
  wan-in:
    at: wan.ingress
    default: drop
    rules:
      - {id: established, state: established, do: pass}
      - {id: web, proto: tcp, dport: 80, do: pass}
      - {id: time, proto: udp, dport: 123, do: pass}
"""
LAN = """version: 1
attach:
  lan: {dev: lan0, hook: %s}
filter:
  lan-out:
    at: lan.egress
    default: drop
    rules:
      - {id: established, state: established, do: pass}
      - {id: web, proto: tcp, dport: 80, do: pass}
      - {id: time, proto: udp, dport: 123, do: pass}
"""
HOOKS = pytest.mark.parametrize("hook", ["tc", "xdp"])
PLACES = pytest.mark.parametrize("policy, chain", [(WAN, "wan-in"), (LAN, "lan-out")], ids=["wan-in", "lan-out"])


@HOOKS
@PLACES
def test_the_inside_may_begin_the_outside_may_answer(lab, hook, policy, chain):
    """Through a router with one stateful chain, where packets come in or where they go out: TCP, UDP and echo that
    the inside begins work in both families; from outside only what a rule passes comes in, and then goes on as a
    flow. The chain has no rule for the replies of either. Rules out a filter that knows its own sockets only, and
    one that makes no flow of what a rule passed."""
    host, peer, far = router(lab)
    for ns, port in (peer, 7001), (far, 80), (far, 81):
        Echo(lab, ns, port)
    daemon = lab.daemon(host)
    daemon.apply(policy % hook)
    for n in FAMILIES:
        assert echoed(lab, far, PEER[n], 7001)
        assert asked(udp(lab, far, FAR[n]), udp(lab, peer, PEER[n], 53), (PEER[n], 53))
        assert ping(lab, far, PEER[n])
        assert not ping(lab, peer, FAR[n], limit=BLOCKED)
        assert echoed(lab, peer, FAR[n], 80)
        assert not echoed(lab, peer, FAR[n], 81, limit=BLOCKED)
        assert asked(udp(lab, peer, PEER[n]), udp(lab, far, FAR[n], 123), (FAR[n], 123))
        assert not asked(udp(lab, peer, PEER[n]), udp(lab, far, FAR[n], 124), (FAR[n], 124), limit=BLOCKED)
    daemon.add_up(chain)
    flows = wait_for(lambda: daemon.get("/v1/status")["state"]["flows"], "the count of flows")
    assert flows["new_count"] >= 2 * 2 and flows["full_count"] == 0


@HOOKS
@PLACES
def test_a_long_conversation_is_one_flow(lab, hook, policy, chain):
    """A connection that a rule let in and one that the inside began carry data both ways, whoever speaks first, and
    end in order; the rules that let them in saw nothing but their SYN. A datagram flow takes a burst of answers
    after one question. Rules out a flow that is good for one answer."""
    host, peer, far = router(lab)
    daemon = lab.daemon(host)
    daemon.apply(policy % hook)
    for n in FAMILIES:
        lines = Line(lab, peer, far, FAR[n], 80), Line(lab, far, peer, PEER[n], 7001)
        assert all(line.carries() for line in lines)
        assert all(line.ends() for line in lines)
        asker, server = udp(lab, far, FAR[n]), udp(lab, peer, PEER[n], 443)
        assert asked(asker, server, (PEER[n], 443))
        for i in range(100):
            server.sendto(bytes([i]), asker.getsockname()[:2])
        assert [asker.recv(100)[0] for i in range(100)] == list(range(100))
    assert daemon.rule(chain, "web")["packets"] == 2
    daemon.add_up(chain)


@HOOKS
def test_errors_about_live_flows_pass(lab, hook):
    """A closed port outside, and a router on the way, answer with errors that the inside hears, in both families,
    for UDP and TCP, from the far end and from others. Errors that quote what never was drop: another port, the ports
    the other way round, another server. Rules out a look at the quoted ports alone."""
    host, peer, far = router(lab)
    daemon = lab.daemon(host)
    daemon.apply(WAN % hook)
    wire = lab.wire(peer, "to-wan0")
    elsewhere = {4: "198.51.100.1", 6: "2001:db8:ffff::1"}
    for n in FAMILIES:
        connected = udp(lab, far, FAR[n])
        connected.connect((PEER[n], 9))
        connected.send(b"x")
        with pytest.raises(OSError) as refused:
            connected.recv(100)
        assert refused.value.errno == errno.ECONNREFUSED
        line = Line(lab, far, peer, PEER[n], 2223)
        port, before = line.client.getsockname()[1], daemon.rule("wan-in", "established")["packets"]
        dropped = daemon.chain("wan-in")["dropped_packets"]
        good = [frames.too_big(FAR[n], PEER[n], port, 2223, sender) for sender in (PEER[n], elsewhere[n])]
        bad = [frames.too_big(FAR[n], PEER[n], port ^ 1, 2223, PEER[n]),
               frames.too_big(FAR[n], PEER[n], 2223, port, PEER[n]),
               frames.too_big(FAR[n], elsewhere[n], port, 2223, PEER[n])]
        for frame in bad + good:
            wire.send(frame)
        wait_for(lambda: daemon.rule("wan-in", "established")["packets"] >= before + len(good), "the errors")
        assert daemon.rule("wan-in", "established")["packets"] == before + len(good)
        assert daemon.chain("wan-in")["dropped_packets"] == dropped + len(bad)
        assert line.carries()
    daemon.add_up("wan-in")


@HOOKS
def test_a_forged_reset_ends_no_flow(lab, hook):
    """RSTs with right addresses and ports but wrong numbers, and stray FINs' and SYNs' like, leave a connection as
    it is: what the receiver would not believe, the flow does not either. The end's own reset ends it: afterwards
    the same ports need a new beginning. Rules out a flow that any RST deletes."""
    host, peer, far = router(lab)
    daemon = lab.daemon(host)
    daemon.apply(WAN % hook)
    wire = lab.wire(peer, "to-wan0")
    for n in FAMILIES:
        line = Line(lab, far, peer, PEER[n], 2223)
        assert line.carries()
        port = line.client.getsockname()[1]
        for i in range(64):
            wire.send(frames.tcp_frame(PEER[n], FAR[n], port, sport=2223, flags=RST | (ACK if i % 2 else 0),
                                       seq=i << 26, ack=1))
        assert line.carries()
    daemon.add_up("wan-in")
    assert daemon.get("/v1/status")["state"]["flows"]["full_count"] == 0


@HOOKS
def test_the_inside_is_not_reached_by_what_only_looks_like_an_answer(lab, hook):
    """After the inside has asked one server: another port of that server, another server from the same port, and
    the same ports by another protocol do not come in; neither does the server's SYN to the asker's port. Rules out
    flows by address, and flows without a protocol."""
    host, peer, far = router(lab)
    lab.ip(peer, "addr add 10.77.1.3/24 dev to-wan0")
    daemon = lab.daemon(host)
    daemon.apply(WAN % hook)
    asker = udp(lab, far, FAR[4], 6000)
    server = udp(lab, peer, PEER[4], 53)
    assert asked(asker, server, (PEER[4], 53))
    others = udp(lab, peer, PEER[4], 54), udp(lab, peer, "10.77.1.3", 53)
    listener = lab.socket(far, socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((FAR[4], 6000))
    listener.listen(1)
    dropped = daemon.chain("wan-in")["dropped_packets"]
    for other in others:
        other.sendto(b"x", (FAR[4], 6000))
    lab.wire(peer, "to-wan0").send(frames.tcp_frame(PEER[4], FAR[4], 6000, sport=53))
    wait_for(lambda: daemon.chain("wan-in")["dropped_packets"] == dropped + 3, "the three to be dropped")
    server.sendto(b"more", (FAR[4], 6000))
    asker.settimeout(5)
    assert asker.recv(100) == b"more" and datagrams(asker) == []
    daemon.add_up("wan-in")


def test_a_crowded_table_shows_before_it_hurts(lab):
    """In a table of 1,024 slots, 900 conversations are a warning in status, in words and in JSON; more than fit are
    counted, and those that are in it go on. Rules out a table that is full in silence, and one that makes room by
    throwing out what lives."""
    host, peer, far = router(lab)
    daemon = lab.daemon(host, "--flow-slots", "1000")
    daemon.apply(WAN % "tc")
    server = udp(lab, peer, PEER[4], 53)
    askers = [udp(lab, far, FAR[4]) for _ in range(900)]

    def converse(asker):
        assert asked(asker, server, (PEER[4], 53)) and asked(asker, server, (PEER[4], 53))

    for asker in askers:
        converse(asker)
    state = wait_for(lambda: pressed(daemon), "the warning")
    assert state["flows"]["slots"] == 1024 and state["flows"]["used"] == state["flows"]["udp"] > 768
    assert "warning: established flows" in daemon.cli("status").stdout
    lines = [udp(lab, far, FAR[4]) for _ in range(300)]
    for asker in lines:
        converse(asker)
    wait_for(lambda: daemon.get("/v1/status")["state"]["flows"]["full_count"] > 0, "the full table")
    dropped = daemon.chain("wan-in")["dropped_packets"]
    for asker in askers:
        server.sendto(b"still there?", asker.getsockname())
    assert all(asker.recv(100) == b"still there?" for asker in askers)
    assert daemon.chain("wan-in")["dropped_packets"] == dropped


def pressed(daemon):
    """The state, once a full table is among its warnings."""
    state = daemon.get("/v1/status")["state"]
    full = any("slots are in use" in warning for warning in state["warnings"])
    return state if full and state["counted_at"] else None


def test_the_size_of_the_table_is_chosen_once(lab):
    """--flow-slots takes counts with k and M, rounds up to a power of two and refuses what it cannot give, by name.
    A later start with another size keeps the table that is there, and says so. Rules out a restart that throws
    the flows away."""
    host, _ = lab.quiet_pair()
    for bad in "999", "17M", "1e6", "-5", "1kk", "", "18446744073709551616":
        answer = lab.run(host, f"{BUILD}/penstockd", "--flow-slots", bad)
        assert answer.exit == 2 and "--flow-slots is a number from 1k to 16M" in answer.stderr, answer
    daemon = lab.daemon(host, "--flow-slots", "3k")
    assert daemon.get("/v1/status")["state"]["flows"]["slots"] == 4096
    daemon.stop()
    daemon.options = ("--flow-slots", "8192")
    daemon.start()
    assert daemon.get("/v1/status")["state"]["flows"]["slots"] == 4096
    assert "pinned with 4096 slots, --flow-slots asks for 8192" in daemon.logged()
