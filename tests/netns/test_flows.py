# SPDX-License-Identifier: Apache-2.0
"""`telemetry: flows`: every packet that passes is of a flow, or is said to be missing; every one once."""
import json
import shutil
import signal
import socket
import threading

import pytest

import frames
from lab import BUILD, Echo, ping, wait_for
from lines import FAMILIES, FAR, HOST, PEER, kind, router, udp

HOOKS = pytest.mark.parametrize("hook", ["tc", "xdp"])
POLICY = """version: 1
attach:
  wan: {dev: wan0, hook: %s}
  lan: {dev: lan0, hook: tc}
telemetry:
  flows: {slots: %d, idle: 5s}
filter:
  wan-in:
    at: wan.ingress
    default: drop
    rules:
      - {id: established, state: established, do: pass}
      - {id: web, proto: tcp, dport: [80, 7000], do: pass}
      - {id: udp, proto: udp, dport: 9, do: pass}
      - {id: ping, proto: [icmp, icmp6], do: pass}
"""
TRANSFERS, BYTES = 20, 150_000
HEADERS = 14 + 32  # Ethernet, and TCP with time stamps
IP_HEADER = {4: 20, 6: 40}
SYN_MORE = 8  # options that a SYN has beside the time stamps
NOTHING = {"packets": 0, "bytes": 0}
FLOOD = 200_000


def accounting(daemon):
    return daemon.get("/v1/accounting")


def balanced(daemon):
    """Once it is quiet. What adds up at one moment stays so."""
    sums = wait_for(lambda: next((s for s in [accounting(daemon)] if s["remainder"] == NOTHING), None),
                    lambda: f"the sum to add up: {accounting(daemon)}")
    assert sums["dropped_remainder"] == NOTHING and sums["unaccounted"] == NOTHING, sums
    return sums


def rows(daemon, **wanted):
    found = daemon.ok("flows", "--limit", "10000")["flows"]
    return [row for row in found if all(row.get(key) == value for key, value in wanted.items())]


def transfer(lab, ns, address, port, server, payload):
    """Sends it all and hears one byte back. The sender's port."""
    client = lab.socket(ns, kind(address), socket.SOCK_STREAM)
    accepted = []
    thread = threading.Thread(target=lambda: accepted.append(server.accept()[0]))
    thread.start()
    client.connect((address, port))
    thread.join()
    got, reader = [], accepted[0]
    reader.settimeout(10)

    def read():
        left = len(payload)
        while left:
            left -= len(reader.recv(1 << 20))
        reader.sendall(b"k")
        got.append(True)

    thread = threading.Thread(target=read)
    thread.start()
    client.sendall(payload)
    assert client.recv(1) == b"k"
    thread.join()
    client.shutdown(socket.SHUT_WR)
    assert reader.recv(1) == b""
    reader.close()
    assert client.recv(1) == b""
    mine = client.getsockname()[1]
    client.close()
    return mine


@HOOKS
def test_transfers_are_known_to_the_byte(lab, hook):
    """Twenty uploads of known sizes in both families, by segments that are sent in one buffer: each is one row with the
    bytes that were sent and a header for each packet on the wire, both ways, with the rule that let it begin and the one
    that carried it; what was dropped has a row, too, and all sums add up. Rules out buffers counted as packets, halves of
    a conversation in rows of their own, and samples."""
    host, peer, _ = router(lab)
    daemon = lab.daemon(host)
    daemon.apply(POLICY % (hook, 5000))
    ports = {}
    for n in FAMILIES:
        server = lab.socket(host, kind(HOST[n]), socket.SOCK_STREAM)
        server.bind((HOST[n], 7000))
        server.listen(8)
        for i in range(TRANSFERS // 2):
            payload = bytes(BYTES + 7919 * i)
            ports[n, transfer(lab, peer, HOST[n], 7000, server, payload)] = len(payload)
        assert ping(lab, peer, HOST[n])
    wire = lab.wire(peer, "to-wan0")
    for _ in range(3):
        wire.send(frames.udp_frame(PEER[4], HOST[4], 4444, b"not wanted"))
    wait_for(lambda: rows(daemon, dport=4444), "the dropped datagrams")
    balanced(daemon)
    for (n, port), size in ports.items():
        row, = rows(daemon, src=PEER[n], sport=port)
        headers = HEADERS + IP_HEADER[n]
        assert (row["dst"], row["dport"], row["proto"]) == (HOST[n], 7000, "tcp")
        assert row["bytes"] == size + row["packets"] * headers + SYN_MORE, row
        assert row["reply_bytes"] == 1 + row["reply_packets"] * headers + SYN_MORE, row
        assert row["packets"] >= size // 1448
        assert {"syn", "ack", "fin"} <= set(row["flags"]) and "rst" not in row["flags"]
        assert (row["chain"], row["rule"], row["decided_before"]["rule"]) == ("wan-in", "established", "web"), row
        assert row["packets_before"] == 1 and row["handshake_us"] > 0
        assert (row["dev"], row["reply_dev"]) == ("wan0", "wan0")
    echoes = rows(daemon, proto="icmp") + rows(daemon, proto="icmp6", packets=1, reply_packets=1)
    assert [row["reply_packets"] for row in echoes] == [1, 1]
    dropped, = rows(daemon, dport=4444)
    assert (dropped["verdict"], dropped["reason"], dropped["rule"], dropped["packets"]) == ("drop", "default", "default", 3)
    assert not dropped["live"]


@HOOKS
def test_what_is_forwarded_is_accounted_where_it_came_in(lab, hook):
    """A conversation through the host is seen by hooks of two devices, and is in one row with each packet once. Rules out
    counting at every hook, and leaving out what no chain judges."""
    host, peer, far = router(lab)
    daemon = lab.daemon(host)
    daemon.apply(POLICY % (hook, 1000))
    for n in FAMILIES:
        asker, server = udp(lab, far, FAR[n]), udp(lab, peer, PEER[n], 53)
        for i in range(10):
            asker.sendto(b"question", (PEER[n], 53))
            server.settimeout(5)
            data, source = server.recvfrom(100)
            if i < 7:
                server.sendto(b"an answer", source)
                assert asker.recv(100) == b"an answer"
    sums = balanced(daemon)
    assert sums["elsewhere"]["packets"] >= 2 * 17
    for n in FAMILIES:
        row, = rows(daemon, src=FAR[n], dport=53)
        headers = 14 + IP_HEADER[n] + 8
        assert (row["packets"], row["bytes"]) == (10, 10 * (headers + 8)), row
        assert (row["reply_packets"], row["reply_bytes"]) == (7, 7 * (headers + 9)), row
        assert (row["dev"], row["reply_dev"], row["reply_decided"]["rule"]) == ("lan0", "wan0", "established")


@HOOKS
def test_no_change_of_the_cache_loses_a_packet(lab, hook):
    """Datagrams from everywhere through a cache that is far too small for them, while applies make it larger and smaller,
    and the daemon is killed: in the end every packet is in a row, or was in one that gave way, and after the restart in
    what daemons before have read. Then a policy without telemetry ends it. Rules out a new table for an old one, and
    records that a dead daemon's successor reads twice, and
    pages that overlap."""
    host, peer, _ = router(lab)
    lab.ip(host, "route add blackhole default")
    daemon = lab.daemon(host)
    daemon.apply(POLICY % (hook, 100))
    before = balanced(daemon)["passed"]["packets"]
    mac = ":".join(f"{b:02x}" for b in frames.HOST_MAC)
    flood = lab.spawn(peer, f"{BUILD}/tests/tools/flood", "to-wan0", mac, HOST[4], str(FLOOD), "60", "udp", "9", "60000")
    for slots in 3000, 50, 20000, 400:
        daemon.apply(POLICY % (hook, slots))
        assert accounting(daemon)["flows_wanted"] == slots
    flood.wait(60)
    sums = balanced(daemon)
    assert sums["passed"]["packets"] >= before + FLOOD and sums["recorded_unread"] == NOTHING
    assert sums["settled"]["packets"] > 0 and sums["recorded"]["packets"] > FLOOD // 4
    assert sums["rows"] > 400 and sums["rows_forgotten"] > 0
    listed = [json.loads(line) for line in daemon.cli("flows", "--all", "--json").stdout.splitlines()]
    passed = [(row["proto"], row["src"], row["dst"], row.get("sport"), row.get("dport"), row.get("fragment"))
              for row in listed if row["verdict"] == "pass"]
    assert len(set(passed)) == len(passed) and abs(len(passed) - sums["rows"]) < 20  # neighbours may speak meanwhile
    daemon.stop(signal.SIGKILL)
    assert ping(lab, peer, HOST[4])
    daemon.start()
    again = balanced(daemon)
    assert again["passed"]["packets"] > sums["passed"]["packets"]
    assert again["recorded_unread"]["packets"] >= sums["recorded"]["packets"]
    daemon.apply((POLICY % (hook, 1)).replace("telemetry:\n  flows: {slots: 1, idle: 5s}\n", ""))
    wait_for(lambda: not accounting(daemon)["on"], "the accounting to end")
    assert ping(lab, peer, HOST[4])
    assert accounting(daemon)["passed"] == balanced(daemon)["passed"]
    assert {a["role"] for a in daemon.get("/v1/status")["attached"]} == {"filter", "state"}


def test_a_policy_whose_names_are_lost_is_accounted_as_before(lab):
    """The daemon is killed and all that it saved removed: packets are judged by the policy that is in the kernel, and go on
    to be accounted, in the same cache. Rules out a restart that takes a lost word for 'no'."""
    host, peer, _ = router(lab)
    daemon = lab.daemon(host)
    daemon.apply(POLICY % ("tc", 3000))
    assert ping(lab, peer, HOST[4])
    before = balanced(daemon)
    daemon.stop(signal.SIGKILL)
    shutil.rmtree(daemon.state_dir)
    assert ping(lab, peer, HOST[4])
    daemon.start()
    after = balanced(daemon)
    assert after["on"] and after["slots"] == before["slots"] and after["settled"] == NOTHING
    assert after["passed"]["packets"] >= before["passed"]["packets"] + 2
    assert ping(lab, peer, HOST[4])
    assert balanced(daemon)["passed"]["packets"] >= after["passed"]["packets"] + 2
    assert daemon.get("/v1/status")["accounting"] and rows(daemon, proto="icmp")
