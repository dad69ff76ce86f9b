# SPDX-License-Identifier: Apache-2.0
"""Sets whose members come and go while packets are judged by them."""
import ipaddress
import json
import random
import signal
import socket
import threading

import pytest

import frames
import kernel
from lab import HOST4, HOST6, LONG, datagrams, wait_for

PORT = 5353
BULK = 500000 if LONG else 100000
POLICY = """version: 1
attach:
  wan: {dev: wan0, hook: %(hook)s}
sets:
  office: {items: [203.0.113.0/24]}
  trusted: {max: 100}
  banned: {max: %(max)s, ttl: 1h}
  listed: {items: [198.51.100.0/25], max: 4}
filter:
  wan-in:
    at: wan.ingress
    default: pass
    rules:
      - {id: trusted, from: $trusted, do: pass}
      - {id: banned, from: [$banned, $office], do: drop}
      - {id: listed, from: $listed, do: drop}
      - {id: stranger, proto: udp, dport: 5354, not-from: [$banned, $trusted], do: drop}
  wan-out:
    at: wan.egress
    default: pass
    rules:
      - {id: no-reply, to: $banned, do: drop}
"""


class Site:
    def __init__(self, lab, hook="tc", max="1M"):
        self.lab = lab
        self.host, self.peer = lab.quiet_pair()
        self.daemon = lab.daemon(self.host)
        self.daemon.apply(POLICY % {"hook": hook, "max": max})
        self.sinks = {port: lab.udp_sink(self.host, port) for port in (PORT, PORT + 1)}
        self.wire = lab.wire(self.peer, "to-wan0")
        self.sent = 0

    def set(self, verb, name, *members, exit=0, stdin=None):
        """The JSON that `penstock set` answers with."""
        answer = self.daemon.cli("set", verb, name, *members, "--json", stdin=stdin)
        assert answer.exit == exit, answer
        return json.loads(answer.stdout) if answer.stdout else answer.stderr

    def frame(self, source, port=PORT):
        source = ipaddress.ip_address(source)
        return frames.udp_frame(str(source), HOST4 if source.version == 4 else HOST6, port, str(source).encode())

    def arrives(self, source, port=PORT):
        """Does a datagram from this address reach the host?"""
        before = self.daemon.chain("wan-in")["received_packets"]
        self.wire.send(self.frame(source, port))
        wait_for(lambda: self.daemon.chain("wan-in")["received_packets"] > before, "the frame")
        return str(ipaddress.ip_address(source)).encode() in datagrams(self.sinks[port])

    def hits(self, rule, chain="wan-in"):
        return self.daemon.rule(chain, rule)["packets"]

    def members(self, name):
        return {m["prefix"]: m["expires_in_ms"] for m in self.daemon.ok("set", "list", name)["members"]}

    def row(self, name):
        return next(s for s in self.daemon.get("/v1/sets")["sets"] if s["name"] == name)


# A member, an address in it and one that is not; a wider member, and an address that only that one holds.
NESTED = [
    ("192.0.2.7", "192.0.2.7", "192.0.2.8", "192.0.2.0/29", "192.0.2.6"),
    ("192.0.2.64/26", "192.0.2.127", "192.0.2.128", "192.0.0.0/22", "192.0.3.255"),
    ("100.64.0.0/10", "100.127.255.255", "100.128.0.0", "96.0.0.0/4", "99.0.0.1"),
    ("2001:db8:1::7", "2001:db8:1::7", "2001:db8:1::8", "2001:db8:1::/64", "2001:db8:1::6"),
    ("2001:db8:2::/47", "2001:db8:3:ffff::1", "2001:db8:4::1", "2000::/3", "3000::1"),
    ("2001:db8:5::/65", "2001:db8:5::7", "2001:db8:5:0:8000::1", "2001:db8:5::/63", "2001:db8:5:1::1"),
]


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_packets_meet_a_member_at_once(lab, hook):
    """The very next frame is judged by it, under the rule's counter, in both families, for addresses and prefixes that
    nest, and the one after its removal is not. Rules out a set that is compiled into the next bank, a table of
    whole addresses, and a lookup that ends at the first length that matches."""
    site = Site(lab, hook)
    for member, inside, outside, wider, in_wider in NESTED:
        assert site.arrives(inside) and site.arrives(outside)
        before = site.hits("banned")
        assert site.set("add", "banned", member)["added"] == 1
        assert not site.arrives(inside) and site.arrives(outside)
        assert site.hits("banned") == before + 1
        site.set("add", "banned", wider)
        site.set("add", "trusted", member)  # the same prefix in another set: its rule comes first
        assert site.arrives(inside) and not site.arrives(in_wider)
        site.set("del", "trusted", member)
        site.set("del", "banned", member)
        assert not site.arrives(inside)
        assert site.set("del", "banned", wider)["removed"] == 1
        assert site.arrives(inside)
    assert site.members("banned") == {} == site.members("trusted")
    site.daemon.add_up("wan-in")


def test_every_kind_of_rule_asks(lab):
    """not-from, a list of a run-time and a static set, and the destination at egress. Rules out a lookup for `from`
    alone and a vector that forgets what `not` means for an address in no set."""
    site = Site(lab)
    assert not site.arrives("203.0.113.9") and site.hits("banned") == 1
    assert not site.arrives("192.0.2.7", PORT + 1) and site.hits("stranger") == 1
    site.set("add", "trusted", "192.0.2.0/24")
    assert site.arrives("192.0.2.7", PORT + 1) and site.hits("trusted") == 1
    received = lab.wire(site.peer, "to-wan0", receive=True)
    out = lab.socket(site.host, socket.AF_INET, socket.SOCK_DGRAM)
    lab.ip(site.host, "neigh add 10.77.1.9 lladdr 02:00:00:00:00:02 dev wan0")
    out.sendto(b"before", ("10.77.1.9", 9))
    assert received.received(lambda f: f.endswith(b"before"))
    site.set("add", "banned", "10.77.1.9")
    out.sendto(b"after", ("10.77.1.9", 9))
    wait_for(lambda: site.hits("no-reply", "wan-out") == 1, "the drop at egress")
    assert not received.received(lambda f: f.endswith(b"after"), limit=0.3)


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_members_leave_in_time(lab, hook):
    """A member with a time of its own stops counting; one that was added again stays; one that never leaves stays.
    Rules out an expiry that is carried out by a timer of user space alone: the daemon is stopped meanwhile."""
    site = Site(lab, hook)
    site.set("add", "banned", "192.0.2.1", "192.0.2.2", "--ttl", "2s")
    site.set("add", "banned", "192.0.2.3", "--ttl", "never")
    site.set("add", "banned", "192.0.2.4")
    assert site.set("add", "banned", "192.0.2.2", "--ttl", "1h")["refreshed"] == 1
    assert not any(site.arrives(f"192.0.2.{n}") for n in (1, 2, 3, 4))
    members = site.members("banned")
    assert 0 < members["192.0.2.1"] <= 2000 < members["192.0.2.2"] <= 3600000
    assert members["192.0.2.3"] is None and 0 < members["192.0.2.4"] <= 3600000
    site.daemon.process.send_signal(signal.SIGSTOP)
    sink = site.sinks[PORT]

    def passes():
        site.wire.send(site.frame("192.0.2.1"))
        return b"192.0.2.1" in datagrams(sink)
    try:
        wait_for(passes, "the member to leave while nobody is there to take it out", every=0.1)
    finally:
        site.daemon.process.send_signal(signal.SIGCONT)
    assert not any(site.arrives(f"192.0.2.{n}") for n in (2, 3, 4))
    wait_for(lambda: site.row("banned")["runtime_members"] == 3, "the table to be tidied")
    assert set(site.members("banned")) == {"192.0.2.2", "192.0.2.3", "192.0.2.4"}
    site.daemon.add_up("wan-in")


@pytest.mark.parametrize("upgrade", [False, True], ids=["restart", "upgrade"])
def test_members_survive_the_daemon(lab, upgrade):
    """Killed, it leaves them enforced; the next one, of the same build or another, goes on with them: their times,
    their counts, their removal. Rules out members that live in the daemon."""
    site = Site(lab)
    site.set("add", "banned", "192.0.2.0/28", "2001:db8:1::/48")
    site.set("add", "banned", "192.0.2.99", "--ttl", "3s")
    site.set("add", "trusted", "192.0.2.3")
    before = site.members("banned")
    site.daemon.stop(signal.SIGKILL)
    hits = site.sinks[PORT]
    for source in "192.0.2.1", "2001:db8:1::1", "192.0.2.3":
        site.wire.send(site.frame(source))
    wait_for(lambda: b"192.0.2.3" in datagrams(hits), "the trusted one, which was sent last")
    if upgrade:
        kernel.forget_build(site.daemon.pin_dir)
    site.daemon.start()
    assert ("loaded over an older build" in site.daemon.logged()) == upgrade
    assert site.hits("banned") == 2 and site.hits("trusted") == 1
    after = site.members("banned")
    assert set(after) <= set(before) and {"192.0.2.0/28", "2001:db8:1::/48"} <= set(after)
    assert after["192.0.2.0/28"] < before["192.0.2.0/28"]
    wait_for(lambda: site.arrives("192.0.2.99"), "a time that began before the restart to end")
    assert site.set("del", "banned", "192.0.2.0/28")["removed"] == 1
    assert site.arrives("192.0.2.1") and not site.arrives("2001:db8:1::1")


def test_a_full_set_takes_nothing(lab):
    """All or nothing, with the numbers; what is there already needs no room, and what leaves gives it back. Rules out
    a set that takes what fits, forgets its static members, or makes room by dropping somebody."""
    site = Site(lab)  # `listed` may have 4, one of which the policy gives
    site.set("add", "listed", "192.0.2.1", "192.0.2.2")
    error = site.set("add", "listed", "192.0.2.3", "192.0.2.4", exit=1)
    assert "set 'listed' holds 3 of 4 members, 2 more do not fit; nothing was added" in error
    assert set(site.members("listed")) == {"192.0.2.1", "192.0.2.2", "198.51.100.0/25"}
    assert site.arrives("192.0.2.3") and not site.arrives("192.0.2.1") and not site.arrives("198.51.100.9")
    assert site.set("add", "listed", "192.0.2.1", "192.0.2.3", "192.0.2.3")["added"] == 1
    error = site.set("add", "listed", "192.0.2.4", exit=1)
    assert "set 'listed' holds 4 of 4 members; nothing was added" in error
    site.set("del", "listed", "192.0.2.2")
    assert site.set("add", "listed", "192.0.2.4")["added"] == 1
    row = site.row("listed")
    assert (row["members"], row["runtime_members"], row["max"]) == (1, 3, 4)


def test_what_the_policy_gives_stays(lab):
    """A static member cannot be deleted at run time, and is listed as what it is."""
    site = Site(lab)
    answer = site.daemon.cli("set", "del", "listed", "198.51.100.0/25", "192.0.2.9")
    assert answer.exit == 1 and "'198.51.100.0/25' is a member of 'listed' by the policy" in answer.stderr
    assert "'192.0.2.9' is no member of 'listed'" in answer.stderr
    assert not site.arrives("198.51.100.9")
    site.set("add", "listed", "192.0.2.1")
    rows = {m["prefix"]: m["static"] for m in site.daemon.ok("set", "list", "listed")["members"]}
    assert rows == {"198.51.100.0/25": True, "192.0.2.1": False}
    assert [m["static"] for m in site.daemon.ok("set", "list", "office")["members"]] == [True]


def test_members_belong_to_the_name_of_their_set(lab):
    """A policy that puts sets in another order, adds some and takes some away keeps the members of those that stay,
    each under its own rule; a set that left comes back empty, and the apply says what went with it. Rules out numbers by
    place, members that turn up in a set that came later, and ones that go in silence."""
    site = Site(lab)
    site.set("add", "banned", "192.0.2.1")
    site.set("add", "trusted", "192.0.2.2")
    site.set("add", "listed", "192.0.2.3")
    other = """version: 1
attach:
  wan: {dev: wan0, hook: tc}
sets:
  fresh: {max: 100}
  banned: {max: 2, ttl: 5m}
  newer: {max: 100}
filter:
  wan-in:
    at: wan.ingress
    default: pass
    rules:
      - {id: fresh, from: $fresh, do: drop}
      - {id: newer, from: $newer, do: drop}
      - {id: banned, from: $banned, do: drop}
"""
    answer = site.daemon.cli("apply", lab.write("policy.yaml", other))
    assert answer.exit == 0 and "warning: 2 members gone" in answer.stderr
    assert "2 members go" in site.daemon.logged()
    assert not site.arrives("192.0.2.1") and site.hits("banned") >= 1
    assert site.arrives("192.0.2.2") and site.arrives("192.0.2.3")
    wait_for(lambda: site.daemon.get("/v1/sets")["table"]["members"] == 1, "members without a set to go")
    assert site.members("fresh") == {} == site.members("newer")
    site.set("add", "banned", "192.0.2.9")
    assert "holds 2 of 2" in site.set("add", "banned", "192.0.2.10", exit=1)
    assert site.members("banned")["192.0.2.9"] <= 300000
    site.daemon.stop(signal.SIGKILL)
    site.daemon.start()
    site.daemon.apply(POLICY % {"hook": "tc", "max": "1M"})
    assert set(site.members("banned")) == {"192.0.2.1", "192.0.2.9"} and site.members("trusted") == {}
    assert not site.arrives("192.0.2.9") and site.arrives("192.0.2.3")


def bulk(n):
    return str(ipaddress.ip_address((100 << 24) + 7 * n))


def test_many_are_added_in_one_request(lab):
    """The whole list counts, with others beside it, and is gone when it is deleted; meanwhile the daemon answers.
    Rules out a table of a fixed size, one that loses members as it grows, and a loop that stands still."""
    site = Site(lab)
    site.set("add", "banned", "192.0.2.1")
    text = "# a feed\n" + "".join(bulk(n) + "\n" for n in range(BULK))
    rng = random.Random(2024)
    answers = []
    adding = threading.Thread(target=lambda: answers.append(site.set("add", "banned", stdin=text)))
    adding.start()
    while adding.is_alive():
        assert site.daemon.request("GET", "/v1/version")[0] == 200
    assert answers[0]["added"] == BULK and site.row("banned")["runtime_members"] == BULK + 1
    for n in rng.sample(range(BULK), 100):
        assert not site.arrives(bulk(n))
        assert site.arrives(str(ipaddress.ip_address(bulk(n)) + 1 + rng.randrange(6)))
    listed = site.daemon.cli("set", "list", "banned", "--all", "--json").stdout.splitlines()
    assert {json.loads(line)["prefix"] for line in listed} == {bulk(n) for n in range(BULK)} | {"192.0.2.1"}
    assert site.set("del", "banned", "-", stdin=text)["removed"] == BULK
    assert site.arrives(bulk(3)) and not site.arrives("192.0.2.1")
    assert site.row("banned")["runtime_members"] == 1


def test_a_daemon_killed_while_it_adds(lab):
    """Whatever it had linked is enforced and listed, nothing else is, and all can be added again. Rules out a table
    that is whole only when its writer was."""
    site = Site(lab)
    text = "".join(bulk(n) + "\n" for n in range(BULK))
    rng = random.Random(7)
    for _ in range(3):
        adding = threading.Thread(target=lambda: site.daemon.cli("set", "add", "banned", stdin=text))
        adding.start()
        most = rng.randrange(BULK // 2)
        wait_for(lambda: not adding.is_alive() or site.row("banned")["runtime_members"] > most, "some members", every=0)
        site.daemon.stop(signal.SIGKILL)
        adding.join()
        site.daemon.start()
        listed = site.daemon.cli("set", "list", "banned", "--all", "--json").stdout.splitlines()
        listed = {json.loads(line)["prefix"] for line in listed}
        assert len(listed) == site.row("banned")["runtime_members"]
        for n in rng.sample(range(BULK), 50):
            assert site.arrives(bulk(n)) == (bulk(n) not in listed)
        assert "damaged" not in site.daemon.logged()
        site.set("del", "banned", stdin="\n".join(sorted(listed)) + "\n")
    assert site.set("add", "banned", stdin=text)["added"] == BULK


def test_only_administrators_change_sets(lab):
    """read.sock lists and does not change; wrong requests are refused by what is wrong with them."""
    site = Site(lab)
    body = json.dumps({"set": "banned", "members": ["192.0.2.1"]})
    assert site.daemon.request("POST", "/v1/set/add", body, "read.sock")[0] == 403
    assert site.daemon.request("POST", "/v1/set/del", body, "read.sock")[0] == 403
    assert site.daemon.request("POST", "/v1/set/list", body, "read.sock")[0] == 200
    for body, status, part in (
            ({"members": []}, 400, "'set' is missing"), ({"set": "banned"}, 400, "either 'members' or"),
            ({"set": "banned", "members": "192.0.2.1"}, 400, "no list"), ({"set": "banned", "members": [7]}, 400, "members[0]"),
            ({"set": "banned", "members": ["192.0.2.1", "192.0.2.1/24"]}, 400, "members[1], '192.0.2.1/24': host bits"),
            ({"set": "banned", "members": ["192.0.2.1"], "ttl_ms": 5}, 400, "'ttl_ms' must be"),
            ({"set": "baned", "members": []}, 404, "did you mean 'banned'?"),
            ({"set": "office", "members": []}, 409, "set 'office' has neither max nor ttl: change its items in the policy"),
            ({"set": "banned", "members": ["192.0.2.1"] * 1025}, 400, "more members than")):
        code, answer = site.daemon.request("POST", "/v1/set/add", json.dumps(body))
        assert code == status and part in answer["error"]["message"], answer
    assert site.members("banned") == {}
