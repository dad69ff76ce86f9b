# SPDX-License-Identifier: Apache-2.0
"""`state: established` for the host's own sockets: what goes on, what may begin, and what belongs to nothing."""
import contextlib
import errno
import socket

import pytest

import frames
from frames import ACK, FIN, RST, SYN
from lab import BUILD, Echo, datagrams, echoed, ping, wait_for
from lines import BLOCKED, FAMILIES, HOST, PEER, Line, asked, udp

POLICY = """version: 1
attach:
  wan: {dev: wan0, hook: %s}
filter:
  wan-in:
    at: wan.ingress
    default: drop
    rules:
      - {id: established, state: established, do: pass}
      - {id: web, proto: tcp, dport: 80, do: pass}
      - {id: multicast, proto: icmp6, type: 143, do: pass}     # the peer's kernel joins groups when it likes
"""
HOOKS = pytest.mark.parametrize("hook", ["tc", "xdp"])
GUEST = {4: "10.77.1.3", 6: "2001:db8:77:1::3"}
IP_RECVERR, IPV6_RECVERR = 11, 25


@HOOKS
def test_connections_of_before_go_on(lab, hook):
    """Connections of both families, begun by either side before the first apply and to a port that no rule passes,
    carry data both ways under it and end in order; a new one to that port does not come in, and one of the host's
    own goes out. The egress hook is attached although no chain is there. Rules out state that begins with the
    policy, and one that takes the port for the connection."""
    host, peer = lab.talking_pair()
    lines = [Line(lab, *way, port) for n in FAMILIES
             for way, port in (((peer, host, HOST[n]), 2222), ((host, peer, PEER[n]), 2223))]
    Echo(lab, host, 2222)
    Echo(lab, peer, 2223)
    daemon = lab.daemon(host)
    daemon.apply(POLICY % hook)
    assert all(line.carries() for line in lines)
    assert [echoed(lab, peer, HOST[n], 2222, limit=BLOCKED) for n in FAMILIES] == [False, False]
    assert all(echoed(lab, host, PEER[n], 2223) for n in FAMILIES)
    assert [daemon.attached("wan0", way)["role"] for way in ("ingress", "egress")] == ["filter", "state"]
    assert daemon.rule("wan-in", "web")["packets"] == 0
    assert all(line.ends() for line in lines)
    daemon.add_up("wan-in")


@HOOKS
def test_a_packet_of_nothing_has_no_flow(lab, hook):
    """To an open port that a rule passes: every segment but a SYN drops as no-flow, the ACK with an invented
    cookie among them, and a SYN passes; to another port they are the default's. Rules out a filter that takes an
    ACK bit for a connection, and one that tells sender and listener apart by the port alone."""
    host, peer = lab.talking_pair()
    Echo(lab, host, 80)
    wire = lab.wire(peer, "to-wan0")
    daemon = lab.daemon(host)
    daemon.apply(POLICY % hook)
    stray = [ACK, SYN | ACK, FIN | ACK, FIN, RST, RST | ACK, SYN | FIN, SYN | RST, 0]
    sources = {4: "10.77.1.99", 6: "2001:db8:77:1::99"}
    for n in FAMILIES:
        for flags in stray:
            wire.send(frames.tcp_frame(sources[n], HOST[n], 80, flags=flags, ack=1))
            wire.send(frames.tcp_frame(sources[n], HOST[n], 81, flags=flags, ack=1))
        wire.send(frames.tcp_frame(sources[n], HOST[n], 80))
    wait_for(lambda: daemon.rule("wan-in", "web")["packets"] >= 2, "the SYNs")
    drops = {why: count for why, (count, _) in daemon.drops("wan-in").items()}
    assert drops == {("no-flow", None): 2 * len(stray), ("default", "default"): 2 * len(stray)}
    assert daemon.rule("wan-in", "web")["packets"] == 2 * (len(stray) + 1)
    daemon.add_up("wan-in")


@HOOKS
def test_only_a_connected_datagram_socket_has_a_peer(lab, hook):
    """A datagram to the port of a socket without a peer drops. To a socket with one, its peer's arrive without its
    having sent any, others' do not. A socket without a peer that asked hears the answer and nothing else. Rules
    out a lookup that any bound socket satisfies."""
    host, peer = lab.talking_pair()
    daemon = lab.daemon(host)
    daemon.apply(POLICY % hook)
    for n in FAMILIES:
        open_, connected = udp(lab, host, HOST[n], 5353), udp(lab, host, HOST[n], 5354)
        server, stranger = udp(lab, peer, PEER[n], 7777), udp(lab, peer, PEER[n], 7778)
        connected.connect((PEER[n], 7777))
        stranger.sendto(b"stranger", (HOST[n], 5354))
        server.sendto(b"open", (HOST[n], 5353))
        server.sendto(b"peer", (HOST[n], 5354))
        assert connected.recv(100) == b"peer"
        assert datagrams(open_) == []
        assert asked(open_, server, (PEER[n], 7777))
        stranger.sendto(b"stranger", (HOST[n], 5353))
        server.sendto(b"second", (HOST[n], 5353))
        open_.settimeout(5)
        assert open_.recv(100) == b"second"
    assert daemon.drops("wan-in")[("default", "default")][0] == 2 * 3
    daemon.add_up("wan-in")


@HOOKS
def test_clients_without_a_peer_and_without_an_egress_chain(lab, hook):
    """A resolver's question from a socket of its own and a QUIC client's exchange of many datagrams each way from
    one unconnected socket work in both families; so does a ping. Nothing else comes in: a ping of the host does
    not. Rules out state that only an egress chain makes, and a flow that lets a single answer in."""
    host, peer = lab.talking_pair()
    daemon = lab.daemon(host)
    daemon.apply(POLICY % hook)
    for n in FAMILIES:
        server, quic = udp(lab, peer, PEER[n], 53), udp(lab, peer, PEER[n], 443)
        for _ in range(3):
            assert asked(udp(lab, host, HOST[n]), server, (PEER[n], 53))
        client = udp(lab, host, HOST[n])
        for _ in range(5):
            assert asked(client, quic, (PEER[n], 443))
            source = client.getsockname()[:2]
            for i in range(20):
                quic.sendto(bytes([i]), source)
            assert [client.recv(100)[0] for i in range(20)] == list(range(20))
        assert ping(lab, host, PEER[n])
        assert not ping(lab, peer, HOST[n], limit=BLOCKED)
    daemon.add_up("wan-in")


@HOOKS
def test_errors_about_the_hosts_own_packets_come_in(lab, hook):
    """A closed port of the peer answers with an ICMP error, and the socket that asked learns of it, connected or
    not, in both families; "packet too big" about a live TCP connection passes. The same errors about what nobody
    sent drop. Rules out a filter that passes all errors, and one that passes none."""
    host, peer = lab.talking_pair()
    lines = {n: Line(lab, host, peer, PEER[n], 2223) for n in FAMILIES}
    wire = lab.wire(peer, "to-wan0")
    daemon = lab.daemon(host)
    daemon.apply(POLICY % hook)
    for n in FAMILIES:
        connected, asker = udp(lab, host, HOST[n]), udp(lab, host, HOST[n])
        connected.connect((PEER[n], 9))
        asker.setsockopt(*((socket.IPPROTO_IPV6, IPV6_RECVERR) if n == 6 else (socket.IPPROTO_IP, IP_RECVERR)), 1)
        connected.send(b"x")
        asker.sendto(b"x", (PEER[n], 9))
        for one in connected, asker:
            with pytest.raises(OSError) as refused:
                one.recv(100)
            assert refused.value.errno == errno.ECONNREFUSED
        mine, before = lines[n].client.getsockname()[1], daemon.rule("wan-in", "established")["packets"]
        dropped = daemon.chain("wan-in")["dropped_packets"]
        for port in mine, mine ^ 1:
            wire.send(frames.too_big(HOST[n], PEER[n], port, 2223, PEER[n]))
        wait_for(lambda: daemon.chain("wan-in")["dropped_packets"] > dropped, "the forged error")
        assert daemon.rule("wan-in", "established")["packets"] == before + 1
        assert lines[n].carries()
    daemon.add_up("wan-in")


@HOOKS
@pytest.mark.parametrize("always", [True, False], ids=["always", "under-flood"])
def test_a_handshake_by_cookie_completes(lab, hook, always):
    """Where the listener keeps nothing of a SYN, the ACK that brings its cookie back opens the connection: with
    cookies for everybody in both families, and with a backlog that a flood of spoofed SYNs keeps full. Rules out
    a table that must have seen the SYN, and one that asks for a request that the kernel does not keep."""
    host, peer = lab.talking_pair()
    lab.run(host, "sysctl", "-qw", f"net.ipv4.tcp_syncookies={2 if always else 1}", "net.ipv4.tcp_max_syn_backlog=64")
    lab.ip(host, f"route add default via {PEER[4]}")
    lab.ip(peer, "route add blackhole default")
    Echo(lab, host, 80)
    daemon = lab.daemon(host)
    daemon.apply(POLICY % hook)
    flood = contextlib.nullcontext() if always else Flood(lab, host, peer)
    with flood:
        for _ in range(5):
            assert all(echoed(lab, peer, HOST[n], 80, limit=20.0) for n in FAMILIES)
    cookies = int(netstat(lab, host, "TcpExt:", "SyncookiesRecv"))
    assert cookies == 10 if always else cookies > 0
    assert daemon.rule("wan-in", "web")["packets"] >= 10
    daemon.add_up("wan-in")
    # The socket table knows the host's connections: an entry that nobody ends would stay for hours.
    assert daemon.get("/v1/status")["state"]["flows"]["new_count"] == 0


@HOOKS
def test_a_guest_behind_the_same_device_has_its_own_connections(lab, hook):
    """A namespace with a macvlan device on wan0 reaches the outside and is reached where a rule says so, in both
    families, also on a port that the host itself listens to; its connections of before are taken over. The host's own
    stay out of the tables until then. Rules out taking any packet that comes from a socket for one of the host's."""
    host, peer = lab.talking_pair()
    guest = lab.namespace("guest")
    lab.ip(host, f"link add link wan0 name eth0 netns {guest} type macvlan mode bridge")
    lab.ip(guest, "link set eth0 up")
    lab.ip(guest, f"addr add {GUEST[4]}/24 dev eth0")
    lab.ip(guest, f"addr add {GUEST[6]}/64 dev eth0 nodad")
    for ns, port in (peer, 7001), (guest, 80), (host, 80):
        Echo(lab, ns, port)
    lines = [Line(lab, guest, peer, PEER[n], 2223) for n in FAMILIES]
    daemon = lab.daemon(host)
    daemon.apply(POLICY % hook)
    assert all(echoed(lab, host, PEER[n], 7001) and echoed(lab, peer, HOST[n], 80) for n in FAMILIES)
    assert daemon.get("/v1/status")["state"]["flows"]["new_count"] == 0
    assert all(line.carries() for line in lines)
    for n in FAMILIES:
        assert echoed(lab, guest, PEER[n], 7001) and echoed(lab, peer, GUEST[n], 80)
        assert not echoed(lab, peer, GUEST[n], 81, limit=BLOCKED)
        assert echoed(lab, host, PEER[n], 7001) and echoed(lab, peer, HOST[n], 80)
    flows = daemon.get("/v1/status")["state"]["flows"]
    assert flows["adopted_count"] == len(lines) and flows["new_count"] == len(lines) + 2 * len(FAMILIES)
    daemon.add_up("wan-in")


@HOOKS
def test_a_scanner_hears_the_answer_to_its_own_segments(lab, hook):
    """A SYN from a raw socket, as scanners send them: the answer passes though no socket of the kernel's is waiting for
    it. Rules out a filter that believes a buffer's socket to be a connection."""
    host, peer = lab.talking_pair()
    Echo(lab, peer, 7001)
    daemon = lab.daemon(host)
    daemon.apply(POLICY % hook)
    raw = lab.socket(host, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    raw.sendto(frames.tcp(HOST[4], PEER[4], 4444, 7001), (PEER[4], 0))
    wait_for(lambda: raw.recv(1500)[20:22] == (7001).to_bytes(2, "big"), "the answer")
    assert daemon.rule("wan-in", "established")["packets"] >= 1
    daemon.add_up("wan-in")


class Flood:
    """SYNs from everywhere to port 80 of the host, while the block runs: many for its backlog, few for the device's
    queue, where an honest client's would be lost too."""

    def __init__(self, lab, host, peer):
        self.lab, self.host, self.peer = lab, host, peer

    def __enter__(self):
        mac = ":".join(f"{b:02x}" for b in frames.HOST_MAC)
        self.process = self.lab.spawn(self.peer, f"{BUILD}/tests/tools/flood", "to-wan0", mac, HOST[4], "100000000",
                                      "60", "syn", "80", "5000")
        wait_for(lambda: int(netstat(self.lab, self.host, "TcpExt:", "SyncookiesSent")) > 0, "a full backlog")

    def __exit__(self, *why):
        self.process.kill()
        self.process.wait()


def netstat(lab, ns, table, name):
    heads, values = (line.split() for line in lab.run(ns, "cat", "/proc/net/netstat").stdout.splitlines()
                     if line.startswith(table))
    return values[heads.index(name)]
