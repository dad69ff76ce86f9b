# SPDX-License-Identifier: Apache-2.0
"""The unit is the frame on the wire, also where the kernel carries forty of them as one buffer.

What holds, and is tested: at TC, a buffer counts as the frames that it would be on the wire, and with the
headers that each of them would have. So penstock's packets are the segments that the two TCPs say they
sent, and its bytes are their payload and so many headers. The device's own counters count buffers: they
agree in packets and in bytes where offloads are off, and count fewer of both where they are on. With
native XDP the veth's peer sends no large buffers, so there packets agree; the device's bytes lack the
Ethernet header."""
import json
import socket
import struct
import threading

import pytest

from lab import wait_for

MEGABYTES = 50
BIG = 190_000
BYTES = MEGABYTES << 20
PORT = 5001
ETHERNET, TCP_WITH_TIMESTAMPS, SYN_EXTRA = 14, 32, 8  # bytes of headers
POLICY = """version: 1
attach:
  wan: {dev: wan0, hook: %s}
filter:
  wan-in:
    at: wan.ingress
    default: pass
    rules:
      - {id: in, proto: tcp, dport: 5001, do: pass}
  wan-out:
    at: wan.egress
    default: pass
    rules:
      - {id: out, proto: tcp, sport: 5001, do: pass}
"""


class Said:
    """What a TCP says of its connection, from struct tcp_info; retransmissions included."""

    def __init__(self, connection):
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        self.segments_out, self.segments_in = struct.unpack_from("II", info, 136)
        self.bytes_sent, = struct.unpack_from("Q", info, 200)


def transfer(lab, host, peer, address):
    """From the peer to the host, to the last acknowledgement; gives what the two TCPs say."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = lab.socket(host, family, socket.SOCK_STREAM)
    # A small window: with XDP a veth has 256 places, and what is lost before the hook counts for one side only.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 << 10)
    listener.bind((address, PORT))
    listener.listen(1)
    sender = lab.socket(peer, family, socket.SOCK_STREAM)
    sender.settimeout(30)
    sender.connect((address, PORT))
    receiver, _ = listener.accept()
    lab.closing.append(receiver)
    receiver.settimeout(30)
    block = bytes(1 << 20)
    thread = threading.Thread(target=lambda: [sender.sendall(block) for _ in range(MEGABYTES)])
    thread.start()
    left = BYTES
    while left:
        got = len(receiver.recv(1 << 20))
        assert got, "the sender went away"
        left -= got
    thread.join()
    wait_for(lambda: Said(receiver).segments_in == Said(sender).segments_out and
             Said(sender).segments_in == Said(receiver).segments_out + 1, "the last acknowledgement")
    return Said(sender), Said(receiver)


class Counts:
    """Device and chains, at one time."""

    def __init__(self, lab, host, daemon):
        stats = json.loads(lab.ip(host, "-j -s link show wan0").stdout)[0]["stats64"]
        self.device = {way: (stats[way]["packets"], stats[way]["bytes"]) for way in ("rx", "tx")}
        rows = {way: daemon.chain(chain) for way, chain in (("rx", "wan-in"), ("tx", "wan-out"))}
        self.chain = {way: (row["received_packets"], row["received_bytes"]) for way, row in rows.items()}

    def since(self, before, way):
        return tuple(tuple(now - then for now, then in zip(mine[way], theirs[way]))
                     for mine, theirs in ((self.device, before.device), (self.chain, before.chain)))


@pytest.mark.parametrize("address", ["10.77.1.1", "2001:db8:77:1::1"], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("how", ["tc", "tc-big", "tc-no-offloads", "xdp"])
def test_frames_are_counted_as_on_the_wire(lab, how, address):
    """50 MB of TCP through both directions' rules: packets and bytes are exactly those that the two TCPs sent,
    with large buffers and without, and the device's own counters agree as said above. Rules out counting
    buffers, counting a buffer's length for its frames', and counting one header for forty."""
    host, peer = lab.talking_pair()
    if how == "tc-no-offloads":
        for ns, dev in (host, "wan0"), (peer, "to-wan0"):
            assert lab.run(ns, "ethtool", "-K", dev, "tso", "off", "gso", "off", "gro", "off").exit == 0
    if how == "tc-big":  # longer than the IP headers' length fields can say
        for ns, dev in (host, "wan0"), (peer, "to-wan0"):
            lab.ip(ns, f"link set {dev} gso_max_size {BIG} gro_max_size {BIG}")
    daemon = lab.daemon(host)
    daemon.apply(POLICY % how.split("-")[0])
    before = Counts(lab, host, daemon)
    sender, receiver = transfer(lab, host, peer, address)
    now = Counts(lab, host, daemon)

    header = ETHERNET + (40 if ":" in address else 20) + TCP_WITH_TIMESTAMPS
    rules = [daemon.rule(chain, rule) for chain, rule in (("wan-in", "in"), ("wan-out", "out"))]
    assert (rules[0]["packets"], rules[0]["bytes"]) == (
        sender.segments_out, sender.bytes_sent + sender.segments_out * header + SYN_EXTRA)
    assert rules[1]["packets"] == receiver.segments_out + 1  # the SYN-ACK is the listener's

    device, chain = now.since(before, "rx")
    if how in ("tc", "tc-big"):
        assert device[0] * 10 < chain[0] and device[1] < chain[1]
    elif how == "xdp":  # where a veth counts what XDP has seen, it leaves the Ethernet header out
        assert (device[0], device[1] + ETHERNET * device[0]) == chain
    else:
        assert device == chain
    device, chain = now.since(before, "tx")
    assert device == chain  # acknowledgements: each a frame
    print(f"{how}: the device saw {now.since(before, 'rx')[0][0]} buffers in, penstock {rules[0]['packets']} frames")
