# SPDX-License-Identifier: Apache-2.0
"""Conversations between namespaces that stay open, and a router that they go through."""
import os
import socket

HOST = {4: "10.77.1.1", 6: "2001:db8:77:1::1"}
PEER = {4: "10.77.1.2", 6: "2001:db8:77:1::2"}
FAR = {4: "10.77.2.2", 6: "2001:db8:77:2::2"}
FAMILIES = 4, 6
# What a daemon has to do when its clients are what is tried.
BANNED = """version: 1
attach:
  wan: {dev: wan0, hook: tc}
sets:
  banned: {max: 100}
filter:
  wan-in:
    at: wan.ingress
    default: pass
    rules:
      - {id: banned, from: $banned, do: drop}
"""
BLOCKED = 0.7  # seconds until a connection attempt counts as blocked: the first SYN is repeated after one


def kind(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def says(sender, receiver, limit=5.0):
    """True when what one end sends arrives at the other in time."""
    word = os.urandom(8)
    receiver.settimeout(limit)
    try:
        sender.sendall(word)
        return receiver.recv(100) == word
    except OSError:
        return False


class Line:
    """A TCP connection, open until the lab closes it."""

    def __init__(self, lab, client_ns, server_ns, address, port):
        listener = lab.socket(server_ns, kind(address), socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(1)
        self.client = lab.socket(client_ns, kind(address), socket.SOCK_STREAM)
        self.client.connect((address, port))
        self.server, _ = listener.accept()
        lab.closing.append(self.server)
        listener.close()

    def carries(self, limit=5.0):
        """Data in both directions, each end beginning once."""
        pair = self.client, self.server
        return all(says(a, b, limit) for a, b in (pair, pair[::-1], pair[::-1], pair))

    def ends(self):
        """Both ends say that they are done, and hear it of the other."""
        for a, b in (self.client, self.server), (self.server, self.client):
            a.shutdown(socket.SHUT_WR)
            b.settimeout(5)
            if b.recv(100) != b"":
                return False
        return True


def udp(lab, ns, address, port=0):
    made = lab.socket(ns, kind(address), socket.SOCK_DGRAM)
    made.bind((address, port))
    return made


def asked(client, server, to, limit=5.0):
    """True when a datagram from a socket without a peer arrives, and so does the answer to where it came from."""
    server.settimeout(limit)
    client.settimeout(limit)
    word = os.urandom(8)
    try:
        client.sendto(word, to)
        data, source = server.recvfrom(100)
        server.sendto(data[::-1], source)
        return client.recvfrom(100)[0] == word[::-1]
    except OSError:
        return False


def router(lab):
    """A host between a peer outside (wan0) and a machine inside (lan0). Gives the three namespaces."""
    host, peer = lab.talking_pair()
    far = lab.namespace("far")
    lab.veth(host, "lan0", far, "to-lan0")
    lab.address_pair(host, "lan0", far, 2)
    for dev in "wan0", "lan0":  # the kernel asks for neighbours of what it forwards from such an address alone
        lab.ip(host, f"addr add fe80::1/64 dev {dev} nodad")
    for ns, n in (peer, 1), (far, 2):
        lab.ip(ns, f"route add default via 10.77.{n}.1")
        lab.ip(ns, f"-6 route add default via 2001:db8:77:{n}::1")
    return host, peer, far
