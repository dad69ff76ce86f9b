# SPDX-License-Identifier: Apache-2.0
"""Set files that the daemon reads again by itself: what is taken, what is refused, and that a refusal costs nothing."""
import os
import re
import shutil
import signal

import pytest

import frames
from lab import HOST4, datagrams, wait_for

PORT = 5353
POLICY = """version: 1
attach:
  wan: {dev: wan0, hook: tc}
sets:
  listed: {file: %(file)s, refresh: on-change, max: 250}
  other: {file: plain.txt}
filter:
  wan-in:
    at: wan.ingress
    default: pass
    rules:
      - {id: listed, from: $listed, do: drop}
      - {id: other, from: $other, do: drop}
"""
HUNDRED = [f"198.51.100.{i}\n" for i in range(100)]


class Site:
    """A daemon with a feed directory, a policy that names one feed, and a wire to ask with."""

    def __init__(self, lab, *options):
        self.lab = lab
        self.host, self.peer = lab.quiet_pair()
        self.dir = f"{lab.dir}/feeds"
        os.mkdir(self.dir, 0o755)
        self.feed = f"{self.dir}/listed.txt"
        self.write("".join(HUNDRED))
        lab.write("plain.txt", "203.0.113.0/24\n")
        self.daemon = lab.daemon(self.host, "--feed-dir", self.dir, *options)
        self.sink, self.wire = lab.udp_sink(self.host, PORT), lab.wire(self.peer, "to-wan0")
        self.sent = 0

    def write(self, text):
        """In place, as a careless script does."""
        with open(self.feed, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(self.feed, 0o644)

    def replace(self, text):
        """Beside it, then renamed, as a careful one does."""
        with open(self.feed + ".new", "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(self.feed + ".new", self.feed)

    def apply(self, file="feeds/listed.txt"):
        return self.daemon.cli("apply", self.lab.write("policy.yaml", POLICY % {"file": file}), "--json")

    def row(self):
        return next(s for s in self.daemon.get("/v1/sets")["sets"] if s["name"] == "listed")

    def generation(self):
        return self.daemon.get("/v1/status")["policy"]["generation"]

    def arrives(self, source):
        """Does a datagram from this address reach the host?"""
        self.wire.send(frames.udp_frame(source, HOST4, PORT, source.encode()))
        self.sent += 1
        wait_for(lambda: self.daemon.chain("wan-in")["received_packets"] >= self.sent, "the frame")
        return source.encode() in datagrams(self.sink)

    def wait_members(self, count):
        wait_for(lambda: self.row()["members"] == count, f"{count} members")

    def wait_refusal(self, part):
        def refused():
            feed = self.row()["feed"]
            return feed["held"] and part in feed["why"]
        wait_for(refused, f"a refusal that says '{part}'")


@pytest.fixture
def site(lab):
    made = Site(lab)
    assert made.apply().exit == 0
    made.wait_members(len(HUNDRED))
    return made


def test_a_change_is_enforced(site):
    """Rules out a daemon that reads a feed at an apply only, one that watches an inode (which a rename replaces), and
    one that compiles the feed without the policy's other files."""
    assert not site.arrives("198.51.100.7") and site.arrives("192.0.2.7") and not site.arrives("203.0.113.7")
    before = site.generation()
    os.unlink(f"{site.lab.dir}/plain.txt")  # the daemon has its own copy
    for write, address in (site.write, "192.0.2.7"), (site.replace, "192.0.2.8"), (site.write, "192.0.2.9"):
        write("".join(HUNDRED) + address + "\n")
        site.wait_members(len(HUNDRED) + 1)
        wait_for(lambda: not site.arrives(address), f"{address} to be dropped")
        assert not site.arrives("198.51.100.7") and not site.arrives("203.0.113.7")
        site.write("".join(HUNDRED))
        site.wait_members(len(HUNDRED))
        wait_for(lambda: site.arrives(address), f"{address} to pass again")
    feed = wait_for(lambda: site.row()["feed"]["refreshed_at"] and site.row()["feed"], "the end of the last refresh")
    assert not feed["refused_at"] and not feed["why"] and not feed["held"]
    assert site.generation() == before + 6
    site.daemon.add_up("wan-in")


@pytest.mark.parametrize("text, why", [
    ("", "empty"),
    ("".join(HUNDRED) + "192.0.2.", "cut short"),
    ("".join(HUNDRED) + "192.0.2.300\n", "line 101"),
    ("# nothing today\n", "would have 0 members"),
    ("".join(HUNDRED) + "".join(f"10.0.0.{i}\n" for i in range(151)), "has 251 prefixes, 1 more than the limit of 250"),
    ("".join(HUNDRED[:49]), "would have 49 members, less than half of its 100"),
], ids=["empty", "cut", "wrong", "comments", "many", "short"])
def test_a_damaged_feed_is_refused(site, text, why):
    """The content of before stays enforced, the reason is shown, and the next good content is taken. Rules out a
    reader that installs whatever is there."""
    before = site.generation()
    site.replace(text)
    site.wait_refusal(why)
    assert site.row()["feed"]["refused_at"]
    assert site.row()["members"] == len(HUNDRED) and site.generation() == before
    assert not site.arrives("198.51.100.99") and site.arrives("192.0.2.7")
    site.replace("".join(HUNDRED[:50]) + "192.0.2.7\n")
    site.wait_members(51)
    wait_for(lambda: not site.row()["feed"]["held"], "the refusal to be over")
    assert site.row()["feed"]["why"] and site.row()["feed"]["refreshed_at"]  # what happened last is still told
    wait_for(lambda: site.arrives("198.51.100.99"), "an address that left the feed to pass")
    assert not site.arrives("192.0.2.7")


def test_a_short_feed_beside_items_is_refused(lab):
    """A set with items of the policy's own is still large when its feed has shrunk. Rules out a look at the whole."""
    site = Site(lab)
    items = ", ".join(f"10.1.{i}.1" for i in range(120))
    text = (POLICY % {"file": "feeds/listed.txt"}).replace("listed: {", f"listed: {{items: [{items}], ")
    site.daemon.apply(text)
    site.wait_members(220)
    site.replace(HUNDRED[0])
    site.wait_refusal("would have 1 prefixes of its file, less than half of its 100")
    assert site.row()["members"] == 220 and not site.arrives("198.51.100.99")
    site.replace("".join(HUNDRED[:50]))
    site.wait_members(170)


def test_a_huge_feed_holds_up_nobody(site):
    """A feed of 30 GB, a hole on the disk: refused without being read. Rules out a worker that is busy with it for
    minutes, while members that need room and policies wait."""
    with open(site.feed + ".new", "w", encoding="utf-8") as f:
        f.truncate(30 << 30)
    os.rename(site.feed + ".new", site.feed)
    site.wait_refusal("has 32212254720 bytes")
    assert site.daemon.cli("set", "add", "listed", "192.0.2.1").exit == 0
    assert not site.arrives("198.51.100.99") and not site.arrives("192.0.2.1")
    assert site.apply().exit == 1  # the CLI says the same of it


def spoil_link(site):
    os.rename(site.feed, f"{site.lab.dir}/elsewhere.txt")
    os.symlink(f"{site.lab.dir}/elsewhere.txt", site.feed)


def spoil_mode(site):
    os.chmod(site.feed, 0o664)


def spoil_owner(site):
    os.chown(site.feed, 65534, 65534)


def spoil_kind(site):
    os.unlink(site.feed)
    os.mkfifo(site.feed + ".new")
    os.rename(site.feed + ".new", site.feed)


def spoil_absence(site):
    os.unlink(site.feed)


@pytest.mark.parametrize("spoil, why", [
    (spoil_link, "symbolic link"), (spoil_mode, "mode 0664"), (spoil_owner, "belongs to user 65534"),
    (spoil_kind, "no regular file"), (spoil_absence, "No such file"),
], ids=lambda p: getattr(p, "__name__", None))
def test_only_files_of_root_are_read(site, spoil, why):
    """Rules out a daemon that opens as root whatever a path leads to."""
    os.symlink("listed.txt", f"{site.dir}/waiting")
    spoil(site)
    if spoil is spoil_link:  # a link that appears is no event of a file: rename it over
        os.rename(site.feed, site.feed + ".old")
        os.rename(site.feed + ".old", site.feed)
    site.wait_refusal(why)
    assert site.row()["members"] == len(HUNDRED) and not site.arrives("198.51.100.7")
    site.replace("".join(HUNDRED) + "192.0.2.7\n")
    site.wait_members(len(HUNDRED) + 1)


def test_a_feed_elsewhere_is_refused_at_apply(lab):
    """With the remedy, at the set's line, and nothing is changed."""
    site = Site(lab)
    lab.write("lists/listed.txt", "".join(HUNDRED))
    os.mkdir(f"{site.dir}/below")
    shutil.copy(site.feed, f"{site.dir}/below/listed.txt")
    for file in "lists/listed.txt", "feeds/../lists/listed.txt", "feeds/below/listed.txt", "feeds/../feeds/listed.txt":
        answer = site.apply(file)
        assert answer.exit == 1
        error = next(d for d in answer.json["diagnostics"] if d["severity"] == "error")
        assert error["code"] == "not-a-feed" and error["line"] == 5
        assert site.dir in error["message"] and "--feed-dir" in error["message"]
        assert not site.daemon.ok("status")["policy"]
    os.chmod(site.dir, 0o775)
    answer = site.apply()
    assert answer.exit == 1 and "mode 0775" in answer.stdout
    os.chmod(site.dir, 0o755)
    assert site.apply().exit == 0


def test_a_burst_of_changes_is_few_installs(site):
    """Rules out an install for every event."""
    before = site.generation()
    for i in range(1, 101):
        site.replace("".join(HUNDRED) + "".join(f"192.0.2.{k}\n" for k in range(i)))
    site.wait_members(200)
    assert site.generation() - before <= 5


def test_changes_while_nobody_looked_are_found(site):
    """A start compares the feed with what it runs: also after a daemon that was killed."""
    site.daemon.stop(signal.SIGKILL)
    site.replace("".join(HUNDRED) + "192.0.2.7\n")
    site.daemon.start()
    site.wait_members(len(HUNDRED) + 1)
    wait_for(lambda: not site.arrives("192.0.2.7"), "the change to be enforced")


def test_a_policy_of_the_daemon_has_feeds_too(lab):
    """--policy says where the policy lies, by a link even."""
    site = Site(lab)
    site.daemon.stop()
    lab.write("policy.yaml", POLICY % {"file": "feeds/listed.txt"})
    os.symlink(lab.dir, f"{lab.dir}/here")
    site.daemon.start("--policy", f"{lab.dir}/here/policy.yaml")
    site.wait_members(len(HUNDRED))
    site.write("".join(HUNDRED) + "192.0.2.7\n")
    site.wait_members(len(HUNDRED) + 1)


def test_a_directory_may_go_and_come_back(site):
    """Rules out a watch that ends with its directory."""
    os.rename(site.dir, site.dir + ".old")
    site.wait_refusal("No such file")
    assert not site.arrives("198.51.100.7")
    os.rename(site.dir + ".old", site.dir)
    site.replace("".join(HUNDRED) + "192.0.2.7\n")
    site.wait_members(len(HUNDRED) + 1)


def refreshed(site):
    rows = {s["name"]: s for s in site.daemon.get("/v1/sets")["sets"]}
    return rows if rows["other"]["feed"]["refreshed_at"] else None


def test_one_bad_feed_does_not_hold_up_the_others(lab):
    """Two feeds change at once, one is damaged: the other is taken."""
    site = Site(lab)
    second = f"{site.dir}/second.txt"
    shutil.copy(site.feed, second)
    policy = (POLICY % {"file": "feeds/listed.txt"}).replace(
        "{file: plain.txt}", "{file: feeds/second.txt, refresh: on-change}")
    site.daemon.apply(policy)
    with open(second, "a", encoding="utf-8") as good, open(site.feed, "a", encoding="utf-8") as bad:
        good.write("192.0.2.7\n")
        bad.write("192.0.2.999\n")
    wait_for(lambda: not site.arrives("192.0.2.7"), "the good one to be taken")
    site.wait_refusal("line 101")
    rows = wait_for(lambda: refreshed(site), "the end of the refresh")
    assert not rows["other"]["feed"]["held"] and rows["listed"]["feed"]["held"]


def test_refusals_are_told_to_people(site):
    """`status` and `sets` say it without --json."""
    site.replace("")
    site.wait_refusal("empty")
    for verb in "status", "sets":
        assert re.search(r"feeds/listed\.txt.*empty", site.daemon.cli(verb).stdout), verb
